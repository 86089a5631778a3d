# shellcheck shell=bash
# Two servers, a witness and a client, each in a network namespace of its own, on two bridges: the service
# network, which the clients are on, and the replication network. For scripts that run inside a sandbox.

# With IPV6 set the clients use IPv6; the servers watch each other by IPv4 in any case.
if [[ ${IPV6:-} ]]; then
  SERVICE=fd77::2 SERVICE_NETWORK=64 SERVICE_HOST='[fd77::2]'
else
  SERVICE=10.77.0.2 SERVICE_NETWORK=24 SERVICE_HOST=10.77.0.2
fi
SERVICE_MAC=02:00:5e:77:00:02

# cluster_network: makes the namespaces client, host0, host1 and witness, and joins them.
cluster_network() {
  local bridge i
  for bridge in service replication; do
    ip link add "$bridge" type bridge forward_delay 0
    ip link set "$bridge" up
  done
  netns_add client
  plug client service 10.77.0.1
  # Nobody else is there whom the kernel would have to ask for its address.
  [[ -z ${IPV6:-} ]] || ip -n client addr add fd77::1/64 dev service nodad
  for i in 0 1 2; do
    netns_add "$(host_name $i)"
    plug "$(host_name $i)" service "10.77.0.1$i"
    plug "$(host_name $i)" replication "10.88.0.1$i"
  done
}

host_name() { [[ $1 == 2 ]] && echo witness || echo "host$1"; }

# plug NETNS BRIDGE ADDRESS: an interface of that namespace, named as the bridge that it is plugged into.
plug() {
  ip link add "$2" netns "$1" address "$(mac_for "$3")" type veth peer name "${2:0:3}-$1"
  ip link set "${2:0:3}-$1" master "$2" up
  ip -n "$1" addr add "$3/24" dev "$2"
  ip -n "$1" link set "$2" up
}

# mac_for ADDRESS: a MAC address made of an IPv4 address.
mac_for() {
  # shellcheck disable=SC2046,SC2183  # four numbers
  printf '02:01:%02x:%02x:%02x:%02x' $(tr . ' ' <<<"$1")
}

# cluster_config [TOML]: writes the key and a configuration for each host into $WORK; further lines of TOML
# are added to each. Their state folders are in $STATE, if that is set; with $FLOODED both hear what is for the service.
cluster_config() {
  local i
  (umask 077 && "$OUTLIVE" key >"$WORK/key")
  for i in 0 1 2; do
    cat >"$WORK/$i.toml" <<TOML
me = $i
key_file = "key"
state_dir = "${STATE:+$STATE/}state$i"
hosts = [
  { id = 0, paths = ["10.88.0.10:7700", "10.77.0.10:7700"] },
  { id = 1, paths = ["10.88.0.11:7700", "10.77.0.11:7700"] },
  { id = 2, paths = ["10.88.0.12:7700", "10.77.0.12:7700"] },
]
service = { interface = "service", address = "$SERVICE/$SERVICE_NETWORK", mac = "$SERVICE_MAC"${FLOODED:+, flooded = true} }
${1:-}
TOML
  done
}

# pids by host number.
declare -A HOSTS=()

# host_start I COMMAND...: starts `outlive COMMAND...` as host I, in a session of its own, so that Ctrl-C does not
# reach it. Its output is added to $WORK/hostI.log.
host_start() {
  local i=$1
  shift
  # The very process, so that it is what a kill kills.
  (exec nsenter --net="/run/netns/$(host_name "$i")" -- setsid "$OUTLIVE" -v "$@") >>"$WORK/host$i.log" 2>&1 &
  HOSTS[$i]=$!
}

# host_kill I: as a power failure, as far as a process can have one.
host_kill() {
  kill -KILL "${HOSTS[$1]}"
  wait "${HOSTS[$1]}" 2>/dev/null || true
}

# status I [FILTER]: what host I says of itself, as JSON; or what jq makes of it.
status() { in_netns "$(host_name "$1")" "$OUTLIVE" status --json --config "$WORK/$1.toml" 2>/dev/null | jq -r "${2:-.}"; }

# has_backup I: host I serves, and the other one has everything that it has promised.
has_backup() { [[ $(status "$1" '.role == "primary" and (.in_sync | length) == 2') == true ]]; }

# paired: one host serves and the other one can take over; says which in $primary and $backup.
primary=0 backup=1
paired() {
  has_backup $primary && return
  local other=$primary
  primary=$backup backup=$other
  has_backup $primary
}

# serves I: host I is the primary.
serves() { [[ $(status "$1" .role) == primary ]]; }

# counted I NAME: a counter of host I's links.
counted() { status "$1" "[.links[] | select(.[0] == \"$2\") | .[1]][0] // 0"; }

# shellcheck shell=bash
# A sandbox of namespaces (network, mounts, processes; and users, for who is not root) that the scripts
# run their servers and clients in. The host's own network is never touched. The sandbox lives as long
# as its first process: when that ends, however it ends, the kernel kills every process in it and
# removes every device and every namespace. So there is nothing to clean up, not even after SIGKILL.

# sandbox COMMAND...: runs it inside a new sandbox; /run there is empty and private.
sandbox() {
  local users=()
  ((EUID == 0)) || users=(--user --map-root-user)
  # shellcheck disable=SC2016  # expanded inside
  unshare "${users[@]}" --net --mount --pid --fork --kill-child --propagation private \
    bash -c '
      mount -t proc proc /proc 2>/dev/null || true
      mount -t tmpfs tmpfs /run
      ip link set lo up
      "$@"' sandbox "$@"
}

# From here on: for scripts that run inside a sandbox.

# in_netns NAME COMMAND...: runs it in the network namespace NAME.
in_netns() {
  local name=$1
  shift
  nsenter --net="/run/netns/$name" -- "$@"
}

# netns_add NAME: makes a network namespace, its loopback up.
netns_add() {
  ip netns add "$1"
  in_netns "$1" ip link set lo up
}

# veth_pair NETNS_A DEVICE_A NETNS_B DEVICE_B: joins two namespaces by a virtual cable.
veth_pair() {
  ip link add "$2" netns "$1" type veth peer name "$4" netns "$3"
  in_netns "$1" ip link set "$2" up
  in_netns "$3" ip link set "$4" up
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
  local left=$(($1 * 20))
  shift
  until "$@" >/dev/null 2>&1; do
    ((left-- > 0)) || return 1
    sleep 0.05
  done
}

# shellcheck shell=bash
# What it costs that connections outlive their server. For bench-failover.
#
# Pairs of transfers: one from the cluster, one from a server that stands alone on a host of its own, on the same
# bridge, to the same client, one right after the other.

ALONE=10.77.0.3

# alone_start: the same server, without a cluster.
alone_start() {
  if [[ ! -e /run/netns/alone ]]; then
    netns_add alone
    plug alone service 10.77.0.13
  fi
  (exec nsenter --net=/run/netns/alone -- setsid "$OUTLIVE" video "$WORK/media" --port 80 --device packet \
    --interface service --address "$ALONE/24" --mac 02:00:5e:77:00:03) >"$WORK/alone.log" 2>&1 &
  HOSTS[3]=$!
  wait_for 20 fetch /small "$ALONE" || die "the server that stands alone does not answer: $(tail -n 3 "$WORK/alone.log")"
}

# shape RATE: the client's link, both ways.
shape() {
  local queue=(root tbf rate "$1" burst 128kb latency 20ms)
  tc qdisc replace dev ser-client "${queue[@]}"
  tc -n client qdisc replace dev service "${queue[@]}"
}

unshape() {
  tc qdisc del dev ser-client root
  tc -n client qdisc del dev service root
}

# cpu_s I: processor time of host I so far, in seconds: of all its threads, and of the kernel for them.
cpu_s() {
  awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) / hz }' "/proc/${HOSTS[$1]}/stat"
}

# transfer WAY ADDRESS BYTES: one response, or one request, of that length; prints Mbit/s. A `hashed` upload is answered with a
# digest, which every host that runs the handler computes.
transfer() {
  local way=$1 url=http://$2 bytes=$3 field='Want-Repr-Digest: sha-256=0'
  [[ $way != hashed* ]] || field='Want-Repr-Digest: sha-256=1'
  if [[ $way == download ]]; then
    in_netns client curl -sS --fail --max-time 120 -w '%{speed_download}\n' -o /dev/null -r "0-$((bytes - 1))" "$url/huge"
  else
    head -c "$bytes" "$WORK/media/huge" | in_netns client curl -sS --fail --max-time 120 -w '%{speed_upload}\n' \
      -o /dev/null -H Expect: -H "$field" -T - "$url/sink/cost"
  fi | awk '{ print $1 * 8 / 1e6 }'
}

# pair KIND LINK WAY BYTES: one pair, one line of JSON.
pair() {
  local kind=$1 link=$2 way=$3 bytes=$4 before after ours alone
  both_ready
  before="$(cpu_s $primary) $(cpu_s $backup) $(cpu_s 3)"
  alone=$(transfer "$way" "$ALONE" "$bytes") || die "$way from the server that stands alone failed"
  ours=$(transfer "$way" "$SERVICE" "$bytes") || die "$way, $kind, failed: $(tail -n 3 "$WORK"/host?.log)"
  after="$(cpu_s $primary) $(cpu_s $backup) $(cpu_s 3)"
  jq -cn --arg kind "$kind" --arg link "$link" --arg way "$way" --argjson bytes "$bytes" --argjson mbit "$ours" \
    --argjson alone "$alone" --argjson before "[${before// /,}]" --argjson after "[${after// /,}]" \
    '{measure: "goodput", $kind, $link, $way, $bytes, $mbit, alone_mbit: $alone,
      cpu: [range(3) | $after[.] - $before[.]]}' >>"$WORK/results"
}

# pairs KIND LINK BYTES BYTES_HASHED
pairs() {
  local kind=$1 link=$2 way round
  local -A bytes=([download]=$3 [upload]=$3 ["hashed upload"]=$4)
  for ((round = 1; round <= ${ROUNDS:-10}; round++)); do
    for way in download upload "hashed upload"; do
      printf '    %s, %s link, %s, pair %d of %d        \r' "$kind" "$link" "$way" "$round" "${ROUNDS:-10}"
      pair "$kind" "$link" "$way" "${bytes[$way]}"
    done
  done
}

# spoken: messages and bytes that primary and backup have sent, as JSON.
spoken() {
  local i
  for i in $primary $backup; do
    echo "[$(counted "$i" "link messages sent"), $(counted "$i" "link message bytes sent")]"
  done | jq -cs .
}

# messages KIND UNIT PER COMMAND...: what is said while the command runs, for PER units; it may print their number.
messages() {
  local kind=$1 unit=$2 per=$3 before printed
  shift 3
  both_ready
  # What still goes on of former transfers, and hints, which come four times a second.
  sleep 0.5
  before=$(spoken)
  printed=$("$@") || die "$kind, $unit: failed"
  sleep 0.5
  jq -cn --arg kind "$kind" --arg unit "$unit" --argjson per "${per:-$printed}" --argjson before "$before" \
    --argjson after "$(spoken)" \
    '{measure: "messages", $kind, $unit, $per, sent: [range(2) | $after[0][.] - $before[0][.]],
      answered: [range(2) | $after[1][.] - $before[1][.]]}' >>"$WORK/results"
}

# steps WORKLOAD N: how many requests or connections there were in a second.
steps() {
  in_netns client "$OUTLIVE" perf gaps "$1" --to "$SERVICE:80" --path /small --connections "$2" --seconds 1 \
    --think-ms 1 2>/dev/null | jq .steps
}

all_messages() {
  local kind=$1
  messages "$kind" "a connection with one request" "" steps open 10
  messages "$kind" "a request on an open connection" "" steps request 10
  messages "$kind" "a GB downloaded" 1 transfer download "$SERVICE" 1000000000
  messages "$kind" "a GB uploaded" 0.1 transfer upload "$SERVICE" 100000000
}

bench_cost() {
  local kind lines
  truncate -s 1G "$WORK/media/huge"
  for kind in protected lockstep; do
    step "Cost of connections that are $kind"
    lines=
    [[ $kind != lockstep ]] || lines='lockstep = true'
    cluster_start ${lines:+"[survival]" "$lines"} --
    alone_start
    fetch /huge
    fetch /huge "$ALONE"
    all_messages $kind
    shape 1gbit
    pairs $kind shaped "$BYTES" "$BYTES"
    unshape
    # Without a limit all is eight times as fast; only an upload is held up by its digest.
    pairs $kind unshaped $((BYTES * 8)) "$BYTES"
    cluster_stop
    host_kill 3
  done
}

# shellcheck shell=bash
# Links with impairments, and measuring servers behind them: for benchmarks that run inside the sandbox.

# serve_in NETNS NAME [COMMAND...] -- OPTIONS...: starts a measuring server, by COMMAND if there is one, and waits until
# it is ready.
serve_in() {
  local netns=$1 name=$2 by=() pid
  shift 2
  while [[ $1 != -- ]]; do by+=("$1") && shift; done
  shift
  in_netns "$netns" "${by[@]}" "$OUTLIVE" perf serve "$@" >"$WORK/$name.log" 2>&1 &
  pid=$!
  wait_for 20 eval "grep -q ^serving '$WORK/$name.log' || ! kill -0 $pid" || true
  grep -q '^serving' "$WORK/$name.log" || die "$name did not start: $(tail -3 "$WORK/$name.log")"
}

# impaired_link NAME OPTIONS...: a relay from the namespace NAME-server (its side is NAME-l) to the namespace NAME-client
# (NAME-r, 10.83.0.1). Adds the relay's process to `relays`.
impaired_link() {
  local name=$1
  shift
  netns_add "$name-client"
  netns_add "$name-server"
  "$OUTLIVE" relay --left "$name-l" --right "$name-r" "$@" >"$WORK/$name-relay.log" 2>&1 &
  relays+=($!)
  wait_for 10 grep -q '^relaying' "$WORK/$name-relay.log" || die "the relay did not start: $(tail -3 "$WORK/$name-relay.log")"
  ip link set "$name-l" netns "$name-server"
  ip link set "$name-r" netns "$name-client"
  ip -n "$name-client" addr add 10.83.0.1/24 dev "$name-r"
  ip -n "$name-client" link set "$name-r" up
  ip -n "$name-server" link set "$name-l" up
}

# shellcheck shell=bash
# What it costs to go on with many connections, in one process. For bench-failover.

bench_takeover() {
  local scene n round
  step "Takeover of many connections, in one process"
  for scene in fresh gigabyte idle; do
    n=10000
    [[ $scene != idle ]] || n=100000
    for ((round = 1; round <= ${ROUNDS:-3}; round++)); do
      printf '    %s, round %d of %d        \r' "$scene" "$round" "${ROUNDS:-3}"
      "$OUTLIVE" perf takeover "$scene" --connections "$n" --label "$scene" >>"$WORK/results" \
        || die "takeover of $n connections ($scene) failed"
    done
  done
}

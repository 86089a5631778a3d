# shellcheck shell=bash
# How long clients wait when the primary is killed, and when it is drained; and the same figure of an
# undisturbed run, which is subtracted. For bench-failover.

# All paced connections together stay below this, in bits per second.
MOST_BITS=400000000
# Where "open" is measured: so many clients that open a connection, ask, and close, again and again.
OPENERS=100

killed=''

disturb_not() { :; }

# The load may have cost the primary its backup for a moment, and then nobody can take over. Fails if that moment was
# so long that the clients may be about to end.
soon_ready() {
  local start=$EPOCHREALTIME
  both_ready
  (((${EPOCHREALTIME/./} - ${start/./}) < 1000000))
}

disturb_kill() {
  soon_ready || return 1
  host_kill $primary
  killed=$primary
}

disturb_handover() {
  soon_ready || return 1
  in_netns "$(host_name $primary)" "$OUTLIVE" handover --config "$WORK/$primary.toml" >"$WORK/handover.log" 2>&1 \
    || die "handover: $(cat "$WORK/handover.log")"
}

# What the disturbance took, as a line of JSON, for WORKLOAD and N connections.
took_not() { :; }

took_kill() {
  status $backup ".last_takeover | {measure: \"took\", label: \"kill\", workload: \"$1\", connections: $2,
    detection_ms, promotion_ms, adopted: .connections}" | jq -c . >>"$WORK/results"
}

took_handover() {
  jq -cn --arg text "$(cat "$WORK/handover.log")" --arg workload "$1" --argjson connections "$2" \
    '{measure: "took", label: "handover", workload: $workload, connections: $connections,
      total_ms: ($text | capture("after (?<ms>[0-9.]+) ms").ms | tonumber)}' >>"$WORK/results"
}

path_of() { case $1 in download) echo /large ;; request | open) echo /small ;; upload*) echo /sink/gap ;; esac }

# Milliseconds between an answer and the next request: at most 5,000 a second of all.
think_ms() { echo $(($1 > 50 ? $1 / 5 : 10)); }

# Runs of the clients that may be begun anew because nobody could take over.
MOST_ATTEMPTS=5

# look WORKLOAD N RATE DISTURBANCE: one run of the clients with one disturbance in it; one line of JSON.
look() {
  local attempt
  for ((attempt = 1; attempt <= MOST_ATTEMPTS; attempt++)); do
    look_once "$@" && return
    note "not counted: the primary had no backup in the moment of the disturbance ($1, $2 connections)"
  done
  die "the primary loses its backup again and again: $(tail -n 3 "$WORK"/host?.log)"
}

# revive: what was killed comes back.
revive() {
  [[ -z $killed ]] || start_host "$killed"
  killed=''
}

# look_once WORKLOAD N RATE DISTURBANCE: the same; false if the disturbance found a primary without a backup.
look_once() {
  local workload=$1 n=$2 rate=$3 disturbance=$4 client seconds=${SECONDS_EACH:-3} status=0
  both_ready
  [[ $disturbance != not ]] || seconds=2
  # Who is slow to start would otherwise still show the words of the clients before.
  rm -f "$WORK/gaps.log" "$WORK/gaps.json"
  in_netns client "$OUTLIVE" perf gaps "$workload" --to "$SERVICE:80" --path "$(path_of "$workload")" \
    --connections "$n" --seconds "$seconds" --rate "$rate" --think-ms "$(think_ms "$n")" --label "$disturbance" \
    >"$WORK/gaps.json" 2>"$WORK/gaps.log" &
  client=$!
  wait_for 60 grep -q '^looking' "$WORK/gaps.log" || die "the clients did not start: $(tail -3 "$WORK/gaps.log")"
  sleep 1
  if ! "disturb_$disturbance"; then
    wait $client || true
    return 1
  fi
  wait $client || status=$?
  if [[ $killed ]] && ! wait_for 10 serves $backup; then
    revive
    return 1
  fi
  ((status == 0)) \
    || die "the clients failed ($workload, $n, $disturbance): $(tail -3 "$WORK/gaps.log" "$WORK"/host?.log)"
  sed 's/"upload-full"/"upload, full window"/' "$WORK/gaps.json" >>"$WORK/results"
  "took_$disturbance" "$(jq -r .workload "$WORK/gaps.json")" "$n"
  revive
}

# workloads N DISTURBANCE: what is measured with so many connections.
workloads() {
  local all="${WORKLOADS:-download request upload upload-full open}" word
  for word in $all; do
    # New connections come at one rate, whatever else there is; they need no handover of theirs.
    [[ $word == open && $1 != "${CONNECTIONS%% *}" ]] || echo "$word"
  done
}

bench_gaps() {
  local n rate workload round disturbance disturbances=not count
  [[ $SECTIONS != *gaps* ]] || disturbances+=' kill'
  [[ $SECTIONS != *handover* ]] || disturbances+=' handover'
  for n in $CONNECTIONS; do
    rate=${RATE:-$((MOST_BITS / n < 2000000 ? MOST_BITS / n : 2000000))}
    step "$n connections of $(awk -v b="$rate" 'BEGIN { printf "%.2g", b / 1e6 }') Mbit/s"
    cluster_start -- --pace "$rate"
    fetch /large
    fetch /small
    for workload in $(workloads "$n"); do
      count=$n
      [[ $workload != open ]] || count=$OPENERS
      for ((round = 1; round <= ${ROUNDS:-3}; round++)); do
        for disturbance in $disturbances; do
          printf '    %s, %s, round %d of %d        \r' "$workload" "$disturbance" "$round" "${ROUNDS:-3}"
          look "$workload" "$count" "$rate" "$disturbance"
        done
      done
    done
    cluster_stop
  done
}

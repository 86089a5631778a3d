# Reads lines of `outlive perf gaps`, prints a table: the median over the rounds of each quantile, less the
# same of the undisturbed runs. Targets in milliseconds: p50/p99.

def median: sort | if length == 0 then null elif length % 2 == 1 then .[length / 2 | floor]
                   else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def shown: if . == null then "" else . * 10 | round / 10 | tostring end;
def target: if .label == "handover" then [null, 5]
            elif .workload == "upload, full window" then [null, 300]
            elif .workload == "open" then [null, null]
            else [60, 120] end;
def met($p50; $p99; $t; $clean): if $t[0] == null and $t[1] == null then ""
  elif ($t[0] == null or $p50 < $t[0]) and $p99 < $t[1] and $clean then "met" else "MISSED" end;

map(select(.measure == "took")) as $took |
map(select(.measure == "gaps")) |
if length == 0 then empty else
[ "gap in ms, less that of an undisturbed run", "connections", "rounds", "p50", "p99", "worst", "target", "",
  "broken", "SYNs lost", "sent again", "got again", "to notice", "to serve", "undisturbed p50", "p99" ],
( group_by([.connections, .workload])[] |
  (map(select(.label == "not"))) as $quiet |
  ($quiet | map(.p50_ms) | median) as $q50 | ($quiet | map(.p99_ms) | median) as $q99 |
  ($quiet | map(.max_ms) | median) as $qmax |
  map(select(.label != "not")) | group_by(.label)[] | .[0] as $one |
  ($took | map(select(.label == $one.label and .workload == $one.workload and .connections == $one.connections))) as $it |
  ((map(.p50_ms) | median) - $q50) as $p50 | ((map(.p99_ms) | median) - $q99) as $p99 |
  ($one | target) as $target | (map(.broken) | add) as $broken |
  # Of a handover: as many were sent again as in an undisturbed run.
  ([map(.sent_again), map(.received_again)] | map(median)) as $again |
  ($quiet | [map(.sent_again), map(.received_again)] | map(median)) as $usual |
  ($broken == 0 and ($one.label != "handover" or $again == $usual)) as $clean |
  [ $one.workload + ", " + $one.label, ($one.connections | tostring), (length | tostring),
    ($p50 | shown), ($p99 | shown), ((map(.max_ms) | max) - $qmax | shown),
    (if $target == [null, null] then "" else $target | map(. // "-" | tostring) | join("/") end), met($p50; $p99; $target; $clean),
    ($broken | tostring), (map(.lost_syns) | add | tostring), ($again[0] | shown), ($again[1] | shown),
    ($it | map(.detection_ms // empty) | median | shown),
    ($it | map(.promotion_ms // .total_ms // empty) | median | shown), ($q50 | shown), ($q99 | shown) ] )
| @tsv
end

# Reads lines of `outlive perf gaps`, prints a table: the median over the rounds of each quantile, less the
# same of the undisturbed runs.

def median: sort | if length == 0 then null elif length % 2 == 1 then .[length / 2 | floor]
                   else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def shown: if . == null then "" else . * 10 | round / 10 | tostring end;

[ "gap in ms, less that of an undisturbed run", "connections", "rounds", "p50", "p99", "worst", "broken", "undisturbed p50", "p99" ],
( group_by([.connections, .workload])[] |
  (map(select(.label == "not"))) as $quiet |
  ($quiet | map(.p50_ms) | median) as $p50 | ($quiet | map(.p99_ms) | median) as $p99 |
  ($quiet | map(.max_ms) | median) as $max |
  ( map(select(.label != "not")) | group_by(.label)[] |
    [ .[0].workload + ", " + .[0].label, (.[0].connections | tostring), (length | tostring),
      (map(.p50_ms) | median - $p50 | shown), (map(.p99_ms) | median - $p99 | shown),
      (map(.max_ms) | max - $max | shown), (map(.broken) | add | tostring), ($p50 | shown), ($p99 | shown) ] ) )
| @tsv

# Reads lines of `outlive perf takeover`, prints a table.

# The median of the rounds.

def median: sort | if length == 0 then null elif length % 2 == 1 then .[length / 2 | floor]
                   else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def shown: if . == null then "" else . * 10 | round / 10 | tostring end;
def target: if .label == "idle" then "all heard < 2000" elif .label == "gigabyte" then "not above fresh" else "" end;

map(select(.measure == "takeover")) | if length == 0 then empty else
[ "takeover in one process", "connections", "rounds", "to serve, ms", "all probed, ms", "all heard, ms",
  "all sent on, ms", "CPU us each", "target" ],
( group_by(.label)[] | .[0] as $one |
  def of($name): map(.[$name] // empty) | median | shown;
  [ $one.label, ($one.connections | tostring), (length | tostring), of("serve_ms"), of("probed_ms"), of("heard_ms"),
    of("sent_ms"), of("cpu_us_each"), ($one | target) ] )
| @tsv end

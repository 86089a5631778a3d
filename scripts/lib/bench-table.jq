# Reads lines of `outlive perf client`, prints a table: for each measure the median of each contender and its
# ratio to the kernel's best (more is better for rates, less for microseconds).

def median: sort | if length % 2 == 1 then .[length / 2 | floor]
                   else (.[length / 2 - 1] + .[length / 2]) / 2 end;

# The figure that counts of each measure, its unit, and whether more is better.
def figure: if .measure == "latency" then .p50_us
            elif .measure == "connections" then .per_second
            elif .measure == "lossy" then .bytes * 8e-6 / .seconds
            else .gbit_per_s end;
def unit: if .measure == "latency" then "us p50, client " + .client
          elif .measure == "lossy" then "Mbit/s at 1% loss and 20 ms each way"
          elif .measure == "connections" then "connections/s, " + (.connections | tostring) + " threads"
          else "Gbit/s, " + (.connections | tostring) + " connection(s), writes of " + (.write_bytes | tostring) end;
def rounded: if . >= 1000 then round elif . >= 10 then . * 10 | round / 10 else . * 100 | round / 100 end;

group_by([.measure, .client])[] |
  . as $measure |
  ($measure[0].measure == "latency") as $less_is_better |
  [ group_by(.label)[] | { label: .[0].label, median: map(figure) | median, p99: (map(.p99_us // empty) | if length > 0 then median else null end),
                           low: map(figure) | min, high: map(figure) | max, rounds: length } ] |
  (map(select(.label | startswith("kernel")) | .median) | if $less_is_better then min else max end) as $kernel |
  ( [ $measure[0].measure + " (" + ($measure[0] | unit) + ")", "median", "range", (if $less_is_better then "p99" else "" end), "of kernel's best" ],
    ( sort_by(.label)[] |
      [ "  " + .label, (.median | rounded | tostring), (.low | rounded | tostring) + "-" + (.high | rounded | tostring),
        (if .p99 then .p99 | rounded | tostring else "" end),
        (if $kernel then .median / $kernel * 100 | round / 100 | tostring else "" end) ] ),
    [ "" ] ) | @tsv

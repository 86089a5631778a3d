# Reads lines of `outlive perf client` labelled WHOSE SEED POINT, prints a row for each point: the medians of both as parts of
# what 10 Mbit/s carry, their ratio, and the lowest ratio of any seed.

def median: sort | if length % 2 == 1 then .[length / 2 | floor]
                   else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def used: .bytes * 8 / .seconds / (10e6 * 1448 / 1514);
def rounded: . * 1000 | round / 1000 | tostring;

[ "# rtt ms", "loss %", "buffer", "flows", "outlive", "Linux", "ratio", "lowest" ],
( [ .[] | (.label | capture("^(?<whose>[a-z]+) (?<seed>[0-9]+) (?<point>.*)$")) + { used: used } ] | group_by(.point)[] |
  (map(select(.whose == "outlive") | .used) | median) as $ours | (map(select(.whose == "kernel") | .used) | median) as $theirs |
  ([ group_by(.seed)[] | (map(select(.whose == "outlive") | .used) | add) / (map(select(.whose == "kernel") | .used) | add) ] | min) as $lowest |
  (.[0].point | if . == "shared" then ["20", "0.0", "1.0", "1+1"] else split(" ") end) +
  [ ($ours | rounded), ($theirs | rounded), ($ours / $theirs | rounded), ($lowest | rounded) ] ) | @tsv

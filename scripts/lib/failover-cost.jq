# Reads what `bench-failover-cost.sh` wrote, prints two tables: goodput of protected connections against that
# of a server that stands alone, pair by pair; and what the hosts said to each other for it.

def median: sort | if length == 0 then null elif length % 2 == 1 then .[length / 2 | floor]
                   else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def shown($digits): if . == null then "" else pow(10; $digits) as $p | . * $p | round / $p | tostring end;
def target: {"download shaped": 0.99, "upload shaped": 0.95, "download unshaped": 0.97}[.way + " " + .link];

map(select(.measure == "goodput")) as $goodput | map(select(.measure == "messages")) as $messages |
( if ($goodput | length) == 0 then empty else
  [ "goodput", "link", "pairs", "Mbit/s", "alone", "ratio", "lowest", "highest", "target", "",
    "CPU s/GB primary", "backup", "alone" ],
  ( $goodput | group_by([.kind, .link, .way])[] | .[0] as $one |
    (map(.mbit / .alone_mbit)) as $ratios | ($ratios | median) as $ratio |
    (if $one.kind == "protected" then $one | target else null end) as $target |
    (map(.bytes) | add / 1e9) as $gb |
    [ $one.way + ", " + $one.kind, $one.link, (length | tostring), (map(.mbit) | median | shown(0)),
      (map(.alone_mbit) | median | shown(0)), ($ratio | shown(3)), ($ratios | min | shown(3)), ($ratios | max | shown(3)),
      ($target // "" | tostring), (if $target == null then "" elif $ratio >= $target then "met" else "MISSED" end),
      (map(.cpu[0]) | add / $gb | shown(2)), (map(.cpu[1]) | add / $gb | shown(2)),
      (map(.cpu[2]) | add / $gb | shown(2)) ] ),
  [""] end,
  if ($messages | length) == 0 then empty else
  [ "replication", "of", "messages of the primary", "bytes", "messages of the backup", "bytes" ],
  ( $messages[] | .per as $per |
    [ .kind, .unit, (.sent[0] / $per | shown(2)), (.sent[1] / $per | shown(0)),
      (.answered[0] / $per | shown(2)), (.answered[1] / $per | shown(0)) ] ) end )
| @tsv

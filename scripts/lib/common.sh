# shellcheck shell=bash
# What every script of this folder starts with: strict mode, the root of the repository, messages.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
else
  BOLD='' DIM='' RED='' GREEN='' PLAIN=''
fi

# step TEXT: the headline of what happens next.
step() { printf '%s==>%s %s%s\n' "$BOLD$GREEN" "$PLAIN$BOLD" "$*" "$PLAIN"; }

# note TEXT: something worth a line.
note() { printf '    %s\n' "$*"; }

# warn TEXT: something that the reader should know of.
warn() { printf '%s    %s%s\n' "$RED" "$*" "$PLAIN" >&2; }

# die TEXT: one clear line, and the end.
die() {
  printf '%serror:%s %s\n' "$RED$BOLD" "$PLAIN" "$*" >&2
  exit 1
}

# usage FILE: prints the comment block at the head of FILE, which is its help.
usage() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$1"; }

# human_bytes N: "64.0 MB".
human_bytes() {
  awk -v n="$1" 'BEGIN { split("B kB MB GB TB", u); i = 1; while (n >= 1000 && i < 5) { n /= 1000; i++ }
                         printf (i == 1 ? "%d %s" : "%.1f %s"), n, u[i] }'
}

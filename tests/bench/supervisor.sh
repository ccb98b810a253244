#!/usr/bin/env bash
# What the supervisor of the rung userns-single costs, against userns, where the kernel does all of it:
# composing the example; find(1) printing the owner of 15,000 files; one answered call.
#
#     tests/bench/supervisor.sh [RUNS]        (as root; the program runs as ordinary users it makes)
#
# Runs of the two rungs take turns; medians. Needs: gcc libc6-dev uidmap.
set -euo pipefail
. "$(dirname "$0")/common.sh"
runs=${1:-3}
place=${PLACE:-/var/tmp/image-composer-supervisor}
need gcc setpriv newuidmap
users

rm -rf "$place"; mkdir -p "$place"; cd "$place"
trap 'rm -rf "$place"' EXIT
lay
gcc -O2 -static -o calls "$top/tests/bench/calls.c"
for rung in $rungs; do
  ic "$rung" lock spec.yml
  build "$rung" spec.yml --stage packages
done

compose() { build "$1" spec.yml --stage compose --no-image-cache; }
# inside RUNG: the script on standard input, in the composed tree.
inside() { ic "$1" shell spec.yml --locked --stage compose --rung "$1"; }
note() { echo "$3" >> "times.$1.$2"; echo "$1 $2: $3"; }

# In the tree: how many files there are, filled up to 15,000 in one directory, then the times, first and second.
find_owners='
have=$(find / -xdev | wc -l)
mkdir /var/bench; cd /var/bench
[ "$have" -ge 15000 ] || seq $((15001 - have)) | xargs touch
for number in 1 2; do
  begin=$(date +%s%N); find / -xdev -printf "%U\n" > /var/owners; end=$(date +%s%N)
  echo "find$number $(((end - begin) / 1000)) $(wc -l < /var/owners)"
done'

for _ in $(seq "$runs"); do
  for rung in $rungs; do
    old=$(mktemp -d old.XXXXXX) # aside: see end-to-end.sh
    mv "$rung/.cache/image-composer/cache/store" "$old/" 2>/dev/null || true
    sync
    timed "$rung.compose" compose "$rung"
    while read -r what microseconds files; do
      note "$rung" "$what" "$(echo "$microseconds" | awk '{printf "%.3f", $1/1e6}')"
      echo "  ($files files)"
    done < <(inside "$rung" <<< "$find_owners")
    while read -r what middle mean; do
      note "$rung" "$what" "$middle"
      note "$rung" "$what.mean" "$mean"
    done < <({ echo 'base64 -d > /root/calls <<E'; base64 calls; echo E; echo 'chmod 755 /root/calls; /root/calls 20000'; } |
      inside "$rung")
  done
done

printf '\n| what | userns-single | userns | ratio |\n|---|---|---|---|\n'
row() { # NAME TEXT
  local single range
  single=$(median "userns-single.$1"); range=$(median "userns.$1")
  echo "| $2 | $single | $range | $(echo "$single $range" | awk '{printf "%.2f", $1/$2}') |"
}
row compose "composing the example, s"
row find1 "find / -printf %U, 15,000 files, first time, s"
row find2 "the same again, s"
for what in chown stat getppid; do
  row $what "$what, µs: median of 20,000 calls"
  row $what.mean "the mean"
done

# What the benchmarks share; sourced. Sets `top`, makes a release build and the ordinary users that the program
# runs as: ic-bench-userns has a range of subordinate ids, ic-bench-userns-single has none.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
rungs="userns-single userns"
# The machine's own, beside `place`, a directory that every script sets.
program=${CARGO_TARGET_DIR:-$top/target}/release/image-composer

need() { # TOOL…
  local tool
  [ "$(id -u)" = 0 ] || { echo "run as root: it makes the ordinary users that the program runs as" >&2; exit 1; }
  for tool in "$@"; do
    command -v "$tool" >/dev/null || { echo "missing tool: $tool" >&2; exit 1; }
  done
}
users() {
  local rung
  (cd "$top" && cargo build --release --quiet)
  for rung in $rungs; do
    id "ic-bench-$rung" >/dev/null 2>&1 || useradd -m "ic-bench-$rung"
    sed -i "/^ic-bench-$rung:/d" /etc/subuid /etc/subgid
  done
  echo ic-bench-userns:1879048192:65536 | tee -a /etc/subuid >> /etc/subgid
}
# ic RUNG WORDS…: the program as that rung's user, in the user's directory of this place.
ic() {
  local rung=$1; shift
  (cd "$place/$rung" && setpriv --reuid "ic-bench-$rung" --regid "ic-bench-$rung" --clear-groups --reset-env -- \
    env HOME="$place/$rung" "$place/bin/image-composer" --progress plain -q "$@")
}
timed() { # NAME COMMAND…
  local name=$1; shift
  local begin; begin=$(date +%s.%N)
  "$@"
  echo "$(date +%s.%N) $begin" | awk '{printf "%.2f\n", $1-$2}' >> "$place/times.$name"
  echo "$place $name: $(tail -1 "$place/times.$name") s"
}
build() { ic "$1" build "$2" --locked --force --rung "$1" "${@:3}" >/dev/null; }
median() { sort -n "$place/times.$1" | awk '{v[NR]=$1} END {print (NR%2) ? v[(NR+1)/2] : (v[NR/2]+v[NR/2+1])/2}'; }
changed_line() { printf '#!/bin/sh\necho %s > /etc/bench\n' "$RANDOM$RANDOM" > "$place/$1/last.sh"; }
# Directories of the rungs' users in this place, with a spec of one uncompressed output and a script whose last line
# changes.
lay() {
  local rung
  mkdir -p "$place/bin"
  cp "$program" "$place/bin/"
  for rung in $rungs; do
    mkdir "$place/$rung"
    sed '/^output:/,$d' "$top/examples/debian-minimal.yml" > "$place/$rung/spec.yml"
    printf '  scripts:\n    - path: ./last.sh\noutput:\n  format: qcow2\n' >> "$place/$rung/spec.yml"
    changed_line "$rung"
    chown -R "ic-bench-$rung:" "$place/$rung"
  done
}

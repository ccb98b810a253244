#!/usr/bin/env bash
# End-to-end benchmark: image-composer against mmdebstrap + mke2fs -d + qemu-img convert, on the same package
# set (the lock's names and versions) and machine, package caches warm in both, runs interleaved.
#
#     tests/bench/end-to-end.sh [RUNS]        (as root; the program runs as an ordinary user it makes)
#
# Prints every time, the medians and the ratios. Needs: mmdebstrap e2fsprogs qemu-utils jq, a release build.
set -euo pipefail
runs=${1:-3}
top=$(cd "$(dirname "$0")/../.." && pwd)
work=${BENCH_DIR:-/var/tmp/image-composer-bench}
user=ic-bench
[ "$(id -u)" = 0 ] || { echo "run as root: it makes an ordinary user and gives mmdebstrap its fastest mode" >&2; exit 1; }
for tool in mmdebstrap mke2fs qemu-img jq setpriv; do
  command -v $tool >/dev/null || { echo "missing tool: $tool" >&2; exit 1; }
done
(cd "$top" && cargo build --release --quiet)
id $user >/dev/null 2>&1 || useradd -m $user
# No range of ids: the rung most people meet first.
sed -i "/^$user:/d" /etc/subuid /etc/subgid
rm -rf "$work"; mkdir -p "$work/bin"
cp "${CARGO_TARGET_DIR:-$top/target}/release/image-composer" "$work/bin/"
cp "$top/examples/debian-minimal.yml" "$work/spec.yml"
# One output, uncompressed, on both sides; a script whose last line changes.
sed -i '/^output:/,$d' "$work/spec.yml"
cat >> "$work/spec.yml" <<'S'
  scripts:
    - path: ./last.sh
output:
  format: qcow2
S
echo 'echo 0 > /etc/bench' > "$work/last.sh"
chown -R $user: "$work"
ic() { setpriv --reuid $user --regid $user --clear-groups --reset-env -- env HOME="$work" \
  "$work/bin/image-composer" --progress plain -q "$@"; }
cd "$work"

ic lock spec.yml
ic build spec.yml --locked --force >/dev/null   # fills the package cache
codename=$(jq -r '[.repositories[].suite]|map(select(test("-")|not))[0]' spec.lock)
epoch=$(jq -r .epoch spec.lock)
mirror=$(grep -rhoE '^(URIs:|deb ).*' /etc/apt/sources.list /etc/apt/sources.list.d/ 2>/dev/null |
  grep -oE 'https?://[^ ]+/debian/?( |$)' | head -1 | tr -d ' ')
{ echo "deb $mirror $codename main"; echo "deb $mirror $codename-updates main"
  echo "deb ${mirror%/}-security $codename-security main"; } > sources.list
include=$(jq -r '.packages[]|"\(.name)=\(.version)"' spec.lock | paste -sd,)
mkdir -p debs
jq -r '.packages[]|"\(.sha256) \(.name)_\(.version|gsub(":";"%3a"))_\(.architecture).deb"' spec.lock |
  while read -r sum name; do ln -sf "$(find "$work/.cache" -path "*sha256/$sum" | head -1)" "debs/$name"; done

peer() { # mmdebstrap with its archive cache filled, then the file system and the container
  rm -f peer.tar peer.raw peer.qcow2
  SOURCE_DATE_EPOCH=$epoch mmdebstrap --quiet --mode=root --variant=essential --include="$include" \
    --aptopt='APT::Install-Recommends "false"' --skip=download/empty \
    --setup-hook='mkdir -p "$1/var/cache/apt/archives"; cp -L debs/*.deb "$1/var/cache/apt/archives/"' \
    --keyring="$top/providers/data/keys/debian.asc" "$codename" peer.tar sources.list >peer.log 2>&1
  mkdir peer.d && tar -C peer.d -xf peer.tar && mke2fs -q -t ext4 -d peer.d peer.raw 1500M && rm -rf peer.d
  qemu-img convert -O qcow2 peer.raw peer.qcow2
}
timed() { # NAME COMMAND...
  local name=$1; shift
  local begin; begin=$(date +%s.%N)
  "$@"
  echo "$(date +%s.%N) $begin" | awk '{printf "%.2f\n", $1-$2}' >> "times.$name"
  echo "$name: $(tail -1 "times.$name") s"
}
cold() { rm -rf "$work/.cache/image-composer/cache/store" output; ic build spec.yml --locked --no-image-cache --force; }
line() { echo "echo $RANDOM$RANDOM > /etc/bench" > last.sh; ic build spec.yml --locked --no-image-cache --force; }
more() { # one package more: the lock is made before the clock starts
  ic build more.yml --locked --no-image-cache --force
}
same() { ic build spec.yml --locked --force; }
sed 's/      - openssh-server/      - openssh-server\n      - rsync/' spec.yml > more.yml; cp last.sh more-last.sh
ic lock more.yml
for _ in $(seq "$runs"); do
  timed peer peer
  timed cold cold
  timed changed-line line
  timed one-package-more more
  ic build spec.yml --locked --force >/dev/null
  timed identical same
  rm -rf "$work/.cache/image-composer/cache/images"
done
median() { sort -n "times.$1" | awk '{v[NR]=$1} END {print (NR%2) ? v[(NR+1)/2] : (v[NR/2]+v[NR/2+1])/2}'; }
base=$(median peer)
printf '\n| case | median s | of mmdebstrap'"'"'s chain |\n|---|---|---|\n'
for name in peer cold changed-line one-package-more identical; do
  m=$(median $name); printf '| %s | %s | %s |\n' "$name" "$m" "$(echo "$m $base" | awk '{printf "%.3f", $1/$2}')"
done

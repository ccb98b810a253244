#!/usr/bin/env bash
# End-to-end benchmark: image-composer against mmdebstrap + mke2fs -d + qemu-img convert, on the same package
# set (the lock's names and versions) and machine, package caches warm in both, runs interleaved (so are the disk
# and the tmpfs), on the rungs userns-single and userns.
#
#     tests/bench/end-to-end.sh [RUNS]        (as root; the program runs as ordinary users it makes)
#
# Prints every time, then medians and ratios as a table. Needs: mmdebstrap e2fsprogs qemu-utils jq uidmap.
# PLACES names other directories than the disk's and the tmpfs's, a blank between them.
set -euo pipefail
runs=${1:-3}
places=${PLACES:-/var/tmp/image-composer-bench /dev/shm/image-composer-bench}
. "$(dirname "$0")/common.sh"
need mmdebstrap mke2fs qemu-img jq setpriv newuidmap
users

peer() { # mmdebstrap with its archive cache filled, then the file system and the container
  rm -f peer.tar peer.raw peer.qcow2
  env -i PATH="$PATH" SOURCE_DATE_EPOCH="$epoch" mmdebstrap --quiet --mode=root --variant=essential --include="$include" \
    --aptopt='APT::Install-Recommends "false"' --skip=download/empty \
    --setup-hook="mkdir -p \"\$1/var/cache/apt/archives\"; cp -L $place/debs/*.deb \"\$1/var/cache/apt/archives/\"" \
    --keyring="$top/providers/data/keys/debian.asc" "$codename" peer.tar sources.list >peer.log 2>&1 ||
    { cat peer.log >&2; exit 1; }
  mkdir peer.d && tar -C peer.d -xf peer.tar && mke2fs -q -t ext4 -d peer.d peer.raw 1500M && mv peer.d "$(aside)/"
  qemu-img convert -O qcow2 peer.raw peer.qcow2
}
# The store of the last run and the peer's tree are put aside, not deleted: for a minute ext4 without a journal looks
# at every inode that was deleted before it takes a new one, and the next run would be measured with that.
aside() { mkdir -p "$place/old" && mktemp -d "$place/old/XXXXXX"; }
no_layers() {
  local kept
  kept=$(aside)
  for old in "$place/$1/.cache/image-composer/cache/store" "$place/$1/output"; do
    [ ! -e "$old" ] || mv "$old" "$kept/"
  done
}
cold() { build "$1" spec.yml --no-image-cache; }
line() { build "$1" spec.yml --no-image-cache; }
more() { build "$1" more.yml --no-image-cache; }
same() { build "$1" spec.yml; }
peak() { # RUNG: the largest sum of resident memory over the processes of a cold build, in MiB
  no_layers "$1"; local most=0 now
  cold "$1" & local builder=$!
  while kill -0 $builder 2>/dev/null; do
    now=$(ps -eo user:32=,uid=,rss= | awk -v me="ic-bench-$1" '$1==me || $2>=1879048192 {s+=$3} END {print int(s/1024)}')
    [ "$now" -gt "$most" ] && most=$now
    sleep 0.1
  done
  wait $builder
  echo "$most"
}
prepare() {
  rm -rf "$place"; mkdir -p "$place/debs"; cd "$place"
  lay
  for rung in $rungs; do
    sed 's/      - openssh-server/      - openssh-server\n      - rsync/' "$rung/spec.yml" > "$rung/more.yml"
    chown "ic-bench-$rung:" "$rung/more.yml"
    ic "$rung" lock spec.yml; ic "$rung" lock more.yml
    build "$rung" more.yml   # fills the package cache
  done
  lock=userns/spec.lock
  codename=$(jq -r '[.repositories[].suite]|map(select(test("-")|not))[0]' $lock)
  epoch=$(jq -r .epoch $lock)
  include=$(jq -r '.packages[]|"\(.name)=\(.version)"' $lock | paste -sd,)
  local mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' |
    sed 's,/*$,,' | grep -m 1 '/debian$')
  { echo "deb $mirror $codename main"; echo "deb $mirror $codename-updates main"
    echo "deb ${mirror%/}-security $codename-security main"; } > sources.list
  jq -r '.packages[]|"\(.sha256) \(.name)_\(.version|gsub(":";"%3a"))_\(.architecture).deb"' $lock |
    while read -r sum name; do cp "$(find "$place/userns/.cache" -path "*sha256/$sum" | head -1)" "debs/$name"; done
}

for place in $places; do prepare; done
for _ in $(seq "$runs"); do
  for place in $places; do
    cd "$place"
    # In memory nothing is gained by keeping it.
    [ "$(stat -f -c %T .)" != tmpfs ] || rm -rf old
    timed peer peer
    for rung in $rungs; do
      no_layers $rung
      timed "$rung.cold" cold $rung
      changed_line $rung
      timed "$rung.changed-line" line $rung
      timed "$rung.one-package-more" more $rung
      build $rung spec.yml
      timed "$rung.identical" same $rung
      rm -rf "$place/$rung/.cache/image-composer/cache/images"
    done
  done
done

table=$'| place | rung | case | median s | of mmdebstrap\'s chain |\n|---|---|---|---|---|\n'
for place in $places; do
  cd "$place"
  base=$(median peer)
  table+="| $place | | mmdebstrap, mke2fs, qemu-img | $base | 1 |"$'\n'
  for rung in $rungs; do
    for name in cold changed-line one-package-more identical; do
      m=$(median "$rung.$name")
      table+="| $place | $rung | $name | $m | $(echo "$m $base" | awk '{printf "%.3f", $1/$2}') |"$'\n'
    done
    table+="| $place | $rung | peak memory, all processes | $(peak $rung) MiB | |"$'\n'
  done
done
cd /
for place in $places; do rm -rf "$place"; done
printf '\n%s' "$table"

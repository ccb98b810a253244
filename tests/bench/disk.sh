#!/usr/bin/env bash
# Writing disk images, against the tools that people use today: the same tree, the same size, the same machine, runs
# interleaved; wall time, processor time and peak memory of each.
#
#     tests/bench/disk.sh [RUNS]        (as root, which reads every file of the tree and mounts what has reflinks)
#
# Prints every time, then medians and ratios as a table. The tree is 560 MiB in some 14,590 files, taken from this
# machine's /usr; TREE names another. CASES names fewer of: raw zstd zlib gzip default several million reflink.
# Needs: e2fsprogs qemu-utils pigz time, for reflinks btrfs-progs and xfsprogs too.
set -euo pipefail
. "$(dirname "$0")/common.sh"
runs=${1:-5}
cases=${CASES:-raw zstd zlib gzip default several million reflink}
place=${PLACE:-/var/tmp/image-composer-disk}
files=14590
bytes=$((560 << 20))
need mke2fs e2fsck qemu-img pigz dd /usr/bin/time
case " $cases " in *' reflink '*) need mkfs.btrfs mkfs.xfs losetup ;; esac
(cd "$top" && cargo build --release --quiet -p image --example disk)
disk=${CARGO_TARGET_DIR:-$top/target}/release/examples/disk

leave() { for kind in btrfs xfs; do umount -l "$place/$kind" 2>/dev/null || true; done; rm -rf "$place"; }
trap leave EXIT
leave
mkdir -p "$place"
cp "$disk" "$place/disk"
mkdir "$place/out"
cd "$place"

# Runs of fifty files or links out of all of /usr, so that there are as many as in the example's tree; then the largest
# are left out until the bytes are no more.
plant() {
  (cd /usr && find . -xdev \( -type f -o -type l \) -printf '%s %p\n') | LC_ALL=C sort -k2 |
    awk -v want=$files '{line[NR]=$0} END {runs=want/50; for (i=0; i<runs; i++) for (j=1; j<=50; j++) {
      n=int(i*NR/runs)+j; if (n<=NR) print line[n]}}' |
    sort -n | awk -v most=$bytes '{sum+=$1} sum<=most {$1=""; print substr($0, 2)}' |
    tar -C /usr --no-recursion -cf - -T - | tar -xf -
}
if [ -n "${TREE:-}" ]; then
  tree=$TREE
else
  mkdir tree && (cd tree && plant)
  tree=$place/tree
fi
# Read once, so that every run finds it in memory. As one file it is what dd copies.
find "$tree" -xdev -type f -print0 | LC_ALL=C sort -z | xargs -0 cat > bytes
mib=$(($(stat -c %s bytes) / 1048576 * 5 / 4 + 400))
echo "$(find "$tree" -xdev | wc -l) entries, $(($(stat -c %s bytes) >> 20)) MiB; file systems of $mib MiB"

# measured NAME COMMAND…: wall and processor time in seconds, peak memory in MiB.
measured() {
  local name=$1; shift
  /usr/bin/time -o figures -f '%e %U %S %M' "$@" 2>> log || { tail -5 log >&2; exit 1; }
  awk '{print $1}' figures >> "times.$name"
  awk '{printf "%.2f\n", $2 + $3}' figures >> "times.$name.processor"
  awk '{printf "%d\n", $4 / 1024}' figures >> "times.$name.peak"
  echo "$name: $(tail -qn 1 "times.$name" "times.$name.processor" "times.$name.peak" | paste -sd ' ') (s, processor s, MiB)"
}
peer_raw() { rm -f out/peer.raw; measured mke2fs mke2fs -q -F -t ext4 -d "$tree" out/peer.raw "${mib}M"; }
# convert NAME OPTION…: qemu-img's part of a chain.
convert() {
  local name=$1; shift
  rm -f out/peer.qcow2
  measured "$name" qemu-img convert -O qcow2 -c -W -m 16 "$@" out/peer.raw out/peer.qcow2
}
# ours NAME OUTPUT…: also what it takes once the tree is known, as it is where it comes from a store.
ours() {
  local name=$1; shift
  rm -f "$@"
  measured "$name" ./disk "$tree" "${MIB:-$mib}" "$@"
  awk '/^plan:/ {plan=$2} /^write:/ {write=$2} END {print plan + write}' log >> "times.$name.known"
}
sound() { e2fsck -fn "$1?offset=1048576" > fsck 2>&1 || { cat fsck >&2; exit 1; }; }
has() { case " $cases " in *" $1 "*) true ;; *) false ;; esac; }

for _ in $(seq "$runs"); do
  peer_raw
  measured dd dd if=bytes of=out/dd bs=1M status=none; rm out/dd
  ours raw out/ours.raw
  if has zstd; then convert convert-zstd -o compression_type=zstd; ours zstd out/zstd.qcow2.zst; fi
  if has zlib; then
    convert convert-zlib
    stat -c %s out/peer.qcow2 > size.convert-zlib
    ours zlib out/zlib.qcow2.gz
    stat -c %s out/zlib.qcow2.gz > size.zlib
  fi
  if has gzip; then
    measured pigz sh -c 'pigz -6 -c out/ours.raw > out/peer.gz'
    stat -c %s out/peer.gz > size.pigz; rm out/peer.gz
    ours gzip out/gzip.raw.gz
    stat -c %s out/gzip.raw.gz > size.gzip
  fi
  # A disk of the size that images of Debian have when nobody says another.
  if has default; then
    MIB=6144 ours default-raw out/default.raw
    measured default-pigz sh -c 'pigz -6 -c out/default.raw > out/peer.gz'
    stat -c %s out/peer.gz > size.default-pigz; rm out/peer.gz out/default.raw
    MIB=6144 ours default out/default.raw.gz
    stat -c %s out/default.raw.gz > size.default
  fi
  if has several; then
    ours several out/several.raw out/several.qcow2.zst
    ours several-apart-raw out/apart.raw; ours several-apart-zstd out/apart.qcow2.zst
    rm out/apart.*
  fi
done
sound out/ours.raw
if has zstd; then mv out/zstd.qcow2.zst out/zstd.qcow2; qemu-img compare -q out/zstd.qcow2 out/ours.raw; fi
if has zlib; then mv out/zlib.qcow2.gz out/zlib.qcow2; qemu-img compare -q out/zlib.qcow2 out/ours.raw; fi
if has gzip; then gzip -dc out/gzip.raw.gz | cmp - out/ours.raw; fi
if has several; then cmp out/several.raw out/ours.raw; fi
rm -rf out/* bytes

if has million; then
  mkdir many
  perl -e 'for my $d (0 .. 3999) { my $at = sprintf("many/d%04d", $d); mkdir $at or die;
    for my $f (0 .. 249) { open(my $file, ">", "$at/file-$f") or die; print $file "$d/$f\n"; } }'
  for _ in $(seq $(((runs + 2) / 3))); do
    rm -f out/*
    measured million-mke2fs mke2fs -q -F -t ext4 -N 1010000 -d many out/peer.raw 6000M; rm out/peer.raw
    measured million ./disk many 6000 out/ours.raw
  done
  sound out/ours.raw
  rm out/ours.raw
fi
if has reflink; then
  for kind in btrfs xfs; do
    mkdir "$kind"
    truncate -s 8G "$kind.image"
    "mkfs.$kind" -q "$kind.image"
    mount -o loop "$kind.image" "$kind"
    cp -a "$tree" "$kind/tree"
    sync -f "$kind"
    before=$(df --output=used --block-size=1M "$kind" | tail -1)
    measured "reflink-$kind" ./disk "$kind/tree" "$mib" "$kind/ours.raw"
    sync -f "$kind"
    sound "$kind/ours.raw"
    echo $(($(df --output=used --block-size=1M "$kind" | tail -1) - before)) > "size.$kind"
    umount "$kind"
  done
fi

ratio() { echo "$1 $2" | awk '{printf "%.3f", $1/$2}'; }
sum() { echo "$1 $2" | awk '{print $1+$2}'; }
# row CASE NAME PEER-NAME… AIM: one of ours against the sum of its peers.
row() {
  local what=$1 name=$2 aim=${*: -1} wall=0 processor=0 peer
  for peer in "${@:3:$#-3}"; do
    wall=$(sum "$wall" "$(median "$peer")"); processor=$(sum "$processor" "$(median "$peer.processor")")
  done
  echo "| $what | $(median "$name") | $wall | $(ratio "$(median "$name")" "$wall") | $aim |" \
    "$(median "$name.processor") | $processor | $(ratio "$(median "$name.processor")" "$processor") |" \
    "$(median "$name.peak") |"
}
size() {
  echo
  echo "$1: $(cat "size.$2") bytes, $(cat "size.$3") by the peer: $(ratio "$(cat "size.$2")" "$(cat "size.$3")")"
}
echo
echo '| what | s | peer, s | ratio | aim | processor, s | peer | ratio | peak, MiB |'
echo '|---|---|---|---|---|---|---|---|---|'
row 'raw, against `mke2fs -d`' raw mke2fs 0.5
row 'raw, against `dd` of the bytes' raw dd 2.2
known=$(median raw.known)
echo "| the same once the tree is known | $known | $(median dd) | $(ratio "$known" "$(median dd)") | 2.2 | | | | |"
if has zstd; then row 'qcow2 zstd, against `mke2fs -d` + `qemu-img convert`' zstd mke2fs convert-zstd 0.5; fi
if has zlib; then row 'qcow2 zlib, against the same' zlib mke2fs convert-zlib 0.3; fi
if has gzip; then row 'raw.gz, against `pigz -6` of the raw file' gzip pigz 0.3; fi
if has default; then row 'raw.gz of 6 GiB, against `pigz -6` of the raw file' default default-pigz 0.3; fi
if has several; then row 'raw + qcow2 zstd in one pass, against two' several several-apart-raw several-apart-zstd ''; fi
if has million; then row 'a million files, against `mke2fs -d`' million million-mke2fs 0.7; fi
if has reflink; then for kind in btrfs xfs; do
  row "raw on $kind, against \`dd\` on the disk; $(cat "size.$kind") MiB written" "reflink-$kind" dd ''
done; fi
if has zlib; then size 'qcow2 zlib' zlib convert-zlib; fi
if has gzip; then size 'raw.gz' gzip pigz; fi
if has default; then size 'raw.gz of 6 GiB' default default-pigz; fi

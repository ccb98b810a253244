#!/usr/bin/env bash
# What the place of the store and of the work costs: the example on each file system, as an ordinary user, on the
# rungs userns-single and userns; package cache warm, runs interleaved.
#
#     tests/bench/places.sh [RUNS]        (as root; the program runs as ordinary users it makes)
#
# "disk" is a directory of this machine; ext4, xfs and btrfs are made in sparse files on it and mounted through
# loop devices; "overlay" is one with everything on the disk, as the root of a container is; "copied" is the disk with
# the layers copied into one tree, as where overlay is refused. KINDS names fewer.
set -euo pipefail
. "$(dirname "$0")/common.sh"
runs=${1:-3}
kinds=${KINDS:-disk ext4 xfs btrfs tmpfs overlay copied}
home=${HOME_OF_PLACES:-/var/tmp/image-composer-places}
need mkfs.ext4 mkfs.xfs mkfs.btrfs losetup setpriv newuidmap
users

leave() { for kind in $kinds; do umount -l "$home/$kind" 2>/dev/null || true; done; rm -rf "$home"; }
trap leave EXIT
leave
for kind in $kinds; do
  place=$home/$kind
  mkdir -p "$place"
  case $kind in
    tmpfs) mount -t tmpfs -o size=12g tmpfs "$place" ;;
    overlay)
      mkdir -p "$home/parts/lower" "$home/parts/upper" "$home/parts/work"
      mount -t overlay -o "lowerdir=$home/parts/lower,upperdir=$home/parts/upper,workdir=$home/parts/work" overlay "$place" ;;
    ext4 | xfs | btrfs)
      truncate -s 12G "$home/$kind.image"
      "mkfs.$kind" -q "$home/$kind.image"
      mount -o loop "$home/$kind.image" "$place" ;;
  esac
  lay
  for rung in $rungs; do
    if [ -z "${first:-}" ]; then
      first=$place/$rung
      ic "$rung" lock spec.yml
      build "$rung" spec.yml --stage packages
    else # the same packages everywhere, fetched once
      mkdir -p "$place/$rung/.cache/image-composer/cache"
      cp -r "$first/.cache/image-composer/cache/packages" "$place/$rung/.cache/image-composer/cache/"
      cp "$first/spec.lock" "$place/$rung/"
      chown -R "ic-bench-$rung:" "$place/$rung"
    fi
  done
done

one() { # RUNG: a cold build, then one with a changed line
  # Put aside, not deleted: see end-to-end.sh. In memory nothing is gained by keeping it.
  old=$(mktemp -d "$place/old.XXXXXX")
  mv "$place/$1/.cache/image-composer/cache/store" "$old/" 2>/dev/null || true
  rm -rf "$place/$1/output"
  [ "$(stat -f -c %T "$place")" != tmpfs ] || rm -rf "$old"
  # What is still to be written of it is no part of the next build.
  sync
  local how=--no-image-cache
  [ "$kind" != copied ] || how="$how --no-overlay"
  # shellcheck disable=SC2086 — two options
  timed "$1.cold" build "$1" spec.yml $how
  changed_line "$1"
  # shellcheck disable=SC2086
  timed "$1.changed-line" build "$1" spec.yml $how
}
for _ in $(seq "$runs"); do
  for kind in $kinds; do
    place=$home/$kind
    for rung in $rungs; do one "$rung"; done
  done
done

printf '\n| place | rung | cold, s | of the first place | changed line, s |\n|---|---|---|---|---|\n'
for rung in $rungs; do
  base=
  for kind in $kinds; do
    place=$home/$kind
    cold=$(median "$rung.cold")
    base=${base:-$cold}
    echo "| $kind | $rung | $cold | $(echo "$cold $base" | awk '{printf "%.2f", $1/$2}') | $(median "$rung.changed-line") |"
  done
done

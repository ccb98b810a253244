#!/usr/bin/env bash
# Benchmark of the rpm family: image-composer against `dnf --installroot` of the same packages, on the suite's own
# distribution (made by `cargo test --test e2e rpm_distribution`), packages at hand in both, runs interleaved, on
# the rungs userns-single and userns.
#
#     tests/bench/rpm.sh [RUNS]        (as root; the program runs as ordinary users it makes)
#
# dnf only installs; image-composer goes on to a disk image (qcow2), which is part of its times. Prints every time,
# then medians and ratios as a table. Needs: dnf jq uidmap.
set -euo pipefail
runs=${1:-3}
place=${PLACE:-/var/tmp/image-composer-bench}
. "$(dirname "$0")/common.sh"
need dnf jq setpriv newuidmap unshare
users
made=$(ls -d "/var/tmp/image-composer-rpm-distribution-$(id -u)"/*/key.asc 2>/dev/null | head -1) ||
  { echo "make the distribution first: cargo test --test e2e rpm_distribution" >&2; exit 1; }
distribution=$(dirname "$made")

aside() { mkdir -p "$place/old" && mktemp -d "$place/old/XXXXXX"; }
no_layers() { # the store is put aside, not deleted: see end-to-end.sh
  local kept old
  kept=$(aside)
  for old in "$place/$1/.cache/image-composer/cache/store" "$place/$1/output"; do
    [ ! -e "$old" ] || mv "$old" "$kept/"
  done
}
peer() { # in namespaces of its own, with the /proc and devices that scriptlets ask for
  mkdir peer.d
  unshare --mount --pid --fork --kill-child sh -ec '
    root=$1; mkdir -p $root/proc $root/dev $root/run
    mount -t proc proc $root/proc; mount -t tmpfs tmpfs $root/run; mount -t tmpfs tmpfs $root/dev
    for device in null zero full random urandom; do : > $root/dev/$device; mount --bind /dev/$device $root/dev/$device; done
    ln -s /proc/self/fd $root/dev/fd; shift; HOME='"$distribution"' SYSTEMD_OFFLINE=1 exec "$@"' \
    sh "$place/peer.d" dnf -c dnf.conf --quiet --assumeyes --releasever=3.0 --installroot "$place/peer.d" install $packages \
    >peer.log 2>&1 || { cat peer.log >&2; exit 1; }
  mv peer.d "$(aside)/"
}
cold() { build "$1" spec.yml --no-image-cache; }
compose() { build "$1" spec.yml --no-image-cache --stage compose; }
line() { build "$1" spec.yml --no-image-cache; }
same() { build "$1" spec.yml; }

rm -rf "$place"; mkdir -p "$place/bin"; cd "$place"
cp "$program" bin/
for rung in $rungs; do
  mkdir -p "$rung/.config/image-composer"
  cat > "$rung/.config/image-composer/config.yaml" <<EOF
providers:
  azurelinux:
    repositories: [{name: distribution, url: "file:$distribution/repository", key: $distribution/key.asc}]
EOF
  cat > "$rung/spec.yml" <<EOF
image: {name: bench, base: {os: azurelinux, version: "3.0"}}
disk: {size: 3GiB, partitions: [{type: esp, size: 128MiB}, {type: root, size: rest}]}
customizations:
  packages:
    remove: [cloud-init, cloud-utils-growpart, dracut-hostonly, hyperv-daemons, shim, systemd-ukify]
    install: [sudo, vim-minimal, systemd-timesyncd, dnf, rsyslog]
  scripts:
    - path: ./last.sh
output: {format: qcow2}
EOF
  changed_line "$rung"
  chown -R "ic-bench-$rung:" "$rung"
  ic "$rung" lock spec.yml
  build "$rung" spec.yml
done
packages=$(jq -r '.packages[]|"\(.name)-\(.version).\(.architecture)"' userns/spec.lock | paste -sd' ')
printf '[main]\ngpgcheck=1\nplugins=0\ninstall_weak_deps=0\nreposdir=/nonexistent\n[distribution]\nname=distribution\nbaseurl=file://%s\ngpgcheck=1\nrepo_gpgcheck=1\ngpgkey=file://%s\n' \
  "$distribution/repository" "$distribution/key.asc" > dnf.conf
echo "$(jq '.packages|length' userns/spec.lock) packages"

for _ in $(seq "$runs"); do
  timed dnf peer
  for rung in $rungs; do
    no_layers "$rung"
    timed "$rung.cold" cold "$rung"
    changed_line "$rung"
    timed "$rung.changed-line" line "$rung"
    # Again, as the second try of whoever looks for the right line: by then the memory of former images is free.
    changed_line "$rung"
    timed "$rung.next-line" line "$rung"
    build "$rung" spec.yml
    timed "$rung.identical" same "$rung"
    no_layers "$rung"
    timed "$rung.compose" compose "$rung"
    rm -rf "$rung/.cache/image-composer/cache/images"
  done
done

base=$(median dnf)
printf '\n| rung | case | median s | of dnf |\n|---|---|---|---|\n| | dnf --installroot | %s | 1 |\n' "$base"
for rung in $rungs; do
  for name in cold compose changed-line next-line identical; do
    m=$(median "$rung.$name")
    printf '| %s | %s | %s | %s |\n' "$rung" "$name" "$m" "$(echo "$m $base" | awk '{printf "%.3f", $1/$2}')"
  done
done
[ -n "${KEEP:-}" ] || { cd / && rm -rf "$place"; }

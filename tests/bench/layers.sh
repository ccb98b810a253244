#!/usr/bin/env bash
# Benchmark of layers as a product, on `examples/debian-minimal.yml`:
#
# - a second machine with an empty cache and a registry, against a cold build with an empty cache, packages fetched in
#   both, and the same with packages at hand
# - bytes sent by `oci push` after one changed script, against the changed layer
# - `layers verify` from a warm page cache, against b3sum on one thread over the same files
# - `oci export` with zstd, against `tar c | zstd -T0 -3` of the same tree
#
#     tests/bench/layers.sh [RUNS]        (as root; the program runs as ordinary users it makes)
#
# Prints every time, then medians and ratios as a table. Needs: docker-registry b3sum zstd jq uidmap.
set -euo pipefail
runs=${1:-3}
place=${PLACE:-/var/tmp/image-composer-bench}
. "$(dirname "$0")/common.sh"
need docker-registry b3sum zstd jq skopeo setpriv newuidmap
rungs=userns
rung=userns
users

aside() { mkdir -p "$place/old" && mktemp -d "$place/old/XXXXXX"; }
away() { # NAME…: below the cache, put aside rather than deleted: see end-to-end.sh
  local kept name; kept=$(aside)
  for name in "$@"; do
    [ ! -e "$place/$rung/.cache/image-composer/$name" ] || mv "$place/$rung/.cache/image-composer/$name" "$kept/"
  done
  rm -rf "$place/$rung/output"
}
remote() { # PUSH
  printf 'cache:\n  remote:\n    - url: oci://localhost:%s/cache\n      push: %s\n' "$port" "$1" \
    > "$place/$rung/.config/image-composer/config.yaml"
}
local_only() { rm -f "$place/$rung/.config/image-composer/config.yaml"; }
once() { build "$rung" spec.yml --no-image-cache; }
verify() { ic "$rung" layers verify >/dev/null; }
hash_all() { find "$place/$rung/.cache/image-composer/cache/store" -type f -print0 | xargs -0 b3sum --num-threads 1 >/dev/null; }
export_ours() { rm -rf "$rung/image"; ic "$rung" oci export zstd.yml image --locked; }
export_peer() { tar -C tree --numeric-owner --xattrs -cf - . | zstd -q -T0 -3 -f -o peer.tar.zst; }

rm -rf "$place"; mkdir -p "$place"; cd "$place"
lay
mkdir -p "$rung/.config/image-composer" registry
port=5999
printf 'version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: %s\nhttp:\n  addr: 127.0.0.1:%s\n  secret: bench\n' \
  "$place/registry" "$port" > registry.yml
docker-registry serve registry.yml >registry.log 2>&1 & trap 'kill $!' EXIT
sed '/^output:/,$d' "$rung/spec.yml" > "$rung/zstd.yml"
printf 'output:\n  format: oci\n  compression: zstd\n' >> "$rung/zstd.yml"
sed 's/^output:.*//; s/^  format: qcow2$//' "$rung/spec.yml" > "$rung/tar.yml"
printf 'output:\n  format: tar\n' >> "$rung/tar.yml"
chown -R "ic-bench-$rung:" "$rung"
for spec in spec zstd tar; do ic "$rung" lock "$spec.yml"; done

remote true; build "$rung" spec.yml --no-image-cache   # the first machine sends what it makes
for _ in $(seq "$runs"); do
  local_only; away cache
  timed cold-empty once
  away cache/store; timed cold once
  remote false; away cache
  timed second-empty once
  away cache/store; timed second once
done
local_only
for _ in $(seq "$runs"); do verify; hash_all; timed b3sum hash_all; timed verify verify; done
build "$rung" tar.yml --no-image-cache
mkdir tree && tar -C tree -xf "$(find "$rung/output" -name '*.tar' | head -1)"
export_ours
for _ in $(seq "$runs"); do timed tar-zstd export_peer; timed export export_ours; done
echo "tree: $(du -sm --apparent-size tree | cut -f1) MB"
push() { ic "$rung" oci push spec.yml "docker://localhost:$port/bench:1" --locked --progress plain; }
layers() { skopeo inspect --raw --tls-verify=false "docker://localhost:$port/bench:1" | jq -r '.layers[]|"\(.digest) \(.size)"' | sort; }
printf '#!/bin/sh\ncat /usr/bin/bash > /var/filling; echo 1 >> /var/filling\n' > "$rung/last.sh"
push; layers > before
printf '#!/bin/sh\ncat /usr/bin/bash > /var/filling; echo 2 >> /var/filling\n' > "$rung/last.sh"
push; layers | comm -13 before - | awk '{s+=$2; if ($2>m) m=$2} END {printf "changed layers: %d bytes, the largest %d\n", s, m}'

m() { median "$1"; }
ratio() { echo "$(m "$1") $(m "$2")" | awk '{printf "%.3f", $1/$2}'; }
printf '\n| what | median s | against | median s | ratio |\n|---|---|---|---|---|\n'
for pair in 'second-empty cold-empty' 'second cold' 'verify b3sum' 'export tar-zstd'; do
  set -- $pair
  printf '| %s | %s | %s | %s | %s |\n' "$1" "$(m "$1")" "$2" "$(m "$2")" "$(ratio "$1" "$2")"
done
cd / && rm -rf "$place"

#!/usr/bin/env bash
# Benchmark of layers as a product, on `examples/debian-minimal.yml`:
#
# - a second machine with an empty cache and a registry, against a cold build with an empty cache, packages fetched in
#   both, and the same with packages at hand
# - bytes sent by `oci push` after one changed script, headers and all, against the changed layer as it is packed
# - `layers verify` from a warm page cache, against b3sum on one thread over the same files
# - `oci export` with zstd of a tree of some 500 MB, against `tar c | zstd -T0 -3` of the same tree
#
#     tests/bench/layers.sh [RUNS]        (as root; the program runs as ordinary users it makes)
#
# Prints every time, then medians and ratios as a table. Needs: docker-registry b3sum zstd jq python3 skopeo uidmap, and
# room for two stores and two caches per run (see end-to-end.sh for why none is deleted between runs). ONLY=export, say,
# measures one of: second verify export push. PACKAGES=false leaves layers of packages out of
# the cache in the registry.
set -euo pipefail
runs=${1:-3}
place=${PLACE:-/var/tmp/image-composer-bench}
. "$(dirname "$0")/common.sh"
need docker-registry b3sum zstd jq python3 skopeo setpriv newuidmap
rungs=userns
rung=userns
# Of the registry, and of the wire to it that counts.
port=${PORT:-5999}
wire=$((port + 1))
wanted() { [[ " ${ONLY:-second verify export push} " == *" $1 "* ]]; }

room() { # MIB: fails where a run would fill the disk
  local free; free=$(($(stat -f -c '%a * %S / 1048576' "$(dirname "$place")")))
  [ "$free" -ge "$1" ] || { echo "$(dirname "$place") has $free MiB, and $1 MiB are needed: set PLACE, or fewer RUNS" >&2; exit 1; }
}
listening() { # PORT PID: waits until somebody does
  for _ in $(seq 200); do
    (exec 3<> "/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
    kill -0 "$2" 2>/dev/null || break
    sleep 0.05
  done
  echo "nobody listens on port $1:" >&2; cat "$place"/*.log >&2; exit 1
}
aside() { mkdir -p "$place/old" && mktemp -d "$place/old/XXXXXX"; }
away() { # NAME…: below the cache, put aside rather than deleted
  local kept name; kept=$(aside)
  for name in "$@"; do
    [ ! -e "$place/$rung/.cache/image-composer/$name" ] || mv "$place/$rung/.cache/image-composer/$name" "$kept/"
  done
  rm -rf "$place/$rung/output"
}
remote() { # PUSH
  printf 'cache:\n  remote:\n    - url: oci://localhost:%s/cache\n      packages: %s\n      push: %s\n' "$port" "${PACKAGES:-true}" "$1" \
    > "$place/$rung/.config/image-composer/config.yaml"
}
local_only() { rm -f "$place/$rung/.config/image-composer/config.yaml"; }
once() { build "$rung" spec.yml --no-image-cache; }
verify() { ic "$rung" layers verify >/dev/null; }
hash_all() { find "$place/$rung/.cache/image-composer/cache/store" -type f -print0 | xargs -0 b3sum --num-threads 1 >/dev/null; }
export_ours() { rm -rf "$place/$rung/image"; ic "$rung" oci export both.yml image --locked --rung "$rung"; }
export_peer() { tar -C tree --numeric-owner --xattrs --xattrs-include='*' -cf - . | zstd -q -T0 -3 -f -o peer.tar.zst; }
bytes_of() { du -sb "$1" | cut -f1; }

users
rm -rf "$place"; room $((2000 + runs * 2500)); mkdir -p "$place"; cd "$place"
lay
mkdir -p "$rung/.config/image-composer" registry
# What the others have, and more: a tree of some 500 MB, which oci and tar have alike.
sed '/^output:/,$d; s/^      - openssh-server$/      - openssh-server\n      - gcc/' "$rung/spec.yml" > "$rung/both.yml"
printf 'output:\n  format: [oci, tar]\n  compression: zstd\n' >> "$rung/both.yml"
printf 'version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: %s\nhttp:\n  addr: 127.0.0.1:%s\n  secret: bench\n' \
  "$place/registry" "$port" > registry.yml
docker-registry serve registry.yml > registry.log 2>&1 & registry=$!
python3 "$top/tests/bench/wire.py" "$wire" "$port" "$place/sent" > wire.log 2>&1 & counter=$!
trap 'kill $registry $counter 2>/dev/null || true' EXIT
listening "$port" "$registry"; listening "$wire" "$counter"
chown -R "ic-bench-$rung:" "$rung"
ic "$rung" lock spec.yml

if wanted second; then
  remote true; once   # the first machine sends what it makes
  for _ in $(seq "$runs"); do
    local_only; away cache
    timed cold-empty once
    away cache/store; timed cold once
    remote false; away cache
    timed second-empty once
    away cache/store; timed second once
  done
  local_only
else
  once
fi
if wanted verify; then
  verify; hash_all
  for _ in $(seq "$runs"); do timed b3sum hash_all; timed verify verify; done
fi
if wanted export; then
  ic "$rung" lock both.yml; build "$rung" both.yml --no-image-cache
  mkdir tree && tar -C tree --numeric-owner --xattrs --xattrs-include='*' -xpf "$(find "$rung/output" -name '*.tar*' ! -name '*.oci.*' | head -1)"
  export_ours; export_peer
  for _ in $(seq "$runs"); do timed tar-zstd export_peer; timed export export_ours; done
  echo "tree: $(($(bytes_of tree) / 1000000)) MB; packed: $(bytes_of "$rung/image") bytes, peer $(bytes_of peer.tar.zst)"
fi
if wanted push; then
  script() { printf '#!/bin/sh\ncat /usr/bin/bash > /var/filling; echo %s >> /var/filling\n' "$1" > "$rung/last.sh"; }
  push() { ic "$rung" oci push spec.yml "docker://localhost:$wire/bench:1" --locked --rung "$rung"; }
  packed() { skopeo inspect --raw --tls-verify=false "docker://localhost:$port/bench:1" | jq -r '.layers[]|"\(.digest) \(.size)"' | sort; }
  script 1; push; packed > before
  begin=$(cat sent)
  script 2; push; packed > after
  sent=$(($(cat sent) - begin))
  comm -13 before after | awk -v sent="$sent" '{sum += $2; if ($2 > most) most = $2; number++} END {
    if (!most) { print "the push changed no layer" > "/dev/stderr"; exit 1 }
    printf "| push, bytes sent | %d | the changed layer | %d | %.3f |\n", sent, most, sent / most > "push.row"
    printf "%d layers of %d bytes are new, the largest of %d; %d bytes were sent\n", number, sum, most, sent }'
fi

m() { median "$1"; }
ratio() { echo "$(m "$1") $(m "$2")" | awk '{printf "%.3f", $1/$2}'; }
printf '\n| what | median s | against | median s | ratio |\n|---|---|---|---|---|\n'
for pair in 'second-empty cold-empty' 'second cold' 'verify b3sum' 'export tar-zstd'; do
  set -- $pair
  [ -e "times.$1" ] || continue
  printf '| %s | %s | %s | %s | %s |\n' "$1" "$(m "$1")" "$2" "$(m "$2")" "$(ratio "$1" "$2")"
done
[ ! -e push.row ] || cat push.row
cd / && rm -rf "$place"

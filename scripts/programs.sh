#!/usr/bin/env bash
# The programs that the crash tests start, in the target folder $1: as `make build` builds them, and `lianka` once more with its failpoints, in
# failpoints/ beside them. `--release` for the optimised ones.
set -euo pipefail
cd "$(dirname "$0")/.."
export SQLX_OFFLINE=true

target=$1
profile=debug
if [ "${2:-}" = --release ]; then profile=release; fi
build() {
    "${CARGO:-cargo}" build --quiet --locked --target-dir "$target" -p lianka-server -p lianka-client -p lianka-simulator ${2:+--release} "${@:3}"
}

# Cargo gives both the same place: the one with failpoints is put aside before the one that is shipped takes it.
build "$target" "${2:-}" --bin lianka --features lianka-server/pipeline-points
mkdir -p "$target/$profile/failpoints"
cmp -s "$target/$profile/lianka" "$target/$profile/failpoints/lianka" || cp "$target/$profile/lianka" "$target/$profile/failpoints/lianka"
build "$target" "${2:-}" --bins

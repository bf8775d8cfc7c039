#!/usr/bin/env bash
# Checks that the sync core and the client core compile for a browser (wasm32-unknown-unknown).
set -euo pipefail
cd "$(dirname "$0")/.."

TARGET=wasm32-unknown-unknown

environment=$(scripts/wasm_target.sh target/web)
eval "$environment"
check() { "${WASM_CARGO:-cargo}" check --locked --target "$TARGET" --target-dir target/web/wasm "$@"; }
check --package lianka-sync-core --features wasm
check --package lianka-client-core --package lianka-office-core --features lianka-sync-core/wasm
echo "wasm: the three cores compile for a browser"

#!/usr/bin/env bash
# Checks that the sync core and the client core compile for a browser (wasm32-unknown-unknown).
#
# The target comes by rustup. Where rustup has no network, and on Debian, see docs/decisions/0013-wasm.md.
set -euo pipefail
cd "$(dirname "$0")/.."

TARGET=wasm32-unknown-unknown

rustup target list --installed | grep -qx "$TARGET" || rustup target add "$TARGET"
# getrandom asks for this flag of whoever builds the final program.
export RUSTFLAGS='--cfg getrandom_backend="wasm_js"'
cargo check --locked --target "$TARGET" --package lianka-sync-core --features wasm
cargo check --locked --target "$TARGET" --package lianka-client-core --package lianka-office-core --features lianka-sync-core/wasm
echo "wasm: the three cores compile for a browser"

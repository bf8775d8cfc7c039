#!/usr/bin/env bash
# Builds the phone's web app into web/dist, from which `cargo build` puts it into the server: the core as wasm, then the page.
#
# Everything is fetched by its own client from its own registry, in versions that lock files name, and kept in target/web and web/node_modules:
# a second run takes seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
export SQLX_OFFLINE=true
unset DATABASE_URL
WORK=target/web
TARGET=wasm32-unknown-unknown
mkdir -p "$WORK"

scripts/setup.sh
NODE=$(scripts/node.sh "$WORK")
PATH=$NODE:$PATH

# What the shell below sets is for wasm alone.
environment=$(scripts/wasm_target.sh "$WORK")
# SQLite without what the phone never asks of it: less to download.
unused=(FTS5 RTREE SESSION PREUPDATE_HOOK DBPAGE_VTAB DBSTAT_VTAB STMTVTAB BYTECODE_VTAB MATH_FUNCTIONS OFFSET_SQL_FUNC COLUMN_METADATA UNLOCK_NOTIFY API_ARMOR UNKNOWN_SQL_FUNCTION)
left_out=(JSON UTF16 AUTHORIZATION PROGRESS_CALLBACK TRACE DESERIALIZE COMPLETE GET_TABLE DECLTYPE COMPILEOPTION_DIAGS TEST_CONTROL INCRBLOB TCL_VARIABLE)
CFLAGS_wasm32_unknown_unknown=$(printf -- '-USQLITE_ENABLE_%s ' "${unused[@]}")$(printf -- '-DSQLITE_OMIT_%s ' "${left_out[@]}")
export CFLAGS_wasm32_unknown_unknown
(
    eval "$environment"
    # No folder of this machine in what browsers get.
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS+=" --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src= --remap-path-prefix=$PWD="
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS
    "${WASM_CARGO:-cargo}" build --quiet --locked --profile web --target $TARGET --target-dir "$WORK/wasm" -p lianka-client-web
)

wanted=$(sed -n '/^name = "wasm-bindgen"$/{n;s/^version = "\(.*\)"$/\1/p}' Cargo.lock)
grep -qF "wasm-bindgen-cli-support = \"=$wanted\"" web/bindgen/Cargo.toml || {
    echo "web: Cargo.lock has wasm-bindgen $wanted; web/bindgen/Cargo.toml must name the same" >&2
    exit 1
}
cargo build --quiet --locked --manifest-path web/bindgen/Cargo.toml --target-dir "$WORK/bindgen"
wasm=$WORK/wasm/$TARGET/web/lianka_client_web.wasm
if [ ! -e "$WORK/core/core_bg.wasm" ] || [ "$wasm" -nt "$WORK/core/core_bg.wasm" ]; then
    "$WORK/bindgen/debug/lianka-web-bindgen" "$wasm" "$WORK/core" core
fi

cd web
if [ ! -e node_modules/.stamp ] || [ package-lock.json -nt node_modules/.stamp ]; then
    PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --silent --no-audit --no-fund
    touch node_modules/.stamp
fi
npm run --silent build

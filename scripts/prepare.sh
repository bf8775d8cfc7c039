#!/usr/bin/env bash
# Writes .sqlx: what Postgres says about every query, so that nobody needs a database to build. With --check: only compares.
#
# sqlx's macros write these files themselves when they see a database and SQLX_OFFLINE_DIR; no further tool is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

fresh=$PWD/target/sqlx
rm -rf "$fresh"
mkdir -p "$fresh"
# Macros run only where something is compiled; all SQL is in the server.
touch server/src/lib.rs
SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$fresh scripts/temporary_postgres.sh cargo check --quiet --package lianka-server --lib
touch server/src/lib.rs

if [ "${1:-}" = --check ]; then
    diff -r .sqlx "$fresh" >/dev/null || {
        echo "prepare: .sqlx is not what the queries and migrations say; run \`make prepare\` and commit the result" >&2
        exit 1
    }
else
    rm -rf .sqlx
    cp -R "$fresh" .sqlx
    echo "prepare: $(find .sqlx -name '*.json' | wc -l) queries in .sqlx"
fi

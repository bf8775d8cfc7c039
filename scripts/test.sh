#!/usr/bin/env bash
# Builds the programs that the crash tests start, then runs every test. The closing lines are the runner's.
set -euo pipefail
cd "$(dirname "$0")/.."
export SQLX_OFFLINE=true
unset DATABASE_URL

# One process for all integration tests, and so one private cluster; nextest would start one per test.
cargo build --locked --workspace --bins
cargo test --locked --workspace "$@"

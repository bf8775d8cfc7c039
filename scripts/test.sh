#!/usr/bin/env bash
# Builds the programs that the crash tests start, then runs every test. The closing lines are the runner's.
set -euo pipefail
cd "$(dirname "$0")/.."
export SQLX_OFFLINE=true
unset DATABASE_URL

# One process for all integration tests, and so one private cluster; nextest would start one per test.
scripts/programs.sh target
status=0
cargo test --locked --workspace --no-fail-fast "$@" 2>&1 | tee target/tests.log || status=$?
# The mutants, unless only some tests were asked for.
[ $# -gt 0 ] || scripts/mutants.sh test 2>&1 | tee -a target/tests.log || status=$?
# The runner closes once for every program; one line for them all.
awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 } END { printf "%d passed, %d failed, %d skipped\n", passed, failed, ignored }' target/tests.log
exit "$status"

#!/usr/bin/env bash
# Hostile bytes: `make fuzz N=…` and `make fuzz-automerge`. Arguments go to lianka-fuzz (simulation/fuzz/src/main.rs).
set -euo pipefail
cd "$(dirname "$0")/.."
export SQLX_OFFLINE=true
unset DATABASE_URL

# The profile of the tests, whose checks of arithmetic are wanted here, with what runs a million times made fast.
fast=()
for package in lianka-sync-core lianka-fuzz allocation-counter; do
    fast+=(--config "profile.dev.package.$package.opt-level=2")
done
exec cargo run --quiet --locked -p lianka-fuzz "${fast[@]}" -- "$@"

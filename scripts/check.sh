#!/usr/bin/env bash
# Everything that CI checks beside the tests. Every step runs; the closing line names those that failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
export SQLX_OFFLINE=true
unset DATABASE_URL

CARGO_DENY=0.20.2
CARGO_MACHETE=0.9.2

failed=()
step() {
    local name=$1
    shift
    echo "check: $name"
    "$@" || failed+=("$name")
}

# Installs a cargo tool into target/tools at a pinned version, unless it is there.
tool() {
    local name=$1 version=$2
    if ! "target/tools/bin/$name" --version 2>/dev/null | grep -qF "$version"; then
        # Each takes a minute or two, once. A debug build is enough for one run over a lock file.
        cargo install --quiet --locked --debug --root target/tools --target-dir target/tools/build "$name@$version" || return
        # A gigabyte that only the next version could use.
        rm -rf target/tools/build
    fi
}

licences() {
    tool cargo-deny "$CARGO_DENY" || return
    # Advisories need a download, so `make advisories` looks them up where there is a network; here, what it has not seen yet.
    scripts/advisories.sh --since
    target/tools/bin/cargo-deny --log-level error check --hide-inclusion-graph bans licenses sources
}

unused() {
    tool cargo-machete "$CARGO_MACHETE" || return
    target/tools/bin/cargo-machete
}

step "format" cargo fmt --all --check
# With what is compiled for tests alone: failpoints, and the search for mutants.
step "lints" cargo clippy --quiet --locked --workspace --all-targets --features lianka-server/pipeline-points,lianka-simulation/mutants -- -D warnings
step "queries" scripts/prepare.sh --check
step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --workspace --no-deps --document-private-items
step "licences, sources and bans" licences
step "unused dependencies" unused

if [ ${#failed[@]} -gt 0 ]; then
    printf 'check: failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
echo "check: all is well"

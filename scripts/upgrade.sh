#!/usr/bin/env bash
# Releases and upgrades; docs/upgrades.md says what for.
#
#   scripts/upgrade.sh freeze VERSION [REV]   freezes a release into tests/fixtures/upgrades and migrations/released.txt
#   scripts/upgrade.sh check REV [VERSION]    proves the way from REV to the present sources and back, with the real programs of both
set -euo pipefail
cd "$(dirname "$0")/.."
export SQLX_OFFLINE=true
unset DATABASE_URL

here=$PWD
programs=$here/target/upgrades

fail() {
    echo "upgrade: $*" >&2
    exit 1
}

# Builds the programs of a revision into target/upgrades/<commit>, once; its sources lie in <commit>/source.
build() {
    local commit=$1 into=$programs/$1
    [ -x "$into/lianka-phone" ] && return
    rm -rf "$into"
    mkdir -p "$into/source"
    git archive "$commit" | tar -x -C "$into/source"
    # Cargo tells members of two workspaces apart by their times only.
    find "$into/source" -name '*.rs' -exec touch {} +
    (cd "$into/source" && CARGO_TARGET_DIR=$programs/build cargo build --quiet --locked -p lianka-server -p lianka-client --bins)
    cp "$programs/build/debug/lianka" "$programs/build/debug/lianka-phone" "$into/"
}

revision=${3:-HEAD}
case "${1:-}" in
freeze)
    version=${2:?which version}
    commit=$(git rev-parse --verify "$revision^{commit}")
    build "$commit"
    # Its migrations never change from here on.
    if ! grep -qx "# $version" migrations/released.txt; then
        echo "# $version" >>migrations/released.txt
        (cd "$programs/$commit/source/migrations" && sha256sum [0-9]*.sql) | while read -r sum file; do
            grep -qF "  $file" migrations/released.txt || echo "$sum  $file" >>migrations/released.txt
        done
    fi
    cargo run --quiet --locked -p lianka-tests --bin lianka-upgrades -- freeze --programs "$programs/$commit" \
        --queries "$programs/$commit/source/.sqlx" --version "$version" --out "tests/fixtures/upgrades/$version"
    ;;
check)
    commit=$(git rev-parse --verify "${2:?which revision}^{commit}")
    # Releases before 0.3.0 were cut after the fact: their sources all say 0.1.0.
    version=${3:-$(git show "$commit:Cargo.toml" | sed -n 's/^version = "\(.*\)"/\1/p')}
    if [ -z "${3:-}" ] && [ "$version" = 0.1.0 ] && git cat-file -e "$commit:server/src/transfers.rs" 2>/dev/null; then
        version=0.2.0
    fi
    build "$commit"
    cargo build --quiet --locked -p lianka-server -p lianka-client --bins
    cargo build --quiet --locked -p lianka-tests --bin lianka-upgrades
    present=${CARGO_TARGET_DIR:-$here/target}/debug
    "$present/lianka-upgrades" check --old "$programs/$commit" --version "$version" --new "$present"
    ;;
*)
    fail "freeze VERSION [REV], or check REV [VERSION]"
    ;;
esac

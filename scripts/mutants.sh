#!/usr/bin/env bash
# The mutants (docs/simulation.md): product code with mistakes in it, which the simulation must find. The product's own sources know nothing of
# them: simulation/mutants/patches has one patch a file, and they are applied to a copy of the tree in target/mutants/tree.
#
#   scripts/mutants.sh test          makes the copy and runs the test that every mutant is found
#   scripts/mutants.sh run ARGS…     makes the copy and runs find-mutants in it, optimised: run list, run find held, run replay held-takes-lost 7
#   scripts/mutants.sh check         only looks whether every patch applies
#   scripts/mutants.sh tree          only makes the copy, to edit mutants in it by hand
#   scripts/mutants.sh refresh       writes the patches anew from the copy
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
patches=simulation/mutants/patches
work=target/mutants
tree=$work/tree
export SQLX_OFFLINE=true
unset DATABASE_URL

# The sources as they are, in $1.
copied() {
    rm -rf "$1"
    mkdir -p "$1"
    tar --exclude=./target --exclude=./.git --exclude=node_modules --exclude=./data -cf - . | tar -xf - -C "$1"
}

# Every patched file, by its path.
patched() {
    (cd "$patches" && find . -name '*.patch' | sed 's|^\./||; s|\.patch$||' | LC_ALL=C sort)
}

# Applies every patch in $1, with the options after it. The line of context makes a patch outlive changes next to it; what it takes away must be there letter for letter.
apply() {
    local file status=0
    for file in $(patched); do
        if ! patch --directory="$1" "${@:2}" --strip=1 --forward --fuzz=0 --silent --no-backup-if-mismatch <"$patches/$file.patch" >"$work/patch.log" 2>&1; then
            cat "$work/patch.log" >&2
            echo "mutants: $patches/$file.patch does not fit $file any more" >&2
            status=1
        fi
    done
    [ $status = 0 ] || echo "mutants: run scripts/mutants.sh tree, put what *.rej in $tree names into the files by hand, then scripts/mutants.sh refresh" >&2
    return $status
}

# The crates that have mutants depend on the switch.
depend() {
    local crate
    for crate in $(patched | sed 's|/src/.*||' | LC_ALL=C sort -u); do
        sed -i '/^\[dependencies\]$/a lianka-mutants = { path = "../simulation/mutants" }' "$1/$crate/Cargo.toml"
    done
}

# Of what the copy was made.
sources() {
    find sync-core/src office-core/src client-core/src client-local/src client/src server/src -name '*.rs' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
}

make_tree() {
    local fits=0 file
    copied "$work/next"
    apply "$work/next" || fits=1
    depend "$work/next"
    mkdir -p "$tree"
    # Only what differs is written, so that cargo compiles no more than that.
    (cd "$work/next" && find . -type f -print0) | while IFS= read -r -d '' file; do
        cmp -s "$work/next/$file" "$tree/$file" || { mkdir -p "$(dirname "$tree/$file")" && cp -p "$work/next/$file" "$tree/$file" && touch "$tree/$file"; }
    done
    (cd "$tree" && find . -type f -not -name Cargo.lock -print0) | while IFS= read -r -d '' file; do
        [ -e "$work/next/$file" ] || rm "$tree/$file"
    done
    rm -rf "$work/next"
    sources >"$work/sources"
    return "$fits"
}

# The files of the copy that have mutants.
mutated() {
    (cd "$tree" && grep -rl 'lianka_mutants::on!' --include=*.rs sync-core office-core client-core client-local client server) | LC_ALL=C sort
}

refresh() {
    local file path
    [ -d "$tree" ] || { echo "mutants: there is no $tree: scripts/mutants.sh tree" >&2; return 1; }
    find "$tree" \( -name '*.rej' -o -name '*.orig' \) -delete
    (cd "$tree" && cargo fmt --all)
    mutated >"$work/mutated"
    while read -r file; do
        grep -qxF "$(sha256sum "$file")" "$work/sources" || { echo "mutants: $file changed since $tree was made: keep your edits of it, run scripts/mutants.sh tree, edit again" >&2; return 1; }
    done <"$work/mutated"
    rm -rf "$patches"
    while read -r file; do
        path=$patches/$file.patch
        mkdir -p "$(dirname "$path")"
        # Without the times, which would differ at every writing.
        diff --unified=1 --label "a/$file" --label "b/$file" "$file" "$tree/$file" >"$path" || true
    done <"$work/mutated"
    echo "mutants: $(grep -rhoE '^\+.*on!\(\w+\)' "$patches" | grep -oE 'on!\(\w+\)' | sort -u | wc -l) mutants in $(patched | wc -l) files"
}

# The dependencies from elsewhere are those of the whole workspace, compiled already by `make test`.
cargo_in_tree() {
    (cd "$tree" && CARGO_TARGET_DIR=$root/target cargo "$@")
}

mkdir -p "$work"
case ${1:-} in
test)
    make_tree
    cargo_in_tree test --workspace --features lianka-simulation/mutants --test mutants
    ;;
run)
    make_tree
    cargo_in_tree build --quiet --profile demo -p lianka-simulation --no-default-features --features mutants --bin find-mutants
    shift
    target/demo/find-mutants "$@"
    ;;
check) apply . --dry-run ;;
tree) make_tree ;;
refresh) refresh ;;
*)
    sed -n '5,9s/^# *//p' "$0" >&2
    exit 2
    ;;
esac

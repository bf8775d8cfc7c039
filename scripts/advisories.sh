#!/usr/bin/env bash
# Holds the dependencies of Cargo.lock to the RustSec advisory database, and writes into docs/advisories.md what was looked at and when.
#
# The database is downloaded, which needs a network; where there is none, ADVISORY_DB names a folder with a git checkout of it. `--since` needs
# neither: it tells which crates of Cargo.lock are newer than the last look.
set -euo pipefail
cd "$(dirname "$0")/.."

record=docs/advisories.md
deny=target/tools/bin/cargo-deny
# What cargo-deny calls its copy.
copy=target/advisory-db/advisory-db-3157b0e258782691

# Name and version of every crate that is not ours.
crates() {
    awk '/^\[\[package\]\]/ { name = ""; version = "" }
         /^name = / { gsub(/"/, "", $3); name = $3 }
         /^version = / { gsub(/"/, "", $3); version = $3 }
         /^source = / { print name, version }' Cargo.lock | sort
}

looked_at() {
    sed -n '/^```text$/,/^```$/p' "$record" | grep -v '^```' | tr ',' '\n' | sed 's/^ *//; /^$/d' | sort
}

if [ "${1:-}" = --since ]; then
    newer=$(comm -23 <(crates) <(looked_at) | paste -sd ',' | sed 's/,/, /g')
    if [ -n "$newer" ]; then
        echo "advisories: not looked up yet, see $record: $newer"
    fi
    exit 0
fi

if [ ! -x "$deny" ]; then
    echo "advisories: run \`make check\` once, which installs cargo-deny" >&2
    exit 1
fi
config=target/advisory-db/deny.toml
mkdir -p target/advisory-db
{
    echo '[advisories]'
    echo "db-path = \"$PWD/target/advisory-db\""
    # A copy that somebody brought may be older; its date is written down.
    if [ -n "${ADVISORY_DB:-}" ]; then echo 'maximum-db-staleness = "P365D"'; fi
    # Why each is passed over stands in deny.toml.
    sed -n '/^\[advisories\]/,/^\[/{/^ignore/,/^]/p}' deny.toml
    sed '/^\[advisories\]/,/^$/d' deny.toml
} > "$config"
offline=()
if [ -n "${ADVISORY_DB:-}" ]; then
    rm -rf "$copy"
    git clone --quiet "$ADVISORY_DB" "$copy"
    offline=(--offline)
fi
"$deny" --config "$config" "${offline[@]}" check --hide-inclusion-graph advisories

{
    sed '/^<!-- looked -->$/q' "$record"
    echo
    echo "Looked up on $(date -u +%F) in the database as of $(git -C "$copy" log -1 --format=%cs), commit $(git -C "$copy" log -1 --format=%h): nothing open for these $(crates | wc -l) crates."
    echo
    echo '```text'
    crates | awk '{ item = $0 ","; if (length(line) + length(item) > 140) { print line; line = "" } line = line (line == "" ? "" : " ") item }
                  END { sub(/,$/, "", line); print line }'
    echo '```'
} > "$record.new"
mv "$record.new" "$record"
echo "advisories: nothing open; written down in $record"

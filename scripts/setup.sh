#!/usr/bin/env bash
# Installs what Lianka needs and this machine lacks. Does nothing, and says nothing, where everything is there; safe to repeat.
#
# Needed: Rust (by rustup; this script does not install it), a C compiler (SQLite and ring are compiled), the server programs of
# Postgres 15 or newer (for the private cluster), Node (the foreign client of the tests), patch (the mutants).
set -euo pipefail

RUST_MIN=1.94
NODE_MIN=18

fail() {
    echo "setup: $*" >&2
    exit 1
}

# Succeeds where version $1 is at least version $2.
at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

has_postgres() {
    local program version
    for program in "$(command -v postgres || true)" /usr/lib/postgresql/*/bin/postgres /usr/pgsql-*/bin/postgres \
        /usr/local/pgsql/bin/postgres /opt/homebrew/opt/postgresql@*/bin/postgres /usr/local/opt/postgresql@*/bin/postgres; do
        [ -x "$program" ] || continue
        version=$("$program" --version | sed 's/.*(PostgreSQL) \([0-9]*\).*/\1/')
        at_least "$version" 15 && return 0
    done
    return 1
}

has_node() {
    command -v npm >/dev/null && command -v node >/dev/null && at_least "$(node --version | tr -d v)" "$NODE_MIN"
}

command -v cargo >/dev/null || fail "Rust is missing: install it from https://rustup.rs, then run this again"
rust=$(rustc --version | cut -d ' ' -f 2)
at_least "$rust" "$RUST_MIN" || fail "Rust $rust is too old, $RUST_MIN or newer is needed: run \`rustup update stable\`"

packages=()
command -v cc >/dev/null || packages+=(gcc libc6-dev)
command -v make >/dev/null || packages+=(make)
command -v patch >/dev/null || packages+=(patch)
command -v ps >/dev/null || packages+=(procps)
has_postgres || packages+=(postgresql)
has_node || packages+=(nodejs npm)
[ ${#packages[@]} -gt 0 ] || exit 0

command -v apt-get >/dev/null || fail "please install: ${packages[*]} (Postgres 15 or newer with its server programs)"
if [ "$(id -u)" = 0 ]; then
    as_root=(env)
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=(sudo env)
else
    fail "please run: sudo apt-get install ${packages[*]}"
fi

# Debian starts a system-wide cluster when the server is installed; Lianka wants the programs only. An administrator's own file stays.
if [[ " ${packages[*]} " == *" postgresql "* ]] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    "${as_root[@]}" mkdir -p /etc/postgresql-common
    printf 'create_main_cluster = false\n' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
echo "setup: installing ${packages[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
    "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold "${packages[@]}" >"$log" 2>&1
}
# A fresh machine has no package list, or an old one.
install || { "${as_root[@]}" apt-get update >"$log" 2>&1 && install; } || {
    tail -n 20 "$log" >&2
    fail "apt-get could not install: ${packages[*]}"
}
has_postgres || fail "the packaged Postgres is older than 15: install postgresql-15 or newer from https://www.postgresql.org/download/"
has_node || fail "the packaged Node is older than $NODE_MIN: install a newer one from https://nodejs.org"

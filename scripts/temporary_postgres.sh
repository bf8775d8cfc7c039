#!/usr/bin/env bash
# Runs a command with DATABASE_URL set to an empty database that has all migrations; the cluster is gone afterwards.
#
#   scripts/temporary_postgres.sh COMMAND [ARGUMENT...]
#
# By hand and not by `lianka`: the queries of `lianka` cannot be compiled before this has run.
set -euo pipefail
cd "$(dirname "$0")/.."

newest() {
    # Folders that a machine does not have make ls fail.
    (ls -d /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb /usr/local/pgsql/bin/initdb /opt/homebrew/opt/postgresql@*/bin/initdb \
        /usr/local/opt/postgresql@*/bin/initdb 2>/dev/null || true) | sort -V | tail -n 1
}
initdb=$(newest)
bin=$(if [ -n "$initdb" ]; then dirname "$initdb"; else pg_config --bindir; fi)
folder=$(mktemp -d /tmp/lianka-prepare-XXXXXX)

# Postgres refuses to be root.
as_user=(env)
if [ "$(id -u)" = 0 ]; then
    user=$(getent passwd postgres nobody | head -n 1 | cut -d : -f 1)
    chown "$user" "$folder"
    as_user=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups env)
fi
clean() {
    (cd / && "${as_user[@]}" "$bin/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1) || true
    rm -rf "$folder"
}
trap clean EXIT

here=$PWD
cd /
if ! { "${as_user[@]}" "$bin/initdb" -D "$folder/data" -U lianka -A trust -E UTF8 --locale=C --no-sync &&
    "${as_user[@]}" "$bin/pg_ctl" -D "$folder/data" -l "$folder/log" -w -o "-k $folder -c listen_addresses= -c fsync=off" start; } >"$folder/start" 2>&1; then
    cat "$folder/start" "$folder/log" >&2
    exit 1
fi
cd "$here"
psql=("$bin/psql" -q -X -v ON_ERROR_STOP=1 -h "$folder" -U lianka)
"${psql[@]}" -d postgres -c 'create database lianka'
for migration in migrations/*.sql; do
    "${psql[@]}" -d lianka -1 -f "$migration" >/dev/null
done
DATABASE_URL="postgres:///lianka?host=$folder&user=lianka" "$@"

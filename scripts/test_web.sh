#!/usr/bin/env bash
# Walks a street with the web app in Chromium, against the server that `make web` built. Arguments go to Node's test runner.
set -euo pipefail
cd "$(dirname "$0")/.."
NODE=$(scripts/node.sh target/web)
PATH=$NODE:$PATH
if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null && ! command -v google-chrome >/dev/null; then
    command -v apt-get >/dev/null || { echo "test-web: install Chromium" >&2; exit 1; }
    as_root=(env)
    [ "$(id -u)" = 0 ] || as_root=(sudo env)
    "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium fonts-noto-cjk >target/web/apt.log 2>&1 || { tail -n 20 target/web/apt.log >&2; exit 1; }
fi
cd web
exec node --test --test-concurrency=1 --test-reporter=spec "$@" test/*.test.mjs

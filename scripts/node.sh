#!/usr/bin/env bash
# Prints a folder with Node 20 or newer and npm: the machine's, or one from the npm registry where the packaged one is older.
# usage: node.sh FOLDER    (what is fetched stays there)
set -euo pipefail
NODE_MIN=20
FOLDER=$(realpath -m "$1")

fits() { [ -x "$1" ] && [ "$("$1" --version | sed 's/^v\([0-9]*\).*/\1/')" -ge "$NODE_MIN" ]; }

machine=$(command -v node || true)
if fits "$machine"; then
    dirname "$machine"
    exit 0
fi
own=$FOLDER/node/node_modules/node/bin
if ! fits "$own/node"; then
    echo "web: the packaged Node is older than $NODE_MIN; fetching one from the npm registry, once" >&2
    mkdir -p "$FOLDER/node"
    npm install --silent --no-audit --no-fund --no-save --prefix "$FOLDER/node" node@20.19.5 >&2
fi
fits "$own/node" || { echo "web: Node $NODE_MIN or newer is needed" >&2; exit 1; }
echo "$own"

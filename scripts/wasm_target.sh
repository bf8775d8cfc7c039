#!/usr/bin/env bash
# Makes sure that Rust can compile for wasm32-unknown-unknown, and prints the environment that it needs for that, as lines for `eval`.
#
# In this order: the target is installed; rustup can fetch it; Debian has the sources of the standard library of the very same compiler;
# Debian's own compiler, unpacked beside the tree. Nothing is installed for the whole machine but clang, which compiles SQLite.
# usage: wasm_target.sh FOLDER    (what is made once stays there)
set -euo pipefail
FOLDER=$(realpath -m "$1")
TARGET=wasm32-unknown-unknown
RUST_MIN=1.94
# SQLite is compiled by clang; 14 does not know what it is asked for.
CLANG_MIN=19
mkdir -p "$FOLDER"

say() { echo "wasm: $*" >&2; }

# apt with lists of its own: those of the machine may be old, or missing.
A=$FOLDER/apt
apt=(-qq -o Dir::State::lists="$A/lists" -o Dir::Cache="$A/cache" -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o APT::Sandbox::User=root)

clang() {
    local found
    for found in $(compgen -c clang- | grep -E '^clang-[0-9]+$' | sort -u -t- -k2 -rn) clang; do
        command -v "$found" >/dev/null || continue
        [ "$("$found" -dumpversion | cut -d. -f1)" -ge "$CLANG_MIN" ] && "$found" --print-targets 2>/dev/null | grep -q wasm32 && { echo "$found"; return; }
    done
    return 1
}

if ! clang >/dev/null; then
    command -v apt-get >/dev/null || { say "install clang $CLANG_MIN or newer"; exit 1; }
    as_root=(env)
    [ "$(id -u)" = 0 ] || as_root=(sudo env)
    found=$(apt-cache search --names-only '^clang-[0-9]+$' | sed 's/^clang-\([0-9]*\) .*/\1/' | sort -n | awk -v min=$CLANG_MIN '$1 >= min' | head -n 1)
    if [ -z "$found" ]; then
        "${as_root[@]}" apt-get update >&2
        found=$(apt-cache search --names-only '^clang-[0-9]+$' | sed 's/^clang-\([0-9]*\) .*/\1/' | sort -n | awk -v min=$CLANG_MIN '$1 >= min' | head -n 1)
    fi
    [ -n "$found" ] || { say "no package of clang $CLANG_MIN or newer"; exit 1; }
    say "installing clang-$found"
    "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "clang-$found" >"$FOLDER/apt.log" 2>&1 || { tail -n 20 "$FOLDER/apt.log" >&2; exit 1; }
fi
echo "export CC_wasm32_unknown_unknown=$(clang) AR_wasm32_unknown_unknown=ar"

# getrandom asks for this flag of whoever builds the final program.
flags='--cfg getrandom_backend="wasm_js"'
installed() { [ -n "$(ls "$(rustc --print sysroot)/lib/rustlib/$TARGET/lib/"*.rlib 2>/dev/null)" ]; }

if ! installed && command -v rustup >/dev/null && [ ! -e "$FOLDER/std/version" ] && [ ! -e "$FOLDER/toolchain/env" ]; then
    timeout 120 rustup target add "$TARGET" >&2 2>/dev/null || say "rustup cannot fetch the target; Debian's packages then"
fi
if installed; then
    echo "export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS='$flags'"
    exit 0
fi

# The standard library for this very compiler, from the packaged sources of the same version in whichever suite has them.
exact() {
    local std=$FOLDER/std version self host mirror suite package found
    version=$(rustc -V | cut -d ' ' -f 2)
    [ "$(cat "$std/version" 2>/dev/null)" = "$version" ] && return
    command -v apt-get >/dev/null || return 1
    self=$(rustc --print sysroot)
    host=$(rustc -vV | sed -n 's/^host: //p')
    mirror=$({ sed -n 's#^URIs: \(.*/debian\)/\?$#\1#p' /etc/apt/sources.list.d/*.sources; sed -n 's#^deb .*\(http[^ ]*/debian\)/\? .*#\1#p' /etc/apt/sources.list; } 2>/dev/null | head -n 1)
    [ -n "$mirror" ] || return 1
    rm -rf "$std" "$A"
    mkdir -p "$A/lists/partial" "$A/cache/archives/partial" "$std/lib/rustlib/$TARGET/lib"
    for suite in bookworm trixie trixie-backports forky sid experimental; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
    done >"$A/sources.list"
    local own=("${apt[@]}" -o Dir::Etc::sourcelist="$A/sources.list" -o Dir::Etc::sourceparts=/dev/null)
    apt-get "${own[@]}" update >&2 || return 1
    for package in rust-src rust-web-src; do
        found=$(apt-cache "${own[@]}" madison $package | awk '{ print $3 }' | grep -m 1 "^$version[+-]") && break
    done
    [ -n "${found:-}" ] || return 1
    say "building the standard library of Rust $version for the browser, once"
    (cd "$A" && apt-get "${own[@]}" download "$package=$found" >&2) || return 1
    dpkg-deb --fsys-tarfile "$A"/$package*.deb | tar -x -C "$A" --wildcards './usr/src/rustc-*/library'
    (cd "$A"/usr/src/rustc-*/library/sysroot && RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$A/build __CARGO_DEFAULT_LIB_METADATA=wasm \
        RUSTFLAGS="-Zforce-unstable-if-unmarked -Cembed-bitcode=yes --cap-lints=warn" cargo build -q --release --locked --target $TARGET >&2) || return 1
    cp "$A/build/$TARGET/release/deps/"*.rlib "$std/lib/rustlib/$TARGET/lib/"
    ln -sfn "$self/lib/rustlib/$host" "$std/lib/rustlib/$host"
    echo "$version" >"$std/version"
    rm -rf "$A"
}

# Debian's own compiler with its standard library, in a folder.
whole() {
    local out=$FOLDER/toolchain found llvm packages deb tool library
    [ -e "$out/env" ] && return
    command -v apt-get >/dev/null || return 1
    rm -rf "$out" "$A"
    mkdir -p "$A/lists/partial" "$A/cache/archives/partial" "$out/debs" "$out/tree"
    apt-get "${apt[@]}" update >&2
    found=$(apt-cache "${apt[@]}" policy rustc-web | sed -n 's/^ *Candidate: \([0-9.]*\).*/\1/p')
    [ "$(printf '%s\n%s\n' "$RUST_MIN" "${found:-0}" | sort -V | head -n 1)" = "$RUST_MIN" ] || return 1
    say "unpacking Debian's Rust $found for the browser, once"
    llvm=$(apt-cache "${apt[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances rustc-web | sed -n 's/^libllvm\([0-9]*\)$/\1/p' | sort -n | tail -n 1)
    packages=$(apt-get "${apt[@]}" -s install --no-install-recommends rustc-web cargo-web rust-web-src "lld-$llvm" -q | awk '/^Inst/ { print $2 }')
    # shellcheck disable=SC2086
    (cd "$out/debs" && apt-get "${apt[@]}" download $packages >&2)
    for deb in "$out"/debs/*.deb; do
        case $deb in
        */rust-web-src_*) dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$out/tree" --wildcards './usr/src/rustc-*/library' ./usr/lib ;;
        *) dpkg-deb -x "$deb" "$out/tree" ;;
        esac
    done
    rm -rf "$out/debs" "$A"
    local libraries
    libraries=$out/tree/usr/lib/$(uname -m)-linux-gnu
    for tool in rustc cargo; do
        printf '#!/bin/sh\nLD_LIBRARY_PATH=%s${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec %s "$@"\n' "$libraries" "$out/tree/usr/bin/$tool" >"$out/$tool"
        chmod +x "$out/$tool"
    done
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$libraries" "$out/tree/usr/lib/llvm-$llvm/bin/wasm-ld" >"$out/wasm-ld"
    chmod +x "$out/wasm-ld"
    library=$(echo "$out"/tree/usr/src/rustc-*/library)
    (cd "$library/sysroot" && RUSTC=$out/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$out/build __CARGO_DEFAULT_LIB_METADATA=wasm \
        RUSTFLAGS="-Zforce-unstable-if-unmarked -Cembed-bitcode=yes --cap-lints=warn" "$out/cargo" build -q --release --locked --target $TARGET >&2)
    mkdir -p "$out/tree/usr/lib/rustlib/$TARGET/lib"
    cp "$out/build/$TARGET/release/deps/"*.rlib "$out/tree/usr/lib/rustlib/$TARGET/lib/"
    rm -rf "$out/build" "$out/tree/usr/src"
    echo "export WASM_CARGO=$out/cargo RUSTC=$out/rustc CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$out/wasm-ld" >"$out/env"
}

if exact; then
    echo "export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS='--sysroot=$FOLDER/std $flags'"
elif whole; then
    cat "$FOLDER/toolchain/env"
    echo "export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS='$flags'"
else
    say "no way to compile for a browser here: install the target $TARGET of Rust $RUST_MIN or newer"
    exit 1
fi

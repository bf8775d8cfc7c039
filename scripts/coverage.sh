#!/usr/bin/env bash
# What of the code that decides the simulation reaches: SEEDS seeds (200) are run with counters in the three cores, and lines are counted by file.
#
#   scripts/coverage.sh                prints the tables
#   scripts/coverage.sh --write        also puts them into docs/coverage.md
set -euo pipefail
cd "$(dirname "$0")/.."
seeds=${SEEDS:-200}
work=target/coverage
export SQLX_OFFLINE=true
unset DATABASE_URL

# The readers of the counters must be of rustc's own LLVM: rustup's component, or Debian's package of that number.
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
tool() {
    local program
    for program in "$(rustc --print sysroot)"/lib/rustlib/*/bin/"$1" "$(command -v "$1-$llvm" || true)"; do
        [ -x "$program" ] && echo "$program" && return
    done
    return 1
}
if ! tool llvm-cov >/dev/null && ! rustup component add llvm-tools 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq --no-install-recommends "llvm-$llvm" >/dev/null
    else
        echo "coverage: please run: rustup component add llvm-tools (or: sudo apt-get install llvm-$llvm)" >&2
        exit 1
    fi
fi

# Build scripts are counted as well, and would put their counters beside the sources.
export LLVM_PROFILE_FILE="$PWD/$work/%p.profraw"
CARGO_PROFILE_RELEASE_STRIP=false RUSTFLAGS="-C instrument-coverage" cargo build --release --locked --target-dir "$work" -p lianka-simulation --no-default-features --bin lianka-simulation
rm -f "$work"/*.profraw
"$work/release/lianka-simulation" run --seeds "$seeds" | grep 'runs,'
"$(tool llvm-profdata)" merge --sparse --output "$work/all.profdata" "$work"/*.profraw
"$(tool llvm-cov)" export --format=lcov --instr-profile "$work/all.profdata" "$work/release/lianka-simulation" \
    sync-core/src office-core/src client-core/src >"$work/all.lcov"

# A line, or a function, that is there in several copies is reached where one of them is. What only tests use is compiled for tests alone.
tables() {
    awk -v root="$PWD/" '
        /^SF:/ { file = substr($0, 4); sub(root, "", file); split(file, part, "/"); crate = part[1]; next }
        /^FN:/ { split(substr($0, 4), at, ","); line[file, at[2]] = at[1]; next }
        /^FNDA:/ { split(substr($0, 6), of, ","); place = file ":" line[file, of[2]]; calls[place] += of[1]; next }
        /^DA:/ { split(substr($0, 4), da, ","); place = file ":" da[1]; if (!(place in hits)) { lines[file]++; crate_lines[crate]++ }
                 if (da[2] > 0 && !hits[place]) { reached[file]++; crate_reached[crate]++ }
                 hits[place] += da[2]; next }
        END {
            print "| crate | lines | reached | |\n|---|---:|---:|---:|"
            for (crate in crate_lines) printf "| %s | %d | %d | %.1f %% |\n", crate, crate_lines[crate], crate_reached[crate], 100 * crate_reached[crate] / crate_lines[crate] | "sort"
            close("sort")
            print "\nFiles of which a tenth or more is not reached:\n\n| file | lines | not reached |\n|---|---:|---:|"
            for (file in lines) if (lines[file] - reached[file] >= lines[file] / 10) printf "| %s | %d | %d |\n", file, lines[file], lines[file] - reached[file] | "sort"
            close("sort")
            for (place in calls) if (!calls[place]) print place > "/dev/stderr"
        }' "$1" 2>"$work/never"
    # By name, from the source: what stands there when its first line says "fn".
    printf '\nFunctions that are never called:\n\n| file | functions |\n|---|---|\n'
    sort -t: -k1,1 -k2,2n "$work/never" | while IFS=: read -r file at; do
        name=$(sed -n "${at}s/.*fn \([a-z_0-9]*\).*/\1/p" "$file")
        [ -z "$name" ] || echo "$file $name"
    done | awk '{ if ($1 != file) { if (file) print "| " file " | " names " |"; file = $1; names = "`" $2 "`" } else names = names ", `" $2 "`" } END { if (file) print "| " file " | " names " |" }'
}
tables "$work/all.lcov" | tee "$work/tables.md"

if [ "${1:-}" = --write ]; then
    marker='<!-- coverage: make coverage -->'
    sed "/^$marker\$/q" docs/coverage.md >"$work/page.md"
    { echo && cat "$work/tables.md"; } >>"$work/page.md"
    mv "$work/page.md" docs/coverage.md
fi

# What to type. `make` alone lists the targets; none needs an environment variable, and none minds a Postgres on port 5432.

# The queries were checked against .sqlx, which is committed: no build needs a database.
export SQLX_OFFLINE = true
# A DATABASE_URL of the caller's shell is for the server, and not for builds or for the private clusters of demo and tests.
unexport DATABASE_URL

ONCE ?=
N ?= 1000000
SECONDS ?= 60
SEEDS ?= 200
MINUTES ?= 60
ROWS ?= 100000
RUNS ?= 3
SEED ?= 1
.DEFAULT_GOAL := help
.PHONY: help setup build demo test check bench bench-imports soak chaos prepare mutants wasm fuzz fuzz-automerge web test-web web-screens advisories simulate simulate-real coverage upgrade-check hostile-load

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing on this machine (Debian or Ubuntu; silent when all is there)
	@scripts/setup.sh

build: setup ## build the programs: lianka, lianka-phone, lianka-simulator (target/release)
	cargo build --release --locked -p lianka-server -p lianka-client -p lianka-simulator --bins

demo: setup ## a district in a minute: 42 phones offline, then all at once (target/demo); ONCE=1 ends after the table
	cargo build --profile demo --locked -p lianka-server -p lianka-client -p lianka-simulator --bins
	target/demo/lianka-simulator demo $(if $(ONCE),--once)

test: setup ## all tests, on private databases of their own
	scripts/test.sh

check: setup ## what CI checks beside the tests: format, lints, docs, queries, licences, unused dependencies
	scripts/check.sh

bench: build ## single operations, then the reconnect morning, measured on this machine, as JSON
	cargo bench --locked -p lianka-bench
	target/release/lianka-simulator workload --out target/workload.json
	target/release/lianka-simulator storm --workload target/workload.json --json
	target/release/lianka-simulator imports --rows 1600 --json

bench-imports: build ## rolls of 1,600 and of ROWS=… (100000) rows proposed, written, exported, undone; phones meanwhile; RUNS=… (3) for medians
	target/release/lianka-simulator --lang en imports --rows 1600 --runs $(RUNS)
	target/release/lianka-simulator --lang en imports --rows $(ROWS) --runs $(RUNS)

advisories: setup ## look every dependency up in the advisory database (needs a network, or ADVISORY_DB=folder) and write down when
	scripts/advisories.sh

chaos: build ## real processes behind a faulty proxy, server, Postgres and phones killed with -9 for MINUTES=… (60); nothing may be lost
	target/release/lianka-simulator chaos --minutes $(MINUTES) --seed $(SEED)

soak: build ## mixed load at half capacity for MINUTES=… (60); what must stay flat is judged, docs/soak.* are written
	target/release/lianka-simulator soak --minutes $(MINUTES) --flat --write docs

prepare: setup ## write .sqlx again after a query or a migration changed
	scripts/prepare.sh

web: setup ## build the phone's web app, and the server with it (the first time takes minutes)
	scripts/web.sh
	cargo build --release --locked -p lianka-server --bins

test-web: web ## walk a street with the web app in Chromium, against a real server
	scripts/test_web.sh

web-screens: web ## pictures of the web app's screens, in target/web/screens
	LIANKA_SHOTS=$(CURDIR)/target/web/screens scripts/test_web.sh --test-name-pattern 'shows its screens'

wasm: ## check that the sync core and the client core compile for a browser
	scripts/wasm.sh

simulate: setup ## seeds: phones, network, clocks, crashes, held to every promise; SEEDS=… (200); a failing seed is made small and kept
	cargo run --release --locked -p lianka-simulation --no-default-features -- run --seeds $(SEEDS)

coverage: setup ## what of the cores' lines the simulation reaches; SEEDS=… (200); writes docs/coverage.md
	SEEDS=$(SEEDS) scripts/coverage.sh --write

mutants: setup ## mistakes put into a copy of the product: the simulation must find each (docs/simulation.md)
	scripts/mutants.sh test

simulate-real: setup ## the same seeds on the real router and Postgres, and the office in memory must answer alike; SEEDS=… (200)
	cargo run --release --locked -p lianka-simulation -- agree --seeds $(SEEDS)

fuzz: setup ## hostile bytes for everything that reads them; N=… mutated changes; a failing seed is printed with its replay
	scripts/fuzz.sh run --inputs $(N)

hostile-load: build ## hostile devices throw mutants at a real server while honest phones work; SECONDS=… of load
	cargo build --release --locked -p lianka-fuzz
	target/release/lianka-fuzz hostile-load --seconds $(SECONDS)

fuzz-automerge: setup ## what plain Automerge does with the inputs that harm it; writes the table of docs/security.md (5 minutes)
	scripts/fuzz.sh automerge --write docs/security.md

upgrade-check: setup ## from a release to here and back, with its real programs and phones; FROM=<revision>
	scripts/upgrade.sh check $(FROM)

//! Tests of the repository itself: what its documents promise about its files and its code. Pure file reading.
//!
//! `docs/protocol.md` holds blocks that are written from the code. Where one differs, the failing test prints what should stand there;
//! `LIANKA_WRITE_DOCS=1 cargo test -p lianka-tests tidy` writes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use lianka_server::{
    admin::audit_proof::Break,
    audit::Action,
    auth::access::Who,
    http::error::ErrorCode,
    roll::sheet::{ProblemCode, Severity},
};
use lianka_sync_core::{
    access::Role,
    crdt::merge::Refusal,
    kinds::{Field, Kind, Rule, Shape},
    limits,
};
use sha2::{Digest, Sha256};

/// What is looked at; everything else at the top is made by tools.
const FOLDERS: &[&str] = &[
    ".ci",
    "client",
    "client-core",
    "client-local",
    "client-web",
    "docs",
    "migrations",
    "office-core",
    "roll-sheet",
    "scripts",
    "server",
    "simulation",
    "sync-core",
    "tests",
    "web",
];
const CRATES: &[&str] = &[
    "client",
    "client-core",
    "client-local",
    "client-web",
    "office-core",
    "roll-sheet",
    "server",
    "simulation/bench",
    "simulation/fuzz",
    "simulation/load",
    "simulation/mutants",
    "simulation/seeded",
    "sync-core",
    "tests",
];
/// This file names what it forbids.
const THIS: &str = "tests/tidy.rs";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace holds this crate")
        .to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file of the repository by its path, where the extension is one of `extensions`.
fn files(extensions: &[&str]) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.file_name().and_then(|name| name.to_str()) {
                Some("target" | "node_modules" | "dist" | "data" | ".git") => {}
                _ if path.is_dir() => walk(&path, found),
                _ => found.push(path),
            }
        }
    }
    let root = root();
    let mut found: Vec<_> = fs::read_dir(&root)
        .expect("the root")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    for folder in FOLDERS {
        walk(&root.join(folder), &mut found);
    }
    found.sort();
    let fits = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted))
    };
    found
        .into_iter()
        .filter(fits)
        .filter_map(|path| {
            let name = path.strip_prefix(&root).ok()?.to_str()?.to_owned();
            Some((name, fs::read_to_string(&path).ok()?))
        })
        .collect()
}

#[track_caller]
fn none(problems: &[String], rule: &str) {
    assert!(problems.is_empty(), "{rule}:\n  {}", problems.join("\n  "));
}

/// Lines of all files that hold one of the words.
fn lines_with(files: &[(String, String)], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in files {
        for (number, line) in (1..).zip(text.lines()) {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    found
}

/// Names of a crate's dependencies, development ones only where asked for.
fn dependencies(krate: &str, development: bool) -> BTreeSet<String> {
    let manifest = read(&format!("{krate}/Cargo.toml"));
    let mut names = BTreeSet::new();
    let mut counts = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            counts = section.trim_end_matches(']').ends_with("dependencies")
                && (development || !section.contains("dev-dependencies"));
        } else if counts && line.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            names.extend(line.split(['.', '=', ' ']).next().map(str::to_owned));
        }
    }
    names
}

#[test]
fn dependencies_have_one_direction() {
    let mut problems = Vec::new();
    let mut forbid = |krate: &str, names: &[&str]| {
        let mut found = dependencies(krate, true);
        // The phone's own tests run against what the office decides; what ships knows nothing of it.
        if krate == "client" && !dependencies(krate, false).contains("lianka-office-core") {
            found.remove("lianka-office-core");
        }
        problems.extend(
            names
                .iter()
                .filter(|name| found.contains(**name))
                .map(|name| format!("{krate} depends on {name}")),
        );
    };
    let simulations = [
        "lianka-simulator",
        "lianka-simulation",
        "lianka-fuzz",
        "lianka-mutants",
    ];
    for (krate, names) in [
        (
            "server",
            &["lianka-client", "lianka-client-core", "lianka-client-local"][..],
        ),
        ("client", &["lianka-server", "lianka-office-core"]),
        (
            "client-local",
            &[
                "lianka-server",
                "lianka-client",
                "lianka-office-core",
                "tokio",
                "reqwest",
            ],
        ),
        (
            "client-web",
            &[
                "lianka-server",
                "lianka-client",
                "lianka-office-core",
                "tokio",
                "reqwest",
                "rusqlite",
            ],
        ),
        (
            "client-core",
            &[
                "lianka-server",
                "lianka-client",
                "lianka-client-local",
                "lianka-client-web",
                "lianka-office-core",
            ],
        ),
        (
            "office-core",
            &[
                "lianka-server",
                "lianka-roll-sheet",
                "lianka-client",
                "lianka-client-core",
            ],
        ),
        (
            "roll-sheet",
            &["lianka-server", "lianka-client", "lianka-client-core"],
        ),
        (
            "sync-core",
            &[
                "lianka-server",
                "lianka-client",
                "lianka-client-core",
                "lianka-office-core",
            ],
        ),
    ] {
        forbid(krate, names);
        forbid(krate, &simulations);
    }
    forbid("simulation/load", &["lianka-tests"]);
    for core in ["sync-core", "client-core", "office-core", "roll-sheet"] {
        forbid(
            core,
            &[
                "tokio",
                "futures",
                "sqlx",
                "rusqlite",
                "reqwest",
                "axum",
                "nix",
                "getrandom",
                "rand",
                "tracing",
                "zstd",
            ],
        );
    }
    none(
        &problems,
        "server → roll-sheet → office-core → sync-core ← client-core ← client-local ← client and client-web, and nothing the other way",
    );
}

/// Mutants stand in patches beside the product (`scripts/mutants.sh`), and fit it.
#[test]
fn the_product_knows_no_mutants() {
    let product = [
        "client/",
        "client-core/",
        "client-local/",
        "client-web/",
        "office-core/",
        "roll-sheet/",
        "server/",
        "simulation/load/",
        "sync-core/",
    ];
    let files: Vec<_> = files(&["rs", "toml"])
        .into_iter()
        .filter(|(name, _)| product.iter().any(|folder| name.starts_with(folder)))
        .collect();
    assert!(!files.is_empty());
    none(
        &lines_with(&files, &["mutants", "Mutant", "planted"]),
        "the product says nothing of mutants",
    );
    let fit = std::process::Command::new(root().join("scripts/mutants.sh"))
        .arg("check")
        .output()
        .expect("the script runs");
    assert!(
        fit.status.success(),
        "{}",
        String::from_utf8_lossy(&fit.stderr)
    );
}

#[test]
fn what_must_run_in_a_browser_touches_no_file_socket_clock_or_randomness() {
    let pure = |name: &str| {
        ["sync-core/src/", "office-core/src/", "client-core/src/"]
            .iter()
            .any(|core| name.starts_with(core))
    };
    let sources: Vec<_> = files(&["rs"])
        .into_iter()
        .filter(|(name, _)| pure(name))
        .collect();
    assert!(sources.len() > 30, "the sources were not found");
    let words = [
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "std::io::stdin",
        "std::io::stdout",
        "SystemTime",
        "Instant",
        "now_utc",
        "now_v7",
        "new_v4",
        "getrandom",
        "async fn",
        "async move",
        ".await",
        "println!",
        "eprintln!",
    ];
    none(&lines_with(&sources, &words), "not in the cores");
    let office: Vec<_> = sources
        .into_iter()
        .filter(|(name, _)| name.starts_with("office-core/src/"))
        .collect();
    none(
        &lines_with(&office, &["sqlx", "tokio", "PgConnection", "select * from"]),
        "the office decides, and does not fetch",
    );
}

#[test]
fn modules_have_names_and_say_their_job() {
    const BANNED: &[&str] = &[
        "util", "utils", "common", "helper", "helpers", "manager", "service", "services", "misc",
        "mod",
    ];
    let mut problems = Vec::new();
    for (name, text) in files(&["rs"]) {
        let stem = Path::new(&name)
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        if BANNED.contains(&stem) {
            problems.push(format!("{name}: a name that says nothing"));
        }
        if !text.starts_with("//!") {
            problems.push(format!("{name}: does not open with its job"));
        }
    }
    none(
        &problems,
        "a module is named for what it does, and opens with it",
    );
}

/// Words of a dialect that the code once had. Each has a word that every engineer knows: simulation, hostile load, timeout, back-off, permit,
/// penalty, connection limit.
#[test]
fn names_are_standard_words() {
    const BANNED: &[&str] = &[
        "conduct", "crowd", "farewell", "noise", "patience", "seat", "siege", "strike", "strikes",
        "volley", "world",
    ];
    // A region of telephone numbers.
    const ALLOWED: &str = "Region::World";
    let mut problems = Vec::new();
    for (name, text) in files(&["rs"]).iter().filter(|(name, _)| name != THIS) {
        for (number, line) in (1..).zip(text.lines()) {
            let code = line.split("//").next().unwrap_or_default();
            // Texts are for people.
            let code: String = code.split('"').step_by(2).collect::<Vec<_>>().join(" ");
            if code.contains(ALLOWED) {
                continue;
            }
            if let Some(word) = words(&code).find(|word| BANNED.contains(&word.as_str())) {
                problems.push(format!("{name}:{number}: {word}"));
            }
        }
    }
    none(&problems, "one word a concept, and a standard one");
}

/// The words of which the names in a line are made, in small letters.
fn words(code: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::new();
    let mut before = ' ';
    for letter in code.chars() {
        if letter.is_uppercase() && before.is_lowercase() {
            spaced.push(' ');
        }
        spaced.push(if letter.is_alphanumeric() {
            letter
        } else {
            ' '
        });
        before = letter;
    }
    let words: Vec<String> = spaced.split(' ').map(str::to_lowercase).collect();
    words.into_iter()
}

#[test]
fn nothing_is_left_undone_and_no_test_waits_or_is_skipped() {
    let sources: Vec<_> = files(&["rs"])
        .into_iter()
        .filter(|(name, _)| name != THIS)
        .collect();
    none(
        &lines_with(
            &sources,
            &[
                "unsafe {",
                "unsafe fn",
                "unsafe impl",
                "todo!(",
                "unimplemented!(",
                "dbg!(",
                "#[ignore",
            ],
        ),
        "not in our sources",
    );
    // The private Postgres is waited for on threads of its own: there is no runtime to sleep on.
    let waits: Vec<_> = sources
        .into_iter()
        .filter(|(name, _)| !name.starts_with("server/src/embedded_postgres"))
        .collect();
    none(
        &lines_with(&waits, &["thread::sleep"]),
        "threads do not sleep",
    );
    let tests: Vec<_> = waits
        .into_iter()
        .filter(|(name, _)| name.starts_with("tests/"))
        .collect();
    none(
        &lines_with(&tests, &["time::sleep(", " sleep("]),
        "tests wait for what happens, not for time to pass",
    );
}

/// The code that decides is the code that is simulated: nothing but office-core makes an office of what sync-core merges.
#[test]
fn there_is_one_office() {
    const ALLOWED: [&str; 2] = ["sync-core/", "office-core/src/street.rs"];
    for krate in ["server", "simulation/seeded", "simulation/fuzz", "client"] {
        assert!(
            dependencies(krate, true).contains("lianka-office-core"),
            "{krate} decides by lianka-office-core"
        );
    }
    let others: Vec<_> = files(&["rs"])
        .into_iter()
        .filter(|(name, _)| !ALLOWED.iter().any(|allowed| name.starts_with(allowed)))
        .collect();
    // Put together, so that this line is not one of them.
    let call = ["merge::", "merge("].concat();
    let imports = |text: &str| {
        text.split("merge::{").skip(1).any(|rest| {
            let list = rest.split('}').next().unwrap_or_default();
            list.split(',')
                .any(|name| ["Context", "merge"].contains(&name.trim()))
        })
    };
    let mut found = lines_with(&others, &[&call]);
    found.extend(
        others
            .iter()
            .filter(|(_, text)| imports(text))
            .map(|(name, _)| name.clone()),
    );
    none(
        &found,
        "changes are merged into the office's records by office-core alone",
    );
}

/// Entropy is an argument everywhere else, so that a test or a simulation can say what was drawn.
#[test]
fn randomness_has_one_source_a_side() {
    const SOURCES: [&str; 2] = ["server/src/clock.rs", "client/src/clock.rs"];
    let others: Vec<_> = files(&["rs"])
        .into_iter()
        .filter(|(name, _)| !SOURCES.contains(&name.as_str()) && !name.starts_with("tests/"))
        .collect();
    let draws = [
        "getrandom::",
        "rand::",
        "OsRng",
        "SystemRandom",
        "thread_rng",
        "RandomState",
        "Uuid::new_v4",
        "Uuid::now_v7",
    ];
    none(
        &lines_with(&others, &draws),
        "random bytes come from Entropy alone",
    );
    let asking: Vec<_> = CRATES
        .iter()
        .filter(|krate| {
            let all = dependencies(krate, true);
            ["getrandom", "rand", "fastrand"]
                .iter()
                .any(|name| all.contains(*name))
        })
        .collect();
    assert_eq!(
        asking,
        [&"client", &"server"],
        "crates that draw randomness"
    );
}

/// Whoever must know what a key is asks the kinds; where a key has to stand, a constant of its kind says it.
#[test]
fn nothing_outside_the_kinds_knows_a_field_by_its_name() {
    // A parameter of a route; the key of an item on the wire.
    const ALLOWED: [(&str, &str); 2] = [
        ("server/src/auth/gate.rs", "street"),
        ("sync-core/src/codec/wire.rs", "type"),
    ];
    // After these, also a name that is a common word is a key.
    const CALLS: [&str; 16] = [
        ".text(",
        " text(",
        " key: ",
        " field: ",
        "entry_text(",
        "has_entry(",
        ".members(",
        ".entries(",
        ".visible(",
        ".values.get(",
        ".meaning(",
        ".field(",
        "Key::Plain(",
        "Edit::set(",
        "Write::new(",
        "== ",
    ];
    let (mut names, mut lists) = (BTreeSet::new(), BTreeSet::new());
    for field in Kind::ALL.iter().flat_map(|kind| kind.fields()) {
        names.insert(field.name);
        match field.shape {
            Shape::Register => {}
            Shape::Entry { list } => drop(lists.insert(list)),
            Shape::SetMember | Shape::SetOfDays | Shape::Custom => drop(lists.insert(field.name)),
        }
    }
    let product = |name: &str| {
        [
            "server",
            "client",
            "client-core",
            "client-local",
            "client-web",
            "office-core",
            "roll-sheet",
            "sync-core",
        ]
        .iter()
        .any(|krate| name.starts_with(&format!("{krate}/src/")))
            && !["sync-core/src/kinds", "/tests", "conformance"]
                .iter()
                .any(|part| name.contains(part))
    };
    let mut problems = Vec::new();
    for (name, text) in files(&["rs"]).iter().filter(|(name, _)| product(name)) {
        let code = text
            .split("\n#[cfg(test)]\nmod ")
            .next()
            .unwrap_or_default();
        for (number, line) in (1..).zip(code.lines()) {
            // Examples are documentation.
            if line.trim_start().starts_with("//") || line.contains("example =") {
                continue;
            }
            let parts: Vec<&str> = line.split('"').collect();
            for pair in parts.chunks_exact(2) {
                let (before, literal) = (pair[0], pair[1]);
                let in_list = literal
                    .split_once('/')
                    .is_some_and(|(list, rest)| !rest.is_empty() && lists.contains(list));
                let is_name = (names.contains(literal) || lists.contains(literal))
                    && (literal.contains('_') || CALLS.iter().any(|call| before.ends_with(call)));
                if (in_list || is_name) && !ALLOWED.contains(&(name.as_str(), literal)) {
                    problems.push(format!("{name}:{number}: {literal}"));
                }
            }
        }
    }
    none(&problems, "ask sync-core/src/kinds what a key is");
}

#[test]
fn every_crate_keeps_the_workspace_lints() {
    for krate in CRATES {
        assert!(
            read(&format!("{krate}/Cargo.toml")).contains("[lints]\nworkspace = true"),
            "{krate}"
        );
    }
    assert!(read("sync-core/src/lib.rs").contains("#![deny(missing_docs)]"));
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let mut problems = Vec::new();
    for (name, text) in files(&[
        "rs", "md", "toml", "sql", "sh", "json", "yml", "yaml", "js", "mjs", "ts", "html",
    ]) {
        if name == THIS || name.ends_with("package-lock.json") {
            continue;
        }
        for (number, line) in (1..).zip(text.lines()) {
            let home = ["/home/", "/root/", "/Users/"].iter().find(|home| {
                line.match_indices(**home).any(|(at, _)| {
                    !line[..at]
                        .ends_with(|c: char| c.is_ascii_alphanumeric() || c == '.' || c == '}')
                })
            });
            problems.extend(home.map(|home| format!("{name}:{number}: {home}")));
        }
    }
    none(&problems, "paths of somebody's machine");
}

/// Tables of the whole deployment: small, and reference tables where the store is distributed.
const REFERENCE_TABLES: &[&str] = &[
    "deployment",
    "pass_lease",
    "account",
    "device",
    "enrolment",
    "refresh_token",
    "sign_in_try",
    "signing_key",
];

#[test]
fn migrations_keep_their_rules() {
    let mut problems = Vec::new();
    let mut stamps = BTreeSet::new();
    for (name, text) in files(&["sql"])
        .into_iter()
        .filter(|(name, _)| name.starts_with("migrations/"))
    {
        let stem = name
            .trim_start_matches("migrations/")
            .trim_end_matches(".sql");
        let (stamp, words) = stem.split_once('_').unwrap_or_default();
        let named =
            stamp.len() == 14 && stamp.bytes().all(|b| b.is_ascii_digit()) && words.contains('_');
        if !named || !words.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
            problems.push(format!("{name}: not <timestamp>_<verb>_<noun>.sql"));
        }
        if !stamps.insert(stamp.to_owned()) {
            problems.push(format!("{name}: the timestamp stands twice"));
        }
        if !text.starts_with("-- ") {
            problems.push(format!("{name}: does not open with why"));
        }
        for statement in text.split("create table ").skip(1) {
            let (table, rest) = statement.split_once(" (").unwrap_or_default();
            let body = rest.split("\n);").next().unwrap_or_default();
            if REFERENCE_TABLES.contains(&table) {
                continue;
            }
            if !body.contains("primary key (street") && !body.contains("street text primary key") {
                problems.push(format!(
                    "{name}: the primary key of {table} does not begin with street"
                ));
            }
            for line in body
                .lines()
                .map(str::trim)
                .filter(|line| line.contains("references "))
            {
                let to = line
                    .split("references ")
                    .nth(1)
                    .and_then(|rest| rest.split([' ', ',', '(']).next())
                    .unwrap_or_default();
                let whole = line.starts_with("foreign key (street")
                    || line.starts_with("street ")
                    || REFERENCE_TABLES.contains(&to);
                if !whole {
                    problems.push(format!("{name}: {table} refers to {to} without street"));
                }
            }
        }
    }
    assert!(!stamps.is_empty(), "the migrations were not found");
    none(&problems, "migrations/README.md");
}

#[test]
fn released_migrations_never_change() {
    let released = read("migrations/released.txt");
    let released: Vec<_> = released
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once("  "))
        .collect();
    let mut all: Vec<_> = files(&["sql"])
        .into_iter()
        .filter(|(name, _)| name.starts_with("migrations/"))
        .collect();
    all.sort();
    for (at, (sum, name)) in released.iter().enumerate() {
        let (path, text) = &all[at];
        assert_eq!(
            path,
            &format!("migrations/{name}"),
            "a migration stands before one that was released"
        );
        assert_eq!(
            &hex::encode(Sha256::digest(text)),
            sum,
            "{name} was released and never changes"
        );
    }
}

/// What a heading is linked by.
fn anchor(heading: &str) -> String {
    let kept = heading
        .trim()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| {
        if c == ' ' {
            '-'
        } else {
            c.to_ascii_lowercase()
        }
    })
    .collect()
}

fn anchors(markdown: &str) -> BTreeSet<String> {
    let mut code = false;
    let headings = markdown.lines().filter(|line| {
        code ^= line.starts_with("```");
        !code && line.starts_with('#')
    });
    headings
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut problems = Vec::new();
    for (name, text) in files(&["md"]) {
        let prose: Vec<_> = text.split("```").step_by(2).collect();
        for target in prose
            .iter()
            .flat_map(|part| part.split("](").skip(1))
            .filter_map(|rest| rest.split(')').next())
        {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, section) = target
                .split_once('#')
                .map_or((target, None), |(file, section)| (file, Some(section)));
            let path = if file.is_empty() {
                root().join(&name)
            } else {
                root().join(&name).with_file_name("").join(file)
            };
            if !path.exists() {
                problems.push(format!("{name}: {target}"));
            } else if let Some(section) = section
                && !fs::read_to_string(&path).is_ok_and(|text| anchors(&text).contains(section))
            {
                problems.push(format!("{name}: {target}: no such heading"));
            }
        }
    }
    // Comments name documents too.
    for (name, text) in files(&["rs", "sql", "sh", "toml"])
        .into_iter()
        .filter(|(name, _)| name != THIS)
    {
        for (at, _) in text.match_indices("docs/") {
            let path: String = text[at..]
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.'))
                .collect();
            if path.strip_suffix(".md").is_some()
                && !text[..at].ends_with('/')
                && !root().join(&path).exists()
            {
                problems.push(format!("{name}: {path}"));
            }
        }
    }
    none(&problems, "dead links");
}

/// A source file that a document names is there, under that path or one that ends so. Decisions and the changelog tell of their day.
#[test]
fn documents_name_files_that_are_there() {
    let sources: Vec<_> = files(&["rs", "sh"])
        .into_iter()
        .map(|(name, _)| format!("/{name}"))
        .collect();
    let mut problems = Vec::new();
    for (name, text) in files(&["md"]) {
        if name.starts_with("docs/decisions/") || name == "CHANGELOG.md" {
            continue;
        }
        let named = text.split('`').skip(1).step_by(2).filter(|word| {
            let is_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
            word.chars().all(is_path)
                && [".rs", ".sh"].iter().any(|end| word.ends_with(end))
                && !["foo.rs", "mod.rs"].contains(word)
        });
        for file in named {
            if !sources
                .iter()
                .any(|source| source.ends_with(&format!("/{file}")))
            {
                problems.push(format!("{name}: {file}"));
            }
        }
    }
    none(&problems, "a document names a file that is there");
}

#[test]
fn every_table_of_a_kind_stands_in_the_architecture() {
    let text = read("ARCHITECTURE.md");
    let tables = Kind::ALL
        .iter()
        .flat_map(|kind| kind.description().tables)
        .map(|table| table.name);
    let missing: Vec<_> = tables
        .filter(|name| !text.contains(&format!("`{name}`")))
        .map(str::to_owned)
        .collect();
    none(&missing, "ARCHITECTURE.md says what each table holds");
}

#[test]
fn every_file_of_a_pass_is_in_the_list_of_passes() {
    // What the others rest on.
    const NO_PASSES: &[&str] = &["health", "passes", "store", "supervisor"];
    let passes = read("server/src/upkeep/passes.rs");
    let files = read("server/src/upkeep.rs");
    let missing: Vec<_> = files
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .filter(|file| !NO_PASSES.contains(file) && !passes.contains(&format!("{file}::")))
        .map(str::to_owned)
        .collect();
    none(&missing, "a pass that is not listed never runs");
}

#[test]
fn decisions_are_numbered_and_whole() {
    let decisions: Vec<_> = files(&["md"])
        .into_iter()
        .filter(|(name, _)| name.starts_with("docs/decisions/0"))
        .collect();
    for (number, (name, text)) in (1..).zip(&decisions) {
        assert!(
            name.starts_with(&format!("docs/decisions/{number:04}-")),
            "{name}: number {number:04} is missing or stands twice"
        );
        for heading in ["# ", "## Context", "## Decision", "## Consequences"] {
            assert!(
                text.lines().any(|line| line.starts_with(heading)),
                "{name} lacks {heading}"
            );
        }
        let file = name.trim_start_matches("docs/decisions/");
        assert!(
            read("docs/decisions/README.md").contains(file),
            "docs/decisions/README.md does not list {file}"
        );
    }
    assert!(!decisions.is_empty());
}

#[test]
fn licences_and_changelog_are_there() {
    assert!(read("Cargo.toml").contains("license = \"MIT OR Apache-2.0\""));
    assert!(read("LICENSE-MIT").starts_with("MIT License"));
    assert!(read("LICENSE-APACHE").contains("Version 2.0, January 2004"));
    assert!(read("CHANGELOG.md").contains("## [Unreleased]"));
}

const PROTOCOL: &str = "docs/protocol.md";
const END: &str = "<!-- end -->";

/// The block of the protocol between its marker and the end.
fn block<'p>(protocol: &'p str, marker: &str) -> &'p str {
    let start = protocol
        .find(marker)
        .unwrap_or_else(|| panic!("{PROTOCOL} lacks {marker}"))
        + marker.len();
    let length = protocol[start..]
        .find(END)
        .unwrap_or_else(|| panic!("{marker} has no end"));
    &protocol[start..start + length]
}

fn generated_blocks() -> BTreeMap<String, String> {
    let mut blocks = BTreeMap::new();
    for kind in Kind::ALL {
        blocks.insert(
            format!("<!-- generated: fields {kind} -->"),
            field_table(kind),
        );
    }
    blocks.insert("<!-- generated: error codes -->".into(), error_table());
    blocks.insert("<!-- generated: limits -->".into(), limit_table());
    blocks.insert("<!-- generated: routes -->".into(), route_table());
    blocks.insert("<!-- generated: roles -->".into(), role_table());
    blocks.insert("<!-- generated: audit actions -->".into(), action_table());
    blocks.insert("<!-- generated: audit breaks -->".into(), break_table());
    blocks
        .into_iter()
        .map(|(marker, table)| (marker, format!("\n\n{table}\n")))
        .collect()
}

#[test]
fn the_protocol_prints_what_the_code_says() {
    let mut protocol = read(PROTOCOL);
    let expected = generated_blocks();
    if std::env::var_os("LIANKA_WRITE_DOCS").is_some() {
        for (marker, table) in &expected {
            let old = format!("{marker}{}{END}", block(&protocol, marker));
            protocol = protocol.replacen(&old, &format!("{marker}{table}{END}"), 1);
        }
        fs::write(root().join(PROTOCOL), &protocol).expect("the protocol can be written");
    }
    for (marker, table) in &expected {
        assert!(
            block(&protocol, marker) == table,
            "{PROTOCOL}: below {marker} should stand:{table}"
        );
    }
}

fn table(heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let head = line(heads.iter().map(|head| (*head).to_owned()).collect());
    head + "|"
        + &"---|".repeat(heads.len())
        + "\n"
        + &rows.into_iter().map(line).collect::<String>()
}

fn field_table(kind: Kind) -> String {
    let rows = kind.fields().iter().map(|field| {
        let merge = serde_json::to_value(field.merge)
            .ok()
            .and_then(|merge| merge.as_str().map(str::to_owned))
            .unwrap_or_default();
        vec![
            format!("`{}`", field.pattern()),
            field.label_zh.to_owned(),
            merge,
            format!("{:?}", field.class),
            rule(field),
            if field.required { "yes" } else { "" }.to_owned(),
            roles(field.creators),
            roles(field.editors),
        ]
    });
    table(
        &[
            "key",
            "Chinese",
            "merge",
            "class",
            "value",
            "required",
            "by whom at creation",
            "and later",
        ],
        rows,
    )
}

fn one_of(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    format!("one of {}", words.join(" "))
}

fn rule(field: &Field) -> String {
    match field.rule {
        Rule::Text(max) => format!("text, at most {max} characters"),
        Rule::Whole(min, max) => format!("whole number from {min} to {max}"),
        Rule::OneOf(list) => one_of(list),
        Rule::Kind => one_of(Kind::NAMES),
        Rule::Date => "day `YYYY-MM-DD`".into(),
        Rule::Minute => "day and time in China, `YYYY-MM-DDTHH:MM`".into(),
        Rule::Point => "`geo:` URI with `crs`".into(),
        Rule::Entry => "UUID of an entry or a record".into(),
        Rule::Flag => "`true`".into(),
        Rule::Note => format!("Text object, at most {} characters", limits::NOTE_CHARS_MAX),
    }
}

fn roles(roles: &[Role]) -> String {
    match roles {
        [] => "nobody".into(),
        [Role::Secretary, Role::Reviewer, Role::Admin] => "editors".into(),
        [Role::Reviewer, Role::Admin] => "office".into(),
        roles => roles
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn error_table() -> String {
    let rows = ErrorCode::ALL.iter().map(|code| {
        let ruling = code.ruling();
        vec![
            format!("`{}`", ruling.code),
            ruling.status.as_u16().to_string(),
            if ruling.retryable { "yes" } else { "no" }.to_owned(),
            ruling.title.en.to_string(),
            ruling.advice.en.to_string(),
        ]
    });
    table(&["code", "status", "retryable", "title", "advice"], rows)
}

macro_rules! values {
    ($($name:ident)*) => { BTreeMap::from([$((stringify!($name), limits::$name.to_string())),*]) };
}

fn limit_table() -> String {
    let values = values!(
        CHANGE_BYTES_MAX CHANGE_OPS_MAX CHANGE_DEPS_MAX CHANGE_ACTORS_MAX OP_PREDS_MAX CHANGE_PREDS_MAX CHANGE_MESSAGE_BYTES_MAX KEY_BYTES_MAX
        VALUE_BYTES_MAX NOTE_CHARS_MAX OP_COUNTER_MAX ACTOR_SEQ_MAX CHANGE_TIME_SECONDS_MAX RECORD_CHANGES_MAX RECORD_BYTES_MAX
        RECORD_ACTORS_MAX RECORD_KEYS_MAX RECORD_HEADS_MAX REGISTER_VALUES_MAX REGISTER_OVERWRITTEN_MAX MEMBER_CHARS_MAX ITEM_BYTES_MAX SYNC_BODY_BYTES_MAX
        SYNC_INFLATED_BYTES_MAX SYNC_CHANGES_MAX SYNC_OPS_MAX CHECKPOINT_BYTES TAIL_CHANGES_MAX
        BLOCK_CHANGES_MAX BLOCK_OPS_MAX BLOCK_BYTES_MAX BLOCK_UNPACKED_BYTES_MAX BLOCK_CHANGE_BYTES_MAX BLOCK_TRIES_MAX
    );
    let source = read("sync-core/src/limits.rs");
    let mut meaning = Vec::new();
    let mut rows = Vec::new();
    for line in source.lines() {
        if let Some(text) = line.strip_prefix("/// ") {
            meaning.push(text.to_owned());
        } else if let Some(rest) = line.strip_prefix("pub const ") {
            let name = rest.split(':').next().unwrap_or_default();
            let value = values
                .get(name)
                .unwrap_or_else(|| panic!("add {name} to the list in {THIS}"));
            let text = std::mem::take(&mut meaning)
                .join(" ")
                .replace("[`", "`")
                .replace("`]", "`");
            rows.push(vec![format!("`{name}`"), value.clone(), text]);
        } else {
            meaning.clear();
        }
    }
    table(&["name", "value", "meaning"], rows)
}

fn route_table() -> String {
    let document = lianka_server::document().expect("the document is JSON");
    let rows = lianka_server::rules().iter().map(|row| {
        let operation = &document["paths"][&row.path][row.method.as_str().to_ascii_lowercase()];
        let who = match row.who {
            Who::Anyone => "anyone".into(),
            Who::Roles(roles) if roles.len() == Role::ALL.len() => "every role".into(),
            Who::Roles(roles) => roles
                .iter()
                .map(|role| role.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        };
        vec![
            format!("`{} {}`", row.method, row.path),
            who,
            operation["summary"].as_str().unwrap_or("").to_owned(),
        ]
    });
    table(&["route", "who", "does"], rows)
}

/// What each role may do: routes that not everybody has, and fields.
fn role_table() -> String {
    let rows = Role::ALL.map(|role| {
        let routes =
            lianka_server::rules().iter().filter(|row| matches!(row.who, Who::Roles(roles) if roles.contains(&role) && roles.len() < Role::ALL.len()));
        let routes: Vec<_> =
            routes.map(|row| format!("`{} {}`", row.method, row.path.trim_start_matches("/v1/streets/{street}"))).collect();
        let fields = Kind::ALL.map(|kind| {
            let edited = kind.fields().iter().filter(|field| field.editors.contains(&role) || field.creators.contains(&role)).count();
            format!("{kind}: {edited} of {}", kind.fields().len())
        });
        vec![format!("`{role}` {}", role.label_zh()), routes.join(", "), fields.join("; ")]
    });
    table(
        &[
            "role",
            "routes, beside those of every role",
            "fields it may write",
        ],
        rows,
    )
}

fn action_table() -> String {
    table(
        &["action", "Chinese"],
        Action::ALL
            .iter()
            .map(|action| vec![format!("`{}`", action.as_str()), action.title().to_owned()]),
    )
}

fn break_table() -> String {
    let rows = Break::ALL.iter().map(|found| {
        let text = found.text();
        vec![
            format!("`{}`", found.code()),
            text.zh.into_owned(),
            text.en.into_owned(),
        ]
    });
    table(&["code", "Chinese", "English"], rows)
}

/// Words in backticks in the first cell of each row of a block that people wrote.
fn first_cells(protocol: &str, marker: &str) -> Vec<String> {
    let rows = block(protocol, marker)
        .lines()
        .filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells
        .flat_map(|cell| {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

#[track_caller]
fn same(marker: &str, protocol: &str, code: impl IntoIterator<Item = String>) {
    let (written, code): (BTreeSet<_>, BTreeSet<_>) = (
        first_cells(protocol, marker).into_iter().collect(),
        code.into_iter().collect(),
    );
    let missing: Vec<_> = code.difference(&written).collect();
    let gone: Vec<_> = written.difference(&code).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "{PROTOCOL}, {marker}: lacks {missing:?}, and the code does not know {gone:?}"
    );
}

#[test]
fn every_code_is_documented() {
    let protocol = read(PROTOCOL);
    same(
        "<!-- codes: refusals -->",
        &protocol,
        Refusal::CODES.iter().map(|code| (*code).to_owned()),
    );
    same(
        "<!-- codes: roll problems -->",
        &protocol,
        ProblemCode::ALL.iter().map(|code| code.as_str().to_owned()),
    );
    let held = read("office-core/src/push.rs");
    let held = held.lines().filter_map(|line| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        let (name, word) = line
            .strip_prefix("const ")?
            .strip_suffix("\";")?
            .split_once(": &str = \"")?;
        (name != "LOCK_NOT_AVAILABLE").then_some(word)
    });
    same("<!-- codes: held -->", &protocol, held.map(str::to_owned));
    same("<!-- codes: rules -->", &protocol, rules());

    let refusals = block(&protocol, "<!-- codes: refusals -->");
    let retryable: Vec<_> = refusals
        .lines()
        .filter(|line| line.contains("| yes | wait |"))
        .filter_map(|line| line.split('`').nth(1))
        .collect();
    let told = [
        Refusal::DependencyMissing,
        Refusal::SequenceGap,
        Refusal::DocumentUnavailable,
        Refusal::TooManyHeld,
    ];
    assert!(told.iter().all(Refusal::retryable));
    assert_eq!(
        retryable.iter().collect::<BTreeSet<_>>(),
        told.iter()
            .map(Refusal::code)
            .collect::<BTreeSet<_>>()
            .iter()
            .collect()
    );
    for code in ProblemCode::ALL {
        let severity = if code.severity() == Severity::Info {
            "info"
        } else {
            "warning"
        };
        assert!(
            block(&protocol, "<!-- codes: roll problems -->")
                .contains(&format!("| `{code}` | {severity} |")),
            "{code} is {severity}"
        );
    }
}

/// Every rule that the server's sources name for `invalid_field`.
fn rules() -> Vec<String> {
    let mut rules = Vec::new();
    for (_, text) in files(&["rs"])
        .into_iter()
        .filter(|(name, _)| name.starts_with("server/src/"))
    {
        let text = text
            .split("#[cfg(test)]")
            .next()
            .unwrap_or_default()
            .to_owned();
        rules.extend(
            text.split("rule: \"")
                .skip(1)
                .filter_map(|rest| rest.split('"').next())
                .map(str::to_owned),
        );
        for call in text.split("invalid_field(").skip(1) {
            let arguments = arguments(call).trim_end().trim_end_matches(',');
            rules.extend(
                arguments
                    .strip_suffix('"')
                    .and_then(|rest| rest.rsplit('"').next())
                    .map(str::to_owned),
            );
        }
    }
    rules
}

/// The arguments of a call, up to its closing bracket.
fn arguments(call: &str) -> &str {
    let (mut depth, mut quoted) = (0_i32, false);
    for (at, c) in call.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth == 0 => return &call[..at],
            ')' if !quoted => depth -= 1,
            _ => {}
        }
    }
    call
}

#[test]
fn the_protocol_shows_the_frozen_examples() {
    let protocol = read(PROTOCOL);
    for name in [
        "request", "response", "notice", "report", "lease", "redact", "blocks", "block",
    ] {
        let frozen = read(&format!("sync-core/src/codec/wire/fixtures/{name}.ndjson"));
        assert!(
            protocol.contains(frozen.trim_end()),
            "{PROTOCOL} does not show sync-core/src/codec/wire/fixtures/{name}.ndjson"
        );
    }
}

/// The rows of the security table: number, level, answer, and what bears it out.
fn security_table(text: &str) -> Vec<[&str; 4]> {
    let is_number = |cell: &str| {
        cell.split('.').count() == 3 && cell.split('.').all(|part| part.parse::<u8>().is_ok())
    };
    let rows = text.lines().map(|line| {
        line.trim_matches('|')
            .split(" | ")
            .map(str::trim)
            .collect::<Vec<_>>()
    });
    rows.filter(|cells| is_number(cells[0]))
        .map(|cells| [cells[0], cells[1], cells[3], cells[4]])
        .collect()
}

#[test]
fn the_security_table_is_whole_and_names_tests_that_exist() {
    let text = read("docs/asvs.md");
    let rows = security_table(&text);
    // What edition 5.0.0 asks at levels 1 and 2.
    let levels = ["1", "2"].map(|level| rows.iter().filter(|row| row[1] == level).count());
    assert_eq!(levels, [70, 183]);
    assert_eq!(
        rows.iter().map(|row| row[0]).collect::<BTreeSet<_>>().len(),
        rows.len(),
        "a number stands twice"
    );
    for level in ["1", "2"] {
        let of = |answer| {
            rows.iter()
                .filter(|row| row[1] == level && row[2] == answer)
                .count()
        };
        let counts = format!(
            "| level {level} | {} | {} | {} |",
            of("yes"),
            of("no"),
            of("n/a")
        );
        assert!(text.contains(&counts), "docs/asvs.md should count {counts}");
    }
    let mut problems = Vec::new();
    let mut proven = 0;
    for [number, _, answer, by] in &rows {
        if !["yes", "no", "n/a"].contains(answer) || by.is_empty() {
            problems.push(format!("{number}: “{answer}” because of “{by}”"));
        }
        let tests: Vec<_> = by
            .split('`')
            .skip(1)
            .step_by(2)
            .filter_map(|word| word.split_once("::"))
            .collect();
        for (file, test) in tests.iter().filter(|(file, _)| file.contains(".rs")) {
            let there = root().join(file).exists() && read(file).contains(&format!("fn {test}("));
            problems.extend((!there).then(|| format!("{number}: {file} has no {test}")));
            proven += 1;
        }
    }
    none(&problems, "docs/asvs.md");
    assert!(proven > 120, "only {proven} tests are named");
}

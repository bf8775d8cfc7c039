//! The structure of the code: no file imports one that imports it back, no room of the server one that needs it, and only what answers HTTP
//! knows of it.
//!
//! Read as text: `use`, and paths that begin with `crate`, `self` or `super`. A file and the files of its own folder may name each other: they
//! are one module in parts. Nothing else may stand in their circle, and the files of a folder may not need each other in one. Inline modules of
//! tests are left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use lianka_sync_core::kinds::{Kind, Shape};

type Graph = BTreeMap<String, BTreeSet<String>>;

const CRATES: &[&str] = &[
    "sync-core/src",
    "client-core/src",
    "office-core/src",
    "roll-sheet/src",
    "client-local/src",
    "client-web/src",
    "client/src",
    "server/src",
    "simulation/seeded/src",
    "simulation/load/src",
    "simulation/fuzz/src",
];

/// The modules of a crate: `street::merge` and where it stands.
struct Crate {
    files: BTreeMap<Vec<String>, String>,
}

impl Crate {
    fn read(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(inside) = folders.pop() {
            for entry in fs::read_dir(&inside).expect("a folder").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let inside = path
                        .strip_prefix(folder)
                        .expect("inside")
                        .with_extension("");
                    let mut module: Vec<_> = inside
                        .iter()
                        .map(|part| part.to_string_lossy().into_owned())
                        .collect();
                    match &module[..] {
                        [root] if root == "lib" => module.clear(),
                        // A program names the library's modules by its name.
                        [root] if root == "main" => module = vec!["main.rs".into()],
                        _ => {}
                    }
                    files.insert(module, fs::read_to_string(&path).expect("a file"));
                }
            }
        }
        Self { files }
    }

    /// Who imports whom, by module; `room` says what a module counts as.
    fn graph(&self, room: impl Fn(&[String]) -> String) -> Graph {
        let mut graph = Graph::new();
        for (module, text) in &self.files {
            let from = room(module);
            for path in paths(&code_of(text)) {
                let Some(target) = self.target(module, &path) else {
                    continue;
                };
                let to = room(target);
                if from != to {
                    graph.entry(from.clone()).or_default().insert(to);
                }
            }
        }
        graph
    }

    /// The file that a path leads into; `None` for the crate's root and for what is no path of this crate.
    fn target(&self, module: &[String], path: &[String]) -> Option<&[String]> {
        let mut rest = path;
        let mut base: Vec<String> = match rest.first().map(String::as_str) {
            Some("crate") => {
                rest = &rest[1..];
                Vec::new()
            }
            Some("self") => {
                rest = &rest[1..];
                module.to_vec()
            }
            Some("super") => {
                let mut base = module.to_vec();
                while rest.first().is_some_and(|part| part == "super") {
                    base.pop()?;
                    rest = &rest[1..];
                }
                base
            }
            Some(child) => {
                let mut base = module.to_vec();
                base.push(child.to_owned());
                if !self.files.contains_key(&base) {
                    return None;
                }
                base.pop();
                base
            }
            None => return None,
        };
        base.extend(rest.iter().cloned());
        while !base.is_empty() && !self.files.contains_key(&base) {
            base.pop();
        }
        if base.is_empty() {
            return None;
        }
        self.files
            .get_key_value(&base)
            .map(|(module, _)| &module[..])
    }
}

/// The code without comments and without inline modules, whose `super` is the file itself.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut skipping = false;
    for line in text.lines() {
        let bare = line.split("//").next().unwrap_or_default();
        if !skipping && line.starts_with("mod ") && line.ends_with('{') {
            skipping = true;
        }
        if !skipping {
            code.push_str(bare);
            code.push('\n');
        }
        if skipping && line == "}" {
            skipping = false;
        }
    }
    code
}

/// All paths: those of `use`, and those in the code that begin with `crate`, `self` or `super`.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = String::new();
    let mut pieces = code.split_inclusive(';');
    let begins = |line: &str| {
        let line = line.trim_start();
        line.strip_prefix("pub")
            .map_or(line, |line| {
                line.trim_start_matches(|c: char| c != ' ').trim_start()
            })
            .starts_with("use ")
    };
    for piece in pieces.by_ref() {
        let at = piece
            .match_indices('\n')
            .map(|(at, _)| at + 1)
            .chain([0])
            .filter(|at| begins(&piece[*at..]))
            .max();
        match at {
            Some(at) => {
                rest.push_str(&piece[..at]);
                let tree = piece[at..].trim_end_matches(';');
                let tree = &tree[tree.find("use ").unwrap_or(0) + 4..];
                expand(&[], tree, &mut found);
            }
            None => rest.push_str(piece),
        }
    }
    for word in rest.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        let parts: Vec<String> = word.split("::").map(str::to_owned).collect();
        if parts.len() > 1 && ["crate", "self", "super"].contains(&&*parts[0]) {
            found.push(parts);
        }
    }
    found
}

/// The paths of a tree of `use`.
fn expand(prefix: &[String], tree: &str, found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    if tree.is_empty() {
        return;
    }
    let parts = |text: &str| -> Vec<String> {
        text.split("::")
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    if let Some((head, body)) = tree.split_once('{') {
        let body = body.trim_end().strip_suffix('}').unwrap_or(body);
        let prefix = [prefix, &parts(head)[..]].concat();
        let (mut depth, mut from) = (0, 0);
        for (at, c) in body.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand(&prefix, &body[from..at], found);
                    from = at + 1;
                }
                _ => {}
            }
        }
        expand(&prefix, &body[from..], found);
    } else {
        let plain = tree.split(" as ").next().unwrap_or_default();
        let mut path = [prefix, &parts(plain)[..]].concat();
        path.retain(|part| part != "*");
        if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
            path.pop();
        }
        found.push(path);
    }
}

/// The circles: sets of which each member reaches every other.
fn circles(graph: &Graph) -> Vec<BTreeSet<String>> {
    let reached = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&String> = graph.get(from).into_iter().flatten().collect();
        while let Some(at) = next.pop() {
            if seen.insert(at.clone()) {
                next.extend(graph.get(at).into_iter().flatten());
            }
        }
        seen
    };
    let all: BTreeMap<&String, BTreeSet<String>> =
        graph.keys().map(|from| (from, reached(from))).collect();
    let mut found: Vec<BTreeSet<String>> = Vec::new();
    for (from, to) in &all {
        if !to.contains(*from) || found.iter().any(|circle| circle.contains(*from)) {
            continue;
        }
        let back = |other: &&String| all.get(*other).is_some_and(|theirs| theirs.contains(*from));
        found.push(to.iter().filter(back).cloned().collect());
    }
    found
}

/// Whether a circle is a file with files of its own folder.
fn is_one_module(circle: &BTreeSet<String>) -> bool {
    circle.iter().any(|parent| {
        let folder = format!("{parent}::");
        circle
            .iter()
            .all(|module| module == parent || module.starts_with(&folder))
    })
}

/// What files need of others than their own folder, and than the file whose folder they stand in.
fn between_strangers(graph: &Graph) -> Graph {
    let is_of_folder = |file: &str, parent: &str| file.starts_with(&format!("{parent}::"));
    let mut between = graph.clone();
    for (from, to) in &mut between {
        to.retain(|to| !is_of_folder(to, from) && !is_of_folder(from, to));
    }
    between
}

fn told(graph: &Graph, circle: &BTreeSet<String>) -> String {
    let mut lines = Vec::new();
    for from in circle {
        for to in graph.get(from).into_iter().flatten() {
            if circle.contains(to) {
                lines.push(format!("  {from} -> {to}"));
            }
        }
    }
    lines.join("\n")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the repository")
}

#[test]
fn no_file_imports_one_that_imports_it_back() {
    let mut problems = Vec::new();
    for folder in CRATES.iter().filter(|folder| root().join(folder).exists()) {
        let graph = Crate::read(&root().join(folder)).graph(|module| module.join("::"));
        for circle in circles(&graph)
            .into_iter()
            .filter(|circle| !is_one_module(circle))
        {
            problems.push(format!("{folder}:\n{}", told(&graph, &circle)));
        }
        let beside = between_strangers(&graph);
        for circle in circles(&beside) {
            problems.push(format!("{folder}:\n{}", told(&beside, &circle)));
        }
    }
    assert!(
        problems.is_empty(),
        "circles of files:\n{}",
        problems.join("\n")
    );
}

#[test]
fn no_room_of_the_server_needs_one_that_needs_it() {
    let server = Crate::read(&root().join("server/src"));
    let graph = server.graph(|module| module.first().cloned().unwrap_or_default());
    let circles: Vec<_> = circles(&graph)
        .iter()
        .map(|circle| told(&graph, circle))
        .collect();
    assert!(
        circles.is_empty(),
        "circles of rooms:\n{}",
        circles.join("\n")
    );
}

/// The files of the server that answer HTTP: those with a table of routes, those of `http`, and the few that stand around all routes.
fn answers_http(module: &[String], code: &str) -> bool {
    let name = module.join("::");
    name.starts_with("http")
        || ["refusals", "auth::gate"].contains(&name.as_str())
        || code.contains("pub fn table() -> Vec<Route<")
}

#[test]
fn only_what_answers_http_knows_its_errors() {
    let mut problems = Vec::new();
    for (module, text) in &Crate::read(&root().join("server/src")).files {
        let code = code_of(text);
        if code.contains("ApiError") && !answers_http(module, &code) {
            problems.push(module.join("::"));
        }
    }
    assert!(
        problems.is_empty(),
        "a room has errors of its own, and server/src/refusals.rs makes problems of them: {problems:?}"
    );
}

#[test]
fn routes_hold_no_acts() {
    let mut problems = Vec::new();
    for (module, text) in &Crate::read(&root().join("server/src")).files {
        let code = code_of(text);
        let transaction = [
            "pool.begin",
            "Transaction::begin",
            "Connection::begin",
            "sqlx::query",
        ];
        if answers_http(module, &code) && transaction.iter().any(|begin| code.contains(begin)) {
            problems.push(module.join("::"));
        }
    }
    assert!(
        problems.is_empty(),
        "transactions are begun by acts, not by routes: {problems:?}"
    );
}

/// A constant of a kind that holds the name of one of its fields, and the files that may use it: the kind's own routes, screens and commands.
fn names_of_fields() -> Vec<(String, &'static str)> {
    let own = |kind: Kind| match kind {
        // Its commands in the terminal have a named argument for what is typed most.
        Kind::ShopCard => "client/src/terminal",
        Kind::TransferRequest => "transfer",
        Kind::Visit => "visit",
    };
    let mut found = Vec::new();
    for kind in Kind::ALL {
        let text = root().join(format!("sync-core/src/kinds/{kind}.rs"));
        let text = fs::read_to_string(text).expect("a kind's file");
        for line in text.lines() {
            let Some((name, value)) = line
                .strip_prefix("pub const ")
                .and_then(|line| line.split_once(": &str = "))
            else {
                continue;
            };
            let value = value.trim_matches(['"', ';']);
            let is_field = kind.fields().iter().any(|field| {
                field.name == value || matches!(field.shape, Shape::Entry { list } if list == value)
            });
            if is_field {
                found.push((format!("{kind}::{name}"), own(kind)));
            }
        }
    }
    found
}

#[test]
fn nothing_outside_a_kind_tells_its_fields_by_their_names() {
    let names = names_of_fields();
    assert!(names.len() > 20, "{names:?}");
    let mut problems = Vec::new();
    for folder in CRATES.iter().filter(|folder| **folder != "sync-core/src") {
        let read = Crate::read(&root().join(folder));
        for (module, text) in &read.files {
            let file = format!("{folder}/{}.rs", module.join("/"));
            let code = code_of(text);
            let inline = code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
            let used: BTreeSet<String> = paths(&code)
                .iter()
                .map(|path| path.join("::"))
                .chain(inline.map(str::to_owned))
                .collect();
            for (name, own) in &names {
                let is_used = used
                    .iter()
                    .any(|path| path == name || path.ends_with(&format!("::{name}")));
                if is_used && !file.contains(own) {
                    problems.push(format!("{file} uses {name}"));
                }
            }
        }
    }
    assert!(
        problems.is_empty(),
        "ask the kind for the field of a meaning, for its persons, for its succession: {problems:#?}"
    );
}

#[test]
fn the_reading_of_imports_is_right() {
    let code = code_of(
        "use crate::{\n    a::{self, B},\n    c,\n};\npub use child::Thing;\nfn f() { super::g(); crate::h::i() }\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\n",
    );
    let found: Vec<String> = paths(&code).iter().map(|path| path.join("::")).collect();
    assert_eq!(
        found,
        [
            "crate::a",
            "crate::a::B",
            "crate::c",
            "child::Thing",
            "super::g",
            "crate::h::i"
        ]
    );
    let graph: Graph = [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]
        .map(|(from, to)| (from.to_owned(), [to.to_owned()].into()))
        .into();
    let circle: BTreeSet<String> = ["a", "b", "c"].map(str::to_owned).into();
    assert_eq!(circles(&graph), [circle]);
    let tied: Graph = [("a", "a::b"), ("a::b", "a::c"), ("a::c", "a::b")]
        .map(|(from, to)| (from.to_owned(), [to.to_owned()].into()))
        .into();
    let siblings: BTreeSet<String> = ["a::b", "a::c"].map(str::to_owned).into();
    assert_eq!(circles(&between_strangers(&tied)), [siblings]);
    for (circle, expected) in [
        (["a", "a::b", "a::b::c"], true),
        (["a", "a::b", "ab"], false),
        (["a::b", "a::c", "a::d"], false),
    ] {
        assert_eq!(
            is_one_module(&circle.map(str::to_owned).into()),
            expected,
            "{circle:?}"
        );
    }
}

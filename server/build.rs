//! Compiles the server again when a migration is added (`sqlx::migrate!` embeds them, and cargo does not see that), and puts the phone's web app
//! into it: every file of web/dist, packed where a packed one lies beside it. No file where it was not built.

use std::{
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
    let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let dist = Path::new(&folder).join("../web/dist");
    println!("cargo:rerun-if-changed=../web/dist");
    let mut found = Vec::new();
    // A build that was cut off has no service worker yet.
    if dist.join("sw.js").is_file() {
        walk(&dist, &mut found);
    }
    found.sort();
    let mut table = String::from("&[\n");
    for path in found
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end != "br"))
    {
        let name = path.strip_prefix(&dist).expect("it is inside");
        let name = name.to_str().expect("vite writes plain names");
        let place = path.to_str().expect("the sources lie in a plain folder");
        let packed = format!("{place}.br");
        let packed = if Path::new(&packed).is_file() {
            format!("Some(include_bytes!({packed:?}))")
        } else {
            "None".to_owned()
        };
        let _ = writeln!(
            table,
            "File {{ name: {name:?}, plain: include_bytes!({place:?}), packed: {packed} }},"
        );
    }
    table += "]\n";
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("web_files.rs");
    fs::write(out, table).expect("the folder is the build's own");
}

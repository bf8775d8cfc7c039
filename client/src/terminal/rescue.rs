//! `export` and `import`: unsent edits as a sealed file.

use std::{io::BufRead, path::Path};

use lianka_sync_core::lang::Lang;

use super::{advice::Failure, say};
use crate::phone::Phone;

pub(super) fn export(phone: &Phone, file: &Path, lang: Lang) -> Result<(), Failure> {
    let text = phone.export_unsent(&passphrase(lang)?)?;
    std::fs::write(file, text).map_err(Failure::Output)?;
    println!(
        "{} {}",
        say(
            lang,
            "未上传的修改已导出；它们也还在本机上：",
            "What is unsent was exported, and is still on this phone:"
        ),
        file.display()
    );
    Ok(())
}

pub(super) fn import(phone: &Phone, file: &Path, lang: Lang) -> Result<(), Failure> {
    let text = std::fs::read_to_string(file).map_err(Failure::Output)?;
    let taken = phone.take_in(&text, &passphrase(lang)?)?;
    let (entries, drafts, known) = (taken.entries, taken.drafts, taken.known);
    match lang {
        Lang::Zh => println!(
            "已取入 {entries} 条修改、{drafts} 条草稿；{known} 条本机已有。运行 sync 上传。"
        ),
        Lang::En => println!(
            "Took in {entries} edits and {drafts} drafts; {known} were here already. `sync` sends them."
        ),
    }
    Ok(())
}

/// The first line of standard input, so that it stands in no list of processes.
fn passphrase(lang: Lang) -> Result<String, Failure> {
    eprint!("{}", say(lang, "口令：", "Passphrase: "));
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(Failure::Output)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

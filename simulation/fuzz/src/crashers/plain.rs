//! What plain Automerge does with an input, step by step: in the child process only.

use std::time::Instant;

use automerge::{
    ActorId, AutoCommit, Change, LoadOptions, ROOT, ReadDoc, TextEncoding, sync, sync::SyncDoc,
    transaction::Transactable,
};

use crate::{budget::caught, chunk, draw::Draw};

/// How an input harms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Harm {
    Panic,
    Unloadable,
}

/// Tells a step that was reached, and since when it was on the way.
pub type Say<'s> = &'s mut dyn FnMut(&str, Instant) -> anyhow::Result<()>;

const SURVEY: u32 = 20_000;

fn empty() -> AutoCommit {
    AutoCommit::new_with_encoding(TextEncoding::UnicodeCodePoint)
        .with_actor(ActorId::from(&[9_u8; 20][..]))
}

/// The harm that a change does which parses; `None` where it does none, or does not parse.
pub fn harm(bytes: &[u8]) -> Option<Harm> {
    let Ok(parsed) = caught("parse", || Change::from_bytes(bytes.to_vec())) else {
        return Some(Harm::Panic);
    };
    // Very long ones are the run-length bomb's to show.
    let change = parsed.ok().filter(|change| change.len() < 10_000)?;
    let saved = caught("apply and save", || {
        let mut doc = empty();
        doc.apply_changes([change]).ok()?;
        Some(doc.save())
    });
    let Ok(saved) = saved else {
        return Some(Harm::Panic);
    };
    let saved = saved?;
    match caught("load", || AutoCommit::load(&saved).is_ok()) {
        Err(_) => Some(Harm::Panic),
        Ok(false) => Some(Harm::Unloadable),
        Ok(true) => None,
    }
}

/// Parse, apply, save, load, and an honest edit after it.
pub fn apply(bytes: &[u8], say: Say<'_>) -> anyhow::Result<()> {
    let mut started = Instant::now();
    let result = caught("", || -> anyhow::Result<String> {
        let mut lap = |step: &str| {
            let said = say(step, started);
            started = Instant::now();
            said
        };
        let change = match Change::from_bytes(bytes.to_vec()) {
            Ok(change) => change,
            Err(error) => return Ok(format!("does not parse: {error}")),
        };
        lap("parses")?;
        let mut doc = empty();
        if let Err(error) = doc.apply_changes([change]) {
            return Ok(format!("does not apply: {error}"));
        }
        lap("applies")?;
        let saved = doc.save();
        lap("saves")?;
        let options = LoadOptions::new().text_encoding(TextEncoding::UnicodeCodePoint);
        let Ok(doc) = AutoCommit::load_with_options(&saved, options) else {
            return Ok("**what it saved does not load**".into());
        };
        lap("loads")?;
        let mut doc = doc.with_actor(ActorId::from(&[9_u8; 20][..]));
        doc.put(ROOT, "unit", "201室")?;
        if let Ok(Some((_, note))) = doc.get(ROOT, "note") {
            const TYPED: &str = "门口积两，已报修";
            if let Err(error) = doc.update_text(&note, TYPED) {
                return Ok(format!(
                    "**the next honest edit of the note fails**: {error}"
                ));
            }
            let read = doc.text(&note)?;
            if read != TYPED {
                return Ok(format!(
                    "**the next honest edit reads otherwise than typed**: {read} for {TYPED}"
                ));
            }
        }
        doc.commit();
        doc.save();
        lap("is edited")?;
        Ok("no complaint".into())
    });
    let fate = match result {
        Ok(fate) => fate?,
        Err(failure) => format!(
            "**panics**: {}",
            failure.detail.lines().nth(1).unwrap_or("")
        ),
    };
    say(&format!("end {}", fate.replace('|', "/")), Instant::now())
}

/// How many of many damaged changes that parse do harm.
pub fn survey(say: Say<'_>, mutated: impl Fn(&mut Draw) -> Vec<u8>) -> anyhow::Result<()> {
    let mut draw = Draw::new(1);
    let (mut parsed, mut panics, mut unloadable) = (0_u32, 0_u32, 0_u32);
    for _ in 0..SURVEY {
        let bytes = mutated(&mut draw);
        parsed +=
            u32::from(caught("", || Change::from_bytes(bytes.clone()).is_ok()).unwrap_or(true));
        match harm(&bytes) {
            Some(Harm::Panic) => panics += 1,
            Some(Harm::Unloadable) => unloadable += 1,
            None => {}
        }
    }
    let part = |count: u32| f64::from(count) * 100.0 / f64::from(parsed.max(1));
    let said = format!(
        "end {parsed} parse; of these {:.1} % **panic**, {:.1} % **save what does not load**",
        part(panics),
        part(unloadable)
    );
    say(&said, Instant::now())
}

/// Changes that wait for what never comes.
pub fn orphans(say: Say<'_>) -> anyhow::Result<()> {
    for count in [1_000_u64, 2_000, 4_000] {
        let mut doc = empty();
        let started = Instant::now();
        for seq in 0..count {
            let mut orphan = chunk::Chunk::read(&super::honest()).unwrap_or_default();
            (orphan.seq, orphan.deps) = (seq + 2, vec![vec![7; 32]]);
            let _ = doc.apply_changes([Change::from_bytes(orphan.bytes())?]);
        }
        say(&format!("{count} take"), started)?;
    }
    say("end each waits in memory for ever", Instant::now())
}

/// A filter that asks for four thousand million probes.
pub fn sync_message(say: Say<'_>) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut doc = empty();
    doc.put(ROOT, "unit", "201室")?;
    doc.commit();
    // Version 1; no heads, nothing needed; one `have` without hashes, its filter: one entry, eight bits, 2³² − 1 probes, one byte.
    let mut bytes = vec![0x42, 0, 0, 1, 0];
    let mut filter = vec![1, 8];
    chunk::write_uleb(&mut filter, u64::from(u32::MAX));
    filter.push(0xff);
    chunk::write_uleb(&mut bytes, filter.len() as u64);
    bytes.extend(filter);
    bytes.push(0);
    let message = sync::Message::decode(&bytes)?;
    say("decodes", started)?;
    let mut state = sync::State::new();
    doc.sync().receive_sync_message(&mut state, message)?;
    say("is received", started)?;
    let started = Instant::now();
    let answer = doc.sync().generate_sync_message(&mut state);
    say(
        if answer.is_some() {
            "is answered"
        } else {
            "is not answered"
        },
        started,
    )?;
    say("end no complaint", Instant::now())
}

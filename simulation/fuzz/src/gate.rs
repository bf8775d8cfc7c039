//! Mutated changes against the gate, MERGE and Automerge.
//!
//! Claims, for every mutant:
//! - `decode` ends without a panic and within its budget;
//! - what it passes is what an independent reader reads in the bytes, and Automerge parses it to the same change;
//! - what MERGE refuses changes nothing;
//! - what MERGE accepts, Automerge applies, saves, loads and reads as the register state says; sending it again is a duplicate; and the next
//!   honest edit by somebody else is written, accepted and read as typed.
//!
//! And for every honest change: it passes, byte for byte, and is accepted.

use lianka_office_core::street::Accepted;
use lianka_sync_core::{
    access::{Role, Writer},
    codec::change::{self, Change, GateError},
    crdt::{
        merge::{Refusal, RegisterState},
        rebuild::{Forget, RebuildError, rebuild},
        record::{Edit, Record},
    },
    id::Actor,
    limits,
    time::DeviceTime,
};

use crate::{
    Failure, Found, Tally,
    budget::{Budget, Cost, caught},
    chunk::Chunk,
    minimise::minimised,
    mutate::{self, Depth},
    scene::{Office, SECRETARY, Scene, device},
};

/// Mutants of each honest change, and honest changes of a round.
const MUTANTS: usize = 100;
const CHANGES_MAX: usize = 20;

const DECODE: &str = "decode neither panics nor exceeds its budget";
const READING: &str = "what passes is what the bytes say";
const PARSES: &str = "Automerge parses what passes, and as the gate does";
const UNMOVED: &str = "a refusal moves nothing";
const APPLIES: &str = "Automerge applies, saves and loads what is accepted";
const AGREES: &str = "Automerge reads what MERGE says";
const COUNTERS: &str = "nobody uses up the counters";
const GOES_ON: &str = "the next honest edit works";
const HONEST: &str = "what honest phones write passes and is accepted";
const TAKEN: &str = "what is accepted once is accepted twice";
const FORGETS: &str = "a record can be rebuilt";

/// What `decode` may cost. The constant part is a change of as many operations as are allowed, decoded and encoded once more; the other is
/// keys and values of its own.
pub fn decode_budget() -> Budget {
    let budget = Budget {
        peak_per_byte: 24,
        peak_bytes: 3 << 20,
        allocations_per_byte: 2,
        allocations: 45_000,
        work_ns: 0,
    };
    let bytes = long_change().bytes;
    budget.calibrated(6, || change::decode(&bytes).is_ok())
}

/// The dearest change that an honest phone can write: a note of the greatest length, replaced.
pub fn long_change() -> Change {
    let text = |c: &str| Edit::Note {
        text: c.repeat(limits::NOTE_CHARS_MAX),
    };
    let actor = Actor::new(device(0), 1);
    let at = DeviceTime::from_unix_seconds(1_795_000_000);
    let (mut record, first) =
        Record::create(actor, at, &[text("水")]).expect("a note of the greatest length");
    record
        .edit(actor, at, &[text("油")], "")
        .ok()
        .flatten()
        .unwrap_or(first)
}

/// One round: a record's life, with mutants at each of its changes.
pub fn round(seed: u64, budget: &Budget) -> Tally {
    let mut tally = Tally::default();
    let mut scene = Scene::new(seed);
    let length = 3 + scene.draw.below(CHANGES_MAX);
    for _ in 0..length {
        let step = match caught(HONEST, || scene.honest_change()) {
            Ok(Some((phone, change))) => step(&mut scene, phone, &change, budget, &mut tally),
            Ok(None) => break,
            Err(failure) => Err(Found {
                failure,
                input: Vec::new(),
                context: scene.office.document.clone(),
            }),
        };
        if let Err(found) = step {
            tally.found.push(found);
            return tally;
        }
    }
    tally
}

fn step(
    scene: &mut Scene,
    phone: usize,
    change: &Change,
    budget: &Budget,
    tally: &mut Tally,
) -> Result<(), Found> {
    let mut adopted = None;
    for _ in 0..MUTANTS {
        let (depth, bytes) = mutate::mutant(change, &scene.office, &mut scene.draw);
        let writer = *scene.draw.pick(&[
            SECRETARY,
            SECRETARY,
            Writer::Person(Role::Admin),
            Writer::Server,
        ]);
        tally.inputs += 1;
        match judge(&scene.office, &bytes, writer, budget) {
            Err(failure) => tally
                .found
                .push(found(&scene.office, failure, &bytes, writer, budget)),
            Ok(judged) => {
                tally.count(format!("{}: {}", depth.name(), judged.outcome));
                tally.cost(judged.cost);
                if let Some(accepted) = judged.accepted
                    && (adopted.is_none() || scene.draw.one_in(4))
                {
                    adopted = Some((accepted, writer));
                }
            }
        }
    }
    if let Some((mutant, writer)) = adopted.filter(|_| scene.draw.one_in(3)) {
        let first = scene.office.changes.is_empty();
        let device = mutant.actor.device();
        scene
            .office
            .take(&mutant, writer)
            .map_err(|refusal| Found {
                failure: Failure::new(TAKEN, refusal.code().to_owned()),
                input: mutant.bytes.clone(),
                context: scene.office.document.clone(),
            })?;
        scene.tainted = true;
        for at in 0..scene.phones.len() {
            if first {
                scene.pull(at);
            }
        }
        // The honest change was not sent: its phone starts over, as one does whose change was refused.
        let author = scene.phones[phone].actor.device();
        scene.rebase(author);
        scene.rebase(device);
        return Ok(());
    }
    let context = scene.office.document.clone();
    honest(scene, phone, change, budget, tally).map_err(|failure| Found {
        failure,
        input: change.bytes.clone(),
        context,
    })
}

/// The failure with the smallest input that breaks the same claim on the same office.
fn found(
    office: &Office,
    failure: Failure,
    bytes: &[u8],
    writer: Writer,
    budget: &Budget,
) -> Found {
    let same = |bytes: &[u8]| matches!(judge(office, bytes, writer, budget), Err(other) if other.claim == failure.claim);
    let input = minimised(bytes, same);
    Found {
        failure,
        input,
        context: office.document.clone(),
    }
}

fn honest(
    scene: &mut Scene,
    phone: usize,
    change: &Change,
    budget: &Budget,
    tally: &mut Tally,
) -> Result<(), Failure> {
    tally.count("honest");
    let (decoded, cost) =
        budget.spend(DECODE, change.bytes.len(), || change::decode(&change.bytes))?;
    tally.cost(cost);
    if decoded.as_ref() != Ok(change) {
        return Err(Failure::new(HONEST, format!("{decoded:?}")));
    }
    match caught(HONEST, || scene.office.take(change, SECRETARY))? {
        Ok(Accepted::Now(_)) => Ok(()),
        // Beside what a hostile phone filled to the brim, an honest one may be refused, by these names.
        Err(refusal) if scene.tainted && crowded(&refusal) => {
            let author = scene.phones[phone].actor.device();
            scene.rebase(author);
            Ok(())
        }
        other => Err(Failure::new(HONEST, format!("{other:?}"))),
    }
}

fn crowded(refusal: &Refusal) -> bool {
    matches!(
        refusal.code(),
        "record_full" | "too_many_heads" | "value_too_long" | "consent_missing"
    )
}

struct Judged {
    outcome: String,
    cost: Cost,
    accepted: Option<Change>,
}

/// All claims about one change that is sent to `office` by `writer`.
fn judge(
    office: &Office,
    bytes: &[u8],
    writer: Writer,
    budget: &Budget,
) -> Result<Judged, Failure> {
    let (decoded, cost) = budget.spend(DECODE, bytes.len(), || change::decode(bytes))?;
    let judged = |outcome: &str, accepted| {
        Ok(Judged {
            outcome: outcome.to_owned(),
            cost,
            accepted,
        })
    };
    let change = match decoded {
        Ok(change) => change,
        Err(error) => return judged(&format!("refused by the gate, {}", error.code()), None),
    };
    check_reading(&change)?;
    check_parse(&change)?;
    let (result, state) = caught("MERGE does not panic", || office.offer(&change, writer))?;
    match result {
        Err(Refusal::DocumentUnavailable) => Err(Failure::new(
            APPLIES,
            "the document did not take what passed the gate".into(),
        )),
        Ok(Accepted::Before) => judged("duplicate", None),
        Err(refusal) => {
            if state.as_ref() != office.state() {
                return Err(Failure::new(UNMOVED, refusal.code().into()));
            }
            judged(&format!("refused by MERGE, {}", refusal.code()), None)
        }
        Ok(Accepted::Now(_)) => {
            check_counters(office, &change)?;
            let state =
                state.ok_or_else(|| Failure::new(AGREES, "accepted into nothing".into()))?;
            caught(APPLIES, || check_accepted(office, &change, &state, writer))??;
            judged("accepted", Some(change))
        }
    }
}

/// The header as the reader of this crate reads it.
fn check_reading(change: &Change) -> Result<(), Failure> {
    let fail = |what: &str| Err(Failure::new(READING, what.to_owned()));
    let Some(chunk) = Chunk::read(&change.bytes) else {
        return fail("it does not read");
    };
    let same = chunk
        .deps
        .iter()
        .map(Vec::as_slice)
        .eq(change.deps.iter().map(|dep| &dep.0[..]))
        && chunk.actor == change.actor.as_bytes()
        && (chunk.seq, chunk.start_op) == (change.seq.into(), change.start_op.into())
        && chunk.time == change.time.map_or(0, DeviceTime::unix_seconds)
        && chunk.message == change.message.as_bytes()
        && chunk.extra.is_empty();
    if !same {
        return fail("the header differs");
    }
    let within = change.ops.len() <= limits::CHANGE_OPS_MAX
        && change.bytes.len() <= limits::CHANGE_BYTES_MAX + 16
        && u64::from(change.start_op) + change.ops.len() as u64 <= limits::OP_COUNTER_MAX;
    if within {
        Ok(())
    } else {
        fail("a limit is passed")
    }
}

/// Whatever it has seen, nobody may use up the counters: an operation's is at most one above the highest so far, a sequence's exactly.
fn check_counters(office: &Office, change: &Change) -> Result<(), Failure> {
    let highest = office.changes.iter().map(Change::max_op).max().unwrap_or(0);
    let of_actor = office
        .changes
        .iter()
        .filter(|other| other.actor == change.actor)
        .map(|other| other.seq)
        .max()
        .unwrap_or(0);
    let fair = change.start_op <= highest + 1 && change.seq == of_actor + 1;
    if fair {
        Ok(())
    } else {
        Err(Failure::new(
            COUNTERS,
            format!("start_op {}, seq {}", change.start_op, change.seq),
        ))
    }
}

fn check_parse(change: &Change) -> Result<(), Failure> {
    let parsed = caught(PARSES, || {
        automerge::Change::from_bytes(change.bytes.clone())
    })?;
    let parsed = parsed.map_err(|error| Failure::new(PARSES, error.to_string()))?;
    let same = parsed.hash().0 == change.hash.0
        && parsed.raw_bytes() == change.bytes
        && parsed.len() == change.ops.len()
        && parsed.seq() == u64::from(change.seq)
        && parsed.start_op().get() == u64::from(change.start_op)
        && parsed.max_op() == u64::from(change.max_op());
    if same {
        Ok(())
    } else {
        Err(Failure::new(PARSES, "it reads another change".into()))
    }
}

fn check_accepted(
    office: &Office,
    change: &Change,
    state: &RegisterState,
    writer: Writer,
) -> Result<(), Failure> {
    let broken =
        |claim| move |error: &dyn std::fmt::Display| Failure::new(claim, error.to_string());
    let automerge = |error: lianka_sync_core::crdt::record::RecordError| broken(APPLIES)(&error);
    let mut record = if office.document.is_empty() {
        Record::load(&change.bytes).map_err(automerge)?
    } else {
        let mut record = Record::load(&office.document).map_err(automerge)?;
        record.apply([change.bytes.as_slice()]).map_err(automerge)?;
        record
    };
    let saved = record.save();
    let mut loaded = Record::load(&saved).map_err(automerge)?;
    let view = state.view();
    if loaded.view().map_err(automerge)? != view {
        return Err(Failure::new(AGREES, "the views differ".into()));
    }
    if loaded.heads() != state.heads() || !loaded.contains(change.hash) {
        return Err(Failure::new(AGREES, "the histories differ".into()));
    }
    if RegisterState::from_bytes(&state.to_bytes()).as_ref() != Ok(state) {
        return Err(Failure::new(
            AGREES,
            "the state does not survive its stored form".into(),
        ));
    }
    let after = Office::holding(state.clone(), saved);
    if after.offer(change, writer).0 != Ok(Accepted::Before) {
        return Err(Failure::new(AGREES, "sent again it is no duplicate".into()));
    }
    let sample = change.hash.0[0];
    if sample < 8 {
        check_rebuild(state, &after.document)?;
    }
    // Every edit of the note, and a part of the others: this claim takes as long as all the rest.
    if change.edits_text() || sample < 64 {
        check_next_edit(&after, &mut loaded)
    } else {
        Ok(())
    }
}

/// Somebody who never wrote before edits what there is now.
fn check_next_edit(after: &Office, record: &mut Record) -> Result<(), Failure> {
    let fail = |what: &str| Failure::new(GOES_ON, what.to_owned());
    let stranger = Actor::new(device(77), 1);
    let text = "门口积水，已报修𠮷";
    let edits = [
        Edit::set("sign_name", "老王包子"),
        Edit::add("tags/a"),
        Edit::Delete { key: "unit".into() },
        Edit::Note { text: text.into() },
    ];
    let at = DeviceTime::from_unix_seconds(1_795_300_000);
    let written = record
        .edit(stranger, at, &edits, "")
        .map_err(|error| fail(&error.to_string()))?;
    let change = written.ok_or_else(|| fail("nothing was written"))?;
    let (result, state) = after.offer(&change, SECRETARY);
    match result {
        Ok(Accepted::Now(_)) => {}
        Err(refusal) if crowded(&refusal) => return Ok(()),
        other => return Err(fail(&format!("{other:?}"))),
    }
    let state = state.ok_or_else(|| fail("no state"))?;
    let view = state.view();
    if record.view().ok().as_ref() != Some(&view) {
        return Err(fail("the views differ"));
    }
    if view.note.as_deref() != Some(text) {
        return Err(fail("the note does not read as typed"));
    }
    Ok(())
}

/// What the office does when it forgets something.
fn check_rebuild(state: &RegisterState, document: &[u8]) -> Result<(), Failure> {
    let key = |key: &str| key.starts_with("contacts/") || key.starts_with("tags/");
    match rebuild(state, document, &Forget::keys(&key)) {
        Ok(_) | Err(RebuildError::TooWide) => Ok(()),
        Err(error) => Err(Failure::new(FORGETS, error.to_string())),
    }
}

/// The claims about a stored input, sent to a office that holds `context`.
pub fn replay(bytes: &[u8], context: &[u8], budget: &Budget) -> Result<String, Failure> {
    let mut office = Office::default();
    if !context.is_empty() {
        let held = Record::load(context)
            .map_err(|error| Failure::new("the context loads", error.to_string()))?
            .changes();
        for change in held.iter().filter_map(|bytes| change::decode(bytes).ok()) {
            // What is refused is not there to stand on.
            let _ = office.take(&change, Writer::Server);
        }
    }
    judge(&office, bytes, SECRETARY, budget).map(|judged| judged.outcome)
}

/// What the gate says of some bytes, by its code.
pub fn code(bytes: &[u8]) -> &'static str {
    change::decode(bytes).map_or_else(|error: GateError| error.code(), |_| "passes")
}

/// The depths of which no mutant was made, or none got past the gate: a generator that has gone blind.
pub fn blind(tally: &Tally) -> Vec<&'static str> {
    let reached = |depth: Depth, word: &str| {
        tally
            .outcomes
            .keys()
            .any(|outcome| outcome.starts_with(depth.name()) && outcome.contains(word))
    };
    let mut blind: Vec<_> = Depth::ALL
        .into_iter()
        .filter(|depth| !reached(*depth, "refused by the gate"))
        .map(Depth::name)
        .collect();
    blind.extend(
        [Depth::Body, Depth::Columns, Depth::Meaning]
            .into_iter()
            .filter(|depth| !reached(*depth, "accepted"))
            .map(Depth::name),
    );
    blind
}

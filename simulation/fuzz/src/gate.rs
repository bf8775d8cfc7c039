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

use lianka_sync_core::{
    access::{Role, Writer},
    codec::change::{self, Change, GateError},
    crdt::{
        merge::{Merged, Refusal, RegisterState, Target},
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
    world::{SECRETARY, Server, World, device, merged},
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
    let mut world = World::new(seed);
    let length = 3 + world.draw.below(CHANGES_MAX);
    for _ in 0..length {
        let step = match caught(HONEST, || world.honest_change()) {
            Ok(Some((phone, change))) => step(&mut world, phone, &change, budget, &mut tally),
            Ok(None) => break,
            Err(failure) => Err(Found {
                failure,
                input: Vec::new(),
                context: world.server.document.clone(),
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
    world: &mut World,
    phone: usize,
    change: &Change,
    budget: &Budget,
    tally: &mut Tally,
) -> Result<(), Found> {
    let mut adopted = None;
    for _ in 0..MUTANTS {
        let (depth, bytes) = mutate::mutant(change, &world.server, &mut world.draw);
        let writer = *world.draw.pick(&[
            SECRETARY,
            SECRETARY,
            Writer::Person(Role::Admin),
            Writer::Server,
        ]);
        tally.inputs += 1;
        match judge(&world.server, &bytes, writer, budget) {
            Err(failure) => tally
                .found
                .push(found(&world.server, failure, &bytes, writer, budget)),
            Ok(judged) => {
                tally.count(format!("{}: {}", depth.name(), judged.outcome));
                tally.cost(judged.cost);
                if let Some(accepted) = judged.accepted
                    && (adopted.is_none() || world.draw.one_in(4))
                {
                    adopted = Some(accepted);
                }
            }
        }
    }
    if let Some((mutant, state)) = adopted.filter(|_| world.draw.one_in(3)) {
        let first = world.server.changes.is_empty();
        let device = mutant.actor.device();
        world.server.keep(mutant, Some(state));
        world.tainted = true;
        for at in 0..world.phones.len() {
            if first {
                world.pull(at);
            }
        }
        // The honest change was not sent: its phone starts over, as one does whose change was refused.
        let author = world.phones[phone].actor.device();
        world.rebase(author);
        world.rebase(device);
        return Ok(());
    }
    let context = world.server.document.clone();
    honest(world, phone, change, budget, tally).map_err(|failure| Found {
        failure,
        input: change.bytes.clone(),
        context,
    })
}

/// The failure with the smallest input that breaks the same claim on the same server.
fn found(
    server: &Server,
    failure: Failure,
    bytes: &[u8],
    writer: Writer,
    budget: &Budget,
) -> Found {
    let same = |bytes: &[u8]| matches!(judge(server, bytes, writer, budget), Err(other) if other.claim == failure.claim);
    let input = minimised(bytes, same);
    Found {
        failure,
        input,
        context: server.document.clone(),
    }
}

fn honest(
    world: &mut World,
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
    let mut target = world.server.target(change);
    match caught(HONEST, || merged(&mut target, change, SECRETARY))? {
        Ok(Merged::Accepted) => {
            world.server.keep(change.clone(), target.state);
            Ok(())
        }
        // Beside what a hostile phone filled to the brim, an honest one may be refused, by these names.
        Err(refusal) if world.tainted && crowded(&refusal) => {
            let author = world.phones[phone].actor.device();
            world.rebase(author);
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
    accepted: Option<(Change, RegisterState)>,
}

/// All claims about one change that is sent to `server` by `writer`.
fn judge(
    server: &Server,
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
    let mut target = server.target(&change);
    let result = caught("MERGE does not panic", || {
        merged(&mut target, &change, writer)
    })?;
    match result {
        Err(Refusal::DocumentUnavailable) => Err(Failure::new(
            APPLIES,
            "the document did not take what passed the gate".into(),
        )),
        Ok(Merged::Duplicate) => judged("duplicate", None),
        Err(refusal) => {
            if target.state != server.state {
                return Err(Failure::new(UNMOVED, refusal.code().into()));
            }
            server.unmoved(target);
            judged(&format!("refused by MERGE, {}", refusal.code()), None)
        }
        Ok(Merged::Accepted) => {
            check_counters(server, &change)?;
            let state = target
                .state
                .take()
                .ok_or_else(|| Failure::new(AGREES, "accepted into nothing".into()))?;
            caught(APPLIES, || check_accepted(server, &change, &state, writer))??;
            judged("accepted", Some((change, state)))
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
fn check_counters(server: &Server, change: &Change) -> Result<(), Failure> {
    let highest = server.changes.iter().map(Change::max_op).max().unwrap_or(0);
    let of_actor = server
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
    server: &Server,
    change: &Change,
    state: &RegisterState,
    writer: Writer,
) -> Result<(), Failure> {
    let broken =
        |claim| move |error: &dyn std::fmt::Display| Failure::new(claim, error.to_string());
    let automerge = |error: lianka_sync_core::crdt::record::RecordError| broken(APPLIES)(&error);
    let mut record = if server.document.is_empty() {
        Record::load(&change.bytes).map_err(automerge)?
    } else {
        let mut record = Record::load(&server.document).map_err(automerge)?;
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
    let mut again = Target {
        state: Some(state.clone()),
        document: None,
    };
    if merged(&mut again, change, writer) != Ok(Merged::Duplicate) {
        return Err(Failure::new(AGREES, "sent again it is no duplicate".into()));
    }
    let sample = change.hash.0[0];
    if sample < 8 {
        check_rebuild(state, &saved)?;
    }
    // Every edit of the note, and a part of the others: this claim takes as long as all the rest.
    if change.edits_text() || sample < 64 {
        check_next_edit(&Server::holding(state.clone(), saved), &mut loaded)
    } else {
        Ok(())
    }
}

/// Somebody who never wrote before edits what there is now.
fn check_next_edit(after: &Server, record: &mut Record) -> Result<(), Failure> {
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
    let mut target = after.target(&change);
    match merged(&mut target, &change, SECRETARY) {
        Ok(Merged::Accepted) => {}
        Err(refusal) if crowded(&refusal) => return Ok(()),
        other => return Err(fail(&format!("{other:?}"))),
    }
    let state = target.state.ok_or_else(|| fail("no state"))?;
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

/// The claims about a stored input, sent to a server that holds `context`.
pub fn replay(bytes: &[u8], context: &[u8], budget: &Budget) -> Result<String, Failure> {
    let mut server = Server::default();
    if !context.is_empty() {
        let held = Record::load(context)
            .map_err(|error| Failure::new("the context loads", error.to_string()))?
            .changes();
        for change in held.iter().filter_map(|bytes| change::decode(bytes).ok()) {
            let mut target = server.target(&change);
            if merged(&mut target, &change, Writer::Server) == Ok(Merged::Accepted) {
                server.keep(change, target.state);
            }
        }
    }
    judge(&server, bytes, SECRETARY, budget).map(|judged| judged.outcome)
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

//! The inputs that harm plain Automerge 0.12: recipes, what the gate says of each, and a measurement of the harm.
//!
//! Small ones stand as files in `simulation/fuzz/fixtures`, held to their recipes by a test that never hands them to Automerge. What Automerge does with
//! them is measured by `make fuzz-automerge` only: each in a child process of limited memory and time, which says how far it came.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::Context;
use lianka_sync_core::{
    codec::change::{Action, encode},
    crdt::record::{Edit, Record},
    id::Actor,
    time::DeviceTime,
};
use nix::sys::resource::{Resource, setrlimit};

use crate::{
    budget::{measured, quiet_panics},
    chunk::{self, Cells, Chunk, Column, Run},
    draw::Draw,
    gate,
    minimise::minimised,
    mutate::scramble,
    scene::device,
};

mod plain;

/// What the child may use: more than any phone, less than the machine.
const CHILD_BYTES_MAX: u64 = 8 << 30;
const CHILD_SECONDS_MAX: u64 = 120;
/// Larger inputs are made, not kept.
const KEPT_BYTES_MAX: usize = 4_096;

/// An input that harms plain Automerge.
pub struct Crasher {
    pub name: &'static str,
    pub note: &'static str,
    /// What the gate says.
    pub code: &'static str,
    make: fn() -> Vec<u8>,
}

impl Crasher {
    pub fn bytes(&self) -> Vec<u8> {
        (self.make)()
    }

    /// Whether it stands in `simulation/fuzz/fixtures`.
    pub fn file(&self, bytes: &[u8]) -> Option<PathBuf> {
        (bytes.len() <= KEPT_BYTES_MAX).then(|| {
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{}.bin", self.name))
        })
    }
}

/// Every crasher, in the order of the table.
pub const CRASHERS: &[Crasher] = &[
    Crasher {
        name: "deflate-bomb",
        note: "a deflated change whose message is a gigabyte of zeros",
        code: "change_too_large",
        make: || deflate_bomb(1 << 30),
    },
    Crasher {
        name: "deflate-bomb-small",
        note: "the same within the gate's limit of bytes: sixty megabytes in sixty kilobytes",
        code: "change_too_large",
        make: || deflate_bomb(60 << 20),
    },
    Crasher {
        name: "run-length-bomb",
        note: "ten million operations in runs of a few bytes",
        code: "change_too_large",
        make: run_length_bomb,
    },
    Crasher {
        name: "key-in-a-long-run",
        note: "a key of sixty thousand bytes, repeated five thousand times by one run",
        code: "change_too_large",
        make: key_in_a_long_run,
    },
    Crasher {
        name: "start-op-near-the-end",
        note: "an operation counter near 2³²: the next honest edit has no number left",
        code: "out_of_range",
        make: start_op_near_the_end,
    },
    Crasher {
        name: "wrong-checksum",
        note: "four bytes of checksum that match nothing",
        code: "checksum_mismatch",
        make: wrong_checksum,
    },
    Crasher {
        name: "element-of-two-characters",
        note: "one element of the note that holds two characters",
        code: "operation_not_allowed",
        make: element_of_two_characters,
    },
    Crasher {
        name: "panics",
        note: "columns with a few changed bytes, checksum right",
        code: "operation_not_allowed",
        make: || kept("panics"),
    },
    Crasher {
        name: "saves-what-does-not-load",
        note: "another such",
        code: "operation_not_allowed",
        make: || kept("saves-what-does-not-load"),
    },
];

fn kept(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{name}.bin")))
        .unwrap_or_default()
}

/// An honest creating change, and its author's copy.
pub fn honest() -> Vec<u8> {
    let edits = [
        Edit::set("kind", "shop_card"),
        Edit::set("street", "310104003"),
        Edit::set("grid", "康平01"),
        Edit::set("sign_name", "王记包子"),
        Edit::add("tags/late_night"),
        Edit::Note {
            text: "门口积水".into(),
        },
    ];
    let at = DeviceTime::from_unix_seconds(1_795_000_000);
    Record::create(Actor::new(device(1), 1), at, &edits)
        .map(|(_, change)| change.bytes)
        .unwrap_or_default()
}

fn forged(forge: impl FnOnce(&mut Chunk)) -> Vec<u8> {
    let mut chunk = Chunk::read(&honest()).unwrap_or_default();
    forge(&mut chunk);
    chunk.bytes()
}

fn deflate_bomb(zeros: usize) -> Vec<u8> {
    let mut chunk = Chunk::read(&honest()).unwrap_or_default();
    chunk.message = vec![0; zeros];
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    let packed = encoder
        .write_all(&chunk.body())
        .and_then(|()| encoder.finish())
        .unwrap_or_default();
    // Automerge does not look at the checksum, and the gate never comes as far.
    chunk::frame(chunk::DEFLATED, &packed, &[])
}

fn columns_of_one_run(key: &[u8], rows: i64) -> Vec<Column> {
    let column = |spec, cells| Column { spec, cells };
    vec![
        column(0x15, Cells::Texts(vec![Run::Repeat(rows, key.to_vec())])),
        column(0x34, Cells::Flags(vec![rows.unsigned_abs()])),
        column(0x42, Cells::Numbers(vec![Run::Repeat(rows, 1)])),
        column(0x56, Cells::Numbers(vec![Run::Repeat(rows, 2)])),
        column(0x70, Cells::Numbers(vec![Run::Repeat(rows, 0)])),
    ]
}

fn run_length_bomb() -> Vec<u8> {
    forged(|chunk| {
        chunk.time = 0;
        chunk.columns = columns_of_one_run(b"a", 10_000_000);
    })
}

fn key_in_a_long_run() -> Vec<u8> {
    forged(|chunk| chunk.columns = columns_of_one_run(&vec![b'k'; 60_000], 5_000))
}

fn start_op_near_the_end() -> Vec<u8> {
    let Ok(mut change) = lianka_sync_core::codec::change::decode(&honest()) else {
        return Vec::new();
    };
    change
        .ops
        .retain(|op| matches!(op.action, Action::Put { .. }));
    change.start_op = u32::MAX - (change.ops.len() as u32 - 1);
    encode(&change)
}

fn wrong_checksum() -> Vec<u8> {
    let mut bytes = honest();
    bytes[4..8].fill(0);
    bytes
}

fn element_of_two_characters() -> Vec<u8> {
    let Ok(mut change) = lianka_sync_core::codec::change::decode(&honest()) else {
        return Vec::new();
    };
    let last = change
        .ops
        .iter_mut()
        .rev()
        .find_map(|op| match &mut op.action {
            Action::Insert { text, .. } => Some(text),
            _ => None,
        });
    if let Some(text) = last {
        "两字".clone_into(text);
    }
    encode(&change)
}

/// The honest change with one to three changed bytes and a right checksum.
fn mutated(draw: &mut Draw) -> Vec<u8> {
    let mut body = chunk::body(&honest()).unwrap_or_default().to_vec();
    let length = body.len();
    scramble(&mut body, draw);
    // Of the same length: what is cut off or put in seldom parses.
    body.resize(length, 0);
    chunk::plain(&body)
}

/// Writes the kept inputs and their list anew; those that only mutation finds are searched for with a fixed seed.
pub fn write_fixtures() -> anyhow::Result<()> {
    quiet_panics();
    setrlimit(Resource::RLIMIT_AS, CHILD_BYTES_MAX, CHILD_BYTES_MAX)?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    fs::create_dir_all(&folder)?;
    for (name, wanted) in [
        ("panics", plain::Harm::Panic),
        ("saves-what-does-not-load", plain::Harm::Unloadable),
    ] {
        let mut draw = Draw::new(7);
        let found = (0..200_000)
            .map(|_| mutated(&mut draw))
            .find(|bytes| plain::harm(bytes) == Some(wanted))
            .context("a crasher")?;
        fs::write(
            folder.join(format!("{name}.bin")),
            minimised(&found, |bytes| plain::harm(bytes) == Some(wanted)),
        )?;
    }
    for crasher in CRASHERS {
        let bytes = crasher.bytes();
        if let Some(file) = crasher.file(&bytes) {
            fs::write(file, &bytes)?;
        }
    }
    Ok(())
}

/// In the child: does to plain Automerge what a server without a gate would.
pub fn suffer(name: &str) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    quiet_panics();
    setrlimit(Resource::RLIMIT_AS, CHILD_BYTES_MAX, CHILD_BYTES_MAX)?;
    setrlimit(Resource::RLIMIT_CPU, CHILD_SECONDS_MAX, CHILD_SECONDS_MAX)?;
    let mut out = std::io::stdout().lock();
    let mut say = |step: &str, started: Instant| -> anyhow::Result<()> {
        let milliseconds = started.elapsed().as_secs_f64() * 1e3;
        writeln!(out, "{step}\t{milliseconds:.0}\t{}", megabytes_max())?;
        Ok(out.flush()?)
    };
    match name {
        "survey" => plain::survey(&mut say, mutated),
        "orphans" => plain::orphans(&mut say),
        "sync-message" => plain::sync_message(&mut say),
        _ => plain::apply(&bytes, &mut say),
    }
}

/// The most that this process ever held. The system's other count begins with what the parent held.
fn megabytes_max() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}

/// Measures every crasher, prints the table, and writes it between the marks of `document`.
pub fn measure(document: Option<&Path>) -> anyhow::Result<()> {
    let mut rows =
        String::from("| input | bytes | plain Automerge 0.12 | Lianka |\n|---|---|---|---|\n");
    for crasher in CRASHERS {
        let bytes = crasher.bytes();
        let suffered = child(crasher.name, &bytes)?;
        let (_, cost) = measured("decode", || gate::code(&bytes))
            .map_err(|failure| anyhow::anyhow!("{failure}"))?;
        let code = gate::code(&bytes);
        let (microseconds, kilobytes) = (cost.work_ns / 1000, cost.peak_bytes / 1024);
        writeln!(
            rows,
            "| {} (`{}`) | {} | {suffered} | `{code}`, {microseconds} µs, {kilobytes} KB |",
            crasher.note,
            crasher.name,
            bytes.len()
        )?;
    }
    for (name, note, lianka) in [
        (
            "survey",
            "20,000 honest changes with up to four damaged bytes, checksum right",
            "none panics; what passes loads (`make fuzz`)",
        ),
        (
            "orphans",
            "changes whose dependencies never come",
            "`dependency_missing`, each by itself; nothing is kept of them",
        ),
        (
            "sync-message",
            "a sync message of 15 bytes with a Bloom filter of 2³² probes",
            "Automerge's sync protocol is not spoken",
        ),
    ] {
        writeln!(
            rows,
            "| {note} (`{name}`) | | {} | {lianka} |",
            child(name, &[])?
        )?;
    }
    println!("{rows}");
    if let Some(path) = document {
        let text = fs::read_to_string(path)?;
        let (head, rest) = text.split_once("<!-- measured -->").context("the mark")?;
        let (_, tail) = rest.split_once("<!-- end -->").context("the second mark")?;
        fs::write(
            path,
            format!("{head}<!-- measured -->\n\n{rows}\n<!-- end -->{tail}"),
        )?;
    }
    Ok(())
}

fn child(name: &str, bytes: &[u8]) -> anyhow::Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["suffer", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn()?;
    // It reads all of it before it says anything.
    child.stdin.take().context("its input")?.write_all(bytes)?;
    let mut steps = Vec::new();
    let mut ended = false;
    let mut megabytes_max = 0_u64;
    for line in BufReader::new(child.stdout.take().context("its output")?).lines() {
        let line = line?;
        let [step, milliseconds, megabytes] = line.split('\t').collect::<Vec<_>>()[..] else {
            continue;
        };
        megabytes_max = megabytes_max.max(megabytes.parse()?);
        match step.strip_prefix("end ") {
            Some(said) => {
                ended = true;
                steps.push(said.to_owned());
            }
            None => steps.push(format!("{step} {milliseconds} ms")),
        }
    }
    let status = child.wait()?;
    let fate = if ended {
        String::new()
    } else {
        format!(" → **{}**", fate(status))
    };
    Ok(format!("{}{fate}; {megabytes_max} MB", steps.join(" → ")))
}

fn fate(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;

    match status.signal() {
        Some(6) => "the process aborts".into(),
        Some(9 | 24) => format!("killed after {CHILD_SECONDS_MAX} s of processor time"),
        Some(signal) => format!("killed by signal {signal}"),
        None => format!("{status}"),
    }
}

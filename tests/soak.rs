//! The soak's short form: a few seconds of mixed load against a real server that trims its log every second.
//!
//! Only what must hold on any machine is asserted, by the program itself: no edit lost, phones and office alike, the log trimmed to an entry a
//! record at most. Memory and time are for the long run: `make soak`.

use std::process::{Command, Stdio};

use lianka_tests::program;

#[test]
fn mixed_load_loses_nothing_while_the_log_is_trimmed() {
    let output = Command::new(program("lianka-simulator"))
        .args(["--lang", "en", "soak", "--minutes", "0.15"])
        .stdin(Stdio::null())
        .output()
        .expect("the simulator runs");
    let (told, problems) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{told}\n{problems}");
    assert!(
        told.contains("no edit was lost; the log is bounded"),
        "{told}"
    );
    let edits: u64 = told
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .expect("how many edits there were");
    assert!(edits > 0, "{told}");
}

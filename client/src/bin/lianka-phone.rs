//! A phone in the terminal.

use std::process::ExitCode;

fn main() -> ExitCode {
    lianka_client::terminal::main()
}

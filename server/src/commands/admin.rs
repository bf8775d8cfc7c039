//! `lianka admin create`: the first admin of a deployment, whom no other account can make.

use std::io::{BufRead, IsTerminal};

use anyhow::Context;
use clap::{Args, Subcommand};
use lianka_server::{
    auth,
    clock::{Clock, Entropy},
};

use crate::commands::database::OnDatabase;

#[derive(Subcommand)]
pub enum Admin {
    /// Make an admin of the whole deployment; also works beside a running server.
    ///
    /// The password is the first line of standard input, so that it stands in no process list and no shell history.
    Create(CreateAdmin),
}

#[derive(Args)]
pub struct CreateAdmin {
    /// Name to sign in with.
    #[arg(long, value_name = "NAME")]
    username: String,
    /// Name that people read. Absent: the username.
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    #[command(flatten)]
    database: OnDatabase,
}

impl CreateAdmin {
    pub async fn run(self) -> anyhow::Result<()> {
        let username = &self.username;
        if std::io::stdin().is_terminal() {
            eprint!("Password for {username} (it is shown): ");
        }
        let mut password = String::new();
        std::io::stdin()
            .lock()
            .read_line(&mut password)
            .context("cannot read the password")?;
        let password = password.trim_end_matches(['\r', '\n']).to_owned();
        let display_name = self.display_name.as_ref().unwrap_or(username);
        let (clock, entropy) = (&Clock::System, &Entropy::System);
        self.database
            .run(async |pool| {
                auth::create_admin(pool, clock, entropy, username, display_name, password).await?;
                println!("{username} is an admin now");
                Ok(())
            })
            .await
    }
}

//! What must stand before the first phone can sync: a server, an administrator, a street with its people.
//!
//! Input: nothing, or the address and login of a server that runs already. Output: a [`Stage`] with an administrator's desk, which sets up, and
//! a reviewer's desk, which reads the merged roll. Names carry a random part where the server is somebody's.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::Context;
use lianka_client::clock::Entropy;
use lianka_sync_core::{id::StreetCode, lang::Lang};

use crate::{
    fleet::Secretary,
    office::{Grid, Office, http_client},
    server_process::{ADMIN, ServerProcess},
};

pub use crate::office::Login;

/// Desks of a street office.
pub struct Stage {
    pub admin: Office,
    pub reviewer: Office,
    pub admin_login: Login,
    pub reviewer_login: Login,
    pub street: StreetCode,
}

/// A street to be.
pub struct NewStreet<'s> {
    pub code: StreetCode,
    pub name: &'s str,
    pub district: &'s str,
    pub grids: &'s [Grid],
    pub roads: &'s [String],
}

/// Starts a server of its own with an administrator.
pub async fn start_server(
    data_dir: Option<&Path>,
    listen: Option<SocketAddr>,
) -> anyhow::Result<(ServerProcess, Login)> {
    start_server_with(data_dir, listen, &[]).await
}

/// The same with further settings of `lianka serve`.
pub async fn start_server_with(
    data_dir: Option<&Path>,
    listen: Option<SocketAddr>,
    settings: &[(&str, String)],
) -> anyhow::Result<(ServerProcess, Login)> {
    let listen = listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let server = ServerProcess::start_with(data_dir, listen, settings).await?;
    let login = Login {
        username: ADMIN.into(),
        password: password(),
    };
    let created = server.create_admin(&login.password).await;
    if let Err(error) = created {
        server.stop().await?;
        return Err(error);
    }
    Ok((server, login))
}

/// Sets up a street with a reviewer. `suffix` makes the reviewer's name unique.
pub async fn set_up(
    url: &str,
    admin_login: Login,
    street: &NewStreet<'_>,
    suffix: &str,
    lang: Lang,
) -> anyhow::Result<Stage> {
    let http = http_client()?;
    let admin = Office::sign_in(http.clone(), url, &admin_login, lang).await?;
    let code = street.code.as_str();
    admin
        .create_street(code, street.name, street.district)
        .await?;
    for grid in street.grids {
        admin.create_grid(code, grid).await?;
    }
    if !street.roads.is_empty() {
        admin.add_roads(code, street.roads).await?;
    }
    let reviewer_login = Login {
        username: format!("reviewer{suffix}"),
        password: password(),
    };
    admin
        .create_user(
            code,
            &reviewer_login.username,
            "审核员",
            "reviewer",
            Some(&reviewer_login.password),
        )
        .await?;
    let reviewer = Office::sign_in(http, url, &reviewer_login, lang).await?;
    Ok(Stage {
        admin,
        reviewer,
        admin_login,
        reviewer_login,
        street: street.code.clone(),
    })
}

impl Stage {
    /// Accounts and assignments; the accounts have no password and can only enrol phones.
    pub async fn hire(&self, secretaries: &[Secretary]) -> anyhow::Result<()> {
        for (number, secretary) in secretaries.iter().enumerate() {
            let name = format!("书记{:02}", number + 1);
            self.admin
                .create_user(
                    self.street.as_str(),
                    &secretary.username,
                    &name,
                    "secretary",
                    None,
                )
                .await?;
            self.admin
                .assign(self.street.as_str(), &secretary.username, &secretary.grids)
                .await
                .context("cannot assign grids")?;
        }
        Ok(())
    }
}

/// Sixteen digits and letters from the system's randomness.
pub fn password() -> String {
    /// Without characters that are mistaken for one another.
    const LETTERS: &[u8; 32] = b"23456789abcdefghjkmnpqrstuvwxyzA";
    Entropy::System
        .bytes()
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect()
}

/// A street code that no street office has, and a suffix for names, both random.
pub fn fresh_street() -> anyhow::Result<(StreetCode, String)> {
    let number = Entropy::System.below(10_000_000);
    let code = format!("99{number:07}");
    Ok((
        code.parse().context("nine digits")?,
        format!("-{number:07}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_and_differ() {
        let (one, other) = (password(), password());
        assert_eq!(one.len(), 16);
        assert_ne!(one, other);
    }

    #[test]
    fn a_fresh_street_has_a_code() {
        let (code, suffix) = fresh_street().expect("nine digits");
        assert!(code.as_str().ends_with(&suffix[1..]));
    }
}

//! What stands before a hostile load: a street with two grids, one of honest people and one of those who are not.

use std::path::Path;

use anyhow::Context;
use lianka_client::{
    Phone,
    phone::EnrolOptions,
    transport::{Call, Transport},
};
use lianka_simulator::{
    fleet::Secretary,
    office::Grid,
    stage::{self, Login, NewStreet, Stage},
};
use lianka_sync_core::{
    id::{DeviceId, RecordId, StreetCode},
    kinds::projection::Projected,
};

use super::LANG;

pub const HONEST_GRID: &str = "康平01";
/// Its people have valid tokens; their own cards are theirs to spoil.
pub const HOSTILE_GRID: &str = crate::scene::GRIDS[1];
/// The street that [`crate::scene`] plays in.
const STREET: &str = "310104003";

pub struct Office {
    stage: Stage,
    url: String,
    street: StreetCode,
}

/// A device with a token, and no scruples.
pub struct Hostile {
    pub url: String,
    pub street: StreetCode,
    pub device: DeviceId,
    pub token: String,
}

impl Office {
    pub async fn open(url: String, login: Login) -> anyhow::Result<Self> {
        let street: StreetCode = STREET.parse().context("nine digits")?;
        let grid = |code: &str| Grid {
            code: code.into(),
            name: code.into(),
            area: "康平".into(),
        };
        let grids = [grid(HONEST_GRID), grid(HOSTILE_GRID)];
        let new = NewStreet {
            code: street.clone(),
            name: "天平路街道",
            district: "徐汇区",
            grids: &grids,
            roads: &[],
        };
        let stage = stage::set_up(&url, login, &new, "", LANG).await?;
        Ok(Self { stage, url, street })
    }

    async fn hire(&self, username: &str, grid: &str) -> anyhow::Result<String> {
        let secretary = Secretary {
            username: username.into(),
            grids: vec![grid.into()],
        };
        self.stage.hire(&[secretary]).await?;
        self.stage.admin.enrolment_code(username).await
    }

    pub async fn phone(&self, number: usize, folder: &Path) -> anyhow::Result<Phone> {
        let code = self
            .hire(&format!("honest{number:02}"), HONEST_GRID)
            .await?;
        let options = EnrolOptions {
            street: Some(self.street.clone()),
            lang: LANG,
            ..EnrolOptions::default()
        };
        Ok(Phone::enrol(
            &folder.join(format!("{number}.lianka")),
            &self.url,
            &code,
            options,
        )
        .await?)
    }

    pub async fn hostile(&self, number: usize) -> anyhow::Result<Hostile> {
        let code = self
            .hire(&format!("hostile{number:02}"), HOSTILE_GRID)
            .await?;
        let session = Transport::new(&self.url, LANG)?
            .sign_in(&Call::Enrol {
                code,
                name: "phone".into(),
                platform: "hostile-load".into(),
            })
            .await?;
        Ok(Hostile {
            url: self.url.clone(),
            street: self.street.clone(),
            device: session.device_id,
            token: session.access_token,
        })
    }

    /// The merged roll.
    pub async fn roll(&self) -> anyhow::Result<std::collections::BTreeMap<RecordId, Projected>> {
        self.stage.reviewer.cards(self.street.as_str()).await
    }
}

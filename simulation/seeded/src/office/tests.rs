//! What every office does, told by a phone that speaks the protocol and decides nothing. Generic: each story is told to the office in memory and to the real
//! router, and their evidence is compared.

mod phone;
mod stories;

use super::{Evidence, Identities, MemoryOffice, Office, Setup};

pub fn setup() -> Setup {
    let owned = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    Setup {
        street: "310104003".into(),
        grids: owned(&["A1", "A2", "A3"]),
        roads: owned(&["天平路"]),
        secretaries: vec![
            ("wang.fang".into(), owned(&["A1"])),
            ("li.na".into(), owned(&["A1", "A2"])),
        ],
        log_days: 30,
    }
}

pub fn in_memory() -> MemoryOffice {
    MemoryOffice::new(&setup(), Identities::Seeded(7))
}

/// A story told to the office in memory; what is left when all is quiet.
pub async fn told_in_memory(story: impl AsyncFnOnce(&mut MemoryOffice)) -> Evidence {
    let mut office = in_memory();
    story(&mut office).await;
    office.tend().await;
    let evidence = office.evidence().await;
    assert_eq!(evidence.rows_differ, None);
    evidence
}

/// A story told to the real router and, as it was overheard there, to the one in memory: both answer alike and are left with the same.
#[cfg(feature = "real")]
pub async fn told_to_both(
    story: impl AsyncFnOnce(&mut super::agreement::Overheard<super::RealOffice>),
) {
    let ((), left, difference) = super::agreement::told_to_both(&setup(), 7, story).await;
    assert_eq!(left.rows_differ, None);
    assert_eq!(difference.map(|difference| difference.to_string()), None);
}

//! The store in memory plays the scenes; what must hold is looked at in what it kept. The suite over all stores is in the workspace's tests.

#[path = "suite/scenes.rs"]
mod scenes;

use lianka_office_core::memory::{MemoryStore, User};
use lianka_sync_core::{access::Role, id::DeviceId};
use scenes::Cast;
use uuid::Uuid;

fn cast() -> Cast {
    Cast {
        street: "310104003".into(),
        grids: ["A1".into(), "A2".into()],
        secretary: ("wang.fang".into(), DeviceId(Uuid::from_u128(1))),
        reviewer: ("li.na".into(), DeviceId(Uuid::from_u128(2))),
    }
}

fn store(cast: &Cast) -> MemoryStore {
    let street = cast.street.parse().expect("a street");
    let grids = cast.grids.iter().cloned().collect();
    let mut store = MemoryStore::new(street, Uuid::from_u128(9), grids);
    let mut secretary = User::new(Role::Secretary, "王芳");
    secretary.assign(&cast.grids.iter().cloned().collect());
    secretary.assign(&[cast.grids[0].clone()].into());
    store.users.insert(cast.secretary.0.clone(), secretary);
    let reviewer = User::new(Role::Reviewer, "李娜");
    store.users.insert(cast.reviewer.0.clone(), reviewer);
    for (username, device) in [&cast.secretary, &cast.reviewer] {
        let name = (username.clone(), "a device".to_owned());
        store.devices.insert(*device, name);
    }
    store
}

#[test]
fn the_same_scenes_come_to_the_same() {
    let cast = cast();
    let mut first = store(&cast);
    let told = scenes::play(&mut first, &cast);
    assert_eq!(told, scenes::play(&mut store(&cast), &cast));
    for (word, at_least) in [("Accepted", 6), ("Held", 1), ("Rejected", 2), ("Ok(", 8)] {
        assert!(told.matches(word).count() >= at_least, "{word}: {told}");
    }
    assert!(first.reports.is_empty(), "{:?}", first.reports);
}

#[test]
fn a_withdrawal_of_consent_takes_the_party_status_away() {
    let cast = cast();
    let mut store = store(&cast);
    scenes::play(&mut store, &cast);
    let holds = |text: &str| {
        store.records.values().any(|kept| {
            let view = kept.state.view();
            view.values
                .iter()
                .any(|(key, values)| key.ends_with(text) && !values.is_empty())
        })
    };
    assert!(!holds("/party_status"));
    assert!(holds("/decision"));
}

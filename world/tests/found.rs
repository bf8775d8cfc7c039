//! What worlds found once, as scripts of a few steps.

use lianka_world::{
    Script, check,
    office::{Identities, ModelOffice, Setup},
    run_to_end,
    script::{Desk, MadeBy, Set, Step, Weather, What},
};

fn holds(steps: Vec<What>) {
    let setup = Setup {
        street: "310104003".into(),
        grids: vec!["A1".into(), "A2".into()],
        roads: vec!["康平路".into()],
        secretaries: vec![("xuna".into(), vec!["A1".into()]), ("lihua".into(), vec!["A1".into()])],
        log_days: 30,
    };
    let step = |(no, what)| Step { no, at_ms: i64::from(no) * 60_000, what };
    let script = Script { seed: 1, setup, steps: (0..).zip(steps).map(step).collect() };
    let mut office = ModelOffice::new(&script.setup, Identities::Seeded(script.seed));
    let story = run_to_end(&script, &mut office);
    assert_eq!(check::check(&script.setup, &story), []);
}

fn ready(phone: usize, username: &str) -> [What; 2] {
    [What::Enrol { phone, username: username.into() }, What::Network { phone, weather: Weather::Fine }]
}

fn create() -> What {
    let set: Set = vec![("road".into(), Some("康平路".into())), ("sign_name".into(), Some("v1.0z".into()))];
    What::Create { phone: 0, grid: "A1".into(), set, note: "v1.1z".into() }
}

/// Neither a verdict nor a record that does not come back after a restore may leave the erased values in the log beside the file.
#[test]
fn what_was_erased_after_a_restore_is_not_in_the_phones_log() {
    let [enrolled, fine] = ready(0, "xuna");
    let [enrolled_too, fine_too] = ready(1, "lihua");
    let steps = [create(), What::Sync { phone: 0 }, What::Sync { phone: 1 }, What::Desk(Desk::Backup), What::Desk(Desk::Restore)];
    let erase = What::Desk(Desk::Erase { record: MadeBy(4) });
    holds([enrolled, fine, enrolled_too, fine_too].into_iter().chain(steps).chain([erase]).collect());
}

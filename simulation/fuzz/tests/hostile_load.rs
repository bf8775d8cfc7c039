//! The short form of `make hostile-load`.

#![cfg(feature = "hostile-load")]

use lianka_fuzz::hostile_load::{run, short_form};

#[test]
fn honest_phones_lose_nothing_while_hostile_devices_throw_what_they_have() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let report = runtime
        .block_on(run(short_form()))
        .expect("the hostile load takes place");
    assert_eq!(report.failures(), Vec::<String>::new(), "{report}");
}

//! The practice street: invented shops, in a store of its own that has no credentials. Nothing of it can be sent, and nothing real gets into it.

use lianka_client_core::{
    Author, Effect, Grid, Identity, Moment, OutboxEntry, TailChange, editing,
    store::{RecordStore, Records},
};
use lianka_client_local::local_store::{LocalStore, StoreError, Tx};
use lianka_sync_core::{
    access::Role,
    crdt::record::Edit,
    id::DeviceId,
    kinds::{Kind, Meaning},
};

use super::Around;
use crate::failure::Failure;

/// What marks such a store.
pub(super) const MARK: &str = "practice";
const GRID: &str = "P1";
/// No street has it.
const STREET: &str = "999999999";
/// Shops that no street has: sign, category, road, and whether the door is open.
const SHOPS: &[(&str, &str, &str, &str)] = &[
    ("练习包子铺", "餐饮", "练习一路", "营业"),
    ("练习书店", "零售", "练习一路", "营业"),
    ("练习修鞋", "维修", "练习一路", "营业"),
    ("练习药房", "医药", "练习一路", "装修"),
    ("练习理发", "美发", "练习一路", "营业"),
    ("练习水果", "零售", "练习一路", "营业"),
    ("练习五金", "零售", "练习一路", "空置"),
    ("练习面馆", "餐饮", "练习一路", "营业"),
    ("练习咖啡", "餐饮", "练习二路", "营业"),
    ("练习文具", "零售", "练习二路", "营业"),
    ("练习洗衣", "服务", "练习二路", "关闭"),
    ("练习裁缝", "服务", "练习二路", "营业"),
];

/// Whether this store is one to practise in.
pub fn is_practice(store: &mut LocalStore) -> Result<bool, StoreError> {
    store.read(|tx| Ok(tx.value(MARK)?.is_some()))
}

/// Fills an empty store with the practice street; one that is filled stays as it is. Refuses a store that anybody is enrolled in.
pub fn fill(store: &mut LocalStore, around: &mut Around<'_>) -> Result<(), Failure> {
    if is_practice(store)? {
        return Ok(());
    }
    store.write(|tx| {
        if tx.enrolled()?.is_some() {
            return Err(Failure::of("not_practice"));
        }
        let identity = practising(around)?;
        tx.put_value(MARK, "true")?;
        tx.set_identity(&identity)?;
        // There is nothing to fetch.
        tx.set_cursor(Some(MARK))?;
        for (at, shop) in (1..).zip(SHOPS) {
            put(tx, &identity, at, shop, around)?;
        }
        Ok(())
    })
}

fn practising(around: &mut Around<'_>) -> Result<Identity, Failure> {
    Ok(Identity {
        device: DeviceId(around.new_entry().0),
        username: MARK.into(),
        display_name: "练习".into(),
        role: Role::Secretary,
        street: STREET.parse().map_err(|_| Failure::of("cut"))?,
        street_name: "练习街道".into(),
        grids: vec![Grid {
            grid: GRID.into(),
            name: "练习网格".into(),
            area: "练习".into(),
        }],
        former_devices: Vec::new(),
    })
}

/// A shop as the office would have sent it.
fn put(
    tx: &Tx<'_>,
    identity: &Identity,
    at: u64,
    (sign, category, road, occupancy): &(&str, &str, &str, &str),
    around: &mut Around<'_>,
) -> Result<(), Failure> {
    let trade_name = Kind::ShopCard.of_meaning(Meaning::TradeName);
    let edits = [
        (trade_name.map_or("", |field| field.name), *sign),
        ("category", category),
        ("road", road),
        ("number", &*at.to_string()),
        ("occupancy", occupancy),
    ];
    let edits = edits.map(|(key, text)| Edit::set(key, text));
    let author = Author { identity, epoch: 1 };
    let moment = Moment {
        now: around.now,
        office: None,
        entropy: (around.entropy)(),
        lang: around.lang,
    };
    let made = editing::create(&author, Kind::ShopCard, GRID, &edits, &moment)
        .map_err(|error| Failure::edit(&error, around.lang))?;
    tx.apply(&made.effects)?;
    let arrived = |entry: &OutboxEntry| Effect::Acknowledge {
        record: entry.record,
        generation: entry.generation,
        change: TailChange {
            hash: entry.hash,
            seq: Some(at),
            bytes: entry.bytes.clone(),
        },
    };
    let arrived: Vec<_> = tx.outbox_of(made.record)?.iter().map(arrived).collect();
    Ok(tx.apply(&arrived)?)
}

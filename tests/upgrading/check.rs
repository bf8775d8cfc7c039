//! For real: one deployment that goes forward and back, with the programs that its people had.
//!
//! In: the programs of an old and a new version. Out: a line for everything that was tried, and an error where something was lost or somebody
//! disagrees. Every step writes a field of its own, so that at the end each acknowledged edit can be looked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::{
    days::{self, Fleet},
    desk::{Desks, STREET},
    freeze,
    line::Line,
    stage::{Phone, Server, lianka},
};

/// The card that every step writes to: of the roll, in the grid that three of the phones have.
const SIGN: &str = "静心茶室";

/// The card that copies of one phone's file write to.
const COPIED: &str = "小林钟表";

/// What was acknowledged: the field and its value.
#[derive(Default)]
struct Acknowledged(BTreeMap<String, String>);

pub async fn check(old: &Path, version: &str, new: &Path) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    fs::create_dir(&data)?;
    let line = Line::open().await?;
    let mut done = Acknowledged::default();

    let server = Server::start(old, &data).await?;
    line.lead_to(&server.url);
    lianka(
        old,
        &data,
        &["admin", "create", "--username", "admin"],
        &Desks::password(),
    )
    .await?;
    let mut desks = Desks::open(&line.url(), "admin").await?;
    let mut fleet = days::open(&mut desks, &line.url(), old, folder.path()).await?;
    days::first(&desks, &line, &mut fleet).await?;
    if days::is_later(version) {
        days::later(&desks, &fleet).await?;
    }
    days::lost(&desks, &fleet).await?;
    days::leave_unsent(&fleet, days::is_later(version)).await?;
    let (wang, li) = (fleet.get("wang.fang")?.clone(), fleet.get("li.na")?.clone());
    write(&wang, "unsent", &mut done).await?;
    write(&li, "unsent_too", &mut done).await?;
    server.stop().await?;
    say(&format!(
        "{version} played its days and stopped; edits wait on the phones"
    ));

    // Forward.
    let server = Server::start(new, &data).await?;
    line.lead_to(&server.url);
    say("the new server started on the old data");
    synchronised(&fleet, "old phones").await?;
    agree(&desks, &fleet, &done).await?;
    say("old phones sent everything that waited; phones and office agree");
    let young = enrolled(
        &mut fleet,
        "zhao.min",
        "old-young",
        old,
        &desks,
        &line,
        folder.path(),
    )
    .await?;
    let newer = enrolled(
        &mut fleet,
        "li.na",
        "new-young",
        new,
        &desks,
        &line,
        folder.path(),
    )
    .await?;
    drop((young, newer));
    say("a phone of each version enrolled with the new server");
    // The app is updated on one phone, which keeps its file.
    let updated = li.with(new);
    updated.sync().await?;
    replace(&mut fleet, "li.na", &updated)?;
    for (n, name) in ["wang.fang", "li.na", "new-young"].into_iter().enumerate() {
        write(fleet.get(name)?, &format!("forward_{n}"), &mut done).await?;
    }
    at_the_desk(&desks, &wang, "desk_forward", &mut done).await?;
    synchronised(&fleet, "old and new phones").await?;
    agree(&desks, &fleet, &done).await?;
    say("an updated phone kept its file; old and new phones and a desk edited, and all agree");
    proved(new, &data).await?;
    say("the audit trail holds, by the new program");
    // What an old server knows nothing of: a log without its older changes, and a record whose history was compacted. One phone alone has seen it.
    write(&wang, "before_trimming", &mut done).await?;
    wang.sync().await?;
    let mut database = server.database().await?;
    freeze::none(
        &mut database,
        "select count(*) from record where seq > snapshot_seq",
    )
    .await?;
    drop(database);
    let trimmed = lianka(new, &data, &["compact", "--log-days", "0"], "").await?;
    let compacted = lianka(
        new,
        &data,
        &[
            "compact",
            "--log-days",
            "0",
            "--street",
            STREET,
            "--record",
            &wang.card("老上海面馆").await?,
        ],
        "",
    )
    .await?;
    say(&format!(
        "trimmed and compacted, beside the running server: {}; {}",
        trimmed.trim().replace('\n', ", "),
        compacted.trim()
    ));
    server.stop().await?;

    // Back.
    match Server::start(old, &data).await {
        Err(error) => {
            ensure!(
                version == "0.1.0",
                "{version} does not start on the new schema: {error:#}"
            );
            say(&format!(
                "{version} refuses the new schema, as expected of two versions back: {}",
                last_line(&error)
            ));
        }
        Ok(server) => {
            line.lead_to(&server.url);
            say(&format!("{version} started again, on the new schema"));
            enrolled(
                &mut fleet,
                "zhao.min",
                "old-late",
                old,
                &desks,
                &line,
                folder.path(),
            )
            .await?;
            for (n, name) in ["wang.fang", "li.na", "new-young", "old-late"]
                .into_iter()
                .enumerate()
            {
                let sign = if name == "old-late" {
                    "衡山书店"
                } else {
                    SIGN
                };
                write_on(fleet.get(name)?, sign, &format!("back_{n}"), &mut done).await?;
            }
            at_the_desk(&desks, &wang, "desk_back", &mut done).await?;
            synchronised(&fleet, "old and new phones with the old server").await?;
            agree(&desks, &fleet, &done).await?;
            say(
                "old and new phones and a desk edited on the old server, a new phone enrolled, and all agree",
            );
            if days::is_later(version) {
                redacted(&desks, &wang).await?;
                synchronised(&fleet, "phones after a redaction").await?;
                agree(&desks, &fleet, &done).await?;
                say("a person was redacted on a trimmed record by the old server, and all agree");
                match proved(old, &data).await {
                    Ok(()) => say("the audit trail holds, by the old program"),
                    // A version that knows nothing of trimming takes it for a loss; anything else it finds is one.
                    Err(error) => {
                        let said = format!("{error:#}");
                        let places: Vec<_> = said
                            .lines()
                            .filter(|line| line.starts_with("  event "))
                            .collect();
                        ensure!(
                            !places.is_empty()
                                && places.iter().all(|place| place.contains("content_missing")),
                            "{said}"
                        );
                        say(&format!(
                            "the old program misses {} trimmed changes in its proof of the audit trail, and nothing else",
                            places.len()
                        ));
                    }
                }
            }
            server.stop().await?;
        }
    }

    // And forward for good.
    let server = Server::start(new, &data).await?;
    line.lead_to(&server.url);
    for (n, name) in ["wang.fang", "li.na"].into_iter().enumerate() {
        write(fleet.get(name)?, &format!("again_{n}"), &mut done).await?;
    }
    synchronised(&fleet, "phones with the new server").await?;
    agree(&desks, &fleet, &done).await?;
    proved(new, &data).await?;
    let before = desks.read("chen.jie", "cards").await?;
    let rebuilt = lianka(new, &data, &["rebuild"], "").await?;
    ensure!(
        desks.read("chen.jie", "cards").await? == before,
        "the roll was another one after the rebuild"
    );
    say(&format!(
        "the new server again: all agree, the audit trail holds, and a rebuild changes nothing ({})",
        rebuilt.trim()
    ));
    server.stop().await?;
    println!(
        "{version}: {} acknowledged edits looked for, none lost",
        done.0.len()
    );
    Ok(())
}

fn say(what: &str) {
    println!("- {what}");
}

fn last_line(error: &anyhow::Error) -> String {
    format!("{error:#}")
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned()
}

/// A field of its own on the card, saved on the phone.
async fn write(phone: &Phone, step: &str, done: &mut Acknowledged) -> anyhow::Result<()> {
    write_on(phone, SIGN, step, done).await
}

async fn write_on(
    phone: &Phone,
    sign: &str,
    step: &str,
    done: &mut Acknowledged,
) -> anyhow::Result<()> {
    let card = phone.card(sign).await?;
    phone
        .set(&card, &[&format!("custom/{step}={step}")])
        .await?;
    done.0
        .insert(format!("{card} custom/{step}"), step.to_owned());
    Ok(())
}

/// The same at a desk, where the server has one that edits.
async fn at_the_desk(
    desks: &Desks,
    phone: &Phone,
    step: &str,
    done: &mut Acknowledged,
) -> anyhow::Result<()> {
    let card = phone.card(SIGN).await?;
    let key = format!("custom/{step}");
    match desks
        .post(
            "chen.jie",
            &format!("records/{card}/edits"),
            json!({ "set": { key.as_str(): step } }),
        )
        .await
    {
        Ok(_) => drop(done.0.insert(format!("{card} {key}"), step.to_owned())),
        Err(error) => ensure!(format!("{error:#}").contains("404"), "{error:#}"),
    }
    Ok(())
}

async fn enrolled(
    fleet: &mut Fleet,
    username: &str,
    name: &'static str,
    programs: &Path,
    desks: &Desks,
    line: &Line,
    folder: &Path,
) -> anyhow::Result<Phone> {
    let phone = Phone::new(programs, &folder.join(format!("{name}.db")));
    phone
        .enrol(&line.url(), &desks.code(username).await?)
        .await?;
    phone.sync().await?;
    fleet.phones.push((name, phone.clone()));
    Ok(phone)
}

fn replace(fleet: &mut Fleet, name: &str, phone: &Phone) -> anyhow::Result<()> {
    let place = fleet
        .phones
        .iter_mut()
        .find(|(other, _)| *other == name)
        .context("no such phone")?;
    place.1 = phone.clone();
    Ok(())
}

/// Everybody synchronises until nobody has anything to send. The lost phones are wiped by it.
async fn synchronised(fleet: &Fleet, who: &str) -> anyhow::Result<()> {
    for round in 0..3 {
        for (name, phone) in &fleet.phones {
            let lost = ["sun.li", "he.ping"].contains(name);
            match phone.sync().await {
                Ok(report) => ensure!(
                    lost || round == 0 || report["unsent"] == 0,
                    "{who}: {name} still has unsent edits: {report}"
                ),
                Err(error) => ensure!(lost, "{who}: {name}: {error:#}"),
            }
        }
    }
    Ok(())
}

type Values = BTreeMap<String, BTreeSet<String>>;

/// Phones and office say the same of every card, and every acknowledged edit is there.
async fn agree(desks: &Desks, fleet: &Fleet, done: &Acknowledged) -> anyhow::Result<()> {
    let mut office = BTreeMap::new();
    for card in desks
        .read("chen.jie", "cards")
        .await?
        .as_array()
        .into_iter()
        .flatten()
    {
        let id = card["record"].as_str().context("a card without an id")?;
        let shown = desks.read("chen.jie", &format!("records/{id}")).await?;
        let fields = shown["fields"].as_array().into_iter().flatten();
        let values = fields
            .map(|field| {
                (
                    field["key"].as_str().unwrap_or_default().to_owned(),
                    values(&field["values"]),
                )
            })
            .collect();
        office.insert(id.to_owned(), told(values));
    }
    let mut compared = 0;
    for (name, phone) in &fleet.phones {
        let Ok(cards) = phone.json(&["cards"]).await else {
            ensure!(
                ["sun.li", "he.ping"].contains(name),
                "{name} shows no cards"
            );
            continue;
        };
        for card in cards.as_array().into_iter().flatten() {
            let id = card["record"].as_str().context("a card without an id")?;
            let shown = phone.json(&["show", id]).await?;
            let fields = shown["values"].as_object().context("no values")?.iter();
            let on_phone: Values = told(
                fields
                    .map(|(key, value)| (key.clone(), values(value)))
                    .collect(),
            );
            // A card that was merged away stands in no list of the office.
            let Some(at_office) = office.get(id) else {
                continue;
            };
            // Copies of one phone's file are one device, which is not sent what it wrote: docs/operations.md, `clone_suspected`.
            if name.starts_with("li.na-") || *name == "li.na" && card["sign_name"] == COPIED {
                continue;
            }
            if on_phone != *at_office {
                bail!("{name} and the office disagree about {id}:\n{on_phone:?}\n{at_office:?}");
            }
            compared += 1;
        }
    }
    ensure!(compared > 10, "only {compared} cards were compared");
    for (place, value) in &done.0 {
        let (id, key) = place.split_once(' ').context("a place")?;
        let found = office
            .get(id)
            .and_then(|values| values.get(key))
            .is_some_and(|values| values.contains(&json!(value).to_string()));
        ensure!(found, "{key} of {id} was acknowledged and is lost");
    }
    Ok(())
}

fn values(list: &Value) -> BTreeSet<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .map(|value| value["value"].to_string())
        .collect()
}

/// Without what only one side shows.
fn told(mut values: Values) -> Values {
    values.retain(|key, _| {
        !["kind", "street", "grid", "note"].contains(&key.as_str())
            && !key.ends_with("/party_status")
    });
    values
}

/// Forgets a contact person of the roll.
async fn redacted(desks: &Desks, phone: &Phone) -> anyhow::Result<()> {
    let card = phone.card(SIGN).await?;
    let shown = desks.read("admin", &format!("records/{card}")).await?;
    let mut fields = shown["fields"].as_array().into_iter().flatten();
    let entry = fields.find_map(|field| {
        field["key"]
            .as_str()?
            .strip_prefix("contacts/")?
            .split('/')
            .next()
    });
    let body = json!({ "entry": entry.context("no contact person")?, "reason": "subject_request" });
    desks
        .post("admin", &format!("records/{card}/redact"), body)
        .await
        .map(drop)
}

async fn proved(programs: &Path, data: &Path) -> anyhow::Result<()> {
    lianka(programs, data, &["audit", "verify"], "")
        .await
        .map(drop)
}

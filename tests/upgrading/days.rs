//! Some days of a street, so that a version's database and its phones hold every situation that the version knows.
//!
//! In: a running server, its desks, and a folder for phones. Out: the phones, with work that no server has seen. Everybody is invented. What a
//! version cannot do yet is left out by its number; a later version plays all of it, and gets its own acts at the end of [`later`].

use std::path::Path;

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    desk::{Desks, STREET},
    line::Line,
    stage::Phone,
};

/// A roll as an office keeps it, with a field of its own.
const ROLL: &str = "网格,店招,地址,业态,联系人,联系电话,统一社会信用代码,灭火器,备注\n\
    A1,周记馄饨,天平路21号,餐饮,周师傅,13900000021,,合格,\n\
    A1,静心茶室,天平路23号,餐饮,何店长,13900000023,,合格,二楼\n\
    A1,小林钟表,天平路25号,修理,,13900000025,,,早上不开门\n\
    A2,阿强水果,康平路8号,零售,强老板,13900000031,,过期,\n\
    A2,康平裁缝,康平路10号,服务,,,,合格,\n\
    A2,好又多,康平路12号甲,零售,,13900000033,,合格,\n\
    A3,衡山书店,衡山路3号,零售,书店值班,13900000041,,合格,\n\
    A3,老房子咖啡,衡山路5弄2号,餐饮,,1390000,,合格,\n";

/// The phones of the street.
pub struct Fleet {
    pub phones: Vec<(&'static str, Phone)>,
}

impl Fleet {
    pub fn get(&self, name: &str) -> anyhow::Result<&Phone> {
        Ok(&self
            .phones
            .iter()
            .find(|(other, _)| *other == name)
            .context("no such phone")?
            .1)
    }
}

/// Whether a version has what came with 0.2.0: transfers, choices, merges, erasure, wipes that are told.
pub fn is_later(version: &str) -> bool {
    !version.starts_with("0.1.")
}

/// Accounts, grids, an imported roll, and a phone for each secretary.
pub async fn open(
    desks: &mut Desks,
    phones_call: &str,
    programs: &Path,
    folder: &Path,
) -> anyhow::Result<Fleet> {
    let street = json!({ "street": STREET, "name": "天平路街道", "district": "徐汇区" });
    desks
        .send("admin", Method::POST, "/v1/streets", &street)
        .await?;
    for (grid, area) in [("A1", "天平"), ("A2", "康平"), ("A3", "衡山")] {
        desks
            .post(
                "admin",
                "grids",
                json!({ "grid": grid, "name": grid, "area": area }),
            )
            .await?;
    }
    desks
        .post(
            "admin",
            "roads",
            json!({ "roads": ["天平路", "康平路", "衡山路"] }),
        )
        .await?;
    let people = [
        ("wang.fang", "王芳", "secretary", &["A1", "A2"][..]),
        ("li.na", "李娜", "secretary", &["A1"]),
        ("zhao.min", "赵敏", "secretary", &["A2"]),
        ("sun.li", "孙丽", "secretary", &["A1"]),
        ("he.ping", "何平", "secretary", &["A1"]),
        ("chen.jie", "陈洁", "reviewer", &[]),
        ("zhou.qi", "周琪", "officer", &[]),
        ("wu.bin", "吴斌", "officer", &[]),
        ("xu.lan", "许岚", "auditor", &[]),
    ];
    let mut fleet = Fleet { phones: Vec::new() };
    for (username, name, role, grids) in people {
        let user =
            json!({ "username": username, "display_name": name, "role": role, "street": STREET });
        desks
            .send("admin", Method::POST, "/v1/users", &user)
            .await?;
        if role == "secretary" {
            desks.assign(username, grids).await?;
            let phone = Phone::new(programs, &folder.join(format!("{username}.db")));
            phone
                .enrol(phones_call, &desks.code(username).await?)
                .await?;
            fleet.phones.push((username, phone));
        } else {
            desks.enrol(username).await?;
        }
    }
    desks
        .post("admin", "imports?dry_run=false", Value::String(ROLL.into()))
        .await?;
    for (_, phone) in &fleet.phones {
        phone.sync().await?;
    }
    Ok(fleet)
}

/// Cards, contacts, notes, conflicts, settled and open, held edits, a draft, a clone: what 0.1.0 knew.
pub async fn first(desks: &Desks, line: &Line, fleet: &mut Fleet) -> anyhow::Result<()> {
    let (wang, li, zhao) = (
        fleet.get("wang.fang")?.clone(),
        fleet.get("li.na")?.clone(),
        fleet.get("zhao.min")?.clone(),
    );
    let baozi = [
        "tags/late_night",
        "opening_hours=06:00-20:00",
        "occupancy=营业",
        "category=餐饮",
        "credit_code=91310104MA1FR00012",
    ];
    let baozi = wang.create("A1", "王记包子", "天平路12号", &baozi).await?;
    let noodles = wang
        .create(
            "A1",
            "老上海面馆",
            "天平路14弄3号",
            &["point=geo:31.2065,121.4413;crs=gcj02", "custom/消防=合格"],
        )
        .await?;
    let corner = wang
        .create(
            "A2",
            "康平便利店",
            "康平路2号乙",
            &["legal_name=上海市徐汇区康平便利店", "unit=101室"],
        )
        .await?;
    let barber = wang.create("A2", "鑫鑫理发", "康平路4号", &[]).await?;
    wang.run(&[
        "add-contact",
        &baozi,
        "--name",
        "王师傅",
        "--phones",
        "13900000001、021-64000001-8",
        "--role",
        "店主",
    ])
    .await?;
    wang.run(&[
        "add-contact",
        &noodles,
        "--name",
        "吴阿姨",
        "--phones",
        "13900000002",
        "--preferred-time",
        "下午",
    ])
    .await?;
    consent(&wang, &baozi, "grant").await?;
    wang.set(&baozi, &["contacts/1/party_status=群众"]).await?;
    wang.run(&["note", &baozi, "门口积水，已报修。"]).await?;
    wang.run(&["confirm", &noodles]).await?;
    wang.sync().await?;
    for phone in [&li, &zhao] {
        phone.sync().await?;
    }

    // Two edit offline: two conflicts, a note by both, a register that the later one wins, a member added and taken away.
    wang.set(
        &baozi,
        &[
            "sign_name=王记大包子",
            "opening_hours=05:30-20:00",
            "category=早点",
            "tags/late_night=no",
        ],
    )
    .await?;
    wang.run(&["note", &baozi, "周三休息。", "--append"])
        .await?;
    li.set(
        &baozi,
        &[
            "sign_name=王家包子",
            "opening_hours=06:00-21:00",
            "category=小吃",
            "tags/delivery",
        ],
    )
    .await?;
    li.run(&["note", &baozi, "有外卖窗口。", "--append"])
        .await?;
    li.set(&noodles, &["legal_name=上海老面馆有限公司", "unit=1楼"])
        .await?;
    wang.set(&noodles, &["legal_name=老上海面馆（个体）", "unit=1楼"])
        .await?;
    for phone in [&wang, &li, &wang] {
        phone.sync().await?;
    }
    wang.run(&["resolve", &baozi, "opening_hours", "1"]).await?;
    wang.sync().await?;

    // A person withdraws the consent while another phone still uses it: refused, and left as a draft.
    li.sync().await?;
    consent(&wang, &baozi, "withdraw").await?;
    wang.sync().await?;
    li.set(&baozi, &["contacts/1/party_status=党员"]).await?;
    li.sync().await?;

    // The grid goes while edits are under way.
    zhao.set(&corner, &["unit=102室", "opening_hours=全天"])
        .await?;
    zhao.run(&["note", &corner, "灯箱坏了。"]).await?;
    zhao.set(&barber, &["occupancy=装修"]).await?;
    desks.assign("zhao.min", &["A3"]).await?;
    zhao.sync().await?;

    // A phone's file is copied twice, and all three go on. The answer to one breaks off after its verdict.
    let copy = |name: &str| {
        let clone = Phone {
            file: li.file.with_file_name(name),
            ..li.clone()
        };
        std::fs::copy(&li.file, &clone.file)?;
        anyhow::Ok(clone)
    };
    let (clone, cut) = (copy("li.na-clone.db")?, copy("li.na-cut.db")?);
    let watch = li.card("小林钟表").await?;
    li.set(&watch, &["opening_hours=10:00-18:00"]).await?;
    li.sync().await?;
    clone.set(&watch, &["unit=3室"]).await?;
    clone.sync().await?;
    cut.set(&watch, &["unit=2室"]).await?;
    cut.sync_cut(line).await?;
    fleet
        .phones
        .extend([("li.na-clone", clone), ("li.na-cut", cut)]);
    Ok(())
}

/// A log entry of consent about the first contact person.
#[expect(
    clippy::disallowed_methods,
    reason = "an id for a fixture, of no moment and no device"
)]
async fn consent(phone: &Phone, card: &str, decision: &str) -> anyhow::Result<()> {
    let shown = phone.json(&["show", card]).await?;
    let contact = shown["values"]
        .as_object()
        .and_then(|values| values.keys().find_map(|key| key.strip_prefix("contacts/")));
    let contact = contact
        .and_then(|rest| rest.split('/').next())
        .context("no contact person")?;
    let entry = Uuid::now_v7();
    let fields = [
        ("contact", contact),
        ("scope", "party_status"),
        ("wording", "2026-1"),
        ("channel", "当面"),
        ("decision", decision),
        ("given_on", "2026-11-20"),
    ];
    let fields = fields.map(|(field, value)| format!("consent/{entry}/{field}={value}"));
    phone
        .set(card, &fields.each_ref().map(String::as_str))
        .await
}

/// What came with 0.2.0.
pub async fn later(desks: &Desks, fleet: &Fleet) -> anyhow::Result<()> {
    let (wang, li, zhao) = (
        fleet.get("wang.fang")?,
        fleet.get("li.na")?,
        fleet.get("zhao.min")?,
    );
    held(desks, wang, zhao).await?;
    choices(desks, wang, li).await?;
    merges(desks, wang, li).await?;
    transfers(desks, wang).await?;
    forgetting(desks, wang).await?;
    // A card moves to another grid, and somebody forgets a password.
    let moved = json!({ "to_grid": "A3", "from_grid": "A2", "road": "康平路", "number_from": 10, "number_to": 10 });
    desks.post("chen.jie", "moves", moved).await?;
    let wrong = json!({ "username": "admin", "password": "wrong-Password-1", "name": "窗口" });
    let refused = desks.send("", Method::POST, "/v1/sessions", &wrong).await;
    ensure!(refused.is_err(), "a wrong password was taken");
    Ok(())
}

/// One lost phone was wiped and said so, the other has not heard of it.
pub async fn lost(desks: &Desks, fleet: &Fleet) -> anyhow::Result<()> {
    let devices = desks.read("admin", "/v1/devices").await?;
    for (username, told) in [("he.ping", true), ("sun.li", false)] {
        let phone = fleet.get(username)?;
        phone
            .run(&[
                "note",
                &phone.card("周记馄饨").await?,
                "丢失的手机上的一句话。",
            ])
            .await?;
        let device = devices
            .as_array()
            .into_iter()
            .flatten()
            .find(|device| device["username"] == username);
        let device = device
            .and_then(|device| device["device_id"].as_str())
            .context("no such device")?;
        desks
            .send(
                "admin",
                Method::DELETE,
                &format!("/v1/devices/{device}?wipe=true"),
                &Value::Null,
            )
            .await?;
        if told {
            // It says that it was wiped, which is no success.
            let _ = phone.sync().await;
            ensure!(
                phone.json(&["cards"]).await.is_err(),
                "the wiped phone still shows cards"
            );
        }
    }
    Ok(())
}

async fn held(desks: &Desks, wang: &Phone, zhao: &Phone) -> anyhow::Result<()> {
    // One is accepted, one refused; what was written after the first on the same card waits on.
    for (sign, word, body) in [
        ("康平便利店", "accept", json!({ "note": "核实过" })),
        ("鑫鑫理发", "refuse", json!({ "reason": "没有装修" })),
    ] {
        let waiting = desks
            .read(
                "chen.jie",
                &format!("held?record={}", wang.card(sign).await?),
            )
            .await?;
        let waiting = waiting
            .as_array()
            .into_iter()
            .flatten()
            .find(|held| held["needs"].as_array().is_none_or(Vec::is_empty));
        let held = waiting
            .and_then(|held| held["held"].as_str())
            .with_context(|| format!("no edit of {sign} is held"))?;
        desks
            .post("chen.jie", &format!("held/{held}/{word}"), body)
            .await?;
    }
    for phone in [zhao, wang] {
        phone.sync().await?;
    }
    Ok(())
}

/// The operation ids of a field's values in conflict, which a choice names as seen.
async fn seen(desks: &Desks, record: &str, field: &str) -> anyhow::Result<Vec<Value>> {
    let listed = desks
        .read(
            "chen.jie",
            &format!("conflicts?record={record}&field={field}"),
        )
        .await?;
    let fields = listed[0]["fields"].as_array().cloned().unwrap_or_default();
    let found = fields
        .iter()
        .find(|shown| shown["field"] == field || shown["key"] == field);
    let found = found.with_context(|| format!("{field} is in no conflict: {listed}"))?;
    Ok(found["values"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|value| value["op"].clone())
        .collect())
}

async fn choices(desks: &Desks, wang: &Phone, li: &Phone) -> anyhow::Result<()> {
    let noodles = wang.card("老上海面馆").await?;
    let choice = json!({ "field": "legal_name", "value": "上海老面馆有限公司", "note": "见执照", "seen": seen(desks, &noodles, "legal_name").await? });
    desks
        .post(
            "chen.jie",
            &format!("records/{noodles}/resolutions"),
            choice,
        )
        .await?;
    // Spelt alike but for the width: settled in bulk, and undone once.
    let tea = wang.card("静心茶室").await?;
    wang.set(&tea, &["opening_hours=9:00－21:00"]).await?;
    li.set(&tea, &["opening_hours=9:00-21:00"]).await?;
    for phone in [wang, li, wang] {
        phone.sync().await?;
    }
    let bulk = desks
        .post(
            "chen.jie",
            "conflicts/resolutions",
            json!({ "class": "spelling" }),
        )
        .await?;
    if let Some(bulk) = bulk["bulk"].as_str() {
        desks
            .post(
                "chen.jie",
                &format!("conflicts/resolutions/{bulk}/undo"),
                json!({ "force": false }),
            )
            .await?;
    }
    desks
        .post(
            "chen.jie",
            &format!("records/{noodles}/edits"),
            json!({ "set": { "category": "餐饮", "note": "街道补记。" }, "note": "电话核实" }),
        )
        .await?;
    desks
        .post("chen.jie", "records", json!({ "set": { "grid": "A1", "sign_name": "街角花店", "road": "天平路", "number": "40" } }))
        .await?;
    for phone in [wang, li] {
        phone.sync().await?;
    }
    Ok(())
}

async fn merges(desks: &Desks, wang: &Phone, li: &Phone) -> anyhow::Result<()> {
    // Each enters the same three shops, without seeing the other's.
    let shops = [
        ("福来烟酒", "天平路50号"),
        ("明月鲜花", "天平路52号"),
        ("顺风快递", "天平路54号"),
    ];
    for (sign, address) in shops {
        wang.create("A1", sign, address, &["category=零售"]).await?;
        li.create("A1", sign, address, &["category=商店", "unit=底层"])
            .await?;
    }
    for phone in [wang, li, wang] {
        phone.sync().await?;
    }
    let pairs = desks.read("chen.jie", "duplicates").await?;
    let pairs: Vec<_> = pairs.as_array().cloned().unwrap_or_default();
    let [first, second, third, ..] = pairs.as_slice() else {
        anyhow::bail!("{} pairs are proposed", pairs.len())
    };
    let id = |pair: &Value| {
        pair["pair"]
            .as_str()
            .map(str::to_owned)
            .context("a pair without an id")
    };
    let merge = |pair: &Value| {
        let body = json!({ "winner": pair["cards"][0]["record"], "note": "同一家" });
        anyhow::Ok((format!("duplicates/{}/merge", id(pair)?), body))
    };
    let (path, body) = merge(first)?;
    desks.post("chen.jie", &path, body).await?;
    let (path, body) = merge(second)?;
    let merged = desks.post("chen.jie", &path, body).await?;
    let merged = merged["merge"]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("a merge without an id: {merged}"))?;
    desks
        .post(
            "chen.jie",
            &format!("merges/{merged}/undo"),
            json!({ "note": "两家" }),
        )
        .await?;
    desks
        .post(
            "chen.jie",
            &format!("duplicates/{}/dismiss", id(third)?),
            json!({ "note": "一家搬走了" }),
        )
        .await?;
    // Edits of cards that were merged away arrive late.
    for card in first["cards"].as_array().into_iter().flatten() {
        let record = card["record"].as_str().context("a card without an id")?;
        li.set(record, &["opening_hours=8:00-22:00"]).await?;
    }
    for phone in [li, wang] {
        phone.sync().await?;
    }
    Ok(())
}

async fn transfers(desks: &Desks, wang: &Phone) -> anyhow::Result<()> {
    for (alias, kind) in [
        ("陈师傅", "cross_province_letter"),
        ("刘老师", "in_city_e"),
        ("老赵", "floating_report"),
        ("小孙", "in_city_e"),
    ] {
        let (name, phone) = (format!("{alias}大名"), "13900000099");
        let filed = [
            "transfer",
            "file",
            "--grid",
            "A1",
            "--kind",
            kind,
            "--alias",
            alias,
            "--name",
            &name,
            "--status",
            "正式",
            "--origin",
            "某市某区甲支部",
        ];
        let more = [
            "--phone",
            phone,
            "--branch",
            "康平支部",
            "--consent",
            "当面",
            "--wording",
            "2026-1",
        ];
        let draft: &[&str] = if alias == "小孙" { &["--draft"] } else { &[] };
        wang.run(&[&filed[..], &more, draft].concat()).await?;
    }
    wang.sync().await?;
    let listed = wang.json(&["transfer", "list"]).await?;
    let of = |alias: &str| {
        let found = listed
            .as_array()
            .into_iter()
            .flatten()
            .find(|listed| listed["member_alias"] == alias);
        found
            .and_then(|found| found["record"].as_str())
            .map(str::to_owned)
            .with_context(|| format!("no transfer of {alias}: {listed}"))
    };
    let chen = of("陈师傅")?;
    act(
        desks,
        &chen,
        json!({ "type": "request_origin", "addressee": "中共某市某区委员会" }),
    )
    .await?;
    let letter = json!({ "type": "dispatch", "letter_no": "2026第7号", "issued_on": "2026-11-20", "validity_days": 30, "dues_until": "2026-10-31" });
    act(desks, &chen, letter).await?;
    act(
        desks,
        &of("刘老师")?,
        json!({ "type": "return", "reason_code": "other", "note": "请补转出组织全称" }),
    )
    .await?;
    wang.run(&[
        "transfer",
        "withdraw",
        &of("老赵")?,
        "--reason",
        "本人不转了",
    ])
    .await?;
    wang.sync().await?;
    Ok(())
}

/// An officer takes a step, having seen everything.
async fn act(desks: &Desks, record: &str, mut event: Value) -> anyhow::Result<()> {
    event["seen"] = desks
        .read("zhou.qi", &format!("transfers/{record}"))
        .await?["seen"]
        .clone();
    desks
        .post("zhou.qi", &format!("transfers/{record}/events"), event)
        .await
        .map(drop)
}

async fn forgetting(desks: &Desks, wang: &Phone) -> anyhow::Result<()> {
    let gone = wang.create("A1", "旧货寄卖", "天平路60号", &[]).await?;
    wang.run(&[
        "add-contact",
        &gone,
        "--name",
        "冯先生",
        "--phones",
        "13900000060",
    ])
    .await?;
    wang.sync().await?;
    desks
        .post(
            "admin",
            &format!("records/{gone}/erase"),
            json!({ "reason": "subject_request" }),
        )
        .await?;
    let kept = wang
        .create(
            "A1",
            "新货寄卖",
            "天平路62号",
            &["opening_hours=10:00-22:00"],
        )
        .await?;
    wang.run(&[
        "add-contact",
        &kept,
        "--name",
        "钱女士",
        "--phones",
        "13900000062",
    ])
    .await?;
    wang.run(&["note", &kept, "问钱女士。"]).await?;
    wang.sync().await?;
    let shown = desks.read("admin", &format!("records/{kept}")).await?;
    let entry = shown["fields"]
        .as_array()
        .into_iter()
        .flatten()
        .find_map(|field| {
            field["key"]
                .as_str()?
                .strip_prefix("contacts/")?
                .split('/')
                .next()
                .map(str::to_owned)
        });
    desks
        .post(
            "admin",
            &format!("records/{kept}/redact"),
            json!({ "entry": entry, "reason": "consent_withdrawn", "note": true }),
        )
        .await?;
    wang.sync().await?;
    Ok(())
}

/// Edits that stay on the phones: what the next sync, by whichever version, must bring.
pub async fn leave_unsent(fleet: &Fleet, is_later: bool) -> anyhow::Result<()> {
    let (wang, li, zhao) = (
        fleet.get("wang.fang")?,
        fleet.get("li.na")?,
        fleet.get("zhao.min")?,
    );
    let barber = wang.card("鑫鑫理发").await?;
    wang.set(
        &barber,
        &["opening_hours=9:00-19:00", "tags/by_appointment"],
    )
    .await?;
    wang.run(&["note", &barber, "周一休息。"]).await?;
    wang.create("A1", "离线新店", "天平路70号", &["category=零售"])
        .await?;
    let clocks = li.card("小林钟表").await?;
    li.set(&clocks, &["legal_name=小林钟表店", "unit=4室"])
        .await?;
    li.run(&[
        "add-contact",
        &clocks,
        "--name",
        "林师傅",
        "--phones",
        "13900000025",
    ])
    .await?;
    fleet
        .get("li.na-clone")?
        .set(&clocks, &["unit=5室"])
        .await?;
    zhao.set(
        &zhao.card("衡山书店").await?,
        &["opening_hours=11:00-22:00"],
    )
    .await?;
    if is_later {
        let filed = [
            "transfer",
            "file",
            "--grid",
            "A1",
            "--kind",
            "in_city_e",
            "--alias",
            "小周",
            "--name",
            "周小明",
            "--status",
            "预备",
            "--origin",
            "乙支部",
        ];
        wang.run(
            &[
                &filed[..],
                &[
                    "--phone",
                    "13900000098",
                    "--branch",
                    "天平支部",
                    "--consent",
                    "当面",
                    "--wording",
                    "2026-1",
                ],
            ]
            .concat(),
        )
        .await?;
    }
    Ok(())
}

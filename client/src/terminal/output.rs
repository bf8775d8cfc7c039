//! What the terminal shows.
#![expect(
    clippy::format_push_string,
    reason = "text for a terminal: one more allocation a line is nothing"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use lianka_client_core::{
    Identity, OutboxEntry, OutboxState,
    card::{CardFilter, CardSummary, Place},
};
use lianka_sync_core::{
    codec::change::Scalar,
    crdt::{
        record::Edit,
        view::{Value, View},
    },
    id::{DeviceId, RecordId},
    kinds::{self, Kind, Meaning, key, shop_card},
    lang::Lang,
    time::DeviceTime,
};
use serde_json::json;
use time::{OffsetDateTime, UtcOffset};

use super::{
    advice::{self, Failure},
    label, say,
};
use crate::phone::{EditReceipt, Phone, SyncReport};

/// Prints to standard output; a reader that hangs up is no error.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}

pub(super) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::Output(error.into()))?;
    print(&(text + "\n"))
}

pub(super) fn enrolled(identity: &Identity, lang: Lang) {
    let grids: Vec<_> = identity
        .grids
        .iter()
        .map(|grid| grid.grid.as_str())
        .collect();
    match lang {
        Lang::Zh => println!(
            "登记成功：{}（{}），{} {}，网格：{}。\n接下来运行 lianka-phone sync 取回联系卡。",
            identity.display_name,
            identity.username,
            identity.street_name,
            identity.street,
            if grids.is_empty() {
                "无".into()
            } else {
                grids.join("、")
            }
        ),
        Lang::En => println!(
            "Enrolled {} ({}) in {} {}, grids: {}.\nNow run `lianka-phone sync` to fetch the cards.",
            identity.display_name,
            identity.username,
            identity.street_name,
            identity.street,
            if grids.is_empty() {
                "none".into()
            } else {
                grids.join(", ")
            }
        ),
    }
}

/// Where an edit is, said for every one.
pub(super) fn saved(receipt: &EditReceipt, lang: Lang) {
    let id = short(receipt.record);
    match (receipt.hash.is_some(), lang) {
        (true, Lang::Zh) => {
            println!("已保存，在手机上（尚未到街道）。有网络时运行 sync 送达。[{id}]");
        }
        (true, Lang::En) => println!(
            "Saved: on the phone, not yet at the office. Run `sync` when there is a network. [{id}]"
        ),
        (false, Lang::Zh) => println!("内容没有变化，无需保存。[{id}]"),
        (false, Lang::En) => println!("Nothing to change: the card says so already. [{id}]"),
    }
}

pub(super) fn conflicts_left(count: usize, lang: Lang) -> String {
    match lang {
        Lang::Zh => format!("这张卡还有 {count} 个字段有冲突，用 conflicts 查看。"),
        Lang::En => format!("{count} fields of this card are in conflict; see `conflicts`."),
    }
}

pub(super) fn synced(report: &SyncReport, json: bool, lang: Lang) -> Result<(), Failure> {
    if json {
        return print_json(report);
    }
    let tally = report.tally;
    if report.wiped {
        return print(say(
            lang,
            "街道已清除本机数据。\n",
            "The office wiped this phone.\n",
        ));
    }
    let mut text = match lang {
        Lang::Zh => format!(
            "同步完成（{} 毫秒，上行 {} 字节，下行 {} 字节）。\n已到街道 {} 条，待审核 {} 条，未通过 {} 条；收到 {} 张卡、{} 条修改。\n",
            report.duration.as_millis(),
            report.bytes_up,
            report.bytes_down,
            tally.accepted + tally.duplicate,
            tally.held,
            tally.rejected,
            tally.snapshots,
            tally.changes
        ),
        Lang::En => format!(
            "Synced ({} ms, {} bytes up, {} bytes down).\nAt the office: {} edits; held for review: {}; refused: {}. Received {} cards and {} changes.\n",
            report.duration.as_millis(),
            report.bytes_up,
            report.bytes_down,
            tally.accepted + tally.duplicate,
            tally.held,
            tally.rejected,
            tally.snapshots,
            tally.changes
        ),
    };
    let mut line = |count: u64, zh: &str, en: &str| {
        if count > 0 {
            text.push_str(&format!("{count} {}\n", say(lang, zh, en)));
        }
    };
    line(
        tally.left.into(),
        "张卡已不在您的网格内。",
        "cards left your grids.",
    );
    line(
        tally.erased.into(),
        "条记录已由街道删除。",
        "records were erased by the office.",
    );
    line(
        tally.redacted.into(),
        "条记录上有人的信息已由街道删除。",
        "records lost a person whom the office erased.",
    );
    line(
        tally.dropped.into(),
        "条您的修改随之删除。",
        "of your edits went with them.",
    );
    line(
        tally.healed.into(),
        "条修改已重新发送（服务器从备份恢复）。",
        "edits were sent again to a server restored from a backup.",
    );
    line(
        report.unsent,
        "条修改仍在手机上，稍后再运行 sync。",
        "edits are still on the phone; run `sync` again later.",
    );
    line(
        report.held,
        "条修改等待街道审核。",
        "edits wait for a reviewer.",
    );
    line(
        report.drafts,
        "条草稿需要处理，用 drafts 查看。",
        "drafts need you; see `drafts`.",
    );
    line(
        report.notices,
        "条新通知，用 notices 查看。",
        "new notices; see `notices`.",
    );
    print(&text)
}

pub(super) fn cards(
    cards: &[CardSummary],
    total: usize,
    json: bool,
    lang: Lang,
) -> Result<(), Failure> {
    if json {
        return print_json(&cards);
    }
    let mut text = String::new();
    for (at, card) in cards.iter().enumerate() {
        let name = card
            .sign_name
            .as_deref()
            .or(card.legal_name.as_deref())
            .unwrap_or("—");
        let mut flags = Vec::new();
        if !card.conflicts.is_empty() {
            flags.push(format!(
                "{}{}",
                say(lang, "冲突", "conflicts "),
                card.conflicts.len()
            ));
        }
        match card.place {
            Place::Office => {}
            Place::Phone => flags.push(say(lang, "在手机上", "on the phone").into()),
            Place::Held => flags.push(say(lang, "待审核", "held").into()),
        }
        if card.unreadable {
            flags.push(say(lang, "无法读取", "unreadable").into());
        }
        text.push_str(&format!(
            "{:>4}  {}  {}  {}  {}  {}  {}\n",
            at + 1,
            pad(&card.door(), 28),
            pad(name, 24),
            pad(card.category.as_deref().unwrap_or(""), 8),
            pad(card.occupancy.as_deref().unwrap_or(""), 4),
            short(card.record),
            flags.join(" ")
        ));
    }
    text.push_str(&match lang {
        Lang::Zh if total == 0 => "没有找到联系卡。还没有取回数据时，请先运行 sync。\n".to_owned(),
        Lang::En if total == 0 => "No cards found. Run `sync` first where none were fetched yet.\n".to_owned(),
        Lang::Zh => format!("共 {total} 张，列出 {} 张。show 行号 查看，set 行号 字段=值 修改，confirm 行号 确认无变化。\n", cards.len()),
        Lang::En => format!("{total} cards, {} listed. `show ROW`, `set ROW field=value`, `confirm ROW`.\n", cards.len()),
    });
    print(&text)
}

pub(super) fn show(phone: &Phone, record: RecordId, json: bool, lang: Lang) -> Result<(), Failure> {
    let view = phone.view(record)?;
    let own = phone.identity()?.device;
    let outbox = phone.outbox_of(record)?;
    if json {
        let values: serde_json::Map<_, _> = view
            .values
            .iter()
            .map(|(key, values)| {
                (
                    key.clone(),
                    json!(
                        values
                            .iter()
                            .map(|value| value_json(value, own))
                            .collect::<Vec<_>>()
                    ),
                )
            })
            .collect();
        return print_json(&json!({
            "record": record,
            "values": values,
            "note": view.note,
            "conflicts": kinds::conflicts(&view).map(|(key, _)| key).collect::<Vec<_>>(),
            "place": place(&outbox),
            "outbox": outbox,
            "row": phone.project(record)?,
        }));
    }
    let kind = Kind::of(&view).unwrap_or(Kind::ShopCard);
    let pending = pending_keys(&outbox);
    let in_conflict: BTreeSet<_> = kinds::conflicts(&view)
        .map(|(key, _)| key.to_owned())
        .collect();
    let mut text = format!("{record}\n");
    if let Some(into) = kinds::successor(&view) {
        text.push_str(&match lang {
            Lang::Zh => format!("  已并入 {into}：街道认定两张卡是同一家，请看那一张；在这里的修改会转过去。\n"),
            Lang::En => format!("  Merged into {into}: the office found the two to be one shop. Look there; edits made here follow.\n"),
        });
    }
    let contacts = kinds::persons(&view);
    let person_at = |key: &str| match key::Key::parse(key) {
        Some(key::Key::Entry { list, entry, .. }) if kind.persons() == Some(list) => {
            contacts.iter().position(|at| *at == entry)
        }
        _ => None,
    };
    // In the order of the catalogue, which is the order of a card on paper; what is the same on every card is left out.
    let place_of = |key: &str| {
        kind.field(key)
            .and_then(|(field, _)| kind.fields().iter().position(|other| other == field))
    };
    let mut keys: Vec<_> = view
        .values
        .iter()
        .filter(|(key, _)| {
            !matches!(
                kind.meaning(key),
                Some(Meaning::Identity | Meaning::Succession)
            )
        })
        .collect();
    keys.sort_by_cached_key(|(key, _)| (person_at(key), place_of(key)));
    for (key, values) in keys {
        let Some(winner) = values.last() else {
            continue;
        };
        let number = person_at(key).map(|at| format!("{} ", at + 1));
        let label = format!("{}{}", number.unwrap_or_default(), label(kind, key, lang));
        let mut line = format!("  {}  {}", pad(&label, 18), plain(&winner.value));
        if pending.contains(key) {
            line.push_str(say(lang, "  ［在手机上］", "  [on the phone]"));
        }
        text.push_str(&line);
        text.push('\n');
        if in_conflict.contains(key) {
            text.push_str(&values_text(values, own, lang));
        }
    }
    if let Some(note) = view.note.as_deref().filter(|note| !note.is_empty()) {
        let mark = if pending.contains("note") {
            say(lang, "  ［在手机上］", "  [on the phone]")
        } else {
            ""
        };
        text.push_str(&format!(
            "  {}  {}{mark}\n",
            pad(say(lang, "备注", "note"), 18),
            note.replace('\n', "\n                      ")
        ));
    }
    text.push_str(match place(&outbox) {
        Place::Office => say(lang, "全部已到街道。\n", "Everything is at the office.\n"),
        Place::Phone => say(
            lang,
            "有修改在手机上，尚未到街道；有网络时运行 sync。\n",
            "Some edits are on the phone only; run `sync` when there is a network.\n",
        ),
        Place::Held => say(
            lang,
            "有修改等待街道审核。\n",
            "Some edits wait for a reviewer.\n",
        ),
    });
    print(&text)
}

pub(super) fn conflicts(phone: &Phone, json: bool, lang: Lang) -> Result<(), Failure> {
    let own = phone.identity()?.device;
    let filter = CardFilter {
        conflicts: true,
        ..Default::default()
    };
    let cards = phone.find_cards(&filter)?;
    let views = cards
        .iter()
        .map(|card| Ok((card, phone.view(card.record)?)))
        .collect::<Result<Vec<(&CardSummary, View)>, Failure>>()?;
    if json {
        let cards: Vec<_> = views
            .iter()
            .map(|(card, view)| {
                let fields: serde_json::Map<_, _> = kinds::conflicts(view)
                    .map(|(key, values)| (key.to_owned(), json!(values.iter().map(|value| value_json(value, own)).collect::<Vec<_>>())))
                    .collect();
                json!({ "record": card.record, (shop_card::SIGN_NAME): card.sign_name, "door": card.door(), "fields": fields })
            })
            .collect();
        return print_json(&cards);
    }
    phone.remember_listing(&cards.iter().map(|card| card.record).collect::<Vec<_>>())?;
    let mut text = String::new();
    for (at, (card, view)) in views.iter().enumerate() {
        text.push_str(&format!(
            "{:>4}  {}  {}\n",
            at + 1,
            card.door(),
            card.sign_name.as_deref().unwrap_or("—")
        ));
        for (key, values) in kinds::conflicts(view) {
            text.push_str(&format!(
                "      {} ({key})\n",
                label(Kind::ShopCard, key, lang)
            ));
            text.push_str(&values_text(values, own, lang));
        }
    }
    text.push_str(if views.is_empty() {
        say(lang, "没有冲突。\n", "No conflicts.\n")
    } else {
        say(
            lang,
            "用 resolve 行号 字段 序号 选定一个值，或用 set 行号 字段=值 另写。\n",
            "`resolve ROW FIELD NUMBER` chooses a value; `set ROW field=value` writes another.\n",
        )
    });
    print(&text)
}

/// What the user has done and the office has not taken in: on its way, or with a reviewer.
pub(super) fn outbox(phone: &Phone, json: bool, lang: Lang) -> Result<(), Failure> {
    let outbox = phone.outbox()?;
    if json {
        return print_json(&outbox);
    }
    let titles: BTreeMap<_, _> = phone
        .cards()?
        .into_iter()
        .map(|card| {
            (
                card.record,
                format!(
                    "{} {}",
                    card.door(),
                    card.sign_name.clone().unwrap_or_default()
                ),
            )
        })
        .collect();
    let mut text = String::new();
    for entry in &outbox {
        let title = titles
            .get(&entry.record)
            .map(|title| title.trim().to_owned())
            .filter(|title| !title.is_empty());
        let state = match entry.state {
            OutboxState::Unsent => say(lang, "在手机上", "on the phone"),
            OutboxState::Held => say(lang, "待审核", "held"),
            OutboxState::Refused => say(lang, "被退回", "refused"),
        };
        text.push_str(&format!(
            "  {}  {}  {state}\n",
            moment(entry.made_at),
            title.unwrap_or_else(|| short(entry.record))
        ));
        text.push_str(&edits(entry.kind, &entry.edits, lang));
    }
    if outbox.is_empty() {
        text.push_str(say(
            lang,
            "没有待送达或待审核的修改。\n",
            "Nothing on its way, nothing held.\n",
        ));
    }
    print(&text)
}

fn edits(kind: Kind, edits: &[Edit], lang: Lang) -> String {
    let line = |edit: &Edit| match edit {
        Edit::Put { key, value } => {
            format!("      {} = {}\n", label(kind, key, lang), plain(value))
        }
        Edit::Delete { key } => format!("      {} = \n", label(kind, key, lang)),
        Edit::Note { text } => format!("      {} = {text}\n", say(lang, "备注", "note")),
    };
    edits.iter().map(line).collect()
}

pub(super) fn drafts(phone: &Phone, json: bool, lang: Lang) -> Result<(), Failure> {
    let drafts = phone.drafts()?;
    if json {
        return print_json(&drafts);
    }
    let mine: BTreeSet<_> = phone.records()?.into_iter().collect();
    let mut text = String::new();
    for kept in &drafts {
        let draft = &kept.draft;
        let title = kept.title.clone().unwrap_or_else(|| short(draft.record));
        let reason = draft
            .reason
            .message
            .clone()
            .unwrap_or_else(|| draft.reason.code.clone());
        let field = draft
            .reason
            .field
            .as_deref()
            .map(|field| format!("{}: ", label(draft.kind, field, lang)))
            .unwrap_or_default();
        text.push_str(&format!(
            "{:>4}  {}  {title}\n      {field}{reason} ({})\n",
            kept.id,
            moment(draft.made_at),
            draft.reason.code
        ));
        text.push_str(&edits(draft.kind, &draft.edits, lang));
        if !draft.creating && !mine.contains(&draft.record) {
            let gone = say(
                lang,
                "该记录已不在您的网格内，不能再修改。",
                "The record is not in your grids any more; this cannot be sent.",
            );
            text.push_str(&format!("      {gone}\n"));
        }
    }
    text.push_str(if drafts.is_empty() {
        say(lang, "没有草稿。\n", "No drafts.\n")
    } else {
        say(
            lang,
            "drafts retry 号 重新提交，drafts drop 号 放弃，或用 set 改好后放弃草稿。\n",
            "`drafts retry N` tries again, `drafts drop N` gives up; or write it right with `set` and drop the draft.\n",
        )
    });
    print(&text)
}

pub(super) fn notices(phone: &Phone, json: bool, lang: Lang) -> Result<(), Failure> {
    let notices = phone.notices()?;
    phone.mark_notices_read()?;
    if json {
        return print_json(&notices);
    }
    let mut text = String::new();
    for kept in &notices {
        let notice = &kept.notice;
        let title = kept.title.clone().unwrap_or_else(|| short(notice.record));
        let new = if kept.unread {
            say(lang, "［新］", "[new] ")
        } else {
            ""
        };
        let at = moment(DeviceTime::from_unix_ms(notice.at.unix_ms()));
        text.push_str(&format!(
            "  {at}  {new}{title}\n      {}\n",
            advice::notice(notice, lang)
        ));
        if let Some(note) = notice.note.as_deref().filter(|note| !note.is_empty()) {
            text.push_str(&format!(
                "      {}{note}\n",
                say(lang, "说明：", "Remark: ")
            ));
        }
    }
    if notices.is_empty() {
        text.push_str(say(lang, "没有通知。\n", "No notices.\n"));
    }
    print(&text)
}

pub(super) fn status(phone: &Phone, json: bool, lang: Lang) -> Result<(), Failure> {
    let status = phone.status()?;
    if json {
        return print_json(&status);
    }
    let identity = &status.identity;
    let grids: Vec<_> = identity
        .grids
        .iter()
        .map(|grid| grid.grid.as_str())
        .collect();
    let last = status.last_sync.map(|last| moment(last.at));
    let age = status.age_ms.map(|ms| age(ms, lang));
    let text = match lang {
        Lang::Zh => format!(
            "{}（{}），{} {}，网格：{}\n服务器：{}\n上次同步：{}\n记录 {} 条；在手机上未发送 {} 条，待审核 {} 条，草稿 {} 条\n",
            identity.display_name,
            identity.username,
            identity.street_name,
            identity.street,
            grids.join("、"),
            status.server,
            last.zip(age).map_or_else(
                || "从未，请运行 sync".into(),
                |(last, age)| format!("{last}（{age}）")
            ),
            status.records,
            status.unsent,
            status.held,
            status.drafts
        ),
        Lang::En => format!(
            "{} ({}) in {} {}, grids: {}\nServer: {}\nLast sync: {}\n{} records; {} edits on the phone only, {} held, {} drafts\n",
            identity.display_name,
            identity.username,
            identity.street_name,
            identity.street,
            grids.join(", "),
            status.server,
            last.zip(age).map_or_else(
                || "never; run `sync`".into(),
                |(last, age)| format!("{last} ({age})")
            ),
            status.records,
            status.unsent,
            status.held,
            status.drafts
        ),
    };
    let lease = match (status.lease_left_ms, lang) {
        (Some(0), Lang::Zh) => "已超过离线期限，数据已锁定，请运行 sync\n".to_owned(),
        (Some(0), Lang::En) => "Away for too long: the data is locked; run `sync`\n".to_owned(),
        (Some(left), Lang::Zh) => format!("离线期限还剩 {} 小时\n", left / 3_600_000),
        (Some(left), Lang::En) => {
            format!("May stay offline for another {} hours\n", left / 3_600_000)
        }
        (None, _) => String::new(),
    };
    let notices = match (status.notices, lang) {
        (0, _) => String::new(),
        (count, Lang::Zh) => format!("新通知 {count} 条，用 notices 查看\n"),
        (count, Lang::En) => format!("{count} new notices; see `notices`\n"),
    };
    print(&(text + &lease + &notices))
}

fn place(outbox: &[OutboxEntry]) -> Place {
    match (
        outbox.iter().any(|entry| entry.state != OutboxState::Held),
        outbox.is_empty(),
    ) {
        (true, _) => Place::Phone,
        (false, false) => Place::Held,
        (false, true) => Place::Office,
    }
}

fn pending_keys(outbox: &[OutboxEntry]) -> BTreeSet<String> {
    let key = |edit: &Edit| match edit {
        Edit::Put { key, .. } | Edit::Delete { key } => key.clone(),
        Edit::Note { .. } => "note".to_owned(),
    };
    outbox
        .iter()
        .flat_map(|entry| entry.edits.iter().map(key))
        .collect()
}

/// The values of a conflict, numbered as `resolve` counts them; the last one is shown in the roll.
fn values_text(values: &[Value], own: DeviceId, lang: Lang) -> String {
    let mut text = String::new();
    for (at, value) in values.iter().enumerate() {
        let device = value.op.actor.device();
        let author = if device == own {
            say(lang, "本机", "this phone").to_owned()
        } else {
            device.to_string()[24..].to_owned()
        };
        let time = value.time.map(moment).unwrap_or_default();
        let shown = if at + 1 == values.len() {
            say(lang, "（当前显示）", " (shown)")
        } else {
            ""
        };
        text.push_str(&format!(
            "        {}. {}  —  {author} {time}{shown}\n",
            at + 1,
            plain(&value.value)
        ));
    }
    text
}

fn value_json(value: &Value, own: DeviceId) -> serde_json::Value {
    let device = value.op.actor.device();
    json!({ "value": value.value, "device": device, "own": device == own, "time": value.time })
}

fn plain(value: &Scalar) -> String {
    match value {
        Scalar::Str(text) => text.clone(),
        Scalar::Bool(_) => "✓".to_owned(),
        Scalar::Int(number) => number.to_string(),
    }
}

/// The end of an id: its beginning is the time, which the cards of one import share.
pub(super) fn short(record: RecordId) -> String {
    record.to_string()[24..].to_owned()
}

/// Date and time in China.
fn moment(at: DeviceTime) -> String {
    let zone = UtcOffset::from_hms(8, 0, 0).unwrap_or(UtcOffset::UTC);
    let at = OffsetDateTime::from(at).to_offset(zone);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute()
    )
}

fn age(ms: i64, lang: Lang) -> String {
    let minutes = ms.max(0) / 60_000;
    match (minutes, lang) {
        (0, Lang::Zh) => "刚刚".to_owned(),
        (0, Lang::En) => "just now".to_owned(),
        (1..120, Lang::Zh) => format!("{minutes} 分钟前"),
        (1..120, Lang::En) => format!("{minutes} minutes ago"),
        (120..2_880, Lang::Zh) => format!("{} 小时前", minutes / 60),
        (120..2_880, Lang::En) => format!("{} hours ago", minutes / 60),
        (_, Lang::Zh) => format!("{} 天前", minutes / 1_440),
        (_, Lang::En) => format!("{} days ago", minutes / 1_440),
    }
}

/// Fills with blanks to a width in columns, Han characters taking two.
fn pad(text: &str, columns: usize) -> String {
    let width: usize = text
        .chars()
        .map(|c| if c as u32 >= 0x1100 { 2 } else { 1 })
        .sum();
    format!("{text}{}", " ".repeat(columns.saturating_sub(width)))
}

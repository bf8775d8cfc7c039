//! `visit …`: note a visit to a shop, put one right, list them, all offline.

use clap::{Args, Subcommand, ValueEnum};
use lianka_client_core::card::Place;
use lianka_sync_core::{kinds::visit, lang::Lang, values::date};

use super::{
    advice::Failure,
    input,
    output::{print, print_json, saved, short},
    say,
};
use crate::phone::{NewVisit, Phone, VisitSummary};

#[derive(Subcommand)]
pub(super) enum VisitCommand {
    /// 记录一次走访 / note a visit
    Add(Add),
    /// 作废一次走访 / declare a visit void
    Void {
        /// 走访编号或编号的开头、结尾 / id of the visit, or a unique beginning or end of it
        id: String,
        /// 原因 / reason
        #[arg(long)]
        reason: String,
    },
    /// 列出走访，新的在前 / list visits, the newest first
    List {
        /// 只看这家商铺：行号或编号 / only of this shop: row number or id
        shop: Option<String>,
        /// 以 JSON 输出 / print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub(super) struct Add {
    /// 商铺：行号或编号 / the shop: row number or id
    shop: String,
    /// 结果 / what came of it
    #[arg(long, value_enum)]
    outcome: OutcomeArg,
    /// 方式 / how
    #[arg(long, value_enum, default_value = "door")]
    channel: ChannelArg,
    /// 同行人员，可写多次 / who went along, as often as needed
    #[arg(long = "with", value_name = "NAME")]
    companions: Vec<String>,
    /// 走访内容（街道清单上的词），可写多次 / a topic of the street's checklist, as often as needed
    #[arg(long = "topic", value_name = "WORD")]
    topics: Vec<String>,
    /// 一行记录 / one line
    #[arg(long)]
    remark: Option<String>,
    /// 留下的服务卡版本 / version of the contact card that was left
    #[arg(long)]
    card_version: Option<String>,
    /// 时间，默认现在，例如 2026-11-28T15:04 / when; by default now
    #[arg(long, value_name = "YYYY-MM-DDTHH:MM")]
    at: Option<String>,
    /// 更正哪一次走访：编号 / the visit that this one puts right
    #[arg(long, value_name = "ID")]
    replaces: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ChannelArg {
    /// 上门 / at the door
    Door,
    /// 电话 / by telephone
    Telephone,
    /// 电子走访 / online
    Online,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum OutcomeArg {
    /// 见到负责人 / met who runs it
    Met,
    /// 见到员工 / met staff
    MetStaff,
    /// 关门 / closed
    Closed,
    /// 婉拒 / declined
    Refused,
    /// 已搬走 / moved away
    Moved,
    /// 不在 / not there
    NotThere,
}

pub(super) fn run(phone: &Phone, command: VisitCommand, lang: Lang) -> Result<(), Failure> {
    let now = phone.now();
    match command {
        VisitCommand::Add(add) => {
            let shop = input::record(phone, &add.shop)?;
            let text = |text: Option<String>| {
                text.map(|text| input::clean(&text))
                    .filter(|text| !text.is_empty())
            };
            let words = |words: &[String]| words.iter().map(|word| input::clean(word)).collect();
            let new = NewVisit {
                at: match add.at {
                    Some(at) => at,
                    None => date::to_minute(phone.office_now()?),
                },
                channel: visit::CHANNELS[add.channel as usize].to_owned(),
                outcome: visit::OUTCOMES[add.outcome as usize].to_owned(),
                companions: words(&add.companions),
                topics: words(&add.topics),
                remark: text(add.remark),
                card_version: text(add.card_version),
                replaces: add
                    .replaces
                    .map(|id| input::record(phone, &id))
                    .transpose()?,
            };
            saved(&phone.visit(shop, &new, now)?, lang);
            Ok(())
        }
        VisitCommand::Void { id, reason } => {
            let record = input::record(phone, &id)?;
            saved(
                &phone.void_visit(record, &input::clean(&reason), now)?,
                lang,
            );
            Ok(())
        }
        VisitCommand::List { shop, json } => {
            let shop = shop.map(|shop| input::record(phone, &shop)).transpose()?;
            let visits = phone.visits(shop)?;
            if json {
                return print_json(&visits);
            }
            print(
                &visits
                    .iter()
                    .map(|visit| line(visit, lang))
                    .collect::<String>(),
            )
        }
    }
}

fn line(visit: &VisitSummary, lang: Lang) -> String {
    let row = &visit.row;
    let word = |word: &Option<String>| {
        word.as_deref()
            .map_or_else(String::new, |word| visit::words(word, lang).to_owned())
    };
    let mark = match (&row.void_reason, visit.replaced, visit.place) {
        (Some(_), ..) => say(lang, "  ［已作废］", "  [void]"),
        (None, true, _) => say(lang, "  ［已更正］", "  [replaced]"),
        (None, false, Place::Phone) => say(lang, "  ［在手机上］", "  [on the phone]"),
        (None, false, Place::Held) => say(lang, "  ［待审核］", "  [waits for a reviewer]"),
        (None, false, Place::Office) => "",
    };
    let details = [&row.companions, &row.topics]
        .into_iter()
        .filter(|words| !words.is_empty())
        .map(|words| words.join("、"))
        .chain(row.remark.clone())
        .fold(String::new(), |line, text| line + "  " + &text);
    format!(
        "{}  {}  {}  {}  {}{details}{mark}\n",
        short(row.record),
        row.at.as_deref().unwrap_or_default().replace('T', " "),
        visit.sign_name.as_deref().unwrap_or("—"),
        word(&row.channel),
        word(&row.outcome),
    )
}

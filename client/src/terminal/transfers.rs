//! `transfer …`: file, take back, submit again, list and show, all offline.

use clap::{Args, Subcommand, ValueEnum};
use lianka_client_core::{Filing, card::Place};
use lianka_sync_core::{
    kinds::{
        Kind,
        transfer::{Code, Outcome, table::CAUSES},
        transfer_request,
    },
    lang::Lang,
};

use super::{
    advice::Failure,
    input,
    output::{print, print_json, saved, short},
    say,
};
use crate::phone::{Phone, TransferSummary};

#[derive(Subcommand)]
pub(super) enum TransferCommand {
    /// 登记一件组织关系转接（党员在场） / file a request, with the member present
    File(File),
    /// 撤回 / take a request back
    Withdraw(Withdraw),
    /// 提交草稿，或补正后重新提交 / submit a draft, or submit again what was returned
    Resubmit {
        /// 行号或编号 / row number or id
        id: String,
    },
    /// 列出转接申请 / list requests
    List {
        /// 以 JSON 输出 / print JSON
        #[arg(long)]
        json: bool,
    },
    /// 查看一件申请的进展 / show how a request stands
    Show {
        /// 行号或编号 / row number or id
        id: String,
        /// 以 JSON 输出 / print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub(super) struct File {
    /// 责任网格；只负责一个网格时可省略 / the grid; may be left out where you have only one
    #[arg(long)]
    grid: Option<String>,
    /// 转接类型 / kind of transfer: `in_city_e`, `cross_province_letter`, `cross_province_e`, `temporary`, `floating_report`
    #[arg(long)]
    kind: String,
    /// 党员代称：提交后手机上只留代称 / what this phone calls the member once the name has left it
    #[arg(long)]
    alias: String,
    /// 姓名 / name
    #[arg(long)]
    name: Option<String>,
    /// 正式 或 预备 / full (正式) or probationary (预备) member
    #[arg(long)]
    status: Option<String>,
    /// 转出组织 / the organisation the member comes from
    #[arg(long)]
    origin: Option<String>,
    /// 联系电话 / telephone
    #[arg(long)]
    phone: Option<String>,
    /// 转入支部 / the branch to go to
    #[arg(long)]
    branch: Option<String>,
    /// 本人同意的方式，例如 当面 / how the member consented
    #[arg(long)]
    consent: Option<String>,
    /// 告知文本版本 / version of the wording shown
    #[arg(long)]
    wording: Option<String>,
    /// 先存草稿，不提交 / keep it as a draft
    #[arg(long)]
    draft: bool,
}

#[derive(Args)]
pub(super) struct Withdraw {
    /// 行号或编号 / row number or id
    id: String,
    /// 缘由 / the member's word, or a typing error
    #[arg(long, value_enum, default_value = "member")]
    cause: CauseArg,
    /// 提出人 / who asked
    #[arg(long, default_value = "member")]
    asked_by: String,
    /// 原因 / reason
    #[arg(long)]
    reason: String,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum CauseArg {
    /// 本人要求 / the member's word
    Member,
    /// 录入错误 / a typing error
    Typing,
}

pub(super) fn run(phone: &Phone, command: TransferCommand, lang: Lang) -> Result<(), Failure> {
    let now = phone.now();
    match command {
        TransferCommand::File(file) => {
            let grid = input::grid(&phone.identity()?, file.grid.as_deref(), &mut Vec::new())?;
            let receipt = phone.file_transfer(&grid, &filing(&file), now)?;
            saved(&receipt, lang);
            if !file.draft {
                pending(lang);
            }
            Ok(())
        }
        TransferCommand::Withdraw(withdraw) => {
            let record = input::record(phone, &withdraw.id)?;
            let cause = CAUSES[withdraw.cause as usize];
            let receipt = phone.withdraw_transfer(
                record,
                &withdraw.asked_by,
                cause,
                &input::clean(&withdraw.reason),
                now,
            )?;
            saved(&receipt, lang);
            pending(lang);
            Ok(())
        }
        TransferCommand::Resubmit { id } => {
            let receipt = phone.submit_transfer(input::record(phone, &id)?, now)?;
            saved(&receipt, lang);
            pending(lang);
            Ok(())
        }
        TransferCommand::List { json } => {
            let listed = phone.transfers(lang)?;
            phone.remember_listing(
                &listed
                    .iter()
                    .map(|transfer| transfer.record)
                    .collect::<Vec<_>>(),
            )?;
            if json {
                print_json(&listed)
            } else {
                print(
                    &listed
                        .iter()
                        .enumerate()
                        .map(|(at, line)| list_line(at + 1, line, lang))
                        .collect::<String>(),
                )
            }
        }
        TransferCommand::Show { id, json } => show(phone, &id, json, lang),
    }
}

fn filing(file: &File) -> Filing {
    let fields = [
        (transfer_request::MEMBER_NAME, &file.name),
        (transfer_request::MEMBER_STATUS, &file.status),
        (transfer_request::ORIGIN, &file.origin),
        (transfer_request::PHONE, &file.phone),
        (transfer_request::BRANCH, &file.branch),
    ];
    let fields = fields
        .into_iter()
        .filter_map(|(name, text)| Some((name.to_owned(), input::clean(text.as_deref()?))));
    Filing {
        transfer_kind: file.kind.clone(),
        member_alias: input::clean(&file.alias),
        fields: fields.filter(|(_, text)| !text.is_empty()).collect(),
        consent_channel: file.consent.as_deref().map(input::clean),
        consent_wording: file.wording.as_deref().map(input::clean),
        submit: !file.draft,
    }
}

fn pending(lang: Lang) {
    println!(
        "{}",
        say(
            lang,
            "等待街道裁定；用 transfer list 查看结果。",
            "Pending until the office rules; see `transfer list`."
        )
    );
}

fn list_line(row: usize, line: &TransferSummary, lang: Lang) -> String {
    let place = match line.place {
        Place::Office => String::new(),
        Place::Phone => say(lang, "（在手机上）", " (on the phone)").to_owned(),
        Place::Held => say(lang, "（待审核）", " (waits for a reviewer)").to_owned(),
    };
    let waiting = if line.pending.is_empty() {
        String::new()
    } else {
        format!(
            "  {}{}",
            say(lang, "等待裁定：", "pending: "),
            line.pending.join(say(lang, "、", ", "))
        )
    };
    let alias = line.member_alias.as_deref().unwrap_or("-");
    let ruling = line
        .ruling
        .as_ref()
        .map(|ruling| format!("\n      {ruling}"))
        .unwrap_or_default();
    format!(
        "{row:>3}  {alias}  {}{waiting}{place}  [{}]{ruling}\n      {}: {}\n",
        line.state_label,
        short(line.record),
        line.acting,
        line.next
    )
}

fn show(phone: &Phone, id: &str, json: bool, lang: Lang) -> Result<(), Failure> {
    let record = input::record(phone, id)?;
    let (view, case) = phone.transfer(record)?;
    if Kind::of(&view) != Some(Kind::TransferRequest) {
        return Err(Failure::NoSuchRecord(id.to_owned()));
    }
    let summary = phone
        .transfers(lang)?
        .into_iter()
        .find(|summary| summary.record == record);
    let Some(summary) = summary else {
        return Err(Failure::NoSuchRecord(id.to_owned()));
    };
    let event = |event: &lianka_sync_core::kinds::transfer::Event| {
        let ruling = event.ruled.as_ref();
        serde_json::json!({
            "event": event.id, "type": event.step, "label": event.step.row().label.text(lang), "fields": event.fields,
            "outcome": ruling.map(|ruled| ruled.ruling.outcome.as_str()), "code": ruling.and_then(|ruled| ruled.ruling.code).map(Code::as_str),
            "state": ruling.map(|ruled| ruled.ruling.state), "at": ruling.map(|ruled| ruled.at), "by": ruling.and_then(|ruled| ruled.by.clone()),
        })
    };
    if json {
        let events: Vec<_> = case.events.iter().map(event).collect();
        return print_json(
            &serde_json::json!({ "transfer": summary, "responsible": case.now.responsible().as_str(), "events": events }),
        );
    }
    let mut lines = vec![list_line(1, &summary, lang)];
    for event in &case.events {
        let became = match &event.ruled {
            Some(ruled)
                if ruled.ruling.outcome == Outcome::Applied && ruled.ruling.code.is_none() =>
            {
                ruled.ruling.state.row().label.text(lang).to_owned()
            }
            Some(ruled) => ruled.ruling.text(lang),
            None => say(lang, "等待裁定", "pending").to_owned(),
        };
        lines.push(format!(
            "      {} → {became}\n",
            event.step.row().label.text(lang)
        ));
    }
    lines.push(format!(
        "{}{}\n",
        say(lang, "告知党员：", "Tell the member: "),
        summary.member
    ));
    print(&lines.concat())
}

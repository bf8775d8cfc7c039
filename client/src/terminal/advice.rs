//! Why a command was not done, and what to do next, in both languages.

use lianka_client_core::{EditError, card::LikelyDuplicate, rescue::NotTaken};
use lianka_sync_core::{access::Role, codec::wire::Notice, kinds::Kind, lang::Lang};

use super::{label, say};
use crate::{
    local_store::StoreError,
    phone::PhoneError,
    rescue_file::RescueError,
    transport::{LinkError, Problem},
};

/// Why a command was not done.
#[derive(Debug)]
pub(super) enum Failure {
    Phone(PhoneError),
    NoStorePath,
    Runtime(std::io::Error),
    NoSuchRecord(String),
    NotUnique(String, usize),
    NoSuchRow(i64),
    NoSuchField(String),
    NoSuchEntry(String),
    NoSuchValue,
    LikelyDuplicate(Vec<LikelyDuplicate>),
    NotAnAssignment(String),
    WhichGrid(Vec<String>),
    Output(std::io::Error),
}

impl<E: Into<PhoneError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Phone(error.into())
    }
}

impl Failure {
    pub fn message(&self, lang: Lang) -> String {
        // A full-width colon brings its own space.
        self.words(lang).replace("： ", "：")
    }

    fn words(&self, lang: Lang) -> String {
        let text = |zh: String, en: String| match lang {
            Lang::Zh => zh,
            Lang::En => en,
        };
        match self {
            Self::Phone(error) => phone(error, lang),
            Self::NoStorePath => text(
                "不知道数据文件放在哪里；请用 --store FILE 指定。".into(),
                "No place for the phone's file is known; give one with --store FILE.".into(),
            ),
            Self::Runtime(error) | Self::Output(error) => text(
                format!("系统出错：{error}"),
                format!("The system failed: {error}"),
            ),
            Self::NoSuchRecord(id) => text(
                format!("手机上没有“{id}”。请先用 cards 查看行号和编号。"),
                format!("There is no “{id}” on this phone. `cards` lists rows and ids."),
            ),
            Self::NotUnique(id, count) => text(
                format!("“{id}”对应 {count} 条记录，请多写几位编号。"),
                format!("“{id}” fits {count} records; write more of the id."),
            ),
            Self::NoSuchRow(row) => text(
                format!("上次列表中没有第 {row} 行。请先运行 cards。"),
                format!("The last list has no row {row}. Run `cards` first."),
            ),
            Self::NoSuchField(name) => text(
                format!(
                    "没有“{name}”这个字段。例如：sign_name（店招）、road（路名）、occupancy（状态）、tags/标签、custom/名称。"
                ),
                format!(
                    "There is no field “{name}”. For example: sign_name, road, occupancy, tags/<member>, custom/<name>."
                ),
            ),
            Self::NoSuchEntry(name) => text(
                format!("没有这一条：{name}。用 show 查看联系人的序号。"),
                format!("There is no such entry: {name}. `show` numbers the contacts."),
            ),
            Self::NoSuchValue => text(
                "没有这个值。用 conflicts 查看可选的值。".into(),
                "There is no such value. `conflicts` numbers them.".into(),
            ),
            Self::LikelyDuplicate(alike) => {
                let lines = |lang| {
                    alike
                        .iter()
                        .enumerate()
                        .map(|(row, alike)| alike_line(row + 1, alike, lang))
                        .collect::<String>()
                };
                text(
                    format!(
                        "没有新建：这家店可能已有卡片。\n{}用 show 行号 查看；确实是另一家，请加 --anyway 再新建。",
                        lines(Lang::Zh)
                    ),
                    format!(
                        "Not created: there may be a card of this shop.\n{}`show ROW` shows it; if it is another shop, add --anyway.",
                        lines(Lang::En)
                    ),
                )
            }
            Self::NotAnAssignment(field) => text(
                format!("“{field}”应写成 字段=值，例如 sign_name=王记包子；值留空表示清空。"),
                format!(
                    "Write “{field}” as field=value, for example sign_name=王记包子; an empty value clears."
                ),
            ),
            Self::WhichGrid(grids) => text(
                format!("请用 --grid 指明责任网格，可选：{}", grids.join("、")),
                format!("Say which grid with --grid; one of: {}", grids.join(", ")),
            ),
        }
    }
}

/// What a notice says, in a sentence.
pub(super) fn notice(notice: &Notice, lang: Lang) -> String {
    let of_field = |field: &String| {
        // A notice does not name the record's kind; the fields of all kinds together have no name twice with two labels that matter.
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.field(field).is_some())
            .unwrap_or(Kind::ShopCard);
        label(kind, field, lang)
    };
    let field = notice.field.as_ref().map(of_field).unwrap_or_default();
    let by = match notice.by.as_deref().and_then(|by| by.parse::<Role>().ok()) {
        Some(role) if lang == Lang::Zh => role.label_zh().to_owned(),
        Some(role) => format!("a colleague ({role})"),
        None => say(lang, "街道", "the office").to_owned(),
    };
    match (notice.kind.as_str(), lang) {
        ("value_not_chosen", Lang::Zh) => {
            format!("“{field}”有不同的值，{by}选定了另一个，您填写的未被采用。")
        }
        ("value_not_chosen", Lang::En) => {
            format!("{field}: of several values {by} chose another than yours.")
        }
        ("resolution_undone", Lang::Zh) => {
            format!("“{field}”的选定已由{by}撤销，各个值恢复为待定。")
        }
        ("resolution_undone", Lang::En) => {
            format!("{field}: the choice was undone by {by}; all values stand side by side again.")
        }
        ("held_accepted", Lang::Zh) => format!("您待审核的修改已由{by}接受。"),
        ("held_accepted", Lang::En) => format!("Your held edit was accepted by {by}."),
        ("held_refused", Lang::Zh) => format!("您待审核的修改已由{by}退回。"),
        ("held_refused", Lang::En) => format!("Your held edit was refused by {by}."),
        // A newer office says something that this program has no words for.
        (other, _) => [other, field.as_str()].join(" ").trim().to_owned(),
    }
}

fn phone(error: &PhoneError, lang: Lang) -> String {
    let text = |zh: &str, en: &str| say(lang, zh, en).to_owned();
    match error {
        PhoneError::Store(error) => store(error, lang),
        PhoneError::Edit(EditError::Record(error)) => {
            format!(
                "{} {error}",
                text(
                    "这条记录无法写入，请联系管理员：",
                    "The record cannot be written; tell an admin:"
                )
            )
        }
        PhoneError::Edit(error) => {
            format!("{} {}", text("未保存：", "Not saved:"), error.message(lang))
        }
        PhoneError::Transport(error) => transport(error, lang),
        PhoneError::Protocol(error) => {
            format!(
                "{} {error}",
                text(
                    "服务器的应答有误，未发送的修改仍在手机上；请把以下内容告诉管理员：",
                    "The server's answer is wrong; what is unsent stays on the phone. Tell an admin:"
                )
            )
        }
        PhoneError::SignedOut(problem) => format!(
            "{}\n{}",
            explained(problem),
            text(
                "登录已失效，未发送的修改仍在手机上。请向管理员要新的注册码，然后运行 enrol（用同一个数据文件）。",
                "This phone is signed out; what is unsent stays on it. Ask an admin for a new code and run `enrol` with the same file."
            )
        ),
        PhoneError::NoStreet(streets) => {
            let list: Vec<_> = streets.iter().map(ToString::to_string).collect();
            format!(
                "{} {}",
                text(
                    "您的账号不在这个街道工作；请管理员分配网格，或用 --street 指定：",
                    "Your account does not work in that street; ask an admin to assign grids, or choose with --street:"
                ),
                list.join(", ")
            )
        }
        PhoneError::OtherUser(user) => {
            format!(
                "{} {user}",
                text(
                    "这个数据文件属于另一位用户，请用 --store 另选一个文件：",
                    "The file belongs to another user; choose another one with --store:"
                )
            )
        }
        PhoneError::Locked => text(
            "本机已超过离线期限，数据已锁定。请连接网络运行 sync，同步后即可继续；未发送的修改仍在手机上。",
            "This phone was away from the office for too long and has locked its data. Run `sync` with a network; what is unsent is still here.",
        ),
        PhoneError::Rescue(RescueError::TooShort) => text(
            "口令至少 8 个字。",
            "The passphrase has at least 8 characters.",
        ),
        PhoneError::Rescue(RescueError::Closed) => text(
            "口令不对，或文件在途中损坏。没有取入任何内容。",
            "The passphrase is another one, or the file was damaged. Nothing was taken in.",
        ),
        PhoneError::Rescue(RescueError::Foreign) | PhoneError::NotTaken(NotTaken::Damaged) => text(
            "这不是联卡导出的文件，或已损坏。没有取入任何内容。",
            "This is not a file that Lianka exported, or it is damaged. Nothing was taken in.",
        ),
        PhoneError::NotTaken(NotTaken::OtherUser(user)) => format!(
            "{} {user}",
            text(
                "文件里是另一位用户的修改，请在那位用户的手机上取入：",
                "The file holds edits of another user; take it in on a phone of theirs:"
            )
        ),
        PhoneError::NoSuchDraft(number) => {
            format!(
                "{} {number}",
                text(
                    "没有这条草稿，用 drafts 查看：",
                    "There is no such draft; `drafts` lists them:"
                )
            )
        }
        PhoneError::Cut => text(
            "操作被中断，请再试一次。",
            "The work was cut off; try again.",
        ),
    }
}

fn store(error: &StoreError, lang: Lang) -> String {
    let text = |zh: &str, en: &str| say(lang, zh, en).to_owned();
    match error {
        StoreError::Busy => text(
            "另一个程序正在使用这台手机的数据（可能正在同步），请稍后再试。",
            "Another program is using this phone's file (perhaps a sync); try again in a moment.",
        ),
        StoreError::Missing(_) | StoreError::NotEnrolled => text(
            "本机还没有登记。请向管理员要注册码，然后运行：lianka-phone enrol --server 地址 --code 注册码",
            "This phone is not enrolled. Ask an admin for a code, then run: lianka-phone enrol --server URL --code CODE",
        ),
        StoreError::Exists(path) | StoreError::Foreign(path) => format!(
            "{} {}",
            text(
                "这个文件不是手机数据，请用 --store 另选一个文件：",
                "This is not a phone's file; choose another one with --store:"
            ),
            path.display()
        ),
        StoreError::Newer => text(
            "数据文件由更新的版本写成，请升级 lianka-phone。",
            "The file was written by a newer version; update lianka-phone.",
        ),
        StoreError::Wiped(at) => format!(
            "{} {at}",
            text(
                "街道已清除本机数据；如需继续使用，请删除数据文件后重新登记。清除时间：",
                "The office wiped this phone. To go on, delete its file and enrol again. Wiped at:"
            )
        ),
        StoreError::Damaged(_) | StoreError::Sqlite(_) | StoreError::Io(_) => {
            format!(
                "{} {error}",
                text(
                    "数据文件出错，请保留文件并联系管理员：",
                    "The phone's file failed; keep it and tell an admin:"
                )
            )
        }
    }
}

fn transport(error: &LinkError, lang: Lang) -> String {
    let text = |zh: &str, en: &str| say(lang, zh, en).to_owned();
    match error {
        LinkError::Network(_) | LinkError::Incomplete => format!(
            "{}\n({error})",
            text(
                "连不上服务器。修改都在手机上，有网络时再运行 sync。",
                "The server cannot be reached. Every edit is safe on the phone; run `sync` when there is a network."
            )
        ),
        LinkError::Refused(problem) => explained(problem),
        LinkError::Address(_) => format!(
            "{error}\n{}",
            text(
                "服务器地址应以 https:// 开头。",
                "The address begins with https://."
            )
        ),
        LinkError::Answer(_) | LinkError::Client(_) => {
            format!(
                "{} {error}",
                text(
                    "与服务器的通信有误，请核对地址或联系管理员：",
                    "Talking to the server failed; check its address or tell an admin:"
                )
            )
        }
    }
}

/// The server's own words, which are in the language asked for.
fn explained(problem: &Problem) -> String {
    let id = if problem.request_id.is_empty() {
        String::new()
    } else {
        format!(" ({}, {})", problem.code, problem.request_id)
    };
    format!("{} {}{id}", problem.title, problem.detail)
}

/// For example `  1  王记包子  天平路 378号  门牌相同、店招同名或同音`.
fn alike_line(row: usize, alike: &LikelyDuplicate, lang: Lang) -> String {
    let reasons: Vec<_> = alike
        .reasons
        .iter()
        .map(|reason| reason.label(lang))
        .collect();
    let name = alike.card.sign_name.as_deref().unwrap_or("—");
    format!(
        "  {row}  {name}  {}  {}\n",
        alike.card.door(),
        reasons.join(say(lang, "、", ", "))
    )
}

//! `lianka-phone`: a phone in the terminal.
//!
//! In: arguments. Out: what the user asked for, in Chinese or English, and what to do next. Everything but `enrol` and `sync` works with no
//! network. Exit status: 0 done, 1 not done (the reason is on standard error), 2 the arguments do not parse.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
use lianka_client_core::card::{self, CardFilter};
use lianka_sync_core::{
    crdt::record::Edit,
    id::{EntryId, RecordId, StreetCode},
    kinds::{self, Key, Kind, shop_card},
    lang::Lang,
};

use crate::{
    local_store::StoreError,
    phone::{EditReceipt, EnrolOptions, Phone, PhoneError, Progress, SyncReport},
};

mod advice;
mod hints;
mod input;
mod output;
mod rescue;
mod transfers;
mod visits;

use advice::Failure;

/// 联卡手机端（终端版）：离线查看和修改商铺联系卡，联网后同步到街道。
///
/// A Lianka phone in the terminal: read and edit shop cards offline, and sync them with the street office.
#[derive(Parser)]
#[command(name = "lianka-phone", version, about, long_about = None, arg_required_else_help = true)]
struct Arguments {
    /// 手机数据文件 / the phone's file [默认 default: `$XDG_DATA_HOME/lianka/phone.db`]
    #[arg(long, global = true, value_name = "FILE", env = "LIANKA_PHONE_STORE")]
    store: Option<PathBuf>,
    /// 提示语言 / language of messages
    #[arg(long, global = true, value_enum, default_value_t = LangArg::Zh)]
    lang: LangArg,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, ValueEnum)]
enum LangArg {
    Zh,
    En,
}

#[derive(Subcommand)]
enum Command {
    /// 用注册码登记本机（需联网） / enrol this phone with a code from an admin (online)
    Enrol(Enrol),
    /// 与街道同步（需联网） / send what is unsent and fetch what is new (online)
    Sync {
        /// 以 JSON 输出 / print JSON
        #[arg(long)]
        json: bool,
    },
    /// 按走访顺序列出联系卡 / list cards in walking order
    Cards(Cards),
    /// 查看一张卡 / show a record
    Show {
        /// 行号、编号或编号的开头、结尾 / row number, id, or a unique beginning or end of it
        id: String,
        /// 以 JSON 输出 / print JSON
        #[arg(long)]
        json: bool,
    },
    /// 修改字段；值为空表示清空 / set fields; an empty value clears
    Set {
        /// 行号或编号 / row number or id
        id: String,
        /// 字段=值，例如 `sign_name=王记包子`、`店招=…`、`tags/late_night`、`custom/消防=合格`、`contacts/1/phones=…`
        #[arg(required = true, value_name = "FIELD=VALUE")]
        fields: Vec<String>,
    },
    /// 新建一张卡 / create a card
    New(New),
    /// 确认无变化（今天） / confirm today that nothing has changed
    Confirm {
        /// 行号或编号 / row number or id
        id: String,
    },
    /// 添加联系人 / add a contact person
    AddContact(AddContact),
    /// 写备注 / write the note
    Note {
        /// 行号或编号 / row number or id
        id: String,
        /// 备注全文；空字符串清空 / the whole note; an empty text clears it
        text: String,
        /// 接在原备注之后 / add to the end of the note instead
        #[arg(long)]
        append: bool,
    },
    /// 列出有冲突的字段 / list fields whose concurrent values differ
    Conflicts {
        /// 以 JSON 输出 / print JSON
        #[arg(long)]
        json: bool,
    },
    /// 选定冲突字段的一个值 / settle a conflict by choosing one of its values
    Resolve {
        /// 行号或编号 / row number or id
        id: String,
        /// 字段 / field
        field: String,
        /// 第几个值，见 conflicts / which value, as `conflicts` numbers them
        choice: usize,
    },
    /// 尚未送达或等待审核的修改 / edits on their way, and those that wait for a reviewer
    Outbox {
        /// 以 JSON 输出 / print JSON
        #[arg(long)]
        json: bool,
    },
    /// 未能送达、需处理的修改 / edits that could not be kept
    Drafts {
        #[command(subcommand)]
        action: Option<DraftAction>,
        /// 以 JSON 输出 / print JSON
        #[arg(long)]
        json: bool,
    },
    /// 街道的通知，例如您填写的值未被采用 / what the office told you, for example that another value was chosen
    Notices {
        /// 以 JSON 输出 / print JSON
        #[arg(long)]
        json: bool,
    },
    /// 组织关系转接 / transfers of membership
    Transfer {
        #[command(subcommand)]
        action: transfers::TransferCommand,
    },
    /// 走访 / visits to shops
    Visit {
        #[command(subcommand)]
        action: visits::VisitCommand,
    },
    /// 把未上传的修改导出为加密文件（从标准输入读口令） / write what is unsent to a sealed file (passphrase on standard input)
    Export {
        /// 文件 / the file
        file: PathBuf,
    },
    /// 取入另一台手机导出的未上传修改（从标准输入读口令） / take in what another phone of yours exported (passphrase on standard input)
    Import {
        /// 文件 / the file
        file: PathBuf,
    },
    /// 本机状态 / how this phone stands
    Status {
        /// 以 JSON 输出 / print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct Enrol {
    /// 服务器地址 / address of the server, for example `https://lianka.example`
    #[arg(long)]
    server: String,
    /// 管理员给的注册码 / the code an admin gave you
    #[arg(long)]
    code: String,
    /// 给这台手机起个名字 / what to call this phone
    #[arg(long)]
    name: Option<String>,
    /// 街道代码（负责多个街道时） / street code, where you work in several
    #[arg(long)]
    street: Option<StreetCode>,
}

#[derive(Args)]
struct Cards {
    /// 路名 / only this road
    #[arg(long)]
    road: Option<String>,
    /// 单号或双号一侧 / one side of the street
    #[arg(long, value_enum)]
    side: Option<SideArg>,
    /// 查找：店名、地址、拼音或首字母 / find by name, address, pinyin or initials
    #[arg(long = "q", value_name = "TEXT")]
    query: Option<String>,
    /// 只看有冲突的 / only cards with conflicts
    #[arg(long)]
    conflicts: bool,
    /// 最多列出几张 / list at most so many
    #[arg(long)]
    limit: Option<usize>,
    /// 以 JSON 输出 / print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum SideArg {
    Odd,
    Even,
}

#[derive(Args)]
struct New {
    /// 责任网格；只负责一个网格时可省略 / the grid; may be left out where you have only one
    #[arg(long)]
    grid: Option<String>,
    /// 地址，例如 `天平路378号甲` / address; taken apart into road, number and so on
    #[arg(long)]
    address: Option<String>,
    /// 路名 / road
    #[arg(long)]
    road: Option<String>,
    /// 门牌号 / house number
    #[arg(long)]
    number: Option<String>,
    /// 店招 / sign name
    #[arg(long)]
    sign_name: Option<String>,
    /// 已有疑似同一家的卡片时仍然新建 / create it although a card here may be the same shop
    #[arg(long)]
    anyway: bool,
    /// 其他字段=值 / further fields
    #[arg(value_name = "FIELD=VALUE")]
    fields: Vec<String>,
}

#[derive(Args)]
struct AddContact {
    /// 行号或编号 / row number or id
    id: String,
    /// 姓名 / name
    #[arg(long)]
    name: String,
    /// 电话，可写多个 / numbers, as many as there are
    #[arg(long)]
    phones: Option<String>,
    /// 身份，例如 店主 / role
    #[arg(long)]
    role: Option<String>,
    /// 方便时间 / preferred time
    #[arg(long)]
    preferred_time: Option<String>,
}

#[derive(Subcommand)]
enum DraftAction {
    /// 放弃一条 / drop one for good
    Drop {
        /// 草稿号 / number of the draft
        number: i64,
    },
    /// 重新提交一条 / try one again
    Retry {
        /// 草稿号 / number of the draft
        number: i64,
    },
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let lang = match arguments.lang {
        LangArg::Zh => Lang::Zh,
        LangArg::En => Lang::En,
    };
    match run(arguments, lang) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", failure.message(lang));
            ExitCode::FAILURE
        }
    }
}

/// The Chinese text or the English one.
fn say<'t>(lang: Lang, zh: &'t str, en: &'t str) -> &'t str {
    match lang {
        Lang::Zh => zh,
        Lang::En => en,
    }
}

/// A key as people read it.
fn label(kind: Kind, key: &str, lang: Lang) -> String {
    let Some((field, parsed)) = kind.field(key) else {
        return key.to_owned();
    };
    match parsed {
        Key::Member { member, .. } => format!("{}/{member}", field.label(lang)),
        Key::Plain(_) | Key::Entry { .. } => field.label(lang).to_owned(),
    }
}

fn run(arguments: Arguments, lang: Lang) -> Result<(), Failure> {
    let path = arguments
        .store
        .or_else(default_store)
        .ok_or(Failure::NoStorePath)?;
    if let Command::Enrol(enrol) = arguments.command {
        return run_enrol(&path, enrol, lang);
    }
    let phone = match Phone::open(&path) {
        // The office may not know yet that nothing is left here.
        Err(error @ PhoneError::Store(StoreError::Wiped(_)))
            if matches!(arguments.command, Command::Sync { .. }) =>
        {
            block_on(Phone::report_wipe(&path, lang))?;
            return Err(error.into());
        }
        phone => phone?.with_lang(lang),
    };
    match arguments.command {
        Command::Enrol(_) => Ok(()),
        Command::Sync { json } => run_sync(&phone, json, lang),
        Command::Cards(cards) => list_cards(&phone, cards, lang),
        Command::Show { id, json } => {
            let record = input::record(&phone, &id)?;
            output::show(&phone, record, json, lang)
        }
        Command::Set { id, fields } => {
            let record = input::record(&phone, &id)?;
            let view = phone.view(record)?;
            let kind = Kind::of(&view).unwrap_or(Kind::ShopCard);
            let edits = fields
                .iter()
                .map(|field| input::assignment(kind, Some(&view), field))
                .collect::<Result<Vec<_>, _>>()?;
            edit(&phone, record, &edits, lang)
        }
        Command::New(new) => create(&phone, &new, lang),
        Command::Confirm { id } => {
            let record = input::record(&phone, &id)?;
            let today = input::today(phone.office_now()?);
            edit(&phone, record, &[card::confirmation(&today)], lang)
        }
        Command::AddContact(contact) => {
            let record = input::record(&phone, &contact.id)?;
            let mut entropy = [0; 10];
            entropy.copy_from_slice(&phone.entropy()[..10]);
            let entry = EntryId::new_v7(phone.now().unix_ms().max(0) as u64, entropy);
            let fields = [
                (shop_card::PERSON_NAME, Some(contact.name)),
                (shop_card::PHONES, contact.phones),
                (shop_card::ROLE, contact.role),
                (shop_card::PREFERRED_TIME, contact.preferred_time),
            ];
            let fields = fields.into_iter().filter_map(|(field, text)| {
                Some((field, text.filter(|text| !text.trim().is_empty())?))
            });
            let edits: Vec<_> = fields
                .map(|(field, text)| {
                    let field = Kind::ShopCard.person_field(field);
                    let key = field.map_or_else(String::new, |field| field.key_in(entry));
                    Edit::set(key, &input::clean(&text))
                })
                .collect();
            edit(&phone, record, &edits, lang)
        }
        Command::Note { id, text, append } => {
            let record = input::record(&phone, &id)?;
            let before = phone.view(record)?.note.unwrap_or_default();
            let text = match (append, before.is_empty()) {
                (true, false) => format!("{before}\n{}", input::clean(&text)),
                _ => input::clean(&text),
            };
            edit(&phone, record, &[Edit::Note { text }], lang)
        }
        Command::Conflicts { json } => output::conflicts(&phone, json, lang),
        Command::Resolve { id, field, choice } => {
            let record = input::record(&phone, &id)?;
            let view = phone.view(record)?;
            let key = input::key(
                Kind::of(&view).unwrap_or(Kind::ShopCard),
                Some(&view),
                &field,
            )?;
            let value = choice
                .checked_sub(1)
                .and_then(|at| view.values.get(&key)?.get(at))
                .ok_or(Failure::NoSuchValue)?;
            edit(
                &phone,
                record,
                &[Edit::Put {
                    key,
                    value: value.value.clone(),
                }],
                lang,
            )
        }
        Command::Outbox { json } => output::outbox(&phone, json, lang),
        Command::Drafts { action: None, json } => output::drafts(&phone, json, lang),
        Command::Drafts {
            action: Some(DraftAction::Drop { number }),
            ..
        } => {
            phone.drop_draft(number)?;
            println!("{}", say(lang, "已放弃。", "Dropped."));
            Ok(())
        }
        Command::Drafts {
            action: Some(DraftAction::Retry { number }),
            ..
        } => {
            let receipt = phone.retry_draft(number, phone.now())?;
            output::saved(&receipt, lang);
            Ok(())
        }
        Command::Export { file } => rescue::export(&phone, &file, lang),
        Command::Import { file } => rescue::import(&phone, &file, lang),
        Command::Transfer { action } => transfers::run(&phone, action, lang),
        Command::Visit { action } => visits::run(&phone, action, lang),
        Command::Notices { json } => output::notices(&phone, json, lang),
        Command::Status { json } => output::status(&phone, json, lang),
    }
}

fn default_store() -> Option<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let data = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local").join("share")))?;
    Some(data.join("lianka").join("phone.db"))
}

fn block_on<T>(work: impl Future<Output = Result<T, PhoneError>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    Ok(runtime.block_on(work)?)
}

fn run_enrol(path: &std::path::Path, enrol: Enrol, lang: Lang) -> Result<(), Failure> {
    let options = EnrolOptions {
        name: enrol.name,
        street: enrol.street,
        lang,
        ..EnrolOptions::default()
    };
    let phone = block_on(Phone::enrol(path, &enrol.server, &enrol.code, options))?;
    output::enrolled(&phone.identity()?, lang);
    Ok(())
}

fn run_sync(phone: &Phone, json: bool, lang: Lang) -> Result<(), Failure> {
    let report: SyncReport = block_on(phone.sync_with(|progress| {
        if let Progress::Waiting { wait, .. } = progress {
            eprintln!(
                "{} {:.1} s",
                say(
                    lang,
                    "网络不畅，稍候重试：",
                    "The network is bad; trying again in"
                ),
                wait.as_secs_f32()
            );
        }
    }))?;
    output::synced(&report, json, lang)
}

fn list_cards(phone: &Phone, cards: Cards, lang: Lang) -> Result<(), Failure> {
    let side = cards.side.map(|side| match side {
        SideArg::Odd => "odd".to_owned(),
        SideArg::Even => "even".to_owned(),
    });
    let filter = CardFilter {
        road: cards.road,
        side,
        query: cards.query,
        conflicts: cards.conflicts,
        merged: false,
    };
    let mut found = phone.find_cards(&filter)?;
    let total = found.len();
    found.truncate(cards.limit.unwrap_or(usize::MAX));
    phone.remember_listing(&found.iter().map(|card| card.record).collect::<Vec<_>>())?;
    output::cards(&found, total, cards.json, lang)
}

fn create(phone: &Phone, new: &New, lang: Lang) -> Result<(), Failure> {
    let mut edits = Vec::new();
    if let Some(address) = &new.address {
        edits.extend(input::address(phone, address)?);
    }
    for (key, text) in [
        (shop_card::ROAD, &new.road),
        (shop_card::NUMBER, &new.number),
        (shop_card::SIGN_NAME, &new.sign_name),
    ] {
        edits.extend(text.iter().map(|text| Edit::set(key, &input::clean(text))));
    }
    for field in &new.fields {
        edits.push(input::assignment(Kind::ShopCard, None, field)?);
    }
    let grid = input::grid(&phone.identity()?, new.grid.as_deref(), &mut edits)?;
    let alike = if new.anyway {
        Vec::new()
    } else {
        phone.likely_duplicates(&grid, &edits)?
    };
    if !alike.is_empty() {
        // Their rows, so that `show 1` opens the first.
        phone.remember_listing(
            &alike
                .iter()
                .map(|alike| alike.card.record)
                .collect::<Vec<_>>(),
        )?;
        return Err(Failure::LikelyDuplicate(alike));
    }
    let receipt = phone.create_card(&grid, &edits, phone.now())?;
    after_edit(phone, &receipt, &edits, lang)
}

fn edit(phone: &Phone, record: RecordId, edits: &[Edit], lang: Lang) -> Result<(), Failure> {
    let receipt = phone.edit(record, edits, phone.now())?;
    after_edit(phone, &receipt, edits, lang)
}

fn after_edit(
    phone: &Phone,
    receipt: &EditReceipt,
    edits: &[Edit],
    lang: Lang,
) -> Result<(), Failure> {
    output::saved(receipt, lang);
    let view = phone.view(receipt.record)?;
    for hint in edits
        .iter()
        .filter_map(|edit| hints::hint(Kind::of(&view)?, edit, lang))
    {
        println!("{}{hint}", say(lang, "提醒：", "Note: "));
    }
    // A conflict that the edit leaves behind is worth knowing at once.
    let left = kinds::conflicts(&view).count();
    if left > 0 {
        println!("{}", output::conflicts_left(left, lang));
    }
    Ok(())
}

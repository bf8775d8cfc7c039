//! The demo: 天平路街道 on one machine, with forty-two secretaries who were offline.
//!
//! Input: options. Output: one table on standard output; then a running server to try things on, or an error that names every promise that
//! was not kept. What is promised: no edit is missing, every conflict is seen at the office and on the phones, all digests agree.

use std::{collections::BTreeMap, fmt::Write, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, bail, ensure};
use lianka_sync_core::{
    kinds::projection::{self, Projected},
    lang::Lang,
};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::time::interval;

use crate::{
    findings::{Findings, UnlistedValues, expected_conflicts, judge},
    fleet::{Fleet, Held, Round, Secretary, short},
    office::Login,
    plan,
    progress::{bar, say, spinner},
    roll,
    server_process::ServerProcess,
    stage::{self, NewStreet, Stage},
    table::Table,
};

/// As many as a district reported grid secretaries.
pub const PHONES: usize = 42;

/// How to run the demo.
#[derive(Clone, Debug)]
pub struct Options {
    /// End after the table.
    pub once: bool,
    pub data_dir: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
    pub lang: Lang,
}

/// Runs the demo until it ends, or `interrupted` does.
pub async fn run(options: &Options, interrupted: impl Future<Output = ()>) -> anyhow::Result<()> {
    tokio::pin!(interrupted);
    let lang = options.lang;
    let starting = spinner(say(
        lang,
        "启动服务器和它自己的 Postgres",
        "starting a server with a Postgres of its own",
    ));
    let (mut server, login) = tokio::select! {
        started = stage::start_server(options.data_dir.as_deref(), options.listen) => started?,
        () = &mut interrupted => return Ok(()),
    };
    starting.finish_and_clear();
    let shown = async {
        let (demo, failures) = Demo::play(&server, login, lang).await?;
        if !options.once {
            // The exit status comes only when the person is done.
            for failure in &failures {
                eprintln!("{failure}");
            }
            demo.invite(&server, lang).await?;
        }
        anyhow::Ok((demo, failures))
    };
    let shown = tokio::select! {
        shown = shown => shown,
        () = &mut interrupted => return server.stop().await,
    };
    // Kept to the end: the phones' files lie in its folder, and so does the one that the person was invited to make.
    let (_demo, failures) = match shown {
        Ok(shown) => shown,
        Err(error) => {
            let error = anyhow::anyhow!("{error:#}{}", server.log_tail());
            return server.stop().await.and(Err(error));
        }
    };
    if !options.once {
        tokio::select! {
            () = &mut interrupted => {}
            status = ended(&mut server) => {
                bail!("{}{status}{}", say(lang, "服务器自行结束：", "the server ended by itself: "), server.log_tail())
            }
        }
    }
    let stopping = spinner(say(lang, "停止服务器", "stopping the server"));
    let stopped = server.stop().await;
    stopping.finish_and_clear();
    ensure!(
        failures.is_empty(),
        "{}\n{}",
        say(
            lang,
            "演示没有做到：",
            "the demo did not keep its promises:"
        ),
        failures.join("\n")
    );
    stopped
}

async fn ended(server: &mut ServerProcess) -> std::process::ExitStatus {
    let mut poll = interval(Duration::from_millis(500));
    loop {
        poll.tick().await;
        if let Some(status) = server.ended() {
            return status;
        }
    }
}

struct Demo {
    stage: Stage,
    /// Files of the phones.
    folder: TempDir,
}

/// What an import tells, as far as the demo shows it.
#[derive(Deserialize)]
struct ImportReport {
    rows: usize,
    created: usize,
    problem_counts: BTreeMap<String, usize>,
}

/// What the table tells.
struct Outcome {
    cards: usize,
    import: ImportReport,
    first_alone: Round,
    first_sync: Round,
    storm: Round,
    settle: Round,
    findings: Findings,
    held: Vec<Held>,
    /// Over all phones' cards together, and over the office's.
    together: ([u8; 32], [u8; 32]),
}

impl Demo {
    /// Everything up to the table; what was promised and not kept comes back as lines.
    async fn play(
        server: &ServerProcess,
        login: Login,
        lang: Lang,
    ) -> anyhow::Result<(Self, Vec<String>)> {
        let grids = roll::grids(roll::SHEET)?;
        let roads = roll::ROADS.map(str::to_owned);
        let code = roll::STREET.parse().context("the sample street's code")?;
        let street = NewStreet {
            code,
            name: roll::STREET_NAME,
            district: roll::DISTRICT,
            grids: &grids,
            roads: &roads,
        };
        let stage = stage::set_up(&server.url(), login, &street, "", lang).await?;
        let import = import(&stage, lang).await?;

        let codes: Vec<_> = grids.into_iter().map(|grid| grid.code).collect();
        let dealt = plan::deal_grids(&codes, PHONES);
        let secretaries: Vec<_> = dealt
            .iter()
            .enumerate()
            .map(|(number, grids)| Secretary {
                username: format!("secretary{:02}", number + 1),
                grids: grids.clone(),
            })
            .collect();
        stage.hire(&secretaries).await?;
        let folder = tempfile::Builder::new()
            .prefix("lianka-phones-")
            .tempdir()
            .context("cannot make a folder for the phones")?;
        let servers = [server.url()];
        let enrolling = bar(say(lang, "登记手机", "enrolling phones"), PHONES + 1);
        let alone = Fleet::enrol(
            &stage.admin,
            &servers,
            &stage.street,
            &secretaries[..1],
            folder.path(),
            &enrolling,
        );
        let alone = alone.await?;
        let phones = folder.path().join("42");
        std::fs::create_dir(&phones)?;
        let mut fleet = Fleet::enrol(
            &stage.admin,
            &servers,
            &stage.street,
            &secretaries,
            &phones,
            &enrolling,
        )
        .await?;
        enrolling.finish_and_clear();

        let syncing = spinner(say(lang, "首次同步", "first synchronisation"));
        let first_alone = alone.sync_all().await?;
        let first_sync = fleet.sync_all().await?;
        syncing.finish_and_clear();

        fleet.go_offline()?;
        let before = stage.reviewer.cards(stage.street.as_str()).await?;
        let rows = before.into_iter().filter_map(|(record, card)| match card {
            Projected::ShopCard(row) => Some((record, *row)),
            _ => None,
        });
        let planned = plan::plan(&rows.collect(), &dealt)?;
        let written = plan::written(&planned);
        let editing = bar(say(lang, "离线修改", "editing offline"), written.len());
        let edits = planned
            .iter()
            .map(|edits| {
                edits
                    .iter()
                    .map(|planned| (planned.record, vec![planned.edit()]))
                    .collect()
            })
            .collect();
        fleet.edit(edits, &editing).await?;
        editing.finish_and_clear();

        let storming = spinner(say(
            lang,
            "全部手机同时重新连接",
            "all phones reconnect at once",
        ));
        let storm = fleet.sync_all().await?;
        let settle = fleet.sync_all().await?;
        storming.finish_and_clear();

        let expected = expected_conflicts(&written);
        let roll = stage.reviewer.cards(stage.street.as_str()).await?;
        let comparing = bar(say(lang, "核对每部手机", "comparing every phone"), PHONES);
        let in_grids = |phone: usize, card: &Projected| matches!(card, Projected::ShopCard(row) if dealt[phone].contains(&row.grid));
        let (held, all) = fleet
            .compare(&roll, in_grids, &expected, &comparing)
            .await?;
        comparing.finish_and_clear();
        let owned = roll
            .values()
            .filter(|card| (0..PHONES).any(|phone| in_grids(phone, card)));
        let together = (projection::digest(all.values()), projection::digest(owned));

        let findings = judge(&written, &roll, &UnlistedValues::new());
        let outcome = Outcome {
            cards: roll.len(),
            import,
            first_alone,
            first_sync,
            storm,
            settle,
            findings,
            held,
            together,
        };
        println!("{}", outcome.table(lang));
        Ok((Self { stage, folder }, outcome.failures(lang)))
    }

    /// Tells how to go on, with a fresh code for one more phone.
    async fn invite(&self, server: &ServerProcess, lang: Lang) -> anyhow::Result<()> {
        let stage = &self.stage;
        let (url, street) = (server.url(), &stage.street);
        let code = stage.admin.enrolment_code("secretary01").await?;
        let Login { username, password } = &stage.reviewer_login;
        let Login {
            username: admin,
            password: admin_password,
        } = &stage.admin_login;
        let program = std::env::current_exe()
            .unwrap_or_default()
            .with_file_name("lianka-phone");
        let here = std::env::current_dir().unwrap_or_default();
        // A file of its own, which goes with the demo: the person may carry a real phone's file in the usual place.
        let phone = format!(
            "{} --store {}",
            program.strip_prefix(&here).unwrap_or(&program).display(),
            self.folder.path().join("try.db").display()
        );
        let mut text = String::new();
        writeln!(
            text,
            "\n{} {url}  ({url}/v1/docs)",
            say(lang, "服务器", "Server")
        )?;
        writeln!(
            text,
            "{} {username} / {password}",
            say(lang, "审核员登录", "Reviewer's login")
        )?;
        writeln!(
            text,
            "{} {admin} / {admin_password}",
            say(lang, "管理员登录", "Administrator's login")
        )?;
        writeln!(
            text,
            "\n1. {}",
            say(
                lang,
                "用拼音首字母查合并后的名册",
                "Search the merged roll by pinyin initials"
            )
        )?;
        writeln!(
            text,
            "   TOKEN=$(curl -s {url}/v1/sessions -H 'content-type: application/json' \\\n     -d '{{\"username\":\"{username}\",\"password\":\"{password}\"}}' \
             | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\n   curl -s -H \"authorization: Bearer $TOKEN\" \
             '{url}/v1/streets/{street}/cards?q=tpl&page_size=3'"
        )?;
        writeln!(
            text,
            "2. {}",
            say(
                lang,
                "登记一部终端里的手机并同步",
                "Enrol a phone in the terminal, and synchronise"
            )
        )?;
        writeln!(
            text,
            "   {phone} enrol --server {url} --code {code} && {phone} sync"
        )?;
        writeln!(
            text,
            "3. {}",
            say(
                lang,
                "断网也能查：kf 找咖啡馆",
                "Look things up with no network: kf finds 咖啡 (coffee)"
            )
        )?;
        writeln!(text, "   {phone} cards --q kf")?;
        writeln!(text, "\n{}", say(lang, "按 Ctrl-C 结束", "Ctrl-C ends it"))?;
        print!("{text}");
        Ok(())
    }
}

/// Previews the sample roll, then imports it, showing how far the office's roll has grown.
async fn import(stage: &Stage, lang: Lang) -> anyhow::Result<ImportReport> {
    let street = stage.street.as_str();
    let previewing = spinner(say(lang, "预览名册", "previewing the roll"));
    let preview: ImportReport = stage
        .admin
        .import(street, roll::SHEET, true)
        .await
        .context("the roll's preview")?;
    previewing.finish_and_clear();
    let importing = bar(say(lang, "导入名册", "importing the roll"), preview.created);
    let watching = async {
        let mut poll = interval(Duration::from_millis(200));
        loop {
            poll.tick().await;
            // A look that fails is made again.
            if let Ok(cards) = stage.reviewer.card_count(street).await {
                importing.set_position(cards as u64);
            }
        }
    };
    let report: ImportReport = tokio::select! {
        report = stage.admin.import(street, roll::SHEET, false) => report.context("the roll's import")?,
        () = watching => unreachable!("it watches for ever"),
    };
    importing.finish_and_clear();
    ensure!(
        report.created == preview.created,
        "the preview promised {} cards, and the import made {}",
        preview.created,
        report.created
    );
    Ok(report)
}

impl Outcome {
    fn agreeing(&self) -> usize {
        self.held.iter().filter(|held| held.agrees()).count()
    }

    /// Expected conflicts on the phones' cards, and those they show; each phone counts its own.
    fn on_phones(&self) -> (usize, usize) {
        self.held.iter().fold((0, 0), |(holds, sees), held| {
            (holds + held.conflicts.0, sees + held.conflicts.1)
        })
    }

    fn table(&self, lang: Lang) -> Table {
        let say = |zh, en| say(lang, zh, en);
        let findings = &self.findings;
        let (phones_hold, phones_see) = self.on_phones();
        let tally = self.storm.tally();
        let mut table = Table::new(format!("{} {}", roll::STREET_NAME, roll::STREET));
        table.row(say("卡片", "cards"), self.cards);
        let problems: usize = self.import.problem_counts.values().sum();
        table.row(
            say("名册", "roll"),
            format!(
                "{} {}   {} {problems}",
                self.import.rows,
                say("行", "rows"),
                say("存疑", "doubts")
            ),
        );
        table.row(say("手机", "phones"), PHONES);
        table.row(
            say("离线修改", "offline edits"),
            format!(
                "{} {} {}",
                findings.edits,
                say("其中丢失", "of which missing"),
                findings.edits_missing.len()
            ),
        );
        table.row(
            say("应有冲突", "conflicts expected"),
            findings.conflicts_expected,
        );
        table.row(
            say("发现冲突", "conflicts found"),
            format!(
                "{} {}   {} {phones_see}/{phones_hold}   {} {}",
                say("街道", "office"),
                findings.conflicts_visible,
                say("各手机合计", "all phones"),
                say("意外", "unexpected"),
                findings.conflicts_unexpected
            ),
        );
        table.row(
            say("回执", "verdicts"),
            format!(
                "accepted {}   duplicate {}   held {}   rejected {}",
                tally.accepted, tally.duplicate, tally.held, tally.rejected
            ),
        );
        table.row(
            say("首次同步", "first sync"),
            format!(
                "{} {}   {} {}",
                say("一部", "one phone"),
                ms(self.first_alone.duration),
                say("42 部同时", "42 at once"),
                ms(self.first_sync.duration)
            ),
        );
        table.row(
            say("风暴", "storm"),
            format!(
                "{}   {} {}",
                ms(self.storm.duration),
                say("再次同步", "second round"),
                ms(self.settle.duration)
            ),
        );
        let (up, down, first) = (self.storm.up(), self.storm.down(), self.first_sync.down());
        table.row(
            say("每部手机字节", "bytes a phone"),
            format!(
                "{} ↓ {}   {} ↑ {} ↓ {}",
                say("首次", "first"),
                first.mean,
                say("风暴", "storm"),
                up.mean,
                down.mean
            ),
        );
        table.row(
            say("摘要", "digests"),
            format!(
                "{} {}   {} {}   {} {}/{PHONES}",
                say("街道", "office"),
                short(self.together.1),
                say("全部手机", "all phones"),
                short(self.together.0),
                say("一致", "agree"),
                self.agreeing()
            ),
        );
        let digests: Vec<_> = self
            .held
            .iter()
            .enumerate()
            .map(|(number, held)| {
                format!(
                    "{:02} {}{}",
                    number + 1,
                    short(held.digest),
                    if held.agrees() { "=" } else { "≠" }
                )
            })
            .collect();
        table.row(
            "",
            digests
                .chunks(6)
                .map(|line| line.join("  "))
                .collect::<Vec<_>>()
                .join("\n"),
        );
        table
    }

    fn failures(&self, lang: Lang) -> Vec<String> {
        let findings = &self.findings;
        let (phones_hold, phones_see) = self.on_phones();
        let disagreeing: Vec<_> = (1..)
            .zip(&self.held)
            .filter(|(_, held)| !held.agrees())
            .map(|(number, _)| number)
            .collect();
        let missing: Vec<_> = findings
            .edits_missing
            .iter()
            .take(5)
            .map(|(phone, edit)| format!("{:02}.{edit:02}", phone + 1))
            .collect();
        let drafts: usize = self.held.iter().map(|held| held.drafts).sum();
        let promises = [
            (
                findings.edits_missing.is_empty(),
                format!(
                    "{} {} ({} …)",
                    findings.edits_missing.len(),
                    say(lang, "处修改丢失", "edits are missing"),
                    missing.join(", ")
                ),
            ),
            (
                findings.conflicts_visible == findings.conflicts_expected,
                format!(
                    "{}/{} {}",
                    findings.conflicts_visible,
                    findings.conflicts_expected,
                    say(lang, "个冲突在街道可见", "conflicts are seen at the office")
                ),
            ),
            (
                phones_see == phones_hold && phones_hold > 0,
                format!(
                    "{phones_see}/{phones_hold} {}",
                    say(
                        lang,
                        "个冲突在手机上可见",
                        "conflicts are seen on the phones"
                    )
                ),
            ),
            (
                disagreeing.is_empty(),
                format!(
                    "{} {disagreeing:?}",
                    say(
                        lang,
                        "摘要与街道不一致的手机：",
                        "phones whose digest is not the office's:"
                    )
                ),
            ),
            (
                self.together.0 == self.together.1,
                say(
                    lang,
                    "全部手机的合计摘要与街道不一致",
                    "the phones' digest together is not the office's",
                )
                .to_owned(),
            ),
            (
                self.settle.unsent() == 0 && drafts == 0,
                format!(
                    "{} {}   {} {drafts}",
                    say(lang, "未送达", "unsent"),
                    self.settle.unsent(),
                    say(lang, "草稿", "drafts")
                ),
            ),
        ];
        promises
            .into_iter()
            .filter(|(kept, _)| !kept)
            .map(|(_, line)| line)
            .collect()
    }
}

fn ms(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

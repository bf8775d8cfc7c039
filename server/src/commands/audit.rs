//! `lianka audit verify`: the proof of the audit trail, and how it is printed.

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use lianka_server::{
    admin::audit_proof::{self, Anchor, Proof},
    audit::{self, Chain},
    config::Lang,
};

use crate::commands::database::{OnDatabase, must_exist};

#[derive(Subcommand)]
pub enum Audit {
    /// Prove the audit trail: read every chain and the logs they tell of. The exit status is 1 where something does not fit.
    Verify(Verify),
}

#[derive(Args)]
pub struct Verify {
    /// Only the chain of this street, or `deployment`; absent: every chain.
    #[arg(long, value_name = "CODE")]
    street: Option<String>,
    /// Number and hash that an earlier proof gave and that were kept elsewhere: 4711:9f… Needs --street.
    #[arg(long, value_name = "NO:HASH", requires = "street")]
    anchor: Option<Anchor>,
    /// Language of what is printed: zh or en.
    #[arg(long, env = "LIANKA_LANG", default_value = "zh", value_name = "LANG", value_parser = clap::value_parser!(Lang))]
    lang: Lang,
    #[command(flatten)]
    database: OnDatabase,
}

impl Verify {
    pub async fn run(self) -> anyhow::Result<()> {
        self.database
            .run(async |pool| {
                let chains = audit::store::chains(&mut *pool.acquire().await?).await?;
                let chains = match &self.street {
                    Some(chain) => {
                        // Also one whose street somebody deleted.
                        if !chains.contains(chain) {
                            must_exist(pool, chain)
                                .await
                                .context("--street takes a street's code, or `deployment`")?;
                        }
                        vec![chain.clone()]
                    }
                    None => chains,
                };
                let mut broken = 0;
                for chain in &chains {
                    let chain = Chain::named(chain);
                    let proof = audit_proof::verify(pool, chain, self.anchor.as_ref()).await?;
                    broken += usize::from(!proof.ok);
                    print_proof(&proof, self.lang);
                }
                if broken > 0 {
                    bail!(
                        "{broken} of {} chains of the audit trail do not hold",
                        chains.len()
                    );
                }
                Ok(())
            })
            .await
    }
}

fn print_proof(proof: &Proof, lang: Lang) {
    let Proof {
        chain,
        events,
        changes,
        seals,
        problem_count,
        ..
    } = proof;
    let (first, last) = (
        proof.first.unwrap_or_default(),
        proof.last.unwrap_or_default(),
    );
    let hash = proof.hash.as_deref().unwrap_or("-");
    match (lang, proof.ok) {
        (Lang::Zh, true) => {
            println!(
                "{chain}：完好。第 {first}–{last} 条共 {events} 条，核对修改 {changes} 处，封存 {seals} 次。锚点 {last}:{hash}"
            );
        }
        (Lang::Zh, false) => {
            println!("{chain}：有 {problem_count} 处不符（第 {first}–{last} 条共 {events} 条）。");
        }
        (Lang::En, true) => {
            println!(
                "{chain}: holds. Events {first} to {last} ({events}), {changes} changes compared, {seals} seals. Anchor {last}:{hash}"
            );
        }
        (Lang::En, false) => println!(
            "{chain}: {problem_count} places do not fit (events {first} to {last}, {events} in all)."
        ),
    }
    for problem in &proof.problems {
        let (no, code) = (problem.no, problem.code);
        let seq = problem
            .seq
            .map(|seq| format!(" seq {seq}"))
            .unwrap_or_default();
        match lang {
            Lang::Zh => println!("  第 {no} 条{seq} {code}：{}", problem.message_zh),
            Lang::En => println!("  event {no}{seq} {code}: {}", problem.message_en),
        }
    }
}

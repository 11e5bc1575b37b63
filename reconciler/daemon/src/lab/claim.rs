//! `labyard claim`: codes redeemed for machines.

use super::{
    Output, Table, Where,
    output::{at, or_dash, progress, say},
    run,
};
use labyard_api::{
    claim::{Bind, Claim, Phase, Redeem, Redeemed},
    client::{Client, ClientError, Page},
    routes::Op,
};
use labyard_schema::text::parse_duration;
use std::{
    error::Error,
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

/// Redeem codes, and what was got for them.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Where,
    /// For whom it is printed.
    #[arg(short, long, value_enum, default_value_t, global = true)]
    output: Output,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Redeem a code, which is read from LABYARD_CODE or standard input: others see the arguments of programs.
    Redeem(RedeemOptions),
    /// List claims, the newest first.
    List {
        /// Of this namespace alone.
        #[arg(long)]
        namespace: Option<String>,
        /// Of this phase alone.
        #[arg(long, value_parser = phase)]
        phase: Option<Phase>,
        /// So many at most.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Show a claim.
    Show {
        /// The claim.
        id: String,
    },
    /// Print the private key that was made for a claim, for its holder, until the first keepalive.
    Key {
        /// The claim.
        id: String,
    },
    /// Say that somebody is there: the idle time begins anew.
    Keepalive {
        /// The claim.
        id: String,
    },
    /// Stop the clock of a claim.
    Pause {
        /// The claim.
        id: String,
    },
    /// Let it go on.
    Resume {
        /// The claim.
        id: String,
    },
    /// Let a claim end later.
    Extend {
        /// The claim.
        id: String,
        /// By how much, like 30m.
        #[arg(long, value_parser = time)]
        by: Duration,
    },
    /// Give a claim back.
    Release {
        /// The claim.
        id: String,
    },
}

#[derive(clap::Args)]
struct RedeemOptions {
    /// Who redeems it: the same name each time.
    #[arg(long, env = "USER")]
    user: String,
    /// The file of your public key; left out: a key is made for the claim where its machines are entered by key.
    #[arg(long, value_name = "FILE")]
    ssh_key: Option<std::path::PathBuf>,
    /// How long to wait where nothing is free, like 10m.
    #[arg(long, value_parser = time)]
    wait: Option<Duration>,
    /// Which machines: any, rather those that the pool keeps ready (prefer), or those alone (require).
    #[arg(long, value_enum, default_value_t)]
    bind: Which,
    /// Wait until its machines can be used.
    #[arg(long)]
    until_ready: bool,
    /// The same key is the same request; a new one is made up otherwise.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// Which machines are taken.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Which {
    #[default]
    Any,
    Prefer,
    Require,
}

impl From<Which> for Bind {
    fn from(which: Which) -> Self {
        match which {
            Which::Any => Self::Any,
            Which::Prefer => Self::Prefer,
            Which::Require => Self::Require,
        }
    }
}

fn phase(word: &str) -> Result<Phase, String> {
    let words = Phase::ALL.map(Phase::word).join(", ");
    let found = Phase::ALL.into_iter().find(|phase| phase.word() == word);
    found.ok_or_else(|| format!("it is none of {words}"))
}

fn time(text: &str) -> Result<Duration, String> {
    parse_duration(text)
}

/// Runs the verb.
pub(crate) fn execute(options: &Options) -> Result<(), Box<dyn Error>> {
    let output = options.output;
    run(&options.place, async |client| {
        let claim = match &options.verb {
            Verb::Redeem(asked) => return redeem(&client, asked, output).await,
            Verb::List {
                namespace,
                phase,
                limit,
            } => {
                let page = Page {
                    namespace: namespace.clone(),
                    limit: Some(*limit),
                    after: None,
                };
                let claims = client.claims(&page, *phase).await?;
                return Ok(output.print(&claims, |claims| listed(&claims.items))?);
            }
            Verb::Show { id } => client.claim(Op::ShowClaim, id).await?,
            Verb::Key { id } => return Ok(say(&key_of(&client.claim(Op::ShowClaim, id).await?)?)?),
            Verb::Keepalive { id } => client.claim(Op::KeepClaim, id).await?,
            Verb::Pause { id } => client.claim(Op::PauseClaim, id).await?,
            Verb::Resume { id } => client.claim(Op::ResumeClaim, id).await?,
            Verb::Extend { id, by } => client.extend(id, u32::try_from(by.as_secs())?).await?,
            Verb::Release { id } => client.claim(Op::ReleaseClaim, id).await?,
        };
        Ok(output.print(&claim, shown)?)
    })
}

async fn redeem(client: &Client, asked: &RedeemOptions, output: Output) -> Result<(), Box<dyn Error>> {
    let key = match &asked.idempotency_key {
        Some(key) => key.clone(),
        None => labyard_labs::ids::random_id()?,
    };
    let key_file = asked
        .ssh_key
        .as_deref()
        .map(std::fs::read_to_string)
        .transpose()?;
    let request = Redeem {
        code: code()?,
        user: asked.user.clone(),
        ssh_public_key: key_file.map(|text| text.trim().to_owned()),
        wait: asked.wait.map(|wait| u32::try_from(wait.as_secs())).transpose()?,
        bind: asked.bind.into(),
    };
    // Whoever does not see the answer asks with the same key, and has one claim.
    if asked.idempotency_key.is_none() {
        progress(&format!("idempotency key: {key}"));
    }
    let redeemed_by = |error| Unanswered::of(error, asked, &key);
    let mut got = client.redeem(&key, &request).await.map_err(redeemed_by)?;
    let holder = client.bearing(&got.secret);
    while waits(got.claim.phase, asked) {
        progress(&match got.claim.position {
            Some(position) => format!(
                "waiting: {position} in the queue, for {} s at most",
                or_dash(got.claim.estimate_s)
            ),
            None => "its machines are made usable".to_owned(),
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        // On a store directly nobody serves the queue but its owner, who needs no secret.
        got.claim = holder.claim(Op::ShowClaim, &got.claim.id).await?;
    }
    output.print(&got, redeemed)?;
    over(&got.claim)
}

/// A claim that is over before it could be used is none.
fn over(claim: &Claim) -> Result<(), Box<dyn Error>> {
    match claim.phase {
        Phase::Expired | Phase::Released | Phase::Failed => {
            Err(format!("the claim is {}: its machines cannot be used", claim.phase.word()).into())
        }
        Phase::Queued | Phase::Bound | Phase::Ready | Phase::Paused => Ok(()),
    }
}

/// Nobody knows whether the code was redeemed.
#[derive(Debug, thiserror::Error)]
#[error("{why}. Whether the code was redeemed is not known: repeat it with --idempotency-key {key}")]
struct Unanswered {
    why: ClientError,
    key: String,
}

impl Unanswered {
    fn of(why: ClientError, asked: &RedeemOptions, key: &str) -> Box<dyn Error> {
        match why {
            ClientError::Broken { .. } if asked.idempotency_key.is_none() => Box::new(Self {
                why,
                key: key.to_owned(),
            }),
            why => Box::new(why),
        }
    }
}

/// The key that was made for a claim.
fn key_of(claim: &Claim) -> Result<String, Box<dyn Error>> {
    let given = claim
        .machines
        .iter()
        .filter_map(|machine| machine.credentials.as_ref());
    let key = given.filter_map(|given| given.private_key.clone()).next();
    key.ok_or_else(|| {
        "there is no key to be shown: none was made, it is not ready yet, or somebody has shown himself since (its holder \
         asks with the claim's secret as LABYARD_TOKEN)"
            .into()
    })
}

fn waits(phase: Phase, asked: &RedeemOptions) -> bool {
    phase == Phase::Queued || (asked.until_ready && phase == Phase::Bound)
}

fn code() -> Result<String, Box<dyn Error>> {
    if let Ok(code) = std::env::var("LABYARD_CODE") {
        return Ok(code);
    }
    if std::io::stdin().is_terminal() {
        eprint!("Code: ");
        std::io::stderr().flush()?;
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    match line.trim() {
        "" => Err("no code was given: put it into LABYARD_CODE or on standard input".into()),
        code => Ok(code.to_owned()),
    }
}

fn listed(claims: &[Claim]) -> Table {
    let heads = ["ID", "NAMESPACE", "USER", "PHASE", "MACHINES", "ENDS"];
    Table::of(&heads, claims, |claim| {
        let machines: Vec<&str> = claim
            .machines
            .iter()
            .map(|machine| machine.name.as_str())
            .collect();
        vec![
            claim.id.clone(),
            claim.namespace.clone(),
            claim.user.clone(),
            claim.phase.word().to_owned(),
            machines.join(","),
            or_dash(claim.expires_at.map(at)),
        ]
    })
}

fn shown(claim: &Claim) -> Table {
    let mut table = Table::new(&["CLAIM", claim.id.as_str()]);
    let mut line = |name: &str, value: String| table.row(vec![name.to_owned(), value]);
    line("user", claim.user.clone());
    line("phase", claim.phase.word().to_owned());
    for machine in &claim.machines {
        line(
            "machine",
            format!(
                "{} on {}, {}@{}",
                machine.name,
                or_dash(machine.host.as_ref()),
                or_dash(machine.user.as_ref()),
                match machine.addresses.as_slice() {
                    [] => or_dash(None::<&String>),
                    all => all.join(", "),
                }
            ),
        );
    }
    if claim.phase == Phase::Queued {
        line("position", or_dash(claim.position));
    }
    if let Some(from) = &claim.reached_from {
        line("reached from", format!("{from} alone"));
    }
    line("ends", or_dash(claim.expires_at.map(at)));
    line("at the latest", or_dash(claim.latest_at.map(at)));
    table
}

fn redeemed(got: &Redeemed) -> Table {
    let mut table = shown(&got.claim);
    table.row(vec!["secret".to_owned(), got.secret.clone()]);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_is_over_is_an_error() {
        for phase in Phase::ALL {
            let claim = Claim {
                id: "c".to_owned(),
                namespace: "default".to_owned(),
                user: "ada".to_owned(),
                phase,
                pools: Default::default(),
                machines: Vec::new(),
                reached_from: None,
                expires_at: None,
                latest_at: None,
                paused_at: None,
                position: None,
                estimate_s: None,
                wait_until: None,
            };
            let usable = matches!(phase, Phase::Queued | Phase::Bound | Phase::Ready | Phase::Paused);
            assert_eq!(over(&claim).is_ok(), usable, "{phase:?}");
        }
    }
}

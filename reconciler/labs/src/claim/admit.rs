//! What only a claim may use is put into its machines; then they can be used. While it is paused its guests stand still,
//! where their pools say so, and run on before it can be used again.
//!
//! A claim that has its machines is leased to one worker ([`take`]). What is made for it (a key, passwords) is written
//! down, sealed, before it is put anywhere ([`make`]), so that whoever goes on after a crash puts in the same; then the
//! claim is [`ready`]. Its holder is told by [`show`], as often as he asks until he shows himself for the first time:
//! from then on what was made is forgotten here. Whoever was told may have been in the machines: they are touched. Whose
//! own key is put in was told all along: they are touched from the moment when that begins.

use super::{Claim, Guests, Phase, Queries, end, event, find, keep, network};
use crate::{
    Refusal, host,
    ids::{ClaimId, MemberId},
    member::{self, Member, Touch},
    pool::work::{Appetite, Worker},
};
use labyard_store::{Sealed, StoreError, Value, Write, event::Moment};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// What is to be done with the machines of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// What only it may use is put in.
    LetIn,
    /// They stand still from now on.
    Hold,
    /// They run on.
    Wake,
}

/// A claim with whose machines something is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What.
    pub deed: Deed,
    /// The claim.
    pub claim: Claim,
    /// Its machines, in its order.
    pub machines: Vec<Member>,
    /// The user's own public key.
    pub public_key: Option<String>,
    /// How often it has been taken up.
    pub attempt: i64,
    /// How often for this deed.
    pub tries: i64,
}

/// What was made for a claim. `Debug` does not show it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// A public key, where the user has none of his own.
    pub public_key: Option<String>,
    /// Its private half, in OpenSSH's format.
    pub private_key: Option<String>,
    /// Passwords, by machine, for guests that want one.
    #[serde(default)]
    pub passwords: BTreeMap<MemberId, String>,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Made(…)")
    }
}

/// What the holder of a claim is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The claim.
    pub claim: Claim,
    /// Its machines, in its order.
    pub machines: Vec<Member>,
    /// What was made for it, until its holder shows himself.
    pub made: Option<Made>,
}

/// Claims with whose machines something is to be done, that no living worker has, and all of whose machines are on hosts
/// that answer and that this worker has an appetite for.
///
/// # Errors
/// If the store fails.
pub fn take(
    write: &mut Write<'_>,
    worker: &Worker,
    appetite: &Appetite,
    now: Moment,
) -> Result<Vec<Job>, Refusal> {
    let mut jobs = Vec::new();
    for id in within_reach(write, appetite, now)? {
        let claim = find(write, &id)?;
        let parameters: [Value; 3] = [
            (&worker.name).into(),
            now.0.saturating_add(worker.lease_ms).into(),
            claim.id.as_str().into(),
        ];
        let rows = write.query(
            "UPDATE claims SET worker = $1, worker_until = $2, attempt = attempt + 1, tries = tries + 1 WHERE id = $3 \
             RETURNING attempt, tries, public_key",
            &parameters,
        )?;
        write.event(&event(&claim, "claim.taken_up", &worker.name, now))?;
        let Some(row) = rows.first() else { continue };
        let public_key: Option<String> = row.get("public_key")?;
        let deed = match (claim.phase, claim.guests) {
            (Phase::Paused, _) => Deed::Hold,
            (_, Guests::Run) => Deed::LetIn,
            _ => Deed::Wake,
        };
        if deed == Deed::LetIn && public_key.is_some() {
            // Who has the key needs nothing from us but the address, as soon as the key is in one of the machines.
            touch(write, &claim.id)?;
        }
        jobs.push(Job {
            machines: member::of_claim(write, &claim.id)?,
            public_key,
            attempt: row.get("attempt")?,
            tries: row.get("tries")?,
            deed,
            claim,
        });
    }
    Ok(jobs)
}

/// Those that [`take`] takes, in turn.
fn within_reach(write: &mut Write<'_>, appetite: &Appetite, now: Moment) -> Result<Vec<ClaimId>, StoreError> {
    let lost = host::lost(write)?;
    let rows = write.query(
        "SELECT c.id, m.host FROM claims c LEFT JOIN members m ON m.claim = c.id \
         WHERE (c.phase = 'bound' OR (c.phase = 'paused' AND c.guests = 'hold')) \
         AND (c.worker IS NULL OR c.worker_until <= $1) AND (c.not_before IS NULL OR c.not_before <= $1) \
         ORDER BY c.place",
        &[now.0.into()],
    )?;
    let mut waiting: Vec<(String, BTreeSet<String>)> = Vec::new();
    for row in &rows {
        let (id, host): (String, Option<String>) = (row.get("id")?, row.get("host")?);
        match waiting.last_mut() {
            Some((last, hosts)) if *last == id => hosts.extend(host),
            _ => waiting.push((id, host.into_iter().collect())),
        }
    }
    let (mut room, mut ids) = (appetite.room.clone(), Vec::new());
    for (id, hosts) in waiting {
        let fits = |host: &String| {
            let full = room.get(host) == Some(&0);
            appetite.takes(host) && !lost.contains(host) && !full
        };
        if ids.len() >= appetite.most || !hosts.iter().all(fits) {
            continue;
        }
        for host in &hosts {
            if let Some(left) = room.get_mut(host) {
                *left -= 1;
            }
        }
        ids.push(ClaimId(id));
    }
    Ok(ids)
}

/// Keeps a claim for longer; `false` if it is another's by now, or past what was to be done.
///
/// # Errors
/// If the store fails.
pub fn renew(write: &mut Write<'_>, job: &Job, worker: &Worker, now: Moment) -> Result<bool, Refusal> {
    if !is_held(write, job, worker, now)? {
        return Ok(false);
    }
    write.renew(
        "UPDATE claims SET worker_until = $1 WHERE id = $2",
        &[
            now.0.saturating_add(worker.lease_ms).into(),
            job.claim.id.as_str().into(),
        ],
    )?;
    Ok(true)
}

/// Whether a claim is this worker's still.
///
/// # Errors
/// If the store fails.
pub fn is_held(from: &mut impl Queries, job: &Job, worker: &Worker, now: Moment) -> Result<bool, StoreError> {
    let rows = from.rows(
        "SELECT id FROM claims WHERE id = $1 AND phase = $5 AND worker = $2 AND attempt = $3 AND worker_until > $4",
        &[
            job.claim.id.as_str().into(),
            (&worker.name).into(),
            job.attempt.into(),
            now.0.into(),
            job.claim.phase.word().into(),
        ],
    )?;
    Ok(!rows.is_empty())
}

/// Writes down what is made for a claim, before it is put anywhere; of one for which that was done before, what was made
/// then.
///
/// # Errors
/// If the claim is another's by now, or the store fails.
pub fn make(
    write: &mut Write<'_>,
    job: &Job,
    made: &Made,
    worker: &Worker,
    now: Moment,
) -> Result<Made, Refusal> {
    held(write, job, worker, now)?;
    if let Some(before) = made_for(write, &job.claim.id)? {
        return Ok(before);
    }
    let text = serde_json::to_vec(made).map_err(|error| StoreError::Unreadable {
        what: error.to_string(),
    })?;
    let sealed = write.seal(&record(&job.claim.id), &text)?;
    write.execute(
        "UPDATE claims SET made = $1 WHERE id = $2",
        &[sealed.0.into(), job.claim.id.as_str().into()],
    )?;
    write.event(&event(&job.claim, "claim.made_for", &worker.name, now))?;
    Ok(made.clone())
}

/// Allots a claim the network that it is to have to itself, before anything of it is made; the same again says which it
/// is. `None` where no addresses are left for it on its host.
///
/// # Errors
/// If the claim is another's by now, or the store fails.
pub fn allot_network(
    write: &mut Write<'_>,
    job: &Job,
    wanted: &network::Wanted,
    worker: &Worker,
    now: Moment,
) -> Result<Option<network::Network>, Refusal> {
    let claim = held(write, job, worker, now)?;
    network::allot(write, &claim, wanted, &worker.name, now)
}

/// Writes down with which addresses the machines of a claim are on its network.
///
/// # Errors
/// If the claim is another's by now, or the store fails.
pub fn addressed(
    write: &mut Write<'_>,
    job: &Job,
    addresses: BTreeMap<MemberId, Vec<IpAddr>>,
    worker: &Worker,
    now: Moment,
) -> Result<(), Refusal> {
    let claim = held(write, job, worker, now)?;
    network::addressed(write, &claim, addresses, &worker.name, now)
}

/// All is put in: the claim's machines can be used.
///
/// # Errors
/// If the claim is another's by now, or the store fails.
pub fn ready(write: &mut Write<'_>, job: &Job, worker: &Worker, now: Moment) -> Result<Claim, Refusal> {
    let mut claim = held(write, job, worker, now)?;
    claim.phase = Phase::Ready;
    claim.admitted = Some(now);
    let_go(write, &claim.id)?;
    keep(write, &claim, "claim.ready", &worker.name, now)?;
    Ok(claim)
}

/// Its guests stand still.
///
/// # Errors
/// If the claim is another's by now, or the store fails.
pub fn stopped(write: &mut Write<'_>, job: &Job, worker: &Worker, now: Moment) -> Result<Claim, Refusal> {
    let mut claim = held(write, job, worker, now)?;
    claim.guests = Guests::Held;
    let_go(write, &claim.id)?;
    keep(write, &claim, "claim.stands_still", &worker.name, now)?;
    Ok(claim)
}

/// Its guests run on: it can be used again, once all that only it may use is in them.
///
/// # Errors
/// If the claim is another's by now, or the store fails.
pub fn woken(write: &mut Write<'_>, job: &Job, worker: &Worker, now: Moment) -> Result<Claim, Refusal> {
    let mut claim = held(write, job, worker, now)?;
    claim.guests = Guests::Run;
    if claim.admitted.is_some() {
        claim.phase = Phase::Ready;
    }
    let_go(write, &claim.id)?;
    keep(write, &claim, "claim.runs_on", &worker.name, now)?;
    Ok(claim)
}

/// What was done with its machines is past: what comes next begins anew.
pub(super) fn let_go(write: &mut Write<'_>, id: &ClaimId) -> Result<(), StoreError> {
    write
        .execute(
            "UPDATE claims SET worker = NULL, worker_until = NULL, not_before = NULL, tries = 0 WHERE id = $1",
            &[id.as_str().into()],
        )
        .map(drop)
}

/// It came to no end this time, and is not tried again before then.
///
/// # Errors
/// If the claim is another's by now, or the store fails.
pub fn put_off(
    write: &mut Write<'_>,
    job: &Job,
    why: &str,
    until: Moment,
    worker: &Worker,
    now: Moment,
) -> Result<(), Refusal> {
    held(write, job, worker, now)?;
    write.execute(
        "UPDATE claims SET worker = NULL, worker_until = NULL, not_before = $1 WHERE id = $2",
        &[until.0.into(), job.claim.id.as_str().into()],
    )?;
    let event = event(&job.claim, "claim.put_off", &worker.name, now).with("why", why);
    write.event(&event)?;
    Ok(())
}

/// Its machines cannot be made usable: it failed, and its use is given back. How far that came, and whose traces are in
/// them, is not known: they count as touched.
///
/// # Errors
/// If the claim is another's by now, or the store fails.
pub fn give_up(
    write: &mut Write<'_>,
    job: &Job,
    why: &str,
    worker: &Worker,
    now: Moment,
) -> Result<(), Refusal> {
    let mut claim = held(write, job, worker, now)?;
    touch(write, &claim.id)?;
    end(write, &mut claim, Phase::Failed, why, &worker.name, now)
}

/// What the holder of a claim is told; once it can be used its machines count as touched.
///
/// # Errors
/// If there is no such claim, or the store fails.
pub fn show(write: &mut Write<'_>, id: &ClaimId, now: Moment) -> Result<Shown, Refusal> {
    let claim = find(write, id)?;
    if is_usable(&claim) && touch(write, id)? {
        write.event(&event(&claim, "claim.shown", claim.user.as_str(), now))?;
    }
    told(write, id)
}

/// The same where nothing has to be written down for it, so that who asks again and again holds up nobody; `None` where
/// it has to be.
///
/// # Errors
/// If there is no such claim, or the store fails.
pub fn show_again(from: &mut impl Queries, id: &ClaimId) -> Result<Option<Shown>, Refusal> {
    let shown = told(from, id)?;
    let untouched = |machine: &Member| machine.touch == Touch::Untouched;
    let is_news = is_usable(&shown.claim) && shown.machines.iter().any(untouched);
    Ok((!is_news).then_some(shown))
}

fn told(from: &mut impl Queries, id: &ClaimId) -> Result<Shown, Refusal> {
    let claim = find(from, id)?;
    Ok(Shown {
        machines: machines_of(from, &claim)?,
        made: match is_usable(&claim) {
            true => made_for(from, id)?,
            false => None,
        },
        claim,
    })
}

/// The machines of a claim, in its order, with their addresses on its network behind their own.
///
/// # Errors
/// If the store fails.
pub fn machines_of(from: &mut impl Queries, claim: &Claim) -> Result<Vec<Member>, StoreError> {
    let mut machines = member::of_claim(from, &claim.id)?;
    for machine in &mut machines {
        let on_it = claim
            .network
            .iter()
            .find_map(|network| network.machines.get(&machine.id));
        machine.addresses.extend(on_it.into_iter().flatten());
    }
    Ok(machines)
}

fn is_usable(claim: &Claim) -> bool {
    matches!(claim.phase, Phase::Ready | Phase::Paused)
}

/// The holder has shown himself: what was made for him is his alone from now on.
pub(super) fn forget(write: &mut Write<'_>, id: &ClaimId) -> Result<(), StoreError> {
    touch(write, id)?;
    write
        .execute(
            "UPDATE claims SET made = NULL WHERE id = $1 AND made IS NOT NULL",
            &[id.as_str().into()],
        )
        .map(drop)
}

/// Whether that was news.
fn touch(write: &mut Write<'_>, id: &ClaimId) -> Result<bool, StoreError> {
    let changed = write.execute(
        "UPDATE members SET touched = 1 WHERE claim = $1 AND touched = 0",
        &[id.as_str().into()],
    )?;
    Ok(changed > 0)
}

fn held(write: &mut Write<'_>, job: &Job, worker: &Worker, now: Moment) -> Result<Claim, Refusal> {
    if is_held(write, job, worker, now)? {
        return find(write, &job.claim.id);
    }
    Err(Refusal::TakenOver {
        machine: format!("of claim {}", job.claim.id),
    })
}

fn made_for(from: &mut impl Queries, id: &ClaimId) -> Result<Option<Made>, Refusal> {
    let rows = from.rows("SELECT made FROM claims WHERE id = $1", &[id.as_str().into()])?;
    let sealed = rows
        .first()
        .map(|row| row.get::<Option<Vec<u8>>>("made"))
        .transpose()?;
    let Some(sealed) = sealed.flatten() else {
        return Ok(None);
    };
    let what = record(id);
    let text = from.opened(&what, &Sealed(sealed))?;
    let made = serde_json::from_slice(&text).map_err(|_| StoreError::Tampered { what })?;
    Ok(Some(made))
}

pub(crate) fn record(id: &ClaimId) -> String {
    format!("claims/{id}/made")
}

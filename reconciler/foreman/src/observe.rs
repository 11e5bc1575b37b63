//! What hosts really have is compared with what the store believes: level by level, not event by event, so that what a
//! hand, a fault or a restart of a host did to free machines is put right by the next look.

use crate::{Inner, build::object};
use labyard_driver::{
    ids::{HostName, HostUuid},
    observed::Power,
};
use labyard_labs::{
    Refusal,
    member::Member,
    pool::amiss::{self, Amiss},
};
use labyard_reconciler::{
    engine::{Marked, Reading},
    identity::Identity,
};
use std::collections::BTreeMap;

/// Whether a claim has left something of itself in a machine.
#[derive(Clone, Copy)]
enum Trace {
    None,
    /// Its user, or a card that is on its network.
    Left,
}

/// Which of the machines that should be there, free, running and untouched, are not; pure.
fn compare(believed: Vec<Member>, there: &[Marked]) -> Vec<(Member, Amiss)> {
    let found: BTreeMap<&str, (Power, Trace)> = there
        .iter()
        .filter_map(|marked| {
            let id = marked.mark.member.as_ref()?.id.as_str();
            let clean = marked.mark.used.is_none() && marked.mark.lent.is_none();
            Some((id, (marked.power, if clean { Trace::None } else { Trace::Left })))
        })
        .collect();
    let amiss = |member: &Member| match found.get(member.id.as_str()) {
        None => Some(Amiss::Gone),
        // The store is older than its host: it was brought back from a backup, or lost its last commits.
        Some((_, Trace::Left)) => Some(Amiss::Used),
        // One that stands still has its memory yet.
        Some((Power::Running | Power::Paused, Trace::None)) => None,
        Some((Power::Stopped | Power::Saved | Power::Crashed, Trace::None)) => Some(Amiss::Off),
    };
    believed
        .into_iter()
        .filter_map(|member| amiss(&member).map(|amiss| (member, amiss)))
        .collect()
}

fn identity(member: &Member) -> Option<Identity> {
    serde_json::from_value(member.identity.clone()?).ok()
}

impl Inner {
    /// Has free machines of a host put right that are not as they were left; `believed` was read before the host was.
    pub(crate) async fn put_right(
        &self,
        host: &HostName,
        believed: Vec<Member>,
        there: &[Marked],
    ) -> Result<usize, Refusal> {
        let mut found = Vec::new();
        for (member, amiss) in compare(believed, there) {
            let is_so = match amiss {
                Amiss::Off | Amiss::Used => true,
                Amiss::Gone => self.is_gone(host, &member, there).await,
            };
            if is_so {
                found.push((member, amiss));
            }
        }
        if found.is_empty() {
            return Ok(0);
        }
        let (now, actor) = (self.now(), self.worker.name.clone());
        let count = self
            .store
            .write(move |write| amiss::put_right(write, &found, now, &actor))
            .await?;
        Ok(count)
    }

    /// Whether it is certain: its own host says so, of this very machine.
    async fn is_gone(&self, host: &HostName, member: &Member, there: &[Marked]) -> bool {
        let Some(identity) = identity(member) else {
            return false;
        };
        let other = |uuid: &HostUuid| identity.host.as_ref().is_some_and(|known| known != uuid);
        if there
            .iter()
            .any(|marked| marked.identity.host.as_ref().is_some_and(other))
        {
            return false;
        }
        let object = object(member, host, Some(identity));
        matches!(
            self.engine.read_machine(&object).await,
            Ok(Reading::Gone | Reading::DisksOnly)
        )
    }
}

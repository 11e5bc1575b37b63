//! Screens before machines are put right where a hand or a fault changed them: what a machine's mark says of callers holds
//! for as long as the mark says so, whether somebody has the machine or not.

use crate::Inner;
use labyard_driver::{ids::HostName, mark::Stage};
use labyard_reconciler::engine::{Marked, ObjectRef};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How often those of a host are looked at: each is some questions to it.
const EVERY: Duration = Duration::from_secs(60);
/// Looks at one host at once.
const AT_ONCE: usize = 4;
/// How long one machine may take: another's is not waited for by all.
const WITHIN: Duration = Duration::from_secs(10);

/// When the screens of each host were looked at last.
#[derive(Default)]
pub(crate) struct ScreenLooks(Mutex<BTreeMap<HostName, Instant>>);

impl ScreenLooks {
    fn is_due(&self, host: &HostName) -> bool {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.get(host).is_some_and(|at| at.elapsed() < EVERY) {
            return false;
        }
        looks.insert(host.clone(), Instant::now());
        true
    }
}

/// Machines of a host that stand behind screens.
fn screened(host: &HostName, there: &[Marked]) -> Vec<ObjectRef> {
    let stands = |marked: &&Marked| marked.mark.callers.is_some() && marked.mark.stage == Stage::Finished;
    let object = |marked: &Marked| ObjectRef {
        host: host.clone(),
        namespace: marked.mark.namespace.clone(),
        name: marked.mark.name.clone(),
        id: Some(marked.identity.id.clone()),
        identity: Some(marked.identity.clone()),
        pools: Default::default(),
    };
    there.iter().filter(stands).map(object).collect()
}

impl Inner {
    /// Looks at the screens on a host, if that was not done for a while. What cannot be put right now is by the next look.
    pub(crate) async fn renew_screens(&self, host: &HostName, there: &[Marked]) {
        let objects = screened(host, there);
        if objects.is_empty() || !self.screen_looks.is_due(host) {
            return;
        }
        for some in objects.chunks(AT_ONCE) {
            let looks = some.iter().map(|object| self.renew_screen(object));
            futures::future::join_all(looks).await;
        }
    }

    async fn renew_screen(&self, object: &ObjectRef) {
        let (host, name) = (&object.host, object.name.as_str());
        match tokio::time::timeout(WITHIN, self.engine.renew_screen(object)).await {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => {
                tracing::warn!(%host, name, "its screen was not as it was left, and was put right");
            }
            Ok(Err(error)) => tracing::warn!(%host, name, %error, "its screen was not looked at"),
            Err(_) => {
                tracing::warn!(%host, name, "its screen was not looked at: the host took too long");
            }
        }
    }
}

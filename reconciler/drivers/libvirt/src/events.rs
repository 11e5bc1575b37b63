//! Events, on a connection of their own that is made anew when it is lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use labyard_driver::ids::ObjectId;
use labyard_driver::{DriverError, HostEvent};
use libvirt_rpc::{Event, EventKind, Subscription};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::errors::{Act, During};
use crate::host::{Host, Line};

/// Events that a receiver may be behind before it is told that it lost some.
const BACKLOG: usize = 1024;
/// How long to wait before the next try for a connection.
const PAUSE: Duration = Duration::from_secs(2);
const KINDS: [EventKind; 2] = [EventKind::DomainLifecycle, EventKind::AgentLifecycle];

/// Hands out events.
#[derive(Default)]
pub(crate) struct Events {
    feed: tokio::sync::Mutex<Option<Feed>>,
}

struct Feed {
    sender: Arc<Mutex<Option<broadcast::Sender<HostEvent>>>>,
    task: JoinHandle<()>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Events {
    /// Events from now on.
    pub(crate) async fn subscribe(
        &self,
        host: &Arc<Host>,
    ) -> Result<broadcast::Receiver<HostEvent>, DriverError> {
        let mut feed = self.feed.lock().await;
        if let Some(receiver) = feed.as_ref().and_then(Feed::receiver) {
            return Ok(receiver);
        }
        // The first connection is the caller's: that it cannot be made is told to somebody.
        let listening = listen(host).await?;
        let (sender, receiver) = broadcast::channel(BACKLOG);
        let shared = Arc::new(Mutex::new(Some(sender.clone())));
        let task = tokio::spawn(feed_on(Arc::clone(host), listening, sender, Arc::clone(&shared)));
        *feed = Some(Feed { sender: shared, task });
        Ok(receiver)
    }
}

impl Feed {
    /// Another receiver, unless the feed has ended for want of any.
    fn receiver(&self) -> Option<broadcast::Receiver<HostEvent>> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.as_ref().map(broadcast::Sender::subscribe)
    }
}

async fn listen(host: &Host) -> Result<(Line, Subscription), DriverError> {
    let connection = host.connect().await?;
    let subscription = connection
        .subscribe(&KINDS)
        .await
        .during(&Act::on("listening to", "the host's events"))?;
    Ok((connection, subscription))
}

/// Passes events on until nobody listens any more.
async fn feed_on(
    host: Arc<Host>,
    mut listening: (Line, Subscription),
    sender: broadcast::Sender<HostEvent>,
    shared: Arc<Mutex<Option<broadcast::Sender<HostEvent>>>>,
) {
    loop {
        while let Some(event) = listening.1.next().await {
            if let Some(event) = translated(&event)
                && sender.send(event).is_err()
                && ended(&shared)
            {
                return;
            }
        }
        tracing::debug!(uri = host.uri_text, "the connection for events was lost");
        listening = loop {
            let _nobody_listens = sender.send(HostEvent::Lost);
            if sender.receiver_count() == 0 && ended(&shared) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
            if let Ok(listening) = listen(&host).await {
                break listening;
            }
        };
        // What happened between the two connections was told to nobody.
        let _nobody_listens = sender.send(HostEvent::Lost);
    }
}

/// Ends the feed unless somebody has come meanwhile.
fn ended(shared: &Mutex<Option<broadcast::Sender<HostEvent>>>) -> bool {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if shared.as_ref().is_some_and(|sender| sender.receiver_count() > 0) {
        return false;
    }
    *shared = None;
    true
}

fn translated(event: &Event) -> Option<HostEvent> {
    let id = |domain: &libvirt_rpc::DomainRef| ObjectId(domain.uuid.to_string());
    match event {
        Event::DomainLifecycle { domain, .. } => Some(HostEvent::Machine(id(domain))),
        Event::AgentLifecycle { domain, .. } => Some(HostEvent::Agent(id(domain))),
        Event::Missed { .. } => Some(HostEvent::Lost),
        _ => None,
    }
}

//! Events: what the daemon tells unasked, for those who subscribed.
//!
//! An event says that something changed, not what is true now; a subscriber that was too slow is told how many
//! it missed, and reads the state again.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::broadcast;

use crate::Connection;
use crate::error::Result;
use crate::model::{DomainRef, MetadataKind, NetworkRef, wire_enum};
use crate::procedure::{self as p, message};
use crate::xdr::{Decode, DecodeError, Decoder};

/// Events that a slow subscriber may be behind.
const BACKLOG: usize = 1024;

/// What can be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// A domain was defined, started, stopped and so on.
    DomainLifecycle,
    /// A guest rebooted.
    DomainReboot,
    /// A guest agent came or went.
    AgentLifecycle,
    /// A device was added to a running domain.
    DeviceAdded,
    /// A device is gone from a running domain.
    DeviceRemoved,
    /// A guest refused to let go of a device.
    DeviceRemovalFailed,
    /// The metadata of a domain were changed.
    DomainMetadata,
    /// A network was defined, started, stopped and so on.
    NetworkLifecycle,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A domain was defined, started, stopped and so on.
    DomainLifecycle {
        /// Which.
        domain: DomainRef,
        /// What happened.
        change: DomainChange,
        /// libvirt's number for how; its meaning depends on the change.
        detail: i32,
    },
    /// A guest rebooted.
    DomainReboot {
        /// Which.
        domain: DomainRef,
    },
    /// A guest agent came or went.
    AgentLifecycle {
        /// Which domain.
        domain: DomainRef,
        /// Whether it is there.
        state: AgentState,
        /// Whether because the domain started or because the channel changed.
        reason: AgentReason,
    },
    /// A device was added to a running domain.
    DeviceAdded {
        /// Which domain.
        domain: DomainRef,
        /// The device's alias.
        alias: String,
    },
    /// A device is gone from a running domain.
    DeviceRemoved {
        /// Which domain.
        domain: DomainRef,
        /// The device's alias.
        alias: String,
    },
    /// A guest refused to let go of a device.
    DeviceRemovalFailed {
        /// Which domain.
        domain: DomainRef,
        /// The device's alias.
        alias: String,
    },
    /// The metadata of a domain were changed.
    DomainMetadata {
        /// Which domain.
        domain: DomainRef,
        /// Which part.
        kind: MetadataKind,
        /// The namespace of the element.
        uri: Option<String>,
    },
    /// A network was defined, started, stopped and so on.
    NetworkLifecycle {
        /// Which.
        network: NetworkRef,
        /// What happened.
        change: NetworkChange,
    },
    /// This subscriber was too slow and missed some.
    Missed {
        /// How many, of all kinds.
        count: u64,
    },
}

wire_enum! {
    /// What happened to a domain.
    pub enum DomainChange {
        /// Its definition was made or changed.
        Defined = 0,
        /// Its definition was removed.
        Undefined = 1,
        /// It started.
        Started = 2,
        /// It was paused.
        Suspended = 3,
        /// It runs again.
        Resumed = 4,
        /// It stopped.
        Stopped = 5,
        /// The guest has shut down; stopping follows.
        Shutdown = 6,
        /// The guest went to sleep.
        PmSuspended = 7,
        /// The guest crashed.
        Crashed = 8,
    }
}

wire_enum! {
    /// What happened to a network.
    pub enum NetworkChange {
        /// Its definition was made or changed.
        Defined = 0,
        /// Its definition was removed.
        Undefined = 1,
        /// It started.
        Started = 2,
        /// It stopped.
        Stopped = 3,
    }
}

wire_enum! {
    /// Whether a guest agent is there.
    pub enum AgentState {
        /// It is.
        Connected = 1,
        /// It is not.
        Disconnected = 2,
    }
}

wire_enum! {
    /// Why a guest agent's state is told.
    pub enum AgentReason {
        /// Not known.
        Unknown = 0,
        /// The domain started.
        DomainStarted = 1,
        /// The agent opened or closed its channel.
        Channel = 2,
    }
}

impl EventKind {
    /// libvirt's number: of a domain's or of a network's event.
    fn id(self) -> i32 {
        match self {
            Self::DomainLifecycle | Self::NetworkLifecycle => 0,
            Self::DomainReboot => 1,
            Self::DeviceRemoved => 15,
            Self::AgentLifecycle => 18,
            Self::DeviceAdded => 19,
            Self::DeviceRemovalFailed => 22,
            Self::DomainMetadata => 23,
        }
    }
}

impl Event {
    /// Its kind; a notice about missed events has none.
    pub fn kind(&self) -> Option<EventKind> {
        Some(match self {
            Self::DomainLifecycle { .. } => EventKind::DomainLifecycle,
            Self::DomainReboot { .. } => EventKind::DomainReboot,
            Self::AgentLifecycle { .. } => EventKind::AgentLifecycle,
            Self::DeviceAdded { .. } => EventKind::DeviceAdded,
            Self::DeviceRemoved { .. } => EventKind::DeviceRemoved,
            Self::DeviceRemovalFailed { .. } => EventKind::DeviceRemovalFailed,
            Self::DomainMetadata { .. } => EventKind::DomainMetadata,
            Self::NetworkLifecycle { .. } => EventKind::NetworkLifecycle,
            Self::Missed { .. } => return None,
        })
    }

    /// The event in a message; `None` if the message is of a kind that is not known here.
    pub(crate) fn decode(procedure: i32, payload: &[u8]) -> Result<Option<Self>, DecodeError> {
        let mut input = Decoder::new(payload);
        let input = &mut input;
        let _callback = i32::decode(input)?;
        if procedure == message::NETWORK_EVENT_LIFECYCLE {
            let (network, change, _detail) = <(NetworkRef, NetworkChange, i32)>::decode(input)?;
            return Ok(Some(Self::NetworkLifecycle { network, change }));
        }
        let domain = match procedure {
            message::DOMAIN_EVENT_LIFECYCLE
            | message::DOMAIN_EVENT_REBOOT
            | message::DOMAIN_EVENT_AGENT_LIFECYCLE
            | message::DOMAIN_EVENT_DEVICE_ADDED
            | message::DOMAIN_EVENT_DEVICE_REMOVED
            | message::DOMAIN_EVENT_DEVICE_REMOVAL_FAILED
            | message::DOMAIN_EVENT_METADATA_CHANGE => DomainRef::decode(input)?,
            _ => return Ok(None),
        };
        Ok(Some(match procedure {
            message::DOMAIN_EVENT_LIFECYCLE => Self::DomainLifecycle {
                domain,
                change: Decode::decode(input)?,
                detail: Decode::decode(input)?,
            },
            message::DOMAIN_EVENT_AGENT_LIFECYCLE => Self::AgentLifecycle {
                domain,
                state: Decode::decode(input)?,
                reason: Decode::decode(input)?,
            },
            message::DOMAIN_EVENT_DEVICE_ADDED => Self::DeviceAdded {
                domain,
                alias: Decode::decode(input)?,
            },
            message::DOMAIN_EVENT_DEVICE_REMOVED => Self::DeviceRemoved {
                domain,
                alias: Decode::decode(input)?,
            },
            message::DOMAIN_EVENT_DEVICE_REMOVAL_FAILED => Self::DeviceRemovalFailed {
                domain,
                alias: Decode::decode(input)?,
            },
            message::DOMAIN_EVENT_METADATA_CHANGE => Self::DomainMetadata {
                domain,
                kind: Decode::decode(input)?,
                uri: Decode::decode(input)?,
            },
            _ => Self::DomainReboot { domain },
        }))
    }
}

/// Hands events from the connection to its subscribers.
pub(crate) struct EventHub {
    sender: Mutex<Option<broadcast::Sender<Event>>>,
    registered: tokio::sync::Mutex<HashSet<EventKind>>,
}

impl Default for EventHub {
    fn default() -> Self {
        let sender = Mutex::new(Some(broadcast::Sender::new(BACKLOG)));
        Self {
            sender,
            registered: tokio::sync::Mutex::default(),
        }
    }
}

impl EventHub {
    pub(crate) fn take_in(&self, procedure: i32, payload: &[u8]) {
        match Event::decode(procedure, payload) {
            Ok(Some(event)) => {
                let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(sender) = &*sender {
                    let _nobody_listens = sender.send(event);
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(procedure, %error, "event not understood"),
        }
    }

    /// Ends all subscriptions.
    pub(crate) fn close(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn receiver(&self) -> broadcast::Receiver<Event> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        // On a connection that is gone, a channel without a sender: a subscription that has ended.
        sender
            .as_ref()
            .map_or_else(|| broadcast::channel(1).1, broadcast::Sender::subscribe)
    }
}

/// Receives the events of some kinds; keeps the connection open.
#[derive(Debug)]
pub struct Subscription {
    events: broadcast::Receiver<Event>,
    kinds: Vec<EventKind>,
    _connection: Connection,
}

impl Subscription {
    /// The next event; `None` when the connection is gone.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.events.recv().await {
                Ok(event) if event.kind().is_some_and(|kind| self.kinds.contains(&kind)) => {
                    return Some(event);
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(count)) => return Some(Event::Missed { count }),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Connection {
    /// Subscribes to events of all domains or networks. The daemon is asked once for each kind and goes on
    /// sending it until the connection ends.
    pub async fn subscribe(&self, kinds: &[EventKind]) -> Result<Subscription> {
        let hub = &self.link().events;
        let events = hub.receiver();
        let mut registered = hub.registered.lock().await;
        for kind in kinds {
            if registered.contains(kind) {
                continue;
            }
            self.register(*kind).await?;
            registered.insert(*kind);
        }
        drop(registered);
        Ok(Subscription {
            events,
            kinds: kinds.to_vec(),
            _connection: self.clone(),
        })
    }

    async fn register(&self, kind: EventKind) -> Result<()> {
        let _callback: i32 = if kind == EventKind::NetworkLifecycle {
            let everyone: Option<NetworkRef> = None;
            self.call(&p::CONNECT_NETWORK_EVENT_REGISTER_ANY, &(kind.id(), everyone))
                .await?
        } else {
            let everyone: Option<DomainRef> = None;
            self.call(
                &p::CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY,
                &(kind.id(), everyone),
            )
            .await?
        };
        Ok(())
    }
}

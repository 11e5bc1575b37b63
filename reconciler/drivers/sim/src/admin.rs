//! Other hands on a simulated host in a process of its own: for tests and demonstrations.

use std::path::Path;

use labyard_driver::DriverError;
use labyard_driver::observed::Snapshot;

use crate::client::Client;
use crate::faults::Fault;
use crate::oplog::Operation;
use crate::request::Reply;
use crate::state::ForeignHand;
use crate::wire::{Answer, Message};

/// What [`crate::SimHost`] offers beside the driver, over the socket.
#[derive(Debug)]
pub struct SimAdmin {
    client: Client,
}

impl SimAdmin {
    /// Of the host behind a socket.
    pub fn connect(socket: &Path) -> Self {
        Self {
            client: Client::new(socket),
        }
    }

    /// Does what other people, programs and accidents do to a host.
    ///
    /// # Errors
    /// As the host refuses it, or cannot be reached.
    pub async fn by_other_hand(&self, hand: ForeignHand) -> Result<(), DriverError> {
        self.done(Message::OtherHand(hand)).await
    }

    /// Orders a fault.
    ///
    /// # Errors
    /// Where the host cannot be reached.
    pub async fn order(&self, fault: Fault) -> Result<(), DriverError> {
        self.done(Message::Order(fault)).await
    }

    /// Forgets the faults that have not come yet.
    ///
    /// # Errors
    /// Where the host cannot be reached.
    pub async fn clear_faults(&self) -> Result<(), DriverError> {
        self.done(Message::ClearFaults).await
    }

    /// The calls since the server started, in the order of their arrival.
    ///
    /// # Errors
    /// Where the host cannot be reached.
    pub async fn operations(&self) -> Result<Vec<Operation>, DriverError> {
        match self.client.ask("reading the calls", &Message::Operations).await? {
            Answer::Operations(operations) => Ok(operations),
            _ => Err(unexpected()),
        }
    }

    /// Everything on the host, read past latency, faults and the log.
    ///
    /// # Errors
    /// Where the host cannot be reached.
    pub async fn look(&self) -> Result<Snapshot, DriverError> {
        match self.client.ask("looking", &Message::Look).await? {
            Answer::Look(snapshot) => Ok(*snapshot),
            _ => Err(unexpected()),
        }
    }

    async fn done(&self, message: Message) -> Result<(), DriverError> {
        match self.client.ask("another hand", &message).await? {
            Answer::Reply(Reply::Done) => Ok(()),
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> DriverError {
    DriverError::Unsupported {
        what: "the simulator's answer".to_owned(),
        message: "it is not what was asked for; are both ends of one release?".to_owned(),
    }
}

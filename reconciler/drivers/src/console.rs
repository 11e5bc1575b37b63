//! The serial console of a machine: what is heard of it, and what types into it meanwhile.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes as Chunk;
use serde::{Deserialize, Serialize};

use crate::error::DriverError;

/// What becomes of who has the console already: one has it at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// He keeps it, and who comes is refused.
    Waits,
    /// He loses it to who comes, and is told.
    TakesOver,
}

/// What comes of a console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// What the machine says.
    Said(Chunk),
    /// The machine has ended.
    Ended,
    /// Somebody else has the console now.
    TakenOver,
}

/// The serial console of a machine. It is let go when it is dropped.
#[async_trait]
pub trait Console: Send {
    /// What comes next; waits for as long as the machine is silent. Nothing is lost where this is given up meanwhile.
    async fn read(&mut self) -> Result<Heard, DriverError>;

    /// What types into it, while somebody reads. It is of no use once the console was let go.
    fn keyboard(&self) -> Arc<dyn Keyboard>;
}

/// The keyboard of a console.
#[async_trait]
pub trait Keyboard: Send + Sync {
    /// Types. What the machine makes of it is read.
    async fn press(&self, keys: Chunk) -> Result<(), DriverError>;
}

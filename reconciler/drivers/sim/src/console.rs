//! The console of a simulated machine, as its driver has it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use labyard_driver::{Console, DriverError, Heard, Keyboard};

use crate::link::Link;
use crate::state::{ConsoleStep, Seat};

/// How often a quiet console is looked at.
const POLL: Duration = Duration::from_millis(50);

/// A console.
pub(crate) struct SimConsole {
    keys: Arc<Keys>,
    position: usize,
}

impl SimConsole {
    pub(crate) fn new(link: Arc<Link>, seat: Seat, position: usize) -> Self {
        Self {
            keys: Arc::new(Keys { link, seat }),
            position,
        }
    }
}

#[async_trait]
impl Console for SimConsole {
    async fn read(&mut self) -> Result<Heard, DriverError> {
        let Keys { link, seat } = self.keys.as_ref();
        loop {
            match link.read_console(seat, self.position).await? {
                ConsoleStep::Text { text, position } => {
                    self.position = position;
                    return Ok(Heard::Said(text.into()));
                }
                ConsoleStep::Quiet => tokio::time::sleep(POLL).await,
                ConsoleStep::Ended => return Ok(Heard::Ended),
                ConsoleStep::TakenOver => return Ok(Heard::TakenOver),
            }
        }
    }

    fn keyboard(&self) -> Arc<dyn Keyboard> {
        self.keys.clone()
    }
}

impl Drop for SimConsole {
    fn drop(&mut self) {
        self.keys.link.leave_console(self.keys.seat.clone());
    }
}

struct Keys {
    link: Arc<Link>,
    seat: Seat,
}

#[async_trait]
impl Keyboard for Keys {
    async fn press(&self, keys: Bytes) -> Result<(), DriverError> {
        self.link.press_keys(&self.seat, &keys).await
    }
}

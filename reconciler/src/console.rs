//! The end of a machine's serial console: followed while it starts, shown when it fails.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use labyard_driver::ids::ObjectId;
use labyard_driver::{Driver, DriverError, Entry, Heard};
use tokio::task::JoinHandle;

/// How much of the console is kept.
const KEPT: usize = 64 * 1024;

/// The last bytes of a console.
#[derive(Default)]
pub struct Tail {
    bytes: Arc<Mutex<VecDeque<u8>>>,
    task: Option<JoinHandle<()>>,
}

impl Tail {
    /// Follows the console from now on, until the machine ends or this is dropped. It is told for people, nothing
    /// depends on it: of one that cannot be read the tail tells why.
    pub fn follow(&mut self, driver: Arc<dyn Driver>, id: ObjectId) {
        self.stop();
        let bytes = self.bytes.clone();
        self.task = Some(tokio::spawn(async move {
            if let Err(error) = read(driver.as_ref(), &id, &bytes).await {
                let mut kept = bytes.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.is_empty() {
                    kept.extend(format!("(not readable: {error})").bytes());
                }
            }
        }));
    }

    /// What was kept, as text: control characters other than line ends are left out.
    pub fn text(&self) -> String {
        let kept = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        text.chars()
            .filter(|c| *c == '\n' || *c == '\t' || !c.is_control())
            .collect()
    }

    /// The last lines of it.
    pub fn last_lines(&self, lines: usize) -> String {
        let text = self.text();
        let all: Vec<_> = text.lines().filter(|l| !l.trim().is_empty()).collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

async fn read(driver: &dyn Driver, id: &ObjectId, bytes: &Mutex<VecDeque<u8>>) -> Result<(), DriverError> {
    let mut console = driver.console(id, Entry::TakesOver).await?;
    while let Heard::Said(chunk) = console.read().await? {
        let mut kept = bytes.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(chunk);
        let over = kept.len().saturating_sub(KEPT);
        kept.drain(..over);
    }
    Ok(())
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.stop();
    }
}

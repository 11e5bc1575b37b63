//! The record of one object under work: its mark, written by one writer at a time.
//!
//! A step and the keeper of the lease both write the mark; going through one record, neither puts back what the
//! other has written.

use std::sync::Arc;

use labyard_driver::ids::{ObjectId, UnixMillis};
use labyard_driver::mark::{Kind, Mark};
use labyard_driver::{Driver, DriverError};
use tokio::sync::{Mutex, MutexGuard};

/// An object's mark and where it is written.
pub struct Record {
    /// The host's id of the object.
    pub id: ObjectId,
    driver: Arc<dyn Driver>,
    mark: Mutex<Mark>,
}

impl Record {
    /// A record of an object that stands on the host with this mark.
    pub fn new(driver: Arc<dyn Driver>, id: ObjectId, mark: Mark) -> Self {
        Self {
            id,
            driver,
            mark: Mutex::new(mark),
        }
    }

    /// The mark as it was written last.
    pub async fn mark(&self) -> Mark {
        self.mark.lock().await.clone()
    }

    /// The mark, held while something else writes it with the definition.
    pub async fn hold(&self) -> MutexGuard<'_, Mark> {
        self.mark.lock().await
    }

    /// Takes up the mark as it stands on the host now: of an object that nobody builds others write it as well.
    pub async fn take_up(&self, now: Mark) {
        *self.mark.lock().await = now;
    }

    /// Changes the mark and writes it; on an error the record stays as it was.
    pub async fn update(&self, change: impl FnOnce(&mut Mark)) -> Result<Mark, DriverError> {
        self.update_through(&self.driver, change).await
    }

    /// The same through another connection.
    pub async fn update_through(
        &self,
        driver: &Arc<dyn Driver>,
        change: impl FnOnce(&mut Mark),
    ) -> Result<Mark, DriverError> {
        let mut mark = self.mark.lock().await;
        let mut changed = mark.clone();
        change(&mut changed);
        if changed != *mark {
            write(driver, &self.id, &changed).await?;
            *mark = changed;
        }
        Ok(mark.clone())
    }

    /// Until when the lease in the mark holds.
    pub async fn lease_until(&self) -> Option<UnixMillis> {
        self.mark.lock().await.lease.as_ref().map(|lease| lease.until)
    }
}

async fn write(driver: &Arc<dyn Driver>, id: &ObjectId, mark: &Mark) -> Result<(), DriverError> {
    match mark.kind {
        Kind::Machine => driver.write_mark(id, mark).await,
        Kind::Network => driver.write_network_mark(id, mark).await,
    }
}

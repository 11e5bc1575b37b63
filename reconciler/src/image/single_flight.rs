//! One piece of work a key, however many ask for it at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::OnceCell;

/// Joins callers that ask for the same thing at the same time.
///
/// The first caller of a key does the work, the others wait for its result. If the first one fails or is
/// dropped in the middle, the next waiter does the work itself: an error is told only to the one who met it,
/// since the others have deadlines of their own. The result is not kept once the last of those callers is
/// gone: this joins, it does not cache.
#[derive(Debug)]
pub struct SingleFlight<K, V> {
    flights: Mutex<HashMap<K, Weak<OnceCell<V>>>>,
}

impl<K, V> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self {
            flights: Mutex::new(HashMap::new()),
        }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> SingleFlight<K, V> {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Does `work` for `key`, or waits for the caller that is at it already.
    pub async fn run<E, F, W>(&self, key: K, work: W) -> Result<V, E>
    where
        W: FnOnce() -> F,
        F: Future<Output = Result<V, E>>,
    {
        // Declared first, hence dropped last: it looks when this caller's share of the flight is gone.
        let _sweep = Sweep { of: self, key: &key };
        let flight = self.join(&key);
        flight.get_or_try_init(work).await.cloned()
    }

    fn join(&self, key: &K) -> Arc<OnceCell<V>> {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(key).and_then(Weak::upgrade) {
            return flight;
        }
        let flight = Arc::new(OnceCell::new());
        flights.insert(key.clone(), Arc::downgrade(&flight));
        flight
    }
}

impl<K: Eq + Hash, V> SingleFlight<K, V> {
    /// The map is valid at every point where its holder could panic, so a poisoned lock is no reason to stop.
    fn flights(&self) -> MutexGuard<'_, HashMap<K, Weak<OnceCell<V>>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a key out of the map when its last caller has gone, however that caller went.
struct Sweep<'a, K: Eq + Hash, V> {
    of: &'a SingleFlight<K, V>,
    key: &'a K,
}

impl<K: Eq + Hash, V> Drop for Sweep<'_, K, V> {
    fn drop(&mut self) {
        let mut flights = self.of.flights();
        if flights
            .get(self.key)
            .is_some_and(|flight| flight.strong_count() == 0)
        {
            flights.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use futures::future::join_all;
    use tokio::time::sleep;

    use super::*;

    #[derive(Default)]
    struct Work {
        begun: AtomicU32,
        flights: SingleFlight<&'static str, u32>,
    }

    impl Work {
        async fn run(&self, key: &'static str, fails_first: u32) -> Result<u32, u32> {
            self.flights
                .run(key, || async {
                    let attempt = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
                    sleep(Duration::from_millis(20)).await;
                    if attempt <= fails_first {
                        Err(attempt)
                    } else {
                        Ok(attempt)
                    }
                })
                .await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn thirty_askers_at_once_cost_one_piece_of_work() {
        let work = Work::default();
        let results = join_all((0..30).map(|_| work.run("a", 0))).await;
        assert!(results.iter().all(|result| *result == Ok(1)));
        assert!(work.flights.flights().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn different_keys_do_not_wait_for_each_other() {
        let work = Work::default();
        let (a, b) = futures::join!(work.run("a", 0), work.run("b", 0));
        assert_eq!((a, b), (Ok(1), Ok(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failed_leader_the_next_waiter_tries() {
        let work = Work::default();
        let results = join_all((0..5).map(|_| work.run("a", 2))).await;
        assert_eq!(results, [Err(1), Err(2), Ok(3), Ok(3), Ok(3)]);
        assert!(work.flights.flights().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_dropped_in_the_middle_hands_over() {
        let work = Work::default();
        let mut leader = Box::pin(work.run("a", 0));
        assert!(futures::poll!(leader.as_mut()).is_pending());
        let mut waiter = Box::pin(work.run("a", 0));
        assert!(futures::poll!(waiter.as_mut()).is_pending());
        drop(leader);
        assert_eq!(waiter.await, Ok(2));
        assert!(work.flights.flights().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_asker_starts_anew() {
        let work = Work::default();
        assert_eq!(work.run("a", 0).await, Ok(1));
        assert_eq!(work.run("a", 0).await, Ok(2));
    }
}

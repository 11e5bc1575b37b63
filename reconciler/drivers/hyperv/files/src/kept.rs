//! The one connection that all calls go over: made when it is needed, and anew when it is over.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::Trouble;

/// How long a refused login is not tried again: a wrong password that each of many calls tried would lock the account.
const AFTER_LOGIN: Duration = Duration::from_secs(60);

/// A connection that is kept.
pub(crate) struct Kept<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    current: Option<Arc<T>>,
    failed: Option<(Instant, Trouble)>,
}

impl<T> Kept<T> {
    pub(crate) fn new() -> Self {
        let state = State {
            current: None,
            failed: None,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// The connection, or a new one. Who waited while one could not be made hears of that, and does not wait for his own.
    pub(crate) async fn get<F>(
        &self,
        is_over: impl Fn(&T) -> bool,
        connect: impl FnOnce() -> F,
    ) -> Result<Arc<T>, Trouble>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(current) = state.current.as_ref().filter(|current| !is_over(current)) {
            return Ok(Arc::clone(current));
        }
        if let Some((at, trouble)) = &state.failed {
            let refused = matches!(trouble, Trouble::Login { .. }) && at.elapsed() < AFTER_LOGIN;
            if *at > asked || refused {
                return Err(trouble.clone());
            }
        }
        match connect().await {
            Ok(made) => {
                let made = Arc::new(made);
                state.current = Some(Arc::clone(&made));
                state.failed = None;
                Ok(made)
            }
            Err(trouble) => {
                state.failed = Some((Instant::now(), trouble.clone()));
                Err(trouble)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use tokio::time::sleep;

    use super::*;

    fn unreachable() -> Trouble {
        Trouble::Unreachable {
            place: "hv1:445".into(),
            reason: "refused".into(),
        }
    }

    fn login() -> Trouble {
        Trouble::Login {
            place: "hv1:445".into(),
            user: "anna".into(),
            reason: "wrong".into(),
        }
    }

    async fn after(tries: &AtomicUsize, result: Result<u32, Trouble>) -> Result<u32, Trouble> {
        tries.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_secs(5)).await;
        result
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_wait_for_the_same_connection_share_it() {
        let (kept, tries) = (Kept::new(), AtomicUsize::new(0));
        let got = join_all((0..10).map(|_| kept.get(|_| false, || after(&tries, Ok(1))))).await;
        assert!(got.iter().all(|one| one.as_deref() == Ok(&1)));
        assert_eq!(tries.load(Ordering::SeqCst), 1);
        // One that is over is made anew.
        assert_eq!(*kept.get(|_| true, || after(&tries, Ok(2))).await.unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_wait_for_the_same_failure_share_it_and_the_next_one_tries() {
        let (kept, tries) = (Kept::<u32>::new(), AtomicUsize::new(0));
        let begun = Instant::now();
        let got = join_all((0..10).map(|_| kept.get(|_| false, || after(&tries, Err(unreachable()))))).await;
        assert!(got.iter().all(|one| *one == Err(unreachable())));
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        sleep(Duration::from_millis(1)).await;
        assert!(kept.get(|_| false, || after(&tries, Ok(1))).await.is_ok());
        assert_eq!(tries.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_login_is_not_tried_again_at_once() {
        let (kept, tries) = (Kept::<u32>::new(), AtomicUsize::new(0));
        for _ in 0..5 {
            let got = kept.get(|_| false, || after(&tries, Err(login()))).await;
            assert_eq!(got, Err(login()));
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(tries.load(Ordering::SeqCst), 1);
        sleep(AFTER_LOGIN).await;
        assert!(kept.get(|_| false, || after(&tries, Ok(1))).await.is_ok());
    }
}

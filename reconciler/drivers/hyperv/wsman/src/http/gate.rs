//! Who may try to log in. A domain locks an account after a few wrong passwords: so as long as no login has succeeded, one
//! connection tries at a time, and what comes of it counts for all who waited; and after a refusal nobody tries for a while.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::trouble::{KerberosTrouble, Trouble};

/// How long a refusal counts.
const REFUSED: Duration = Duration::from_secs(30);

/// What is known of a login.
#[derive(Default)]
pub(super) struct Gate {
    alone: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

#[derive(Default)]
enum Known {
    #[default]
    Nothing,
    Good,
    Failed {
        trouble: Trouble,
        at: Instant,
    },
}

impl Gate {
    /// Makes a connection, or hears of one who tried it before.
    pub(super) async fn pass<T>(&self, open: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
        let begun = Instant::now();
        self.heard(begun)?;
        let _alone = match self.is_good() {
            true => None,
            false => Some(self.alone.lock().await),
        };
        self.heard(begun)?;
        let opened = open.await;
        match &opened {
            Ok(_) => self.note(Known::Good),
            Err(trouble) => self.failed(trouble),
        }
        opened
    }

    /// Notes what came of a try.
    pub(super) fn failed(&self, trouble: &Trouble) {
        // A host that is away for a moment says nothing about an account that was good.
        if is_refusal(trouble) || !self.is_good() {
            self.note(Known::Failed {
                trouble: trouble.clone(),
                at: Instant::now(),
            });
        }
    }

    /// What came of others that counts for whoever has waited since then.
    fn heard(&self, since: Instant) -> Result<(), Trouble> {
        match &*self.known.lock().unwrap_or_else(PoisonError::into_inner) {
            Known::Failed { trouble, at }
                if *at >= since || is_refusal(trouble) && at.elapsed() < REFUSED =>
            {
                Err(trouble.clone())
            }
            _ => Ok(()),
        }
    }

    fn is_good(&self) -> bool {
        matches!(
            &*self.known.lock().unwrap_or_else(PoisonError::into_inner),
            Known::Good
        )
    }

    fn note(&self, known: Known) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

/// Whether an account was refused, which trying again makes worse.
fn is_refusal(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Login { .. } => true,
        Trouble::Kerberos { why, .. } => matches!(
            why,
            KerberosTrouble::WrongPassword { .. }
                | KerberosTrouble::UnknownUser { .. }
                | KerberosTrouble::PasswordExpired { .. }
                | KerberosTrouble::Locked { .. }
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn refusal() -> Trouble {
        Trouble::Login {
            place: "hv7:5985".to_owned(),
            user: "op".to_owned(),
            tried: "Negotiate",
            offered: Vec::new(),
        }
    }

    fn away() -> Trouble {
        Trouble::Unreachable {
            place: "hv7:5985".to_owned(),
            reason: "refused".to_owned(),
        }
    }

    /// So many at once, each of which takes a second, if it is let.
    async fn crowd(
        gate: &Gate,
        tried: &AtomicUsize,
        outcome: &Result<(), Trouble>,
    ) -> Vec<Result<(), Trouble>> {
        let one = || {
            gate.pass(async {
                tried.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(1)).await;
                outcome.clone()
            })
        };
        futures::future::join_all((0..20).map(|_| one())).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_password_that_is_refused_is_tried_once_and_not_again_for_a_while() {
        let (gate, tried) = (Gate::default(), AtomicUsize::new(0));
        for _ in 0..2 {
            let all = crowd(&gate, &tried, &Err(refusal())).await;
            assert!(all.iter().all(|one| *one == Err(refusal())));
        }
        assert_eq!(tried.load(Ordering::SeqCst), 1);
        tokio::time::sleep(REFUSED).await;
        assert!(crowd(&gate, &tried, &Ok(())).await.iter().all(Result::is_ok));
        assert_eq!(tried.load(Ordering::SeqCst), 21, "the first alone, then all");
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_is_away_is_tried_once_by_all_who_wait_and_anew_by_who_comes_later() {
        let (gate, tried) = (Gate::default(), AtomicUsize::new(0));
        let begun = Instant::now();
        let all = crowd(&gate, &tried, &Err(away())).await;
        assert!(all.iter().all(|one| *one == Err(away())));
        assert_eq!((tried.load(Ordering::SeqCst), begun.elapsed().as_secs()), (1, 1));
        tokio::time::sleep(Duration::from_millis(1)).await;
        crowd(&gate, &tried, &Err(away())).await;
        assert_eq!(tried.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_the_place_to_the_next() {
        let (gate, tried) = (Gate::default(), AtomicUsize::new(0));
        let first = gate.pass(std::future::pending::<Result<(), Trouble>>());
        let given_up = tokio::time::timeout(Duration::from_secs(1), first);
        let (given_up, others) = tokio::join!(given_up, crowd(&gate, &tried, &Ok(())));
        assert!(given_up.is_err() && others.iter().all(Result::is_ok));
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_that_was_good_and_is_not_any_more_is_tried_by_nobody_else() {
        let (gate, tried) = (Gate::default(), AtomicUsize::new(0));
        crowd(&gate, &tried, &Ok(())).await;
        gate.failed(&away());
        assert!(gate.pass(async { Ok(()) }).await.is_ok());
        gate.failed(&refusal());
        assert_eq!(gate.pass(async { Ok(()) }).await, Err(refusal()));
    }
}

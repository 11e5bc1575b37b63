//! What goes wrong, as the problem that is answered.

use labyard_api::problem::{OverQuota, Problem};
use labyard_labs::Refusal;
use labyard_store::StoreError;

/// Something went wrong.
#[derive(Clone, Debug)]
pub(crate) struct Failure(pub(crate) Box<Problem>);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let (status, title) = said(&refusal);
        let mut problem = Problem::new(status, refusal.type_name(), title);
        problem.retryable = refusal.is_retryable();
        if let Refusal::OverQuota {
            namespace,
            kind,
            quota,
            used,
            asked,
        } = &refusal
        {
            problem.quota = Some(OverQuota {
                namespace: namespace.to_string(),
                of: kind.to_string(),
                quota: *quota,
                used: *used,
                asked: *asked,
            });
        }
        // What the database said stays in the log: it may name what a stranger need not know.
        problem.detail = match &refusal {
            Refusal::Store(error) if status == 500 => {
                tracing::error!(%error, "the store failed");
                Some("The store failed; the log says more under this request's id.".to_owned())
            }
            other => Some(sentence(&other.to_string())),
        };
        problem.into()
    }
}

/// The status of a refusal, and its title.
fn said(refusal: &Refusal) -> (u16, &'static str) {
    match refusal {
        Refusal::UnknownCode => (404, "The code is not known"),
        Refusal::NoCode { .. } => (404, "The code is not there"),
        Refusal::CodeExists { .. } => (409, "The code is there already"),
        Refusal::CodeReplaced { .. } => (409, "The code is another one"),
        Refusal::Unusable(_) => (422, "The request has values that cannot be"),
        Refusal::NoPool { .. } => (404, "The pool is not there"),
        Refusal::NobodysNow { .. } => (409, "The machine is a pool's"),
        Refusal::NoClaim => (404, "The claim is not there"),
        Refusal::CodeTaken => (409, "The code's text is taken"),
        Refusal::Revoked => (403, "The code was revoked"),
        Refusal::NotYetValid { .. } => (403, "The code is not valid yet"),
        Refusal::NoLongerValid { .. } => (403, "The code is not valid any more"),
        Refusal::WrongSource => (403, "The code cannot be used from here"),
        Refusal::UsedUp { .. } => (403, "The code is used up"),
        Refusal::UsedUpByUser { .. } => (403, "The user has used the code up"),
        Refusal::KeyReused => (422, "The idempotency key was used for another request"),
        Refusal::PoolLeaving { .. } => (409, "The pool is being removed"),
        Refusal::PoolClosed { .. } => (409, "The pool is closed"),
        Refusal::OverQuota { .. } => (403, "The namespace may not have so much"),
        Refusal::PoolInUse { .. } => (409, "The pool is in use"),
        Refusal::TakenOver { .. } => (409, "Another worker has the machine"),
        Refusal::NoneFree { .. } => (409, "No machine is free"),
        Refusal::TooMany { .. } => (409, "The pool may not have so many machines"),
        Refusal::NeverWarm { .. } => (409, "No machine is kept ready"),
        Refusal::NoSource { .. } => (409, "No address to be reached from"),
        Refusal::WrongPhase { .. } => (409, "The claim is past that"),
        Refusal::LeaseAtItsEnd { .. } => (409, "The lease ends at the latest already"),
        Refusal::Store(StoreError::Exists { .. }) => (409, "It exists already"),
        Refusal::Store(error) if error.is_retryable() => (503, "The store cannot be used now"),
        Refusal::Store(_) => (500, "The store failed"),
    }
}

/// With a capital, and a stop at its end.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    let stop = if text.ends_with(['.', ':', '!', '?']) {
        ""
    } else {
        "."
    };
    format!("{}{}{stop}", first.unwrap_or_default(), letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_its_type_its_status_and_whether_to_try_again() {
        let failure = Failure::from(Refusal::NoneFree { pool: "k8s".into() });
        assert_eq!(failure.0.type_uri, "urn:labyard:problem:none-free");
        assert_eq!((failure.0.status, failure.0.retryable), (409, true));
        assert_eq!(
            failure.0.detail.as_deref(),
            Some("No machine of pool k8s is free: try again, or wait in the queue.")
        );
    }

    #[test]
    fn what_a_database_said_is_not_told_to_strangers() {
        let failure = Failure::from(StoreError::Refused {
            store: "/var/lib/labyard/labyard.db".into(),
            why: "no such table: tokens".into(),
        });
        assert_eq!(failure.0.status, 500);
        assert!(!failure.0.to_string().contains("tokens"), "{}", failure.0);
    }
}

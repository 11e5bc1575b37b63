//! How often a program asks again, and how long it waits for an answer. What only reads is asked again; what changes
//! something is not, unless it is certain that the server never got it.

use super::ClientError;
use crate::routes::Method;
use std::time::Duration;

/// How often to ask, and how long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Attempts at most.
    pub attempts: u32,
    /// The pause after the first; it doubles.
    pub pause: Duration,
    /// How long one answer may take; zero says for ever.
    pub answer: Duration,
}

impl Patience {
    /// Asks once, and waits for ever.
    pub const NONE: Self = Self {
        attempts: 1,
        pause: Duration::ZERO,
        answer: Duration::ZERO,
    };

    /// Gives up on an answer that does not come.
    pub(super) async fn limited<T>(
        &self,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        if self.answer.is_zero() {
            return answer.await;
        }
        match tokio::time::timeout(self.answer, answer).await {
            Ok(answered) => answered,
            Err(_) => Err(ClientError::Broken {
                endpoint: "of this call".to_owned(),
                why: format!("no answer within {} s", self.answer.as_secs()),
            }),
        }
    }

    /// Asks, and asks again as long as that does no harm and may help.
    pub(super) async fn over<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        method: Method,
        mut ask: impl FnMut() -> F,
    ) -> Result<T, ClientError> {
        let mut pause = self.pause;
        for _ in 1..self.attempts {
            let error = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !may_ask_again(method, &error) {
                return Err(error);
            }
            tokio::time::sleep(pause.max(said(&error))).await;
            pause *= 2;
        }
        ask().await
    }
}

/// Whether asking again does no harm and may help.
fn may_ask_again(method: Method, error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } => true,
        ClientError::Broken { .. } => method == Method::Get,
        // A host that does not answer has been waited for already.
        ClientError::Refused(problem) if problem.kind() == "host-unreachable" => false,
        ClientError::Refused(problem) => {
            problem.retryable && (method == Method::Get || problem.status == 429)
        }
        ClientError::Endpoint { .. } | ClientError::Strange { .. } => false,
    }
}

/// In how long the server said to ask again, within reason.
fn said(error: &ClientError) -> Duration {
    match error {
        ClientError::Refused(problem) => {
            Duration::from_secs(problem.retry_after_s.unwrap_or_default().min(30))
        }
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Problem;
    use std::sync::atomic::{AtomicU32, Ordering};

    const PATIENT: Patience = Patience {
        attempts: 3,
        pause: Duration::from_millis(1),
        answer: Duration::from_millis(20),
    };

    fn broken() -> ClientError {
        ClientError::Broken {
            endpoint: "e".into(),
            why: "cut".into(),
        }
    }

    async fn asked(method: Method, error: fn() -> ClientError) -> u32 {
        let asked = AtomicU32::new(0);
        let answer = PATIENT.over(method, || async {
            asked.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(error())
        });
        answer.await.unwrap_err();
        asked.into_inner()
    }

    #[tokio::test]
    async fn what_reads_is_asked_again_and_what_may_have_been_done_is_not() {
        let unreachable = || ClientError::Unreachable {
            endpoint: "e".into(),
            why: "refused".into(),
        };
        let refused = || ClientError::Refused(Box::new(Problem::new(404, "no-pool", "None")));
        assert_eq!(asked(Method::Get, broken).await, 3);
        assert_eq!(asked(Method::Put, broken).await, 1);
        assert_eq!(asked(Method::Put, unreachable).await, 3);
        assert_eq!(asked(Method::Get, refused).await, 1);
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_not_waited_for_for_ever() {
        let never = std::future::pending::<Result<(), ClientError>>();
        let error = PATIENT.limited(never).await.unwrap_err();
        assert!(matches!(error, ClientError::Broken { .. }), "{error}");
    }
}

//! How a piece of work ended, and what the store is told of it.

use crate::Inner;
use labyard_labs::{
    Refusal,
    pool::work::{self, Blame, Left, Piece},
};
use labyard_reconciler::EngineError;
use labyard_store::event::Moment;

/// How a piece of work ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The machine was made there, and is free.
    Built {
        /// Its host.
        host: String,
    },
    /// The machine is what it was, and is free.
    Recycled,
    /// The machine is gone.
    Gone,
    /// The machine could not be made or brought back: it is taken away next.
    Failed {
        /// Why.
        cause: String,
        /// Whether it is given up after a while.
        blame: Blame,
    },
    /// Nothing came of it this time.
    PutOff {
        /// Why.
        why: String,
    },
    /// Its host has its hands full; it is taken up again soon.
    Waits {
        /// The host, or what is known of it.
        on: String,
    },
    /// It is another worker's by now, or this one was told to end.
    Lost,
}

/// How long a piece waits for a host that has its hands full.
const WAIT_MS: i64 = 500;
/// At least so long is waited before a piece is taken up again.
const LEAST_MS: i64 = 2_000;
/// At most so long.
const MOST_MS: i64 = 120_000;

impl Outcome {
    /// Of an error of the engine.
    pub(crate) fn of(error: &EngineError) -> Self {
        match error.root() {
            EngineError::LeaseLost { .. } | EngineError::Cancelled { .. } | EngineError::TakenOver { .. } => {
                Self::Lost
            }
            EngineError::BeingBuilt { .. } => Self::PutOff {
                why: error.to_string(),
            },
            root => Self::Failed {
                cause: error.to_string(),
                blame: blame(root),
            },
        }
    }

    /// The same as it can be written down.
    fn printable(&self) -> Self {
        match self.clone() {
            Self::Failed { cause, blame } => Self::Failed {
                cause: told(&cause),
                blame,
            },
            Self::PutOff { why } => Self::PutOff { why: told(&why) },
            other => other,
        }
    }

    /// The same where nothing is to blame: it is tried again, as often as it takes.
    pub(crate) fn put_off(error: &EngineError) -> Self {
        match Self::of(error) {
            Self::Failed { cause, .. } => Self::PutOff { why: cause },
            other => other,
        }
    }
}

/// At most so much of what a guest or a host said is kept.
const TOLD: usize = 2048;

/// What was met, as it is written down and shown: a guest may say anything, for as long as it likes, in letters that a
/// terminal obeys or PostgreSQL refuses.
pub(crate) fn told(text: &str) -> String {
    let mut told = String::new();
    for letter in text.chars() {
        if told.len() + letter.len_utf8() > TOLD {
            return told + "…";
        }
        told.push(if letter.is_control() { ' ' } else { letter });
    }
    told
}

/// Whether an error says that the work is no longer this worker's.
pub(crate) fn is_lost(error: &EngineError) -> bool {
    Outcome::of(error) == Outcome::Lost
}

/// Whether a template is to blame, or a host.
fn blame(error: &EngineError) -> Blame {
    match error {
        EngineError::Host { source, .. } if source.is_transient() => Blame::Circumstances,
        EngineError::Image { source, .. } if source.fault.is_transient() => Blame::Circumstances,
        EngineError::HostUnreadable { .. }
        | EngineError::HostSilent { .. }
        | EngineError::Full { .. }
        | EngineError::NoHost { .. }
        // Another's machine has the name: it may go, and the template cannot help it.
        | EngineError::AlreadyExists { .. }
        | EngineError::Unknown { .. } => Blame::Circumstances,
        _ => Blame::Template,
    }
}

impl Inner {
    /// Tells the store; what another worker has by now is its to tell.
    pub(crate) async fn conclude(&self, piece: &Piece, outcome: &Outcome, left: Left) -> Result<(), Refusal> {
        let (piece, outcome, worker) = (piece.clone(), outcome.printable(), self.worker.clone());
        let now = self.now();
        // What is let go of at the end of this process somebody else may take up at once.
        let after_lost = match self.ended.is_cancelled() {
            true => now,
            false => again(piece.machine.since, now),
        };
        let told = self
            .store
            .write(move |write| match &outcome {
                Outcome::Built { host } => work::built(write, &piece, host, &worker, now),
                Outcome::Recycled => work::recycled(write, &piece, &worker, now),
                Outcome::Gone => work::gone(write, &piece, &worker, now),
                Outcome::Failed { cause, blame } => {
                    work::failed(write, &piece, cause, (*blame, left), &worker, now)
                }
                Outcome::PutOff { why } => {
                    let until = again(piece.machine.since, now);
                    work::put_off(write, &piece, why, until, &worker, now)
                }
                Outcome::Waits { on } => {
                    let (why, until) = (format!("{on} is busy with others"), Moment(now.0 + WAIT_MS));
                    work::put_off(write, &piece, &why, until, &worker, now)
                }
                Outcome::Lost => work::put_off(write, &piece, "its worker ended", after_lost, &worker, now),
            })
            .await;
        match told {
            Err(Refusal::TakenOver { .. }) => Ok(()),
            other => other,
        }
    }
}

/// When to try again: the longer it has been tried, the later.
fn again(since: Moment, now: Moment) -> Moment {
    let tried = now.0.saturating_sub(since.0) / 2;
    Moment(now.0.saturating_add(tried.clamp(LEAST_MS, MOST_MS)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use labyard_reconciler::image::{Fault, ImageError};

    #[test]
    fn what_has_been_tried_for_long_is_tried_less_often() {
        assert_eq!(again(Moment(0), Moment(0)), Moment(LEAST_MS));
        assert_eq!(again(Moment(0), Moment(60_000)), Moment(90_000));
        assert_eq!(again(Moment(0), Moment(10_000_000)), Moment(10_000_000 + MOST_MS));
    }

    #[test]
    fn what_a_guest_says_is_kept_in_bounds_and_as_plain_text() {
        assert_eq!(told("no\0 \u{1b}[31msuch\nuser"), "no   [31msuch user");
        let long = told(&"ä".repeat(5_000));
        assert_eq!(long.len(), TOLD + "…".len());
        assert!(long.ends_with("ä…"));
    }

    #[test]
    fn a_host_that_does_not_answer_is_not_the_templates_fault() {
        let silent = EngineError::HostUnreadable {
            host: "lab1".into(),
            message: "no answer".to_owned(),
        };
        assert_eq!(blame(&silent), Blame::Circumstances);
        let taken = EngineError::AlreadyExists {
            host: "lab1".into(),
            what: "machine k8s-1".to_owned(),
            found: "of another state".to_owned(),
            way_out: "give it another name".to_owned(),
        };
        assert_eq!(blame(&taken), Blame::Circumstances, "the other one may go");
        let attribute = EngineError::Attribute {
            attribute: "nics".to_owned(),
            message: "no such network".to_owned(),
        };
        assert_eq!(blame(&attribute), Blame::Template);
        let of_image = |fault| EngineError::Image {
            attribute: "disks[\"root\"].image".to_owned(),
            source: ImageError {
                origin: "https://images.example/a.qcow2".to_owned(),
                fault,
            },
        };
        let server = [
            Fault::Status { status: 503 },
            Fault::NotKept("golden is not here".to_owned()),
        ];
        assert!(
            server
                .map(of_image)
                .iter()
                .all(|error| blame(error) == Blame::Circumstances)
        );
        assert_eq!(blame(&of_image(Fault::Status { status: 404 })), Blame::Template);
        let lost = EngineError::LeaseLost {
            host: "lab1".into(),
            what: "k8s-1".to_owned(),
        };
        assert_eq!(Outcome::of(&lost), Outcome::Lost);
    }
}

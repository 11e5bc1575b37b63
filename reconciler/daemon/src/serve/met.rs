//! What an engine met, as the problem that is answered, and as an operation writes it down.

use crate::failure::Failure;
use labyard_api::problem::Problem;
use labyard_reconciler::EngineError;

/// The status of an error, its type for programs, and its title.
fn said(error: &EngineError) -> (u16, &'static str, &'static str) {
    match error.root() {
        EngineError::UnknownHost { .. } => (404, "no-host", "The host is not there"),
        EngineError::NotFound { .. } => (404, "no-object", "The object is not there"),
        EngineError::Attribute { .. } | EngineError::Image { .. } => {
            (422, "invalid", "The request has values that cannot be")
        }
        EngineError::Host { source, .. } if source.is_transient() => {
            (503, "host-unreachable", "The host cannot be used now")
        }
        EngineError::HostUnreadable { .. } | EngineError::HostSilent { .. } | EngineError::Unknown { .. } => {
            (503, "host-unreachable", "The host cannot be used now")
        }
        EngineError::AlreadyExists { .. } => (409, "exists", "There is one of that name already"),
        EngineError::BeingBuilt { .. } => (409, "being-built", "Another builds it at this moment"),
        EngineError::TakenOver { .. } => (409, "taken-over", "The object is another's by now"),
        EngineError::NotOurs { .. } => (409, "not-ours", "The object is not labyard's"),
        EngineError::Protected { .. } => (409, "protected", "The object is protected"),
        EngineError::InUse { .. } => (409, "in-use", "The object is in use"),
        EngineError::Full { .. } | EngineError::NoHost { .. } => (409, "no-room", "No host has room"),
        _ => (409, "not-done", "It was not done"),
    }
}

/// An error as it is answered.
pub(crate) fn problem(error: &EngineError) -> Failure {
    let (status, kind, title) = said(error);
    let mut problem = Problem::new(status, kind, title).detail(in_full(error));
    problem.engine = serde_json::to_value(error).ok();
    problem.retryable = status == 503 || kind == "being-built";
    problem.into()
}

/// An error with where it came and how a console ended.
pub(crate) fn in_full(error: &EngineError) -> String {
    let mut text = error.root().to_string();
    if let Some(standing) = error.standing() {
        text += &format!(" (at {standing})");
    }
    if let Some(console) = error.console() {
        text += &format!("\n\nThe end of its console:\n{console}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_by_its_kind_and_goes_with_the_answer_as_engines_write_it() {
        let error = EngineError::Staged {
            standing: "stage ready, attempt 1".into(),
            source: Box::new(EngineError::NotReady {
                host: "lab1".into(),
                what: "labyard_vm \"web\"".into(),
                why: "no address".into(),
                console: "Kernel panic".into(),
            }),
        };
        let failure = problem(&error);
        let detail = failure.0.detail.unwrap();
        assert!(detail.contains("at stage ready") && detail.ends_with("Kernel panic"));
        let told: EngineError = serde_json::from_value(failure.0.engine.unwrap()).unwrap();
        assert_eq!(told.console(), Some("Kernel panic"));
        let silent = problem(&EngineError::HostUnreadable {
            host: "lab1".into(),
            message: "no answer".into(),
        });
        assert_eq!((silent.0.status, silent.0.retryable), (503, true));
    }
}

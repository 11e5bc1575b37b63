use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::mark::{Mark, Stage};
use labyard_schema::text::Secret;
use labyard_schema::vm;
use serde::de::DeserializeOwned;

use super::*;
use crate::desired::DesiredMachine;
use crate::error::{EngineError, HookTrouble};

fn there_and_back<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

fn with_secrets() -> DesiredMachine {
    let config = vm::Vm {
        name: "web".into(),
        cpus: 2,
        memory_mib: 256,
        power: "running".into(),
        guest: Some(vm::Guest {
            admin_password_wo: Some(Secret::new("hunter2")),
            admin_password_wo_version: Some(1),
            domain_join: Some(vm::DomainJoin {
                domain: "lab.test".into(),
                username: "join".into(),
                password_wo: Some(Secret::new("swordfish")),
                password_wo_version: Some(1),
                ou: None,
            }),
            ..vm::Guest::default()
        }),
        cloud_init: Some(vm::CloudInit {
            user_data_wo: Some(Secret::new("#cloud-config: sesame")),
            user_data_wo_version: Some(3),
            ..vm::CloudInit::default()
        }),
        ..vm::Vm::default()
    };
    DesiredMachine::from_config(
        &"default".into(),
        &config,
        &Default::default(),
        &Default::default(),
    )
    .unwrap()
}

#[test]
fn secrets_arrive_where_the_guest_is_told_them_and_are_shown_nowhere_on_the_way() {
    let desired = with_secrets();
    let told = there_and_back(&desired);
    let guest = told.seed.as_ref().unwrap().guest.as_ref().unwrap();
    assert_eq!(guest.admin.password, Some(Secret::new("hunter2")));
    assert_eq!(guest.domain_join.as_ref().unwrap().password.reveal(), "swordfish");
    assert_eq!(
        told.seed.as_ref().unwrap().user_data.as_deref(),
        Some("#cloud-config: sesame")
    );
    for secret in ["hunter2", "swordfish", "sesame"] {
        assert!(!format!("{told:?}").contains(secret));
        assert!(!told.wishes.to_json().to_string().contains(secret));
    }
}

#[test]
fn what_a_caller_tells_apart_in_an_error_it_still_does_after_the_way() {
    let host = || "lab1".into();
    let what = || "labyard_vm \"web\"".to_owned();
    let taken = EngineError::Staged {
        standing: "stage ready, attempt 1".into(),
        source: Box::new(EngineError::NotReady {
            host: host(),
            what: what(),
            why: "no address".into(),
            console: "Kernel panic".into(),
        }),
    };
    let told = there_and_back(&taken);
    assert_eq!(
        (told.standing(), told.console()),
        (Some("stage ready, attempt 1"), Some("Kernel panic"))
    );
    let busy = EngineError::Host {
        host: host(),
        what: what(),
        source: DriverError::Busy {
            doing: "starting".into(),
            message: "a backup".into(),
        },
    };
    assert!(there_and_back(&busy).driver().unwrap().is_transient());
    let deadline = EngineError::Deadline {
        host: host(),
        what: what(),
        limit: "10s".into(),
        stage: Stage::Ready,
    };
    let held = EngineError::Hook {
        host: host(),
        what: what(),
        hook: "before:define".into(),
        trouble: HookTrouble::Held {
            reason: "approval".into(),
            waited: Duration::from_secs(3),
        },
    };
    for error in [deadline, held, busy] {
        assert_eq!(there_and_back(&error).to_string(), error.to_string());
    }
}

#[test]
fn the_cause_of_a_failed_source_and_the_mark_of_another_builder_arrive() {
    let source = DriverError::Source {
        what: "image x".into(),
        cause: "the connection broke off".into(),
    };
    let cause = std::error::Error::source(&there_and_back(&source)).map(ToString::to_string);
    assert_eq!(cause.as_deref(), Some("the connection broke off"));
    let text = r#"{"version": 1, "namespace": "default", "kind": "machine", "name": "web", "token": "t",
                   "origin": "t", "ownership": "confirmed", "stage": "finished"}"#;
    let mark = Box::new(Mark::parse(text).unwrap());
    let taken = DriverError::TakenOver {
        what: "web".into(),
        mark: mark.clone(),
    };
    assert!(matches!(there_and_back(&taken), DriverError::TakenOver { mark: told, .. } if told == mark));
}

#[test]
fn an_images_error_keeps_its_words_and_whether_to_try_again() {
    for (fault, transient) in [
        (Fault::Status { status: 404 }, false),
        (Fault::Status { status: 503 }, true),
    ] {
        let error = EngineError::Image {
            attribute: "disks[\"root\"].image".into(),
            source: fault.of("https://x.example/i"),
        };
        let told = there_and_back(&error);
        assert_eq!(told.to_string(), error.to_string());
        assert_eq!(told.attribute(), Some("disks[\"root\"].image"));
        assert!(
            matches!(told, EngineError::Image { source, .. } if source.fault.is_transient() == transient)
        );
    }
}

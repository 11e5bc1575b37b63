//! Real Terraform interrupted or killed in the middle of a create.

use std::process::Child;
use std::time::Duration;

use serde_json::json;

use crate::support::terraform::{MADE, Terraform};
use crate::support::{eventually, is_alive, signal};

/// A create that is under way.
struct Creating {
    terraform: Terraform,
    command: Child,
    provider: u32,
}

impl Creating {
    fn begin(fault: &str) -> Self {
        let terraform = Terraform::with_thing("name = \"a\"\nsize = 3");
        let (mark, log) = (terraform.path("mark"), terraform.path("log"));
        let env = [
            ("FAULTY", fault),
            ("FAULTY_MARK", mark.as_str()),
            ("FAULTY_LOG", log.as_str()),
        ];
        let command = terraform.start(&["apply", "-auto-approve", "-no-color"], &env);
        let mut provider = None;
        eventually("the create is under way", Duration::from_secs(30), || {
            provider = terraform.read("mark").and_then(|id| id.parse().ok());
            provider.is_some()
        });
        Self {
            terraform,
            command,
            provider: provider.expect("the provider's process"),
        }
    }

    fn group(&self) -> String {
        format!("-{}", self.command.id())
    }

    fn ends(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("Terraform ended", Duration::from_secs(20), || {
            status = self.command.try_wait().expect("its status");
            status.is_some()
        });
        let provider = self.provider;
        eventually("the provider ended", Duration::from_secs(5), || {
            !is_alive(provider)
        });
        status.and_then(|status| status.code())
    }

    /// What the provider noted, but for its configuration.
    fn log(&self) -> Vec<String> {
        let log = self.terraform.read("log").unwrap_or_default();
        log.lines()
            .filter(|line| !line.starts_with("configured"))
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Creating {
    fn drop(&mut self) {
        let _ = self.command.kill();
        let _ = self.command.wait();
    }
}

#[test]
fn ctrl_c_cancels_a_create_and_what_it_saved_is_kept_as_tainted() {
    let mut creating = Creating::begin("apply_slow");
    signal("-INT", &creating.group());
    assert_eq!(creating.ends(), Some(1), "{}", creating.terraform.output());
    let text = creating.terraform.output();
    assert!(
        text.contains("Error: Cancelled") && text.contains("The thing is half made."),
        "{text}"
    );
    let instance = creating.terraform.instance().expect("the half made object");
    assert!(instance.tainted);
    assert_eq!(instance.attributes["id"], json!("id-1"));
    assert_eq!(instance.private, MADE);
    // The plan's provider ended before; the apply's was stopped, then told goodbye.
    let log = creating.log();
    assert_eq!(
        log[log.len() - 3..],
        ["stopped", "cancelled", "shut down"],
        "{log:?}"
    );
}

#[test]
fn a_provider_that_is_killed_ends_the_run_with_an_error() {
    let mut creating = Creating::begin("apply_slow");
    signal("-KILL", &creating.provider.to_string());
    assert_eq!(creating.ends(), Some(1));
    let text = creating.terraform.output();
    // Terraform sees that its connection is gone or that its process is, whichever comes first, and words them differently.
    let said = ["Error: Plugin did not respond", "Error: Request cancelled"];
    assert!(said.iter().any(|said| text.contains(said)), "{text}");
}

#[test]
fn when_terraform_is_killed_the_provider_cancels_and_ends_without_confirming() {
    let mut creating = Creating::begin("apply_slow");
    signal("-KILL", &creating.command.id().to_string());
    creating.ends();
    let log = creating.log();
    assert_eq!(log[log.len() - 2..], ["stopped", "cancelled"], "{log:?}");
}

#[test]
fn a_create_that_stops_without_a_word_is_told_for_it_and_kept_as_tainted() {
    let mut creating = Creating::begin("apply_stops_silently");
    signal("-INT", &creating.group());
    assert_eq!(creating.ends(), Some(1));
    let text = creating.terraform.output();
    assert!(
        text.contains("Error: Interrupted") && !text.contains("broke a rule"),
        "{text}"
    );
    let instance = creating.terraform.instance().expect("the half made object");
    assert!(
        instance.tainted && instance.attributes["id"].is_null(),
        "{instance:?}"
    );
}

#[test]
fn after_a_second_ctrl_c_the_provider_ends_though_its_operation_does_not() {
    let mut creating = Creating::begin("apply_stubborn");
    signal("-INT", &creating.group());
    eventually("the provider was stopped", Duration::from_secs(5), || {
        creating.log().contains(&"stopped".to_owned())
    });
    signal("-INT", &creating.group());
    assert_eq!(creating.ends(), Some(1));
    let log = creating.log();
    let stopped = log.iter().position(|line| line == "stopped");
    let last_words = log.iter().rposition(|line| line == "shut down");
    assert!(
        stopped < last_words,
        "a goodbye after a stop can be told from one without: {log:?}"
    );
}

#[test]
fn when_terraform_is_killed_a_provider_that_hangs_ends_all_the_same() {
    let mut creating = Creating::begin("apply_stubborn");
    signal("-KILL", &creating.command.id().to_string());
    let provider = creating.provider;
    eventually("the provider ended", Duration::from_secs(14), || {
        !is_alive(provider)
    });
    creating.ends();
}

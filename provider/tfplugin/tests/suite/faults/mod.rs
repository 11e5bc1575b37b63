//! Each rule of Terraform's, broken on purpose: what the user reads and what stays in the state, with our own
//! checks on, and where they are what makes the difference, with them off.

mod apply;
mod delete;
mod import;
mod other;
mod plan;
mod read;

use serde_json::{Value, json};

use crate::support::terraform::{Outcome, Terraform};

/// Every attribute that a person can set.
const FULL: &str = r#"
    name      = "a"
    size      = 3
    tags      = ["x"]
    hosts     = []
    secret_wo = "hunter2"
    disks     = { root = { size_gib = 10 } }
"#;

/// What must be set.
const MINIMAL: &str = r#"name = "a""#;

/// What a run of Terraform finds when it begins.
#[derive(Clone, Copy)]
enum Given {
    Nothing,
    /// The object of [`FULL`], but with size 1.
    Thing,
}

/// What is in the state afterwards.
#[derive(Clone, Copy, Debug)]
enum After {
    Nothing,
    Sound { size: Option<i64> },
    Tainted { size: Option<i64> },
}

/// One fault under one command.
struct Case {
    fault: &'static str,
    config: &'static str,
    given: Given,
    command: &'static [&'static str],
}

impl Case {
    fn create(fault: &'static str) -> Self {
        Self {
            fault,
            config: FULL,
            given: Given::Nothing,
            command: APPLY,
        }
    }

    fn update(fault: &'static str) -> Self {
        Self {
            given: Given::Thing,
            ..Self::create(fault)
        }
    }

    fn destroy(fault: &'static str) -> Self {
        Self {
            command: &["apply", "-destroy", "-auto-approve", "-no-color"],
            ..Self::update(fault)
        }
    }

    fn import(fault: &'static str) -> Self {
        Self {
            config: MINIMAL,
            command: &["import", "-no-color", "faulty_thing.a", "id-7"],
            ..Self::create(fault)
        }
    }

    fn config(self, config: &'static str) -> Self {
        Self { config, ..self }
    }

    /// With our own checks.
    fn ours(&self) -> Seen {
        self.run("on")
    }

    /// As Terraform alone takes it.
    fn cores(&self) -> Seen {
        self.run("off")
    }

    fn run(&self, self_check: &str) -> Seen {
        let terraform = Terraform::with_thing(self.config);
        if let Given::Thing = self.given {
            terraform.given(2, &thing());
        }
        let outcome = terraform.run(
            self.command,
            &[("FAULTY", self.fault), ("FAULTY_SELF_CHECK", self_check)],
        );
        Seen { terraform, outcome }
    }
}

const APPLY: &[&str] = &["apply", "-auto-approve", "-no-color"];

/// The stored attributes of [`Given::Thing`].
fn thing() -> Value {
    json!({
        "name": "a", "size": 1, "mode": "auto", "zone": null, "secret_wo": null, "tags": ["x"], "hosts": [],
        "disks": { "root": { "size_gib": 10, "bus": "virtio" } }, "id": "id-1",
    })
}

/// What came of a case.
struct Seen {
    terraform: Terraform,
    outcome: Outcome,
}

impl Seen {
    /// The command failed and the user reads each of these.
    fn fails(self, texts: &[&str]) -> Self {
        assert_eq!(self.outcome.code, 1, "{}", self.outcome.text);
        self.says(texts)
    }

    fn succeeds(self) -> Self {
        assert_eq!(self.outcome.code, 0, "{}", self.outcome.text);
        self
    }

    fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                self.outcome.text.contains(text),
                "not said: {text}\n\n{}",
                self.outcome.text
            );
        }
        self
    }

    /// The state holds this.
    fn leaves(self, after: After) -> Self {
        let found = self.terraform.instance();
        let (tainted, size) = match after {
            After::Nothing => {
                assert_eq!(found, None, "{}", self.outcome.text);
                return self;
            }
            After::Sound { size } => (false, size),
            After::Tainted { size } => (true, size),
        };
        let found = found.unwrap_or_else(|| panic!("nothing in the state\n\n{}", self.outcome.text));
        assert_eq!(found.tainted, tainted, "{found:?}\n\n{}", self.outcome.text);
        assert_eq!(
            found.attributes["size"],
            json!(size),
            "{found:?}\n\n{}",
            self.outcome.text
        );
        assert_eq!(
            found.attributes["secret_wo"],
            Value::Null,
            "the secret is in the state"
        );
        self
    }

    fn keeps_private(self, private: &str) -> Self {
        let found = self.terraform.instance().expect("an object in the state");
        assert_eq!(found.private, private);
        self
    }
}

//! The operator's hooks: when they can be called, and how one is configured.

use crate::attribute::attributes;
use crate::check;
use crate::problem::{At, Problem};
use crate::text::{Secret, Span};

/// The stages of a machine that is made, in their order; each has a `before:` and an `after:`.
pub const PROVISION: &[&str] = &[
    "record",
    "addresses",
    "image",
    "disks",
    "seed",
    "define",
    "start",
    "ready",
    "finished",
];
/// The choice of a host for a machine that names none, before anything of it stands.
pub const PLACEMENT: &str = "placement";
/// The stages of a machine on its way out, in their order. The last takes the record away, so that nothing after it
/// could be made sure of: it has a `before:` only.
pub const RETIREMENT: &[&str] = &[
    "drain",
    "stop",
    "retire",
    "remove_disks",
    "release_addresses",
    "undefine",
];
/// What becomes of a stage whose hook could not be had.
pub const ON_ERROR: &[&str] = &["fail", "continue"];

attributes! {
    /// A hook: a URL or a command that is asked before or after a stage.
    pub struct Hook {
        /// URL that the request goes to by POST, `https://…` or `http://…`. Redirects are not followed. Exactly one of `url` and `command`.
        url: Option<String> = optional().check(check::hook_url);
        /// Program and its arguments, run where Terraform runs, without a shell; the request comes on its standard input.
        command: Option<Vec<String>> = optional();
        /// How long one answer may take; otherwise 30s.
        timeout: Option<Span> = optional().check(check::duration);
        /// What a hook means that cannot be had or answers nonsense: `fail` fails the stage, `continue` goes on with a warning; otherwise `fail`. A hook that denies always fails the stage.
        on_error: Option<String> = optional().choice(ON_ERROR);
        /// How often it is asked again after a network error or an answer of 429 or 5xx (of a command: exit status 75); otherwise 3.
        retries: Option<u64> = optional().range(0, 100);
        /// Key that requests to `url` are signed with. Where it must not pass through Terraform, use `secret_file`.
        secret: Option<Secret> = optional().sensitive();
        /// File, where Terraform runs, whose first line is that key.
        secret_file: Option<String> = optional();
        /// Whether a change of a machine that stands calls it too; otherwise only its creation does. Stages of a removal are not concerned.
        on_update: Option<bool> = optional();
    }
}

/// Whether a hook can be called then: `before:define`.
///
/// # Errors
/// A text with all that there are.
pub fn moment(text: &str) -> Result<(), String> {
    let (when, stage) = text.split_once(':').unwrap_or_default();
    let known = stage == PLACEMENT || PROVISION.contains(&stage) || RETIREMENT.contains(&stage);
    let last = RETIREMENT.last() == Some(&stage);
    match when {
        "before" if known => Ok(()),
        "after" if known && !last => Ok(()),
        "after" if last => Err(format!(
            "{text:?} cannot be a hook: with that stage the machine's record goes, and nobody could tell afterwards \
             whether the hook was called. Use \"before:{stage}\"."
        )),
        _ => Err(format!(
            "{text:?} is no moment of a machine: write before: or after: and a stage, {PLACEMENT} (of one that names no \
             host), of its making ({}) or of its removal ({}).",
            PROVISION.join(", "),
            RETIREMENT.join(", ")
        )),
    }
}

impl Hook {
    /// Rules between attributes; `key` is the moment.
    pub fn problems(&self, key: &str) -> Vec<Problem> {
        let at = || vec![At::Attribute("hooks"), At::Key(key.to_owned())];
        let mut problems = Vec::new();
        if let Err(detail) = moment(key) {
            problems.push(Problem::new(at(), "Unknown hook", detail));
        }
        let mut bad = |inner: &'static str, summary: &'static str, detail: &str| {
            let mut at = at();
            if !inner.is_empty() {
                at.push(At::Attribute(inner));
            }
            problems.push(Problem::new(at, summary, format!("Hook {key:?} {detail}")));
        };
        match (&self.url, &self.command) {
            (Some(_), None) => {}
            (None, Some(command)) if command.first().is_some_and(|program| !program.is_empty()) => {}
            (None, Some(_)) => bad(
                "command",
                "Empty command",
                "has an empty command: write the program and its arguments, [\"/usr/local/bin/hook\", \"…\"].",
            ),
            (None, None) => bad(
                "",
                "Hook without target",
                "needs one of url = \"https://…\" and command = [\"/path/of/program\", \"…\"].",
            ),
            (Some(_), Some(_)) => bad("", "Hook of two kinds", "has url and command: keep one."),
        }
        if self.secret.is_some() && self.secret_file.is_some() {
            bad("", "Two keys", "has secret and secret_file: keep one.");
        }
        if self.command.is_some() && (self.secret.is_some() || self.secret_file.is_some()) {
            let detail = "runs a command, whose request nobody else sees: a key to sign it is for url only.";
            bad("", "Key of no use", detail);
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> Hook {
        Hook {
            url: Some("https://ipam.example/hook".into()),
            ..Hook::default()
        }
    }

    fn told(key: &str, hook: &Hook) -> String {
        let told: Vec<_> = hook.problems(key).iter().map(ToString::to_string).collect();
        told.join("\n")
    }

    #[test]
    fn every_stage_has_a_before_and_all_but_the_last_an_after() {
        for stage in PROVISION.iter().chain(RETIREMENT).chain([&PLACEMENT]) {
            assert_eq!(moment(&format!("before:{stage}")), Ok(()), "{stage}");
            assert_eq!(
                moment(&format!("after:{stage}")).is_ok(),
                *stage != "undefine",
                "{stage}"
            );
        }
    }

    #[test]
    fn an_unknown_stage_is_refused_with_all_that_there_are() {
        for bad in ["before:lunch", "define", "", "during:define", "before:"] {
            let told = told(bad, &url());
            assert!(
                told.contains("addresses, image") && told.contains("remove_disks"),
                "{told}"
            );
        }
    }

    #[test]
    fn a_hook_has_exactly_one_of_url_and_command_and_at_most_one_key() {
        assert_eq!(told("before:define", &url()), "");
        let command = |words: &[&str]| Hook {
            command: Some(words.iter().map(|w| (*w).to_owned()).collect()),
            ..Hook::default()
        };
        assert_eq!(told("before:define", &command(&["/bin/true"])), "");
        assert!(told("before:define", &command(&[])).contains("empty command"));
        assert!(told("before:define", &Hook::default()).contains("needs one of"));
        let both = Hook {
            url: url().url,
            ..command(&["x"])
        };
        assert!(told("before:define", &both).contains("keep one"));
        let keys = Hook {
            secret: Some(Secret::new("k")),
            secret_file: Some("/k".into()),
            ..url()
        };
        assert!(told("before:define", &keys).contains("secret and secret_file"));
        let useless = Hook {
            secret_file: Some("/k".into()),
            ..command(&["x"])
        };
        assert!(told("before:define", &useless).contains("for url only"));
    }
}

//! A mark in the notes of a machine or a switch. What else stands there is the user's and stays; the mark is one line of
//! JSON below a line that says to people what it is.
//!
//! ```
//! # use labyard_driver::ids::Token;
//! # use labyard_driver::mark::{Kind, Mark};
//! use labyard_driver_hyperv::notes::{self, Notes};
//!
//! let mark = Mark::building(Kind::Machine, "default".into(), "web-01".into(), Token("77".into()));
//! let text = notes::write("The build server.\nAsk Ana.", &mark);
//! assert!(text.starts_with("The build server.\nAsk Ana.\n"));
//! let Notes { own, mark: found } = notes::read(&text);
//! assert_eq!(own, "The build server.\nAsk Ana.");
//! assert_eq!(found.ours(), Some(&mark));
//! ```

use labyard_driver::mark::{Kind, Mark};
use labyard_driver::observed::MarkState;

/// How the line of the mark begins.
const PREFIX: &str = "labyard-mark:";
/// How the line above it begins.
const WORDS: &str = "Managed by labyard";

/// Notes, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Notes {
    /// What is not labyard's, as it stands there.
    pub own: String,
    /// The mark.
    pub mark: MarkState,
}

/// Takes notes apart. More than one mark is none that can be read: somebody has copied a line.
pub fn read(text: &str) -> Notes {
    let mut own: Vec<&str> = Vec::new();
    let mut marks = Vec::new();
    for line in text.lines() {
        let line = line.trim_end_matches('\r');
        match line.trim_start().strip_prefix(PREFIX) {
            Some(mark) => {
                marks.push(mark.trim_end());
                if own.last().is_some_and(|above| above.starts_with(WORDS)) {
                    own.pop();
                }
            }
            None => own.push(line),
        }
    }
    let mark = match marks[..] {
        [] => MarkState::None,
        [one] => match Mark::parse(one) {
            Ok(mark) => MarkState::Ours(Box::new(mark)),
            Err(error) => MarkState::Unreadable(error.to_string()),
        },
        _ => MarkState::Unreadable(format!(
            "the notes have {} lines that begin with {PREFIX}",
            marks.len()
        )),
    };
    Notes {
        own: own.join("\n"),
        mark,
    }
}

/// Notes with this mark.
pub fn write(own: &str, mark: &Mark) -> String {
    let kind = match mark.kind {
        Kind::Machine => "machine",
        Kind::Network => "network",
    };
    let about = format!(
        "{WORDS}: {kind} {} of namespace {}. The next line is how it is known; leave it as it is.",
        mark.name, mark.namespace
    );
    let line = format!("{PREFIX}{}", storable(&mark.to_text()));
    match own {
        "" => format!("{about}\n{line}"),
        own => format!("{own}\n{about}\n{line}"),
    }
}

/// JSON that XML 1.0 can carry: the two characters that it forbids and JSON does not escape stand only inside strings.
fn storable(json: &str) -> String {
    json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

#[cfg(test)]
mod tests {
    use super::*;
    use labyard_driver::ids::Token;
    use proptest::prelude::*;

    fn mark(wishes: &str) -> Mark {
        Mark {
            wishes: serde_json::json!({ "labels": { "x": wishes } }),
            ..Mark::building(
                Kind::Machine,
                "default".into(),
                "web-01".into(),
                Token("77".into()),
            )
        }
    }

    #[test]
    fn notes_without_a_mark_are_the_users() {
        let notes = read("a\r\nb\n\nc");
        assert_eq!(notes.own, "a\nb\n\nc");
        assert_eq!(notes.mark, MarkState::None);
        assert_eq!(read("").mark, MarkState::None);
    }

    #[test]
    fn a_mark_is_replaced_and_not_added_to() {
        let first = write("mine", &mark("1"));
        let second = write(&read(&first).own, &mark("2"));
        assert_eq!(read(&second).mark.ours(), Some(&mark("2")));
        assert_eq!(read(&second).own, "mine");
    }

    #[test]
    fn what_the_user_writes_around_it_stays() {
        let text = format!("above\n{}\nbelow", write("", &mark("1")));
        let notes = read(&text);
        assert_eq!(notes.own, "above\nbelow");
        assert_eq!(notes.mark.ours(), Some(&mark("1")));
    }

    #[test]
    fn two_marks_are_none_that_can_be_read() {
        let text = format!("{}\n{}", write("", &mark("1")), write("", &mark("2")));
        assert!(matches!(read(&text).mark, MarkState::Unreadable(why) if why.contains('2')));
    }

    #[test]
    fn a_damaged_mark_is_not_foreign() {
        let text = write("", &mark("1")).replace("\"namespace\"", "\"nam\"");
        assert!(matches!(read(&text).mark, MarkState::Unreadable(_)));
    }

    proptest! {
        #[test]
        fn whatever_is_in_it_comes_back(wishes in any::<String>(), own in "[^\r\n]{0,40}(\n[^\r\n]{1,40}){0,3}") {
            prop_assume!(!own.lines().any(|line| line.trim_start().starts_with(PREFIX)));
            prop_assume!(!own.lines().last().unwrap_or("").starts_with(WORDS));
            let written = write(&own, &mark(&wishes));
            let forbidden = |text: &str| text.contains(['\u{fffe}', '\u{ffff}']);
            let new = forbidden(&written) && !forbidden(&own);
            prop_assert!(!new, "the mark has a character that XML forbids");
            let notes = read(&written);
            prop_assert_eq!(notes.mark.ours(), Some(&mark(&wishes)));
            prop_assert_eq!(notes.own, own);
        }
    }
}

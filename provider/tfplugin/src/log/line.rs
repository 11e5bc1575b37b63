//! One log line. The parent is strict about it: the `@` keys must be strings (anything else panics it), and a
//! line over 64 KiB is cut in the middle and no longer read as one.

use std::time::SystemTime;

use serde_json::{Map, Value};
use tracing::Level;

use super::timestamp::rfc3339_micros;

const MAX_LINE: usize = 60 * 1024;
const MAX_MESSAGE: usize = 16 * 1024;

/// What a line says.
pub(super) struct Line<'a> {
    pub(super) level: Level,
    pub(super) module: &'a str,
    pub(super) target: &'a str,
    pub(super) message: String,
    pub(super) fields: Map<String, Value>,
}

impl Line<'_> {
    /// The line, without its end.
    pub(super) fn to_json(&self, now: SystemTime) -> String {
        let whole = self.render(now, &self.message, &self.fields);
        if whole.len() <= MAX_LINE {
            return whole;
        }
        let note = Map::from_iter([("truncated".to_owned(), Value::Bool(true))]);
        self.render(now, cut(&self.message, MAX_MESSAGE), &note)
    }

    fn render(&self, now: SystemTime, message: &str, fields: &Map<String, Value>) -> String {
        let mut line = Map::new();
        for (key, value) in fields {
            line.insert(key.trim_start_matches('@').to_owned(), value.clone());
        }
        line.insert("target".to_owned(), Value::from(self.target));
        line.insert("@level".to_owned(), Value::from(level_name(self.level)));
        line.insert("@message".to_owned(), Value::from(message));
        line.insert("@module".to_owned(), Value::from(self.module));
        line.insert("@timestamp".to_owned(), Value::from(rfc3339_micros(now)));
        Value::Object(line).to_string()
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn cut(text: &str, at_most: usize) -> &str {
    let mut end = text.len().min(at_most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str, fields: &[(&str, Value)]) -> Value {
        let line = Line {
            level: Level::WARN,
            module: "lab",
            target: "lab::vm",
            message: message.to_owned(),
            fields: fields.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
        };
        let text = line.to_json(SystemTime::UNIX_EPOCH);
        assert!(text.len() < 64 * 1024, "{} bytes", text.len());
        assert!(!text.contains('\n'));
        serde_json::from_str(&text).expect("JSON")
    }

    #[test]
    fn the_keys_of_hclog_are_strings() {
        let line = line("hello", &[("n", Value::from(3))]);
        assert_eq!(line["@level"], "warn");
        assert_eq!(line["@message"], "hello");
        assert_eq!(line["@module"], "lab");
        assert_eq!(line["@timestamp"], "1970-01-01T00:00:00.000000Z");
        assert_eq!(line["n"], 3);
    }

    #[test]
    fn a_field_cannot_pass_for_one_of_hclogs_own() {
        let line = line("hello", &[("@level", Value::from(3))]);
        assert_eq!(line["@level"], "warn");
    }

    #[test]
    fn a_message_with_line_ends_stays_one_line() {
        assert_eq!(line("a\nb", &[])["@message"], "a\nb");
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_says_so() {
        let line = line(
            &"ä\u{1}".repeat(60_000),
            &[("big", Value::from("x".repeat(100_000)))],
        );
        assert_eq!(line["truncated"], true);
        assert!(line.get("big").is_none());
    }
}

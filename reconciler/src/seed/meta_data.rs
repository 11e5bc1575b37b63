//! meta-data: who this instance is. cloud-init does the work of a first boot once for each instance id.

use serde_json::{Map, Value};

use crate::image::Sha256Digest;

/// An instance id that stays the same as long as the machine does and its seed has the same revision, and
/// changes where cloud-init shall do the work of a first boot again.
///
/// It is derived from the machine's identity, which cannot be read back from it, and never from the seed's
/// content: every process of a guest can read the id, and a digest would let it test guesses at secrets.
pub fn instance_id(identity: &str, seed_revision: u64) -> String {
    let digest = Sha256Digest::of(format!("labyard instance {identity}").as_bytes()).to_string();
    format!("labyard-{}-{seed_revision}", &digest[..20])
}

/// Why `meta_data` as written cannot be completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "meta_data must be a JSON object, or YAML whose keys stand at the begin of a line; it begins with {0:?}"
)]
pub struct MetaDataError(String);

/// Stands between what was written and what was added, so that the first can be had back to the letter.
const ADDED: &str = "# Added by labyard:\n";

/// The file's text: what was written, then what NoCloud needs and was not written.
pub(super) fn complete(
    written: Option<&str>,
    id: &str,
    hostname: &str,
    keys: &[String],
) -> Result<String, MetaDataError> {
    let mut needed = vec![
        ("instance-id", Value::from(id)),
        ("local-hostname", Value::from(hostname)),
    ];
    if !keys.is_empty() {
        needed.push(("public-keys", Value::from(keys.to_vec())));
    }
    match written {
        None => Ok(format!("{ADDED}{}", lines(&needed))),
        Some(json) if json.trim_start().starts_with('{') => complete_json(json, &needed),
        Some(yaml) => complete_yaml(yaml, &needed),
    }
}

/// Undoes [`complete`], except where it was JSON.
pub(super) fn as_written(text: String) -> Option<String> {
    if text.starts_with(ADDED) {
        return None;
    }
    // The line break before it was added too.
    match text
        .rsplit_once(ADDED)
        .and_then(|(written, _)| written.strip_suffix('\n'))
    {
        Some(written) => Some(written.to_owned()),
        None => Some(text),
    }
}

fn complete_json(written: &str, needed: &[(&str, Value)]) -> Result<String, MetaDataError> {
    let mut object: Map<String, Value> = serde_json::from_str(written).map_err(|_| refuse(written))?;
    if needed.iter().all(|(key, _)| object.contains_key(*key)) {
        return Ok(written.to_owned());
    }
    for (key, value) in needed {
        object.entry(*key).or_insert_with(|| value.clone());
    }
    Ok(format!("{}\n", Value::Object(object)))
}

fn complete_yaml(written: &str, needed: &[(&str, Value)]) -> Result<String, MetaDataError> {
    let mut content = written.lines().skip_while(|line| is_preamble(line)).peekable();
    let appendable = content.peek().is_none_or(|first| key_of(first).is_some());
    // Behind the end of a document another one would begin.
    if !appendable || content.any(|line| matches!(line.trim_end(), "..." | "---")) {
        return Err(refuse(written.trim_start()));
    }
    let has = |wanted: &str| written.lines().any(|line| key_of(line) == Some(wanted));
    let missing: Vec<_> = needed.iter().filter(|(key, _)| !has(key)).cloned().collect();
    match missing.is_empty() {
        true => Ok(written.to_owned()),
        false => Ok(format!("{written}\n{ADDED}{}", lines(&missing))),
    }
}

/// A JSON value is a YAML value.
fn lines(entries: &[(&str, Value)]) -> String {
    entries
        .iter()
        .map(|(key, value)| format!("{key}: {value}\n"))
        .collect()
}

fn is_preamble(line: &str) -> bool {
    line.trim().is_empty() || line.trim_start().starts_with('#') || line.trim_end() == "---"
}

/// The key of a line of YAML's outermost mapping.
fn key_of(line: &str) -> Option<&str> {
    let (key, value) = line.split_once(':')?;
    let value_is_apart = value.is_empty() || value.starts_with([' ', '\t']);
    let at_the_begin = !key.starts_with([' ', '\t', '-', '[', '#']);
    (at_the_begin && value_is_apart).then(|| key.trim_end().trim_matches(['"', '\'']))
}

fn refuse(written: &str) -> MetaDataError {
    MetaDataError(written.chars().take(20).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "# Added by labyard:\ninstance-id: \"i-3\"\nlocal-hostname: \"web-01\"\n";
    const HOST: &str = "# Added by labyard:\nlocal-hostname: \"web-01\"\n";

    fn completed(written: &str) -> Result<String, MetaDataError> {
        complete(Some(written), "i-3", "web-01", &[])
    }

    #[test]
    fn the_instance_id_is_stable_and_follows_identity_and_revision() {
        let id = instance_id("token", 3);
        assert_eq!(id, instance_id("token", 3));
        assert_ne!(id, instance_id("token", 4));
        assert_ne!(id, instance_id("other", 3));
        assert!(!id.contains("token") && id.ends_with("-3"));
    }

    #[test]
    fn what_was_written_is_completed_never_overruled_and_had_back_to_the_letter() {
        let cases = [
            ("", BOTH),
            ("# nothing\n", BOTH),
            ("---\n# mine\nregion: eu\n", BOTH),
            ("a: 1", BOTH),
            ("a:\n  instance-id: inner\n", BOTH),
            ("'instance-id': i-1\n", HOST),
            ("text: |\n  # Added by hand\n  x\ninstance-id : i-1", HOST),
        ];
        for (written, added) in cases {
            let text = completed(written).unwrap();
            assert_eq!(text, format!("{written}\n{added}"));
            assert_eq!(as_written(text).as_deref(), Some(written));
        }
    }

    #[test]
    fn what_lacks_nothing_stays_as_it_is() {
        for written in [
            "instance-id: a\nlocal-hostname: b\n",
            r#"{ "instance-id":"a","local-hostname":"b" }"#,
        ] {
            assert_eq!(completed(written).unwrap(), written);
            assert_eq!(as_written(written.to_owned()).as_deref(), Some(written));
        }
    }

    #[test]
    fn where_nothing_was_written_nothing_is_had_back() {
        let text = complete(None, "i-3", "web-01", &[]).unwrap();
        assert_eq!(text, BOTH);
        assert_eq!(as_written(text), None);
    }

    #[test]
    fn json_is_completed_inside() {
        let json: Value =
            serde_json::from_str(&completed(r#"{"local-hostname":"db","a":1}"#).unwrap()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"instance-id": "i-3", "local-hostname": "db", "a": 1})
        );
    }

    #[test]
    fn a_form_that_cannot_be_completed_is_refused() {
        for written in [
            "{a: b}",
            "- a\n",
            "  a: b\n",
            "[1]",
            "just text",
            "a: b\n...\n",
            "a: b\n---\nc: d\n",
        ] {
            assert!(completed(written).is_err(), "{written:?}");
        }
    }

    #[test]
    fn keys_are_there_where_there_are_any() {
        let text = complete(Some("a: 1\n"), "i-3", "web-01", &["ssh-rsa A".to_owned()]).unwrap();
        assert!(text.ends_with("public-keys: [\"ssh-rsa A\"]\n"), "{text}");
        assert_eq!(as_written(text).as_deref(), Some("a: 1\n"));
    }

    #[test]
    fn a_host_name_cannot_smuggle_in_another_key() {
        let text = complete(None, "i-3", "a\nroot: x", &[]).unwrap();
        assert_eq!(text.lines().count(), 3);
    }
}

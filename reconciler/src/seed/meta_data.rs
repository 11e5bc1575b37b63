//! meta-data: who this instance is. cloud-init does its work for first boots once for each instance id.

use std::fmt;

use serde_json::{Map, Value};

use crate::image::Sha256Digest;

/// The id of an instance: stable as long as the machine is the same and its seed has the same version, another
/// when cloud-init shall run again.
///
/// It is derived from the machine's identity and from how often its seed was changed, never from the seed's
/// content: every process of a guest can read the id, and a digest would let it test guesses at secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceId(String);

impl InstanceId {
    /// `identity` is what stays with the machine for its life; it cannot be read back from the id.
    pub fn new(identity: &str, seed_version: u64) -> Self {
        let digest = Sha256Digest::of(format!("labyard instance {identity}").as_bytes()).to_string();
        Self(format!("labyard-{}-{seed_version}", &digest[..20]))
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why `meta_data` as written cannot be completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cloud_init.meta_data must be a JSON object, or YAML with its keys at the begin of the line; it begins with {0:?}"
)]
pub struct MetaDataError(String);

/// The file's text: what the user wrote, completed by what NoCloud needs and the user did not write.
pub fn meta_data(
    written: Option<&str>,
    id: &InstanceId,
    hostname: Option<&str>,
) -> Result<String, MetaDataError> {
    let mut ours = vec![("instance-id", id.0.as_str())];
    ours.extend(hostname.map(|hostname| ("local-hostname", hostname)));
    let written = written.unwrap_or_default();
    match written.trim_start().starts_with('{') {
        true => complete_json(written, &ours),
        false => complete_yaml(written, &ours),
    }
}

fn complete_json(written: &str, ours: &[(&str, &str)]) -> Result<String, MetaDataError> {
    let mut object: Map<String, Value> = serde_json::from_str(written).map_err(|_| refuse(written))?;
    for (key, value) in ours {
        object.entry(*key).or_insert_with(|| Value::from(*value));
    }
    Ok(format!("{}\n", Value::Object(object)))
}

/// Puts our lines in front, behind the marker of a document's begin.
fn complete_yaml(written: &str, ours: &[(&str, &str)]) -> Result<String, MetaDataError> {
    let mut lines = written.lines().peekable();
    while lines.next_if(|line| is_preamble(line)).is_some() {}
    if lines.peek().is_some_and(|first| !begins_with_a_key(first)) {
        return Err(refuse(written.trim_start()));
    }
    let rest: Vec<&str> = lines.collect();
    // A quoted JSON string is a quoted YAML string.
    let missing = ours
        .iter()
        .filter(|(key, _)| !rest.iter().any(|line| key_of(line) == Some(*key)));
    let mut out: String = missing
        .map(|(key, value)| format!("{key}: {}\n", Value::from(*value)))
        .collect();
    rest.iter().for_each(|line| {
        out.push_str(line);
        out.push('\n');
    });
    Ok(out)
}

fn is_preamble(line: &str) -> bool {
    line.trim().is_empty() || line.trim_start().starts_with('#') || line.trim_end() == "---"
}

fn begins_with_a_key(line: &str) -> bool {
    key_of(line).is_some()
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

    fn id() -> InstanceId {
        InstanceId::new("token", 3)
    }

    fn complete(written: &str) -> Result<String, MetaDataError> {
        meta_data(Some(written), &id(), Some("web-01"))
    }

    #[test]
    fn the_instance_id_is_stable_and_follows_identity_and_version() {
        assert_eq!(id(), InstanceId::new("token", 3));
        assert_ne!(id(), InstanceId::new("token", 4));
        assert_ne!(id(), InstanceId::new("other", 3));
        assert!(!id().to_string().contains("token") && id().to_string().ends_with("-3"));
    }

    #[test]
    fn without_meta_data_of_the_user_ours_stands_alone() {
        let text = meta_data(None, &id(), Some("web-01")).unwrap();
        assert_eq!(
            text,
            format!("instance-id: \"{}\"\nlocal-hostname: \"web-01\"\n", id())
        );
        assert_eq!(
            meta_data(None, &id(), None).unwrap(),
            format!("instance-id: \"{}\"\n", id())
        );
    }

    #[test]
    fn what_the_user_wrote_is_completed_and_never_overruled() {
        let both = format!("instance-id: \"{}\"\nlocal-hostname: \"web-01\"\n", id());
        assert_eq!(
            complete("---\n# mine\nregion: eu\n").unwrap(),
            format!("{both}region: eu\n")
        );
        let host = "local-hostname: \"web-01\"\n";
        assert_eq!(
            complete("'instance-id': i-1").unwrap(),
            format!("{host}'instance-id': i-1\n")
        );
        let nested = "a:\n  instance-id: inner\n";
        assert_eq!(complete(nested).unwrap(), format!("{both}{nested}"));
        let json: Value =
            serde_json::from_str(&complete(r#"{"local-hostname":"db","a":1}"#).unwrap()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"instance-id": id().to_string(), "local-hostname": "db", "a": 1})
        );
    }

    #[test]
    fn a_form_that_cannot_be_completed_is_refused() {
        for written in ["{a: b}", "- a\n", "  a: b\n", "[1]", "just text"] {
            assert!(complete(written).is_err(), "{written:?}");
        }
    }

    #[test]
    fn a_host_name_cannot_smuggle_in_another_key() {
        let text = meta_data(None, &id(), Some("a\nroot: x")).unwrap();
        assert_eq!(text.lines().count(), 2);
    }
}

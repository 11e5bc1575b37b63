//! Pools whose template names captured images without a revision follow the newest. What a generation is made of is written
//! down with the revisions; newer ones are another generation, which rolls as any other change of the template does.

use super::{Pool, find, template_of};
use crate::{
    Refusal,
    ids::{Namespace, PoolName},
};
use labyard_store::{
    StoreError, Write,
    event::{Event, Moment},
};
use serde_json::Value;
use std::collections::BTreeMap;

const SCHEME: &str = "image:";

/// The images that a template names without a revision.
#[must_use]
pub fn followed(template: &Value) -> Vec<&str> {
    let disks = template.get("disks").and_then(Value::as_object);
    let sources = disks
        .into_iter()
        .flatten()
        .filter_map(|(_, disk)| source_of(disk));
    sources.filter_map(name_of).collect()
}

/// The captured images that a template names, as it names them.
#[must_use]
pub fn kept(template: &Value) -> Vec<String> {
    let disks = template.get("disks").and_then(Value::as_object);
    let sources = disks
        .into_iter()
        .flatten()
        .filter_map(|(_, disk)| source_of(disk));
    let kept = sources.filter(|source| source.starts_with(SCHEME));
    kept.map(str::to_owned).collect()
}

/// The template with the revisions that are the newest; an image of which there is none stays as it is.
#[must_use]
pub fn pinned(template: &Value, newest: impl Fn(&str) -> Option<u32>) -> Value {
    let mut pinned = template.clone();
    let disks = pinned.get_mut("disks").and_then(Value::as_object_mut);
    for disk in disks.into_iter().flat_map(|disks| disks.values_mut()) {
        let revision = source_of(disk).and_then(|source| {
            let revision = newest(name_of(source)?)?;
            Some(format!("{source}@{revision}"))
        });
        if let (Some(source), Some(there)) = (revision, disk.pointer_mut("/image/source")) {
            *there = Value::String(source);
        }
    }
    pinned
}

/// The revisions that a template names, by the images.
#[must_use]
pub fn revisions(template: &Value) -> BTreeMap<String, u32> {
    let named = kept(template).into_iter().filter_map(|source| {
        let (name, revision) = source.strip_prefix(SCHEME)?.split_once('@')?;
        Some((name.to_owned(), revision.parse().ok()?))
    });
    named.collect()
}

fn source_of(disk: &Value) -> Option<&str> {
    disk.pointer("/image/source")?.as_str()
}

fn name_of(source: &str) -> Option<&str> {
    source.strip_prefix(SCHEME).filter(|name| !name.contains('@'))
}

/// Writes down what a pool's machines are made of from now on, unless it is asked to be something else by now; says whether
/// that is another generation.
///
/// # Errors
/// If there is no such pool, or the store fails.
pub fn follow(
    write: &mut Write<'_>,
    (namespace, name): (&Namespace, &PoolName),
    (template, pinned): (&Value, &Value),
    now: Moment,
    actor: &str,
) -> Result<bool, Refusal> {
    let pool = find(write, namespace, name)?;
    let stands = template_of(write, &pool, pool.generation)?;
    if pool.draining || pool.spec.template != *template || stands.as_ref() == Some(pinned) {
        return Ok(false);
    }
    let text = serde_json::to_string(pinned).map_err(|error| StoreError::Unreadable {
        what: error.to_string(),
    })?;
    // Nothing was followed yet: this generation begins with what there is.
    let first = stands.as_ref() == Some(template);
    let generation = match first {
        true => pool.generation,
        false => roll(write, &pool)?,
    };
    write.execute(
        "INSERT INTO templates (pool, generation, template) VALUES ($1, $2, $3) \
         ON CONFLICT (pool, generation) DO UPDATE SET template = excluded.template",
        &[pool.id.as_str().into(), generation.into(), text.into()],
    )?;
    let event = Event::new(
        now,
        namespace.as_str(),
        actor,
        "pool.image_followed",
        &format!("pool/{name}"),
    );
    write.event(&event.with("generation", generation))?;
    Ok(!first)
}

fn roll(write: &mut Write<'_>, pool: &Pool) -> Result<i64, StoreError> {
    let next = pool.generation + 1;
    write.execute(
        "UPDATE pools SET generation = $1, failures = 0, retry_at = NULL, cause = NULL WHERE id = $2",
        &[next.into(), pool.id.as_str().into()],
    )?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn images_without_a_revision_are_followed_and_others_are_left() {
        let source = |source: &str| json!({ "image": { "source": source } });
        let template = json!({ "disks": {
            "root": source("image:golden"), "data": source("image:tools@2"), "web": source("https://a/b"), "blank": {},
            "none": source("image:none"),
        } });
        let mut names = followed(&template);
        names.sort_unstable();
        assert_eq!(names, ["golden", "none"]);
        let pinned = pinned(&template, |name| (name == "golden").then_some(7));
        assert_eq!(pinned["disks"]["root"], source("image:golden@7"));
        assert_eq!(pinned["disks"]["none"], source("image:none"));
        assert_eq!(pinned["disks"]["data"], source("image:tools@2"));
        assert_eq!(kept(&pinned), ["image:tools@2", "image:none", "image:golden@7"]);
        let named = revisions(&pinned);
        assert_eq!(named, [("golden".to_owned(), 7), ("tools".to_owned(), 2)].into());
        assert!(followed(&json!({})).is_empty());
    }
}

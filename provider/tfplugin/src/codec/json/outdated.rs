//! Stored attributes that the schema no longer has.

use serde_json::Value as Json;

use crate::value::Type;

/// Removes what an older schema stored and the current one lacks.
#[must_use]
pub fn drop_unknown_attributes(json: Json, ty: &Type) -> Json {
    match (json, ty) {
        (Json::Object(entries), Type::Object(types)) => {
            let known = entries.into_iter().filter_map(|(name, item)| {
                let ty = types.get(&name)?;
                Some((name, drop_unknown_attributes(item, ty)))
            });
            Json::Object(known.collect())
        }
        (Json::Object(entries), Type::Map(element)) => {
            let kept = entries
                .into_iter()
                .map(|(key, item)| (key, drop_unknown_attributes(item, element)));
            Json::Object(kept.collect())
        }
        (Json::Array(items), Type::List(element) | Type::Set(element)) => items
            .into_iter()
            .map(|item| drop_unknown_attributes(item, element))
            .collect(),
        (Json::Array(items), Type::Tuple(types)) if items.len() == types.len() => items
            .into_iter()
            .zip(types)
            .map(|(item, ty)| drop_unknown_attributes(item, ty))
            .collect(),
        (json, _) => json,
    }
}

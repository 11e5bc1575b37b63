//! Between Terraform's values and the schema's structs.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tfplugin::schema::Schema;
use tfplugin::value::Value;
use tfplugin::{Diagnostics, convert};

/// A struct from a value in which everything that is not known counts as absent.
pub fn known<T: DeserializeOwned>(value: &Value, diags: &mut Diagnostics) -> Option<T> {
    match convert::from_value(&known_part(value)) {
        Ok(known) => Some(known),
        Err(error) => {
            let detail = format!(
                "This is a bug in the provider: a value that passed its checks cannot be read: {error}."
            );
            diags.error(None, "Unreadable value", detail);
            None
        }
    }
}

/// A struct as a whole value of the schema.
pub fn whole<T: Serialize>(value: &T, schema: &Schema, diags: &mut Diagnostics) -> Option<Value> {
    match convert::to_value(value, &schema.implied_type()) {
        Ok(value) => Some(value),
        Err(error) => {
            let detail = format!("This is a bug in the provider: a state cannot be written: {error}.");
            diags.error(None, "Unwritable value", detail);
            None
        }
    }
}

/// The value without the attributes and elements that are not known.
fn known_part(value: &Value) -> Value {
    match value {
        Value::Unknown => Value::Null,
        Value::Sequence(items) => Value::Sequence(items.iter().map(known_part).collect()),
        Value::Keyed(entries) => {
            let known = entries.iter().filter(|(_, value)| !value.is_unknown());
            Value::Keyed(
                known
                    .map(|(key, value)| (key.clone(), known_part(value)))
                    .collect(),
            )
        }
        other => other.clone(),
    }
}

/// The value with null in place of everything that is not known.
pub fn without_unknowns(value: &Value) -> Value {
    match value {
        Value::Unknown => Value::Null,
        Value::Sequence(items) => Value::Sequence(items.iter().map(without_unknowns).collect()),
        Value::Keyed(entries) => Value::Keyed(
            entries
                .iter()
                .map(|(k, v)| (k.clone(), without_unknowns(v)))
                .collect(),
        ),
        other => other.clone(),
    }
}

/// Sets an attribute at the top of an object.
pub fn put(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_keyed_mut() {
        fields.insert(name.to_owned(), value.into());
    }
}

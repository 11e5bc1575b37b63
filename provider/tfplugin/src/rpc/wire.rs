//! Between the wire's messages and this crate's own types.

use bytes::Bytes;

use crate::check::Violation;
use crate::codec::{json, msgpack};
use crate::diag::{Diagnostic, Diagnostics, Severity};
use crate::proto::tfplugin6 as proto;
use crate::value::{Path, Step, Type, Value};

/// A value that arrived; a missing one is null.
pub(super) fn decode(value: Option<&proto::DynamicValue>, ty: &Type) -> Result<Value, Diagnostics> {
    let Some(value) = value else {
        return Ok(Value::Null);
    };
    let decoded = if !value.msgpack.is_empty() {
        msgpack::decode(&value.msgpack, ty)
    } else if !value.json.is_empty() {
        json::decode(&value.json, ty)
    } else {
        return Ok(Value::Null);
    };
    decoded.map_err(|error| {
        fault(
            "Terraform sent a value that the provider cannot read",
            format!("{error}. Their versions may not fit."),
        )
    })
}

/// A value to send.
pub(super) fn encode(value: &Value, ty: &Type) -> Result<proto::DynamicValue, Diagnostics> {
    match msgpack::encode(value, ty) {
        Ok(bytes) => Ok(proto::DynamicValue {
            msgpack: bytes.into(),
            json: Bytes::new(),
        }),
        Err(error) => Err(fault(
            "Provider broke a rule of Terraform",
            format!(
                "The value does not fit the schema: {error}.\n\nThis is a fault of the provider, not of the \
                 configuration. Please report it to the provider's developers."
            ),
        )),
    }
}

/// Null, as it is sent.
pub(super) fn null() -> proto::DynamicValue {
    proto::DynamicValue {
        msgpack: Bytes::from_static(&[0xc0]),
        json: Bytes::new(),
    }
}

/// One error.
pub(super) fn fault(summary: impl Into<String>, detail: impl Into<String>) -> Diagnostics {
    let mut diags = Diagnostics::default();
    diags.error(None, summary, detail);
    diags
}

/// Adds broken rules to what the user is told.
pub(super) fn report(diags: &mut Diagnostics, violations: Vec<Violation>) {
    diags
        .0
        .extend(violations.into_iter().map(Violation::into_diagnostic));
}

/// Diagnostics as they are sent.
pub(super) fn diagnostics(diags: Diagnostics) -> Vec<proto::Diagnostic> {
    diags.0.into_iter().map(diagnostic).collect()
}

/// Terraform finds the place in the configuration only for an attribute at the top: a longer path would point at
/// the whole resource. So the top is what is sent, and the rest is said in words.
fn diagnostic(diag: Diagnostic) -> proto::Diagnostic {
    let severity = match diag.severity {
        Severity::Error => proto::diagnostic::Severity::Error,
        Severity::Warning => proto::diagnostic::Severity::Warning,
    };
    let mut detail = diag.detail;
    let attribute = diag.attribute.filter(|path| !path.is_root()).map(|whole| {
        let place = whole.to_string();
        if whole.0.len() > 1 && !detail.contains(&place) {
            detail = format!("{place}: {detail}");
        }
        path(&Path(whole.0.into_iter().take(1).collect()))
    });
    proto::Diagnostic {
        severity: severity.into(),
        summary: diag.summary,
        detail,
        attribute,
    }
}

/// A path as it is sent. The wire has no name for an element of a set, so the path ends at the set.
pub(super) fn path(path: &Path) -> proto::AttributePath {
    use proto::attribute_path::step::Selector;
    let steps = path.0.iter().map_while(|step| {
        let selector = match step {
            Step::Attribute(name) => Selector::AttributeName(name.clone()),
            Step::Key(key) => Selector::ElementKeyString(key.clone()),
            Step::Index(index) => Selector::ElementKeyInt(*index),
            Step::Element(_) => return None,
        };
        Some(proto::attribute_path::Step {
            selector: Some(selector),
        })
    });
    proto::AttributePath {
        steps: steps.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_value_is_null() {
        assert_eq!(decode(None, &Type::String), Ok(Value::Null));
        assert_eq!(
            decode(Some(&proto::DynamicValue::default()), &Type::String),
            Ok(Value::Null)
        );
        assert_eq!(decode(Some(&null()), &Type::String), Ok(Value::Null));
    }

    #[test]
    fn json_is_read_where_there_is_no_msgpack() {
        let value = proto::DynamicValue {
            msgpack: Bytes::new(),
            json: Bytes::from_static(b"\"x\""),
        };
        assert_eq!(
            decode(Some(&value), &Type::String),
            Ok(Value::String("x".to_owned()))
        );
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_no_panic() {
        let value = proto::DynamicValue {
            msgpack: Bytes::from_static(&[0xc1]),
            json: Bytes::new(),
        };
        assert!(decode(Some(&value), &Type::String).is_err_and(|diags| diags.has_errors()));
    }

    #[test]
    fn a_diagnostic_points_at_the_top_and_says_the_rest() {
        let mut diags = Diagnostics::default();
        let inside = Path::attribute("disks").then_key("root").then_attribute("size");
        diags.error(Some(inside), "Too small", "At least 10.");
        let sent = diagnostics(diags);
        assert_eq!(sent[0].attribute.as_ref().map(|path| path.steps.len()), Some(1));
        assert_eq!(sent[0].detail, "disks[\"root\"].size: At least 10.");
    }

    #[test]
    fn a_path_ends_at_the_set_whose_element_it_names() {
        let inside = Path(vec![
            Step::Attribute("disks".to_owned()),
            Step::Element(Value::Null),
            Step::Attribute("size".to_owned()),
        ]);
        assert_eq!(path(&inside).steps.len(), 1);
    }
}

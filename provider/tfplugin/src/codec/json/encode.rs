//! Values to JSON.

use crate::value::{Type, Value};

/// Writes one value. JSON has no unknown and no infinity: both are written as null.
#[must_use]
pub fn encode(value: &Value, ty: &Type) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    write(&mut out, value, ty);
    out
}

fn write(out: &mut Vec<u8>, value: &Value, ty: &Type) {
    match (value, ty) {
        (Value::Null | Value::Unknown, _) => out.extend_from_slice(b"null"),
        (Value::Bool(b), _) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        (Value::Number(n), _) if n.is_finite() => out.extend_from_slice(n.to_string().as_bytes()),
        (Value::Number(_), _) => out.extend_from_slice(b"null"),
        (Value::String(s), _) => write_text(out, s),
        (Value::Dynamic(ty, inner), _) => {
            out.extend_from_slice(b"{\"value\":");
            write(out, inner, ty);
            out.extend_from_slice(b",\"type\":");
            out.extend_from_slice(&ty.to_json());
            out.push(b'}');
        }
        (Value::Sequence(items), ty) => write_all(out, *b"[]", items.iter().enumerate(), |out, (i, item)| {
            write(out, item, element_type(ty, i));
        }),
        (Value::Keyed(entries), ty) => write_all(out, *b"{}", entries.iter(), |out, (key, item)| {
            write_text(out, key);
            out.push(b':');
            write(out, item, field_type(ty, key));
        }),
    }
}

fn write_all<T>(
    out: &mut Vec<u8>,
    [open, close]: [u8; 2],
    items: impl Iterator<Item = T>,
    write_one: impl Fn(&mut Vec<u8>, T),
) {
    out.push(open);
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_one(out, item);
    }
    out.push(close);
}

fn element_type(ty: &Type, index: usize) -> &Type {
    match ty {
        Type::List(element) | Type::Set(element) => element,
        Type::Tuple(types) => types.get(index).unwrap_or(&Type::Dynamic),
        _ => &Type::Dynamic,
    }
}

fn field_type<'t>(ty: &'t Type, key: &str) -> &'t Type {
    match ty {
        Type::Map(element) => element,
        Type::Object(types) => types.get(key).unwrap_or(&Type::Dynamic),
        _ => &Type::Dynamic,
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
}

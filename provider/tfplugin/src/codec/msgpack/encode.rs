//! Values to MessagePack, each in its shortest form.

use std::collections::BTreeMap;

use super::super::{CodecError, CodecProblem, Failure, MAX_DEPTH, at};
use super::UNKNOWN;
use crate::value::{Number, Step, Type, Value};

/// Writes one value of a type.
pub fn encode(value: &Value, ty: &Type) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::with_capacity(512);
    write(&mut out, value, ty, 0)?;
    Ok(out)
}

fn write(out: &mut Vec<u8>, value: &Value, ty: &Type, depth: usize) -> Result<(), Failure> {
    if depth > MAX_DEPTH {
        return Err(CodecProblem::TooDeep.into());
    }
    match (value, ty) {
        (Value::Null, _) => out.push(0xc0),
        (Value::Unknown, _) => out.extend_from_slice(&[0xd4, UNKNOWN.to_be_bytes()[0], 0]),
        (Value::Bool(b), Type::Bool) => out.push(if *b { 0xc3 } else { 0xc2 }),
        (Value::Number(n), Type::Number) => write_number(out, n)?,
        (Value::String(s), Type::String) => write_text(out, s)?,
        (Value::Sequence(items), Type::List(element) | Type::Set(element)) => {
            write_head(out, ARRAY, items.len())?;
            for (i, item) in items.iter().enumerate() {
                at(write(out, item, element, depth + 1), || Step::index(i))?;
            }
        }
        (Value::Sequence(items), Type::Tuple(types)) => write_tuple(out, items, types, depth)?,
        (Value::Keyed(entries), Type::Map(element)) => {
            write_head(out, MAP, entries.len())?;
            for (key, item) in entries {
                write_text(out, key)?;
                at(write(out, item, element, depth + 1), || Step::Key(key.clone()))?;
            }
        }
        (Value::Keyed(entries), Type::Object(types)) => write_object(out, entries, types, depth)?,
        (Value::Dynamic(ty, inner), Type::Dynamic) if **ty != Type::Dynamic => {
            write_head(out, ARRAY, 2)?;
            write_bytes(out, &ty.to_json())?;
            write(out, inner, ty, depth + 1)?;
        }
        (_, Type::Dynamic) => return Err(CodecProblem::Untyped.into()),
        (value, ty) => {
            let found = crate::value::kind(value).to_owned();
            return Err(CodecProblem::Kind {
                expected: ty.to_string(),
                found,
            }
            .into());
        }
    }
    Ok(())
}

fn write_tuple(out: &mut Vec<u8>, items: &[Value], types: &[Type], depth: usize) -> Result<(), Failure> {
    if items.len() != types.len() {
        return Err(CodecProblem::Length {
            expected: types.len(),
            found: items.len(),
        }
        .into());
    }
    write_head(out, ARRAY, items.len())?;
    for (i, (item, ty)) in items.iter().zip(types).enumerate() {
        at(write(out, item, ty, depth + 1), || Step::index(i))?;
    }
    Ok(())
}

fn write_object(
    out: &mut Vec<u8>,
    entries: &BTreeMap<String, Value>,
    types: &BTreeMap<String, Type>,
    depth: usize,
) -> Result<(), Failure> {
    write_head(out, MAP, types.len())?;
    let mut left = entries.iter();
    for (name, ty) in types {
        // Both sides are in the order of their keys, so that they run in step unless one lacks a key.
        match left.next() {
            Some((key, item)) if key == name => {
                write_text(out, key)?;
                at(write(out, item, ty, depth + 1), || Step::Attribute(name.clone()))?;
            }
            Some((key, _)) if !types.contains_key(key) => {
                return Err(CodecProblem::Unsupported(key.clone()).into());
            }
            _ => return Err(CodecProblem::Missing(name.clone()).into()),
        }
    }
    match left.next() {
        Some((key, _)) => Err(CodecProblem::Unsupported(key.clone()).into()),
        None => Ok(()),
    }
}

fn write_number(out: &mut Vec<u8>, number: &Number) -> Result<(), Failure> {
    if let Some(n) = number.as_i64() {
        write_integer(out, n);
    } else if let Some(float) = number.to_f64_exact() {
        out.push(0xcb);
        out.extend_from_slice(&float.to_be_bytes());
    } else {
        write_text(out, &number.to_string())?;
    }
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "each arm's range fits its width"
)]
fn write_integer(out: &mut Vec<u8>, n: i64) {
    match n {
        0..=0x7f => out.push(n as u8),
        -32..=-1 => out.push(n as i8 as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, n as u8]),
        0x100..=0xffff => put(out, 0xcd, (n as u16).to_be_bytes()),
        0x1_0000..=0xffff_ffff => put(out, 0xce, (n as u32).to_be_bytes()),
        0x1_0000_0000.. => put(out, 0xcf, (n as u64).to_be_bytes()),
        -0x80..=-33 => put(out, 0xd0, (n as i8).to_be_bytes()),
        -0x8000..=-0x81 => put(out, 0xd1, (n as i16).to_be_bytes()),
        -0x8000_0000..=-0x8001 => put(out, 0xd2, (n as i32).to_be_bytes()),
        ..=-0x8000_0001 => put(out, 0xd3, n.to_be_bytes()),
    }
}

fn put<const N: usize>(out: &mut Vec<u8>, marker: u8, bytes: [u8; N]) {
    out.push(marker);
    out.extend_from_slice(&bytes);
}

/// The markers of one kind of counted thing: within the marker itself, then with 1, 2 and 4 bytes of length.
struct Head {
    fixed: Option<(u8, usize)>,
    one: Option<u8>,
    two: u8,
    four: u8,
}

const ARRAY: Head = Head {
    fixed: Some((0x90, 15)),
    one: None,
    two: 0xdc,
    four: 0xdd,
};
const MAP: Head = Head {
    fixed: Some((0x80, 15)),
    one: None,
    two: 0xde,
    four: 0xdf,
};
const TEXT: Head = Head {
    fixed: Some((0xa0, 31)),
    one: Some(0xd9),
    two: 0xda,
    four: 0xdb,
};
const BYTES: Head = Head {
    fixed: None,
    one: Some(0xc4),
    two: 0xc5,
    four: 0xc6,
};

#[expect(clippy::needless_pass_by_value, reason = "a constant")]
fn write_head(out: &mut Vec<u8>, head: Head, length: usize) -> Result<(), Failure> {
    let length = u32::try_from(length).map_err(|_| CodecProblem::TooLong)?;
    let [_, _, high, low] = length.to_be_bytes();
    match (head.fixed, head.one) {
        (Some((marker, max)), _) if (low as usize) <= max && length < 256 => out.push(marker | low),
        (_, Some(marker)) if length < 256 => out.extend_from_slice(&[marker, low]),
        _ if length < 65536 => out.extend_from_slice(&[head.two, high, low]),
        _ => put(out, head.four, length.to_be_bytes()),
    }
    Ok(())
}

fn write_text(out: &mut Vec<u8>, text: &str) -> Result<(), Failure> {
    write_head(out, TEXT, text.len())?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Failure> {
    write_head(out, BYTES, bytes.len())?;
    out.extend_from_slice(bytes);
    Ok(())
}

//! MessagePack to values.

use std::collections::BTreeMap;

use super::super::{CodecError, CodecProblem, Failure, MAX_DEPTH, at};
use super::reader::{Reader, Token};
use super::{REFINED_UNKNOWN, UNKNOWN};
use crate::value::{Number, Step, Type, Value};

/// Room is made for at most this many elements before they have arrived.
const MAX_RESERVE: usize = 64;

/// Reads one value of a type; sets come out sorted.
pub fn decode(bytes: &[u8], ty: &Type) -> Result<Value, CodecError> {
    let mut reader = Reader::new(bytes);
    let value = read(&mut reader, ty, 0)?;
    match reader.remaining() {
        0 => Ok(value),
        left => Err(Failure::from(CodecProblem::Trailing(left)).into()),
    }
}

fn read(reader: &mut Reader<'_>, ty: &Type, depth: usize) -> Result<Value, Failure> {
    if depth > MAX_DEPTH {
        return Err(CodecProblem::TooDeep.into());
    }
    let token = reader.token()?;
    match (ty, token) {
        (_, Token::Nil) => Ok(Value::Null),
        (_, Token::Extension(UNKNOWN | REFINED_UNKNOWN)) => Ok(Value::Unknown),
        (_, Token::Extension(kind)) => Err(CodecProblem::Extension(kind).into()),
        (Type::Bool, Token::Bool(b)) => Ok(Value::Bool(b)),
        (Type::String, Token::Text(text) | Token::Bytes(text)) => Ok(Value::String(utf8(text)?.to_owned())),
        (Type::Number, token) => read_number(token),
        (Type::List(element), Token::Array(length)) => read_elements(reader, length, element, depth),
        (Type::Set(element), Token::Array(length)) => {
            let mut set = read_elements(reader, length, element, depth)?;
            if let Value::Sequence(items) = &mut set {
                items.sort_unstable();
            }
            Ok(set)
        }
        (Type::Tuple(types), Token::Array(length)) => read_tuple(reader, length, types, depth),
        (Type::Map(element), Token::Map(length)) => read_map(reader, length, element, depth),
        (Type::Object(types), Token::Map(length)) => read_object(reader, length, types, depth),
        (Type::Dynamic, Token::Array(2)) => read_dynamic(reader, depth),
        (ty, token) => Err(wrong_kind(ty, token)),
    }
}

fn wrong_kind(ty: &Type, token: Token<'_>) -> Failure {
    // The whole type of an object would drown the message.
    let expected = match ty {
        Type::Object(_) => "an object".to_owned(),
        Type::Dynamic => "a pair of type and value".to_owned(),
        other => other.to_string(),
    };
    CodecProblem::Kind {
        expected,
        found: token.kind().to_owned(),
    }
    .into()
}

fn utf8(bytes: &[u8]) -> Result<&str, CodecProblem> {
    std::str::from_utf8(bytes).map_err(|_| CodecProblem::Utf8)
}

fn read_number(token: Token<'_>) -> Result<Value, Failure> {
    let number = match token {
        Token::Signed(n) => Number::from(n),
        Token::Unsigned(n) => Number::from(n),
        Token::Float(float) => Number::try_from(float).map_err(CodecProblem::from)?,
        Token::Text(text) => utf8(text)?.parse().map_err(CodecProblem::from)?,
        other => return Err(wrong_kind(&Type::Number, other)),
    };
    Ok(Value::Number(number))
}

fn read_elements(reader: &mut Reader<'_>, length: usize, ty: &Type, depth: usize) -> Result<Value, Failure> {
    let mut items = Vec::with_capacity(length.min(MAX_RESERVE));
    for i in 0..length {
        items.push(at(read(reader, ty, depth + 1), || Step::index(i))?);
    }
    Ok(Value::Sequence(items))
}

fn read_tuple(
    reader: &mut Reader<'_>,
    length: usize,
    types: &[Type],
    depth: usize,
) -> Result<Value, Failure> {
    if length != types.len() {
        return Err(CodecProblem::Length {
            expected: types.len(),
            found: length,
        }
        .into());
    }
    let mut items = Vec::with_capacity(length.min(MAX_RESERVE));
    for (i, ty) in types.iter().enumerate() {
        items.push(at(read(reader, ty, depth + 1), || Step::index(i))?);
    }
    Ok(Value::Sequence(items))
}

fn read_key<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Failure> {
    match reader.token()? {
        Token::Text(key) | Token::Bytes(key) => Ok(utf8(key)?),
        other => Err(CodecProblem::Kind {
            expected: "a key".to_owned(),
            found: other.kind().to_owned(),
        }
        .into()),
    }
}

fn read_map(reader: &mut Reader<'_>, length: usize, ty: &Type, depth: usize) -> Result<Value, Failure> {
    let mut entries = BTreeMap::new();
    for _ in 0..length {
        let key = read_key(reader)?;
        let value = at(read(reader, ty, depth + 1), || Step::Key(key.to_owned()))?;
        if entries.insert(key.to_owned(), value).is_some() {
            return Err(CodecProblem::Duplicate(key.to_owned()).into());
        }
    }
    Ok(Value::Keyed(entries))
}

fn read_object(
    reader: &mut Reader<'_>,
    length: usize,
    types: &BTreeMap<String, Type>,
    depth: usize,
) -> Result<Value, Failure> {
    let mut entries = Vec::with_capacity(length.min(types.len()));
    let mut expected = types.iter();
    // One more than there can be is enough to find one that is foreign or repeated.
    for _ in 0..length.min(types.len() + 1) {
        let key = read_key(reader)?;
        // Terraform writes attributes in order, so that the next one is nearly always the one that comes.
        let next = expected.next().filter(|(name, _)| *name == key);
        let Some((name, ty)) = next.or_else(|| types.get_key_value(key)) else {
            return Err(CodecProblem::Unsupported(key.to_owned()).into());
        };
        let value = at(read(reader, ty, depth + 1), || Step::Attribute(name.clone()))?;
        entries.push((name.clone(), value));
    }
    let sent = entries.len();
    let entries: BTreeMap<String, Value> = entries.into_iter().collect();
    if entries.len() < sent {
        return Err(CodecProblem::Repeated.into());
    }
    if sent == types.len() {
        return Ok(Value::Keyed(entries));
    }
    // What is missing is not filled in: a small message could then grow large through a large type.
    let missing = types.keys().find(|name| !entries.contains_key(*name));
    Err(CodecProblem::Missing(missing.cloned().unwrap_or_default()).into())
}

fn read_dynamic(reader: &mut Reader<'_>, depth: usize) -> Result<Value, Failure> {
    let ty = match reader.token()? {
        Token::Bytes(json) | Token::Text(json) => Type::from_json(json).map_err(CodecProblem::from)?,
        _ => return Err(CodecProblem::Untyped.into()),
    };
    if ty == Type::Dynamic {
        return Err(CodecProblem::Untyped.into());
    }
    let value = read(reader, &ty, depth + 1)?;
    Ok(Value::Dynamic(Box::new(ty), Box::new(value)))
}

//! Rust structs to values.

use std::collections::BTreeMap;

use serde::ser::{self, Error as _, Impossible, Serialize};

use super::ConvertError;
use crate::value::{Number, Type, Value, kind};
use crate::value::{Step, Type::Dynamic};

/// Makes a value of a type. Attributes that the Rust value lacks become null; one that the type lacks is an
/// error.
pub fn to_value<T: Serialize + ?Sized>(value: &T, ty: &Type) -> Result<Value, ConvertError> {
    shape(value.serialize(Sink)?, ty)
}

/// Fits a value made without knowing its type into that type.
fn shape(value: Value, ty: &Type) -> Result<Value, ConvertError> {
    match (value, ty) {
        (value @ (Value::Null | Value::Unknown), _) => Ok(value),
        (value, Dynamic) => Ok(value.into_dynamic()),
        (Value::Sequence(items), Type::List(element)) => shape_all(items, |_| Some(element)),
        (Value::Sequence(items), Type::Set(element)) => {
            let mut set = shape_all(items, |_| Some(element))?;
            if let Value::Sequence(items) = &mut set {
                items.sort_unstable();
                items.dedup();
            }
            Ok(set)
        }
        (Value::Sequence(items), Type::Tuple(types)) if items.len() == types.len() => {
            shape_all(items, |i| types.get(i))
        }
        (Value::Keyed(entries), Type::Map(element)) => {
            let shaped = entries.into_iter().map(|(key, item)| {
                let item = shape(item, element).map_err(|e| e.below(Step::Key(key.clone())))?;
                Ok((key, item))
            });
            shaped.collect::<Result<_, _>>().map(Value::Keyed)
        }
        (Value::Keyed(entries), Type::Object(types)) => shape_object(entries, types),
        (value @ Value::Bool(_), Type::Bool)
        | (value @ Value::Number(_), Type::Number)
        | (value @ Value::String(_), Type::String) => Ok(value),
        (value, ty) => Err(ConvertError::new(format!("{} where {ty} belongs", kind(&value)))),
    }
}

fn shape_all<'t>(items: Vec<Value>, ty: impl Fn(usize) -> Option<&'t Type>) -> Result<Value, ConvertError> {
    let shaped = items.into_iter().enumerate().map(|(i, item)| {
        let ty = ty(i).unwrap_or(&Dynamic);
        shape(item, ty).map_err(|e| e.below(Step::index(i)))
    });
    shaped.collect::<Result<_, _>>().map(Value::Sequence)
}

fn shape_object(
    mut entries: BTreeMap<String, Value>,
    types: &BTreeMap<String, Type>,
) -> Result<Value, ConvertError> {
    let mut shaped = BTreeMap::new();
    for (name, ty) in types {
        let item = entries.remove(name).unwrap_or_default();
        let item = shape(item, ty).map_err(|e| e.below(Step::Attribute(name.clone())))?;
        shaped.insert(name.clone(), item);
    }
    match entries.into_iter().find(|(_, item)| !item.is_null()) {
        Some((extra, _)) => Err(ConvertError::new(format!("there is no attribute {extra}"))),
        None => Ok(Value::Keyed(shaped)),
    }
}

/// Makes values without knowing their types.
struct Sink;

impl ser::Serializer for Sink {
    type Ok = Value;
    type Error = ConvertError;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Impossible<Value, ConvertError>;
    type SerializeMap = Fields;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Fields;

    fn serialize_bool(self, b: bool) -> Result<Value, ConvertError> {
        Ok(Value::Bool(b))
    }
    fn serialize_i8(self, n: i8) -> Result<Value, ConvertError> {
        self.serialize_i64(n.into())
    }
    fn serialize_i16(self, n: i16) -> Result<Value, ConvertError> {
        self.serialize_i64(n.into())
    }
    fn serialize_i32(self, n: i32) -> Result<Value, ConvertError> {
        self.serialize_i64(n.into())
    }
    fn serialize_i64(self, n: i64) -> Result<Value, ConvertError> {
        Ok(n.into())
    }
    fn serialize_u8(self, n: u8) -> Result<Value, ConvertError> {
        self.serialize_u64(n.into())
    }
    fn serialize_u16(self, n: u16) -> Result<Value, ConvertError> {
        self.serialize_u64(n.into())
    }
    fn serialize_u32(self, n: u32) -> Result<Value, ConvertError> {
        self.serialize_u64(n.into())
    }
    fn serialize_u64(self, n: u64) -> Result<Value, ConvertError> {
        Ok(n.into())
    }
    fn serialize_f32(self, float: f32) -> Result<Value, ConvertError> {
        self.serialize_float(&float)
    }
    fn serialize_f64(self, float: f64) -> Result<Value, ConvertError> {
        self.serialize_float(&float)
    }
    fn serialize_char(self, c: char) -> Result<Value, ConvertError> {
        Ok(Value::String(c.to_string()))
    }
    fn serialize_str(self, text: &str) -> Result<Value, ConvertError> {
        Ok(text.into())
    }
    fn serialize_bytes(self, _bytes: &[u8]) -> Result<Value, ConvertError> {
        Err(ConvertError::new(
            "bytes have no counterpart among Terraform's types",
        ))
    }
    fn serialize_none(self) -> Result<Value, ConvertError> {
        Ok(Value::Null)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, ConvertError> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<Value, ConvertError> {
        Ok(Value::Null)
    }
    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value, ConvertError> {
        Ok(Value::Null)
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, ConvertError> {
        Ok(variant.into())
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<Value, ConvertError> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, ConvertError> {
        let held = value
            .serialize(Self)
            .map_err(|e| e.below(Step::Attribute(variant.to_owned())))?;
        Ok(Value::object([(variant, held)]))
    }
    fn serialize_seq(self, _len: Option<usize>) -> Result<Items, ConvertError> {
        Ok(Items(Vec::new()))
    }
    fn serialize_tuple(self, _len: usize) -> Result<Items, ConvertError> {
        Ok(Items(Vec::new()))
    }
    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Items, ConvertError> {
        Ok(Items(Vec::new()))
    }
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant, ConvertError> {
        Err(ConvertError::custom(format_args!(
            "{variant} holds a tuple, which has no counterpart"
        )))
    }
    fn serialize_map(self, _len: Option<usize>) -> Result<Fields, ConvertError> {
        Ok(Fields::default())
    }
    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Fields, ConvertError> {
        Ok(Fields::default())
    }
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Fields, ConvertError> {
        Ok(Fields {
            variant: Some(variant),
            ..Fields::default()
        })
    }
}

impl Sink {
    /// A float is meant as it is printed: `0.1` in Rust is the `0.1` that a user would write.
    fn serialize_float(self, float: &impl ToString) -> Result<Value, ConvertError> {
        let number = float.to_string().parse::<Number>();
        number
            .map(Value::Number)
            .map_err(|e| ConvertError::new(e.to_string()))
    }
}

struct Items(Vec<Value>);

impl Items {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        let value = value
            .serialize(Sink)
            .map_err(|e| e.below(Step::index(self.0.len())))?;
        self.0.push(value);
        Ok(())
    }
}

impl ser::SerializeSeq for Items {
    type Ok = Value;
    type Error = ConvertError;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        self.push(value)
    }
    fn end(self) -> Result<Value, ConvertError> {
        Ok(Value::Sequence(self.0))
    }
}

impl ser::SerializeTuple for Items {
    type Ok = Value;
    type Error = ConvertError;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        self.push(value)
    }
    fn end(self) -> Result<Value, ConvertError> {
        Ok(Value::Sequence(self.0))
    }
}

impl ser::SerializeTupleStruct for Items {
    type Ok = Value;
    type Error = ConvertError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        self.push(value)
    }
    fn end(self) -> Result<Value, ConvertError> {
        Ok(Value::Sequence(self.0))
    }
}

#[derive(Default)]
struct Fields {
    entries: BTreeMap<String, Value>,
    key: Option<String>,
    variant: Option<&'static str>,
}

impl Fields {
    fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), ConvertError> {
        let value = value
            .serialize(Sink)
            .map_err(|e| e.below(Step::Attribute(name.to_owned())))?;
        self.entries.insert(name.to_owned(), value);
        Ok(())
    }

    fn finish(self) -> Value {
        let value = Value::Keyed(self.entries);
        match self.variant {
            Some(variant) => Value::object([(variant, value)]),
            None => value,
        }
    }
}

impl ser::SerializeMap for Fields {
    type Ok = Value;
    type Error = ConvertError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ConvertError> {
        self.key = Some(match key.serialize(Sink)? {
            Value::String(key) => key,
            Value::Number(number) => number.to_string(),
            Value::Bool(b) => b.to_string(),
            other => return Err(ConvertError::new(format!("{} cannot be a key", kind(&other)))),
        });
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        let key = self
            .key
            .take()
            .ok_or_else(|| ConvertError::custom("a value without its key"))?;
        let value = value
            .serialize(Sink)
            .map_err(|e| e.below(Step::Key(key.clone())))?;
        self.entries.insert(key, value);
        Ok(())
    }
    fn end(self) -> Result<Value, ConvertError> {
        Ok(self.finish())
    }
}

impl ser::SerializeStruct for Fields {
    type Ok = Value;
    type Error = ConvertError;
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), ConvertError> {
        self.put(name, value)
    }
    fn end(self) -> Result<Value, ConvertError> {
        Ok(self.finish())
    }
}

impl ser::SerializeStructVariant for Fields {
    type Ok = Value;
    type Error = ConvertError;
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), ConvertError> {
        self.put(name, value)
    }
    fn end(self) -> Result<Value, ConvertError> {
        Ok(self.finish())
    }
}

//! What goes into statements and comes out of rows: whole numbers, text, bytes, nothing. No other type is used, so
//! that both databases mean the same.
//!
//! ```
//! use labyard_store::Value;
//! assert_eq!(Value::from("a"), Value::Text("a".into()));
//! assert_eq!(Value::from(None::<i64>), Value::Null);
//! ```

use crate::StoreError;
use std::sync::Arc;

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A whole number; times are milliseconds since 1970, truths are 0 and 1.
    Integer(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One row of an answer; columns are asked for by name.
#[derive(Debug, Clone)]
pub struct Row {
    pub(crate) names: Arc<[String]>,
    pub(crate) values: Vec<Value>,
}

impl Row {
    /// The value of a column.
    ///
    /// # Errors
    /// If there is no such column, or it holds another type.
    pub fn get<T: FromValue>(&self, column: &str) -> Result<T, StoreError> {
        let value = self
            .names
            .iter()
            .position(|name| name == column)
            .map(|at| &self.values[at]);
        value
            .and_then(T::from_value)
            .ok_or_else(|| StoreError::Unreadable {
                what: format!("column {column}: {value:?}"),
            })
    }
}

/// What a column's value can be read as.
pub trait FromValue: Sized {
    /// Reads it; `None` if it is something else.
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Integer(value) = value {
            Some(*value)
        } else {
            None
        }
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Text(value) = value {
            Some(value.clone())
        } else {
            None
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Bytes(value) = value {
            Some(value.clone())
        } else {
            None
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        if *value == Value::Null {
            Some(None)
        } else {
            T::from_value(value).map(Some)
        }
    }
}

//! Values that go into statements and rows that come out, the same for every engine.

use crate::Error;

/// One SQL value. Booleans are stored as 0 and 1, times as microseconds, money as minor units.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A 64-bit integer (`INTEGER`, `BIGINT`).
    Int(i64),
    /// A text, compared bytewise (`TEXT`).
    Text(String),
    /// Raw bytes (`BLOB`, `BYTEA`).
    Bytes(Vec<u8>),
}

impl Value {
    /// Names the type, for error messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Int(_) => "integer",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
        }
    }
}

/// Refuses what PostgreSQL cannot store, whatever the engine.
pub(crate) fn storable(values: &[Value]) -> Result<(), Error> {
    let is_storable = |value: &Value| !matches!(value, Value::Text(text) if text.as_bytes().contains(&0));
    if values.iter().all(is_storable) { Ok(()) } else { Err(Error::Nul) }
}

macro_rules! from_int {
    ($($type:ty),*) => { $(impl From<$type> for Value { fn from(v: $type) -> Value { Value::Int(i64::from(v)) } })* };
}
from_int!(i64, i32, i16, u32, u16, u8, bool);

impl From<String> for Value {
    fn from(v: String) -> Value {
        Value::Text(v)
    }
}

impl From<&String> for Value {
    fn from(v: &String) -> Value {
        Value::Text(v.clone())
    }
}

impl From<&str> for Value {
    fn from(v: &str) -> Value {
        Value::Text(v.to_owned())
    }
}

impl From<Vec<u8>> for Value {
    fn from(v: Vec<u8>) -> Value {
        Value::Bytes(v)
    }
}

impl From<&[u8]> for Value {
    fn from(v: &[u8]) -> Value {
        Value::Bytes(v.to_vec())
    }
}

impl From<bytes::Bytes> for Value {
    fn from(v: bytes::Bytes) -> Value {
        Value::Bytes(v.to_vec())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(v: Option<T>) -> Value {
        v.map_or(Value::Null, Into::into)
    }
}

/// Makes the parameters of a statement: `params![id, quantity, note]`.
#[macro_export]
macro_rules! params {
    () => { ::std::vec::Vec::<$crate::Value>::new() };
    ($($value:expr),+ $(,)?) => { ::std::vec![$($crate::Value::from($value)),+] };
}

/// One row of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    values: Vec<Value>,
}

impl Row {
    pub(crate) fn new(values: Vec<Value>) -> Row {
        Row { values }
    }

    /// Reads the column at `index` (from 0).
    ///
    /// # Errors
    /// [`Error::Type`] when there is no such column, its type is another, or it is NULL and `T` is not an `Option`.
    pub fn get<T: FromValue>(&self, index: usize) -> Result<T, Error> {
        let Some(value) = self.values.get(index) else {
            return Err(Error::Type(format!("row has {} columns, column {index} was asked for", self.values.len())));
        };
        T::from_value(value).ok_or_else(|| {
            Error::Type(format!(
                "column {index} is {}, {} was asked for",
                value.type_name(),
                std::any::type_name::<T>()
            ))
        })
    }

    /// Counts the columns.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Tells whether the row has no columns.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Gives the values away.
    pub fn into_values(self) -> Vec<Value> {
        self.values
    }
}

/// A Rust type that a column can be read as.
pub trait FromValue: Sized {
    /// Converts; `None` when the value is of another type.
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int(i) => Some(*i),
            _ => None,
        }
    }
}

macro_rules! narrow_int {
    ($($type:ty),*) => {
        $(impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Int(i) => <$type>::try_from(*i).ok(),
                    _ => None,
                }
            }
        })*
    };
}
narrow_int!(i32, u32, u64, usize);

impl FromValue for bool {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int(0) => Some(false),
            Value::Int(1) => Some(true),
            _ => None,
        }
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(s) => Some(s.clone()),
            _ => None,
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bytes(b) => Some(b.clone()),
            _ => None,
        }
    }
}

impl FromValue for bytes::Bytes {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bytes(b) => Some(bytes::Bytes::copy_from_slice(b)),
            _ => None,
        }
    }
}

impl FromValue for Value {
    fn from_value(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            other => T::from_value(other).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_is_not_a_number() {
        let row = Row::new(params![None::<i64>, 7, true]);
        assert!(matches!(row.get::<i64>(0), Err(Error::Type(_))));
        assert_eq!(row.get::<Option<i64>>(0), Ok(None));
        assert_eq!(row.get::<i64>(1), Ok(7));
        assert_eq!(row.get::<bool>(2), Ok(true));
        assert!(matches!(row.get::<bool>(1), Err(Error::Type(_))), "7 is not a boolean");
        assert!(matches!(row.get::<String>(1), Err(Error::Type(_))));
        assert!(matches!(row.get::<i64>(3), Err(Error::Type(_))), "there are three columns");
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused() {
        let row = Row::new(params![1i64 << 40, -1]);
        assert!(row.get::<u32>(0).is_err());
        assert!(row.get::<u64>(1).is_err());
        assert_eq!(row.get::<u64>(0), Ok(1 << 40));
    }
}

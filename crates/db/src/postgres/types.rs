//! Values and errors of PostgreSQL in our words.

use std::error::Error as StdError;

use bytes::BytesMut;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::{Error, Row, Value};

type Boxed = Box<dyn StdError + Sync + Send>;

/// Declares a parameter. An unknown NULL takes the type its place wants.
pub(super) fn declared(value: &Value) -> Type {
    match value {
        Value::Null => Type::UNKNOWN,
        Value::Int(_) => Type::INT8,
        Value::Text(_) => Type::TEXT,
        Value::Bytes(_) => Type::BYTEA,
    }
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Boxed> {
        match self {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(i) => i.to_sql(ty, out),
            Value::Text(s) => s.as_str().to_sql(ty, out),
            Value::Bytes(b) => b.as_slice().to_sql(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        // Every parameter is declared with the type of its value.
        true
    }

    to_sql_checked!();
}

/// A column of any type we know.
struct Column(Value);

impl<'a> FromSql<'a> for Column {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Boxed> {
        let value = match *ty {
            Type::INT8 => Value::Int(i64::from_sql(ty, raw)?),
            Type::INT4 => Value::Int(i32::from_sql(ty, raw)?.into()),
            Type::INT2 => Value::Int(i16::from_sql(ty, raw)?.into()),
            Type::BOOL => Value::Int(bool::from_sql(ty, raw)?.into()),
            Type::BYTEA => Value::Bytes(raw.to_vec()),
            Type::NUMERIC => Value::Int(whole(raw)?),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => {
                Value::Text(std::str::from_utf8(raw)?.to_owned())
            }
            _ => return Err(format!("columns of type {ty} are not used").into()),
        };
        Ok(Column(value))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Boxed> {
        Ok(Column(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Reads a NUMERIC (the sum of BIGINTs is one) that is a whole number of 64 bits.
///
/// Format: count of digits, weight of the first, sign, scale, then digits of base 10,000.
fn whole(raw: &[u8]) -> Result<i64, Boxed> {
    let words: Vec<u16> = raw.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    let [_, weight, sign, _, digits @ ..] = words.as_slice() else { return Err("short NUMERIC".into()) };
    let weight = i32::from(weight.cast_signed());
    let too_long = || Boxed::from("NUMERIC does not fit in 64 bits");
    let mut sum: i128 = 0;
    for (i, digit) in (0i32..).zip(digits) {
        if weight < i {
            if *digit != 0 {
                return Err("NUMERIC is not a whole number".into());
            }
            continue;
        }
        let power = 10_000i128.checked_pow((weight - i).cast_unsigned()).ok_or_else(too_long)?;
        sum = power.checked_mul((*digit).into()).and_then(|add| sum.checked_add(add)).ok_or_else(too_long)?;
    }
    match sign {
        0x0000 => i64::try_from(sum).map_err(|_| too_long()),
        0x4000 => i64::try_from(-sum).map_err(|_| too_long()),
        _ => Err("NUMERIC is not a number".into()),
    }
}

pub(super) fn row(row: &tokio_postgres::Row) -> Result<Row, Error> {
    let mut values = Vec::with_capacity(row.len());
    for i in 0..row.len() {
        let column: Column = row.try_get(i).map_err(|e| Error::Type(text(&e)))?;
        values.push(column.0);
    }
    Ok(Row::new(values))
}

/// A failed statement, and whether the whole transaction should run again.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) collided: bool,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        failure.error
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { error, collided: false }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        let message = text(&error);
        let Some(db) = error.as_db_error() else {
            let lost = error.is_closed() || error.code().is_none() && is_io(&error);
            return if lost { Error::Lost(message) } else { Error::Sql(message) }.into();
        };
        let code = db.code();
        let collided = *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED;
        let constraint = || db.constraint().unwrap_or(db.message()).to_owned();
        let error = match code.code() {
            "23505" => Error::Unique { constraint: constraint() },
            "25P02" => Error::Doomed(message),
            // Lock, statement and idle time-outs, too many connections, collisions.
            "55P03" | "57014" | "25P03" | "40001" | "40P01" | "53300" => Error::Busy(message),
            "53100" | "58030" => Error::Disk(message),
            "57P01" | "57P02" | "57P03" => Error::Lost(message),
            other if other.starts_with("23") => Error::Constraint(message),
            other if other.starts_with("08") => Error::Lost(message),
            _ => Error::Sql(message),
        };
        Failure { error, collided }
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    let mut source = StdError::source(error);
    while let Some(cause) = source {
        if cause.is::<std::io::Error>() {
            return true;
        }
        source = cause.source();
    }
    false
}

/// Writes an error with its causes; tokio-postgres keeps the useful part there.
fn text(error: &tokio_postgres::Error) -> String {
    let mut out = error.to_string();
    let mut source = StdError::source(error);
    while let Some(cause) = source {
        out.push_str(": ");
        out.push_str(&cause.to_string());
        source = cause.source();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(weight: i16, sign: u16, digits: &[u16]) -> Vec<u8> {
        let mut words = vec![digits.len() as u16, weight.cast_unsigned(), sign, 0];
        words.extend_from_slice(digits);
        words.into_iter().flat_map(u16::to_be_bytes).collect()
    }

    #[test]
    fn a_sum_is_read_as_a_whole_number() {
        assert_eq!(whole(&numeric(0, 0, &[])).ok(), Some(0));
        assert_eq!(whole(&numeric(1, 0, &[12, 3456])).ok(), Some(123_456));
        assert_eq!(whole(&numeric(2, 0x4000, &[1])).ok(), Some(-100_000_000));
        assert_eq!(whole(&numeric(0, 0, &[7, 0])).ok(), Some(7), "trailing zeroes are whole");
        assert_eq!(whole(&numeric(4, 0, &[922, 3372, 368, 5477, 5807])).ok(), Some(i64::MAX));
        assert_eq!(whole(&numeric(4, 0x4000, &[922, 3372, 368, 5477, 5808])).ok(), Some(i64::MIN));
        assert!(whole(&numeric(4, 0, &[922, 3372, 368, 5477, 5808])).is_err(), "too long");
        assert!(whole(&numeric(0, 0, &[1, 5000])).is_err(), "1.5");
        assert!(whole(&numeric(0, 0xC000, &[])).is_err(), "NaN");
    }
}

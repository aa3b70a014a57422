//! What the generated JSON code shares: names of fields, enums by name, bytes as text.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::ser::{self, SerializeSeq, Serializer};

use crate::Enumeration;
use crate::enumeration::{name_of, number_of};

/// How each message is read; the names of the enum values.
#[allow(clippy::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/json.rs"));
}

/// Reads the name of a field into its place in the list, once.
pub(crate) struct FieldIndex<'a>(pub &'static [&'static str], pub &'a mut u64);

impl<'de> DeserializeSeed<'de> for FieldIndex<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<usize, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl Visitor<'_> for FieldIndex<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<usize, E> {
        let Some(index) = self.0.iter().position(|field| *field == name) else {
            return Err(E::unknown_field(name, self.0));
        };
        if *self.1 & (1 << index) != 0 {
            return Err(E::duplicate_field(self.0[index]));
        }
        *self.1 |= 1 << index;
        Ok(index)
    }
}

/// An enum value by its name.
struct Named<E>(i32, PhantomData<E>);

impl<'de, E: Enumeration> Deserialize<'de> for Named<E> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Name<E>(PhantomData<E>);
        impl<E: Enumeration> Visitor<'_> for Name<E> {
            type Value = i32;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "one of {}", E::names())
            }
            fn visit_str<R: de::Error>(self, name: &str) -> Result<i32, R> {
                number_of::<E>(name).ok_or_else(|| R::custom(format!("must be one of {}", E::names())))
            }
        }
        Ok(Named(from.deserialize_str(Name::<E>(PhantomData))?, PhantomData))
    }
}

pub(crate) fn read_enum<'de, E: Enumeration, A: MapAccess<'de>>(map: &mut A) -> Result<i32, A::Error> {
    Ok(map.next_value::<Named<E>>()?.0)
}

#[allow(dead_code)]
pub(crate) fn read_enum_option<'de, E: Enumeration, A: MapAccess<'de>>(map: &mut A) -> Result<Option<i32>, A::Error> {
    Ok(map.next_value::<Option<Named<E>>>()?.map(|named| named.0))
}

#[allow(dead_code)]
pub(crate) fn read_enum_list<'de, E: Enumeration, A: MapAccess<'de>>(map: &mut A) -> Result<Vec<i32>, A::Error> {
    Ok(map.next_value::<Vec<Named<E>>>()?.into_iter().map(|named| named.0).collect())
}

fn name<E: Enumeration, R: ser::Error>(number: i32) -> Result<&'static str, R> {
    name_of::<E>(number).ok_or_else(|| R::custom(format!("{number} is no value of the enum")))
}

pub(crate) fn write_enum<E: Enumeration, S: Serializer>(number: &i32, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(name::<E, S::Error>(*number)?)
}

#[allow(dead_code)]
pub(crate) fn write_enum_option<E: Enumeration, S: Serializer>(number: &Option<i32>, to: S) -> Result<S::Ok, S::Error> {
    match number {
        Some(number) => write_enum::<E, S>(number, to),
        None => to.serialize_none(),
    }
}

#[allow(dead_code)]
pub(crate) fn write_enum_list<E: Enumeration, S: Serializer>(numbers: &[i32], to: S) -> Result<S::Ok, S::Error> {
    let mut seq = to.serialize_seq(Some(numbers.len()))?;
    for number in numbers {
        seq.serialize_element(name::<E, S::Error>(*number)?)?;
    }
    seq.end()
}

/// Bytes travel as base64 text (RFC 4648, with padding).
pub(crate) fn write_bytes<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&STANDARD.encode(bytes))
}

pub(crate) fn read_bytes<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Vec<u8>, A::Error> {
    STANDARD.decode(map.next_value::<String>()?).map_err(|_| de::Error::custom("must be base64 text"))
}

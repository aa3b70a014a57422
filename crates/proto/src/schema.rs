//! The messages and enums of the contracts as plain tables.

/// A message.
#[derive(Debug)]
pub struct Message {
    /// Full name, e.g. `mallard.order.v1.Order`.
    pub name: &'static str,
    /// Comment above it.
    pub doc: &'static str,
    /// Fields in order of the contract.
    pub fields: &'static [Field],
}

/// A field of a message.
#[derive(Debug)]
pub struct Field {
    /// Name in JSON.
    pub name: &'static str,
    /// Name as a query parameter.
    pub query: &'static str,
    /// Header it travels in; empty when it is part of the body.
    pub header: &'static str,
    /// Type of the value, of the elements, or of the map's values.
    pub kind: Kind,
    /// How many values there are.
    pub label: Label,
    /// A body without it is refused.
    pub required: bool,
    /// REST neither reads nor writes it.
    pub internal: bool,
    /// Comment above it.
    pub doc: &'static str,
}

/// Type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int32,
    Int64,
    Double,
    String,
    /// Base64 text in JSON.
    Bytes,
    /// RFC 3339 text in JSON.
    Timestamp,
    /// Full name of the message.
    Message(&'static str),
    /// Full name of the enum.
    Enum(&'static str),
}

/// How many values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Always one; the type's zero when nothing was said.
    One,
    /// One or none.
    Optional,
    /// A list.
    Many,
    /// A map from text.
    Map,
}

/// An enum.
#[derive(Debug)]
pub struct Enum {
    /// Full name, e.g. `mallard.order.v1.OrderStatus`.
    pub name: &'static str,
    /// Comment above it.
    pub doc: &'static str,
    /// Public name and comment of each value.
    pub values: &'static [(&'static str, &'static str)],
}

/// Finds a message by its full name.
pub fn message(name: &str) -> Option<&'static Message> {
    MESSAGES.binary_search_by(|message| message.name.cmp(name)).ok().map(|index| &MESSAGES[index])
}

/// Finds an enum by its full name.
pub fn enumeration(name: &str) -> Option<&'static Enum> {
    ENUMS.binary_search_by(|kind| kind.name.cmp(name)).ok().map(|index| &ENUMS[index])
}

include!(concat!(env!("OUT_DIR"), "/schema.rs"));

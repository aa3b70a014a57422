//! The messages as plain tables, with the comments of the contracts, for OpenAPI and for agent tools.

use std::error::Error;

use prost_reflect::{FieldDescriptor, Kind};

use crate::options::{Options, comment};

pub fn code(options: &Options) -> Result<String, Box<dyn Error>> {
    let mut messages: Vec<_> = options.messages().collect();
    messages.sort_by(|a, b| a.full_name().cmp(b.full_name()));
    let mut code =
        "/// Every message of the contracts, in order of name.\npub static MESSAGES: &[Message] = &[\n".to_owned();
    for message in messages {
        let doc = comment(&message.parent_file(), message.path());
        code += &format!("    Message {{ name: \"{}\", doc: {doc:?}, fields: &[\n", message.full_name());
        for field in message.fields() {
            code += &format!(
                "        Field {{ name: \"{}\", query: \"{}\", header: \"{}\", kind: {}, label: Label::{}, required: {}, internal: {}, doc: {:?} }},\n",
                field.name(),
                options.query(&field),
                options.header(&field),
                kind(&value_kind(&field))?,
                label(&field),
                options.required(&field),
                options.internal(&field),
                comment(&field.parent_message().parent_file(), field.path()),
            );
        }
        code += "    ] },\n";
    }
    code += "];\n/// Every enum of the contracts, in order of name.\npub static ENUMS: &[Enum] = &[\n";
    let mut enums: Vec<_> = options.enums().collect();
    enums.sort_by(|a, b| a.full_name().cmp(b.full_name()));
    for kind in enums {
        let doc = comment(&kind.parent_file(), kind.path());
        let prefix = crate::options::snake(kind.name()).to_uppercase() + "_";
        let values: Vec<String> = kind
            .values()
            .map(|value| {
                let name = value.name().strip_prefix(&prefix).unwrap_or(value.name()).to_lowercase();
                format!("(\"{name}\", {:?})", comment(&kind.parent_file(), value.path()))
            })
            .collect();
        code += &format!(
            "    Enum {{ name: \"{}\", doc: {doc:?}, values: &[{}] }},\n",
            kind.full_name(),
            values.join(", ")
        );
    }
    code += "];\n";
    Ok(code)
}

fn value_kind(field: &FieldDescriptor) -> Kind {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
        kind => kind,
    }
}

fn label(field: &FieldDescriptor) -> &'static str {
    if field.is_map() {
        "Map"
    } else if field.is_list() {
        "Many"
    } else if field.supports_presence() {
        "Optional"
    } else {
        "One"
    }
}

fn kind(kind: &Kind) -> Result<String, Box<dyn Error>> {
    Ok(match kind {
        Kind::Bool => "Kind::Bool".to_owned(),
        Kind::Int32 | Kind::Uint32 => "Kind::Int32".to_owned(),
        Kind::Int64 | Kind::Uint64 => "Kind::Int64".to_owned(),
        Kind::Double | Kind::Float => "Kind::Double".to_owned(),
        Kind::String => "Kind::String".to_owned(),
        Kind::Bytes => "Kind::Bytes".to_owned(),
        Kind::Message(message) if message.full_name() == "google.protobuf.Timestamp" => "Kind::Timestamp".to_owned(),
        Kind::Message(message) => format!("Kind::Message(\"{}\")", message.full_name()),
        Kind::Enum(kind) => format!("Kind::Enum(\"{}\")", kind.full_name()),
        other => return Err(format!("{other:?} is not supported").into()),
    })
}

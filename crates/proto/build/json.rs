//! The JSON form of the messages: how they are written and read, names of enum values, and `Debug` that keeps secrets.

use std::error::Error;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::options::{Options, rust_field, rust_path};

/// Fields that no log line may show.
const SECRETS: [&str; 11] = [
    "password",
    "password_confirmation",
    "current_password",
    "new_password",
    "access_token",
    "refresh_token",
    "token",
    "card_token",
    "cart_token",
    "cvc",
    "number",
];

fn is_secret(field: &FieldDescriptor) -> bool {
    let owner = field.parent_message();
    SECRETS.contains(&field.name()) && (field.name() != "number" || owner.name() == "PaymentInput")
}

pub fn secret_messages(options: &Options) -> impl Iterator<Item = MessageDescriptor> + '_ {
    options.messages().filter(|message| message.fields().any(|field| is_secret(&field)))
}

pub fn message_attributes(options: &Options) -> Vec<(String, String)> {
    let attribute = "#[derive(::serde::Serialize)]";
    options.messages().map(|message| (format!(".{}", message.full_name()), attribute.to_owned())).collect()
}

pub fn field_attributes(options: &Options) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let mut attributes = Vec::new();
    for message in options.messages() {
        if message.oneofs().any(|oneof| !oneof.is_synthetic()) {
            return Err(format!("{}: oneof has no JSON form here", message.full_name()).into());
        }
        for field in message.fields() {
            let parts = parts(options, &field);
            if !parts.is_empty() {
                attributes.push((format!(".{}", field.full_name()), format!("#[serde({})]", parts.join(", "))));
            }
        }
    }
    Ok(attributes)
}

fn parts(options: &Options, field: &FieldDescriptor) -> Vec<String> {
    if !options.in_json(field) {
        return vec!["skip".to_owned()];
    }
    let mut parts = Vec::new();
    if is_optional(field) {
        parts.push("skip_serializing_if = \"::core::option::Option::is_none\"".to_owned());
    }
    if !field.is_list() && field.name().ends_with("cursor") {
        parts.push("skip_serializing_if = \"::prost::alloc::string::String::is_empty\"".to_owned());
    }
    match field.kind() {
        Kind::Enum(kind) if !field.is_map() => {
            parts.push(format!(
                "serialize_with = \"crate::json::write_enum{}::<{}, _>\"",
                suffix(field),
                rust_path(kind.full_name())
            ));
        }
        Kind::Bytes => parts.push("serialize_with = \"crate::json::write_bytes\"".to_owned()),
        _ => {}
    }
    parts
}

/// Tells whether the field is an `Option` in Rust: messages, and scalars marked `optional`.
fn is_optional(field: &FieldDescriptor) -> bool {
    !field.is_list() && !field.is_map() && field.supports_presence()
}

fn suffix(field: &FieldDescriptor) -> &'static str {
    match (field.is_list(), is_optional(field)) {
        (true, _) => "_list",
        (_, true) => "_option",
        _ => "",
    }
}

/// Writes how a message is read: objects only (serde's derive takes arrays too), every field at most once, no unknown
/// ones, and the required ones present.
fn read(options: &Options, message: &MessageDescriptor) -> Result<String, Box<dyn Error>> {
    let path = rust_path(message.full_name());
    let fields: Vec<FieldDescriptor> = message.fields().filter(|field| options.in_json(field)).collect();
    if fields.len() > 64 {
        return Err(format!("{}: more than 64 fields", message.full_name()).into());
    }
    let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
    let (mut arms, mut checks) = (String::new(), String::new());
    for (index, field) in fields.iter().enumerate() {
        let name = rust_field(field);
        let value = match field.kind() {
            Kind::Enum(kind) if !field.is_map() => {
                format!("crate::json::read_enum{}::<{}, A>(&mut map)?", suffix(field), rust_path(kind.full_name()))
            }
            Kind::Bytes => "crate::json::read_bytes(&mut map)?".to_owned(),
            _ => "map.next_value()?".to_owned(),
        };
        arms += &format!("                    {index} => out.{name} = {value},\n");
        if options.required(field) {
            let none = if is_optional(field) { format!(" || out.{name}.is_none()") } else { String::new() };
            checks += &format!(
                "                if seen & (1 << {index}) == 0{none} {{\n                    \
                 return Err(::serde::de::Error::missing_field(\"{}\"));\n                }}\n",
                field.name()
            );
        }
    }
    Ok(format!(
        "impl<'de> ::serde::Deserialize<'de> for {path} {{
    fn deserialize<D: ::serde::Deserializer<'de>>(from: D) -> ::core::result::Result<Self, D::Error> {{
        struct Object;
        impl<'de> ::serde::de::Visitor<'de> for Object {{
            type Value = {path};
            fn expecting(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{
                f.write_str(\"an object\")
            }}
            #[allow(unused_mut, unused_variables, clippy::never_loop)]
            fn visit_map<A: ::serde::de::MapAccess<'de>>(self, mut map: A) -> ::core::result::Result<{path}, A::Error> {{
                const FIELDS: &[&str] = &{names:?};
                let mut out = {path}::default();
                let mut seen = 0u64;
                while let Some(index) = map.next_key_seed(crate::json::FieldIndex(FIELDS, &mut seen))? {{
                    match index {{
{arms}                    _ => {{}}
                    }}
                }}
{checks}                Ok(out)
            }}
        }}
        from.deserialize_map(Object)
    }}
}}
"
    ))
}

/// Writes how messages are read, the names of the enum values, and the `Debug` of messages with secrets.
pub fn code(options: &Options) -> Result<String, Box<dyn Error>> {
    let mut code = String::new();
    for message in options.messages() {
        code += &read(options, &message)?;
    }
    for kind in options.enums() {
        let prefix = crate::options::snake(kind.name()).to_uppercase() + "_";
        let values: Vec<String> = kind
            .values()
            .map(|value| {
                let name = value.name().strip_prefix(&prefix).unwrap_or(value.name()).to_lowercase();
                format!("({}, \"{name}\")", value.number())
            })
            .collect();
        code += &format!(
            "impl crate::Enumeration for {} {{\n    const VALUES: &'static [(i32, &'static str)] = &[{}];\n}}\n",
            rust_path(kind.full_name()),
            values.join(", ")
        );
    }
    for message in secret_messages(options) {
        code += &format!(
            "impl ::core::fmt::Debug for {} {{\n    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{\n        f.debug_struct(\"{}\")",
            rust_path(message.full_name()),
            message.name()
        );
        for field in message.fields() {
            let value =
                if is_secret(&field) { "&\"(secret)\"".to_owned() } else { format!("&self.{}", rust_field(&field)) };
            code += &format!(".field(\"{}\", {value})", field.name());
        }
        code += ".finish()\n    }\n}\n";
    }
    Ok(code)
}

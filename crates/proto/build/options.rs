//! Reads the options of methods and fields out of the descriptors.

use std::error::Error;

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, FileDescriptor,
    MessageDescriptor, MethodDescriptor, ServiceDescriptor, Value,
};

/// Tells whether a package is a service's contract (not the options, not Google's).
pub fn is_contract(package: &str) -> bool {
    package.starts_with("mallard.") && package != "mallard.api.v1"
}

/// Returns the service folder of a package or full name: `mallard.order.v1` and `mallard.order.v1.Order` give `order`.
pub fn dir(name: &str) -> &str {
    name.split('.').nth(1).unwrap_or_default()
}

/// Returns the Rust path of a message or enum inside the crate.
pub fn rust_path(full_name: &str) -> String {
    let short = full_name.trim_start_matches("mallard.");
    match full_name {
        "google.protobuf.Empty" => "()".to_owned(),
        "google.protobuf.Timestamp" => "crate::Timestamp".to_owned(),
        _ => format!("crate::{}", short.replace('.', "::")),
    }
}

/// Returns a field's Rust name.
pub fn rust_field(field: &FieldDescriptor) -> String {
    const KEYWORDS: [&str; 9] = ["type", "ref", "move", "match", "use", "in", "as", "mod", "return"];
    if KEYWORDS.contains(&field.name()) { format!("r#{}", field.name()) } else { field.name().to_owned() }
}

/// Turns `GetProduct` into `get_product`.
pub fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// One REST binding of a method.
pub struct Binding {
    pub verb: &'static str,
    pub path: String,
    pub body: bool,
}

/// What `mallard.api.v1.rest` says of a method.
pub struct Rest {
    pub status: i32,
    pub access: i32,
    pub idempotency: i32,
    pub etag: String,
    pub dangerous: bool,
    pub tier: i32,
}

/// The descriptors and the extensions that are read from them.
pub struct Options {
    pool: DescriptorPool,
    http: ExtensionDescriptor,
    rest: ExtensionDescriptor,
    header: ExtensionDescriptor,
    query: ExtensionDescriptor,
    internal: ExtensionDescriptor,
    required: ExtensionDescriptor,
}

impl Options {
    pub fn new(pool: DescriptorPool) -> Result<Options, Box<dyn Error>> {
        let find = |name: &str| pool.get_extension_by_name(name).ok_or_else(|| format!("extension {name} is missing"));
        Ok(Options {
            http: find("google.api.http")?,
            rest: find("mallard.api.v1.rest")?,
            header: find("mallard.api.v1.header")?,
            query: find("mallard.api.v1.query")?,
            internal: find("mallard.api.v1.internal")?,
            required: find("mallard.api.v1.required")?,
            pool,
        })
    }

    pub fn packages(&self) -> Vec<String> {
        let mut packages: Vec<String> =
            self.pool.files().map(|file| file.package_name().to_owned()).filter(|name| is_contract(name)).collect();
        packages.sort();
        packages.dedup();
        packages
    }

    pub fn messages(&self) -> impl Iterator<Item = MessageDescriptor> + '_ {
        self.pool.all_messages().filter(|message| is_contract(message.package_name()) && !message.is_map_entry())
    }

    pub fn enums(&self) -> impl Iterator<Item = EnumDescriptor> + '_ {
        self.pool.all_enums().filter(|e| is_contract(e.package_name()))
    }

    pub fn services(&self) -> impl Iterator<Item = ServiceDescriptor> + '_ {
        self.pool.services().filter(|service| is_contract(service.package_name()))
    }

    pub fn header(&self, field: &FieldDescriptor) -> String {
        text(&field.options(), &self.header)
    }

    /// Returns the name of the field as a query parameter.
    pub fn query(&self, field: &FieldDescriptor) -> String {
        let name = text(&field.options(), &self.query);
        if name.is_empty() { field.name().to_owned() } else { name }
    }

    pub fn internal(&self, field: &FieldDescriptor) -> bool {
        field.options().get_extension(&self.internal).as_bool().unwrap_or_default()
    }

    pub fn required(&self, field: &FieldDescriptor) -> bool {
        field.options().get_extension(&self.required).as_bool().unwrap_or_default()
    }

    /// Tells whether the field is part of the JSON form.
    pub fn in_json(&self, field: &FieldDescriptor) -> bool {
        !self.internal(field) && self.header(field).is_empty()
    }

    pub fn rest(&self, method: &MethodDescriptor) -> Rest {
        let options = method.options();
        let value = options.get_extension(&self.rest);
        let message = value.as_message();
        let number = |name: &str| -> i32 {
            let field = message.and_then(|m| m.get_field_by_name(name));
            field.and_then(|v| v.as_i32().or_else(|| v.as_enum_number())).unwrap_or_default()
        };
        let etag = message.and_then(|m| m.get_field_by_name("etag")).and_then(|v| v.as_str().map(str::to_owned));
        Rest {
            status: number("status"),
            access: number("access"),
            idempotency: number("idempotency"),
            etag: etag.unwrap_or_default(),
            dangerous: message
                .and_then(|m| m.get_field_by_name("dangerous"))
                .and_then(|v| v.as_bool())
                .unwrap_or_default(),
            tier: number("tier"),
        }
    }

    /// Returns the REST bindings of a method, the additional ones last.
    pub fn bindings(&self, method: &MethodDescriptor) -> Result<Vec<Binding>, Box<dyn Error>> {
        let options = method.options();
        if !options.has_extension(&self.http) {
            return Ok(Vec::new());
        }
        let value = options.get_extension(&self.http);
        let rule = value.as_message().ok_or("google.api.http is not a message")?;
        let mut bindings = vec![binding(rule)?];
        let more = rule.get_field_by_name("additional_bindings");
        for rule in more.as_ref().and_then(|v| v.as_list()).unwrap_or_default() {
            bindings.push(binding(rule.as_message().ok_or("an additional binding is not a message")?)?);
        }
        Ok(bindings)
    }

    /// Tells whether the method is marked as safe to send twice, and whether it changes nothing at all.
    pub fn idempotent(&self, method: &MethodDescriptor) -> (bool, bool) {
        let options = method.options();
        let level = options.get_field_by_name("idempotency_level").and_then(|v| v.as_enum_number()).unwrap_or_default();
        (level != 0, level == 1)
    }
}

fn binding(rule: &DynamicMessage) -> Result<Binding, Box<dyn Error>> {
    let get = |name: &str| rule.get_field_by_name(name).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let body = match get("body").as_str() {
        "" => false,
        "*" => true,
        other => return Err(format!("body: \"{other}\" is not supported, only \"*\"").into()),
    };
    for (field, verb) in [("get", "GET"), ("put", "PUT"), ("post", "POST"), ("delete", "DELETE"), ("patch", "PATCH")] {
        let path = get(field);
        if !path.is_empty() {
            return Ok(Binding { verb, path, body });
        }
    }
    Err("an http rule names no path".into())
}

fn text(options: &DynamicMessage, extension: &ExtensionDescriptor) -> String {
    match options.get_extension(extension).as_ref() {
        Value::String(text) => text.clone(),
        _ => String::new(),
    }
}

/// Returns the comment above an element, trimmed, or nothing.
pub fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let proto = file.file_descriptor_proto();
    let locations = proto.source_code_info.as_ref().map(|info| info.location.as_slice()).unwrap_or_default();
    let found = locations.iter().find(|location| location.path == path);
    let text = found.map(|location| location.leading_comments().trim()).unwrap_or_default();
    text.lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

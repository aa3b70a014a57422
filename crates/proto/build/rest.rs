//! The REST table: typed code per method, one route per binding.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};

use crate::options::{Options, comment, dir, rust_field, rust_path, snake};

#[derive(Default)]
struct Use {
    path_params: BTreeSet<String>,
    query: bool,
}

pub fn code(options: &Options) -> Result<String, Box<dyn Error>> {
    let mut requests: BTreeMap<String, (MessageDescriptor, Use)> = BTreeMap::new();
    let mut answers: BTreeMap<String, MessageDescriptor> = BTreeMap::new();
    let mut methods = String::new();
    let mut routes = String::new();
    for service in options.services() {
        for method in service.methods() {
            let bindings = options.bindings(&method)?;
            if bindings.is_empty() {
                continue;
            }
            let (input, output) = (method.input(), method.output());
            let rest = options.rest(&method);
            let marker = format!("{}{}", service.name(), method.name());
            let module = rust_path(service.package_name());
            methods += &format!(
                "/// `{}`\npub struct {marker};\nimpl Method for {marker} {{\n    type Request = {};\n    type Answer = {};\n    \
                 async fn call(channel: mallard_rpc::ServiceChannel, request: Self::Request) -> Result<Self::Answer, tonic::Status> {{\n        \
                 let mut client = <{module}::{}_client::{}Client<_> as mallard_rpc::Client>::from_channel(channel);\n        \
                 client.{}(request).await.map(tonic::Response::into_inner)\n    }}\n",
                method.full_name(),
                rust_path(input.full_name()),
                rust_path(output.full_name()),
                snake(service.name()),
                service.name(),
                snake(method.name()),
            );
            methods += &etag(&output, &rest.etag)?;
            methods += "}\n";

            for (index, binding) in bindings.iter().enumerate() {
                let params: Vec<String> = params(&binding.path)?;
                let entry =
                    requests.entry(input.full_name().to_owned()).or_insert_with(|| (input.clone(), Use::default()));
                for param in &params {
                    let field =
                        input.get_field_by_name(param).ok_or_else(|| format!("{}: no field {param}", binding.path))?;
                    if field.kind() != Kind::String {
                        return Err(format!("{}: path parameter {param} must be a string", binding.path).into());
                    }
                    entry.1.path_params.insert(param.clone());
                }
                entry.1.query |= !binding.body;
                let status = match (rest.status, output.full_name()) {
                    (0, "google.protobuf.Empty") => 204,
                    (0, _) => 200,
                    (status, _) => status,
                };
                let access = ["Public", "User", "Seller", "Admin"][rest.access as usize];
                let tier = ["Default", "Pay", "Order", "Cart", "Browse", "Assistant"][rest.tier as usize];
                let idempotency = ["None", "Accepted", "Required"][rest.idempotency as usize];
                routes += &format!(
                    "    visitor.route::<{marker}>(&RouteInfo {{ verb: \"{}\", path: \"{}\", service: \"{}\", name: \"{}\", rpc: \"/{}/{}\", \
                     binding: {index}, body: {}, status: {status}, access: Access::{access}, idempotency: Idempotency::{idempotency}, etag: {}, safe: {}, dangerous: {}, tier: Tier::{tier}, \
                     path_params: &{params:?}, request: \"{}\", answer: \"{}\", doc: {:?} }});\n",
                    binding.verb,
                    binding.path,
                    dir(service.package_name()),
                    method.name(),
                    service.full_name(),
                    method.name(),
                    binding.body,
                    !rest.etag.is_empty(),
                    options.idempotent(&method).1,
                    rest.dangerous,
                    input.full_name(),
                    output.full_name(),
                    comment(&method.parent_file(), method.path()),
                );
            }
            if output.full_name() != "google.protobuf.Empty" {
                answers.insert(output.full_name().to_owned(), output);
            }
        }
    }
    let mut code = methods;
    for (message, used) in requests.values() {
        code += &request(options, message, used)?;
    }
    for message in answers.values() {
        code += &answer(options, message)?;
    }
    code += &format!(
        "/// Shows every REST route of the contracts to the visitor, in the order of the contracts.\n\
         pub fn routes(visitor: &mut impl Visitor) {{\n{routes}}}\n"
    );
    Ok(code)
}

fn params(path: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let mut params = Vec::new();
    for segment in path.split('/').filter(|segment| segment.contains('{')) {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        params.push(name.ok_or_else(|| format!("{path}: a parameter must be a whole segment"))?.to_owned());
    }
    Ok(params)
}

/// Writes the walk from the answer to its version, e.g. `order.version`.
fn etag(output: &MessageDescriptor, path: &str) -> Result<String, Box<dyn Error>> {
    if path.is_empty() {
        return Ok(String::new());
    }
    let (outer, inner) = path.split_once('.').ok_or_else(|| format!("etag {path}: must be message.field"))?;
    let field = output.get_field_by_name(outer).ok_or_else(|| format!("{}: no field {outer}", output.full_name()))?;
    let Kind::Message(message) = field.kind() else { return Err(format!("etag {path}: {outer} is no message").into()) };
    let version =
        message.get_field_by_name(inner).ok_or_else(|| format!("{}: no field {inner}", message.full_name()))?;
    if version.kind() != Kind::Int64 {
        return Err(format!("etag {path}: {inner} must be int64").into());
    }
    Ok(format!(
        "    fn version(answer: &Self::Answer) -> Option<i64> {{\n        answer.{outer}.as_ref().map(|it| it.{inner})\n    }}\n"
    ))
}

fn request(options: &Options, message: &MessageDescriptor, used: &Use) -> Result<String, Box<dyn Error>> {
    let mut path = String::new();
    for param in &used.path_params {
        path += &format!("            \"{param}\" => Some(&mut self.{param}),\n");
    }
    let mut query = String::new();
    if used.query {
        for field in message.fields().filter(|field| options.in_json(field)) {
            query += &format!("            \"{}\" => {},\n", options.query(&field), read_query(options, &field)?);
        }
    }
    let mut headers = String::new();
    for field in message.fields().filter(|field| !options.header(field).is_empty()) {
        let (name, header) = (rust_field(&field), options.header(&field));
        headers += &match (field.kind(), header.as_str()) {
            (Kind::Int64, "If-Match") => format!("        self.{name} = header::if_match(headers)?;\n"),
            (Kind::String, header) => format!("        self.{name} = header::text(headers, \"{header}\")?;\n"),
            _ => return Err(format!("{}: cannot travel in header {header}", field.full_name()).into()),
        };
    }
    let unused = |code: &str, name: &'static str| if code.is_empty() { format!("_{name}") } else { name.to_owned() };
    Ok(format!(
        "impl Request for {} {{\n    \
         fn path_param(&mut self, {}: &str) -> Option<&mut String> {{\n        match name {{\n{path}            _ => None,\n        }}\n    }}\n    \
         fn query_param(&mut self, {}: &str, {}: &str) -> Result<Slot, Error> {{\n        match name {{\n{query}            _ => Ok(Slot::Unknown),\n        }}\n    }}\n    \
         fn read_headers(&mut self, {}: &http::HeaderMap) -> Result<(), Error> {{\n{headers}        Ok(())\n    }}\n}}\n",
        rust_path(message.full_name()),
        "name",
        "name",
        unused(&query, "value"),
        unused(&headers, "headers"),
    )
    .replace("match name {\n            _ => None,\n        }", "let _ = name;\n        None")
    .replace("match name {\n            _ => Ok(Slot::Unknown),\n        }", "let _ = name;\n        Ok(Slot::Unknown)"))
}

fn read_query(options: &Options, field: &FieldDescriptor) -> Result<String, Box<dyn Error>> {
    let name = options.query(field);
    let target = format!("&mut self.{}", rust_field(field));
    if field.is_map() {
        return Err(format!("{}: a map cannot be a query parameter", field.full_name()).into());
    }
    match field.kind() {
        Kind::Enum(kind) if field.cardinality() != Cardinality::Repeated && !field.supports_presence() => {
            Ok(format!("query::read_enum::<{}>({target}, \"{name}\", value)", rust_path(kind.full_name())))
        }
        Kind::String | Kind::Bool | Kind::Int32 | Kind::Int64 => {
            Ok(format!("query::read({target}, \"{name}\", value)"))
        }
        other => Err(format!("{}: {other:?} cannot be a query parameter", field.full_name()).into()),
    }
}

fn answer(options: &Options, message: &MessageDescriptor) -> Result<String, Box<dyn Error>> {
    let mut headers = String::new();
    for field in message.fields().filter(|field| !options.header(field).is_empty()) {
        if field.kind() != Kind::String {
            return Err(format!("{}: only text travels in an answer's header", field.full_name()).into());
        }
        headers += &format!(
            "        header::write(headers, \"{}\", &self.{});\n",
            options.header(&field).to_lowercase(),
            rust_field(&field)
        );
    }
    let path = rust_path(message.full_name());
    if headers.is_empty() {
        return Ok(format!("impl Answer for {path} {{}}\n"));
    }
    Ok(format!(
        "impl Answer for {path} {{\n    fn write_headers(&self, headers: &mut http::HeaderMap) {{\n{headers}    }}\n}}\n"
    ))
}

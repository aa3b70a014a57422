//! Messages as JSON schemas.

use std::collections::BTreeMap;

use mallard_proto::schema::{self, Field, Kind, Label};
use serde_json::{Map, Value, json};

use super::is_always_there;

/// Collects the schemas that the operations refer to.
#[derive(Default)]
pub struct Models {
    done: BTreeMap<String, Value>,
    /// Messages to be described, with whether they are read from a body.
    wanted: Vec<(&'static str, bool)>,
}

/// Names a schema by its service and message: `order.Order`.
fn short(full: &str) -> String {
    let mut parts = full.split('.').skip(1);
    let service = parts.next().unwrap_or_default();
    format!("{service}.{}", full.rsplit('.').next().unwrap_or_default())
}

impl Models {
    /// Returns a reference to a message of an answer.
    pub fn reference(&mut self, message: &'static str) -> Value {
        self.wanted.push((message, false));
        json!({"$ref": format!("#/components/schemas/{}", short(message))})
    }

    /// Returns a reference to a message as a request's body, which does not repeat the path parameters.
    pub fn request_body(&mut self, message: &'static str, path_params: &[&str]) -> Value {
        let name = short(message);
        if !self.done.contains_key(&name) {
            let schema = self.object(message, path_params, true);
            self.done.insert(name.clone(), schema);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// Returns the schema of a field's value, without its comment.
    pub fn value(&mut self, field: &Field) -> Value {
        self.value_in(field, false)
    }

    fn value_in(&mut self, field: &Field, body: bool) -> Value {
        let one = match field.kind {
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Int32 => json!({"type": "integer", "format": "int32"}),
            Kind::Int64 => json!({"type": "integer", "format": "int64"}),
            Kind::Double => json!({"type": "number"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Timestamp => json!({"type": "string", "format": "date-time"}),
            Kind::Enum(name) => self.enumeration(name),
            Kind::Message(name) => {
                self.wanted.push((name, body));
                json!({"$ref": format!("#/components/schemas/{}", short(name))})
            }
        };
        match field.label {
            Label::One | Label::Optional => one,
            Label::Many => json!({"type": "array", "items": one}),
            Label::Map => json!({"type": "object", "additionalProperties": one}),
        }
    }

    fn enumeration(&mut self, full: &str) -> Value {
        let name = short(full);
        if let Some(kind) = schema::enumeration(full) {
            let values: Vec<&str> = kind.values.iter().map(|(name, _)| *name).collect();
            let mut schema = json!({"type": "string", "enum": values});
            if !kind.doc.is_empty() {
                schema["description"] = kind.doc.into();
            }
            self.done.insert(name.clone(), schema);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    fn object(&mut self, message: &'static str, leave_out: &[&str], body: bool) -> Value {
        let Some(message) = schema::message(message) else { return json!({"type": "object"}) };
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for field in message.fields.iter().filter(|field| !field.internal && field.header.is_empty()) {
            if leave_out.contains(&field.name) {
                continue;
            }
            let mut value = self.value_in(field, body);
            if !field.doc.is_empty() {
                // Beside a reference a description is allowed since 3.1.
                value["description"] = field.doc.into();
            }
            properties.insert(field.name.to_owned(), value);
            if field.required || (!body && is_always_there(field)) {
                required.push(field.name);
            }
        }
        let mut schema = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        if body {
            schema["additionalProperties"] = false.into();
        }
        if !message.doc.is_empty() {
            schema["description"] = message.doc.into();
        }
        schema
    }

    /// Describes everything that was referred to and returns the schemas by name.
    pub fn finish(mut self) -> Value {
        // Bodies first: a message that is both read and written is described as it may be sent.
        for body in [true, false] {
            while let Some(index) = self.wanted.iter().position(|(_, of_body)| *of_body == body) {
                let (message, _) = self.wanted.swap_remove(index);
                let name = short(message);
                if !self.done.contains_key(&name) {
                    // Entered first, so that a message within itself ends.
                    self.done.insert(name.clone(), Value::Null);
                    let schema = self.object(message, &[], body);
                    self.done.insert(name, schema);
                }
            }
        }
        self.done.insert("Error".to_owned(), error());
        json!(self.done)
    }
}

fn error() -> Value {
    let kinds: Vec<&str> = mallard_types::error::KINDS.iter().map(|kind| kind.as_str()).collect();
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {"error": {
            "type": "object",
            "required": ["type", "code", "message", "request_id"],
            "properties": {
                "type": {"type": "string", "enum": kinds, "description": "Class of the error; each has one HTTP status."},
                "code": {"type": "string", "description": "Stable word for programs."},
                "message": {"type": "string", "description": "Sentence for people."},
                "param": {"type": "string", "description": "Parameter at fault, e.g. items[0].quantity."},
                "details": {"type": "object", "description": "More for programs."},
                "request_id": {"type": "string", "description": "Names the request in the logs."},
            },
        }},
    })
}

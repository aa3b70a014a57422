//! The OpenAPI 3.1 description of the routes, made from the contracts and their comments.

use std::collections::BTreeSet;

use mallard_proto::rest::{Access, Idempotency, RouteInfo};
use mallard_proto::schema::{self, Field, Label};
use serde_json::{Map, Value, json};

use crate::table::Route;

mod model;

use model::Models;

/// Makes the document. `version` is the version of the mall.
pub fn document(routes: &[Route], version: &str) -> Value {
    let mut models = Models::default();
    let mut paths: Map<String, Value> = Map::new();
    let mut tags = BTreeSet::new();
    for route in routes {
        tags.insert(route.info.service);
        let verb = route.info.verb.to_ascii_lowercase();
        let operation = operation(route, &mut models);
        let place = paths.entry(route.info.path.to_owned()).or_insert_with(|| json!({}));
        if let Value::Object(place) = place {
            place.insert(verb, operation);
        }
    }
    let tags: Vec<Value> = tags.into_iter().map(|name| json!({"name": name})).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Mallard",
            "version": version,
            "summary": "The public API of the mall.",
            "description": "Amounts are integer minor units with a currency. Times are RFC 3339, UTC. Lists page by cursor. \
                            Every error has one form.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": models.finish(),
            "responses": {"Error": {
                "description": "The request was refused or failed.",
                "headers": {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}},
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            }},
            "headers": {
                "RequestId": {"description": "Id of the request, for support.", "schema": {"type": "string"}},
                "ETag": {"description": "Version of the thing, for If-Match and If-None-Match.", "schema": {"type": "string"}},
                "RetryAfter": {"description": "Seconds to wait before trying again.", "schema": {"type": "integer"}},
                "Replayed": {"description": "\"true\" when the answer is that of an earlier request with the same key.", "schema": {"type": "string"}},
            },
            "securitySchemes": {"token": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "The access token of /auth/v1/login or /auth/v1/register.",
            }},
        },
    })
}

fn operation(route: &Route, models: &mut Models) -> Value {
    let info = route.info;
    let (summary, description) = describe(info, route.access);
    let mut operation = json!({
        "operationId": operation_id(info),
        "tags": [info.service],
        "summary": summary,
        "parameters": parameters(info, models),
        "responses": responses(route, models),
    });
    if !description.is_empty() {
        operation["description"] = description.into();
    }
    if info.body {
        let schema = models.request_body(info.request, info.path_params);
        let required =
            schema::message(info.request).is_some_and(|message| message.fields.iter().any(|field| field.required));
        operation["requestBody"] = json!({"required": required, "content": {"application/json": {"schema": schema}}});
    }
    // An empty alternative says that the token is welcome but not needed.
    operation["security"] =
        if route.access == Access::Public { json!([{}, {"token": []}]) } else { json!([{"token": []}]) };
    operation
}

/// Names the operation: the method, and for its additional routes the surface in front.
fn operation_id(info: &RouteInfo) -> String {
    if info.binding == 0 {
        return info.name.to_owned();
    }
    let mut surface = info.path.split('/').nth(1).unwrap_or_default().chars();
    let first = surface.next().map(|c| c.to_ascii_uppercase());
    format!("{}{}_{}", first.into_iter().collect::<String>(), surface.as_str(), info.name)
}

fn describe(info: &RouteInfo, access: Access) -> (String, String) {
    let (first, rest) = info.doc.split_once('\n').unwrap_or((info.doc, ""));
    let summary = if first.is_empty() { words(info.name) } else { first.to_owned() };
    let who = match access {
        Access::Public => "",
        Access::User => "For signed-in users.",
        Access::Seller => "For sellers and operators.",
        Access::Admin => "For operators.",
    };
    let parts: Vec<&str> = [rest, who].into_iter().filter(|part| !part.is_empty()).collect();
    (summary, parts.join("\n\n"))
}

/// Turns `ListProducts` into `List products`.
fn words(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push(' ');
            out.push(c.to_ascii_lowercase());
        } else {
            out.push(c);
        }
    }
    out
}

fn parameters(info: &RouteInfo, models: &mut Models) -> Vec<Value> {
    let Some(request) = schema::message(info.request) else { return Vec::new() };
    let mut list = Vec::new();
    for name in info.path_params {
        let doc = request.fields.iter().find(|field| field.name == *name).map_or("", |field| field.doc);
        list.push(parameter("path", name, true, doc, json!({"type": "string"})));
    }
    for field in request.fields.iter().filter(|field| !field.internal) {
        if !field.header.is_empty() {
            let required = field.header == "Idempotency-Key" && info.idempotency == Idempotency::Required;
            // A method that ignores the key has no such parameter.
            if field.header != "Idempotency-Key" || info.idempotency != Idempotency::None {
                list.push(header(field, required));
            }
        } else if !info.body && !info.path_params.contains(&field.name) {
            list.push(parameter("query", field.query, false, field.doc, models.value(field)));
        }
    }
    let has_key = request.fields.iter().any(|field| field.header == "Idempotency-Key");
    if !has_key && info.idempotency != Idempotency::None {
        let required = info.idempotency == Idempotency::Required;
        list.push(parameter(
            "header",
            "Idempotency-Key",
            required,
            KEY_DOC,
            json!({"type": "string", "minLength": 1, "maxLength": 255}),
        ));
    }
    if info.etag && info.verb == "GET" {
        list.push(parameter(
            "header",
            "If-None-Match",
            false,
            "Answers 304 when the version is still this one.",
            json!({"type": "string"}),
        ));
    }
    list
}

const KEY_DOC: &str = "The same key with the same body is done once and answered the same.";

fn header(field: &Field, required: bool) -> Value {
    let (doc, schema) = match field.header {
        "Idempotency-Key" => (KEY_DOC, json!({"type": "string", "minLength": 1, "maxLength": 255})),
        "If-Match" => (
            "Refuses (412 version_mismatch) when the version is another one.",
            json!({"type": "string", "examples": ["\"7\""]}),
        ),
        "X-Cart-Token" => ("Names the cart of a guest.", json!({"type": "string"})),
        _ => (field.doc, json!({"type": "string"})),
    };
    parameter("header", field.header, required, doc, schema)
}

fn parameter(place: &str, name: &str, required: bool, doc: &str, schema: Value) -> Value {
    let mut value = json!({"in": place, "name": name, "required": required, "schema": schema});
    if !doc.is_empty() {
        value["description"] = doc.into();
    }
    value
}

fn responses(route: &Route, models: &mut Models) -> Value {
    let info = route.info;
    let mut headers = json!({"X-Request-Id": {"$ref": "#/components/headers/RequestId"}});
    if info.etag {
        headers["ETag"] = json!({"$ref": "#/components/headers/ETag"});
    }
    if info.idempotency != Idempotency::None {
        headers["Idempotent-Replayed"] = json!({"$ref": "#/components/headers/Replayed"});
    }
    let answer = schema::message(info.answer);
    for field in answer.map_or(&[][..], |message| message.fields).iter().filter(|field| !field.header.is_empty()) {
        headers[field.header] = json!({"description": field.doc, "schema": {"type": "string"}});
    }
    let mut success = json!({"description": "Done.", "headers": headers});
    if answer.is_some() {
        success["content"] = json!({"application/json": {"schema": models.reference(info.answer)}});
    }
    let mut responses = json!({info.status.to_string(): success});
    if info.etag && info.verb == "GET" {
        responses["304"] = json!({"description": "The version named in If-None-Match is still the present one."});
    }
    for status in statuses(route) {
        responses[status.to_string()] = json!({"$ref": "#/components/responses/Error"});
    }
    responses["default"] = json!({"$ref": "#/components/responses/Error"});
    responses
}

/// Lists the refusals that the route's rules lead to; others come under `default`.
fn statuses(route: &Route) -> Vec<u16> {
    let info = route.info;
    let reads = schema::message(info.request)
        .is_some_and(|message| message.fields.iter().any(|field| field.header == "If-Match"));
    let rules = [
        (true, 400),
        (route.access != Access::Public, 401),
        (route.access > Access::User, 403),
        (!info.path_params.is_empty(), 404),
        (!info.safe, 409),
        (reads, 412),
        (info.body, 413),
        (info.body, 415),
        (info.idempotency != Idempotency::None, 422),
        (true, 503),
    ];
    rules.into_iter().filter(|(applies, _)| *applies).map(|(_, status)| status).collect()
}

/// Tells whether a field has a value in every answer.
fn is_always_there(field: &Field) -> bool {
    field.label != Label::Optional && !field.name.ends_with("cursor")
}

//! The routes the public API promises, and their description.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::edge;
use mallard_gateway_core::openapi;
use mallard_rpc::Channels;
use serde_json::Value;

/// Every route of the public API that a contract covers today: verbs and path.
const PROMISED: &[(&str, &str)] = &[
    ("POST", "/auth/v1/register"),
    ("POST", "/auth/v1/login"),
    ("POST", "/auth/v1/refresh"),
    ("POST", "/auth/v1/logout"),
    ("POST", "/auth/v1/verify"),
    ("GET", "/auth/v1/sessions"),
    ("DELETE", "/auth/v1/sessions/{id}"),
    ("GET PATCH DELETE", "/store/v1/me"),
    ("GET POST", "/store/v1/me/addresses"),
    ("PATCH DELETE", "/store/v1/me/addresses/{id}"),
    ("GET", "/store/v1/products"),
    ("GET", "/store/v1/products/{id}"),
    ("POST", "/store/v1/products/batch-get"),
    ("GET", "/store/v1/categories"),
    ("GET", "/store/v1/cart"),
    ("POST DELETE", "/store/v1/cart/lines"),
    ("PUT DELETE", "/store/v1/cart/lines/{sku_id}"),
    ("POST", "/store/v1/checkout/quote"),
    ("GET POST", "/store/v1/orders"),
    ("GET PATCH", "/store/v1/orders/{id}"),
    ("GET", "/store/v1/orders/{id}/events"),
    ("POST", "/store/v1/orders/{id}/cancel"),
    ("POST", "/store/v1/orders/{id}/pay"),
    ("GET", "/store/v1/payments/{id}"),
    ("POST", "/store/v1/payments/{id}/cancel"),
    ("GET POST", "/admin/v1/products"),
    ("GET PATCH DELETE", "/admin/v1/products/{id}"),
    ("POST", "/admin/v1/products/{id}/list"),
    ("POST", "/admin/v1/products/{id}/delist"),
    ("GET POST", "/seller/v1/products"),
    ("GET PATCH DELETE", "/seller/v1/products/{id}"),
    ("POST", "/seller/v1/products/{id}/list"),
    ("POST", "/seller/v1/products/{id}/delist"),
    ("GET POST", "/admin/v1/categories"),
    ("GET POST", "/admin/v1/brands"),
    ("GET", "/admin/v1/inventory/{sku_id}"),
    ("POST", "/admin/v1/inventory/{sku_id}/adjust"),
    ("GET", "/admin/v1/inventory/{sku_id}/ledger"),
    ("GET", "/seller/v1/inventory/{sku_id}"),
    ("GET", "/admin/v1/orders"),
    ("GET", "/admin/v1/orders/{id}"),
    ("POST", "/admin/v1/orders/{id}/cancel"),
    ("POST", "/admin/v1/orders/{id}/ship"),
    ("POST", "/admin/v1/orders/{id}/deliver"),
    ("POST", "/admin/v1/orders/{id}/refund"),
    ("GET", "/admin/v1/payments"),
    ("POST", "/admin/v1/payments/{id}/refund"),
    ("GET", "/admin/v1/ledger/accounts"),
    ("GET", "/admin/v1/ledger/entries"),
    ("GET", "/admin/v1/users"),
    ("POST", "/admin/v1/users/{id}/ban"),
    ("POST", "/admin/v1/users/{id}/unban"),
    ("POST", "/admin/v1/users/{id}/kick"),
    ("GET PUT", "/admin/v1/users/{id}/roles"),
    ("GET", "/admin/v1/check"),
    ("GET", "/admin/v1/system/services"),
    ("GET", "/admin/v1/system/dead-letters"),
];

fn document() -> Value {
    openapi::document(edge(&Channels::default()).routes(), "1.2.3")
}

#[test]
fn every_promised_route_exists() {
    let edge = edge(&Channels::default());
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for route in edge.routes() {
        found.entry(route.info.path).or_default().insert(route.info.verb);
    }
    let missing: Vec<String> = PROMISED
        .iter()
        .flat_map(|(verbs, path)| verbs.split(' ').map(move |verb| (verb, *path)))
        .filter(|(verb, path)| !found.get(path).is_some_and(|verbs| verbs.contains(verb)))
        .map(|(verb, path)| format!("{verb} {path}"))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn keys_are_required_where_the_api_says_so() {
    let edge = edge(&Channels::default());
    let required: BTreeSet<&str> = edge
        .routes()
        .iter()
        .filter(|route| route.info.idempotency == mallard_proto::rest::Idempotency::Required)
        .map(|route| route.info.path)
        .collect();
    let expected = [
        "/admin/v1/orders/{id}/refund",
        "/admin/v1/payments/{id}/refund",
        "/admin/v1/returns/{id}/approve",
        "/store/v1/orders",
        "/store/v1/orders/{id}/pay",
    ];
    assert_eq!(required, expected.into());
}

#[test]
fn the_description_refers_only_to_what_it_holds() {
    fn check(value: &Value, document: &Value, count: &mut usize) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(reference)) = map.get("$ref") {
                    let pointer = reference.strip_prefix('#').expect("only local references");
                    let target = document.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"));
                    assert!(target.is_object(), "{reference}");
                    *count += 1;
                }
                map.values().for_each(|inner| check(inner, document, count));
            }
            Value::Array(list) => list.iter().for_each(|inner| check(inner, document, count)),
            _ => {}
        }
    }
    let document = document();
    let mut count = 0;
    check(&document, &document, &mut count);
    assert!(count > 200, "{count}");
}

#[test]
fn every_route_is_described_once_with_parameters_and_answers() {
    let document = document();
    let edge = edge(&Channels::default());
    let mut names = BTreeSet::new();
    for route in edge.routes() {
        let operation = &document["paths"][route.info.path][route.info.verb.to_lowercase()];
        let name =
            operation["operationId"].as_str().unwrap_or_else(|| panic!("{} {}", route.info.verb, route.info.path));
        assert!(names.insert(name.to_owned()), "{name} twice");
        assert!(!operation["summary"].as_str().unwrap().is_empty());
        assert!(operation["responses"][route.info.status.to_string()].is_object());
        let parameters = operation["parameters"].as_array().unwrap();
        for param in route.info.path_params {
            assert!(
                parameters.iter().any(|p| p["in"] == "path" && p["name"] == *param && p["required"] == true),
                "{name} {param}"
            );
        }
    }
}

#[test]
fn the_description_says_what_the_contracts_say() {
    let document = document();
    assert_eq!((document["openapi"].as_str(), document["info"]["version"].as_str()), (Some("3.1.0"), Some("1.2.3")));
    let place = &document["paths"]["/store/v1/orders"]["post"];
    assert_eq!(
        place["responses"]["201"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/order.PlaceOrderResponse"
    );
    let parameters = place["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|p| p["name"] == "Idempotency-Key" && p["required"] == true));
    let body = &document["components"]["schemas"]["order.PlaceOrderRequest"];
    assert_eq!(body["required"], serde_json::json!(["payment", "expected_total"]));
    assert_eq!(body["additionalProperties"], false);
    for hidden in ["idempotency_key", "on_behalf_of", "reference"] {
        assert!(body["properties"].get(hidden).is_none(), "{hidden}");
    }
    let query = document["paths"]["/store/v1/products"]["get"]["parameters"].as_array().unwrap();
    assert!(query.iter().any(|p| p["name"] == "price[gte]" && p["schema"]["format"] == "int64"));
    let status = &document["components"]["schemas"]["order.OrderStatus"]["enum"];
    assert_eq!(status[0], "pending_payment");
    let product = &document["components"]["schemas"]["catalog.Product"];
    assert!(product["required"].as_array().unwrap().contains(&"id".into()));
    assert!(!product["required"].as_array().unwrap().contains(&"brand".into()));
    assert_eq!(document["paths"]["/store/v1/me"]["get"]["security"], serde_json::json!([{"token": []}]));
}

//! What the audit log says of products, categories, brands and pictures.

use serde::Serialize;
use serde_json::Value;

use crate::domain::{Brand, Category, Image, Product};
use crate::rpc::{brand_out, category_out, image_out, product_out};

/// Tells what a product was and what it is; none before it was made.
pub(super) fn product(before: Option<&Product>, after: &Product) -> (Value, Value) {
    (before.map_or(Value::Null, product_json), product_json(after))
}

pub(super) fn category(made: &Category) -> (Value, Value) {
    (Value::Null, json(&category_out(made)))
}

pub(super) fn brand(made: &Brand) -> (Value, Value) {
    (Value::Null, json(&brand_out(made)))
}

pub(super) fn image(kept: &Image) -> (Value, Value) {
    (Value::Null, json(&image_out(kept)))
}

fn product_json(product: &Product) -> Value {
    let mut value = json(&product_out(product));
    if let Value::Object(fields) = &mut value {
        // They differ with every change and say nothing about it.
        fields.retain(|name, _| !matches!(name.as_str(), "version" | "updated_at"));
    }
    value
}

fn json(message: &impl Serialize) -> Value {
    // Messages of the API have a JSON form; without one the record would say that nothing is there.
    serde_json::to_value(message).unwrap_or(Value::Null)
}

//! The JSON form of messages, as the public API promises it.

use std::collections::BTreeMap;

use mallard_proto::cart::v1::{AddLineRequest, Cart, CartLine, CartResponse, LineState};
use mallard_proto::catalog::v1::{
    CreateProductRequest, ListProductsResponse, Option as ProductOption, Product, Variant,
};
use mallard_proto::common::v1::Money;
use mallard_proto::identity::v1::{ChangePasswordRequest, LoginRequest, UpdateMeRequest};
use mallard_proto::order::v1::{LineInput, Order, OrderEventData, OrderStatus, PlaceOrderRequest};
use mallard_proto::payment::v1::{Payment, PaymentInput};
use mallard_proto::{Enumeration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn write(message: &impl serde::Serialize) -> Value {
    serde_json::to_value(message).unwrap()
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

#[test]
fn scalars_are_always_written_and_unset_messages_never() {
    let product = Product { id: "prod_1".into(), ..Product::default() };
    assert_eq!(
        write(&product),
        json!({"id": "prod_1", "title": "", "description": "", "status": "draft", "seller_id": "", "category_ids": [], "images": [],
               "options": [], "variants": [], "version": 0, "translations": {}})
    );
}

#[test]
fn money_is_a_number_of_minor_units() {
    let money = Money { amount: 9_007_199_254_740_993, currency: "CNY".into() };
    assert_eq!(serde_json::to_string(&money).unwrap(), r#"{"amount":9007199254740993,"currency":"CNY"}"#);
    assert_eq!(
        read::<Money>(json!({"amount": 990, "currency": "CNY"})).unwrap(),
        Money { amount: 990, currency: "CNY".into() }
    );
    for wrong in [json!("990"), json!(9.9), json!(990.0), json!(null), json!(true), json!([990])] {
        let error = read::<Money>(json!({"amount": wrong.clone(), "currency": "CNY"})).unwrap_err();
        assert!(error.contains("expected i64"), "{wrong}: {error}");
    }
}

#[test]
fn enums_are_lower_snake_case_without_their_prefix() {
    let order = Order { status: OrderStatus::PartiallyShipped.into(), ..Order::default() };
    let value = write(&order);
    assert_eq!(value["status"], "partially_shipped");
    assert_eq!(value["payment_status"], "pending");
    assert_eq!(OrderStatus::from_name("pending_payment"), Some(OrderStatus::PendingPayment));
    assert_eq!(LineState::SoldOut.as_name(), "sold_out");
    let error = read::<Payment>(json!({"status": "stolen"})).unwrap_err();
    assert!(error.contains("must be one of pending, authorised, captured"), "{error}");
    assert!(read::<Payment>(json!({"status": 1})).unwrap_err().contains("expected one of pending"));
}

#[test]
fn a_status_that_no_one_knows_is_not_written() {
    let order = Order { status: 99, ..Order::default() };
    assert!(serde_json::to_string(&order).is_err());
}

#[test]
fn optional_fields_are_left_out_when_none() {
    assert!(write(&CartLine::default()).get("available").is_none());
    assert_eq!(write(&CartLine { available: Some(0), ..CartLine::default() })["available"], 0);
    let me: UpdateMeRequest = read(json!({"name": ""})).unwrap();
    assert_eq!((me.name.as_deref(), me.language), (Some(""), None));
}

#[test]
fn an_empty_cursor_is_left_out() {
    assert_eq!(write(&ListProductsResponse::default()), json!({"products": []}));
    let more = ListProductsResponse { next_cursor: "ab".into(), count: Some(7), ..Default::default() };
    assert_eq!(write(&more), json!({"products": [], "next_cursor": "ab", "count": 7}));
}

#[test]
fn unknown_fields_are_refused_at_any_depth() {
    assert!(
        read::<LoginRequest>(json!({"email": "a", "password": "b", "otp": 1}))
            .unwrap_err()
            .contains("unknown field `otp`")
    );
    let nested =
        json!({"payment": {"method": "card", "colour": "red"}, "expected_total": {"amount": 1, "currency": "CNY"}});
    assert!(read::<PlaceOrderRequest>(nested).unwrap_err().contains("unknown field `colour`"));
}

#[test]
fn fields_in_headers_and_internal_fields_are_neither_read_nor_written() {
    for field in ["idempotency_key", "on_behalf_of", "reference"] {
        let mut body = json!({"payment": {"method": "later"}, "expected_total": {"amount": 1, "currency": "CNY"}});
        body[field] = json!("x");
        assert!(read::<PlaceOrderRequest>(body).unwrap_err().contains("unknown field"), "{field}");
    }
    assert!(read::<AddLineRequest>(json!({"sku_id": "sku_1", "quantity": 1, "cart_token": "t"})).is_err());
    assert!(read::<LineInput>(json!({"sku_id": "sku_1", "quantity": 1, "agreed_unit_price_nanos": 1})).is_err());
    let answer = CartResponse { cart: Some(Cart::default()), cart_token: "secret".into() };
    assert!(!write(&answer).to_string().contains("secret"));
    let data = OrderEventData { order: Some(Order::default()), ..Default::default() };
    assert!(write(&data).get("order").is_none());
}

#[test]
fn required_fields_must_be_there() {
    assert!(read::<LoginRequest>(json!({"email": "a"})).unwrap_err().contains("missing field `password`"));
    let no_total = json!({"payment": {"method": "later"}});
    assert!(read::<PlaceOrderRequest>(no_total).unwrap_err().contains("missing field `expected_total`"));
    let null_total = json!({"payment": {"method": "later"}, "expected_total": null});
    assert!(read::<PlaceOrderRequest>(null_total).unwrap_err().contains("missing field `expected_total`"));
    assert!(read::<LineInput>(json!({"sku_id": "sku_1"})).unwrap_err().contains("missing field `quantity`"));
    assert_eq!(read::<LineInput>(json!({"sku_id": "sku_1", "quantity": 0})).unwrap().quantity, 0);
}

#[test]
fn only_objects_are_messages_and_fields_come_once() {
    assert!(read::<Money>(json!([990, "CNY"])).unwrap_err().contains("expected an object"));
    assert!(read::<LoginRequest>(json!("x")).unwrap_err().contains("expected an object"));
    let twice = serde_json::from_str::<Money>(r#"{"amount": 1, "amount": 2, "currency": "CNY"}"#);
    assert!(twice.unwrap_err().to_string().contains("duplicate field `amount`"));
    assert_eq!(read::<mallard_proto::identity::v1::GetMeRequest>(json!({})).unwrap(), Default::default());
}

#[test]
fn bytes_are_base64_text() {
    let event = mallard_proto::bus::v1::Event { payload: vec![0, 255], ..Default::default() };
    assert_eq!(write(&event)["payload"], "AP8=");
    assert_eq!(read::<mallard_proto::bus::v1::Event>(write(&event)).unwrap(), event);
}

#[test]
fn maps_and_words_of_the_language_keep_their_names() {
    let variant = Variant {
        options: BTreeMap::from([("size".into(), "M".into()), ("colour".into(), "red".into())]),
        ..Default::default()
    };
    assert_eq!(write(&variant)["options"].to_string(), r#"{"colour":"red","size":"M"}"#);
    let option: ProductOption = read(json!({"name": "size", "values": ["S", "M"]})).unwrap();
    assert_eq!(option.values, ["S", "M"]);
    let event: mallard_proto::order::v1::OrderEvent = read(json!({"type": "placed"})).unwrap();
    assert_eq!(event.r#type, "placed");
}

#[test]
fn times_are_rfc_3339() {
    let product = Product { created_at: Some(Timestamp::from_micros(1_767_225_600_250_000)), ..Product::default() };
    assert_eq!(write(&product)["created_at"], "2026-01-01T00:00:00.25Z");
    assert_eq!(read::<Product>(write(&product)).unwrap(), product);
}

#[test]
fn a_whole_product_survives_the_round_trip() {
    let body = json!({
        "title": "Mug", "variants": [{"title": "Red", "price": {"amount": 990, "currency": "CNY"}, "stock": 5, "options": {"colour": "red"}}],
        "options": [{"name": "colour", "values": ["red"]}], "status": "listed", "translations": {"zh": {"title": "杯", "description": ""}},
    });
    let request: CreateProductRequest = read(body).unwrap();
    assert_eq!(request.status, 1);
    assert_eq!(request.variants[0].stock, 5);
    assert_eq!(request.translations["zh"].title, "杯");
    assert_eq!(read::<CreateProductRequest>(write(&request)).unwrap(), request);
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let card = PaymentInput {
        method: "card".into(),
        number: "4242424242424242".into(),
        cvc: "123".into(),
        ..Default::default()
    };
    let shown = format!("{card:?}");
    assert!(shown.contains("card") && !shown.contains("4242") && !shown.contains("123"), "{shown}");
    let login = LoginRequest { email: "a@b".into(), password: "hunter2".into(), ..Default::default() };
    assert!(!format!("{login:?}").contains("hunter2"));
    let change = ChangePasswordRequest { current_password: "hunter2".into(), new_password: "hunter2".into() };
    assert!(!format!("{change:?}").contains("hunter2"));
}

//! What is generated besides the messages: routes, clients, events, schema.

use std::collections::BTreeSet;

use mallard_proto::events::{self, Event};
use mallard_proto::rest::{self, Access, Idempotency, Method, Request, RouteInfo, Slot, Visitor};
use mallard_proto::schema::{self, Kind};

#[derive(Default)]
struct Collect(Vec<&'static RouteInfo>);

impl Visitor for Collect {
    fn route<M: Method>(&mut self, info: &'static RouteInfo) {
        self.0.push(info);
    }
}

fn routes() -> Vec<&'static RouteInfo> {
    let mut collect = Collect::default();
    rest::routes(&mut collect);
    collect.0
}

#[test]
fn no_two_methods_share_a_verb_and_a_path() {
    let mut seen = BTreeSet::new();
    for route in routes() {
        assert!(seen.insert((route.verb, route.path)), "{} {} twice", route.verb, route.path);
    }
}

#[test]
fn placing_an_order_carries_its_rules() {
    let routes = routes();
    let place = routes.iter().find(|route| route.name == "PlaceOrder").unwrap();
    assert_eq!((place.verb, place.path, place.status), ("POST", "/store/v1/orders", 201));
    assert_eq!((place.access, place.idempotency), (Access::User, Idempotency::Required));
    assert!(place.etag && place.body && !place.safe);
    let empty = routes.iter().find(|route| route.name == "DeleteMe").unwrap();
    assert_eq!((empty.status, empty.body), (204, false));
}

#[test]
fn routes_that_change_something_keep_the_key_in_the_request() {
    for route in routes().into_iter().filter(|route| route.idempotency == Idempotency::Required) {
        let request = schema::message(route.request).unwrap();
        assert!(request.fields.iter().any(|field| field.header == "Idempotency-Key"), "{} drops the key", route.rpc);
    }
}

#[test]
fn queries_fill_typed_fields() {
    let mut request = mallard_proto::catalog::v1::ListProductsRequest::default();
    assert_eq!(request.query_param("price[gte]", "100").unwrap(), Slot::One);
    assert_eq!(request.query_param("in_stock", "true").unwrap(), Slot::One);
    assert_eq!(request.query_param("limit", "5").unwrap(), Slot::One);
    assert_eq!(request.query_param("price[lte]", "").unwrap(), Slot::One);
    assert_eq!(
        (request.price_gte, request.price_lte, request.in_stock, request.limit),
        (Some(100), None, Some(true), 5)
    );
    assert_eq!(request.query_param("colour", "red").unwrap(), Slot::Unknown);
    assert_eq!(request.query_param("price_gte", "1").unwrap(), Slot::Unknown);
    let error = request.query_param("limit", "many").unwrap_err();
    assert_eq!((error.code.as_ref(), error.param.as_deref()), ("invalid_field", Some("limit")));
}

#[test]
fn methods_that_may_be_sent_twice_are_listed() {
    assert!(mallard_proto::IDEMPOTENT.contains(&"/mallard.inventory.v1.InventoryService/Reserve"));
    assert!(mallard_proto::IDEMPOTENT.contains(&"/mallard.bus.v1.EventIntake/Deliver"));
    assert!(!mallard_proto::IDEMPOTENT.contains(&"/mallard.cart.v1.CartService/AddLine"));
}

#[test]
fn event_types_come_from_the_comments() {
    assert_eq!(events::ORDER_PLACED_V1, "order.placed.v1");
    assert_eq!(events::kind::<mallard_proto::catalog::v1::ProductChanged>(), "product.changed.v1");
    assert_eq!(mallard_proto::order::v1::OrderChanged::KINDS.len(), 6);
    assert_eq!(events::kind::<mallard_proto::identity::v1::SessionRevoked>(), "user.session_revoked.v1");
}

#[test]
fn the_schema_names_only_what_it_holds() {
    for message in schema::MESSAGES {
        for field in message.fields {
            match field.kind {
                Kind::Message(name) => assert!(schema::message(name).is_some(), "{name}"),
                Kind::Enum(name) => assert!(schema::enumeration(name).is_some(), "{name}"),
                _ => {}
            }
        }
    }
    let money = schema::message("mallard.common.v1.Money").unwrap();
    assert_eq!(money.doc, "An amount of money in integer minor units of its currency.");
    assert!(money.fields.iter().all(|field| field.required));
}

//! The rules of the public API, seen from the outside, over fake services.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Memory, edge, edge_with, send};
use mallard_gateway_core::{Done, EdgeConfig, Hook};
use mallard_proto::cart::v1 as cart;
use mallard_proto::catalog::v1 as catalog;
use mallard_proto::identity::v1 as identity;
use mallard_rpc::{Channels, current};
use mallard_types::Error;
use parking_lot::Mutex;
use serde_json::json;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

struct Catalog;

#[async_trait::async_trait]
impl catalog::catalog_service_server::CatalogService for Catalog {
    async fn get_product(
        &self,
        request: Request<catalog::GetProductRequest>,
    ) -> Result<Response<catalog::GetProductResponse>, Status> {
        let id = request.into_inner().id;
        match id.as_str() {
            "prod_gone" => {
                return Err(mallard_rpc::status(Error::not_found("product_not_found", "there is no such product")));
            }
            "prod_busy" => return Err(mallard_rpc::status(Error::unavailable("busy", "later").retry_after_ms(1_500))),
            "prod_broken" => return Err(mallard_rpc::status(Error::internal("disk", "sector 7 is bad"))),
            "prod_slow" => std::future::pending::<()>().await,
            "prod_panic" => panic!("on purpose"),
            _ => {}
        }
        let title = format!("{} {}", current().caller.language, current().request_id);
        let product = catalog::Product { id, title, version: 7, status: 1, ..Default::default() };
        Ok(Response::new(catalog::GetProductResponse { product: Some(product) }))
    }

    async fn list_products(
        &self,
        request: Request<catalog::ListProductsRequest>,
    ) -> Result<Response<catalog::ListProductsResponse>, Status> {
        let product = catalog::Product { title: format!("{:?}", request.into_inner()), ..Default::default() };
        Ok(Response::new(catalog::ListProductsResponse { products: vec![product], ..Default::default() }))
    }

    async fn update_product(
        &self,
        request: Request<catalog::UpdateProductRequest>,
    ) -> Result<Response<catalog::UpdateProductResponse>, Status> {
        let request = request.into_inner();
        let title = format!("{:?} {:?} by {}", request.title, request.if_version, current().caller.user_id);
        let product = catalog::Product { id: request.id, title, version: 8, ..Default::default() };
        Ok(Response::new(catalog::UpdateProductResponse { product: Some(product) }))
    }

    async fn list_product(
        &self,
        request: Request<catalog::SetProductStatusRequest>,
    ) -> Result<Response<catalog::SetProductStatusResponse>, Status> {
        let product = catalog::Product { id: request.into_inner().id, ..Default::default() };
        Ok(Response::new(catalog::SetProductStatusResponse { product: Some(product) }))
    }
}

struct Cart;

#[async_trait::async_trait]
impl cart::cart_service_server::CartService for Cart {
    async fn add_line(&self, request: Request<cart::AddLineRequest>) -> Result<Response<cart::CartResponse>, Status> {
        let request = request.into_inner();
        let line = cart::CartLine { sku_id: request.sku_id, quantity: request.quantity, ..Default::default() };
        let token = if request.cart_token.is_empty() { "ct_new".to_owned() } else { String::new() };
        Ok(Response::new(cart::CartResponse {
            cart: Some(cart::Cart { lines: vec![line], version: 1, ..Default::default() }),
            cart_token: token,
        }))
    }

    async fn set_line(&self, request: Request<cart::SetLineRequest>) -> Result<Response<cart::CartResponse>, Status> {
        let request = request.into_inner();
        let line = cart::CartLine { sku_id: request.sku_id, quantity: request.quantity, ..Default::default() };
        Ok(Response::new(cart::CartResponse {
            cart: Some(cart::Cart { lines: vec![line], ..Default::default() }),
            ..Default::default()
        }))
    }
}

struct Identity;

#[async_trait::async_trait]
impl identity::identity_service_server::IdentityService for Identity {
    async fn login(&self, _: Request<identity::LoginRequest>) -> Result<Response<identity::LoginResponse>, Status> {
        let refused = Error::unauthenticated("wrong_credentials", "e-mail or password is wrong");
        Err(mallard_rpc::status(refused.details(json!({"attempts_left": 4}))))
    }

    async fn logout(&self, _: Request<identity::LogoutRequest>) -> Result<Response<()>, Status> {
        Ok(Response::new(()))
    }
}

fn mall() -> Channels {
    let channels = Channels::default();
    channels.mount_local("catalog", Routes::new(catalog::catalog_service_server::CatalogServiceServer::new(Catalog)));
    channels.mount_local("cart", Routes::new(cart::cart_service_server::CartServiceServer::new(Cart)));
    channels
        .mount_local("identity", Routes::new(identity::identity_service_server::IdentityServiceServer::new(Identity)));
    channels
}

const ADMIN: (&str, &str) = ("authorization", "Bearer usr_9:admin");
const USER: (&str, &str) = ("authorization", "Bearer usr_1");

#[tokio::test(start_paused = true)]
async fn a_thing_is_answered_under_its_name_with_its_version() {
    let edge = edge(&mall());
    let answer = send(&edge, "GET", "/store/v1/products/prod_1", &[], "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["product"]["id"], "prod_1");
    assert_eq!(answer.json()["product"]["status"], "listed");
    assert_eq!(answer.header("etag"), "\"7\"");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "private, no-cache");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_still_good_is_not_sent_again() {
    let edge = edge(&mall());
    for tag in ["\"7\"", "W/\"7\"", "\"6\", \"7\"", "*"] {
        let answer = send(&edge, "GET", "/store/v1/products/prod_1", &[("if-none-match", tag)], "").await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str(), answer.header("etag")), (304, "", "\"7\""), "{tag}");
    }
    // Without its quotes it is no tag.
    for tag in ["\"6\"", "7", "W/7", "\"7", "7\"", ""] {
        let answer = send(&edge, "GET", "/store/v1/products/prod_1", &[("if-none-match", tag)], "").await;
        assert_eq!(answer.status, 200, "{tag}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_request_id_travels_through_or_is_made() {
    let edge = edge(&mall());
    let answer = send(
        &edge,
        "GET",
        "/store/v1/products/prod_1",
        &[("x-request-id", "mine-1"), ("accept-language", "zh,en")],
        "",
    )
    .await;
    assert_eq!(answer.header("x-request-id"), "mine-1");
    assert_eq!(answer.json()["product"]["title"], "zh mine-1");
    let answer = send(&edge, "GET", "/store/v1/products/prod_gone", &[("x-request-id", "no spaces please")], "").await;
    assert!(answer.header("x-request-id").starts_with("req_"));
    assert_eq!(answer.refusal(), (404, "product_not_found".into(), "".into()));
}

#[tokio::test(start_paused = true)]
async fn unknown_routes_and_verbs_are_told_apart() {
    let edge = edge(&mall());
    for path in ["/", "/store/v1/nothing", "/store/v1/products/", "/store/v1/products/a/b", "/store/v1/products/%ff"] {
        assert_eq!(send(&edge, "GET", path, &[], "").await.refusal().1, "route_not_found", "{path}");
    }
    let answer = send(&edge, "DELETE", "/store/v1/products/prod_1", &[], "").await;
    assert_eq!(answer.refusal(), (405, "method_not_allowed".into(), "".into()));
    assert_eq!(answer.header("allow"), "GET, HEAD");
    assert_eq!(send(&edge, "HEAD", "/store/v1/products/prod_1", &[], "").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn query_parameters_are_typed_and_unknown_ones_refused() {
    let edge = edge(&mall());
    let answer = send(
        &edge,
        "GET",
        "/store/v1/products?q=red+mug&price[gte]=100&price%5Blte%5D=900&in_stock=true&limit=5",
        &[],
        "",
    )
    .await;
    let title = answer.json()["products"][0]["title"].as_str().unwrap().to_owned();
    for part in ["q: \"red mug\"", "price_gte: Some(100)", "price_lte: Some(900)", "in_stock: Some(true)", "limit: 5"] {
        assert!(title.contains(part), "{part} in {title}");
    }
    let refusal =
        async |query: &str| send(&edge, "GET", &format!("/store/v1/products?{query}"), &[], "").await.refusal();
    assert_eq!(refusal("colour=red").await, (400, "unknown_field".into(), "colour".into()));
    assert_eq!(refusal("price[gt]=1").await, (400, "unknown_field".into(), "price[gt]".into()));
    assert_eq!(refusal("limit=ten").await, (400, "invalid_field".into(), "limit".into()));
    assert_eq!(refusal("price[gte]=9.5").await, (400, "invalid_field".into(), "price[gte]".into()));
    assert_eq!(refusal("in_stock=perhaps").await, (400, "invalid_field".into(), "in_stock".into()));
    assert_eq!(refusal("limit=1&limit=2").await, (400, "invalid_field".into(), "limit".into()));
    assert_eq!(refusal("q=%zz").await.1, "malformed_query");
    let answer = send(&edge, "GET", "/store/v1/products/prod_1?id=prod_2", &[], "").await;
    assert_eq!(answer.refusal(), (400, "unknown_field".into(), "id".into()));
    let answer = send(&edge, "POST", "/store/v1/cart/lines?quantity=2", &[], r#"{"sku_id": "s", "quantity": 1}"#).await;
    assert_eq!(answer.refusal(), (400, "unknown_field".into(), "quantity".into()));
}

#[tokio::test(start_paused = true)]
async fn bodies_are_checked_before_any_service_is_asked() {
    let edge = edge(&mall());
    let refusal = async |body: &str| send(&edge, "POST", "/store/v1/cart/lines", &[], body).await.refusal();
    assert_eq!(refusal("{").await, (400, "malformed_json".into(), "".into()));
    assert_eq!(refusal(r#"{"sku_id": "s"}"#).await, (400, "required".into(), "quantity".into()));
    assert_eq!(refusal(r#"{"sku_id": "s", "quantity": "1"}"#).await, (400, "invalid_field".into(), "quantity".into()));
    assert_eq!(
        refusal(r#"{"sku_id": "s", "quantity": 1, "price": 0}"#).await,
        (400, "unknown_field".into(), "price".into())
    );
    assert_eq!(refusal(r#"{"sku_id": "s", "quantity": 1, "cart_token": "x"}"#).await.1, "unknown_field");
    let answer = send(&edge, "POST", "/store/v1/cart/lines", &[("content-type", "text/plain")], "{}").await;
    assert_eq!(answer.refusal(), (415, "unsupported_media_type".into(), "Content-Type".into()));
    let answer = send(&edge, "POST", "/store/v1/cart/lines", &[], &" ".repeat(1024 * 1024 + 1)).await;
    assert_eq!(answer.refusal(), (413, "body_too_large".into(), "".into()));
    assert_eq!(answer.json()["error"]["type"], "invalid");
}

#[tokio::test(start_paused = true)]
async fn a_guest_gets_the_cart_token_in_a_header_only() {
    let edge = edge(&mall());
    let body = r#"{"sku_id": "sku_1", "quantity": 2}"#;
    let answer = send(&edge, "POST", "/store/v1/cart/lines", &[], body).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-cart-token"), answer.header("etag")),
        (200, "ct_new", "\"1\"")
    );
    assert!(!answer.text.contains("ct_new"));
    let answer = send(&edge, "POST", "/store/v1/cart/lines", &[("x-cart-token", "ct_new")], body).await;
    assert_eq!(answer.header("x-cart-token"), "");
}

#[tokio::test(start_paused = true)]
async fn the_path_says_which_thing_and_a_body_may_only_agree() {
    let edge = edge(&mall());
    let put = async |body: &str| send(&edge, "PUT", "/store/v1/cart/lines/sku%5F1", &[], body).await;
    assert_eq!(put(r#"{"quantity": 3}"#).await.json()["cart"]["lines"][0]["sku_id"], "sku_1");
    assert_eq!(put(r#"{"quantity": 3, "sku_id": "sku_1"}"#).await.status, 200);
    assert_eq!(
        put(r#"{"quantity": 3, "sku_id": "sku_2"}"#).await.refusal(),
        (400, "invalid_field".into(), "sku_id".into())
    );
}

#[tokio::test(start_paused = true)]
async fn an_action_needs_no_body() {
    let edge = edge(&mall());
    let answer = send(&edge, "POST", "/admin/v1/products/prod_1/list", &[ADMIN], "").await;
    assert_eq!((answer.status.as_u16(), answer.json()["product"]["id"].as_str()), (200, Some("prod_1")));
}

#[tokio::test(start_paused = true)]
async fn if_match_becomes_the_expected_version() {
    let edge = edge(&mall());
    let patch = async |tag: &str| {
        send(&edge, "PATCH", "/seller/v1/products/prod_1", &[ADMIN, ("if-match", tag)], r#"{"title": "T"}"#).await
    };
    assert_eq!(patch("\"7\"").await.json()["product"]["title"], "Some(\"T\") Some(7) by usr_9");
    assert_eq!(patch("W/\"7\"").await.json()["product"]["title"], "Some(\"T\") Some(7) by usr_9");
    assert_eq!(patch("*").await.json()["product"]["title"], "Some(\"T\") None by usr_9");
    assert_eq!(patch("\"x\"").await.refusal(), (412, "version_mismatch".into(), "If-Match".into()));
    assert_eq!(patch("7, 8").await.refusal(), (400, "invalid_field".into(), "If-Match".into()));
}

#[tokio::test(start_paused = true)]
async fn each_surface_lets_in_its_own_people() {
    let edge = edge(&mall());
    let code = async |path: &str, token: &str| {
        let headers = [("authorization", token)];
        let headers = if token.is_empty() { &[][..] } else { &headers[..] };
        send(&edge, "POST", path, headers, "").await.status.as_u16()
    };
    for path in ["/admin/v1/products/p/list", "/seller/v1/products/p/list"] {
        assert_eq!(code(path, "").await, 401);
        assert_eq!(code(path, "Bearer usr_1").await, 403);
        assert_eq!(code(path, "Bearer usr_1:admin").await, 200);
    }
    assert_eq!(code("/seller/v1/products/p/list", "Bearer usr_1:seller").await, 200);
    assert_eq!(code("/admin/v1/products/p/list", "Bearer usr_1:seller").await, 403);
    let answer = send(&edge, "POST", "/auth/v1/logout", &[], "").await;
    assert_eq!(answer.refusal().1, "unauthenticated");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
}

#[tokio::test(start_paused = true)]
async fn a_bad_token_counts_everywhere_but_at_the_doors() {
    let edge = edge(&mall());
    let expired = ("authorization", "Bearer expired");
    let answer = send(&edge, "GET", "/store/v1/products/prod_1", &[expired], "").await;
    assert_eq!(answer.refusal(), (401, "token_expired".into(), "".into()));
    let answer = send(&edge, "POST", "/auth/v1/login", &[expired], r#"{"email": "a@b.c", "password": "x"}"#).await;
    assert_eq!(answer.refusal().1, "wrong_credentials");
    assert_eq!(send(&edge, "POST", "/auth/v1/logout", &[expired], "").await.refusal().1, "token_expired");
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_is_204_without_a_body() {
    let edge = edge(&mall());
    let answer = send(&edge, "POST", "/auth/v1/logout", &[USER], r#"{"all_devices": true}"#).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str(), answer.header("content-type")), (204, "", ""));
}

#[tokio::test(start_paused = true)]
async fn errors_of_services_keep_code_details_and_waiting_time() {
    let edge = edge(&mall());
    let answer = send(&edge, "POST", "/auth/v1/login", &[], r#"{"email": "a@b.c", "password": "x"}"#).await;
    assert_eq!(answer.json()["error"]["details"]["attempts_left"], 4);
    assert_eq!(answer.json()["error"]["type"], "unauthenticated");
    let answer = send(&edge, "GET", "/store/v1/products/prod_busy", &[], "").await;
    assert_eq!((answer.refusal().0, answer.header("retry-after")), (503, "2"));
    let answer = send(&edge, "GET", "/store/v1/products/prod_broken", &[], "").await;
    assert_eq!(answer.refusal(), (500, "internal".into(), "".into()));
    assert!(!answer.text.contains("sector"));
    let answer = send(&edge, "GET", "/store/v1/products/prod_panic", &[], "").await;
    assert_eq!(answer.refusal().0, 500);
    let answer = send(&edge, "GET", "/store/v1/me", &[USER], "").await;
    assert_eq!(answer.status, 500, "a method the service does not have: {}", answer.text);
    let answer = send(&edge, "GET", "/store/v1/orders", &[USER], "").await;
    assert_eq!(answer.refusal().0, 503);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_a_missed_deadline() {
    let config = EdgeConfig { timeout: Duration::from_millis(200), ..EdgeConfig::default() };
    let edge = edge_with(&mall(), Arc::new(Memory::default()), None, config);
    let answer = send(&edge, "GET", "/store/v1/products/prod_slow", &[], "").await;
    assert_eq!(answer.refusal().0, 504);
    assert_eq!(answer.json()["error"]["type"], "deadline");
}

#[tokio::test(start_paused = true)]
async fn more_requests_than_the_limit_are_turned_away() {
    let mut config = EdgeConfig::default();
    config.concurrency.requests_max = 1;
    let edge = edge_with(&mall(), Arc::new(Memory::default()), None, config);
    let first = tokio::spawn({
        let edge = Arc::clone(&edge);
        async move { send(&edge, "GET", "/store/v1/products/prod_slow", &[], "").await }
    });
    loop {
        let answer = send(&edge, "GET", "/store/v1/products/prod_1", &[], "").await;
        if answer.status == 503 {
            assert_eq!((answer.refusal().1.as_str(), answer.header("retry-after")), ("overloaded", "1"));
            break;
        }
        tokio::task::yield_now().await;
    }
    first.abort();
    while send(&edge, "GET", "/store/v1/products/prod_1", &[], "").await.status != 200 {
        tokio::task::yield_now().await;
    }
}

#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

#[async_trait::async_trait]
impl Hook for Seen {
    fn wants(&self, info: &mallard_proto::rest::RouteInfo) -> bool {
        info.name == "Logout"
    }

    async fn done(&self, done: Done<'_>) {
        self.0.lock().push(format!("{} {} {}", done.info.name, done.call.caller.user_id, done.reply.status));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_acts_after_the_successes_it_wants() {
    let seen = Arc::new(Seen::default());
    let edge = edge_with(&mall(), Arc::new(Memory::default()), Some(Arc::clone(&seen) as _), EdgeConfig::default());
    send(&edge, "POST", "/auth/v1/logout", &[USER], "").await;
    send(&edge, "POST", "/auth/v1/logout", &[], "").await;
    send(&edge, "GET", "/store/v1/products/prod_1", &[], "").await;
    assert_eq!(*seen.0.lock(), ["Logout usr_1 204 No Content"]);
}

//! The response cache of the edge, seen from the outside, on a paused clock.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use common::{Answer, Memory, edge_with, send};
use futures_util::future::join_all;
use mallard_cache::copies::{Bounds, Freshness};
use mallard_gateway_core::{CopiesConfig, Edge, EdgeConfig};
use mallard_proto::catalog::v1 as pb;
use mallard_proto::catalog::v1::catalog_service_server::{CatalogService, CatalogServiceServer};
use mallard_proto::common::v1::Money;
use mallard_rpc::{Channels, current};
use mallard_types::Error;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::{Instant, advance, sleep};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

const FRESH: Duration = Duration::from_millis(250);
const SERVED_MAX: Duration = Duration::from_millis(600);
const PAGE: &str = "/store/v1/products/prod_1";
const LIST: &str = "/store/v1/products";
const SHOPPER: (&str, &str) = ("authorization", "Bearer usr_1");
const OPERATOR: (&str, &str) = ("authorization", "Bearer usr_9:admin");

/// What ails the catalogue.
#[derive(Clone, Copy, Default, PartialEq)]
enum Mood {
    #[default]
    Well,
    Down,
    Hanging,
    /// Answers after 100 ms.
    Slow,
}

struct State {
    price: AtomicI64,
    version: AtomicI64,
    in_stock: Mutex<bool>,
    asked: AtomicU64,
    mood: Mutex<Mood>,
    callers: Mutex<Vec<String>>,
    deadlines: Mutex<Vec<Duration>>,
    title: Mutex<String>,
}

#[derive(Clone)]
struct Catalog(Arc<State>);

impl Catalog {
    fn new() -> Catalog {
        Catalog(Arc::new(State {
            price: AtomicI64::new(990),
            version: AtomicI64::new(1),
            in_stock: Mutex::new(true),
            asked: AtomicU64::new(0),
            mood: Mutex::default(),
            callers: Mutex::default(),
            deadlines: Mutex::default(),
            title: Mutex::default(),
        }))
    }

    fn edge(&self) -> Arc<Edge> {
        self.edge_with(|_| {})
    }

    fn edge_with(&self, change: impl FnOnce(&mut CopiesConfig)) -> Arc<Edge> {
        let channels = Channels::default();
        channels.mount_local("catalog", Routes::new(CatalogServiceServer::new(self.clone())));
        let mut copies = CopiesConfig { services: vec!["catalog".into()], ..CopiesConfig::default() };
        change(&mut copies);
        edge_with(&channels, Arc::new(Memory::default()), None, EdgeConfig { copies, ..EdgeConfig::default() })
    }

    fn is(&self, mood: Mood) {
        *self.0.mood.lock() = mood;
    }

    fn asked(&self) -> u64 {
        self.0.asked.load(Ordering::SeqCst)
    }

    fn reprice(&self, price: i64) {
        self.0.price.store(price, Ordering::SeqCst);
        self.0.version.fetch_add(1, Ordering::SeqCst);
    }

    fn product(&self, id: &str) -> pb::Product {
        let variant = pb::Variant {
            id: "sku_1".into(),
            price: Some(Money { amount: self.0.price.load(Ordering::SeqCst), currency: "CNY".into() }),
            in_stock: *self.0.in_stock.lock(),
            ..Default::default()
        };
        pb::Product {
            id: id.into(),
            title: self.0.title.lock().clone(),
            description: current().caller.language,
            variants: vec![variant],
            version: self.0.version.load(Ordering::SeqCst),
            status: 1,
            ..Default::default()
        }
    }

    async fn asks(&self) -> Result<(), Status> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let call = current();
        self.0.callers.lock().push(format!("{:?} {}", call.caller.kind, call.caller.user_id));
        self.0.deadlines.lock().push(call.deadline.unwrap().duration_since(Instant::now()));
        let mood = *self.0.mood.lock();
        match mood {
            Mood::Well => Ok(()),
            Mood::Down => Err(mallard_rpc::status(Error::unavailable("catalog_away", "come back later"))),
            Mood::Hanging => std::future::pending().await,
            Mood::Slow => {
                sleep(Duration::from_millis(100)).await;
                Ok(())
            }
        }
    }
}

type Reply<T> = Result<Response<T>, Status>;

#[async_trait::async_trait]
impl CatalogService for Catalog {
    async fn get_product(&self, request: Request<pb::GetProductRequest>) -> Reply<pb::GetProductResponse> {
        // What it answers with is what it had when it was asked.
        let id = request.into_inner().id;
        let product = self.product(&id);
        self.asks().await?;
        if id == "prod_none" {
            return Err(mallard_rpc::status(Error::not_found("product_not_found", "there is no such product")));
        }
        Ok(Response::new(pb::GetProductResponse { product: Some(product) }))
    }

    async fn list_products(&self, request: Request<pb::ListProductsRequest>) -> Reply<pb::ListProductsResponse> {
        let request = request.into_inner();
        let mut product = self.product("prod_1");
        product.title += &format!("{request:?}");
        self.asks().await?;
        Ok(Response::new(pb::ListProductsResponse { products: vec![product], ..Default::default() }))
    }

    async fn list_categories(&self, _: Request<pb::ListCategoriesRequest>) -> Reply<pb::ListCategoriesResponse> {
        self.asks().await?;
        Ok(Response::new(pb::ListCategoriesResponse::default()))
    }

    async fn batch_get_products(&self, _: Request<pb::BatchGetProductsRequest>) -> Reply<pb::BatchGetProductsResponse> {
        Ok(Response::new(pb::BatchGetProductsResponse::default()))
    }

    async fn update_product(&self, request: Request<pb::UpdateProductRequest>) -> Reply<pb::UpdateProductResponse> {
        let request = request.into_inner();
        if let Some(version) = request.if_version.filter(|version| *version != self.0.version.load(Ordering::SeqCst)) {
            let message = format!("{version} is not the present version");
            return Err(mallard_rpc::status(Error::precondition("version_mismatch", message)));
        }
        let price = request.variants.first().and_then(|variant| variant.price.as_ref()).map_or(1, |price| price.amount);
        self.reprice(price);
        Ok(Response::new(pb::UpdateProductResponse { product: Some(self.product(&request.id)) }))
    }

    async fn create_category(&self, _: Request<pb::CreateCategoryRequest>) -> Reply<pb::CreateCategoryResponse> {
        Ok(Response::new(pb::CreateCategoryResponse::default()))
    }

    async fn admin_get_product(&self, request: Request<pb::GetProductRequest>) -> Reply<pb::GetProductResponse> {
        self.asks().await?;
        Ok(Response::new(pb::GetProductResponse { product: Some(self.product(&request.into_inner().id)) }))
    }
}

async fn get(edge: &Arc<Edge>, path: &str) -> Answer {
    send(edge, "GET", path, &[], "").await
}

fn price(answer: &Answer) -> i64 {
    let body = answer.json();
    let product = if body["product"].is_null() { &body["products"][0] } else { &body["product"] };
    product["variants"][0]["price"]["amount"].as_i64().unwrap()
}

fn cache(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.header("x-mallard-cache")
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_again_says_so_and_is_renewed_behind_the_readers_back() {
    let catalog = Catalog::new();
    let edge = catalog.edge();
    let first = get(&edge, PAGE).await;
    assert_eq!((cache(&first), first.header("age")), ("miss", ""));
    assert_eq!(first.header("cache-control"), "public, max-age=0, must-revalidate");
    assert_eq!(first.header("vary"), "Authorization, Accept-Language");
    assert_eq!(first.header("content-type"), "application/json");
    assert_eq!(first.header("x-content-type-options"), "nosniff");
    let second = get(&edge, PAGE).await;
    assert_eq!((cache(&second), second.header("age"), &second.text), ("hit", "0", &first.text));
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    assert_eq!(catalog.asked(), 1);
    catalog.reprice(880);
    advance(FRESH).await;
    let third = get(&edge, PAGE).await;
    assert_eq!((cache(&third), price(&third)), ("stale", 990));
    assert_eq!((third.header("x-mallard-stale"), third.header("warning")), ("", ""));
    settle().await;
    let fourth = get(&edge, PAGE).await;
    assert_eq!((cache(&fourth), price(&fourth), catalog.asked()), ("hit", 880, 2));
    // Whoever reads after a quiet time sees the present.
    catalog.reprice(770);
    advance(SERVED_MAX).await;
    assert_eq!(price(&get(&edge, PAGE).await), 770);
}

#[tokio::test(start_paused = true)]
async fn a_stampede_is_one_call() {
    let catalog = Catalog::new();
    catalog.is(Mood::Slow);
    let edge = catalog.edge();
    for path in [PAGE, "/store/v1/products?q=mug&order=price"] {
        let before = catalog.asked();
        let all = join_all((0..1_000).map(|_| get(&edge, path))).await;
        assert!(all.iter().all(|answer| cache(answer) == "miss"));
        assert_eq!(catalog.asked() - before, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn everybody_shares_a_copy_and_it_is_loaded_as_nobody() {
    let catalog = Catalog::new();
    let edge = catalog.edge();
    let shopper = send(&edge, "GET", PAGE, &[SHOPPER], "").await;
    assert_eq!(cache(&shopper), "miss");
    assert_eq!(cache(&get(&edge, PAGE).await), "hit");
    assert_eq!(cache(&send(&edge, "GET", PAGE, &[OPERATOR], "").await), "hit");
    assert_eq!(cache(&send(&edge, "HEAD", PAGE, &[], "").await), "hit");
    assert_eq!(*catalog.0.callers.lock(), ["Anonymous "]);
    // A bad token is refused, not answered as nobody.
    assert_eq!(send(&edge, "GET", PAGE, &[("authorization", "Bearer expired")], "").await.status, 401);
    // Operators' and sellers' doors show the present, to them alone.
    for _ in 0..2 {
        let own = send(&edge, "GET", "/admin/v1/products/prod_1", &[OPERATOR], "").await;
        assert_eq!((own.status.as_u16(), own.header("x-mallard-cache")), (200, ""));
        assert_eq!(own.header("cache-control"), "private, no-cache");
    }
    assert_eq!(catalog.asked(), 3);
    assert_eq!(send(&edge, "GET", "/admin/v1/categories", &[], "").await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn copies_differ_by_path_query_and_language_and_by_nothing_else() {
    let catalog = Catalog::new();
    let edge = catalog.edge();
    let is = async |path: &str, headers: &[(&str, &str)], expected: &str| {
        let answer = send(&edge, "GET", path, headers, "").await;
        assert_eq!(cache(&answer), expected, "{path} {headers:?}");
        answer
    };
    is(PAGE, &[], "miss").await;
    is("/store/v1/products/prod_2", &[], "miss").await;
    let chinese = is(PAGE, &[("accept-language", "zh-CN,en;q=0.5")], "miss").await;
    assert_eq!(chinese.json()["product"]["description"], "zh-CN");
    is(PAGE, &[("accept-language", "zh-CN")], "hit").await;
    is(PAGE, &[("x-cart-token", "ct_1"), ("user-agent", "a"), ("x-request-id", "mine")], "hit").await;
    // The order of parameters and their encoding do not matter; their values do.
    is("/store/v1/products?q=red+mug&price%5Bgte%5D=5", &[], "miss").await;
    is("/store/v1/products?price[gte]=5&q=red%20mug", &[], "hit").await;
    is("/store/v1/products?&price[gte]=5&&q=red%20mug&", &[], "hit").await;
    is("/store/v1/products?price[gte]=6&q=red%20mug", &[], "miss").await;
    is("/store/v1/products?q=a%26order%3Dprice", &[], "miss").await;
    is("/store/v1/products?q=a&order=price", &[], "miss").await;
    is("/store/v1/products?q=a%2526order%253Dprice", &[], "miss").await;
    is("/store/v1/products?q=%25", &[], "miss").await;
    is("/store/v1/products?q=%2525", &[], "miss").await;
    is(LIST, &[], "miss").await;
    // Refusals of the request reach nobody else, and cost the service nothing.
    let asked = catalog.asked();
    for (query, code) in [("limit=0", "limit_out_of_range"), ("q=%zz", "malformed_query"), ("nose=1", "unknown_field")]
    {
        for _ in 0..2 {
            assert_eq!(get(&edge, &format!("{LIST}?{query}")).await.refusal().1, code);
        }
    }
    assert_eq!(catalog.asked(), asked);
    let long = format!("{LIST}?q={}", "x".repeat(3_000));
    for _ in 0..2 {
        assert_eq!(cache(&get(&edge, &long).await), "bypass");
    }
    assert_eq!(catalog.asked(), asked + 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_with_the_present_tag_gets_304_and_the_service_is_not_asked() {
    let catalog = Catalog::new();
    let edge = catalog.edge();
    for path in [PAGE, LIST, "/store/v1/categories"] {
        let first = get(&edge, path).await;
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"'), "a strong tag: {tag}");
        let asked = catalog.asked();
        let same = send(&edge, "GET", path, &[("if-none-match", &tag)], "").await;
        assert_eq!((same.status.as_u16(), same.text.as_str(), same.header("etag")), (304, "", tag.as_str()));
        assert_eq!(same.header("x-mallard-cache"), "hit");
        assert_eq!(catalog.asked(), asked);
        assert_eq!(send(&edge, "GET", path, &[("if-none-match", "\"other\"")], "").await.status, 200);
    }
    // What is shown has changed although the version has not.
    let tag = get(&edge, PAGE).await.header("etag").to_owned();
    *catalog.0.in_stock.lock() = false;
    advance(SERVED_MAX).await;
    let changed = send(&edge, "GET", PAGE, &[("if-none-match", &tag)], "").await;
    assert_eq!(changed.status, 200);
    assert_eq!(changed.json()["product"]["variants"][0]["in_stock"], false);
    // The tag of a page is good for a change, too, until somebody else changes the thing.
    let tag = changed.header("etag").to_owned();
    let path = "/admin/v1/products/prod_1";
    for expected in [200, 412] {
        let headers = [OPERATOR, ("if-match", tag.as_str())];
        let answer = send(&edge, "PATCH", path, &headers, r#"{"title": "Mug"}"#).await;
        assert_eq!(answer.status, expected, "{}", answer.text);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_ends_the_copies_of_its_product_and_all_lists_at_once() {
    let catalog = Catalog::new();
    let edge = catalog.edge();
    let paths = [PAGE, LIST, "/store/v1/products?q=mug", "/store/v1/products/prod_2"];
    for path in paths {
        get(&edge, path).await;
    }
    send(&edge, "GET", PAGE, &[("accept-language", "zh")], "").await;
    catalog.reprice(880);
    edge.copies().changed("catalog", "prod_1");
    for path in &paths[..3] {
        let answer = get(&edge, path).await;
        assert_eq!((cache(&answer), price(&answer)), ("miss", 880), "{path}");
    }
    assert_eq!(price(&send(&edge, "GET", PAGE, &[("accept-language", "zh")], "").await), 880);
    assert_eq!(cache(&get(&edge, paths[3]).await), "hit");
    // Events of services without copies concern nothing.
    edge.copies().changed("cart", "prod_1");
    assert_eq!(cache(&get(&edge, PAGE).await), "hit");

    // A call reads the old price, then the event comes, then the call ends.
    catalog.is(Mood::Slow);
    for path in [PAGE, LIST] {
        advance(SERVED_MAX).await;
        let old = tokio::spawn({
            let edge = Arc::clone(&edge);
            async move { get(&edge, path).await }
        });
        settle().await;
        catalog.reprice(catalog.0.price.load(Ordering::SeqCst) - 100);
        edge.copies().changed("catalog", "prod_1");
        old.await.unwrap();
        let now = catalog.0.price.load(Ordering::SeqCst);
        assert_eq!(price(&get(&edge, path).await), now, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_changes_something_here_sees_it_at_once() {
    let catalog = Catalog::new();
    let edge = catalog.edge();
    let body = json!({ "variants": [{ "id": "sku_1", "price": { "amount": 660, "currency": "CNY" } }] }).to_string();
    for path in [PAGE, LIST, "/store/v1/products/prod_2", "/store/v1/categories"] {
        get(&edge, path).await;
    }
    let changed = send(&edge, "PATCH", "/admin/v1/products/prod_1", &[OPERATOR], &body).await;
    assert_eq!(changed.status, 200);
    assert_eq!(price(&get(&edge, PAGE).await), 660);
    assert_eq!(price(&get(&edge, LIST).await), 660);
    assert_eq!(cache(&get(&edge, "/store/v1/products/prod_2").await), "hit");
    // A change without an id ends everything of its service.
    let category = r#"{"slug": "a", "name": "A"}"#;
    assert_eq!(send(&edge, "POST", "/admin/v1/categories", &[OPERATOR], category).await.status, 201);
    for path in ["/store/v1/products/prod_2", "/store/v1/categories"] {
        assert_eq!(cache(&get(&edge, path).await), "miss", "{path}");
    }
    // A refused change and a read that is a POST end nothing.
    for path in [PAGE, LIST] {
        get(&edge, path).await;
    }
    let refused = send(&edge, "PATCH", "/admin/v1/products/prod_1", &[OPERATOR, ("if-match", "\"99\"")], &body).await;
    assert_eq!(refused.status, 412);
    let batch = send(&edge, "POST", "/store/v1/products/batch-get", &[], r#"{"ids": ["prod_1"]}"#).await;
    assert_eq!(batch.status, 200);
    assert_eq!(send(&edge, "PATCH", "/admin/v1/products/prod_1", &[], &body).await.status, 401);
    for path in [PAGE, LIST] {
        assert_eq!(cache(&get(&edge, path).await), "hit", "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_service_is_down_an_old_copy_is_served_and_marked_then_503() {
    let catalog = Catalog::new();
    let edge = catalog.edge();
    let first = get(&edge, PAGE).await;
    catalog.is(Mood::Down);
    advance(Duration::from_secs(20)).await;
    for _ in 0..3 {
        let answer = get(&edge, PAGE).await;
        assert_eq!((cache(&answer), &answer.text), ("stale", &first.text));
        assert_eq!((answer.header("x-mallard-stale"), answer.header("age")), ("20", "20"));
        assert_eq!(answer.header("warning"), "110 - \"Response is Stale\"");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    assert_eq!(get(&edge, "/store/v1/products/prod_2").await.refusal().0, 503, "what was never seen is not made up");
    advance(Duration::from_secs(41)).await;
    let refused = get(&edge, PAGE).await;
    assert_eq!((refused.refusal().0, refused.header("cache-control")), (503, "no-store"));
    assert!(!refused.header("retry-after").is_empty());
    catalog.is(Mood::Well);
    let back = get(&edge, PAGE).await;
    assert_eq!((cache(&back), back.header("x-mallard-stale")), ("miss", ""));
}

#[tokio::test(start_paused = true)]
async fn while_the_service_hangs_readers_are_served_in_a_second_and_then_told() {
    let catalog = Catalog::new();
    let edge = catalog.edge();
    get(&edge, PAGE).await;
    catalog.is(Mood::Hanging);
    advance(FRESH).await;
    assert_eq!(cache(&get(&edge, PAGE).await), "stale");
    advance(SERVED_MAX).await;
    let begun = Instant::now();
    let all = join_all((0..100).map(|_| get(&edge, PAGE))).await;
    assert!(all.iter().all(|answer| cache(answer) == "stale" && !answer.header("x-mallard-stale").is_empty()));
    assert!(begun.elapsed() <= Duration::from_millis(1_010), "{:?}", begun.elapsed());
    advance(Duration::from_secs(60)).await;
    assert_eq!(get(&edge, PAGE).await.refusal().0, 504);
}

#[tokio::test(start_paused = true)]
async fn an_impatient_reader_ends_nothing_that_others_wait_for() {
    let catalog = Catalog::new();
    let edge = catalog.edge();
    catalog.is(Mood::Slow);
    let hasty = tokio::spawn({
        let edge = Arc::clone(&edge);
        async move { get(&edge, PAGE).await }
    });
    settle().await;
    let patient = tokio::spawn({
        let edge = Arc::clone(&edge);
        async move { get(&edge, PAGE).await }
    });
    settle().await;
    hasty.abort();
    assert_eq!((cache(&patient.await.unwrap()), catalog.asked()), ("miss", 1));
    // Neither does the deadline of the request that began the load.
    let deadline = catalog.0.deadlines.lock()[0];
    assert_eq!(deadline, CopiesConfig::default().load_timeout);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_remembered_for_a_moment_and_never_shown_again() {
    let catalog = Catalog::new();
    let edge = catalog.edge();
    let none = "/store/v1/products/prod_none";
    for _ in 0..5 {
        let answer = get(&edge, none).await;
        assert_eq!(answer.refusal(), (404, "product_not_found".into(), String::new()));
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    assert_eq!(catalog.asked(), 1);
    advance(FRESH).await;
    assert_eq!(get(&edge, none).await.status, 404);
    assert_eq!(catalog.asked(), 2);
    edge.copies().changed("catalog", "prod_none");
    assert_eq!(get(&edge, none).await.status, 404);
    assert_eq!(catalog.asked(), 3);
    catalog.is(Mood::Down);
    advance(FRESH).await;
    assert_eq!(get(&edge, none).await.status, 503);
}

#[tokio::test(start_paused = true)]
async fn large_answers_are_not_kept_and_all_of_them_have_a_bound() {
    let catalog = Catalog::new();
    let edge = catalog.edge_with(|copies| {
        copies.answer_bytes_max = 1_000;
        copies.bounds = Bounds { entries_max: 64, bytes_max: 20_000 };
    });
    *catalog.0.title.lock() = "x".repeat(2_000);
    for _ in 0..2 {
        assert_eq!(cache(&get(&edge, PAGE).await), "miss");
    }
    assert_eq!(edge.copies().held().entries, 0);
    *catalog.0.title.lock() = String::new();
    for n in 0..500 {
        get(&edge, &format!("{LIST}?q={}", n / 2)).await;
        let held = edge.copies().held();
        assert!(held.bytes <= 20_000, "{held:?}");
    }
    assert!(edge.copies().held().entries > 5);
}

#[tokio::test(start_paused = true)]
async fn without_services_nothing_is_copied() {
    let catalog = Catalog::new();
    let edge = catalog.edge_with(|copies| copies.services.clear());
    for _ in 0..2 {
        let answer = get(&edge, PAGE).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-mallard-cache")), (200, ""));
        assert_eq!(answer.header("etag"), "\"1\"");
    }
    assert_eq!(catalog.asked(), 2);
}

#[test]
fn by_default_a_change_shows_within_a_second_without_any_event() {
    let Freshness { fresh, stale, .. } = CopiesConfig::default().freshness;
    // Beside it the catalogue's own memory, 300 ms where other processes write its database.
    assert!(fresh + stale + Duration::from_millis(300) < Duration::from_secs(1));
}

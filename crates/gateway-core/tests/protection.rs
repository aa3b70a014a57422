//! What the edge lets in, seen from the outside, over fake services that behave and misbehave.

mod common;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use common::{Answer, Memory, ask, edge_with, send};
use futures_util::future::join_all;
use futures_util::stream::unfold;
use http::Request;
use http_body::{Frame, SizeHint};
use mallard_gateway_core::addresses::Gate;
use mallard_gateway_core::canary::{self, Canary};
use mallard_gateway_core::cors::Cors;
use mallard_gateway_core::friction;
use mallard_gateway_core::limits::{By, Rule, WhenUnknown};
use mallard_gateway_core::policy::RouteConfig;
use mallard_gateway_core::{Edge, EdgeConfig};
use mallard_proto::cart::v1 as cart;
use mallard_proto::catalog::v1 as catalog;
use mallard_proto::order::v1 as order;
use mallard_rpc::{Call, Channels, current};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};
use tonic::service::Routes;
use tonic::{Request as RpcRequest, Response, Status};

/// Fake services that hang for what is named `slow` and keep what they see.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Vec<Call>>>);

impl Fake {
    async fn seen(&self, id: &str) {
        self.0.lock().push(current());
        if id.contains("slow") {
            std::future::pending::<()>().await;
        }
    }

    fn last(&self) -> Call {
        self.0.lock().last().cloned().expect("a call")
    }

    fn calls(&self) -> usize {
        self.0.lock().len()
    }
}

#[async_trait::async_trait]
impl catalog::catalog_service_server::CatalogService for Fake {
    async fn get_product(
        &self,
        request: RpcRequest<catalog::GetProductRequest>,
    ) -> Result<Response<catalog::GetProductResponse>, Status> {
        let id = request.into_inner().id;
        self.seen(&id).await;
        let product = catalog::Product { id, status: 1, ..Default::default() };
        Ok(Response::new(catalog::GetProductResponse { product: Some(product) }))
    }

    async fn list_product(
        &self,
        request: RpcRequest<catalog::SetProductStatusRequest>,
    ) -> Result<Response<catalog::SetProductStatusResponse>, Status> {
        self.seen(&request.into_inner().id).await;
        Ok(Response::new(catalog::SetProductStatusResponse::default()))
    }
}

#[async_trait::async_trait]
impl cart::cart_service_server::CartService for Fake {
    async fn add_line(
        &self,
        request: RpcRequest<cart::AddLineRequest>,
    ) -> Result<Response<cart::CartResponse>, Status> {
        self.seen(&request.into_inner().sku_id).await;
        Ok(Response::new(cart::CartResponse::default()))
    }
}

#[async_trait::async_trait]
impl order::order_service_server::OrderService for Fake {
    async fn place_order(
        &self,
        request: RpcRequest<order::PlaceOrderRequest>,
    ) -> Result<Response<order::PlaceOrderResponse>, Status> {
        self.seen(&request.into_inner().note).await;
        Ok(Response::new(order::PlaceOrderResponse::default()))
    }

    async fn get_order(
        &self,
        request: RpcRequest<order::GetOrderRequest>,
    ) -> Result<Response<order::GetOrderResponse>, Status> {
        self.seen(&request.into_inner().id).await;
        Ok(Response::new(order::GetOrderResponse::default()))
    }
}

fn shop(change: impl FnOnce(&mut EdgeConfig)) -> (Arc<Edge>, Fake) {
    let fake = Fake::default();
    let channels = Channels::default();
    channels
        .mount_local("catalog", Routes::new(catalog::catalog_service_server::CatalogServiceServer::new(fake.clone())));
    channels.mount_local("cart", Routes::new(cart::cart_service_server::CartServiceServer::new(fake.clone())));
    channels.mount_local("order", Routes::new(order::order_service_server::OrderServiceServer::new(fake.clone())));
    let mut config = EdgeConfig::default();
    change(&mut config);
    (edge_with(&channels, Arc::new(Memory::default()), None, config), fake)
}

const PRODUCT: &str = "/store/v1/products/prod_1";
const ADA: (&str, &str) = ("authorization", "Bearer usr_ada");
const BEA: (&str, &str) = ("authorization", "Bearer usr_bea");

fn placing(note: &str) -> String {
    format!(
        r#"{{"payment": {{"method": "later"}}, "expected_total": {{"amount": 1, "currency": "CNY"}}, "note": "{note}"}}"#
    )
}

async fn place(edge: &Arc<Edge>, who: (&str, &str), key: &str) -> Answer {
    send(edge, "POST", "/store/v1/orders", &[who, ("idempotency-key", key)], &placing("")).await
}

/// Sends a request from an address.
async fn from(edge: &Arc<Edge>, peer: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::empty()).unwrap();
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    ask(edge, request).await
}

/// A body that says how often somebody wanted bytes of it; it never ends.
struct Watched(Arc<AtomicU64>);

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Poll::Pending
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(1_000)
    }
}

/// Sends an order whose body never comes.
async fn endless(edge: &Arc<Edge>, who: (&str, &str)) -> (Answer, u64) {
    let polled = Arc::new(AtomicU64::new(0));
    let request = Request::post("/store/v1/orders").header(who.0, who.1).header("idempotency-key", "k");
    let answer = ask(edge, request.body(Body::new(Watched(Arc::clone(&polled)))).unwrap()).await;
    (answer, polled.load(Ordering::SeqCst))
}

fn rule(name: &str, by: By, rate: u32, burst: u32) -> Rule {
    Rule {
        name: name.into(),
        routes: vec!["/store/v1/orders".into()],
        verbs: vec!["POST".into()],
        surface: None,
        tier: None,
        by,
        rate,
        window: Duration::from_secs(1),
        burst,
        when_unknown: WhenUnknown::Open,
        keys_max: 100,
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_too_often_waits_and_others_are_served() {
    let (edge, fake) = shop(|config| config.limits = vec![rule("buy", By::User, 1, 2)]);
    for (index, remaining) in ["1", "0"].into_iter().enumerate() {
        let answer = place(&edge, ADA, &format!("a{index}")).await;
        assert_eq!((answer.status.as_u16(), answer.header("ratelimit-remaining")), (201, remaining), "{}", answer.text);
        assert_eq!(answer.header("ratelimit-policy"), "2;w=2;name=\"buy\"");
    }
    let refused = place(&edge, ADA, "a2").await;
    assert_eq!(refused.refusal(), (429, "rate_limited".into(), "".into()));
    assert_eq!((refused.header("retry-after"), refused.header("ratelimit-reset")), ("1", "2"));
    assert_eq!(refused.json()["error"]["details"]["rule"], "buy");
    assert_eq!(place(&edge, BEA, "b0").await.status, 201, "somebody else is served");
    assert_eq!(fake.calls(), 3);
    let other = send(&edge, "GET", PRODUCT, &[ADA], "").await;
    assert_eq!((other.status.as_u16(), other.header("ratelimit-limit")), (200, ""), "another route is not limited");

    sleep(Duration::from_secs(1)).await;
    assert_eq!(place(&edge, ADA, "a2").await.status, 201, "the same request passes when it may");
    let state = &edge.protection().rate_limits[0];
    assert_eq!((state.name.as_str(), state.allowed, state.limited, state.keys), ("buy", 4, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn an_address_is_limited_before_its_token_is_looked_at() {
    let (edge, _) = shop(|config| {
        config.limits = vec![Rule { routes: vec![], verbs: vec![], ..rule("all", By::Address, 1, 1) }];
    });
    let expired = [("authorization", "Bearer expired")];
    assert_eq!(from(&edge, "192.0.2.1:1", PRODUCT, &expired).await.refusal().0, 401);
    assert_eq!(from(&edge, "192.0.2.1:2", PRODUCT, &expired).await.refusal().0, 429);
    assert_eq!(from(&edge, "192.0.2.2:1", PRODUCT, &[]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_full_mall_says_so_before_it_reads_anything() {
    let (edge, fake) = shop(|config| {
        config.concurrency.waiting_max = 0;
        config.concurrency.gradient.limit_min = 1;
        config.concurrency.gradient.limit_initial = 1;
    });
    let first = tokio::spawn({
        let edge = Arc::clone(&edge);
        async move { send(&edge, "GET", "/store/v1/orders/ord_slow", &[ADA], "").await }
    });
    while fake.calls() == 0 {
        tokio::task::yield_now().await;
    }
    // Neither its bad token nor its body is looked at.
    let (shed, polled) = endless(&edge, ("authorization", "Bearer expired")).await;
    assert_eq!(shed.refusal(), (503, "overloaded".into(), "".into()));
    assert_eq!((shed.header("x-mallard-shed"), polled), ("concurrency", 0));
    let wait: u64 = shed.header("retry-after").parse().unwrap();
    assert!((1..=3).contains(&wait));
    let protection = edge.protection();
    assert_eq!((protection.in_flight, protection.limit), (1, 1));
    let pay = &protection.tiers[0];
    assert_eq!((pay.name, pay.admitted, pay.shed), ("pay", 0, 1));
    assert_eq!(protection.tiers[1].admitted, 1);
    first.abort();
    let _ = first.await;
    assert_eq!(send(&edge, "GET", PRODUCT, &[], "").await.status, 200, "the place came free");
    assert_eq!(edge.protection().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_in_the_middle_of_a_purchase_keeps_its_place_until_it_is_done() {
    let (edge, fake) = shop(|_| {});
    let buyer = tokio::spawn({
        let edge = Arc::clone(&edge);
        let headers = [ADA, ("idempotency-key", "k")];
        async move { send(&edge, "POST", "/store/v1/orders", &headers, &placing("slow")).await }
    });
    while fake.calls() == 0 {
        tokio::task::yield_now().await;
    }
    buyer.abort();
    let _ = buyer.await;
    assert_eq!(edge.protection().in_flight, 1, "the work goes on, and counts");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_is_given_up_in_two_seconds_where_shoppers_look() {
    let (edge, _) = shop(|_| {});
    let begun = Instant::now();
    assert_eq!(send(&edge, "GET", "/store/v1/products/slow", &[], "").await.refusal().0, 504);
    assert!(begun.elapsed() <= Duration::from_secs(2), "{:?}", begun.elapsed());
    // A payment may take longer.
    let begun = Instant::now();
    let headers = [ADA, ("idempotency-key", "k")];
    assert_eq!(send(&edge, "POST", "/store/v1/orders", &headers, &placing("slow")).await.refusal().0, 504);
    assert!(begun.elapsed() > Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn others_are_served_while_a_service_hangs() {
    let (edge, _) = shop(|_| {});
    let stuck = (0..600).map(|buyer| {
        let edge = Arc::clone(&edge);
        tokio::spawn(async move {
            let token = format!("Bearer usr_{buyer}");
            send(
                &edge,
                "POST",
                "/store/v1/cart/lines",
                &[("authorization", &token)],
                r#"{"sku_id": "slow", "quantity": 1}"#,
            )
            .await
        })
    });
    let stuck: Vec<_> = stuck.collect();
    sleep(Duration::from_millis(500)).await;
    for _ in 0..100 {
        assert_eq!(send(&edge, "GET", PRODUCT, &[], "").await.status, 200, "browsing");
        assert_eq!(send(&edge, "GET", "/store/v1/orders/ord_1", &[BEA], "").await.status, 200, "orders");
    }
    let answers = join_all(stuck).await.into_iter().map(|answer| answer.unwrap().status.as_u16()).collect::<Vec<_>>();
    assert!(answers.contains(&504) && answers.contains(&503), "some waited in vain, the rest were told at once");
}

#[tokio::test(start_paused = true)]
async fn a_client_may_wait_less_long_but_not_longer() {
    let (edge, fake) = shop(|_| {});
    let get = async |ms: &str, path: &str| send(&edge, "GET", path, &[("x-mallard-deadline-ms", ms)], "").await;
    let begun = Instant::now();
    assert_eq!(get("300", "/store/v1/products/slow").await.refusal().0, 504);
    assert_eq!(begun.elapsed(), Duration::from_millis(300));
    let begun = Instant::now();
    assert_eq!(get("60000", "/store/v1/products/slow").await.refusal().0, 504);
    assert!(begun.elapsed() <= Duration::from_secs(2));
    for bad in ["0", "-1", "soon", "1.5", ""] {
        assert_eq!(
            get(bad, PRODUCT).await.refusal(),
            (400, "invalid_field".into(), "X-Mallard-Deadline-Ms".into()),
            "{bad}"
        );
    }
    assert_eq!(get("500", PRODUCT).await.status, 200);
    assert!(fake.last().deadline.unwrap() <= Instant::now() + Duration::from_millis(500), "services see it");
}

#[tokio::test(start_paused = true)]
async fn slow_and_large_bodies_are_cut_off() {
    let (edge, fake) = shop(|config| {
        let path = "/store/v1/cart/lines".into();
        config.routes = vec![RouteConfig { path, timeout: None, body_bytes_max: Some(100) }];
    });
    let begun = Instant::now();
    let (answer, _) = endless(&edge, ADA).await;
    assert_eq!(answer.refusal(), (408, "body_too_slow".into(), "".into()));
    assert!(begun.elapsed() <= Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(edge.protection().in_flight, 0);
    let long = format!(r#"{{"sku_id": "{}", "quantity": 1}}"#, "x".repeat(100));
    let answer = send(&edge, "POST", "/store/v1/cart/lines", &[], &long).await;
    assert_eq!(answer.refusal(), (413, "body_too_large".into(), "".into()));
    let other =
        send(&edge, "POST", "/admin/v1/products/prod_1/list", &[("authorization", "Bearer usr_9:admin")], &long);
    assert_ne!(other.await.refusal().0, 413, "another route has the usual limit");
    assert_eq!(fake.calls(), 0);
}

/// A body that never ends: so many bytes every 10 ms.
fn trickle(bytes: usize) -> Body {
    Body::from_stream(unfold((), move |()| async move {
        sleep(Duration::from_millis(10)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from(vec![b' '; bytes])), ()))
    }))
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_late_is_the_clients_fault_also_when_the_routes_time_is_over() {
    let (edge, fake) = shop(|_| {});
    // One that would have time left by the rule of slow bodies, one that has none, and one that never comes.
    for body in [|| trickle(200), || trickle(1), || Body::new(Watched(Arc::default()))] {
        for wait in ["300", "60000"] {
            let request = Request::post("/store/v1/cart/lines").header("x-mallard-deadline-ms", wait);
            let begun = Instant::now();
            let asked = tokio::spawn({
                let (edge, request) = (Arc::clone(&edge), request.body(body()).unwrap());
                async move { ask(&edge, request).await }
            });
            sleep(Duration::from_millis(100)).await;
            assert_eq!(edge.protection().in_flight, 0, "it takes nobody's place");
            assert_eq!(asked.await.unwrap().refusal(), (408, "body_too_slow".into(), "".into()), "{wait}");
            assert!(begun.elapsed() <= Duration::from_secs(2), "{:?}", begun.elapsed());
        }
    }
    assert_eq!(fake.calls(), 0);
    let line = r#"{"sku_id": "slow", "quantity": 1}"#;
    let answer = send(&edge, "POST", "/store/v1/cart/lines", &[], line).await;
    assert_eq!((answer.refusal().0, fake.calls()), (504, 1), "here it is the service");
}

#[tokio::test(start_paused = true)]
async fn too_many_or_too_large_headers_are_refused() {
    let (edge, _) = shop(|config| (config.headers_max, config.header_bytes_max) = (20, 2_000));
    let large = "x".repeat(2_000);
    assert_eq!(
        send(&edge, "GET", PRODUCT, &[("x-a", &large)], "").await.refusal(),
        (431, "headers_too_large".into(), "".into())
    );
    let names: Vec<String> = (0..21).map(|index| format!("x-{index}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(send(&edge, "GET", PRODUCT, &many, "").await.refusal().0, 431);
    assert_eq!(send(&edge, "GET", PRODUCT, &many[..20], "").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_address_meets_the_lists_of_the_door() {
    let (edge, fake) = shop(|config| {
        let nets = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect();
        config.addresses.everywhere = Gate { deny: nets(&["198.51.100.0/24"]), ..Gate::default() };
        config.addresses.admin = Gate { allow: nets(&["10.0.0.0/8"]), ..Gate::default() };
        config.proxies.trusted = nets(&["127.0.0.1/32"]);
    });
    let admin = [("authorization", "Bearer usr_9:admin")];
    let check = "/admin/v1/orders/ord_1";
    assert_eq!(from(&edge, "203.0.113.1:1", PRODUCT, &[]).await.status, 200);
    assert_eq!(from(&edge, "198.51.100.7:1", PRODUCT, &[]).await.refusal(), (403, "address_denied".into(), "".into()));
    assert_eq!(from(&edge, "203.0.113.1:1", check, &admin).await.refusal().1, "address_denied");
    assert_ne!(from(&edge, "10.1.2.3:1", check, &admin).await.status, 403);
    // Behind the proxy, what the proxy says; in front of it, nobody says anything.
    let named = |address| [("x-forwarded-for", address), ("user-agent", "Duck/1.0")];
    assert_eq!(from(&edge, "127.0.0.1:1", PRODUCT, &named("198.51.100.7")).await.refusal().1, "address_denied");
    assert_eq!(from(&edge, "203.0.113.1:1", PRODUCT, &named("198.51.100.7")).await.status, 200);
    assert_eq!(from(&edge, "127.0.0.1:1", PRODUCT, &named("1.1.1.1, 203.0.113.9")).await.status, 200);
    let origin = fake.last().origin.unwrap();
    assert_eq!((origin.address.as_str(), origin.user_agent.as_str()), ("203.0.113.9", "Duck/1.0"));
    assert_eq!(send(&edge, "GET", PRODUCT, &[], "").await.status, 200);
    assert_eq!(fake.last().origin.unwrap().address, "", "without a connection it is not known");
}

#[tokio::test(start_paused = true)]
async fn browsers_learn_to_come_over_tls() {
    let (edge, _) = shop(|config| config.proxies.trusted = vec!["127.0.0.1/32".parse().unwrap()]);
    let https = [("x-forwarded-proto", "https")];
    let header = "strict-transport-security";
    assert_eq!(from(&edge, "127.0.0.1:1", PRODUCT, &https).await.header(header), "max-age=31536000");
    assert_eq!(from(&edge, "203.0.113.1:1", PRODUCT, &https).await.header(header), "");
    let plain = from(&edge, "127.0.0.1:1", PRODUCT, &[]).await;
    assert_eq!((plain.header(header), plain.header("cross-origin-resource-policy")), ("", "same-origin"));
    assert_eq!(plain.header("cross-origin-opener-policy"), "same-origin");
}

#[tokio::test(start_paused = true)]
async fn pages_of_other_origins_may_call_when_they_are_named() {
    let origin = "https://shop.example";
    let ask_first = [("origin", origin), ("access-control-request-method", "POST")];
    let (off, _) = shop(|_| {});
    let answer = send(&off, "OPTIONS", "/store/v1/orders", &ask_first, "").await;
    assert_eq!((answer.refusal().0, answer.header("access-control-allow-origin")), (405, ""));

    let (edge, _) = shop(|config| {
        config.cors = Cors { origins: vec![origin.into()], credentials: true, max_age_s: 600 };
    });
    let answer = send(&edge, "OPTIONS", "/store/v1/orders", &ask_first, "").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
    assert_eq!(answer.header("access-control-allow-origin"), origin);
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    assert_eq!(answer.header("access-control-allow-methods"), "GET, POST, HEAD");
    assert!(answer.header("access-control-allow-headers").contains("Idempotency-Key"));
    assert_eq!(answer.header("access-control-max-age"), "600");
    let stranger = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
    let answer = send(&edge, "OPTIONS", "/store/v1/orders", &stranger, "").await;
    assert_eq!((answer.refusal().0, answer.header("access-control-allow-origin")), (405, ""));

    let varies =
        |answer: &Answer| answer.headers.get_all("vary").iter().any(|value| value.to_str().unwrap().contains("Origin"));
    // Also a refusal must be readable, or nobody learns why.
    for path in [PRODUCT, "/store/v1/nothing"] {
        let answer = send(&edge, "GET", path, &[("origin", origin)], "").await;
        assert_eq!(answer.header("access-control-allow-origin"), origin, "{path}");
        assert!(answer.header("access-control-expose-headers").contains("Retry-After") && varies(&answer));
        assert_eq!(answer.header("cross-origin-resource-policy"), "cross-origin");
    }
    let answer = send(&edge, "GET", PRODUCT, &[("origin", "https://evil.example")], "").await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, ""));
    assert!(varies(&answer) && answer.header("access-control-allow-credentials").is_empty());

    let (any, _) = shop(|config| config.cors = Cors { origins: vec!["*".into()], credentials: true, max_age_s: 0 });
    let answer = send(&any, "GET", PRODUCT, &[("origin", origin)], "").await;
    assert_eq!(
        (answer.header("access-control-allow-origin"), answer.header("access-control-allow-credentials")),
        ("*", "")
    );
}

#[tokio::test(start_paused = true)]
async fn a_canary_is_for_those_who_ask_and_for_a_part_of_the_others() {
    let (edge, fake) = shop(|config| {
        let (service, version) = ("catalog".to_owned(), "v2".to_owned());
        let header = Some("x-mallard-canary".parse().unwrap());
        config.canaries = vec![Canary { service, version, header, weight: canary::weight(50.0).unwrap() }];
    });
    let answer = send(&edge, "GET", PRODUCT, &[("x-mallard-canary", "v2")], "").await;
    assert_eq!(answer.header("x-mallard-canary"), "catalog=v2");
    assert_eq!(*fake.last().versions.unwrap(), [("catalog".to_owned(), "v2".to_owned())]);
    let mut chosen = 0;
    for user in 0..200 {
        let token = format!("Bearer usr_{user}");
        let first =
            send(&edge, "GET", PRODUCT, &[("authorization", &token)], "").await.header("x-mallard-canary").to_owned();
        let again =
            send(&edge, "GET", PRODUCT, &[("authorization", &token)], "").await.header("x-mallard-canary").to_owned();
        assert_eq!(first, again, "user {user} sees one version");
        assert_eq!(fake.last().versions.is_some(), !first.is_empty());
        chosen += usize::from(!first.is_empty());
    }
    assert!((60..140).contains(&chosen), "{chosen} of 200 are half");
    let (plain, fake) = shop(|_| {});
    let answer = send(&plain, "GET", PRODUCT, &[("x-mallard-canary", "v2")], "").await;
    assert_eq!((answer.header("x-mallard-canary"), fake.last().versions), ("", None));
}

/// Works as a client would.
fn solve(challenge: &str, bits: u32) -> String {
    let zeros = |text: &str| {
        let digest = Sha256::digest(text);
        u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]).leading_zeros()
    };
    let proofs = (0u64..).map(|nonce| format!("{challenge}.{nonce}"));
    proofs.into_iter().find(|proof| zeros(proof) >= bits).unwrap()
}

#[tokio::test(start_paused = true)]
async fn on_a_hot_route_a_request_costs_its_client_a_little_work() {
    let (edge, fake) = shop(|config| {
        let (routes, secret) = (vec!["POST /store/v1/orders".to_owned()], b"secret".to_vec());
        config.friction = friction::Settings { routes, secret, difficulty_bits: 10, ..Default::default() };
    });
    let refused = place(&edge, ADA, "k").await;
    assert_eq!(refused.refusal(), (403, "challenge_required".into(), "".into()));
    let details = refused.json()["error"]["details"].clone();
    assert_eq!((details["algorithm"].as_str(), details["difficulty_bits"].as_u64()), (Some("sha256"), Some(10)));
    let proof = solve(details["challenge"].as_str().unwrap(), 10);
    let with = async |who: (&str, &str), key: &str| {
        let headers = [who, ("idempotency-key", key), ("x-mallard-proof", proof.as_str())];
        send(&edge, "POST", "/store/v1/orders", &headers, &placing("")).await
    };
    assert_eq!(with(BEA, "b").await.refusal().1, "challenge_required", "it is not for somebody else");
    let both = tokio::join!(with(ADA, "k"), with(ADA, "l"));
    let passed = [both.0.status.as_u16(), both.1.status.as_u16()];
    assert!(passed.contains(&201) && passed.contains(&403), "one of two at once: {passed:?}");
    assert_eq!(with(ADA, "m").await.refusal().1, "challenge_required", "once is once");
    assert_eq!(fake.calls(), 1);
    assert_ne!(send(&edge, "GET", "/store/v1/orders", &[ADA], "").await.status, 403, "another verb costs nothing");
    assert_eq!(send(&edge, "GET", PRODUCT, &[], "").await.status, 200, "nor do other routes");
}

#[tokio::test(start_paused = true)]
async fn a_proof_is_not_lost_at_the_door() {
    let (edge, fake) = shop(|config| {
        let (routes, secret) = (vec!["POST /store/v1/orders".to_owned()], b"secret".to_vec());
        config.friction = friction::Settings { routes, secret, difficulty_bits: 1, ..Default::default() };
        config.limits = vec![rule("buy", By::User, 1, 1)];
        config.concurrency.waiting_max = 0;
        config.concurrency.gradient.limit_min = 1;
        config.concurrency.gradient.limit_initial = 1;
    });
    let refused = place(&edge, ADA, "k").await;
    let proof = solve(refused.json()["error"]["details"]["challenge"].as_str().unwrap(), 1);
    let headers = [ADA, ("idempotency-key", "k"), ("x-mallard-proof", proof.as_str())];
    let slow = tokio::spawn({
        let edge = Arc::clone(&edge);
        async move { send(&edge, "GET", "/store/v1/products/slow", &[], "").await }
    });
    while fake.calls() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(send(&edge, "POST", "/store/v1/orders", &headers, &placing("")).await.status, 503);
    slow.abort();
    let _ = slow.await;
    assert_eq!(send(&edge, "POST", "/store/v1/orders", &headers, &placing("")).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_means_nothing_is_refused() {
    let refused = |change: fn(&mut EdgeConfig)| {
        let channels = Channels::default();
        let mut config = EdgeConfig::default();
        change(&mut config);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            edge_with(&channels, Arc::new(Memory::default()), None, config)
        }));
        outcome.is_err()
    };
    assert!(!refused(|_| {}));
    assert!(refused(
        |config| config.limits = vec![Rule { routes: vec!["/nowhere".into()], ..rule("a", By::User, 1, 1) }]
    ));
    assert!(refused(|config| config.friction.routes = vec!["/nowhere".into()]));
    assert!(refused(|config| config.routes = vec![RouteConfig { path: "/nowhere".into(), ..Default::default() }]));
}

//! Pages behind the edge: limited, shed and kept out like the routes they stand for, with answers for people.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use common::{Memory, edge_with};
use http::{Request, Response};
use http_body_util::BodyExt;
use mallard_gateway_core::addresses::{Addresses, Gate};
use mallard_gateway_core::body::Patience;
use mallard_gateway_core::cors::Cors;
use mallard_gateway_core::edge::Quota;
use mallard_gateway_core::limits::{By, Rule, WhenUnknown};
use mallard_gateway_core::origin::{Client, Proxies};
use mallard_gateway_core::{Answering, Edge, EdgeConfig, Stands};
use mallard_rpc::{Caller, Channels, Trace};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

const LOGIN: Stands = Stands::Route { verb: "POST", path: "/auth/v1/login", streams: false };
const HOME: Stands = Stands::Route { verb: "GET", path: "/store/v1/products", streams: false };
const OPERATOR: Stands = Stands::Route { verb: "GET", path: "/admin/v1/orders", streams: false };

fn edge(change: impl FnOnce(&mut EdgeConfig)) -> Arc<Edge> {
    let mut config = EdgeConfig::default();
    change(&mut config);
    edge_with(&Channels::default(), Arc::new(Memory::default()), None, config)
}

fn rule(by: By, rate: u32) -> Rule {
    Rule {
        name: "sign_in".into(),
        routes: vec!["/auth/v1/login".into()],
        verbs: vec!["POST".into()],
        surface: None,
        tier: None,
        by,
        rate,
        window: Duration::from_secs(3_600),
        burst: rate,
        when_unknown: WhenUnknown::Open,
        keys_max: 1_000,
    }
}

/// What the page behind the guard saw.
#[derive(Clone, Default)]
struct Page(Arc<AtomicU64>, Arc<Mutex<Option<(Client, String, String)>>>);

impl Page {
    fn answering(&self) -> Answering {
        let page = self.clone();
        Box::new(move |request: Request<Body>| {
            Box::pin(async move {
                page.0.fetch_add(1, Ordering::SeqCst);
                let (parts, body) = request.into_parts();
                let text = |name: &str| parts.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
                let client = *parts.extensions.get::<Client>().expect("the client is told");
                *page.1.lock() = Some((client, text("x-request-id"), text("traceparent")));
                let form = body.collect().await.unwrap().to_bytes();
                Response::builder().header("content-type", "text/html").body(Body::from(form)).unwrap()
            })
        })
    }

    fn shown(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

struct Answer {
    status: u16,
    headers: http::HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn request(verb: &str, from: &str) -> http::request::Builder {
    let peer = SocketAddr::new(from.parse().unwrap(), 4711);
    Request::builder().method(verb).uri("/page").header("accept", "text/html").extension(ConnectInfo(peer))
}

async fn ask(edge: &Arc<Edge>, request: Request<Body>, stands: Stands, page: &Page) -> Answer {
    let (parts, body) = Arc::clone(edge).guard(request, stands, page.answering()).await.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Answer { status: parts.status.as_u16(), headers: parts.headers, text }
}

async fn visit(edge: &Arc<Edge>, verb: &str, from: &str, stands: Stands, page: &Page) -> Answer {
    ask(edge, request(verb, from).body(Body::empty()).unwrap(), stands, page).await
}

#[tokio::test(start_paused = true)]
async fn a_page_and_its_route_share_one_limit_by_address() {
    let edge = edge(|config| config.limits = vec![rule(By::Address, 3)]);
    let page = Page::default();
    let first = visit(&edge, "POST", "192.0.2.1", LOGIN, &page).await;
    assert_eq!((first.status, first.header("ratelimit-remaining")), (200, "2"));
    // The API spends from the same.
    let peer = SocketAddr::from(([192, 0, 2, 1], 1));
    let api = Request::builder().method("POST").uri("/auth/v1/login").extension(ConnectInfo(peer));
    let api = Arc::clone(&edge).handle(api.body(Body::empty()).unwrap()).await;
    assert_eq!(api.headers()["ratelimit-remaining"], "1");
    assert_eq!(visit(&edge, "POST", "192.0.2.1", LOGIN, &page).await.status, 200);

    let refused = visit(&edge, "POST", "192.0.2.1", LOGIN, &page).await;
    assert_eq!((refused.status, refused.header("content-type")), (429, "text/html; charset=utf-8"));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    assert!(refused.text.contains("lang=\"zh\"") && refused.text.contains("too often"), "{}", refused.text);
    assert_ne!(refused.header("x-request-id"), "");
    assert_eq!(page.shown(), 2);
    // Others are served, and so is who was refused, elsewhere.
    assert_eq!(visit(&edge, "POST", "192.0.2.2", LOGIN, &page).await.status, 200);
    assert_eq!(visit(&edge, "GET", "192.0.2.1", HOME, &page).await.status, 200);
    // A program is told in the API's words.
    let program = request("POST", "192.0.2.1").header("accept", "application/json");
    let mut program = program.body(Body::empty()).unwrap();
    program.headers_mut().insert("accept", "application/json".parse().unwrap());
    let refused = ask(&edge, program, LOGIN, &page).await;
    assert!(refused.text.contains("\"rate_limited\""), "{}", refused.text);
}

#[tokio::test(start_paused = true)]
async fn a_limit_by_user_holds_where_a_page_finds_out_who_asks() {
    let edge = edge(|config| {
        config.limits = vec![Rule { when_unknown: WhenUnknown::Closed, ..rule(By::User, 1) }];
    });
    let caller = |user: &str| Caller { user_id: user.into(), ..Caller::default() };
    let visit_as = async |user: &str| {
        let (caller, outcome) = (caller(user), Arc::new(Mutex::new(Vec::new())));
        let told = Arc::clone(&outcome);
        let answer: Answering = Box::new(move |request: Request<Body>| {
            Box::pin(async move {
                let quota = request.extensions().get::<Quota>().expect("the quota is there");
                // A page may want to know twice; it is one request all the same.
                for _ in 0..2 {
                    told.lock().push(quota.take(&caller).map_err(|error| error.code.to_string()));
                }
                Response::new(Body::empty())
            })
        });
        let request = request("POST", "192.0.2.1").body(Body::empty()).unwrap();
        assert_eq!(Arc::clone(&edge).guard(request, LOGIN, answer).await.status(), 200);
        outcome.lock().clone()
    };
    let limited = || Err("rate_limited".to_owned());
    assert_eq!(visit_as("usr_1").await, [Ok(()), Ok(())]);
    assert_eq!(visit_as("usr_1").await, [limited(), limited()]);
    assert_eq!(visit_as("usr_2").await, [Ok(()), Ok(())]);
    assert_eq!(visit_as("").await, [limited(), limited()], "nobody is refused where the rule says so");
}

#[tokio::test(start_paused = true)]
async fn a_network_that_may_not_knock_sees_neither_pages_nor_files() {
    let edge = edge(|config| {
        let gate = |allow: &[&str], deny: &[&str]| {
            let nets = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect();
            Gate { allow: nets(allow), deny: nets(deny) }
        };
        config.addresses = Addresses {
            everywhere: gate(&[], &["198.51.100.0/24"]),
            admin: gate(&["10.0.0.0/8"], &[]),
            ..Addresses::default()
        };
    });
    let page = Page::default();
    let status = async |from: &str, stands: Stands| visit(&edge, "GET", from, stands, &page).await.status;
    assert_eq!(status("198.51.100.7", HOME).await, 403);
    assert_eq!(status("198.51.100.7", Stands::File).await, 403);
    assert_eq!(status("203.0.113.1", HOME).await, 200);
    assert_eq!(status("203.0.113.1", Stands::File).await, 200);
    assert_eq!(status("203.0.113.1", OPERATOR).await, 403);
    assert_eq!(status("10.1.2.3", OPERATOR).await, 200);
    assert_eq!(page.shown(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_full_edge_sheds_pages_by_their_tier_and_files_never() {
    let edge = edge(|config| {
        config.concurrency.gradient.limit_min = 2;
        config.concurrency.gradient.limit_max = 2;
        config.concurrency.gradient.limit_initial = 2;
        config.concurrency.waiting_max = 0;
        config.concurrency.shares_percent = [100, 100, 100, 50, 50];
        config.concurrency.one_service_percent = 100;
    });
    let (gate, page) = (Arc::new(Semaphore::new(0)), Page::default());
    let slow = || -> Answering {
        let gate = Arc::clone(&gate);
        Box::new(move |_| {
            Box::pin(async move {
                gate.acquire().await.unwrap().forget();
                Response::new(Body::empty())
            })
        })
    };
    let browsing = Arc::clone(&edge).guard(request("GET", "192.0.2.1").body(Body::empty()).unwrap(), HOME, slow());
    let browsing = tokio::spawn(browsing);
    while edge.protection().in_flight < 1 {
        tokio::task::yield_now().await;
    }
    let shed = visit(&edge, "GET", "192.0.2.2", HOME, &page).await;
    assert_eq!((shed.status, shed.header("x-mallard-shed")), (503, "concurrency"));
    assert!((1..=3).contains(&shed.header("retry-after").parse::<u64>().unwrap()));
    assert!(shed.text.contains("very busy"), "{}", shed.text);
    // Whoever signs in matters more than whoever looks.
    let signed_in = visit(&edge, "POST", "192.0.2.2", LOGIN, &page).await;
    assert_eq!(signed_in.status, 200);
    assert_eq!(visit(&edge, "GET", "192.0.2.2", Stands::File, &page).await.status, 200);
    let tiers = edge.protection().tiers;
    let browse = tiers.iter().find(|tier| tier.name == "browse").unwrap();
    assert_eq!((browse.admitted, browse.shed), (1, 1));
    gate.add_permits(1);
    assert_eq!(browsing.await.unwrap().status(), 200);
    assert_eq!(edge.protection().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_form_keeps_its_place_until_it_is_done_although_the_browser_is_gone() {
    let edge = edge(|_| ());
    let gate = Arc::new(Semaphore::new(0));
    let done = Arc::new(AtomicU64::new(0));
    let (waits, counts) = (Arc::clone(&gate), Arc::clone(&done));
    let answering: Answering = Box::new(move |_| {
        Box::pin(async move {
            waits.acquire().await.unwrap().forget();
            counts.fetch_add(1, Ordering::SeqCst);
            Response::new(Body::empty())
        })
    });
    let form = Arc::clone(&edge).guard(request("POST", "192.0.2.1").body(Body::empty()).unwrap(), LOGIN, answering);
    let browser = tokio::spawn(form);
    while edge.protection().in_flight < 1 {
        tokio::task::yield_now().await;
    }
    browser.abort();
    assert!(browser.await.unwrap_err().is_cancelled());
    assert_eq!(edge.protection().in_flight, 1);
    gate.add_permits(1);
    while edge.protection().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(done.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn the_page_is_told_the_client_behind_the_proxy_and_its_calls_can_be_found() {
    let edge = edge(|config| {
        config.proxies = Proxies { trusted: vec!["10.0.0.0/8".parse().unwrap()], ..Proxies::default() };
        config.cors = Cors { origins: vec!["https://elsewhere.example".into()], credentials: true, max_age_s: 1 };
    });
    let page = Page::default();
    let asked = request("GET", "10.0.0.1")
        .header("x-forwarded-for", "203.0.113.9")
        .header("x-forwarded-proto", "https")
        .header("x-request-id", "req_mine")
        .header("origin", "https://elsewhere.example");
    let answer = ask(&edge, asked.body(Body::empty()).unwrap(), HOME, &page).await;
    let (client, request_id, trace) = page.1.lock().clone().unwrap();
    assert_eq!(client, Client { address: "203.0.113.9".parse().ok(), secure: true });
    assert_eq!((request_id.as_str(), trace), ("req_mine", Trace::new(7, 7).traceparent()));
    assert_eq!(answer.header("x-request-id"), "req_mine");
    assert!(answer.header("strict-transport-security").starts_with("max-age="));
    // A page with the visitor's own forms is never for the scripts of another site.
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let plain = visit(&edge, "GET", "192.0.2.1", HOME, &page).await;
    assert_eq!(plain.header("strict-transport-security"), "");
}

#[tokio::test(start_paused = true)]
async fn a_form_comes_whole_in_time_and_within_its_limit_or_not_at_all() {
    let edge = edge(|config| {
        config.body_bytes_max = 10;
        config.patience =
            Patience { timeout: Duration::from_secs(5), grace: Duration::from_secs(1), bytes_per_s_min: 1_000 };
    });
    let page = Page::default();
    let post = |body: Body| request("POST", "192.0.2.1").body(body).unwrap();
    let answer = ask(&edge, post(Body::from("a=1&b=2")), LOGIN, &page).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "a=1&b=2"));
    let large = ask(&edge, post(Body::from("x".repeat(11))), LOGIN, &page).await;
    assert_eq!(large.status, 413);
    let never = Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    assert_eq!(ask(&edge, post(never), LOGIN, &page).await.status, 408);
    assert_eq!(page.shown(), 1);
    assert_eq!(edge.protection().in_flight, 0);
    // A page that takes files reads by itself.
    let streams = Stands::Route { verb: "POST", path: "/seller/v1/images", streams: true };
    let file = ask(&edge, post(Body::from("x".repeat(11))), streams, &page).await;
    assert_eq!((file.status, file.text.len()), (200, 11));
}

#[tokio::test(start_paused = true)]
async fn headers_too_large_and_a_page_that_stands_for_nothing_are_refused() {
    let edge = edge(|config| config.header_bytes_max = 200);
    let page = Page::default();
    let asked = request("GET", "192.0.2.1").header("cookie", "x".repeat(300)).body(Body::empty()).unwrap();
    assert_eq!(ask(&edge, asked, HOME, &page).await.status, 431);
    let nothing = Stands::Route { verb: "GET", path: "/store/v1/moons", streams: false };
    assert_eq!(visit(&edge, "GET", "192.0.2.1", nothing, &page).await.status, 500);
    assert_eq!(page.shown(), 0);
}

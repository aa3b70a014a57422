//! The `Idempotency-Key`: one effect, one answer, whatever the client does.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{Memory, edge_with, send};
use futures_util::future::join_all;
use mallard_gateway_core::once::claim_id;
use mallard_gateway_core::{Edge, EdgeConfig};
use mallard_proto::order::v1 as order;
use mallard_rpc::Channels;
use mallard_types::Error;
use tokio::sync::Semaphore;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

struct Orders {
    placed: AtomicU64,
    gate: Semaphore,
}

#[async_trait::async_trait]
impl order::order_service_server::OrderService for Orders {
    async fn place_order(
        &self,
        request: Request<order::PlaceOrderRequest>,
    ) -> Result<Response<order::PlaceOrderResponse>, Status> {
        let request = request.into_inner();
        assert!(!request.idempotency_key.is_empty(), "the key travels to the service");
        let number = self.placed.fetch_add(1, Ordering::SeqCst) + 1;
        self.gate.acquire().await.unwrap().forget();
        match request.note.as_str() {
            "fail" if number == 1 => return Err(mallard_rpc::status(Error::unavailable("away", "later"))),
            "refuse" => return Err(mallard_rpc::status(Error::conflict("out_of_stock", "sold out"))),
            "slow down" if number == 1 => return Err(mallard_rpc::status(Error::too_many("slow_down", "later"))),
            _ => {}
        }
        let order = order::Order { id: format!("ord_{number}"), version: 1, ..Default::default() };
        Ok(Response::new(order::PlaceOrderResponse { order: Some(order), payment: None }))
    }
}

struct Mall {
    edge: Arc<Edge>,
    orders: Arc<Orders>,
    store: Arc<Memory>,
}

fn mall(permits: usize) -> Mall {
    let channels = Channels::default();
    let orders = Arc::new(Orders { placed: AtomicU64::new(0), gate: Semaphore::new(permits) });
    channels.mount_local(
        "order",
        Routes::new(order::order_service_server::OrderServiceServer::from_arc(Arc::clone(&orders))),
    );
    let store = Arc::new(Memory::default());
    let edge = edge_with(&channels, Arc::clone(&store) as _, None, EdgeConfig::default());
    Mall { edge, orders, store }
}

fn body(note: &str) -> String {
    format!(
        r#"{{"payment": {{"method": "later"}}, "expected_total": {{"amount": 1, "currency": "CNY"}}, "note": "{note}"}}"#
    )
}

impl Mall {
    async fn place(&self, user: &str, key: &str, body: &str) -> common::Answer {
        let token = format!("Bearer {user}");
        send(&self.edge, "POST", "/store/v1/orders", &[("authorization", &token), ("idempotency-key", key)], body).await
    }

    fn placed(&self) -> u64 {
        self.orders.placed.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn the_key_is_required_where_money_moves() {
    let mall = mall(100);
    let answer = send(&mall.edge, "POST", "/store/v1/orders", &[("authorization", "Bearer usr_1")], &body("")).await;
    assert_eq!(answer.refusal(), (400, "idempotency_key_required".into(), "Idempotency-Key".into()));
    let answer = mall.place("usr_1", &"k".repeat(256), &body("")).await;
    assert_eq!(answer.refusal(), (400, "invalid_field".into(), "Idempotency-Key".into()));
    assert_eq!(mall.placed(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_same_request_again_gets_the_same_answer() {
    let mall = mall(100);
    let first = mall.place("usr_1", "k", &body("")).await;
    assert_eq!((first.status.as_u16(), first.header("idempotent-replayed"), first.header("etag")), (201, "", "\"1\""));
    // White space and order of names are not another body.
    let same = r#"{ "note":"", "expected_total":{"currency":"CNY","amount":1}, "payment":{"method":"later"} }"#;
    let second = mall.place("usr_1", "k", same).await;
    assert_eq!(
        (second.status.as_u16(), second.header("idempotent-replayed"), second.header("etag")),
        (201, "true", "\"1\"")
    );
    assert_eq!(first.text, second.text);
    assert_eq!(mall.placed(), 1);
    assert_eq!((mall.store.begins.load(Ordering::SeqCst), mall.store.finishes.load(Ordering::SeqCst)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn the_same_key_with_another_body_is_refused() {
    let mall = mall(100);
    mall.place("usr_1", "k", &body("")).await;
    let answer = mall.place("usr_1", "k", &body("gift")).await;
    assert_eq!(answer.refusal(), (422, "idempotency_conflict".into(), "Idempotency-Key".into()));
    assert_eq!(mall.placed(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_caller_may_use_the_same_key() {
    let mall = mall(100);
    let (one, two) = (mall.place("usr_1", "k", &body("")).await, mall.place("usr_2", "k", &body("")).await);
    assert_ne!(one.text, two.text);
    assert_eq!(mall.placed(), 2);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_remembered_and_failures_are_not() {
    let mall = mall(100);
    let (first, second) =
        (mall.place("usr_1", "r", &body("refuse")).await, mall.place("usr_1", "r", &body("refuse")).await);
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (409, 409));
    assert_eq!(first.text, second.text);
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(mall.placed(), 1);

    for note in ["fail", "slow down"] {
        mall.orders.placed.store(0, Ordering::SeqCst);
        let first = mall.place("usr_1", note, &body(note)).await;
        assert!(matches!(first.status.as_u16(), 503 | 429), "{}", first.status);
        let second = mall.place("usr_1", note, &body(note)).await;
        assert_eq!((second.status.as_u16(), second.header("idempotent-replayed")), (201, ""));
    }
}

#[tokio::test(start_paused = true)]
async fn a_malformed_request_does_not_use_up_its_key() {
    let mall = mall(100);
    assert_eq!(mall.place("usr_1", "k", r#"{"payment": {"method": "later"}}"#).await.status, 400);
    assert_eq!(mall.place("usr_1", "k", &body("")).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn fifty_at_once_make_one_order_and_fifty_equal_answers() {
    let mall = mall(100);
    let text = body("");
    let answers = join_all((0..50).map(|_| mall.place("usr_1", "k", &text))).await;
    assert_eq!(mall.placed(), 1);
    for answer in &answers {
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (201, answers[0].text.as_str()));
    }
    assert_eq!(answers.iter().filter(|answer| answer.header("idempotent-replayed").is_empty()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_told_to_come_back() {
    let mall = Arc::new(mall(0));
    let first = tokio::spawn({
        let mall = Arc::clone(&mall);
        async move { mall.place("usr_1", "k", &body("")).await }
    });
    while mall.placed() == 0 {
        tokio::task::yield_now().await;
    }
    let answer = mall.place("usr_1", "k", &body("")).await;
    assert_eq!(answer.refusal(), (409, "idempotency_in_flight".into(), "".into()));
    assert_eq!(answer.header("retry-after"), "1");
    mall.orders.gate.add_permits(1);
    assert_eq!(first.await.unwrap().status, 201);
    assert_eq!(mall.place("usr_1", "k", &body("")).await.header("idempotent-replayed"), "true");
    assert_eq!(mall.place("usr_1", "k", &body("gift")).await.refusal().1, "idempotency_conflict");
    assert_eq!(mall.placed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_another_process_holds_is_waited_for() {
    let mall = mall(100);
    mall.place("usr_1", "k", &body("")).await;
    let id = claim_id("usr_1", "POST", "/store/v1/orders", "k");
    let answer = mall.store.rows.lock().get_mut(&id).unwrap().1.take();
    let refused = mall.place("usr_1", "k", &body("")).await;
    assert_eq!(refused.refusal().1, "idempotency_in_flight");
    let text = body("");
    let (waited, ()) = tokio::join!(mall.place("usr_1", "k", &text), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        mall.store.rows.lock().get_mut(&id).unwrap().1 = answer;
    });
    assert_eq!((waited.status.as_u16(), waited.header("idempotent-replayed")), (201, "true"));
    assert_eq!(mall.placed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_finds_the_answer_when_it_comes_back() {
    let mall = Arc::new(mall(0));
    let first = tokio::spawn({
        let mall = Arc::clone(&mall);
        async move { mall.place("usr_1", "k", &body("")).await }
    });
    while mall.placed() == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert!(first.await.is_err());
    mall.orders.gate.add_permits(1);
    let answer = mall.place("usr_1", "k", &body("")).await;
    assert_eq!((answer.status.as_u16(), answer.header("idempotent-replayed")), (201, "true"));
    assert_eq!(mall.placed(), 1);
}

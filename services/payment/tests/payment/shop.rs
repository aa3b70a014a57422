//! The payment service alone in a test.

use std::sync::Arc;
use std::time::Duration;

use mallard_payment::acquirer::books::Books;
use mallard_payment::acquirer::{Book, Movement};
use mallard_proto::common::v1::{Check, Money, RunChecksRequest};
use mallard_proto::payment::v1::payment_service_client::PaymentServiceClient;
use mallard_proto::payment::v1::*;
use mallard_rpc::ServiceChannel;
use mallard_runtime::{Chance, Clock, Mall, Settings};
use mallard_testkit::{as_system, patiently};
use mallard_types::Result;

/// 2026-11-21T00:00:00Z.
pub const NOW: i64 = 1_795_219_200_000_000;
pub const USER: &str = "usr_1";
pub const VISA: &str = "4242424242424242";
pub const DECLINED: &str = "4000000000000002";
pub const LOST_ANSWER: &str = "4000000000000119";

pub struct Shop {
    pub mall: Mall,
    pub payments: PaymentServiceClient<ServiceChannel>,
}

pub fn settings() -> Settings {
    mallard_testkit::settings(vec![mallard_payment::service()])
}

/// Settings under which a machine that stands still for a while is no provider that does not answer.
pub fn unhurried() -> Settings {
    let settings = settings();
    Settings { config: settings.config.set("payment.provider_timeout_ms", 60_000), ..settings }
}

/// Settings under which a run repeats itself: a clock that moves with tokio's, chance from a seed.
pub fn simulated(seed: u64) -> Settings {
    Settings { clock: Clock::simulated(NOW), chance: Chance::seeded(seed), seed: Some(seed), ..settings() }
}

pub fn cny(amount: i64) -> Option<Money> {
    Some(Money { amount, currency: "CNY".into() })
}

pub fn card(number: &str) -> PaymentInput {
    let cvc = if number.len() == 15 { "0123" } else { "012" };
    PaymentInput {
        method: "card".into(),
        number: number.into(),
        exp_month: 12,
        exp_year: 2040,
        cvc: cvc.into(),
        ..PaymentInput::default()
    }
}

/// A card payment of 990 fen for an order of [`USER`].
pub fn wish(payment_id: &str, order_id: &str, card_token: &str) -> StartPaymentRequest {
    StartPaymentRequest {
        payment_id: payment_id.into(),
        order_id: order_id.into(),
        user_id: USER.into(),
        amount: cny(990),
        method: "card".into(),
        card_token: card_token.into(),
        rounding_nanos: 0,
    }
}

pub fn code<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Ok(value) => panic!("expected a refusal, got {value:?}"),
        Err(error) => format!("{} {}", error.kind.as_str(), error.code),
    }
}

impl Shop {
    pub async fn open() -> Arc<Shop> {
        Shop::with(unhurried()).await
    }

    pub async fn with(settings: Settings) -> Arc<Shop> {
        let mall = mallard_testkit::start(settings).await;
        let payments = mall.client();
        Arc::new(Shop { mall, payments })
    }

    pub async fn token(&self, number: &str) -> String {
        let request = TokeniseRequest { input: Some(card(number)) };
        as_system(async { self.payments.clone().tokenise(request).await.unwrap().into_inner().card_token }).await
    }

    pub async fn start(&self, request: StartPaymentRequest) -> Result<Payment> {
        as_system(async {
            let ask =
                || async { self.payments.clone().start_payment(request.clone()).await.map_err(mallard_rpc::error) };
            Ok(patiently(ask).await?.into_inner().payment.unwrap())
        })
        .await
    }

    /// Enters a card and pays an order of 990 fen.
    pub async fn pay(&self, payment_id: &str, order_id: &str, number: &str) -> Result<Payment> {
        let token = self.token(number).await;
        self.start(wish(payment_id, order_id, &token)).await
    }

    pub async fn resolve(&self, order_id: &str) -> Result<ResolvePaymentResponse> {
        let request = ResolvePaymentRequest { order_id: order_id.into() };
        as_system(async {
            let ask =
                || async { self.payments.clone().resolve_payment(request.clone()).await.map_err(mallard_rpc::error) };
            Ok(patiently(ask).await?.into_inner())
        })
        .await
    }

    pub async fn close(&self, order_id: &str) -> Result<CloseOrderPaymentsResponse> {
        let request = CloseOrderPaymentsRequest { order_id: order_id.into(), reason: "order cancelled".into() };
        as_system(async {
            let ask = || async {
                self.payments.clone().close_order_payments(request.clone()).await.map_err(mallard_rpc::error)
            };
            Ok(patiently(ask).await?.into_inner())
        })
        .await
    }

    pub async fn refund(&self, order_id: &str, refund_id: &str, amount: Option<Money>) -> Result<RefundOrderResponse> {
        let request = RefundOrderRequest {
            order_id: order_id.into(),
            refund_id: refund_id.into(),
            amount,
            reason: "came back".into(),
            ..RefundOrderRequest::default()
        };
        as_system(async {
            let ask =
                || async { self.payments.clone().refund_order(request.clone()).await.map_err(mallard_rpc::error) };
            Ok(patiently(ask).await?.into_inner())
        })
        .await
    }

    pub async fn payment(&self, id: &str) -> Payment {
        self.find(id).await.unwrap()
    }

    pub async fn find(&self, id: &str) -> Result<Payment> {
        let request = GetPaymentRequest { id: id.into() };
        as_system(async {
            let ask = || async { self.payments.clone().get_payment(request.clone()).await.map_err(mallard_rpc::error) };
            Ok(patiently(ask).await?.into_inner().payment.unwrap())
        })
        .await
    }

    pub async fn checks(&self) -> Vec<Check> {
        as_system(async { self.payments.clone().run_checks(RunChecksRequest {}).await.unwrap().into_inner().checks })
            .await
    }

    /// Names the checks that fail, with what they say.
    pub async fn broken(&self) -> Vec<String> {
        self.checks()
            .await
            .into_iter()
            .filter(|check| !check.ok)
            .map(|check| format!("{}: {}", check.name, check.detail))
            .collect()
    }

    /// Waits until the background has settled everything, at most ten minutes of the test's clock.
    pub async fn settle(&self) {
        for _ in 0..2_400 {
            if self.broken().await.iter().all(|check| !check.starts_with("payment.no_unknown_left")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        panic!("still unsettled: {:?}", self.broken().await);
    }

    /// What the acquirer's own books say. In-memory storage only.
    pub async fn movements(&self, book: Book) -> Vec<Movement> {
        let context = self.mall.context("payment").unwrap();
        let db = context.open_db("acquirer", mallard_payment::acquirer::migrations::ALL).await.unwrap();
        Books::new(db).list(book, "", 10_000).await.unwrap()
    }

    pub async fn accounts(&self) -> Vec<(String, i64, i64)> {
        let answer = as_system(async {
            self.payments.clone().list_ledger_accounts(ListLedgerAccountsRequest {}).await.unwrap()
        });
        answer.await.into_inner().accounts.into_iter().map(|a| (a.account, a.balance, a.balance_nanos)).collect()
    }
}

//! What the others are told, and what it costs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mallard_bus::{Envelope, Handler, Subscription};
use mallard_proto::payment::v1::{PaymentCaptured, PaymentRefunded};
use mallard_runtime::{Parts, ServiceSpec};
use parking_lot::Mutex;

use crate::shop::*;

const KINDS: &[&str] = &["payment.captured.v1", "payment.refunded.v1"];

static HEARD: Mutex<Vec<Envelope>> = Mutex::new(Vec::new());

/// Stands for whoever subscribes.
struct Listener;

#[async_trait]
impl Handler for Listener {
    async fn after(&self, event: &Envelope) {
        HEARD.lock().push(event.clone());
    }
}

fn listener() -> ServiceSpec {
    ServiceSpec {
        name: "listener",
        migrations: &[],
        subscribes: KINDS,
        start: |_| {
            Box::pin(async {
                let mut parts = Parts::new(tonic::service::Routes::default());
                parts.subscriptions.push(Subscription::in_memory(KINDS, Arc::new(Listener)));
                Ok(parts)
            })
        },
    }
}

#[tokio::test(start_paused = true)]
async fn a_card_payment_costs_five_statements_and_every_movement_is_told_once() {
    let mut settings = simulated(1);
    settings.known.push(listener());
    let shop = Shop::with(settings).await;
    let token = shop.token(VISA).await;
    let before = shop.mall.statements();
    let payment = shop.start(wish("pay_1", "ord_1", &token)).await.unwrap();
    // Gate and payment; then payment, ledger and event. The acquirer's own book is not the mall's.
    assert_eq!(shop.mall.statements() - before, 5);
    shop.start(wish("pay_1", "ord_1", &token)).await.unwrap();
    shop.pay("pay_2", "ord_2", DECLINED).await.unwrap();
    shop.refund("ord_1", "ref_1", cny(400)).await.unwrap();
    shop.refund("ord_1", "ref_1", cny(400)).await.unwrap();
    shop.refund("ord_1", "ref_2", None).await.unwrap();
    for _ in 0..600 {
        if HEARD.lock().len() >= 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A fourth would have come by now.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let heard = HEARD.lock().clone();
    let told: Vec<_> = heard.iter().map(|event| (event.kind.as_str(), event.key.as_str())).collect();
    assert_eq!(told, [(KINDS[0], "ord_1"), (KINDS[1], "ord_1"), (KINDS[1], "ord_1")]);
    let captured: PaymentCaptured = heard[0].decode().unwrap();
    assert_eq!((captured.payment_id, captured.amount), (payment.id, cny(990)));
    let first: PaymentRefunded = heard[1].decode().unwrap();
    assert_eq!(
        (first.refund_id.as_str(), first.amount, first.full, first.refunded_total),
        ("ref_1", cny(400), false, cny(400))
    );
    let rest: PaymentRefunded = heard[2].decode().unwrap();
    assert_eq!(
        (rest.refund_id.as_str(), rest.amount, rest.full, rest.refunded_total),
        ("ref_2", cny(590), true, cny(990))
    );
}

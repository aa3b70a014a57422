//! What every provider must promise. A new adapter passes this suite and brings no tests of its own for it.

use std::sync::Arc;

use mallard_payment::acquirer::books::Books;
use mallard_payment::acquirer::faults::{Fault, Faults, Operation};
use mallard_payment::acquirer::{
    Book, Charge, Charged, Faulty, Found, Provider, Repaid, Repayment, Simulator, Withdrawn, migrations,
};
use mallard_payment::domain::{Card, CardInput};
use mallard_types::{Currency, Money};

use crate::shop::{DECLINED, LOST_ANSWER, NOW, VISA};

fn charge(key: &str, number: &str, amount: i64) -> Charge {
    let typed = CardInput { number: number.into(), exp_month: 12, exp_year: 2040, cvc: "012".into() };
    let card = Card::check(&typed, NOW, true).unwrap();
    Charge { key: key.into(), amount: Money::new(amount, Currency::CNY), card, at: NOW }
}

fn repayment(key: &str, provider_ref: &str, amount: i64) -> Repayment {
    Repayment { key: key.into(), provider_ref: provider_ref.into(), amount: Money::new(amount, Currency::CNY), at: NOW }
}

async fn suite(provider: &dyn Provider) {
    assert_eq!(provider.query("k1").await, Found::Missing);
    let Charged::Captured { provider_ref } = provider.authorise_capture(&charge("k1", VISA, 990)).await else {
        panic!("not captured")
    };
    let again = provider.authorise_capture(&charge("k1", VISA, 990)).await;
    assert_eq!(again, Charged::Captured { provider_ref: provider_ref.clone() }, "the same key gives the same answer");
    let other = provider.authorise_capture(&charge("k1", VISA, 991)).await;
    assert_eq!(other, Charged::Declined { code: "key_reused".into() });
    assert_eq!(provider.query("k1").await, Found::Captured { provider_ref: provider_ref.clone() });
    assert_eq!(provider.withdraw("k1", NOW).await, Withdrawn::Captured { provider_ref: provider_ref.clone() });

    let no = provider.authorise_capture(&charge("k2", DECLINED, 990)).await;
    assert_eq!(no, Charged::Declined { code: "card_declined".into() });
    assert_eq!(provider.authorise_capture(&charge("k2", VISA, 990)).await, no, "a decline stays one");
    assert_eq!(provider.query("k2").await, Found::Declined { code: "card_declined".into() });
    assert_eq!(provider.withdraw("k2", NOW).await, Withdrawn::Done);

    assert_eq!(provider.withdraw("k3", NOW).await, Withdrawn::Done);
    assert_eq!(provider.withdraw("k3", NOW).await, Withdrawn::Done);
    assert_eq!(
        provider.authorise_capture(&charge("k3", VISA, 990)).await,
        Charged::Withdrawn,
        "a late charge moves nothing"
    );
    assert_eq!(provider.query("k3").await, Found::Withdrawn);

    assert_eq!(provider.authorise_capture(&charge("k4", LOST_ANSWER, 990)).await, Charged::Unknown);
    assert!(matches!(provider.query("k4").await, Found::Captured { .. }), "later the truth is told");

    for _ in 0..2 {
        assert_eq!(provider.refund(&repayment("r1", &provider_ref, 900)).await, Repaid::Done);
    }
    assert!(matches!(provider.refund(&repayment("r2", &provider_ref, 91)).await, Repaid::Refused { .. }));
    assert!(matches!(provider.refund(&repayment("r2", "nonsense", 1)).await, Repaid::Refused { .. }));
    assert_eq!(provider.refund(&repayment("r3", &provider_ref, 90)).await, Repaid::Done);

    let captures = provider.list(Book::Captures, "", 10).await.unwrap();
    let keys: Vec<_> = captures.iter().map(|m| (m.key.as_str(), m.amount.amount)).collect();
    assert_eq!(keys, [("k1", 990), ("k4", 990)]);
    assert_eq!(provider.list(Book::Captures, "k1", 10).await.unwrap().len(), 1);
    let refunds = provider.list(Book::Refunds, "", 1).await.unwrap();
    assert_eq!((refunds.len(), refunds[0].key.as_str(), refunds[0].amount.amount), (1, "r1", 900));
    assert_eq!(provider.list(Book::Refunds, "r1", 10).await.unwrap().len(), 1);
}

async fn simulator() -> Simulator {
    let disk = mallard_db::MemoryDisk::new();
    let db = mallard_db::Db::open(&mallard_db::DbConfig::Memory(disk), "acquirer", migrations::ALL).await.unwrap();
    Simulator::new(Books::new(db))
}

/// Everything arrives twice.
struct Twice;

impl Faults for Twice {
    fn decide(&self, operation: Operation, _key: &str) -> Fault {
        // The card that loses its answer keeps doing so; a repeat of it is covered by the query.
        if operation == Operation::Query { Fault::None } else { Fault::Duplicate }
    }
}

#[tokio::test]
async fn the_simulator_keeps_a_providers_promises() {
    suite(&simulator().await).await;
}

#[tokio::test]
async fn the_promises_hold_when_every_call_arrives_twice() {
    suite(&Faulty::new(simulator().await, Arc::new(Twice))).await;
}

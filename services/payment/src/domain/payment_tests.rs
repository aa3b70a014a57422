use mallard_types::{Currency, Kind, Money};
use proptest::prelude::*;

use super::admission::{Admission, Gate, Opening, Plan};
use super::ledger::Posting;
use super::payment::*;
use super::refund::{Refund, RefundRequest, RefundStatus, derive_id};

const NOW: i64 = 1_795_219_200_000_000;

fn opening(method: &str, amount: i64) -> Opening {
    let amount = Money::new(amount, Currency::CNY);
    let (method, plan) = Plan::choose(method, amount, true).unwrap();
    Opening {
        payment_id: "pay_1".into(),
        order_id: "ord_1".into(),
        user_id: "usr_1".into(),
        amount,
        method,
        plan,
        rounding_nanos: 0,
    }
}

fn pending(method: &str, amount: i64) -> Payment {
    opening(method, amount).payment(None, NOW, NOW + 1_000)
}

fn captured(amount: i64) -> Payment {
    settled(&pending("card", amount), &moved())
}

fn moved() -> Outcome {
    Outcome::Captured { provider_ref: "acq_1".into() }
}

fn settled(payment: &Payment, outcome: &Outcome) -> Payment {
    payment.settle(outcome, NOW + 1, NOW + 1).unwrap().unwrap()
}

fn gate(payment: &str, closed: bool) -> Gate {
    Gate { order_id: "ord_1".into(), payment_id: payment.into(), closed, version: 3 }
}

#[test]
fn the_method_decides_what_happens_to_the_money() {
    let amount = Money::new(100, Currency::CNY);
    assert_eq!(Plan::choose("card", amount, false).unwrap(), (Method::Card, Plan::Charge));
    assert_eq!(Plan::choose("later", amount, false).unwrap(), (Method::Later, Plan::Wait));
    assert_eq!(Plan::choose("external", amount, true).unwrap(), (Method::External, Plan::Record));
    assert_eq!(Plan::choose("card", Money::zero(Currency::CNY), false).unwrap().1, Plan::Record);
    for (method, code) in [
        ("external", "payment_method_unavailable"),
        ("alipay", "payment_method_unavailable"),
        ("wechat_pay", "payment_method_unavailable"),
        ("balance", "payment_method_unavailable"),
        ("cowrie", "payment_method_invalid"),
        ("", "payment_method_invalid"),
    ] {
        assert_eq!(Plan::choose(method, amount, false).unwrap_err().code, code, "{method}");
    }
    let error = Plan::choose("card", Money::new(-1, Currency::CNY), true).unwrap_err();
    assert_eq!((error.kind, error.code.as_ref()), (Kind::Invalid, "amount_invalid"));
}

#[test]
fn a_free_order_is_captured_at_once_and_no_provider_hears_of_it() {
    let payment = pending("later", 0);
    assert_eq!((payment.status, payment.captured, payment.provider_key.as_str()), (Status::Captured, 0, ""));
    assert!(Posting::capture(&payment, NOW).entries.is_empty());
}

#[test]
fn the_rounding_of_an_order_is_booked_beside_its_money() {
    let payment = Payment { rounding_nanos: -7, ..captured(500) };
    let posting = Posting::capture(&payment, NOW);
    let written: Vec<_> = posting.entries.iter().map(|e| (e.account.as_str(), e.debit, e.credit, e.nanos)).collect();
    let expected = [
        ("acquirer:CNY", 500, 0, 0),
        ("sales:CNY", 0, 500, 0),
        ("rounding:CNY", 0, 0, -7),
        ("rounding_offset:CNY", 0, 0, 7),
    ];
    assert_eq!(written, expected);
    let free = Payment { captured: 0, provider_key: String::new(), ..payment };
    assert_eq!(Posting::capture(&free, NOW).entries.len(), 2);
}

#[test]
fn a_payment_goes_only_along_its_graph() {
    let card = pending("card", 100);
    assert_eq!(captured(100).status, Status::Captured);
    let failed = settled(&card, &Outcome::Declined(Failure::of("card_declined")));
    assert_eq!((failed.status, failed.version), (Status::Failed, 2));
    let cancelled = settled(&card, &Outcome::Withdrawn { wanted: true });
    assert_eq!(cancelled.status, Status::Cancelled);
    let given_up = settled(&card, &Outcome::Withdrawn { wanted: false });
    assert_eq!(given_up.failure.as_ref().map(|f| f.code.as_str()), Some("provider_no_answer"));
    for ended in [failed, cancelled, given_up] {
        assert_eq!(ended.settle(&moved(), NOW, NOW).unwrap_err().code, "illegal_transition");
        assert_eq!(ended.settle(&Outcome::Unknown, NOW, NOW).unwrap(), None);
        assert_eq!(ended.begin_refund(Money::new(1, Currency::CNY), NOW).unwrap_err().code, "illegal_transition");
        assert_eq!(ended.close(NOW, NOW), None);
    }
    assert_eq!(captured(100).settle(&moved(), NOW, NOW).unwrap(), None, "the same news twice changes nothing");
    assert_eq!(captured(100).cancel(NOW).unwrap_err().kind, Kind::Conflict);
    assert_eq!(card.cancel(NOW).unwrap_err().code, "illegal_transition", "the provider is asked first");
    let later = pending("later", 100).cancel(NOW).unwrap().unwrap();
    assert_eq!(later.status, Status::Cancelled);
    assert_eq!(later.cancel(NOW).unwrap(), None, "cancelling twice is the same as once");
}

#[test]
fn silence_is_met_with_growing_patience() {
    let mut payment = pending("card", 100);
    let mut waits = Vec::new();
    for _ in 0..12 {
        payment = settled(&payment, &Outcome::Unknown);
        assert!(payment.unknown && payment.status == Status::Pending);
        waits.push(payment.due_at.unwrap() - (NOW + 1));
    }
    assert_eq!(&waits[..4], &[200_000, 400_000, 800_000, 1_600_000]);
    assert_eq!(waits.last(), Some(&30_000_000));
    let payment = settled(&payment, &moved());
    assert_eq!((payment.unknown, payment.due_at), (false, None));
    assert_eq!(retry_at(0, u32::MAX), 30_000_000);
}

#[test]
fn closing_cancels_what_waits_for_the_shopper_and_marks_what_the_provider_holds() {
    let later = pending("later", 100).close(NOW, NOW).unwrap();
    assert_eq!((later.status, later.due_at), (Status::Cancelled, None));
    let card = pending("card", 100).close(NOW, NOW).unwrap();
    assert_eq!((card.status, card.closing, card.due_at), (Status::Pending, true, Some(NOW)));
    assert_eq!(card.close(NOW, NOW), None, "closing twice is the same as once");
    let late = settled(&card, &moved());
    assert_eq!(
        (late.status, late.due_at),
        (Status::Captured, Some(NOW + 1)),
        "money for a closed order is due to go back"
    );
    assert_eq!(settled(&card, &Outcome::Withdrawn { wanted: false }).status, Status::Cancelled);
    assert_eq!(captured(100).close(NOW, NOW).unwrap().due_at, Some(NOW));
}

#[test]
fn an_order_is_admitted_once() {
    let wish = Opening { payment_id: "pay_2".into(), ..opening("card", 100) };
    let holder = |payment: Payment| wish.admit(Some(&gate("pay_1", false)), None, Some(payment));
    assert_eq!(wish.admit(None, None, None).unwrap(), Admission::First);
    assert_eq!(holder(captured(100)).unwrap(), Admission::Existing(captured(100)));
    let failed = settled(&pending("card", 100), &Outcome::Declined(Failure::of("card_declined")));
    assert!(matches!(holder(failed).unwrap(), Admission::Next { given_up: None, .. }));
    assert!(matches!(holder(pending("later", 100)).unwrap(), Admission::Next { given_up: Some(_), .. }));
    assert_eq!(holder(pending("card", 100)).unwrap(), Admission::Busy(pending("card", 100)));
    let mut euro = captured(100);
    euro.amount = Money::new(100, Currency::EUR);
    assert_eq!(holder(euro).unwrap_err().code, "currency_mismatch");
    assert_eq!(holder(captured(99)).unwrap_err().code, "amount_mismatch");
    assert_eq!(holder(Payment { user_id: "usr_2".into(), ..captured(100) }).unwrap_err().code, "payment_not_found");
    let closed = wish.admit(Some(&gate("", true)), None, None).unwrap_err();
    assert_eq!((closed.kind, closed.code.as_ref()), (Kind::Refused, "order_payments_closed"));
}

#[test]
fn a_repeated_payment_id_means_the_same_payment_or_is_refused() {
    let wish = opening("card", 100);
    let before = pending("card", 100);
    let again = wish.admit(Some(&gate("pay_1", true)), Some(before.clone()), Some(before.clone())).unwrap();
    assert_eq!(again, Admission::Existing(before.clone()), "even after the order was closed");
    for other in [opening("card", 101), opening("later", 100), Opening { order_id: "ord_2".into(), ..wish }] {
        assert_eq!(other.admit(None, Some(before.clone()), None).unwrap_err().code, "idempotency_conflict");
    }
}

#[test]
fn a_refund_has_the_same_id_for_the_same_wish() {
    let payment = captured(100);
    assert_eq!(derive_id(&payment, "a"), derive_id(&payment, "a"));
    assert_ne!(derive_id(&payment, "a"), derive_id(&payment, "b"));
    assert!(mallard_types::id::is("ref", &derive_id(&payment, "a")));
}

#[test]
fn money_of_an_external_payment_goes_back_at_once() {
    let request =
        RefundRequest { amount: Some(Money::new(40, Currency::CNY)), ..RefundRequest::rest("ref_1".into(), "") };
    let before = pending("external", 100);
    let (payment, refund) = Refund::begin(&before, &request, NOW, NOW).unwrap();
    assert_eq!((refund.status, payment.refunded, payment.refunding), (RefundStatus::Succeeded, 40, 0));
    assert_eq!((payment.status, payment.version), (Status::PartiallyRefunded, before.version + 1));
    let posting = Posting::refund(&refund, &payment, NOW);
    assert_eq!(posting.entries[0].account, "refunds:CNY");
    assert_eq!(posting.entries[1].account, "external:CNY");
}

/// What a shopper, an operator and the provider can do to a payment.
#[derive(Clone, Debug)]
enum Move {
    Settle(Outcome),
    Close,
    Cancel,
    Refund(i64),
    EndRefund(bool),
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        Just(Move::Settle(moved())),
        Just(Move::Settle(Outcome::Unknown)),
        Just(Move::Settle(Outcome::Declined(Failure::of("card_declined")))),
        any::<bool>().prop_map(|wanted| Move::Settle(Outcome::Withdrawn { wanted })),
        Just(Move::Close),
        Just(Move::Cancel),
        (0i64..120).prop_map(Move::Refund),
        any::<bool>().prop_map(Move::EndRefund),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_sums_hold_and_money_moves_in_once(
        method in prop::sample::select(vec!["card", "later", "external"]),
        amount in 0i64..200,
        moves in prop::collection::vec(any_move(), 0..40),
    ) {
        let mut payment = pending(method, amount);
        let mut open: Vec<Refund> = Vec::new();
        let (mut captures, mut given_back) = (u32::from(payment.is_captured()), 0);
        for (i, a_move) in moves.into_iter().enumerate() {
            let before = payment.clone();
            match a_move {
                Move::Settle(outcome) => if let Ok(Some(next)) = payment.settle(&outcome, NOW, NOW) {
                    captures += u32::from(next.is_captured());
                    payment = next;
                },
                Move::Close => payment = payment.close(NOW, NOW).unwrap_or(payment),
                Move::Cancel => if let Ok(Some(next)) = payment.cancel(NOW) { payment = next },
                Move::Refund(part) => {
                    let request = RefundRequest {
                        amount: Some(Money::new(part, Currency::CNY)),
                        ..RefundRequest::rest(format!("ref_{i}"), "")
                    };
                    if let Ok((next, refund)) = Refund::begin(&payment, &request, NOW, NOW) {
                        payment = next;
                        match refund.status {
                            RefundStatus::Succeeded => given_back += part,
                            _ => open.push(refund),
                        }
                    }
                }
                Move::EndRefund(well) => if let Some(refund) = open.pop() {
                    let refund = refund.end(if well { RefundStatus::Succeeded } else { RefundStatus::Failed }, NOW);
                    payment = payment.end_refund(&refund, NOW);
                    if well { given_back += refund.amount.amount }
                },
            }
            prop_assert!(payment == before || payment.version == before.version + 1);
            prop_assert!(captures <= 1);
            prop_assert_eq!(payment.refunded, given_back);
            prop_assert_eq!(payment.refunding, open.iter().map(|r| r.amount.amount).sum::<i64>());
            prop_assert!(payment.refunded >= 0 && payment.refunding >= 0 && payment.refundable() >= 0);
            prop_assert!(payment.captured == 0 || payment.captured == payment.amount.amount);
            prop_assert!(payment.is_captured() == (captures == 1));
            prop_assert!(payment.status != Status::Refunded || payment.refunded == payment.captured);
            prop_assert!(!payment.waits_for_provider() || payment.due_at.is_some(), "nothing rests unknown");
        }
    }

    #[test]
    fn every_posting_balances(amount in 1i64..i64::MAX / 4, rounding in any::<i32>(), external in any::<bool>()) {
        let mut payment = Payment { rounding_nanos: i64::from(rounding), ..captured(amount) };
        if external {
            payment.provider_key.clear();
        }
        let posting = Posting::capture(&payment, NOW);
        prop_assert!(posting.is_balanced());
        let accounts: std::collections::BTreeSet<_> = posting.entries.iter().map(|e| &e.account).collect();
        prop_assert_eq!(accounts.len(), posting.entries.len(), "an account stands once in a transaction");
        let (payment, refund) = Refund::begin(&payment, &RefundRequest::rest("ref_1".into(), ""), NOW, NOW).unwrap();
        prop_assert!(Posting::refund(&refund, &payment, NOW).is_balanced());
        prop_assert!(Posting::unmatched_refund(&refund, NOW).is_balanced());
    }
}

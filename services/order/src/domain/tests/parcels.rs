use super::*;

fn two_sellers() -> Order {
    paid(vec![line("sku_a", "sel_a", 3, 300), line("sku_b", "sel_b", 1, 100)], 0)
}

fn sent(order: &Order) -> Vec<i64> {
    order.lines.iter().map(|line| line.shipped).collect()
}

fn after(order: &Order, kind: Result<EventKind, Refusal>) -> Order {
    order.then(kind.unwrap(), 5, "operator").0
}

#[test]
fn parcels_lead_from_paid_over_partially_shipped_to_shipped() {
    let order = two_sellers();
    assert_eq!(order.sellers(), BTreeMap::from([("sel_a", true), ("sel_b", true)]));
    let part = after(&order, order.ship("SF", "1", Some(&[units("sku_a", 2)]), None));
    assert_eq!((part.status, sent(&part)), (Status::PartiallyShipped, vec![2, 0]));
    assert!(part.deliver().is_err() && part.change_address(Address::default()).is_err());
    let whole = after(&part, part.ship("SF", "2", None, None));
    assert_eq!((whole.status, sent(&whole)), (Status::Shipped, vec![3, 1]));
    assert_eq!(whole.sellers(), BTreeMap::from([("sel_a", false), ("sel_b", false)]));
    let again = whole.ship("SF", "3", None, None);
    assert_eq!(again, Err(Refusal::IllegalTransition { from: Status::Shipped, verb: "ship" }));
}

#[test]
fn a_seller_ships_its_own_lines_only() {
    let order = two_sellers();
    let refused = order.ship("", "", Some(&[units("sku_b", 1)]), Some("sel_a"));
    let expected = Refusal::ShipsTooMany { from: Status::Paid, sku_id: "sku_b".into(), left: 0 };
    assert_eq!(refused, Err(expected));
    let part = after(&order, order.ship("", "", None, Some("sel_a")));
    assert_eq!((part.status, sent(&part)), (Status::PartiallyShipped, vec![3, 0]));
    assert_eq!(part.sellers(), BTreeMap::from([("sel_a", false), ("sel_b", true)]));
    let again = part.ship("", "", None, Some("sel_a"));
    assert_eq!(again, Err(Refusal::NothingToShip { from: Status::PartiallyShipped }));
}

#[test]
fn no_unit_is_shipped_twice_however_it_is_named() {
    let order = two_sellers();
    let part = after(&order, order.ship("", "", Some(&[units("sku_a", 2)]), None));
    for wanted in
        [vec![units("sku_a", 2)], vec![units("sku_a", 1), units("sku_a", 1)], vec![units("sku_a", i64::MAX); 2]]
    {
        let expected = Refusal::ShipsTooMany { from: Status::PartiallyShipped, sku_id: "sku_a".into(), left: 1 };
        assert_eq!(part.ship("", "", Some(&wanted), None), Err(expected));
    }
    assert!(part.ship("", "", Some(&[units("sku_a", 0)]), None).is_err());
}

#[test]
fn units_that_were_given_back_are_not_shipped_and_leave_nothing_to_wait_for() {
    let order = two_sellers();
    let one_back = [units("sku_b", 1)];
    let back = after(&order, order.request_refund("ref_1", Some(money(100)), Some(&one_back), "sold out"));
    assert_eq!(back.sellers(), BTreeMap::from([("sel_a", true), ("sel_b", false)]));
    let shipped = after(&back, back.ship("", "", None, None));
    assert_eq!((shipped.status, sent(&shipped)), (Status::Shipped, vec![3, 0]));

    // The other way round: what was shipped already is all there will be.
    let part = after(&order, order.ship("", "", None, Some("sel_a")));
    let settled = after(&part, part.request_refund("ref_1", Some(money(100)), Some(&one_back), "sold out"));
    assert_eq!(settled.status, Status::Shipped);
    assert!(settled.deliver().is_ok());
    // The payment refuses: it has to be shipped after all.
    let waits = after(&settled, settled.refuse_refund("ref_1", money(100), &one_back, "no"));
    assert_eq!((waits.status, waits.sellers()["sel_b"]), (Status::PartiallyShipped, true));
}

#[test]
fn a_sent_unit_that_comes_back_takes_none_that_is_still_to_be_sent() {
    let order = paid(vec![line("sku_a", "", 3, 300)], 0);
    let part = after(&order, order.ship("", "", Some(&[units("sku_a", 1)]), None));
    let one = [units("sku_a", 1)];
    let broken = after(&part, part.request_refund_of_sent("ref_1", Some(money(100)), &one, "broken"));
    assert_eq!((broken.lines[0].unsent(), broken.lines[0].with_shopper()), (2, 0));
    let refused = Refusal::ReturnExceedsSold { sku_id: "sku_a".into(), returnable: 0 };
    assert_eq!(broken.request_refund_of_sent("ref_2", Some(money(100)), &one, "broken"), Err(refused));
    // Those of which nobody says so are the ones that were not sent.
    let cancelled = after(&broken, broken.request_refund("ref_2", Some(money(100)), Some(&one), "sold out"));
    assert_eq!((cancelled.lines[0].unsent(), cancelled.lines[0].with_shopper()), (1, 0));
    // A refusal undoes just its own.
    let back = after(&cancelled, cancelled.refuse_refund("ref_1", money(100), &one, "no"));
    assert_eq!((back.lines[0].unsent(), back.lines[0].with_shopper()), (1, 1));
    let back = after(&back, back.refuse_refund("ref_2", money(100), &one, "no"));
    assert_eq!(back.lines, part.lines);
}

#[test]
fn a_unit_whose_refund_is_refused_after_the_delivery_is_still_sent() {
    let order = paid(vec![line("sku_a", "sel_a", 2, 200)], 0);
    let one = [units("sku_a", 1)];
    let part = after(&order, order.ship("", "", Some(&one), None));
    let settled = after(&part, part.request_refund("ref_1", Some(money(100)), Some(&one), "sold out"));
    assert_eq!(settled.status, Status::Shipped);
    let delivered = after(&settled, settled.deliver());
    let waits = after(&delivered, delivered.refuse_refund("ref_1", money(100), &one, "no"));
    assert_eq!((waits.status, waits.sellers()["sel_a"]), (Status::PartiallyShipped, true));
    let sent = after(&waits, waits.ship("", "", None, Some("sel_a")));
    assert_eq!(sent.status, Status::Shipped);
    assert_eq!(after(&sent, sent.deliver()).status, Status::Delivered);
}

#[test]
fn a_refund_of_everything_leaves_nothing_to_ship_and_its_refusal_brings_it_back() {
    let order = two_sellers();
    let part = after(&order, order.ship("", "", Some(&[units("sku_a", 1)]), None));
    let all = part.request_refund("ref_1", None, None, "x").unwrap();
    let EventKind::RefundRequested { units: back, .. } = &all else { panic!("{all:?}") };
    let (refunding, _) = part.then(all.clone(), 6, "operator");
    assert_eq!((refunding.status, refunding.sellers()["sel_a"]), (Status::Refunding, false));
    let restored = after(&refunding, refunding.refuse_refund("ref_1", money(400), back, "no"));
    assert_eq!((restored.status, restored.sellers()), (Status::PartiallyShipped, part.sellers()));
    assert_eq!(restored.lines, part.lines);
}

#[test]
fn an_order_shipped_before_there_were_parcels_is_wholly_shipped() {
    let order = two_sellers();
    let old = EventKind::Shipped { carrier: "post".into(), tracking_number: "1".into(), units: Vec::new() };
    let (shipped, _) = order.then(old, 3, "operator");
    assert_eq!((shipped.status, sent(&shipped)), (Status::Shipped, vec![3, 1]));
    let (back, _) = shipped.then(
        shipped.request_refund("ref_1", Some(money(1)), Some(&[units("sku_a", 1)]), "x").unwrap(),
        4,
        "operator",
    );
    assert_eq!(back.status, Status::Shipped);
}

proptest! {
    /// Every unit is to be sent, with the shopper, or back; what a refusal gives out again is what its refund took.
    #[test]
    fn no_unit_is_lost_or_made_between_parcels_and_refunds(
        steps in prop::collection::vec((0..6u8, 0..2usize, 1..4i64), 0..40),
    ) {
        let start = two_sellers();
        let mut now = start.clone();
        // Of each SKU: to be sent, and with the shopper. Of each open refund: what it took of the two.
        let (mut unsent, mut sent) = ([3i64, 1], [0i64; 2]);
        let mut open: Vec<(String, usize, i64, i64)> = Vec::new();
        for (i, (step, which, quantity)) in steps.into_iter().enumerate() {
            let sku_id = ["sku_a", "sku_b"][which];
            let wanted = [units(sku_id, quantity)];
            let id = format!("ref_{i}");
            let kind = match step {
                0 => now.ship("", "", Some(&wanted), None),
                1 => now.ship("", "", None, Some(["sel_a", "sel_b"][which])),
                2 => now.request_refund(&id, Some(money(1)), Some(&wanted), "x"),
                3 => now.request_refund_of_sent(&id, Some(money(1)), &wanted, "x"),
                4 if !open.is_empty() => now.refuse_refund(&open[which % open.len()].0, money(1), &[], "no"),
                _ => now.deliver(),
            };
            let Ok(kind) = kind else { continue };
            match &kind {
                EventKind::Shipped { units, .. } => for unit in units {
                    let which = usize::from(unit.sku_id == "sku_b");
                    unsent[which] -= unit.quantity;
                    sent[which] += unit.quantity;
                },
                EventKind::RefundRequested { refund_id, units_sent, .. } => {
                    let of_unsent = if *units_sent { 0 } else { quantity.min(unsent[which]) };
                    unsent[which] -= of_unsent;
                    sent[which] -= quantity - of_unsent;
                    open.push((refund_id.clone(), which, of_unsent, quantity - of_unsent));
                }
                EventKind::RefundRefused { refund_id, .. } => {
                    let at = open.iter().position(|(id, ..)| id == refund_id).unwrap();
                    let (_, which, of_unsent, of_sent) = open.remove(at);
                    unsent[which] += of_unsent;
                    sent[which] += of_sent;
                }
                _ => {}
            }
            now = now.then(kind, 5, "x").0;
            let ever_sent = now.lines.iter().any(|line| line.shipped > 0);
            prop_assert_eq!(now.status == Status::PartiallyShipped, ever_sent && unsent != [0, 0]);
            for (i, line) in now.lines.iter().enumerate() {
                prop_assert_eq!((line.unsent(), line.with_shopper()), (unsent[i], sent[i]));
                prop_assert!(unsent[i] >= 0 && sent[i] >= 0 && line.shipped <= line.quantity);
            }
        }
    }
}

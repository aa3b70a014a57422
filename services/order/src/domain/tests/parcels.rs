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
    #[test]
    fn parcels_never_hold_more_than_was_bought(steps in prop::collection::vec((0..4u8, 0..2usize, 1..4i64), 0..25)) {
        let start = two_sellers();
        let (mut now, mut parcels, mut back) = (start.clone(), [0i64; 2], [0i64; 2]);
        for (step, which, quantity) in steps {
            let sku_id = ["sku_a", "sku_b"][which];
            let wanted = [units(sku_id, quantity)];
            let kind = match step {
                0 => now.ship("", "", Some(&wanted), None),
                1 => now.ship("", "", None, Some(["sel_a", "sel_b"][which])),
                2 => now.request_refund("ref", Some(money(1)), Some(&wanted), "x"),
                _ => now.deliver(),
            };
            let Ok(kind) = kind else { continue };
            match &kind {
                EventKind::Shipped { units, .. } => for unit in units {
                    parcels[usize::from(unit.sku_id == "sku_b")] += unit.quantity;
                },
                EventKind::RefundRequested { .. } => back[which] += quantity,
                _ => {}
            }
            now = now.then(kind, 5, "x").0;
            let left = (0..2).any(|i| now.lines[i].unsent() > 0);
            prop_assert_eq!(now.status == Status::PartiallyShipped, left && parcels != [0, 0]);
        }
        for (i, bought) in [3, 1].into_iter().enumerate() {
            prop_assert_eq!(now.lines[i].shipped, parcels[i]);
            prop_assert_eq!(now.lines[i].returned, back[i]);
            prop_assert!(parcels[i] <= bought);
        }
    }
}

use super::*;

/// An order of a line and of another one, delivered.
fn delivered(quantity: i64, total: i64) -> Order {
    let paid = paid(vec![line("sku_a", "", quantity, total), line("sku_b", "", 1, 500)], 70);
    let (shipped, _) = paid.then(paid.ship("", "", None, None).unwrap(), 3, "operator");
    shipped.then(shipped.deliver().unwrap(), 4, "operator").0
}

fn ask(order: &Order, id: &str, quantity: i64) -> Result<Order, Refusal> {
    let kind = order.request_return(id, id, &[units("sku_a", quantity)], "too small")?;
    Ok(order.then(kind, 5, "usr_1").0)
}

fn approve(order: &Order, id: &str) -> Order {
    let kind = order.approve_return(id, &format!("ref_{id}")).unwrap().unwrap();
    order.then(kind, 6, "operator").0
}

fn status(order: &Order, id: &str) -> ReturnStatus {
    order.find_return(id).unwrap().status
}

#[test]
fn a_return_is_approved_once_and_refunded_with_its_money_and_units() {
    let order = ask(&delivered(3, 100), "ret_1", 2).unwrap();
    assert_eq!(order.find_return("ret_1").unwrap().amount, money(66));
    assert_eq!(order.lines[0].returned, 0);
    let approved = approve(&order, "ret_1");
    assert_eq!((status(&approved, "ret_1"), approved.lines[0].returned), (ReturnStatus::Approved, 2));
    assert_eq!((approved.refunding, approved.status), (money(66), Status::Delivered));
    assert_eq!(approved.approve_return("ret_1", "ref_ret_1"), Ok(None));
    let (refunded, _) = approved.then(approved.refund("ref_ret_1", money(66)).unwrap(), 7, "system");
    assert_eq!((status(&refunded, "ret_1"), refunded.refunded), (ReturnStatus::Refunded, money(66)));
    assert_eq!(refunded.approve_return("ret_1", "ref_ret_1"), Ok(None));
    let refused = refunded.refuse_return("ret_1", "no");
    assert_eq!(refused, Err(Refusal::ReturnDecided { status: ReturnStatus::Refunded, verb: "refuse" }));
}

#[test]
fn a_refused_return_frees_its_units() {
    let order = ask(&delivered(3, 100), "ret_1", 3).unwrap();
    assert_eq!(ask(&order, "ret_2", 1), Err(Refusal::ReturnExceedsSold { sku_id: "sku_a".into(), returnable: 0 }));
    let (refused, _) = order.then(order.refuse_return("ret_1", "worn").unwrap().unwrap(), 6, "operator");
    assert_eq!(refused.find_return("ret_1").unwrap().answer, "worn");
    assert_eq!(refused.refuse_return("ret_1", "worn"), Ok(None));
    assert!(refused.refuse_return("ret_1", "other").is_err() && refused.approve_return("ret_1", "ref").is_err());
    assert_eq!(ask(&refused, "ret_2", 3).unwrap().find_return("ret_2").unwrap().amount, money(100));
}

#[test]
fn only_goods_that_were_sent_come_back() {
    let order = paid(vec![line("sku_a", "", 2, 100)], 0);
    assert_eq!(
        ask(&order, "ret_1", 1),
        Err(Refusal::IllegalTransition { from: Status::Paid, verb: "return goods of" })
    );
    let (part, _) = order.then(order.ship("", "", Some(&[units("sku_a", 1)]), None).unwrap(), 3, "operator");
    assert_eq!(ask(&part, "ret_1", 2), Err(Refusal::ReturnExceedsSold { sku_id: "sku_a".into(), returnable: 1 }));
    let (shipped, _) = part.then(part.ship("", "", None, None).unwrap(), 3, "operator");
    assert!(ask(&shipped, "ret_1", 2).is_ok());
    for quantity in [0, -1, 3, i64::MAX] {
        assert!(ask(&shipped, "ret_1", quantity).is_err(), "{quantity}");
    }
    assert!(shipped.request_return("ret_1", "", &[units("sku_z", 1)], "x").is_err());
}

#[test]
fn what_has_arrived_comes_back_while_the_rest_is_still_to_be_sent() {
    let order = paid(vec![line("sku_a", "", 3, 100)], 0);
    let (part, _) = order.then(order.ship("", "", Some(&[units("sku_a", 1)]), None).unwrap(), 3, "operator");
    let asked = ask(&part, "ret_1", 1).unwrap();
    assert_eq!(asked.find_return("ret_1").unwrap().amount, money(33));
    assert!(ask(&asked, "ret_2", 1).is_err(), "it is asked back already");
    let approved = approve(&asked, "ret_1");
    assert_eq!((approved.status, approved.lines[0].unsent()), (Status::PartiallyShipped, 2));
    let (back, _) = approved.then(approved.refund("ref_ret_1", money(33)).unwrap(), 7, "system");
    let (shipped, _) = back.then(back.ship("", "", None, None).unwrap(), 8, "operator");
    assert_eq!((shipped.status, shipped.lines[0].shipped), (Status::Shipped, 3));
    let last = ask(&shipped, "ret_2", 2).unwrap();
    assert_eq!(last.find_return("ret_2").unwrap().amount, money(67));
    assert!(last.returns_fit());
    // It has come back on another way meanwhile: the return has nothing left to take, though a unit is still to be sent.
    let sent = [units("sku_a", 1)];
    let (elsewhere, _) =
        asked.then(asked.request_refund_of_sent("ref_1", Some(money(10)), &sent, "broken").unwrap(), 6, "operator");
    let refused = Refusal::ReturnExceedsSold { sku_id: "sku_a".into(), returnable: 0 };
    assert_eq!(elsewhere.approve_return("ret_1", "ref_ret_1"), Err(refused));
}

#[test]
fn a_payment_that_refuses_the_refund_refuses_the_return() {
    let approved = approve(&ask(&delivered(3, 100), "ret_1", 2).unwrap(), "ret_1");
    let no = approved.refuse_refund("ref_ret_1", money(66), &[units("sku_a", 2)], "account closed").unwrap();
    let (back, _) = approved.then(no, 7, "system");
    let asked = back.find_return("ret_1").unwrap();
    assert_eq!((asked.status, asked.answer.as_str()), (ReturnStatus::Refused, "account closed"));
    assert_eq!((back.lines[0].returned, back.refunding), (0, money(0)));
    assert!(ask(&back, "ret_2", 3).is_ok());
}

/// Gives back all that is left.
fn give_all_back(order: &Order) -> Order {
    let (asked, _) = order.then(order.request_refund("ref_all", None, None, "recall").unwrap(), 6, "operator");
    assert_eq!((asked.status, asked.close_returns()), (Status::Refunding, Vec::new()), "it may still be refused");
    asked.then(asked.refund("ref_all", asked.refunding).unwrap(), 7, "system").0
}

#[test]
fn returns_nobody_decided_about_are_closed_when_the_whole_order_was_given_back() {
    let order = ask(&ask(&delivered(3, 100), "ret_1", 1).unwrap(), "ret_2", 1).unwrap();
    assert_eq!(order.close_returns(), Vec::new());
    let (part, _) = order.then(order.refund("ref_1", money(1)).unwrap(), 6, "system");
    assert_eq!(part.close_returns(), Vec::new(), "the rest of the money is still there");
    let refused = ask(&delivered(3, 100), "ret_0", 1).unwrap();
    let refused = refused.then(refused.refuse_return("ret_0", "worn").unwrap().unwrap(), 6, "operator").0;
    assert_eq!(give_all_back(&refused).close_returns(), Vec::new(), "it has its answer");

    let mut order = give_all_back(&order);
    for kind in order.close_returns() {
        order = order.then(kind, 8, "system").0;
    }
    for id in ["ret_1", "ret_2"] {
        let asked = order.find_return(id).unwrap();
        assert_eq!((asked.status, asked.answer.as_str()), (ReturnStatus::Refused, ORDER_REFUNDED));
        assert!(order.approve_return(id, "ref").is_err());
    }
    assert_eq!((order.refunded, order.lines[0].returned, order.close_returns()), (money(670), 3, Vec::new()));
    assert!(order.returns_fit());
}

#[test]
fn no_return_promises_more_than_is_left_of_the_payment() {
    let order = delivered(1, 100);
    // All but 30 has gone back beside the goods.
    let kind = order.request_refund("ref_1", Some(money(640)), None, "goodwill").unwrap();
    let (less, _) = order.then(kind, 5, "operator");
    let asked = ask(&less, "ret_1", 1).unwrap();
    assert_eq!(asked.find_return("ret_1").unwrap().amount, money(30));
    let both = asked.request_return("ret_2", "", &[units("sku_b", 1)], "x");
    assert_eq!(both, Err(Refusal::RefundExceedsPaid { refundable: money(0) }));
    // And what went back after it was asked for is not paid again.
    let (gone, _) = asked.then(asked.request_refund("ref_2", Some(money(1)), None, "more").unwrap(), 6, "operator");
    assert_eq!(gone.approve_return("ret_1", "r"), Err(Refusal::RefundExceedsPaid { refundable: money(29) }));
}

#[test]
fn an_order_has_so_many_returns_and_no_more() {
    let mut order = delivered(3, 100);
    for i in 0..RETURNS_MAX {
        let id = format!("ret_{i}");
        order = ask(&order, &id, 1).unwrap();
        order = order.then(order.refuse_return(&id, "no").unwrap().unwrap(), 6, "operator").0;
    }
    assert_eq!(ask(&order, "ret_last", 1), Err(Refusal::TooManyReturns));
}

#[test]
fn the_last_unit_of_the_last_return_takes_the_rest_of_the_money() {
    let mut order = delivered(3, 100);
    let mut amounts = Vec::new();
    for id in ["ret_1", "ret_2", "ret_3"] {
        order = ask(&order, id, 1).unwrap();
        amounts.push(order.find_return(id).unwrap().amount.amount);
        order = approve(&order, id);
    }
    assert_eq!(amounts, [33, 33, 34]);
}

proptest! {
    /// Whatever is asked, refused and agreed to on the way: who gives everything back gets exactly what it cost.
    #[test]
    fn everything_in_parts_gives_exactly_the_line_total(
        quantity in 1i64..60,
        total in 0i64..10_000,
        steps in prop::collection::vec((1i64..20, 0..4u8), 0..20),
    ) {
        let mut order = delivered(quantity, total);
        let mut n = 0;
        for (units, verdict) in steps {
            let id = format!("ret_{n}");
            let Ok(asked) = ask(&order, &id, units) else { continue };
            n += 1;
            order = match verdict {
                0 => asked.then(asked.refuse_return(&id, "no").unwrap().unwrap(), 6, "operator").0,
                1 => approve(&asked, &id),
                2 => {
                    let approved = approve(&asked, &id);
                    let of = approved.find_return(&id).unwrap();
                    let no = approved.refuse_refund(&of.refund_id, of.amount, &of.units(), "no").unwrap();
                    approved.then(no, 7, "system").0
                }
                _ => asked,
            };
            prop_assert!(order.returns_fit());
        }
        let rest = order.lines[0].quantity
            - order.returns.iter().filter(|r| r.status != ReturnStatus::Refused).map(|r| r.lines[0].quantity).sum::<i64>();
        if rest > 0 {
            order = ask(&order, "ret_rest", rest).unwrap();
        }
        for id in order.returns.clone().into_iter().filter(|r| r.status == ReturnStatus::Requested).map(|r| r.id) {
            order = approve(&order, &id);
        }
        prop_assert_eq!(order.refunding.amount, total);
        prop_assert_eq!(order.lines[0].returned, quantity);
        prop_assert!(order.returns_fit());
    }

    /// With refunds of other kinds between them, returns never give more than the line cost less what those units cost.
    #[test]
    fn other_refunds_leave_returns_their_part(
        quantity in 1i64..20,
        total in 0i64..1_000,
        steps in prop::collection::vec((0..3u8, 1i64..8), 0..15),
    ) {
        let mut order = delivered(quantity, total);
        let mut elsewhere = 0;
        for (i, (step, units_wanted)) in steps.into_iter().enumerate() {
            let id = format!("ret_{i}");
            let open = order.returns.iter().find(|r| r.status == ReturnStatus::Requested).map(|r| r.id.clone());
            match (step, open) {
                (0, _) => if let Ok(asked) = ask(&order, &id, units_wanted) { order = asked },
                (1, Some(open)) => if let Ok(Some(kind)) = order.approve_return(&open, &format!("ref_{open}")) {
                    order = order.then(kind, 6, "operator").0;
                },
                (_, _) => {
                    let wanted = [units("sku_a", units_wanted)];
                    if let Ok(kind) = order.request_refund(&id, Some(money(1)), Some(&wanted), "x") {
                        order = order.then(kind, 6, "operator").0;
                        elsewhere += units_wanted;
                    }
                }
            }
            prop_assert!(order.returns_fit());
        }
        let agreed: i64 = order.returns.iter().filter(|r| r.status == ReturnStatus::Approved).map(|r| r.amount.amount).sum();
        let units: i64 = order.returns.iter().filter(|r| r.status == ReturnStatus::Approved).map(|r| r.lines[0].quantity).sum();
        prop_assert_eq!(order.lines[0].returned, elsewhere + units);
        // Rounding down gives each part at most what it costs, and the last one what the others left.
        prop_assert!(agreed <= total);
        prop_assert!(units > 0 || agreed == 0);
    }
}

#[test]
fn more_units_in_returns_than_were_bought_or_came_back_are_noticed() {
    let order = approve(&ask(&delivered(3, 100), "ret_1", 2).unwrap(), "ret_1");
    assert!(order.returns_fit());
    let mut more = order.clone();
    more.returns[0].lines[0].quantity = 4;
    assert!(!more.returns_fit(), "more in returns than were bought");
    let mut never_back = order;
    never_back.lines[0].returned_sent = 1;
    assert!(!never_back.returns_fit(), "agreed to, but they are still out");
}

//! The cart's contract, through a local channel, against stand-ins for its neighbours.

mod common;

use common::neighbours::{catalog, delist, forget, inventory, sell};
use common::{Client, add, checks, get, lines, mall, merge, remove, remove_ordered, set, total, version, why};
use mallard_proto::bus::v1::event_intake_client::EventIntakeClient;
use mallard_proto::bus::v1::{DeliverRequest, Event};
use mallard_proto::cart::v1::*;
use mallard_proto::identity::v1::UserDeleted;
use mallard_runtime::Clock;
use mallard_testkit::{as_guest, as_system, as_user, eventually, rest, settings, several, start};
use prost::Message;

#[tokio::test]
async fn a_guest_gets_a_cart_with_the_first_change_and_not_by_looking() {
    let (_mall, client) = mall().await;
    sell("sku_look", 990, 10);
    let looked = as_guest(get(&client, "")).await.unwrap();
    assert_eq!((looked.cart.as_ref().unwrap().id.as_str(), looked.cart_token.as_str(), version(&looked)), ("", "", 0));

    let added = as_guest(add(&client, "sku_look", 2, "")).await.unwrap();
    assert!(added.cart_token.starts_with("ct_") && added.cart_token.len() == 67, "{}", added.cart_token);
    assert!(added.cart.as_ref().unwrap().id.starts_with("cart_"));
    let found = as_guest(get(&client, &added.cart_token)).await.unwrap();
    assert_eq!((lines(&found), found.cart_token.as_str()), (vec![("sku_look".into(), 2)], ""));
    let again = as_guest(add(&client, "sku_look", 1, &added.cart_token)).await.unwrap();
    assert_eq!((lines(&again)[0].1, again.cart_token.as_str(), version(&again)), (3, "", 2));
}

#[tokio::test]
async fn a_token_nobody_gave_out_is_not_adopted() {
    let (_mall, client) = mall().await;
    sell("sku_fixed", 990, 10);
    let chosen = format!("ct_{}", "a".repeat(64));
    let added = as_guest(add(&client, "sku_fixed", 1, &chosen)).await.unwrap();
    assert!(!added.cart_token.is_empty() && added.cart_token != chosen);
    assert!(lines(&as_guest(get(&client, &chosen)).await.unwrap()).is_empty());
}

#[tokio::test]
async fn a_signed_in_caller_has_one_cart_whatever_token_is_sent() {
    let (_mall, client) = mall().await;
    sell("sku_own", 990, 10);
    let guest = as_guest(add(&client, "sku_own", 7, "")).await.unwrap();
    let own = as_user("usr_own", add(&client, "sku_own", 1, &guest.cart_token)).await.unwrap();
    assert_eq!((lines(&own), own.cart_token.as_str()), (vec![("sku_own".into(), 1)], ""));
    assert!(lines(&as_user("usr_other", get(&client, "")).await.unwrap()).is_empty());
}

#[tokio::test]
async fn two_mugs_and_three_mugs_are_one_line_of_five_for_exactly_49_50() {
    let (_mall, client) = mall().await;
    sell("sku_mug", 990, 10);
    as_user("usr_mug", add(&client, "sku_mug", 2, "")).await.unwrap();
    let cart = as_user("usr_mug", add(&client, "sku_mug", 3, "")).await.unwrap().cart.unwrap();
    assert_eq!(cart.lines.len(), 1);
    let line = &cart.lines[0];
    assert_eq!((line.quantity, line.state(), line.available), (5, LineState::Ok, None));
    assert_eq!((line.title.as_str(), line.product_id.as_str()), ("Title of sku_mug", "prod_sku_mug"));
    assert_eq!(line.line_total.as_ref().unwrap().amount, 4_950);
    assert_eq!(cart.total.unwrap().amount, 4_950);
}

#[tokio::test]
async fn a_quantity_outside_the_limits_is_refused_and_changes_nothing() {
    let (_mall, client) = mall().await;
    sell("sku_lim", 990, 10);
    let before = as_user("usr_lim", add(&client, "sku_lim", 9_998, "")).await.unwrap();
    for quantity in [0, -1, 2, 10_000, 2_147_483_648, i64::MAX] {
        let error = as_user("usr_lim", add(&client, "sku_lim", quantity, "")).await.unwrap_err();
        assert_eq!(why(&error), ("invalid", "quantity_out_of_range", "quantity"), "{quantity}");
    }
    let error = as_user("usr_lim", set(&client, "sku_lim", 0, None)).await.unwrap_err();
    assert_eq!(why(&error), ("invalid", "quantity_out_of_range", "quantity"));
    assert_eq!(as_user("usr_lim", get(&client, "")).await.unwrap().cart, before.cart);
}

#[tokio::test]
async fn the_store_stops_at_a_hundred_lines() {
    let (_mall, client) = mall().await;
    for i in 0..=100 {
        sell(&format!("sku_many_{i}"), 100, 10);
    }
    for i in 0..100 {
        as_user("usr_many", add(&client, &format!("sku_many_{i}"), 1, "")).await.unwrap();
    }
    let error = as_user("usr_many", add(&client, "sku_many_100", 1, "")).await.unwrap_err();
    assert_eq!(why(&error), ("invalid", "cart_line_limit", "sku_id"));
    assert_eq!(total(&as_user("usr_many", get(&client, "")).await.unwrap()), 10_000);
}

#[tokio::test]
async fn goods_nobody_sells_cannot_be_added() {
    let (_mall, client) = mall().await;
    sell("sku_gone", 990, 10);
    delist("sku_gone");
    let error = as_user("usr_gone", add(&client, "sku_gone", 1, "")).await.unwrap_err();
    assert_eq!(why(&error), ("conflict", "not_sellable", "sku_id"));
    let error = as_user("usr_gone", add(&client, "sku_never", 1, "")).await.unwrap_err();
    assert_eq!(why(&error), ("not_found", "sku_unknown", "sku_id"));
    assert_eq!(as_user("usr_gone", get(&client, "")).await.unwrap().cart.unwrap().id, "");
}

#[tokio::test]
async fn lines_are_set_removed_and_cleared() {
    let (_mall, client) = mall().await;
    sell("sku_a", 990, 10);
    sell("sku_b", 500, 10);
    let user = "usr_edit";
    assert_eq!(version(&as_user(user, remove(&client, "sku_a")).await.unwrap()), 0, "nothing to remove makes no cart");
    as_user(user, set(&client, "sku_a", 4, None)).await.unwrap();
    as_user(user, set(&client, "sku_b", 1, None)).await.unwrap();
    let cart = as_user(user, set(&client, "sku_a", 2, None)).await.unwrap();
    assert_eq!((lines(&cart), total(&cart)), (vec![("sku_a".into(), 2), ("sku_b".into(), 1)], 2_480));
    assert_eq!(lines(&as_user(user, remove(&client, "sku_a")).await.unwrap()), [("sku_b".into(), 1)]);
    let same = as_user(user, remove(&client, "sku_a")).await.unwrap();
    assert_eq!(version(&same), 4, "removing what is not there is no change");
    let empty = as_user(user, client.clone().clear_cart(ClearCartRequest::default())).await.unwrap().into_inner();
    assert_eq!((lines(&empty), total(&empty), version(&empty)), (vec![], 0, 5));
}

#[tokio::test]
async fn a_line_that_cannot_be_bought_is_marked_removable_and_not_in_the_way() {
    let (_mall, client) = mall().await;
    for sku in ["sku_m_ok", "sku_m_price", "sku_m_out", "sku_m_few", "sku_m_del", "sku_m_forgot"] {
        sell(sku, 1_000, 10);
        as_user("usr_m", add(&client, sku, 2, "")).await.unwrap();
    }
    sell("sku_m_price", 1_200, 10);
    sell("sku_m_out", 1_000, 0);
    sell("sku_m_few", 1_000, 1);
    delist("sku_m_del");
    forget("sku_m_forgot");
    let cart = as_user("usr_m", get(&client, "")).await.unwrap();
    let shown: Vec<_> = cart.cart.as_ref().unwrap().lines.iter().map(|line| (line.state(), line.available)).collect();
    use LineState::*;
    let expected =
        [(Ok, None), (PriceChanged, None), (SoldOut, Some(0)), (SoldOut, Some(1)), (Delisted, None), (Delisted, None)];
    assert_eq!(shown, expected);
    let changed = &cart.cart.as_ref().unwrap().lines[1];
    assert_eq!(
        (changed.unit_price.as_ref().unwrap().amount, changed.added_price.as_ref().unwrap().amount),
        (1_200, 1_000)
    );
    assert_eq!(cart.cart.as_ref().unwrap().lines[5].title, "Title of sku_m_forgot");
    assert_eq!(total(&cart), 2_000 + 2_400);
    for sku in ["sku_m_out", "sku_m_few", "sku_m_del", "sku_m_forgot"] {
        as_user("usr_m", remove(&client, sku)).await.unwrap();
    }
    assert_eq!(total(&as_user("usr_m", get(&client, "")).await.unwrap()), 4_400);
}

#[tokio::test]
async fn a_change_on_an_old_version_is_refused() {
    let (_mall, client) = mall().await;
    sell("sku_v", 990, 10);
    let seen = version(&as_user("usr_v", set(&client, "sku_v", 1, Some(0))).await.unwrap());
    as_user("usr_v", set(&client, "sku_v", 2, Some(seen))).await.unwrap();
    let error = as_user("usr_v", set(&client, "sku_v", 3, Some(seen))).await.unwrap_err();
    assert_eq!(why(&error), ("precondition", "version_mismatch", "If-Match"));
    assert_eq!(lines(&as_user("usr_v", get(&client, "")).await.unwrap())[0].1, 2);
}

#[tokio::test]
async fn a_cart_answers_while_the_inventory_is_away() {
    let mall = several(vec![mallard_cart::service(), catalog()]).await;
    let client: Client = mall.client();
    sell("sku_away", 990, 0);
    let cart = as_user("usr_away", add(&client, "sku_away", 2, "")).await.unwrap().cart.unwrap();
    assert_eq!(
        (cart.lines[0].state(), cart.lines[0].available, cart.total.unwrap().amount),
        (LineState::Ok, None, 1_980)
    );
}

#[tokio::test]
async fn a_cart_does_not_invent_prices_while_the_catalog_is_away() {
    let mall = several(vec![mallard_cart::service(), inventory()]).await;
    let client: Client = mall.client();
    let error = as_user("usr_dark", add(&client, "sku_dark", 1, "")).await.unwrap_err();
    assert_eq!(error.kind.as_str(), "unavailable");
    assert!(lines(&as_user("usr_dark", get(&client, "")).await.unwrap()).is_empty(), "an empty cart needs no catalog");
}

#[tokio::test]
async fn a_merge_makes_the_users_cart_and_needs_a_user() {
    let (_mall, client) = mall().await;
    sell("sku_first", 990, 10);
    let guest = as_guest(add(&client, "sku_first", 4, "")).await.unwrap().cart_token;
    assert_eq!(as_guest(merge(&client, &guest)).await.unwrap_err().kind.as_str(), "unauthenticated");
    assert_eq!(lines(&as_user("usr_first", merge(&client, &guest)).await.unwrap()), [("sku_first".into(), 4)]);
    assert_eq!(lines(&as_user("usr_thief", merge(&client, &guest)).await.unwrap()), [], "the second user gets nothing");
    assert_eq!(lines(&as_user("usr_first", merge(&client, "")).await.unwrap()), [("sku_first".into(), 4)]);
}

#[tokio::test]
async fn a_late_repeat_for_an_order_without_a_cart_touches_nothing() {
    let (_mall, client) = mall().await;
    sell("sku_late", 990, 10);
    let error = as_system(remove_ordered(&client, "usr_late", "", &[("sku_late", 2)])).await.unwrap_err();
    assert_eq!(why(&error), ("invalid", "order_id_required", "order_id"));
    as_system(remove_ordered(&client, "usr_late", "ord_1", &[("sku_late", 2)])).await.unwrap();
    as_user("usr_late", add(&client, "sku_late", 2, "")).await.unwrap();
    as_system(remove_ordered(&client, "usr_late", "ord_1", &[("sku_late", 2)])).await.unwrap();
    assert_eq!(lines(&as_user("usr_late", get(&client, "")).await.unwrap()), [("sku_late".into(), 2)]);
}

#[tokio::test]
async fn bare_lines_are_for_the_system_and_the_user_only() {
    let (_mall, client) = mall().await;
    sell("sku_bare", 990, 10);
    as_user("usr_bare", add(&client, "sku_bare", 2, "")).await.unwrap();
    let ask = || client.clone();
    let request = GetLinesRequest { user_id: "usr_bare".into() };
    let own = as_user("usr_bare", ask().get_lines(request.clone())).await.unwrap().into_inner();
    let system = as_system(ask().get_lines(request.clone())).await.unwrap().into_inner();
    assert_eq!((own.lines[0].quantity, own.version, own.cart_id.starts_with("cart_")), (2, 1, true));
    assert_eq!(own, system);
    let error = mallard_rpc::error(as_user("usr_nosy", ask().get_lines(request.clone())).await.unwrap_err());
    assert_eq!(why(&error), ("not_found", "cart_unknown", ""));
    let error = mallard_rpc::error(as_guest(ask().get_lines(request)).await.unwrap_err());
    assert_eq!(why(&error), ("not_found", "cart_unknown", ""));
    let error =
        as_user("usr_nosy", remove_ordered(&client, "usr_bare", "ord_1", &[("sku_bare", 1)])).await.unwrap_err();
    assert_eq!(why(&error), ("not_found", "cart_unknown", ""));
}

#[tokio::test]
async fn other_surfaces_may_fill_larger_carts() {
    let (_mall, client) = mall().await;
    sell("sku_bulk", 1, 1_000_000);
    let mut call = mallard_rpc::Call::default();
    call.caller.kind = mallard_rpc::CallerKind::User;
    call.caller.user_id = "usr_bulk".into();
    let cart = mallard_rpc::scope(call, add(&client, "sku_bulk", 80_995, "")).await.unwrap();
    assert_eq!(lines(&cart)[0].1, 80_995);
    assert_eq!(lines(&as_user("usr_bulk", get(&client, "")).await.unwrap())[0].1, 80_995);
}

#[tokio::test]
async fn a_deleted_users_cart_goes_with_the_user() {
    let (mall, client) = mall().await;
    sell("sku_del", 990, 10);
    as_user("usr_del", add(&client, "sku_del", 2, "")).await.unwrap();
    as_user("usr_stays", add(&client, "sku_del", 1, "")).await.unwrap();
    let event = Event {
        id: "evt_1".into(),
        r#type: "user.deleted.v1".into(),
        key: "usr_del".into(),
        payload: UserDeleted { user_id: "usr_del".into() }.encode_to_vec(),
        ..Default::default()
    };
    let mut intake = EventIntakeClient::new(mall.channel("cart"));
    let request = DeliverRequest { subscriber: "cart".into(), events: vec![event] };
    for _ in 0..2 {
        let accepted = as_system(intake.deliver(request.clone())).await.unwrap().into_inner().accepted_ids;
        assert_eq!(accepted, ["evt_1"]);
    }
    assert_eq!(as_user("usr_del", get(&client, "")).await.unwrap().cart.unwrap().id, "");
    assert_eq!(lines(&as_user("usr_stays", get(&client, "")).await.unwrap()), [("sku_del".into(), 1)]);
}

#[tokio::test]
async fn reading_costs_one_statement_and_changing_two() {
    let (mut mall, client) = mall().await;
    sell("sku_eco", 990, 10);
    let db = mall.context("cart").unwrap().db();
    // Or the relay would look at the outbox meanwhile.
    rest(&mut mall).await;
    for i in 0..5 {
        let user = format!("usr_eco_{i}");
        let mut before = db.statements();
        let mut cost = || {
            let now = db.statements();
            std::mem::replace(&mut before, now).abs_diff(now)
        };
        as_user(&user, add(&client, "sku_eco", 1, "")).await.unwrap();
        let first = cost();
        as_user(&user, add(&client, "sku_eco", 1, "")).await.unwrap();
        let second = cost();
        as_user(&user, get(&client, "")).await.unwrap();
        let look = cost();
        as_system(remove_ordered(&client, &user, "ord_1", &[("sku_eco", 2)])).await.unwrap();
        assert_eq!([first, second, look, cost()], [2, 2, 1, 2]);
    }
}

#[tokio::test]
async fn the_checks_notice_the_planted_bugs() {
    let mut planted = settings(vec![mallard_cart::service(), catalog(), inventory()]);
    planted.switches = ["cart.ordered_below_zero".to_owned(), "cart.merge_keeps_guest_lines".to_owned()].into();
    let mall = start(planted).await;
    let client: Client = mall.client();
    sell("sku_bug", 990, 10);
    let all_well =
        [("cart.quantities_positive", true), ("cart.one_cart_per_user", true), ("cart.merged_carts_are_empty", true)];
    assert_eq!(checks(&client).await, all_well.map(|(name, ok)| (name.to_owned(), ok)));
    let guest = as_guest(add(&client, "sku_bug", 1, "")).await.unwrap().cart_token;
    as_user("usr_bug", merge(&client, &guest)).await.unwrap();
    as_system(remove_ordered(&client, "usr_bug", "ord_1", &[("sku_bug", 3)])).await.unwrap();
    let broken =
        [("cart.quantities_positive", false), ("cart.one_cart_per_user", true), ("cart.merged_carts_are_empty", false)];
    assert_eq!(checks(&client).await, broken.map(|(name, ok)| (name.to_owned(), ok)));
}

#[tokio::test(start_paused = true)]
async fn a_guest_cart_nobody_touched_for_its_lifetime_is_removed() {
    let mut settings = settings(vec![mallard_cart::service(), catalog(), inventory()]);
    settings.clock = Clock::simulated(1_800_000_000_000_000);
    settings.config = settings
        .config
        .set("cart.prune_interval_s", 600)
        .set("cart.guest_lifetime_days", 1)
        .set("cart.prune_batch_rows_max", 2);
    let mall = start(settings).await;
    let client: Client = mall.client();
    sell("sku_old", 990, 10);
    let mut old = Vec::new();
    for _ in 0..5 {
        old.push(as_guest(add(&client, "sku_old", 1, "")).await.unwrap().cart_token);
    }
    as_user("usr_old", add(&client, "sku_old", 1, "")).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(16 * 3_600)).await;
    as_guest(add(&client, "sku_old", 1, &old[0])).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(8 * 3_600 + 601)).await;
    eventually("the untouched guest carts are gone", || async {
        let mut left = 0;
        for token in &old {
            left += lines(&as_guest(get(&client, token)).await.unwrap()).len();
        }
        left == 1
    })
    .await;
    assert_eq!(lines(&as_guest(get(&client, &old[0])).await.unwrap())[0].1, 2, "a touched cart lives on");
    assert_eq!(lines(&as_user("usr_old", get(&client, "")).await.unwrap())[0].1, 1, "a user's cart lives on");
}

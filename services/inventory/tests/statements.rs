//! SQL statements are precious: what each use case may cost.

mod common;

use common::{Engine, House};

async fn house() -> House {
    let mut house = common::house(Engine::Memory).await.unwrap();
    // No background work while statements are counted.
    mallard_testkit::rest(&mut house.mall).await;
    house.receive(&[("sku_a", 100), ("sku_b", 100), ("sku_c", 100)]).await;
    house
}

async fn cost<F: Future>(house: &House, work: F) -> u64 {
    let before = house.db.statements();
    work.await;
    house.db.statements() - before
}

#[tokio::test]
async fn the_usual_case_reads_nothing_first() {
    let house = house().await;
    let three = [("sku_c", 1), ("sku_a", 2), ("sku_b", 3)];
    assert_eq!(cost(&house, house.reserve("ord_1", &three)).await, 1 + 3);
    assert_eq!(cost(&house, house.confirm("ord_1")).await, 1 + 3 + 1);
    house.reserve("ord_2", &three).await.unwrap();
    assert_eq!(cost(&house, house.release("ord_2")).await, 1 + 3);
}

#[tokio::test]
async fn repeats_and_refusals_cost_one_read_more() {
    let house = house().await;
    house.reserve("ord_1", &[("sku_a", 2)]).await.unwrap();
    assert_eq!(
        cost(&house, house.reserve("ord_1", &[("sku_a", 2)])).await,
        2,
        "the insert that finds its id, and the read"
    );
    house.confirm("ord_1").await.unwrap();
    assert_eq!(cost(&house, house.confirm("ord_1")).await, 1);
    assert_eq!(
        cost(&house, house.reserve("ord_2", &[("sku_a", 99)])).await,
        3,
        "insert, guard, and the read that says why"
    );
    assert_eq!(cost(&house, house.release("ord_3")).await, 2, "the read that finds nothing, and the mark");
}

#[tokio::test]
async fn a_delivery_of_many_skus_costs_two() {
    let house = house().await;
    let names: Vec<String> = (0..100).map(|i| format!("sku_new_{i:03}")).collect();
    let skus: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    assert_eq!(cost(&house, house.receive(&skus)).await, 2);
    assert_eq!(cost(&house, house.receive(&skus)).await, 1, "all exist");
}

#[tokio::test]
async fn an_alert_costs_no_statement_where_it_begins_and_ends() {
    let house = house().await;
    let three = [("sku_c", 1), ("sku_a", 2), ("sku_b", 97)];
    assert_eq!(cost(&house, house.reserve("ord_1", &three)).await, 1 + 3, "sku_b falls to 3");
    assert_eq!(cost(&house, house.release("ord_1")).await, 1 + 3, "and is back");
    house.reserve("ord_2", &three).await.unwrap();
    assert_eq!(cost(&house, house.confirm("ord_2")).await, 1 + 3 + 1);
    // The return, its order, what came back before, the units, the ledger.
    let before = cost(&house, house.give_back("ord_2", "ref_1", &[("sku_b", 1)])).await;
    assert_eq!(cost(&house, house.give_back("ord_2", "ref_2", &[("sku_b", 1)])).await, before, "sku_b is back at 5");
}

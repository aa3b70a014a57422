use mallard_db::{DbConfig, MemoryDisk};

use super::*;
use crate::migrations::MIGRATIONS;

#[tokio::test]
async fn a_list_reads_its_own_rows_only() {
    let db = Db::open(&DbConfig::Memory(MemoryDisk::new()), "order", MIGRATIONS).await.unwrap();
    for (to_ship, before) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut values = params!["sel_a"];
        values.extend(before.then(|| Value::from("ord_9")));
        values.push(Value::from(10i64));
        let plan =
            db.query_dyn(format!("EXPLAIN QUERY PLAN {}", seller_page_sql(to_ship, before)), values).await.unwrap();
        let steps: Vec<String> = plan.iter().map(|row| row.get(3).unwrap()).collect();
        let index = if to_ship { "seller_orders_to_ship" } else { "seller_orders_by_seller" };
        assert!(steps[0].starts_with("SEARCH s USING") && steps[0].contains(index), "{steps:?}");
        assert!(steps.iter().all(|step| !step.contains("SCAN") && !step.contains("TEMP B-TREE")), "{steps:?}");
    }
}

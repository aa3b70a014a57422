//! Who adjusted stock by hand is recorded with the adjustment, once.

mod common;

use common::{ENGINES, House, house_with};
use mallard_proto::inventory::v1::*;
use mallard_testkit::{as_admin, as_system, audit_records, audited};
use mallard_types::Error;
use serde_json::json;

async fn adjust(house: &House, delta: i64, key: &str) -> Result<Stock, Error> {
    let request = AdjustStockRequest {
        sku_id: "sku_a".into(),
        delta,
        reason: "count".into(),
        idempotency_key: key.into(),
        ..AdjustStockRequest::default()
    };
    let answer = house.client.clone().adjust_stock(request).await.map_err(mallard_rpc::error)?;
    Ok(answer.into_inner().inventory.unwrap())
}

#[tokio::test]
async fn an_adjustment_is_recorded_once_and_a_refused_one_is_not() {
    for engine in ENGINES {
        let specs = vec![mallard_inventory::service()];
        let Some(house) = house_with(engine, specs, audited).await else { continue };
        house.receive(&[("sku_a", 10)]).await;
        house.reserve("ord_1", &[("sku_a", 4)]).await.unwrap();

        let stock = as_admin("usr_op", adjust(&house, 5, "k1")).await.unwrap();
        assert_eq!((stock.on_hand, stock.reserved), (15, 4));
        as_admin("usr_op", adjust(&house, 5, "k1")).await.unwrap();
        assert_eq!(as_admin("usr_op", adjust(&house, 6, "k1")).await.unwrap_err().code, "idempotency_conflict");
        assert_eq!(as_admin("usr_op", adjust(&house, -12, "k2")).await.unwrap_err().code, "below_reserved");
        as_system(adjust(&house, 1, "")).await.unwrap();

        let records = audit_records(&house.mall, "inventory").await;
        assert_eq!(records.len(), 1, "{engine:?}: {records:?}");
        let record = &records[0];
        assert_eq!((record.action.as_str(), record.target.as_str()), ("stock.adjust", "sku_a"));
        assert_eq!(record.before, json!({ "on_hand": 10 }));
        assert_eq!(record.after, json!({ "on_hand": 15, "delta": 5, "reason": "count", "reference": "" }));
        assert_eq!((record.recorded.actor.as_str(), record.recorded.service.as_str()), ("usr_op", "inventory"));

        // Together they say what happened, whatever came first.
        let adjustments = (0..10).map(|n| {
            let house = &house;
            async move { as_admin("usr_op", adjust(house, 1, &format!("many{}", n % 5))).await.unwrap() }
        });
        futures_util::future::join_all(adjustments).await;
        let records = audit_records(&house.mall, "inventory").await;
        let mut seen: Vec<i64> = records[1..].iter().map(|r| r.after["on_hand"].as_i64().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [17, 18, 19, 20, 21], "{engine:?}");
    }
}

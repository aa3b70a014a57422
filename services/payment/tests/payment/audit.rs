//! A refund that an operator gives is recorded with it, once.

use mallard_proto::payment::v1::*;
use mallard_testkit::{as_admin, as_system, audit_records, audited};
use mallard_types::Result;
use serde_json::json;

use crate::shop::*;

async fn refund(shop: &Shop, amount: i64, key: &str) -> Result<AdminRefundResponse> {
    let request = AdminRefundRequest {
        id: "pay_1".into(),
        amount: cny(amount),
        reason: "too big".into(),
        idempotency_key: key.into(),
    };
    Ok(shop.payments.clone().admin_refund(request).await.map_err(mallard_rpc::error)?.into_inner())
}

#[tokio::test(start_paused = true)]
async fn a_refund_is_recorded_once_and_a_refused_one_is_not() {
    let mut settings = settings();
    audited(&mut settings);
    let shop = Shop::with(settings).await;
    shop.pay("pay_1", "ord_1", VISA).await.unwrap();
    let refund_id = as_admin("usr_op", refund(&shop, 400, "k1")).await.unwrap().refund.unwrap().id;
    as_admin("usr_op", refund(&shop, 400, "k1")).await.unwrap();
    let refused = as_admin("usr_op", refund(&shop, 600, "k2")).await;
    assert_eq!(code(refused), "refused refund_exceeds_captured");
    as_system(refund(&shop, 100, "k3")).await.unwrap();

    let records = audit_records(&shop.mall, "payment").await;
    assert_eq!(records.len(), 1, "{records:?}");
    let record = &records[0];
    assert_eq!((record.action.as_str(), record.target.as_str()), ("payment.refund", "pay_1"));
    assert_eq!(record.recorded.actor, "usr_op");
    assert_eq!(record.before["refunding"], 0);
    assert_eq!(record.after["refunding"], 400);
    assert_eq!(record.after["refund_id"], json!(refund_id));
    assert_eq!(record.after["amount"], json!({ "amount": 400, "currency": "CNY" }));
    assert!(!format!("{record:?}").contains("4242"), "{record:?}");
}

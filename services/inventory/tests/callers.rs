//! Who may call what: stock moves at the word of the mall's own services only.

mod common;

use common::{Engine, house, lines};
use mallard_proto::common::v1::RunChecksRequest;
use mallard_proto::inventory::v1::*;
use mallard_testkit::{as_admin, as_guest, as_seller, as_stranger, as_system, as_user};
use tonic::Status;

fn code<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    mallard_rpc::error(answer.unwrap_err()).code.into_owned()
}

#[tokio::test]
async fn nobody_but_the_mall_moves_stock_or_reads_its_books() {
    let house = house(Engine::Memory).await.unwrap();
    house.receive(&[("sku_a", 10)]).await;
    house.reserve("ord_1", &[("sku_a", 2)]).await.unwrap();
    let client = || house.client.clone();
    let line = || lines(&[("sku_a", 1)]);
    let all_refused = async || {
        let reserve = ReserveRequest { id: "ord_2".into(), lines: line(), ..ReserveRequest::default() };
        let r#return =
            ReturnRequest { id: "ord_1".into(), return_id: "ret_1".into(), lines: line(), ..ReturnRequest::default() };
        let receive = ReceiveStockRequest { lines: lines(&[("sku_b", 1)]), ..ReceiveStockRequest::default() };
        let ids = || vec!["ord_1".to_owned()];
        [
            code(client().reserve(reserve).await),
            code(client().confirm(ConfirmRequest { id: "ord_1".into() }).await),
            code(client().release(ReleaseRequest { id: "ord_1".into() }).await),
            code(client().r#return(r#return).await),
            code(client().receive_stock(receive).await),
            code(client().scan_ledger(ScanLedgerRequest::default()).await),
            code(client().batch_get_reservations(BatchGetReservationsRequest { ids: ids() }).await),
            code(client().scan_reservations(ScanReservationsRequest::default()).await),
            code(client().run_checks(RunChecksRequest {}).await),
        ]
    };
    let refused = ["internal_only"; 9];
    assert_eq!(as_stranger(all_refused()).await, refused);
    assert_eq!(as_guest(all_refused()).await, refused);
    assert_eq!(as_user("usr_1", all_refused()).await, refused);
    assert_eq!(as_seller("usr_2", "sel_1", all_refused()).await, refused);
    assert_eq!(as_admin("usr_3", all_refused()).await, refused);
    assert_eq!(house.stock("sku_a").await, (10, 2));
    assert_eq!(house.state("ord_1").await, Some(ReservationState::Held));

    // How much there is a visitor's cart may ask, but not somebody of whom nobody knows where he came in.
    let stocks = || BatchGetStockRequest { sku_ids: vec!["sku_a".into()] };
    assert_eq!(code(as_stranger(client().batch_get_stock(stocks())).await), "identity_required");
    assert!(as_guest(client().batch_get_stock(stocks())).await.is_ok());
    assert!(as_system(client().batch_get_stock(stocks())).await.is_ok());
}

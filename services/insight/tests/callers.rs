//! Who may ask for what, and how.

mod common;

use common::*;
use mallard_proto::common::v1::RunChecksRequest;
use mallard_proto::insight::v1::*;
use mallard_testkit::{as_admin, as_guest, as_seller, as_stranger, as_system, as_user};
use tonic::Status;

fn code<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    mallard_rpc::error(answer.unwrap_err()).code.into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seller_sees_its_own_whatever_it_asks_for() {
    let desk = desk(Engine::Memory).await.unwrap();
    let lines = vec![line("tea", "sel_1", 2, 100), line("cup", "sel_2", 1, 300)];
    desk.tell(&Tale::placed("ord_1", NOW, lines, 60).paid(NOW).told).await;
    desk.folded().await;
    let client = || desk.client.clone();
    for asked in ["", "sel_1", "sel_2", "sel_9"] {
        let request = GetSalesRequest { seller: asked.into(), ..Default::default() };
        let sales = as_seller("usr_1", "sel_1", client().get_sales(request)).await.unwrap().into_inner();
        let total = sales.total.unwrap();
        assert_eq!((total.orders, total.units, total.revenue), (1, 2, money(200)), "{asked}");
        let request = ListTopProductsRequest { seller: asked.into(), ..Default::default() };
        let top = as_seller("usr_1", "sel_1", client().list_top_products(request)).await.unwrap().into_inner();
        assert_eq!(top.products.iter().map(|top| top.product_id.as_str()).collect::<Vec<_>>(), ["tea"]);
    }
    let of_mall = as_system(client().get_sales(GetSalesRequest::default())).await.unwrap().into_inner();
    assert_eq!(of_mall.total.unwrap().revenue, money(560));

    let sales = || GetSalesRequest::default();
    let top = || ListTopProductsRequest::default();
    let nobody = async || [code(client().get_sales(sales()).await), code(client().list_top_products(top()).await)];
    assert_eq!(as_user("usr_1", nobody()).await, ["seller_required"; 2]);
    assert_eq!(as_guest(nobody()).await, ["seller_required"; 2]);
    assert_eq!(as_stranger(nobody()).await, ["seller_required"; 2]);
    // A seller's account that belongs to no seller.
    assert_eq!(as_seller("usr_1", "", nobody()).await, ["seller_required"; 2]);
    desk.mall.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_operators_see_the_funnel_and_only_the_mall_counts_and_checks() {
    let desk = desk(Engine::Memory).await.unwrap();
    let client = || desk.client.clone();
    let visits = || CountVisitsRequest { batch_id: "b".into(), date: "2026-11-21".into(), ..Default::default() };
    let refused = async || {
        [
            code(client().get_funnel(GetFunnelRequest::default()).await),
            code(client().count_visits(visits()).await),
            code(client().run_checks(RunChecksRequest {}).await),
        ]
    };
    let expected = ["forbidden", "internal_only", "internal_only"];
    assert_eq!(as_stranger(refused()).await, expected);
    assert_eq!(as_guest(refused()).await, expected);
    assert_eq!(as_user("usr_1", refused()).await, expected);
    assert_eq!(as_seller("usr_1", "sel_1", refused()).await, expected);
    assert_eq!(code(as_admin("usr_1", client().count_visits(visits())).await), "internal_only");
    assert_eq!(code(as_admin("usr_1", client().run_checks(RunChecksRequest {})).await), "internal_only");
    let best = || ListBestSellersRequest::default();
    assert_eq!(code(as_stranger(client().list_best_sellers(best())).await), "identity_required");
    assert!(as_guest(client().list_best_sellers(best())).await.is_ok());
    desk.mall.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_say_what_is_wrong() {
    let desk = desk(Engine::Memory).await.unwrap();
    let sales = |from: &str, to: &str| GetSalesRequest { from: from.into(), to: to.into(), ..Default::default() };
    let refused = async |request: GetSalesRequest| {
        let answer = as_admin("usr_1", desk.client.clone().get_sales(request)).await;
        let error = mallard_rpc::error(answer.unwrap_err());
        (error.code.into_owned(), error.param.unwrap_or_default().into_owned())
    };
    let expected = |code: &str, param: &str| (code.to_owned(), param.to_owned());
    assert_eq!(refused(sales("2026-02-30", "")).await, expected("bad_date", "from"));
    assert_eq!(refused(sales("", "yesterday")).await, expected("bad_date", "to"));
    assert_eq!(refused(sales("2026-11-21", "2026-11-20")).await, expected("bad_period", "from"));
    assert_eq!(refused(sales("2020-01-01", "2026-11-20")).await, expected("period_too_long", "from"));
    let odd = GetSalesRequest { currency: "yuan".into(), ..Default::default() };
    assert_eq!(refused(odd).await, expected("bad_currency", "currency"));
    let endless = GetSalesRequest { seller: "s".repeat(201), ..Default::default() };
    assert_eq!(refused(endless).await, expected("bad_text", "seller"));
    for limit in [-1, 101] {
        let request = ListTopProductsRequest { limit, ..Default::default() };
        let answer = as_admin("usr_1", desk.client.clone().list_top_products(request)).await;
        assert_eq!(code(answer), "limit_out_of_range");
    }
    // Days without sales are there all the same, oldest first.
    let quiet = desk.sales(sales("2026-10-31", "2026-11-02")).await;
    let dates: Vec<_> = quiet.days.iter().map(|day| day.date.as_str()).collect();
    assert_eq!(dates, ["2026-10-31", "2026-11-01", "2026-11-02"]);
    assert!(quiet.days.iter().all(|day| day.orders == 0 && day.revenue == money(0) && day.refunded == money(0)));
    let yen = desk.sales(GetSalesRequest { currency: "JPY".into(), ..Default::default() }).await;
    assert_eq!((yen.days.len(), yen.total.unwrap().revenue.unwrap().currency.as_str()), (30, "JPY"));
    desk.mall.stop().await;
}

//! Visits are counted in batches, each once.

mod common;

use common::*;
use futures_util::future::join_all;
use mallard_proto::insight::v1::*;
use mallard_runtime::Clock;
use mallard_testkit::{as_system, eventually, patiently};

fn batch(id: &str, date: &str) -> CountVisitsRequest {
    CountVisitsRequest { batch_id: id.into(), date: date.into(), product_views: 10, cart_additions: 3, checkouts: 1 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_counts_once_however_often_and_at_once_it_comes() {
    for engine in ENGINES {
        let Some(desk) = desk(engine).await else { continue };
        let count = |request: CountVisitsRequest| {
            let client = desk.client.clone();
            async move {
                let ask = || async { client.clone().count_visits(request.clone()).await.map_err(mallard_rpc::error) };
                as_system(patiently(ask)).await.unwrap()
            }
        };
        let requests = (0..20).map(|i| batch(&format!("b{}", i % 4), "2026-11-21"));
        join_all(requests.map(count)).await;
        count(batch("b9", "2026-11-20")).await;
        let funnel = desk.funnel().await;
        assert_eq!((funnel.product_views, funnel.cart_additions, funnel.checkouts), (50, 15, 5), "{engine:?}");
        let request = GetFunnelRequest { from: "2026-11-19".into(), to: "2026-11-21".into() };
        let days = as_system(desk.client.clone().get_funnel(request)).await.unwrap().into_inner().days;
        let views: Vec<_> = days.iter().map(|day| (day.date.as_str(), day.product_views)).collect();
        assert_eq!(views, [("2026-11-19", 0), ("2026-11-20", 10), ("2026-11-21", 40)]);
        desk.mall.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn visits_that_cannot_be_are_refused() {
    let desk = desk(Engine::Memory).await.unwrap();
    let refused = async |request: CountVisitsRequest| {
        let error = mallard_rpc::error(as_system(desk.client.clone().count_visits(request)).await.unwrap_err());
        (error.code.into_owned(), error.param.unwrap_or_default().into_owned())
    };
    let expected = |code: &str, param: &str| (code.to_owned(), param.to_owned());
    assert_eq!(refused(batch("", "2026-11-21")).await, expected("bad_text", "batch_id"));
    assert_eq!(refused(batch("b", "")).await, expected("bad_date", "date"));
    assert_eq!(refused(batch("b", "2026-11-13")).await, expected("visits_out_of_time", "date"));
    assert_eq!(refused(batch("b", "2026-11-23")).await, expected("visits_out_of_time", "date"));
    let negative = CountVisitsRequest { checkouts: -1, ..batch("b", "2026-11-21") };
    assert_eq!(refused(negative).await, expected("count_out_of_range", "checkouts"));
    assert_eq!(desk.funnel().await.product_views, 0);
    desk.mall.stop().await;
}

/// Ids are forgotten only when their day is refused, so no batch can count a second time.
#[tokio::test(flavor = "multi_thread")]
async fn ids_of_old_batches_are_forgotten_and_their_days_refused() {
    let desk = desk(Engine::Sqlite).await.unwrap();
    as_system(desk.client.clone().count_visits(batch("old", "2026-11-14"))).await.unwrap();
    as_system(desk.client.clone().count_visits(batch("new", "2026-11-21"))).await.unwrap();
    desk.mall.stop().await;
    let later = start(&desk.storage, |settings| settings.clock = Clock::simulated(NOW + 2 * DAY)).await;
    let db = later.context("insight").unwrap().db();
    eventually("the old id is forgotten", async || {
        let rows = db.query("SELECT batch_id FROM visit_batches", Vec::new()).await.unwrap();
        rows.iter().map(|row| row.get::<String>(0).unwrap()).collect::<Vec<_>>() == ["new"]
    })
    .await;
    let mut client: Client = later.client();
    let again = as_system(client.count_visits(batch("old", "2026-11-14"))).await.unwrap_err();
    assert_eq!(mallard_rpc::error(again).code, "visits_out_of_time");
    as_system(client.count_visits(batch("new", "2026-11-21"))).await.unwrap();
    let request = GetFunnelRequest { from: "2026-11-14".into(), to: "2026-11-21".into() };
    let total = as_system(client.get_funnel(request)).await.unwrap().into_inner().total.unwrap();
    assert_eq!(total.product_views, 20);
    later.stop().await;
}

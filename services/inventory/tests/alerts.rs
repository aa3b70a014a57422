//! Stock alerts: they begin and end in the statement that moves the units, and nothing else makes them.

mod common;

use std::sync::Arc;

use common::{ENGINES, Engine, House, config, house};
use mallard_db::params;
use mallard_proto::inventory::v1::*;
use mallard_rpc::Call;
use mallard_runtime::{Parts, ServiceSpec, Settings, Storage};
use mallard_testkit::pgtest::PgServer;
use mallard_testkit::{as_admin, as_guest, as_seller, as_stranger, as_system, as_user};
use mallard_types::Error;

impl House {
    async fn list(&self, request: ListStockAlertsRequest) -> Result<ListStockAlertsResponse, Error> {
        Ok(self.client.clone().list_stock_alerts(request).await.map_err(mallard_rpc::error)?.into_inner())
    }

    /// Returns SKU and units of all alerts, the latest first.
    async fn alerts(&self) -> Vec<(String, i64)> {
        let request = ListStockAlertsRequest { limit: 100, ..ListStockAlertsRequest::default() };
        let alerts = as_admin("usr_1", self.list(request)).await.unwrap().alerts;
        alerts.into_iter().map(|alert| (alert.sku_id, alert.available)).collect()
    }

    async fn since(&self, sku_id: &str) -> Option<i64> {
        let request = ListStockAlertsRequest { sku_ids: vec![sku_id.into()], ..ListStockAlertsRequest::default() };
        let alerts = as_system(self.list(request)).await.unwrap().alerts;
        alerts.first().map(|alert| alert.since.unwrap().micros())
    }
}

fn told(alerts: &[(&str, i64)]) -> Vec<(String, i64)> {
    alerts.iter().map(|(sku_id, available)| ((*sku_id).to_owned(), *available)).collect()
}

/// Runs work at a time in the past, in seconds of 2023.
async fn at<F: Future>(second: i64, work: F) -> F::Output {
    let call = Call { at: Some(1_700_000_000_000_000 + second * 1_000_000), ..Call::system("test") };
    mallard_rpc::scope(call, work).await
}

#[tokio::test]
async fn every_way_across_the_mark_begins_or_ends_an_alert() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        house.receive(&[("sku_a", 7), ("sku_b", 100)]).await;
        assert_eq!(house.alerts().await, [], "{engine:?}");
        house.reserve("ord_1", &[("sku_a", 2), ("sku_b", 1)]).await.unwrap();
        assert_eq!(house.alerts().await, [], "5 are not below 5");
        house.reserve("ord_2", &[("sku_a", 1)]).await.unwrap();
        assert_eq!(house.alerts().await, told(&[("sku_a", 4)]));
        house.confirm("ord_2").await.unwrap();
        assert_eq!(house.alerts().await, told(&[("sku_a", 4)]), "a sale changes nothing that can be promised");
        house.release("ord_1").await.unwrap();
        assert_eq!(house.alerts().await, [], "6 again");
        house.adjust("sku_a", -6, "").await.unwrap();
        assert_eq!(house.alerts().await, told(&[("sku_a", 0)]));
        house.adjust("sku_a", 4, "").await.unwrap();
        assert_eq!(house.alerts().await, told(&[("sku_a", 4)]));
        house.give_back("ord_2", "ref_1", &[("sku_a", 1)]).await.unwrap();
        assert_eq!(house.alerts().await, [], "what came back can be sold");
        house.try_reserve("ord_3", &[("sku_a", 1)], 1).await.unwrap();
        let over = || async { house.state("ord_3").await == Some(ReservationState::Released) };
        mallard_testkit::eventually("the hold is over", over).await;
        assert_eq!(house.alerts().await, []);
        house.receive(&[("sku_c", 4), ("sku_d", 0), ("sku_e", 5)]).await;
        assert_eq!(house.alerts().await, told(&[("sku_d", 0), ("sku_c", 4)]));
        house.assert_books_balance().await;
    }
}

#[tokio::test]
async fn an_alert_is_as_old_as_the_crossing() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        at(1, house.receive(&[("sku_a", 10), ("sku_b", 1)])).await;
        assert_eq!(house.since("sku_b").await, Some(1_700_000_001_000_000), "{engine:?}");
        at(2, house.reserve("ord_1", &[("sku_a", 6)])).await.unwrap();
        at(3, house.reserve("ord_2", &[("sku_a", 1)])).await.unwrap();
        assert_eq!(house.since("sku_a").await, Some(1_700_000_002_000_000), "less and less is one alert");
        at(4, house.release("ord_2")).await.unwrap();
        assert_eq!(house.since("sku_a").await, Some(1_700_000_002_000_000), "still below");
        at(5, house.release("ord_1")).await.unwrap();
        assert_eq!(house.since("sku_a").await, None);
        at(6, house.reserve("ord_3", &[("sku_a", 10)])).await.unwrap();
        assert_eq!(house.since("sku_a").await, Some(1_700_000_006_000_000), "a new crossing is a new alert");
    }
}

#[tokio::test]
async fn a_refused_move_begins_nothing() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        house.receive(&[("sku_a", 5), ("sku_b", 9)]).await;
        // The second line lacks, so the first is given back with the whole unit.
        house.reserve("ord_1", &[("sku_a", 5), ("sku_b", 10)]).await.unwrap_err();
        house.adjust("sku_a", -6, "").await.unwrap_err();
        assert_eq!(house.alerts().await, [], "{engine:?}");
        house.reserve("ord_2", &[("sku_a", 1)]).await.unwrap();
        house.release("ord_2").await.unwrap();
        assert_eq!(house.reserve("ord_2", &[("sku_a", 1)]).await.unwrap_err(), "reservation_released");
        assert_eq!(house.alerts().await, []);
        house.assert_books_balance().await;
    }
}

#[tokio::test]
async fn alerts_page_latest_first_without_overlap_and_answer_for_some_skus_only() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        // Three at one moment, so that ties are decided by SKU.
        at(1, house.receive(&[("sku_1", 1), ("sku_2", 2), ("sku_3", 3)])).await;
        at(2, house.receive(&[("sku_4", 4), ("sku_9", 90)])).await;
        for limit in [1, 2, 3, 100] {
            let mut seen = Vec::new();
            let mut request = ListStockAlertsRequest { limit, ..ListStockAlertsRequest::default() };
            loop {
                let page = as_admin("usr_1", house.list(request.clone())).await.unwrap();
                seen.extend(page.alerts.into_iter().map(|alert| alert.sku_id));
                request.cursor = page.next_cursor;
                if request.cursor.is_empty() {
                    break;
                }
            }
            assert_eq!(seen, ["sku_4", "sku_3", "sku_2", "sku_1"], "{engine:?} by {limit}");
        }
        let some = ["sku_1", "sku_9", "sku_3", "sku_3", "sku_none"].map(str::to_owned).to_vec();
        let request = ListStockAlertsRequest { sku_ids: some, ..ListStockAlertsRequest::default() };
        let found = as_admin("usr_1", house.list(request)).await.unwrap().alerts;
        assert_eq!(found.iter().map(|alert| alert.sku_id.as_str()).collect::<Vec<_>>(), ["sku_3", "sku_1"]);
    }
}

#[tokio::test]
async fn only_operators_and_the_mall_are_told() {
    let house = house(Engine::Memory).await.unwrap();
    let ask = |request: ListStockAlertsRequest| async {
        house.list(request).await.map(|_| ()).map_err(|error| error.code.into_owned())
    };
    let all = ListStockAlertsRequest::default;
    let refused = Err("admin_required".to_owned());
    assert_eq!(as_stranger(ask(all())).await, refused);
    assert_eq!(as_guest(ask(all())).await, refused);
    assert_eq!(as_user("usr_1", ask(all())).await, refused);
    assert_eq!(as_seller("usr_1", "sel_1", ask(all())).await, refused);
    assert_eq!(as_admin("usr_1", ask(all())).await, Ok(()));
    assert_eq!(as_system(ask(all())).await, Ok(()));
    let malformed = [
        (ListStockAlertsRequest { sku_ids: vec!["x".into(); 101], ..all() }, "too_many_ids"),
        (ListStockAlertsRequest { limit: 101, ..all() }, "limit_out_of_range"),
        (ListStockAlertsRequest { cursor: "zz".into(), ..all() }, "bad_cursor"),
    ];
    for (request, code) in malformed {
        assert_eq!(as_admin("usr_1", ask(request)).await, Err(code.to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_around_the_mark_leaves_exactly_the_alerts_that_are_true() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let Some(house) = house(engine).await else { continue };
        let house = Arc::new(house);
        house.receive(&[("sku_a", 6), ("sku_b", 6)]).await;
        let mut buyers = tokio::task::JoinSet::new();
        for i in 0..120 {
            let house = house.clone();
            buyers.spawn(async move {
                let id = format!("ord_{i}");
                let lines = if i % 2 == 0 { [("sku_a", 1), ("sku_b", 2)] } else { [("sku_a", 2), ("sku_b", 1)] };
                match house.reserve(&id, &lines).await {
                    Ok(_) if i % 16 == 0 => drop(house.confirm(&id).await.unwrap()),
                    Ok(_) => drop(house.release(&id).await.unwrap()),
                    Err(code) => assert_eq!(code, "out_of_stock"),
                }
                if i % 10 == 0 {
                    house.adjust("sku_a", 1, "").await.unwrap();
                }
            });
        }
        // Whenever one looks, in the middle of it too, alerts are what the units say.
        while let Some(done) = buyers.join_next().await {
            done.unwrap();
            if buyers.len() % 30 == 0 {
                house.assert_books_balance().await;
            }
        }
        house.assert_books_balance().await;
        let mut expected = Vec::new();
        for sku in ["sku_a", "sku_b"] {
            let (on_hand, reserved) = house.stock(sku).await;
            if on_hand - reserved < 5 {
                expected.push((sku.to_owned(), on_hand - reserved));
            }
        }
        let mut alerts = house.alerts().await;
        alerts.sort();
        assert_eq!(alerts, expected, "{engine:?}");
    }
}

/// Places whose databases outlive a mall.
async fn places() -> Vec<(Storage, Option<tempfile::TempDir>, Option<Arc<PgServer>>)> {
    let folder = tempfile::TempDir::new().unwrap();
    let mut places = vec![(Storage::Folder(folder.path().to_owned()), Some(folder), None)];
    if let Some(server) = PgServer::shared() {
        let url = server.fresh_url().await;
        places.push((Storage::Postgres { url, pool_max: 4 }, None, Some(server)));
    }
    places
}

async fn started(spec: ServiceSpec, storage: &Storage, alert_below: u32) -> House {
    let config = config().set("inventory.alert_below", alert_below).set("inventory.sweep_interval_s", 3_600);
    let mall = mallard_testkit::start(Settings::new(vec![spec], config, storage.clone())).await;
    House::of(mall, None)
}

#[tokio::test]
async fn a_database_from_before_alerts_gets_those_that_are_due() {
    for (storage, _folder, _server) in places().await {
        let present = mallard_inventory::service();
        let first: Vec<_> = present.migrations.iter().copied().filter(|step| step.version == 100).collect();
        let before = ServiceSpec {
            migrations: Box::leak(first.into_boxed_slice()),
            start: |_| Box::pin(async { Ok(Parts::new(tonic::service::Routes::default())) }),
            ..present
        };
        let old = started(before, &storage, 5).await;
        let db = old.mall.context("inventory").unwrap().db();
        db.tx("test.before", |tx| async move {
            for (sku_id, on_hand, reserved) in [("sku_low", 4, 0), ("sku_held", 9, 5), ("sku_full", 9, 4)] {
                let row = params![sku_id, on_hand, reserved, on_hand, on_hand - reserved > 0];
                tx.execute("INSERT INTO stock VALUES (?, ?, ?, ?, 0, 0, 0, ?, 1)", row).await?;
                for at in [70, 60] {
                    let entry = params![sku_id, at];
                    tx.execute(
                        "INSERT INTO stock_ledger (sku_id, kind, delta, reason, reference, at) VALUES (?, 'received', 1, '', '', ?)",
                        entry,
                    )
                    .await?;
                }
            }
            Ok::<_, mallard_db::Error>(())
        })
        .await
        .unwrap();
        old.mall.stop().await;
        let house = started(mallard_inventory::service(), &storage, 5).await;
        assert_eq!(house.alerts().await, told(&[("sku_low", 4), ("sku_held", 4)]));
        assert_eq!(house.since("sku_low").await, Some(70), "since the last entry of its ledger");
        house.mall.stop().await;
    }
}

#[tokio::test]
async fn another_mark_holds_from_the_start() {
    for (storage, _folder, _server) in places().await {
        let house = started(mallard_inventory::service(), &storage, 5).await;
        house.receive(&[("sku_a", 2), ("sku_b", 7), ("sku_c", 70)]).await;
        let since = house.since("sku_a").await;
        house.mall.stop().await;
        let house = started(mallard_inventory::service(), &storage, 10).await;
        house.assert_books_balance().await;
        assert_eq!(house.alerts().await, told(&[("sku_b", 7), ("sku_a", 2)]));
        assert_eq!(house.since("sku_a").await, since, "an alert that goes on is as old as it was");
        house.mall.stop().await;
        let house = started(mallard_inventory::service(), &storage, 0).await;
        house.assert_books_balance().await;
        assert_eq!(house.alerts().await, []);
        house.reserve("ord_1", &[("sku_a", 2)]).await.unwrap();
        assert_eq!(house.alerts().await, [], "0 is no alerts");
        house.mall.stop().await;
    }
}

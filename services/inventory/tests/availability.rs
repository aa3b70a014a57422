//! `stock.availability.v1`: what a subscriber hears when SKUs sell out and come back.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use common::{ENGINES, Engine, House, house_with};
use futures_util::FutureExt;
use mallard_bus::{Envelope, Handler, Subscription};
use mallard_proto::events::STOCK_AVAILABILITY_V1;
use mallard_proto::inventory::v1::AvailabilityChanged;
use mallard_runtime::{Parts, ServiceSpec};
use mallard_testkit::eventually;
use parking_lot::Mutex;

/// What was heard, per SKU, with the id of the event. SKUs of different tests have different names.
static HEARD: Mutex<BTreeMap<String, Vec<(String, AvailabilityChanged)>>> = Mutex::new(BTreeMap::new());

struct Ear;

#[async_trait]
impl Handler for Ear {
    async fn after(&self, event: &Envelope) {
        let changed: AvailabilityChanged = event.decode().unwrap();
        assert_eq!(event.key, changed.sku_id);
        let mut heard = HEARD.lock();
        let of_sku = heard.entry(changed.sku_id.clone()).or_default();
        // An event may come twice; it is the same event then.
        if of_sku.iter().all(|(id, _)| *id != event.id) {
            of_sku.push((event.id.clone(), changed));
        }
    }
}

const KINDS: &[&str] = &[STOCK_AVAILABILITY_V1];

/// A service that only listens.
fn listener() -> ServiceSpec {
    let start = |_| {
        async {
            let mut parts = Parts::new(tonic::service::Routes::default());
            parts.subscriptions.push(Subscription::in_memory(KINDS, Arc::new(Ear)));
            Ok(parts)
        }
        .boxed()
    };
    ServiceSpec { name: "listener", migrations: &[], subscribes: KINDS, start }
}

fn heard(sku_id: &str) -> Vec<bool> {
    HEARD.lock().get(sku_id).map(|all| all.iter().map(|(_, changed)| changed.in_stock).collect()).unwrap_or_default()
}

async fn hears(sku_id: &str, expected: &[bool]) {
    eventually(&format!("{sku_id} is heard as {expected:?}"), || async { heard(sku_id) == expected }).await;
}

async fn house(engine: Engine) -> Option<House> {
    house_with(engine, vec![mallard_inventory::service(), listener()], |_| {}).await
}

#[tokio::test]
async fn a_sku_is_announced_when_it_sells_out_and_when_it_comes_back() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        let sku = format!("sku_flip_{engine:?}");
        house.receive(&[(&sku, 2)]).await;
        house.reserve("ord_1", &[(&sku, 1)]).await.unwrap();
        house.reserve("ord_2", &[(&sku, 1)]).await.unwrap();
        hears(&sku, &[false]).await;
        house.confirm("ord_1").await.unwrap();
        house.release("ord_2").await.unwrap();
        hears(&sku, &[false, true]).await;
        house.adjust(&sku, -1, "").await.unwrap();
        hears(&sku, &[false, true, false]).await;
        house.give_back("ord_1", "ref_1", &[(&sku, 1)]).await.unwrap();
        hears(&sku, &[false, true, false, true]).await;
        let all = HEARD.lock()[&sku].clone();
        assert!(all.windows(2).all(|pair| pair[0].1.version < pair[1].1.version), "{engine:?}: {all:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_on_a_sku_announces_its_end_and_the_last_state_is_true() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let Some(house) = house(engine).await else { continue };
        let house = Arc::new(house);
        let sku = format!("sku_run_{engine:?}");
        house.receive(&[(&sku, 50)]).await;
        let mut buyers = tokio::task::JoinSet::new();
        for i in 0..200 {
            let (house, sku) = (house.clone(), sku.clone());
            buyers.spawn(async move {
                let id = format!("ord_{i}");
                let held = house.reserve(&id, &[(&sku, 1)]).await.is_ok();
                if held && i % 4 == 0 {
                    house.release(&id).await.unwrap();
                }
            });
        }
        while let Some(done) = buyers.join_next().await {
            done.unwrap();
        }
        let (on_hand, reserved) = house.stock(&sku).await;
        let expected = on_hand > reserved;
        eventually("the last word is the truth", || async { heard(&sku).last().copied().unwrap_or(true) == expected })
            .await;
    }
}

#[tokio::test]
async fn the_sweep_finds_what_nobody_announced() {
    let specs = vec![mallard_inventory::service(), listener()];
    let config = common::config().set("inventory.sweep_interval_s", 1);
    let house = house_with(Engine::Memory, specs, |settings| settings.config = config).await.unwrap();
    house.receive(&[("sku_swept", 2)]).await;
    // A crash between the move and the look leaves exactly this: units gone, state not announced.
    let db = house.mall.context("inventory").unwrap().db();
    let moved = db.tx("test.crash", |tx| async move {
        tx.execute("UPDATE stock SET reserved = on_hand WHERE sku_id = 'sku_swept'", Vec::new()).await
    });
    assert_eq!(moved.await, Ok(1));
    hears("sku_swept", &[false]).await;
}

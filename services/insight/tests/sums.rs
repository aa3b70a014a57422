//! What is told becomes sums: once, whatever the order in which it is told, on every engine.

mod common;

use common::*;
use mallard_insight::SWITCH_FOLD_TWICE;
use mallard_proto::insight::v1::*;
use mallard_testkit::{as_guest, rest};

/// Three orders: one paid and given back in two parts over two days, one paid later than placed, one never paid.
fn tales() -> Vec<Happened> {
    let first =
        Tale::placed("ord_1", NOW - 3 * DAY, vec![line("tea", "sel_1", 2, 100), line("cup", "sel_2", 1, 300)], 60)
            .paid(NOW - 3 * DAY)
            .refunded(NOW - 2 * DAY, 56)
            .refunded(NOW - DAY, 504);
    let second =
        Tale::placed("ord_2", NOW - 2 * DAY, vec![line("tea", "sel_1", 5, 90), line("tea", "sel_1", 1, 80)], 0)
            .paid(NOW - DAY);
    let third = Tale::placed("ord_3", NOW, vec![line("pot", "", 9, 1)], 0);
    [first.told, second.told, third.told].concat()
}

async fn assert_sums(desk: &Desk) {
    let row = |date: &str, orders, units, revenue, refunded| (date.to_owned(), orders, units, revenue, refunded);
    assert_eq!(
        desk.busy_days("").await,
        [row("2026-11-18", 1, 3, 560, 0), row("2026-11-19", 0, 0, 0, 56), row("2026-11-20", 1, 6, 530, 504)]
    );
    // Each seller's is its lines; goodwill is everybody's, and at the end exactly what the lines cost.
    assert_eq!(
        desk.busy_days("sel_1").await,
        [row("2026-11-18", 1, 2, 200, 0), row("2026-11-19", 0, 0, 0, 20), row("2026-11-20", 1, 6, 530, 180)]
    );
    assert_eq!(
        desk.busy_days("sel_2").await,
        [row("2026-11-18", 1, 1, 300, 0), row("2026-11-19", 0, 0, 0, 30), row("2026-11-20", 0, 0, 0, 270)]
    );
    assert_eq!(desk.busy_days("sel_3").await, []);
    let top = |id: &str, units, revenue| (id.to_owned(), format!("The {id}"), units, revenue);
    assert_eq!(desk.top(ListTopProductsRequest::default()).await, [top("tea", 8, 730), top("cup", 1, 300)]);
    let of_second = ListTopProductsRequest { seller: "sel_2".into(), ..Default::default() };
    assert_eq!(desk.top(of_second).await, [top("cup", 1, 300)]);
    let funnel = desk.funnel().await;
    assert_eq!((funnel.placed, funnel.paid), (3, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_becomes_sums_on_every_engine() {
    for engine in ENGINES {
        let Some(desk) = desk(engine).await else { continue };
        desk.tell(&tales()).await;
        desk.folded().await;
        assert_sums(&desk).await;
        // The same events again, and the same facts under other ids: nothing changes.
        desk.tell(&tales()).await;
        let again: Vec<Happened> =
            tales().into_iter().map(|told| Happened { id: format!("{}_again", told.id), ..told }).collect();
        desk.tell(&again).await;
        desk.folded().await;
        assert_sums(&desk).await;
        desk.mall.stop().await;
    }
}

/// Tells seven events in six orders: every step is a permutation, because seven is prime.
#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_events_does_not_matter() {
    for step in 1..=6 {
        for engine in [Engine::Memory, Engine::Postgres] {
            let Some(desk) = desk_with(engine, |settings| {
                settings.config = config().set("insight.fold_rows_max", 2);
            })
            .await
            else {
                continue;
            };
            let tales = tales();
            assert_eq!(tales.len(), 7);
            for i in 0..tales.len() {
                let told = &tales[(i * step + step) % tales.len()];
                desk.tell(std::slice::from_ref(told)).await;
                if i % 2 == 0 {
                    desk.folded().await;
                }
            }
            desk.folded().await;
            assert_sums(&desk).await;
            desk.mall.stop().await;
        }
    }
}

/// Two instances on one database fold the same facts at the same moments.
#[tokio::test(flavor = "multi_thread")]
async fn two_instances_fold_every_fact_once() {
    let Some(desk) = desk(Engine::Postgres).await else { return };
    let second = start(&desk.storage, |_| {}).await;
    let tales: Vec<Happened> = (0..200)
        .flat_map(|i| {
            let lines = vec![line("tea", "sel_1", 1, 100), line("cup", "sel_2", 2, 10)];
            Tale::placed(&format!("ord_{i:03}"), NOW, lines, 5).paid(NOW).refunded(NOW, 25).told
        })
        .collect();
    let (here, there) = tales.split_at(tales.len() / 2 / 3 * 3);
    let there_at = second.channel("insight");
    tokio::join!(
        async {
            for page in here.chunks(30) {
                desk.tell(page).await;
            }
        },
        async {
            for page in there.chunks(30) {
                tell(&there_at, page).await;
            }
        }
    );
    desk.folded().await;
    assert_eq!(desk.busy_days("").await, [("2026-11-21".to_owned(), 200, 600, 25_000, 5_000)]);
    let (tea, cup) =
        (("tea".to_owned(), "The tea".to_owned(), 200, 20_000), ("cup".to_owned(), "The cup".to_owned(), 400, 4_000));
    assert_eq!(desk.top(ListTopProductsRequest::default()).await, [cup, tea]);
    second.stop().await;
    desk.mall.stop().await;
}

/// A process that died between taking and folding: the next one folds what it left.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_is_folded_after_a_restart() {
    let mut desk = desk(Engine::Sqlite).await.unwrap();
    let (insight, db) = (desk.mall.channel("insight"), desk.mall.context("insight").unwrap().db());
    // Nobody folds any more when the events come.
    rest(&mut desk.mall).await;
    tell(&insight, &tales()).await;
    let open = "SELECT seq FROM facts WHERE folded = 0";
    let left = db.query(open, Vec::new()).await.unwrap().len();
    assert_eq!(left, tales().len(), "nothing was folded before the restart");
    drop((insight, db));
    let desk = desk.again().await;
    desk.folded().await;
    assert_sums(&desk).await;
    desk.mall.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_event_is_parked_and_holds_up_no_other_order() {
    let desk = desk(Engine::Memory).await.unwrap();
    let mut broken = Tale::placed("ord_broken", NOW, vec![line("tea", "sel_1", 1, 1)], 0).paid(NOW).told;
    broken[1].order.total = None;
    let fine = Tale::placed("ord_fine", NOW, vec![line("tea", "sel_1", 1, 100)], 0).paid(NOW).told;
    let all = [broken, fine].concat();
    // It is taken once it is parked.
    desk.tell(&all).await;
    desk.folded().await;
    assert_eq!(desk.busy_days("").await, [("2026-11-21".to_owned(), 1, 1, 100, 0)]);
    desk.mall.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn best_sellers_are_those_of_thirty_days_and_remembered_for_a_while() {
    for trust_ms in [0, 3_600_000] {
        let desk = desk_with(Engine::Memory, |settings| {
            settings.config = config().set("insight.best_sellers_trust_ms", trust_ms);
        })
        .await
        .unwrap();
        let sold = |id: &str, product: &str, units: i64, at: i64| {
            Tale::placed(id, at, vec![line(product, "", units, 1)], 0).paid(at).told
        };
        desk.tell(&sold("ord_1", "old", 100, NOW - 30 * DAY)).await;
        desk.tell(&sold("ord_2", "tea", 2, NOW - 29 * DAY)).await;
        desk.tell(&sold("ord_3", "cup", 3, NOW)).await;
        desk.folded().await;
        let best = async |limit: i32| {
            let request = ListBestSellersRequest { limit };
            as_guest(desk.client.clone().list_best_sellers(request)).await.unwrap().into_inner().product_ids
        };
        assert_eq!(best(0).await, ["cup", "tea"]);
        assert_eq!(best(1).await, ["cup"]);
        desk.tell(&sold("ord_4", "tea", 2, NOW)).await;
        desk.folded().await;
        assert_eq!(best(1).await, [if trust_ms == 0 { "tea" } else { "cup" }]);
        desk.mall.stop().await;
    }
}

/// What an order costs here: events that come together share the statement for their inbox rows and the one for their facts,
/// and all facts together are folded by a handful.
#[tokio::test(start_paused = true)]
async fn many_orders_are_folded_by_few_statements() {
    let mut desk = desk(Engine::Memory).await.unwrap();
    let (insight, db) = (desk.mall.channel("insight"), desk.mall.context("insight").unwrap().db());
    rest(&mut desk.mall).await;
    let tales: Vec<Happened> = (0..100)
        .flat_map(|i| Tale::placed(&format!("ord_{i:03}"), NOW, vec![line("tea", "sel_1", 1, 100)], 0).paid(NOW).told)
        .collect();
    let before = db.statements();
    assert_eq!(deliver(&insight, &tales).await, tales.len());
    // Inbox and facts, each in rows of 64.
    assert_eq!(db.statements() - before, 2 * 4);
    // The clock is paused: what the start, this test and the loops cost is the same on every machine.
    let mall =
        start(&desk.storage, |settings| settings.config = config().set("insight.fold_interval_ms", 3_600_000)).await;
    folded(&mall).await;
    // Read, mark, and one for each of the four sums; the rest is this test's own and the start's.
    let cost = mall.statements();
    assert!(cost <= 40, "{cost} statements for 200 facts");
    mall.stop().await;
}

/// Without the planted bug the same is right, as all the other tests show.
#[tokio::test(flavor = "multi_thread")]
async fn the_planted_bug_counts_twice() {
    let desk = desk_with(Engine::Memory, |settings| {
        settings.switches.insert(SWITCH_FOLD_TWICE.into());
    })
    .await
    .unwrap();
    desk.tell(&Tale::placed("ord_1", NOW, vec![line("tea", "", 1, 100)], 0).paid(NOW).told).await;
    desk.folded().await;
    assert_eq!(desk.busy_days("").await, [("2026-11-21".to_owned(), 2, 2, 200, 0)]);
    desk.mall.stop().await;
}

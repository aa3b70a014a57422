//! The door on a paused clock: who is let in, who waits, who is told to come back, and what becomes of a mall that is offered
//! three times what it can do.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use mallard_gateway_core::concurrency::{Door, Knock, Place, Settings, Shed};
use mallard_gateway_core::gradient::{self, Gradient, Usual};
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const PAY: usize = 0;
const ORDER: usize = 1;
const CART: usize = 2;
const BROWSE: usize = 3;
const ASSISTANT: usize = 4;

fn knock(rank: usize, service: usize, crowd: &(dyn Fn() -> u32 + Sync)) -> Knock<'_> {
    Knock { rank, service, lane: Some(rank), deadline: Instant::now() + Duration::from_secs(15), crowd }
}

/// Knocks from the middle of the crowd.
async fn enter(door: &Arc<Door>, rank: usize, service: usize) -> Result<Place, Shed> {
    door.enter(&knock(rank, service, &|| 5_000)).await
}

fn limited_to(limit: usize) -> Settings {
    let mut settings = Settings { one_service_percent: 100, waiting_max: 0, ..Settings::default() };
    settings.gradient =
        gradient::Settings { limit_initial: limit, limit_min: 1, limit_max: limit, ..settings.gradient };
    settings
}

/// Fills the mall with a tier and counts how many get in.
async fn fill(door: &Arc<Door>, rank: usize) -> Vec<Place> {
    let mut places = Vec::new();
    while let Ok(place) = enter(door, rank, 0).await {
        places.push(place);
        assert!(places.len() <= 10_000, "it is never full");
    }
    places
}

#[tokio::test(start_paused = true)]
async fn the_less_it_matters_the_earlier_it_is_shed() {
    let mut reached = Vec::new();
    for rank in [ASSISTANT, BROWSE, CART, ORDER, PAY] {
        let door = Door::new(limited_to(100), 1, 5);
        reached.push(fill(&door, rank).await.len());
    }
    assert!(reached.is_sorted() && reached.windows(2).all(|pair| pair[0] < pair[1]), "{reached:?}");
    assert!(*reached.last().unwrap() <= 100);

    // What a lower tier has filled, every higher one still finds room in.
    let door = Door::new(limited_to(100), 1, 5);
    let mut kept = Vec::new();
    for rank in [ASSISTANT, BROWSE, CART, ORDER, PAY] {
        let places = fill(&door, rank).await;
        assert!(!places.is_empty(), "tier {rank} finds no room behind the lower ones");
        kept.push(places);
    }
    assert!(door.in_flight() <= 100);
    for rank in 0..5 {
        assert_eq!(enter(&door, rank, 0).await.err().map(|shed| shed.reason), Some("concurrency"), "tier {rank}");
    }
    drop(kept);
    assert_eq!(door.in_flight(), 0);
    assert!(enter(&door, ASSISTANT, 0).await.is_ok(), "places come back");
}

#[tokio::test(start_paused = true)]
async fn within_a_tier_the_same_clients_are_served() {
    let door = Door::new(limited_to(1_000), 1, 5);
    let mut kept = Vec::new();
    // Halfway into what carts share among themselves.
    while door.in_flight() < 775 {
        kept.push(enter(&door, PAY, 0).await.unwrap());
    }
    for _ in 0..3 {
        for place in [0, 1_000, 4_000, 6_000, 9_999] {
            let served = door.enter(&knock(CART, 0, &|| place)).await.is_ok();
            assert_eq!(served, place < 5_000, "the client at {place}");
        }
    }
    let asked = Mutex::new(0);
    kept.truncate(100);
    let crowd = || {
        *asked.lock() += 1;
        0
    };
    door.enter(&knock(CART, 0, &crowd)).await.unwrap();
    assert_eq!(*asked.lock(), 0, "nobody asks who is who while there is room");
}

#[tokio::test(start_paused = true)]
async fn what_matters_most_may_wait_a_moment() {
    let wait_max = Duration::from_millis(50);
    let door = Door::new(Settings { waiting_max: 2, wait_max, burst_waiting_max: 0, ..limited_to(1) }, 1, 5);
    let first = enter(&door, PAY, 0).await.unwrap();
    let begun = Instant::now();
    assert_eq!(enter(&door, PAY, 0).await.err().unwrap().reason, "queue_age");
    assert_eq!(begun.elapsed(), wait_max);
    assert_eq!(enter(&door, CART, 0).await.err().unwrap().reason, "concurrency", "a cart does not wait");

    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let door = Arc::clone(&door);
            tokio::spawn(async move { enter(&door, PAY, 0).await })
        })
        .collect();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(enter(&door, PAY, 0).await.err().unwrap().reason, "queue_full");
    drop(first);
    let mut outcomes: Vec<_> = join_all(waiting).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "one place came free");
    outcomes.clear();
    assert_eq!(door.in_flight(), 0);

    // Who gives up waiting leaves nothing behind.
    let _first = enter(&door, PAY, 0).await.unwrap();
    for _ in 0..10 {
        assert!(timeout(Duration::from_millis(1), enter(&door, PAY, 0)).await.is_err(), "it waits");
    }
    assert_eq!(enter(&door, PAY, 0).await.err().unwrap().reason, "queue_age", "not queue_full");
}

/// Fills the share of a tier with those in front and puts two more of it into the queue, which is full then.
async fn crowd_out(door: &Arc<Door>, rank: usize, share: usize) -> (Vec<Place>, Vec<JoinHandle<Result<Place, Shed>>>) {
    let mut places = Vec::new();
    for _ in 0..share {
        places.push(door.enter(&knock(rank, 0, &|| 0)).await.unwrap());
    }
    let waiting = (0..2).map(|_| {
        let door = Arc::clone(door);
        tokio::spawn(async move { door.enter(&knock(rank, 0, &|| 0)).await })
    });
    let waiting = waiting.collect();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(enter(door, rank, 0).await.err().unwrap().reason, "queue_full");
    (places, waiting)
}

#[tokio::test(start_paused = true)]
async fn a_payment_does_not_wait_behind_orders() {
    let door = Door::new(Settings { waiting_max: 2, burst_waiting_max: 0, ..limited_to(40) }, 1, 5);
    let (mut orders, waiting) = crowd_out(&door, ORDER, 38).await;
    let front = knock(PAY, 0, &|| 0);
    let pays = [door.enter(&front).await.unwrap(), door.enter(&front).await.unwrap()];
    assert_eq!(door.in_flight(), 40, "what is left is theirs");

    // It is full now, and the queue of the orders too; that of the payments is not.
    let pay = tokio::spawn({
        let door = Arc::clone(&door);
        async move { door.enter(&knock(PAY, 0, &|| 0)).await }
    });
    sleep(Duration::from_millis(1)).await;
    assert!(!pay.is_finished(), "it waits");
    drop(orders.pop());
    let pay = pay.await.unwrap().expect("the first place that comes free is the payment's");
    let outcomes = join_all(waiting).await.into_iter().map(|outcome| outcome.unwrap().err().unwrap().reason);
    assert_eq!(outcomes.collect::<Vec<_>>(), ["queue_age"; 2]);
    drop((orders, pays, pay));
}

#[tokio::test(start_paused = true)]
async fn a_cart_does_not_wait_behind_those_who_look_around() {
    let door = Door::new(Settings { waiting_max: 2, burst_waiting_max: 2, ..limited_to(100) }, 1, 5);
    let (_looking, _waiting) = crowd_out(&door, BROWSE, 70).await;
    assert!(timeout(Duration::ZERO, enter(&door, CART, 0)).await.expect("at once").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_burst_may_wait_and_a_standing_queue_may_not() {
    let door = Door::new(Settings { waiting_max: 2, burst_waiting_max: 300, ..limited_to(10) }, 1, 5);
    let serve = |rank: usize| {
        let door = Arc::clone(&door);
        tokio::spawn(async move {
            let place = enter(&door, rank, 0).await.ok()?;
            sleep(Duration::from_millis(10)).await;
            drop(place);
            Some(())
        })
    };
    // All at once, of every tier but the last: each is served, one after the other.
    let burst: Vec<_> = (0..200).map(|at| serve([PAY, ORDER, CART, BROWSE][at % 4])).collect();
    let served = join_all(burst).await.into_iter().filter(|outcome| matches!(outcome, Ok(Some(())))).count();
    assert_eq!(served, 200);
    assert_eq!(enter(&door, ASSISTANT, 0).await.map(drop), Ok(()), "it is empty again");

    // Twice as much as can be done, for long: the queue stays short, and who is refused is told at once.
    let mut arrivals = Vec::new();
    for _ in 0..1_000 {
        sleep(Duration::from_millis(1)).await;
        arrivals.extend([serve(PAY), serve(PAY)]);
    }
    let begun = Instant::now();
    let served = join_all(arrivals).await.into_iter().filter(|outcome| matches!(outcome, Ok(Some(())))).count();
    assert!(begun.elapsed() <= Duration::from_millis(50), "nobody still waits: {:?}", begun.elapsed());
    // Whom the burst's beginning let wait comes on top of what can be done meanwhile.
    assert!((900..=1_400).contains(&served), "{served}");
    assert_eq!(door.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_leaves_room_for_the_others() {
    let door = Door::new(Settings { one_service_percent: 45, ..limited_to(100) }, 3, 5);
    let hanging = fill(&door, PAY).await;
    assert!(hanging.len() >= 95, "alone it may have it all: {}", hanging.len());
    for rank in [ORDER, CART, BROWSE] {
        assert!(enter(&door, rank, 1).await.is_ok(), "tier {rank} of another service");
    }
    let mut others = Vec::new();
    while let Ok(place) = enter(&door, BROWSE, 1).await {
        others.push(place);
    }
    assert!((5..60).contains(&others.len()), "{}", others.len());
    assert!(enter(&door, BROWSE, 2).await.is_err(), "for browsing it is full now");
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_takes_nobodys_place_and_needs_one_again() {
    let door = Door::new(limited_to(1), 1, 5);
    let mut slow = enter(&door, PAY, 0).await.unwrap();
    let body = tokio::spawn(async move {
        let outcome = slow.aside(&knock(PAY, 0, &|| 5_000), sleep(Duration::from_secs(5))).await;
        outcome.map(|()| slow)
    });
    sleep(Duration::from_secs(1)).await;
    let other = enter(&door, PAY, 0).await.unwrap();
    drop(other);
    let slow = body.await.unwrap().unwrap();
    assert_eq!(door.in_flight(), 1);
    assert!(enter(&door, PAY, 0).await.is_err());
    drop(slow);
    assert_eq!(door.in_flight(), 0);

    // A body that is there is read without a step aside.
    let mut quick = enter(&door, PAY, 0).await.unwrap();
    assert_eq!(quick.aside(&knock(PAY, 0, &|| 5_000), async { 7 }).await, Ok(7));
    assert_eq!(door.in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn bodies_that_come_late_do_not_lead_past_the_limit() {
    let door = Door::new(limited_to(8), 1, 5);
    let slow = (0..200).map(|_| {
        let door = Arc::clone(&door);
        async move {
            let mut place = enter(&door, PAY, 0).await.ok()?;
            place.aside(&knock(PAY, 0, &|| 5_000), sleep(Duration::from_secs(1))).await.ok()?;
            Some(place)
        }
    });
    let served: Vec<Place> = join_all(slow).await.into_iter().flatten().collect();
    assert_eq!(served.len(), 8);
    assert_eq!(door.in_flight(), 8);
    assert_eq!(door.protection()[PAY].shed, 192);
    drop(served);
    assert_eq!(door.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn bodies_on_their_way_are_bounded_too() {
    let door = Door::new(Settings { requests_max: 2, ..limited_to(100) }, 1, 5);
    let places = [enter(&door, PAY, 0).await.unwrap(), enter(&door, PAY, 0).await.unwrap()];
    let shed = enter(&door, PAY, 0).await.err().unwrap();
    assert_eq!(shed.reason, "requests_max");
    assert!((1..=3).contains(&shed.retry_after_s));
    drop(places);
    assert!(enter(&door, PAY, 0).await.is_ok());
}

/// A mall with so many hands, each done after so long.
struct Mall {
    door: Arc<Door>,
    hands: Semaphore,
    takes: Duration,
    served: Mutex<Vec<(usize, Duration, Instant)>>,
    shed: Mutex<Vec<(usize, Duration, Instant)>>,
}

impl Mall {
    fn new(settings: Settings, hands: usize, takes: Duration) -> Arc<Mall> {
        let door = Door::new(settings, 2, 5);
        let hands = Semaphore::new(hands);
        Arc::new(Mall { door, hands, takes, served: Mutex::default(), shed: Mutex::default() })
    }

    async fn serve(self: Arc<Self>, rank: usize, client: u32) -> bool {
        let begun = Instant::now();
        let place = match self.door.enter(&knock(rank, usize::from(rank > 1), &|| client)).await {
            Ok(place) => place,
            Err(_) => {
                self.shed.lock().push((rank, begun.elapsed(), begun));
                return false;
            }
        };
        let hand = self.hands.acquire().await.unwrap();
        sleep(self.takes).await;
        drop(hand);
        place.answered(StatusCode::OK);
        self.served.lock().push((rank, begun.elapsed(), Instant::now()));
        true
    }

    fn p99(&self, rank: usize, since: Instant) -> Duration {
        let served = self.served.lock();
        let mut times: Vec<_> = served.iter().filter(|one| one.0 == rank && one.2 > since).map(|one| one.1).collect();
        times.sort();
        times[times.len() * 99 / 100]
    }
}

#[tokio::test(start_paused = true)]
async fn a_mall_at_rest_sheds_nobody() {
    // 2,000 a second, as fast as its hands are: 64, then 192 clients who never pause make it wait, but lose nobody.
    for clients in [64, 192] {
        let mall = Mall::new(Settings::default(), 40, Duration::from_millis(20));
        let work = (0..clients).map(|client| {
            let mall = Arc::clone(&mall);
            tokio::spawn(async move {
                for round in 0..200 {
                    let rank = [CART, PAY, BROWSE][round % 3];
                    assert!(Arc::clone(&mall).serve(rank, client * 10_000 / clients).await, "a client was shed");
                }
            })
        });
        join_all(work).await.into_iter().for_each(|outcome| outcome.unwrap());
        assert!(mall.shed.lock().is_empty());
        assert!(mall.door.limit() >= 512, "the limit fell to {}", mall.door.limit());
    }
}

#[tokio::test(start_paused = true)]
async fn three_times_too_much_is_shed_so_that_the_rest_is_served_in_time() {
    // 40 hands of 20 ms: 2,000 a second. Offered 6,000: each buyer fills a cart and pays when that went well.
    let mall = Mall::new(Settings::default(), 40, Duration::from_millis(20));
    let begun = Instant::now();
    let mut buyers = Vec::new();
    for buyer in 0..48_000u32 {
        if buyer % 6 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        let mall = Arc::clone(&mall);
        buyers.push(tokio::spawn(async move {
            // The same ones come back again and again.
            let place = buyer * 7_919 % 10_000;
            Arc::clone(&mall).serve(CART, place).await && mall.serve(PAY, place).await
        }));
    }
    let offered_for = begun.elapsed();
    join_all(buyers).await;
    let settled = begun + offered_for / 4;
    let until = begun + offered_for;
    let paid = mall.served.lock().iter().filter(|one| one.0 == PAY && one.2 > settled && one.2 <= until).count();
    // Two pieces of work for each that pays.
    let peak = 1_000.0 * (until - settled).as_secs_f64();
    let goodput = paid as f64 / peak;
    let p99 = mall.p99(PAY, settled);
    assert!(goodput >= 0.85, "{goodput:.3} of the peak");
    assert!(p99 < Duration::from_millis(500), "{p99:?}");
    let shed = mall.shed.lock();
    let payers = shed.iter().filter(|one| one.0 == PAY).count();
    assert!(payers * 100 < shed.len(), "{payers} of {} were shed on the last step", shed.len());
    let late = shed.iter().filter(|one| one.2 > settled && one.1 > Duration::from_millis(51)).count();
    assert_eq!(late, 0, "they are told at once");
}

#[tokio::test(start_paused = true)]
async fn clients_that_keep_coming_are_served_in_time_or_told_at_once() {
    // 512 connections offer 3,000 purchases a second to a mall that can do 1,000, each on its own timetable: who falls behind
    // is late for the next purchase as well.
    let mall = Mall::new(Settings::default(), 40, Duration::from_millis(20));
    let (begun, gap) = (Instant::now(), Duration::from_secs(512) / 3_000);
    let settled = begun + Duration::from_secs(3);
    let end = begun + Duration::from_secs(9);
    let clients = (0..512u32).map(|client| {
        let mall = Arc::clone(&mall);
        tokio::spawn(async move {
            let place = client * 7_919 % 10_000;
            let mut due = begun + gap * client / 512;
            let mut waits = Vec::new();
            while due < end {
                tokio::time::sleep_until(due).await;
                let paid = Arc::clone(&mall).serve(CART, place).await && Arc::clone(&mall).serve(PAY, place).await;
                if paid && due >= settled {
                    waits.push(due.elapsed());
                }
                due += gap;
            }
            waits
        })
    });
    let mut waits: Vec<_> = join_all(clients).await.into_iter().flat_map(Result::unwrap).collect();
    waits.sort();
    let goodput = waits.len() as f64 / 1_000.0 / (end - settled).as_secs_f64();
    let p99 = waits[waits.len() * 99 / 100];
    assert!(goodput >= 0.85, "{goodput:.3} of the peak");
    assert!(p99 < Duration::from_millis(500), "{p99:?}");
}

#[tokio::test(start_paused = true)]
async fn refusals_and_slow_reports_do_not_move_the_limit() {
    let settings = Settings::default();
    let door = Door::new(settings.clone(), 1, 5);
    let full: Vec<_> = join_all((0..400).map(|_| enter(&door, PAY, 0))).await.into_iter().flatten().collect();
    assert!(full.len() >= 400 - 1);
    for _ in 0..50 {
        sleep(Duration::from_secs(1)).await;
        for status in [StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE] {
            enter(&door, PAY, 0).await.unwrap().answered(status);
        }
        // A report: it has no lane.
        let report = Knock { lane: None, ..knock(PAY, 0, &|| 0) };
        let place = door.enter(&report).await.unwrap();
        sleep(Duration::from_secs(60)).await;
        place.answered(StatusCode::OK);
    }
    assert_eq!(door.limit(), settings.gradient.limit_initial);
    // What the mall really does, does.
    drop(full);
    for _ in 0..20 {
        let places = join_all((0..400).map(|_| enter(&door, PAY, 0))).await;
        sleep(Duration::from_secs(3)).await;
        places.into_iter().flatten().for_each(|place| place.answered(StatusCode::OK));
        let places = join_all((0..100).map(|_| enter(&door, PAY, 0))).await;
        places.into_iter().flatten().for_each(|place| place.answered(StatusCode::OK));
    }
    assert_ne!(door.limit(), settings.gradient.limit_initial);
}

fn settings() -> impl Strategy<Value = gradient::Settings> {
    (1usize..100, 0usize..400, 0usize..400, 1.0f64..3.0, 0.05f64..1.0).prop_map(
        |(min, more, most, tolerance, smoothing)| gradient::Settings {
            limit_min: min,
            limit_initial: min + more,
            limit_max: min + more + most,
            tolerance,
            smoothing,
            ..gradient::Settings::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_limit_keeps_to_its_bounds(
        settings in settings(),
        windows in prop::collection::vec((0.0f64..100.0, 0usize..2_000), 0..200),
    ) {
        let mut gradient = Gradient::new(&settings);
        for (ratio, in_flight) in windows {
            gradient.update(ratio, in_flight, &settings);
            prop_assert!((settings.limit_min..=settings.limit_max).contains(&gradient.limit()));
        }
    }

    #[test]
    fn good_latencies_never_shrink_it_and_an_empty_mall_does_not_move_it(
        settings in settings(),
        windows in prop::collection::vec((0.0f64..1.0, 0.0f64..2.0), 1..200),
    ) {
        let mut gradient = Gradient::new(&settings);
        for (part, fill) in windows {
            let before = gradient.limit();
            let in_flight = (before as f64 * fill) as usize;
            gradient.update(part * settings.tolerance, in_flight, &settings);
            prop_assert!(gradient.limit() >= before);
            if in_flight * 2 < before {
                prop_assert_eq!(gradient.limit(), before);
            }
        }
    }

    #[test]
    fn bad_latencies_shrink_it_to_its_least_and_good_ones_bring_it_back(settings in settings()) {
        // With a limit of a few the growth of a few is more than what it loses.
        prop_assume!(settings.limit_initial > 20);
        let mut gradient = Gradient::new(&settings);
        for _ in 0..500 {
            gradient.update(settings.tolerance * 4.0, usize::MAX, &settings);
        }
        prop_assert!(gradient.limit() <= settings.limit_min.max(9), "{}", gradient.limit());
        for _ in 0..20_000 {
            gradient.update(1.0, usize::MAX, &settings);
        }
        prop_assert_eq!(gradient.limit(), settings.limit_max);
    }

    #[test]
    fn a_latency_below_the_floor_is_good(latencies in prop::collection::vec(0.0f64..0.035, 1..100)) {
        let (settings, mut usual) = (gradient::Settings::default(), Usual::default());
        for latency in latencies {
            prop_assert!(usual.compare(latency, Duration::from_millis(100), &settings) <= 1.0);
        }
    }

    #[test]
    fn what_has_been_slow_for_long_is_usual(latency_ms in 100u64..5_000) {
        let (settings, mut usual) = (gradient::Settings::default(), Usual::default());
        usual.compare(0.01, settings.window, &settings);
        let slow = latency_ms as f64 / 1_000.0;
        prop_assert!(usual.compare(slow, settings.window, &settings) > settings.tolerance);
        for _ in 0..60_000 {
            usual.compare(slow, settings.window, &settings);
        }
        prop_assert!(usual.compare(slow, settings.window, &settings) < 1.1);
        // And what gets well is believed sooner.
        for _ in 0..100 {
            usual.compare(slow / 10.0, settings.window, &settings);
        }
        prop_assert!(usual.compare(slow, settings.window, &settings) > settings.tolerance);
    }
}

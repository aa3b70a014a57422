//! Random sequences against a naive model of the books: every answer and every balance must agree.

mod common;

use std::collections::BTreeMap;

use common::{Engine, House, Told, house};
use mallard_proto::inventory::v1::ReservationState::{self, Confirmed, Held, Released};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const SKUS: [&str; 3] = ["sku_a", "sku_b", "sku_c"];
const FIRST_UNITS: i64 = 12;

#[derive(Clone, Debug)]
enum Step {
    Reserve { order: u8, lines: Vec<(usize, i64)> },
    Confirm { order: u8 },
    Release { order: u8 },
    Return { order: u8, return_id: u8, sku: usize, quantity: i64 },
    Adjust { sku: usize, delta: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let order = 0..6u8;
    let lines = prop::collection::vec((0..SKUS.len(), 1..6i64), 1..4);
    prop_oneof![
        4 => (order.clone(), lines).prop_map(|(order, lines)| Step::Reserve { order, lines }),
        3 => order.clone().prop_map(|order| Step::Confirm { order }),
        2 => order.clone().prop_map(|order| Step::Release { order }),
        2 => (order, 0..4u8, 0..SKUS.len(), 1..4i64)
            .prop_map(|(order, return_id, sku, quantity)| Step::Return { order, return_id, sku, quantity }),
        1 => (0..SKUS.len(), -4..8i64).prop_map(|(sku, delta)| Step::Adjust { sku, delta }),
    ]
}

/// The books as one would keep them on paper.
#[derive(Default)]
struct Paper {
    on_hand: BTreeMap<usize, i64>,
    orders: BTreeMap<u8, (ReservationState, BTreeMap<usize, i64>)>,
    returns: BTreeMap<u8, (u8, usize, i64)>,
}

impl Paper {
    fn new() -> Paper {
        Paper { on_hand: (0..SKUS.len()).map(|sku| (sku, FIRST_UNITS)).collect(), ..Paper::default() }
    }

    fn reserved(&self, sku: usize) -> i64 {
        self.orders.values().filter(|(state, _)| *state == Held).filter_map(|(_, lines)| lines.get(&sku)).sum()
    }

    fn reserve(&mut self, order: u8, lines: &[(usize, i64)]) -> Told {
        match self.orders.get(&order) {
            Some((Released, _)) => return Err("reservation_released".into()),
            Some((state, _)) => return Ok(*state),
            None => {}
        }
        let mut wanted = BTreeMap::new();
        for (sku, quantity) in lines {
            *wanted.entry(*sku).or_insert(0) += quantity;
        }
        if wanted.iter().any(|(sku, quantity)| self.on_hand[sku] - self.reserved(*sku) < *quantity) {
            return Err("out_of_stock".into());
        }
        self.orders.insert(order, (Held, wanted));
        Ok(Held)
    }

    fn confirm(&mut self, order: u8) -> Told {
        match self.orders.get_mut(&order) {
            None => Err("reservation_unknown".into()),
            Some((Released, _)) => Err("reservation_released".into()),
            Some((Confirmed, _)) => Ok(Confirmed),
            Some((state, lines)) => {
                *state = Confirmed;
                for (sku, quantity) in lines {
                    *self.on_hand.get_mut(sku).unwrap() -= *quantity;
                }
                Ok(Confirmed)
            }
        }
    }

    fn release(&mut self, order: u8) -> Told {
        let (state, _) = self.orders.entry(order).or_insert((Released, BTreeMap::new()));
        if *state == Confirmed {
            return Err("reservation_confirmed".into());
        }
        *state = Released;
        Ok(Released)
    }

    fn give_back(&mut self, order: u8, return_id: u8, sku: usize, quantity: i64) -> Result<bool, String> {
        if self.returns.contains_key(&return_id) {
            return Ok(false);
        }
        let Some((Confirmed, lines)) = self.orders.get(&order) else { return Err("reservation_unknown".into()) };
        let sold = lines.get(&sku).copied().unwrap_or(0);
        let back: i64 =
            self.returns.values().filter(|(of, what, _)| *of == order && *what == sku).map(|(_, _, q)| q).sum();
        if quantity > sold - back {
            return Err("return_exceeds_sold".into());
        }
        self.returns.insert(return_id, (order, sku, quantity));
        *self.on_hand.get_mut(&sku).unwrap() += quantity;
        Ok(true)
    }

    fn adjust(&mut self, sku: usize, delta: i64) -> Result<i64, String> {
        if delta == 0 {
            return Err("delta_out_of_range".into());
        }
        if self.on_hand[&sku] + delta < self.reserved(sku) {
            return Err("below_reserved".into());
        }
        *self.on_hand.get_mut(&sku).unwrap() += delta;
        Ok(self.on_hand[&sku])
    }
}

async fn run(house: &House, steps: &[Step]) {
    let mut paper = Paper::new();
    house.receive(&SKUS.map(|sku| (sku, FIRST_UNITS))).await;
    for (i, step) in steps.iter().enumerate() {
        match step {
            Step::Reserve { order, lines } => {
                let skus: Vec<(&str, i64)> = lines.iter().map(|(sku, quantity)| (SKUS[*sku], *quantity)).collect();
                let told = house.reserve(&format!("ord_{order}"), &skus).await;
                assert_eq!(told, paper.reserve(*order, lines), "step {i} of {steps:?}");
            }
            Step::Confirm { order } => {
                assert_eq!(
                    house.confirm(&format!("ord_{order}")).await,
                    paper.confirm(*order),
                    "step {i} of {steps:?}"
                );
            }
            Step::Release { order } => {
                assert_eq!(
                    house.release(&format!("ord_{order}")).await,
                    paper.release(*order),
                    "step {i} of {steps:?}"
                );
            }
            Step::Return { order, return_id, sku, quantity } => {
                let skus = [(SKUS[*sku], *quantity)];
                let told = house.give_back(&format!("ord_{order}"), &format!("ref_{return_id}"), &skus).await;
                let told = told.map_err(|error| error.code.into_owned());
                assert_eq!(told, paper.give_back(*order, *return_id, *sku, *quantity), "step {i} of {steps:?}");
            }
            Step::Adjust { sku, delta } => {
                let told = house.adjust(SKUS[*sku], *delta, "").await;
                let told = told.map(|stock| stock.on_hand).map_err(|error| error.code.into_owned());
                assert_eq!(told, paper.adjust(*sku, *delta), "step {i} of {steps:?}");
            }
        }
    }
    for (i, sku) in SKUS.iter().enumerate() {
        assert_eq!(house.stock(sku).await, (paper.on_hand[&i], paper.reserved(i)), "{sku} after {steps:?}");
    }
    house.assert_books_balance().await;
}

/// Makes the same sequences in every run; a failure prints the sequence.
fn sequences(count: usize, length: usize) -> Vec<Vec<Step>> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = prop::collection::vec(step(), length);
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

#[tokio::test]
async fn random_sequences_agree_with_the_paper_books() {
    for steps in sequences(120, 40) {
        run(&house(Engine::Memory).await.unwrap(), &steps).await;
    }
}

#[tokio::test]
async fn random_sequences_agree_with_the_paper_books_on_disk_and_on_postgres() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        for steps in sequences(4, 60) {
            let Some(house) = house(engine).await else { continue };
            run(&house, &steps).await;
        }
    }
}

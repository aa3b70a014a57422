//! The books, checked: every order is known, and the sums are what the orders make. Orders are read in pages, and what seems
//! wrong is looked at again, because a mall that sells is never quite still.

use std::collections::BTreeMap;
use std::time::Duration;

use mallard_proto::common::v1::Check;
use mallard_proto::order::v1::{Order, ScanOrdersRequest};
use mallard_types::Result;

use crate::app::{App, PAGE_ORDERS, lacks};

const SHOWN_MAX: usize = 10;
/// Orders looked at again one by one.
const SUSPECTS_MAX: usize = 2_000;
/// Looks without any progress.
const LOOKS: usize = 10;
/// Looks for facts without any progress, beside those that the interval of folding takes: a slow disk is not a wrong sum.
const FOLD_LOOKS: usize = 20;
/// Most looks that the interval of folding adds: a minute.
const INTERVAL_LOOKS_MAX: f64 = 200.0;
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);
/// How long what happened to an order may be on its way here, in microseconds: as long as the mall's rule for events.
const ON_ITS_WAY_MICROS: i64 = 60_000_000;

/// Runs every check of the service.
///
/// # Errors
/// The database's, and those of the order service; a broken rule is no error.
pub async fn run(app: &App) -> Result<Vec<Check>> {
    let folded = facts_folded(app).await?;
    let known = knows_every_order(app).await?;
    let mut sums = Tally::default();
    let mut products = Tally::default();
    for ((day, currency), book) in app.store.day_books().await? {
        let (orders, units, paid, goods) = book.facts;
        sums.expect(book.day == (orders, units, paid), || {
            format!("{day} {currency}: orders, units and revenue are {:?}, the facts make {:?}", book.day, book.facts)
        });
        products.expect(book.products == (units, goods), || {
            format!("{day} {currency}: products make {:?} units and revenue, orders {units}, {goods}", book.products)
        });
    }
    for (currency, (facts, days)) in app.store.refund_books().await? {
        sums.expect(facts == days, || format!("{days} {currency} given back, the facts make {facts}"));
    }
    for (step, (facts, days)) in app.store.step_books().await? {
        sums.expect(facts == days, || format!("{days} orders {step}, the facts make {facts}"));
    }
    let mut sellers = Tally::default();
    for ((seller_id, day, currency), book) in app.store.seller_books().await? {
        sellers.expect(book.day == book.products, || {
            format!(
                "{seller_id} {day} {currency}: {:?} units and revenue, its products make {:?}",
                book.day, book.products
            )
        });
    }
    Ok(vec![
        known,
        folded,
        sums.check("insight.sums_fold_facts", "sums"),
        products.check("insight.products_add_up", "days"),
        sellers.check("insight.sellers_add_up", "days of sellers"),
    ])
}

/// Every fact that was there when the check began is soon in the sums.
async fn facts_folded(app: &App) -> Result<Check> {
    let (newest, mut open) = app.store.newest_and_open().await?;
    // The bell of a process that died rang for nobody: then only the interval brings its facts into the sums.
    let interval = Duration::from_millis(app.config.fold_linger_ms.saturating_add(app.config.fold_interval_ms));
    let looks = FOLD_LOOKS + interval.div_duration_f64(BETWEEN_LOOKS).min(INTERVAL_LOOKS_MAX) as usize;
    let mut patience = Patience::of(looks);
    while let Some(waiting) = open.filter(|open| *open <= newest)
        && patience.is_left(newest - waiting)
    {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        open = app.store.newest_and_open().await?.1;
    }
    let mut tally = Tally { seen: newest, ..Tally::default() };
    if let Some(open) = open.filter(|open| *open <= newest) {
        tally.breaks(format!("fact {open} is not in the sums"));
    }
    Ok(tally.check("insight.facts_folded", "facts"))
}

/// What the orders say, order by order, is what is known here.
async fn knows_every_order(app: &App) -> Result<Check> {
    let mut tally = Tally::default();
    let (mut wrong_count, mut suspects) = (0, BTreeMap::new());
    let mut patience = Patience::of(LOOKS);
    loop {
        // A few are looked at again one by one, many all together.
        if wrong_count == 0 || wrong_count > SUSPECTS_MAX {
            (tally.seen, wrong_count, suspects) = look_at_all(app).await?;
        } else {
            let mut still = BTreeMap::new();
            for id in suspects.keys() {
                still.extend(wrong(app, &order(app, id).await?).await?);
            }
            (wrong_count, suspects) = (still.len(), still);
        }
        if wrong_count == 0 || !patience.is_left(wrong_count as i64) {
            break;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    let unnamed = wrong_count - suspects.len();
    suspects.into_values().for_each(|what| tally.breaks(what));
    tally.broken += unnamed;
    Ok(tally.check("insight.knows_every_order", "orders"))
}

/// Returns how many orders there are, how many of them are wrong, and what is wrong with the first of those, by id.
async fn look_at_all(app: &App) -> Result<(i64, usize, BTreeMap<String, String>)> {
    let (mut seen, mut wrong_count) = (0, 0);
    let mut suspects = BTreeMap::new();
    let mut after_id = String::new();
    loop {
        let page = scan(app, &after_id).await?;
        let Some(last) = page.last() else { return Ok((seen, wrong_count, suspects)) };
        after_id.clone_from(&last.id);
        seen += page.len() as i64;
        let found = wrong(app, &page).await?;
        wrong_count += found.len();
        if suspects.len() < SUSPECTS_MAX {
            suspects.extend(found.into_iter().take(SUSPECTS_MAX - suspects.len()));
        }
    }
}

/// Decides whether to look again: as long as less and less is wrong, and some looks more.
struct Patience {
    looks_max: usize,
    least: Option<i64>,
    looks: usize,
}

impl Patience {
    fn of(looks_max: usize) -> Patience {
        Patience { looks_max, least: None, looks: 0 }
    }

    fn is_left(&mut self, wrong: i64) -> bool {
        if self.least.is_none_or(|least| wrong < least) {
            self.least = Some(wrong);
            self.looks = 0;
        }
        self.looks += 1;
        self.looks < self.looks_max
    }
}

/// Returns what is not known of these orders, by id. What changed a moment ago may still be on its way.
async fn wrong(app: &App, orders: &[Order]) -> Result<BTreeMap<String, String>> {
    let ids: Vec<&str> = orders.iter().map(|order| order.id.as_str()).collect();
    let known = app.store.known(&ids).await?;
    let settled = app.ctx.clock().now() - ON_ITS_WAY_MICROS;
    let mut wrong = BTreeMap::new();
    for order in orders.iter().filter(|order| order.updated_at.as_ref().is_none_or(|at| at.micros() < settled)) {
        if let Some(what) = lacks(order, known.get(&order.id).copied().unwrap_or_default()) {
            wrong.insert(order.id.clone(), what);
        }
    }
    Ok(wrong)
}

async fn scan(app: &App, after_id: &str) -> Result<Vec<Order>> {
    let request = ScanOrdersRequest { after_id: after_id.to_owned(), limit: PAGE_ORDERS };
    Ok(app.orders().scan_orders(request).await.map_err(mallard_rpc::error)?.into_inner().orders)
}

async fn order(app: &App, id: &str) -> Result<Vec<Order>> {
    let request = mallard_proto::order::v1::GetOrderRequest { id: id.to_owned() };
    let answer = app.orders().admin_get_order(request).await.map_err(mallard_rpc::error)?;
    Ok(answer.into_inner().order.into_iter().collect())
}

/// Counts what was seen and names the first that break a rule.
#[derive(Default)]
struct Tally {
    seen: i64,
    broken: usize,
    named: Vec<String>,
}

impl Tally {
    fn expect(&mut self, holds: bool, say: impl FnOnce() -> String) {
        self.seen += 1;
        if !holds {
            self.breaks(say());
        }
    }

    fn breaks(&mut self, what: String) {
        self.broken += 1;
        if self.named.len() < SHOWN_MAX {
            self.named.push(what);
        }
    }

    fn check(self, name: &str, unit: &str) -> Check {
        let detail = match self.broken {
            0 => format!("{} {unit}", self.seen),
            broken => format!("{broken} of {} {unit}: {}", self.seen, self.named.join("; ")),
        };
        Check { name: name.to_owned(), ok: self.broken == 0, detail }
    }
}

//! The invariants of the stock books, proved row by row. Everything is read in pages.
//!
//! A check that compares two tables reads the row's version before and after the other table: every move of a SKU changes
//! its version in the same transaction, so an unchanged version means that both were read at one moment. SKUs that keep
//! moving are looked at again, and counted as moving when they never rest.

use std::collections::BTreeMap;

use mallard_types::Result;

use crate::app::App;
use crate::domain::{State, Stock};

/// Rows read at once.
const PAGE_ROWS: usize = 500;
/// Breaking rows named in a detail.
const NAMED_MAX: usize = 10;
/// How often SKUs that moved while they were read are read again.
const ROUNDS_MAX: usize = 5;
/// How long a hold past its time may wait for the next round of expiry, in microseconds.
const OVERDUE_GRACE_MICROS: i64 = 10_000_000;

/// Outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable name.
    pub name: &'static str,
    /// Whether the rule holds.
    pub ok: bool,
    /// What was counted, or the first rows that break the rule.
    pub detail: String,
}

/// Runs all checks.
///
/// # Errors
/// The database's.
pub async fn run(app: &App) -> Result<Vec<Finding>> {
    let mut findings = rows_alone(app).await?;
    findings.push(
        against_reservations(app, "stock.reserved_is_open_reservations", State::Held, |stock| stock.reserved).await?,
    );
    findings.push(against_reservations(app, "stock.confirmed_once", State::Confirmed, |stock| stock.sold).await?);
    findings.push(overdue(app).await?);
    Ok(findings)
}

/// Checks what one statement can see: units covered, every unit in the ledger, and alerts where little is left.
async fn rows_alone(app: &App) -> Result<Vec<Finding>> {
    let mut covered = Tally::new("stock.reserved_within_on_hand");
    let mut conserved = Tally::new("stock.conservation");
    let mut alerted = Tally::new("stock.alerts_match_stock");
    let alert_below = i64::from(app.config.alert_below);
    let mut after = String::new();
    loop {
        let rows = app.store.ledger_sums_after(&after, PAGE_ROWS).await?;
        for sums in &rows {
            let stock = &sums.stock;
            covered.count(stock.is_covered(), || {
                format!("{}: reserved {} of {}", stock.sku_id, stock.reserved, stock.on_hand)
            });
            alerted.count(stock.is_alert_right(alert_below), || {
                let (available, since) = (stock.available(), stock.low_since);
                format!("{}: {available} available, mark {alert_below}, low since {since}", stock.sku_id)
            });
            let in_ledger = (sums.total, sums.received, -sums.sold, sums.returned, sums.adjusted);
            let in_row = (stock.on_hand, stock.received, stock.sold, stock.returned, stock.adjusted);
            conserved.count(stock.is_conserved() && in_ledger == in_row, || {
                let (on_hand, received, sold, returned, adjusted) = in_ledger;
                format!(
                    "{}: on_hand {}, received {}, sold {}, returned {}, adjusted {}; \
                     ledger {on_hand}, {received}, {sold}, {returned}, {adjusted}",
                    stock.sku_id, stock.on_hand, stock.received, stock.sold, stock.returned, stock.adjusted
                )
            });
        }
        match rows.into_iter().next_back() {
            Some(last) => after = last.stock.sku_id,
            None => return Ok(vec![covered.finding(), conserved.finding(), alerted.finding()]),
        }
    }
}

/// Checks that a column of every stock row is the sum over the reservations in a state.
async fn against_reservations(
    app: &App,
    name: &'static str,
    state: State,
    column: fn(&Stock) -> i64,
) -> Result<Finding> {
    let mut tally = Tally::new(name);
    let mut moving: Option<Vec<String>> = None;
    for _ in 0..ROUNDS_MAX {
        let before = match &moving {
            None => all_stock(app).await?,
            Some(skus) => app.store.stocks(&skus.iter().map(String::as_str).collect::<Vec<_>>()).await?,
        };
        let first_round = moving.is_none();
        let units = app.store.units_in(state, PAGE_ROWS).await?;
        let differing: Vec<&Stock> =
            before.iter().filter(|stock| column(stock) != units_of(&units, &stock.sku_id)).collect();
        let ids: Vec<&str> = differing.iter().map(|stock| stock.sku_id.as_str()).collect();
        let versions = app.store.versions(&ids).await?;
        let mut still_moving = Vec::new();
        for stock in &differing {
            if versions.get(&stock.sku_id) == Some(&stock.version) {
                let found = units_of(&units, &stock.sku_id);
                tally.broken(format!(
                    "{}: row says {}, {} reservations say {found}",
                    stock.sku_id,
                    column(stock),
                    state.as_str()
                ));
            } else {
                still_moving.push(stock.sku_id.clone());
            }
        }
        tally.counted += before.len() - still_moving.len();
        if first_round {
            let orphans: Vec<&str> = units.keys().map(String::as_str).collect();
            let rows = app.store.versions(&orphans).await?;
            for sku_id in orphans.into_iter().filter(|sku_id| !rows.contains_key(*sku_id)) {
                tally.broken(format!("{sku_id}: reservations of a SKU without a stock row"));
            }
        }
        if still_moving.is_empty() {
            return Ok(tally.finding());
        }
        moving = Some(still_moving);
    }
    let moving = moving.map_or(0, |skus| skus.len());
    let mut finding = tally.finding();
    finding.detail = format!("{}; {moving} SKUs moved all the while", finding.detail);
    Ok(finding)
}

async fn all_stock(app: &App) -> Result<Vec<Stock>> {
    let mut all: Vec<Stock> = Vec::new();
    loop {
        let after = all.last().map_or("", |stock| stock.sku_id.as_str());
        let page = app.store.stocks_after(after, PAGE_ROWS).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

fn units_of(units: &BTreeMap<String, i64>, sku_id: &str) -> i64 {
    units.get(sku_id).copied().unwrap_or(0)
}

async fn overdue(app: &App) -> Result<Finding> {
    let mut tally = Tally::new("stock.no_expired_holds");
    let late = app.ctx.clock().now().saturating_sub(OVERDUE_GRACE_MICROS);
    for reservation in app.store.overdue(late, NAMED_MAX as u32 + 1).await? {
        tally.counted += 1;
        tally.broken(format!("{}: ended at {} and is still held", reservation.id, reservation.expires_at));
    }
    Ok(tally.finding())
}

/// Counts rows and names the first that break a rule.
struct Tally {
    name: &'static str,
    counted: usize,
    broken: usize,
    named: Vec<String>,
}

impl Tally {
    fn new(name: &'static str) -> Tally {
        Tally { name, counted: 0, broken: 0, named: Vec::new() }
    }

    fn count(&mut self, ok: bool, describe: impl FnOnce() -> String) {
        self.counted += 1;
        if !ok {
            self.broken(describe());
        }
    }

    fn broken(&mut self, description: String) {
        self.broken += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(description);
        }
    }

    fn finding(self) -> Finding {
        let detail = match self.broken {
            0 => format!("{} rows hold", self.counted),
            broken => format!("{broken} rows break it: {}", self.named.join("; ")),
        };
        Finding { name: self.name, ok: self.broken == 0, detail }
    }
}

//! The books, checked: what `mallard check` proves about payments. Everything is read in pages, and looked at again while something
//! seems wrong, because a mall that sells is never quite still.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use mallard_types::{Money, Result};

use crate::acquirer::{Book, Movement};
use crate::app::App;
use crate::domain::{Payment, Refund, RefundStatus, Status};
use crate::store::LedgerEntry;

/// Rows in a page.
const PAGE_ROWS: usize = 1_000;
/// Breaking rows that a check names.
const NAMED_MAX: usize = 10;

/// Looks before what seems wrong is wrong: between two of our pages, or ours and the provider's, money may have moved, and what the
/// provider left open is settled by the next sweep.
const LOOKS: usize = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Stable name.
    pub name: &'static str,
    /// Whether the rule holds.
    pub ok: bool,
    /// What was counted, or the first rows that break the rule.
    pub detail: String,
}

/// Collects what breaks a rule.
struct Check {
    name: &'static str,
    seen: u64,
    broken: u64,
    named: Vec<String>,
}

impl Check {
    fn new(name: &'static str) -> Check {
        Check { name, seen: 0, broken: 0, named: Vec::new() }
    }

    fn expect(&mut self, holds: bool, say: impl FnOnce() -> String) {
        self.seen += 1;
        if !holds {
            self.breaks(say());
        }
    }

    fn breaks(&mut self, what: String) {
        self.broken += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(what);
        }
    }

    fn verdict(self, unit: &str) -> Verdict {
        let ok = self.broken == 0;
        let detail = if ok {
            format!("{} {unit}", self.seen)
        } else {
            format!("{} broken: {}", self.broken, self.named.join("; "))
        };
        Verdict { name: self.name, ok, detail }
    }
}

/// Runs every check of the service.
///
/// # Errors
/// The database's and the provider's; a broken rule is no error.
pub async fn run(app: &App) -> Result<Vec<Verdict>> {
    let mut verdicts = look(app).await?;
    for _ in 1..LOOKS {
        if verdicts.iter().all(|verdict| verdict.ok) {
            break;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
        verdicts = look(app).await?;
    }
    Ok(verdicts)
}

async fn look(app: &App) -> Result<Vec<Verdict>> {
    let mut folds = Check::new("ledger.folds_to_payments");
    let mut once = Check::new("payment.one_capture_per_order");
    let mut within = Check::new("payment.refunds_within_captured");
    let mut settled = Check::new("payment.no_unknown_left");
    let mut agrees = Check::new("payment.provider_agrees");
    let balanced = check_balance(app).await?;

    let mut explained = 0;
    let mut captures = Movements::new(app, Book::Captures);
    let mut after = String::new();
    loop {
        let page = app.store.scan_payments(&after, PAGE_ROWS).await?;
        let (Some(first), Some(last)) = (page.first(), page.last()) else { break };
        explained += check_captures(app, &page, &mut folds).await?;
        check_gates(app, first, last, &page, &mut once).await?;
        check_refund_sums(app, first, last, &page, &mut within).await?;
        for payment in &page {
            settled.expect(!payment.waits_for_provider(), || format!("{} waits for the provider", payment.id));
            let ours = payment.is_captured() && !payment.provider_key.is_empty();
            captures.compare(&payment.id, payment.amount, ours, &mut agrees).await?;
        }
        after.clone_from(&last.id);
    }
    captures.finish(&mut agrees).await?;

    let mut repayments = Movements::new(app, Book::Refunds);
    after.clear();
    loop {
        let page = app.store.scan_refunds(&after, PAGE_ROWS).await?;
        let Some(last) = page.last() else { break };
        explained += check_refund_entries(app, &page, &mut folds).await?;
        for refund in &page {
            settled.expect(refund.status != RefundStatus::Pending, || format!("{} waits for the provider", refund.id));
            let ours = went_through_provider(app, refund).await?;
            repayments.compare(&refund.id, refund.amount, ours, &mut agrees).await?;
        }
        after.clone_from(&last.id);
    }
    repayments.finish(&mut agrees).await?;
    let entries = app.store.count_entries().await?;
    folds.expect(entries == explained, || {
        format!("{} ledger entries belong to no payment and no refund", entries - explained)
    });
    Ok(vec![
        balanced,
        folds.verdict("payments and refunds"),
        once.verdict("payments"),
        within.verdict("payments"),
        agrees.verdict("movements"),
        settled.verdict("payments and refunds"),
    ])
}

/// Every transaction sums to zero, and so does every currency.
async fn check_balance(app: &App) -> Result<Verdict> {
    let mut check = Check::new("ledger.balanced");
    let mut open: HashMap<String, (i128, i128)> = HashMap::new();
    let mut currencies: HashMap<String, (i128, i128)> = HashMap::new();
    let mut after = 0;
    loop {
        let page = app.store.scan_entries(after, PAGE_ROWS).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for entry in page {
            check.seen += 1;
            let (money, nanos) = (i128::from(entry.debit) - i128::from(entry.credit), i128::from(entry.nanos));
            let currency = currencies.entry(entry.currency).or_default();
            *currency = (currency.0 + money, currency.1 + nanos);
            let sum = open.entry(entry.transaction_id.clone()).or_default();
            *sum = (sum.0 + money, sum.1 + nanos);
            // Only what is out of balance so far is kept.
            if *sum == (0, 0) {
                open.remove(&entry.transaction_id);
            }
        }
    }
    let mut open: Vec<_> = open.into_iter().collect();
    open.sort();
    for (transaction, (money, nanos)) in open {
        check.breaks(format!("{transaction} is out by {money} and {nanos} nanos"));
    }
    let mut currencies: Vec<_> = currencies.into_iter().collect();
    currencies.sort();
    for (currency, (money, nanos)) in currencies.into_iter().filter(|(_, sum)| *sum != (0, 0)) {
        check.breaks(format!("{currency} is out by {money} and {nanos} nanos"));
    }
    Ok(check.verdict("entries"))
}

/// Entries by transaction.
async fn entries_by_transaction(app: &App, first: &str, last: &str) -> Result<HashMap<String, Vec<LedgerEntry>>> {
    let mut by_transaction: HashMap<String, Vec<LedgerEntry>> = HashMap::new();
    for entry in app.store.entries_of(first, last).await? {
        by_transaction.entry(entry.transaction_id.clone()).or_default().push(entry);
    }
    Ok(by_transaction)
}

/// What was captured is what the ledger says. Returns how many entries this explains.
async fn check_captures(app: &App, page: &[Payment], check: &mut Check) -> Result<i64> {
    let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(0) };
    let entries = entries_by_transaction(app, &first.id, &last.id).await?;
    let mut explained = 0;
    for payment in page {
        let own = entries.get(&payment.id).map_or(&[][..], Vec::as_slice);
        explained += own.len() as i64;
        let debit: i64 = own.iter().map(|entry| entry.debit).sum();
        let rounding: i64 =
            own.iter().filter(|entry| entry.account.starts_with("rounding:")).map(|entry| entry.nanos).sum();
        let expected_rounding = if payment.is_captured() { payment.rounding_nanos } else { 0 };
        let right =
            debit == payment.captured && rounding == expected_rounding && is_of(own, &payment.id, &payment.order_id);
        check.expect(right, || format!("{} captured {} but the ledger says {debit}", payment.id, payment.captured));
    }
    Ok(explained)
}

/// What went back is what the ledger says. Returns how many entries this explains.
async fn check_refund_entries(app: &App, page: &[Refund], check: &mut Check) -> Result<i64> {
    let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(0) };
    let entries = entries_by_transaction(app, &first.id, &last.id).await?;
    let mut explained = 0;
    for refund in page {
        let own = entries.get(&refund.id).map_or(&[][..], Vec::as_slice);
        explained += own.len() as i64;
        let debit: i64 = own.iter().map(|entry| entry.debit).sum();
        let expected = if refund.status == RefundStatus::Succeeded { refund.amount.amount } else { 0 };
        let right = debit == expected && is_of(own, &refund.payment_id, &refund.order_id);
        check.expect(right, || format!("{} gave back {expected} but the ledger says {debit}", refund.id));
    }
    Ok(explained)
}

fn is_of(entries: &[LedgerEntry], payment_id: &str, order_id: &str) -> bool {
    entries.iter().all(|entry| entry.payment_id == payment_id && entry.order_id == order_id)
}

/// A captured payment holds its order's gate; a second one has none to hold.
async fn check_gates(app: &App, first: &Payment, last: &Payment, page: &[Payment], check: &mut Check) -> Result<()> {
    check.seen += page.len() as u64;
    for (payment_id, order_id) in app.store.captures_beside_the_gate(&first.id, &last.id).await? {
        check.breaks(format!("{payment_id} was captured beside the payment of {order_id}"));
    }
    Ok(())
}

/// What went back is at most what came in, and the payment knows of every refund.
async fn check_refund_sums(
    app: &App,
    first: &Payment,
    last: &Payment,
    page: &[Payment],
    check: &mut Check,
) -> Result<()> {
    let sums: HashMap<String, (i64, i64)> = app
        .store
        .refund_sums(&first.id, &last.id)
        .await?
        .into_iter()
        .map(|(payment_id, succeeded, pending)| (payment_id, (succeeded, pending)))
        .collect();
    for payment in page {
        let (succeeded, pending) = sums.get(&payment.id).copied().unwrap_or_default();
        let status_fits = match payment.status {
            Status::Refunded => payment.refunded == payment.captured,
            Status::PartiallyRefunded => payment.refunded > 0 && payment.refunded < payment.captured,
            _ => payment.refunded == 0,
        };
        let right =
            payment.refundable() >= 0 && succeeded == payment.refunded && pending == payment.refunding && status_fits;
        check.expect(right, || {
            format!(
                "{} captured {}, refunded {}, but its refunds sum to {succeeded}",
                payment.id, payment.captured, payment.refunded
            )
        });
    }
    Ok(())
}

/// One of the provider's books, read beside ours: both are in order of key, and our keys are ids.
struct Movements<'a> {
    app: &'a App,
    book: Book,
    after: String,
    page: VecDeque<Movement>,
    ended: bool,
}

impl<'a> Movements<'a> {
    fn new(app: &'a App, book: Book) -> Movements<'a> {
        Movements { app, book, after: String::new(), page: VecDeque::new(), ended: false }
    }

    /// Compares one of our rows with the provider's books; `ours` tells whether we say that the provider moved it.
    async fn compare(&mut self, id: &str, amount: Money, ours: bool, check: &mut Check) -> Result<()> {
        while self.next().await?.is_some_and(|movement| movement.key.as_str() < id) {
            self.report_unknown(check);
        }
        let theirs =
            if self.next().await?.is_some_and(|movement| movement.key == id) { self.page.pop_front() } else { None };
        match theirs {
            None if ours => check.expect(false, || format!("we moved {amount} with {id}, the provider did not")),
            Some(theirs) => check.expect(ours && theirs.amount == amount, || {
                format!(
                    "the provider moved {} under {id}, we {}",
                    theirs.amount,
                    if ours { amount.to_string() } else { "nothing".into() }
                )
            }),
            None => {}
        }
        Ok(())
    }

    /// Whatever is left in the provider's book is unknown to us.
    async fn finish(mut self, check: &mut Check) -> Result<()> {
        while self.next().await?.is_some() {
            self.report_unknown(check);
        }
        Ok(())
    }

    fn report_unknown(&mut self, check: &mut Check) {
        if let Some(theirs) = self.page.pop_front() {
            check.expect(false, || {
                format!("the provider moved {} under {}, we know nothing of it", theirs.amount, theirs.key)
            });
        }
    }

    async fn next(&mut self) -> Result<Option<&Movement>> {
        if self.page.is_empty() && !self.ended {
            self.page = self.app.provider.list(self.book, &self.after, PAGE_ROWS).await?.into();
            match self.page.back() {
                Some(last) => self.after.clone_from(&last.key),
                None => self.ended = true,
            }
        }
        Ok(self.page.front())
    }
}

/// Tells whether we say that the provider gave this refund back.
async fn went_through_provider(app: &App, refund: &Refund) -> Result<bool> {
    if refund.status != RefundStatus::Succeeded || refund.payment_id.is_empty() {
        return Ok(false);
    }
    let payment = app.store.payment(&refund.payment_id).await?;
    Ok(payment.is_some_and(|payment| !payment.provider_key.is_empty()))
}

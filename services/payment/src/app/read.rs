//! Looking at payments, refunds and the ledger.

use mallard_types::{Result, page};

use super::{App, caller, check_operator, check_owner};
use crate::domain::{Payment, Refund, Status};
use crate::error;
use crate::store::{Balance, EntryFilter, LedgerEntry, PaymentFilter};

/// Most payments in one page of a scan.
const SCAN_PAYMENTS_MAX: usize = 10_000;
/// Most refunds in one page of a scan; they carry lines.
const SCAN_REFUNDS_MAX: usize = 1_000;
/// Rows in a page of a scan when nothing is asked.
const SCAN_DEFAULT: usize = 1_000;

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// Its rows.
    pub rows: Vec<T>,
    /// Where the next page begins; empty on the last.
    pub next_cursor: String,
    /// How many rows the list has, where that was asked.
    pub count: Option<i64>,
}

/// What became of an order's payments.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The one that was captured, else the newest; none when nobody tried.
    pub payment: Option<Payment>,
    /// The provider has not given a final answer.
    pub unknown: bool,
}

impl App {
    /// Asks what became of an order's payments, and settles with the provider what it can.
    ///
    /// # Errors
    /// `payment_not_found` for somebody else's; `payment_busy`.
    pub async fn resolve(&self, order_id: &str) -> Result<Resolved> {
        let Some(mut payment) = self.store.holder(order_id).await? else {
            return Ok(Resolved { payment: None, unknown: false });
        };
        check_owner(&caller(), &payment.user_id)?;
        if payment.waits_for_provider() && !payment.is_in_flight(self.clock_now()) {
            payment = self.ask(payment, None).await?;
        }
        Ok(Resolved { unknown: payment.waits_for_provider(), payment: Some(payment) })
    }

    /// Returns a payment to its user or an operator.
    ///
    /// # Errors
    /// `payment_not_found`, for somebody else's as well.
    pub async fn visible(&self, id: &str) -> Result<Payment> {
        let payment = self.known(id).await?;
        check_owner(&caller(), &payment.user_id)?;
        Ok(payment)
    }

    /// Lists payments for an operator, newest first.
    ///
    /// # Errors
    /// `forbidden`, `status_invalid`, `limit_out_of_range`, `bad_cursor`.
    pub async fn list(
        &self,
        status: &str,
        order_id: String,
        limit: i32,
        cursor: &str,
        count: bool,
    ) -> Result<Page<Payment>> {
        check_operator()?;
        let limit = page::limit(limit)?;
        let status = match status {
            "" => None,
            name => Some(Status::parse(name).ok_or_else(error::status_invalid)?),
        };
        let before_id = if cursor.is_empty() { String::new() } else { page::decode_cursor(cursor, 1)?.remove(0) };
        let filter = PaymentFilter { status, order_id, before_id };
        let mut rows = self.store.payments(&filter, limit + 1).await?;
        let next_cursor = cut(&mut rows, limit, |payment| payment.id.clone());
        let count = if count { Some(self.store.count_payments(&filter).await?) } else { None };
        Ok(Page { rows, next_cursor, count })
    }

    /// Lists the accounts of the ledger with their balances.
    ///
    /// # Errors
    /// `forbidden`.
    pub async fn accounts(&self) -> Result<Vec<Balance>> {
        check_operator()?;
        self.store.balances().await
    }

    /// Lists ledger entries for an operator, newest first.
    ///
    /// # Errors
    /// `forbidden`, `limit_out_of_range`, `bad_cursor`.
    pub async fn entries(
        &self,
        account: String,
        order_id: String,
        limit: i32,
        cursor: &str,
    ) -> Result<Page<LedgerEntry>> {
        check_operator()?;
        let limit = page::limit(limit)?;
        let before_seq = match cursor {
            "" => None,
            cursor => Some(page::decode_cursor(cursor, 1)?.remove(0).parse().map_err(|_| error::bad_cursor())?),
        };
        let mut rows = self.store.entries(&EntryFilter { account, order_id, before_seq }, limit + 1).await?;
        let next_cursor = cut(&mut rows, limit, |entry| entry.seq.to_string());
        Ok(Page { rows, next_cursor, count: None })
    }

    /// Lists payments in order of id, for the books.
    ///
    /// # Errors
    /// `forbidden`.
    pub async fn scan_payments(&self, after_id: &str, limit: i32) -> Result<Vec<Payment>> {
        check_operator()?;
        self.store.scan_payments(after_id, scan_limit(limit, SCAN_PAYMENTS_MAX)).await
    }

    /// Lists refunds in order of id, for the books.
    ///
    /// # Errors
    /// `forbidden`.
    pub async fn scan_refunds(&self, after_id: &str, limit: i32) -> Result<Vec<Refund>> {
        check_operator()?;
        self.store.scan_refunds(after_id, scan_limit(limit, SCAN_REFUNDS_MAX)).await
    }
}

/// Cuts a page that was read with one row too many; returns the cursor of the next.
fn cut<T>(rows: &mut Vec<T>, limit: usize, key: impl Fn(&T) -> String) -> String {
    if rows.len() <= limit {
        return String::new();
    }
    rows.truncate(limit);
    rows.last().map(|last| page::encode_cursor(&[&key(last)])).unwrap_or_default()
}

fn scan_limit(requested: i32, max: usize) -> usize {
    match usize::try_from(requested) {
        Ok(0) | Err(_) => SCAN_DEFAULT.min(max),
        Ok(limit) => limit.min(max),
    }
}

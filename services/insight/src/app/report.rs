//! What is asked. Every report costs one or two statements over days, however many orders there were.

use std::collections::BTreeMap;
use std::sync::Arc;

use mallard_rpc::{Surface, with_current};
use mallard_types::{Currency, Result, page};

use super::App;
use crate::domain::{Day, DaySum, Period, Refusal, TEXT_CHARS_MAX};
use crate::error;
use crate::store::Top;

/// Days of which best sellers are.
const BEST_SELLER_DAYS: i64 = 30;

/// What every report is narrowed to, as the request says it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub from: String,
    pub to: String,
    pub seller: String,
    pub currency: String,
}

/// Product pages, carts with something added, checkouts, orders placed, orders paid.
pub type Step = [i64; 5];

impl App {
    /// Sums sales per day, with a zero for days without.
    ///
    /// # Errors
    /// `seller_required`, a malformed request.
    pub async fn sales(&self, report: &Report) -> Result<(Currency, Vec<(Day, DaySum)>)> {
        let seller = whose(&report.seller)?;
        let (period, currency) = self.narrowed(report)?;
        let found = self.store.sales(&seller, currency.as_str(), period).await?;
        Ok((currency, filled(period, found)))
    }

    /// Lists what was sold most.
    ///
    /// # Errors
    /// `seller_required`, a malformed request.
    pub async fn top(&self, report: &Report, limit: i32) -> Result<(Currency, Vec<Top>)> {
        let seller = whose(&report.seller)?;
        let limit = page::limit(limit)?;
        let (period, currency) = self.narrowed(report)?;
        Ok((currency, self.store.top(&seller, currency.as_str(), period, limit).await?))
    }

    /// Counts per day how far visits went.
    ///
    /// # Errors
    /// `forbidden`, a malformed request.
    pub async fn funnel(&self, from: &str, to: &str) -> Result<Vec<(Day, Step)>> {
        if !with_current(|call| call.caller.is_admin() || call.caller.is_system()) {
            return Err(error::operators_only());
        }
        let period = Period::parse(from, to, self.today())?;
        Ok(filled(period, self.store.funnel(period).await?))
    }

    /// Lists the ids of the products sold most in the last 30 days. The answer may be some seconds old.
    ///
    /// # Errors
    /// `identity_required`, `limit_out_of_range`.
    pub async fn best_sellers(&self, limit: i32) -> Result<Vec<String>> {
        with_current(|call| call.caller.require_identity())?;
        let limit = page::limit(limit)?;
        let period = Period::last(BEST_SELLER_DAYS, self.today());
        let load = || async { Ok(Arc::new(self.store.best_sellers(period, page::LIMIT_MAX).await?)) };
        let best = self.best_sellers.get_or_load((), load).await?;
        Ok(best.iter().take(limit).cloned().collect())
    }

    pub(super) fn today(&self) -> Day {
        Day::of(self.ctx.clock().now())
    }

    fn narrowed(&self, report: &Report) -> Result<(Period, Currency)> {
        let period = Period::parse(&report.from, &report.to, self.today())?;
        let currency = match report.currency.as_str() {
            "" => self.currency,
            code => Currency::parse(code)?,
        };
        Ok((period, currency))
    }
}

/// Decides whose sales the caller sees: an operator those it asks for, a seller its own whatever it asks for.
fn whose(asked: &str) -> Result<String> {
    let (everything, surface, own) = with_current(|call| {
        let caller = &call.caller;
        (caller.is_admin() || caller.is_system(), caller.surface, caller.seller_id.clone())
    });
    if !own.is_empty() && (!everything || surface == Surface::Seller) {
        return Ok(own);
    }
    if !everything {
        return Err(error::seller_required());
    }
    if asked.chars().count() > TEXT_CHARS_MAX {
        return Err(Refusal::BadText("seller").into());
    }
    Ok(asked.to_owned())
}

fn filled<T: Copy + Default>(period: Period, found: Vec<(Day, T)>) -> Vec<(Day, T)> {
    let found: BTreeMap<Day, T> = found.into_iter().collect();
    period.days().map(|day| (day, found.get(&day).copied().unwrap_or_default())).collect()
}

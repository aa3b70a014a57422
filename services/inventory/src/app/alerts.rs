//! SKUs of which little is left to sell.

use mallard_types::{Result, page};
use tracing::info;

use super::App;
use super::stock::{bad_cursor, distinct};
use crate::domain::Stock;
use crate::error::Refusal;
use crate::store::Alert;

/// Most SKUs in one question.
const SKUS_MAX: usize = 100;
/// Rows brought in line in one transaction.
const ROUND_SKUS_MAX: u32 = 200;

/// A page of alerts.
pub struct AlertPage {
    /// Alerts, the latest first.
    pub alerts: Vec<Alert>,
    /// Cursor of the next page, empty on the last.
    pub next_cursor: String,
}

impl App {
    /// Reads a page of the SKUs of which fewer units than the mark can be sold, the latest first; only of these SKUs unless
    /// there are none.
    ///
    /// # Errors
    /// `admin_required`, `too_many_ids` over 100, `bad_cursor`, `limit_out_of_range`.
    pub async fn alerts(&self, sku_ids: &[String], limit: i32, cursor: &str) -> Result<AlertPage> {
        if !mallard_rpc::with_current(|call| call.caller.is_admin() || call.caller.is_system()) {
            return Err(Refusal::AdminRequired.into());
        }
        let limit = page::limit(limit)?;
        let sku_ids = distinct(sku_ids, SKUS_MAX, "sku_ids")?;
        let (since, sku_id) = match cursor {
            "" => (i64::MAX, String::new()),
            cursor => {
                let mut parts = page::decode_cursor(cursor, 2)?;
                (parts[0].parse().map_err(|_| bad_cursor())?, parts.swap_remove(1))
            }
        };
        let mut alerts = self.store.alerts((since, &sku_id), &sku_ids, limit + 1).await?;
        let more = alerts.len() > limit;
        alerts.truncate(limit);
        let next_cursor = match alerts.last() {
            Some(last) if more => page::encode_cursor(&[&last.since.to_string(), &last.sku_id]),
            _ => String::new(),
        };
        Ok(AlertPage { alerts, next_cursor })
    }
}

/// Brings alerts in line with the units of rows that were read.
pub async fn align_alerts(app: &App, rows: &[Stock]) -> Result<()> {
    let mark = i64::from(app.config.alert_below);
    let wrong: Vec<&str> =
        rows.iter().filter(|stock| !stock.is_alert_right(mark)).map(|stock| stock.sku_id.as_str()).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    info!(skus = wrong.len(), mark, "stock alerts brought in line");
    Ok(app.store.align_alerts(&wrong, app.ctx.clock().now()).await?)
}

/// Brings all alerts in line, before the first call is answered: the mark may be another than it was.
pub async fn align_all_alerts(app: &App) -> Result<()> {
    let mut after = String::new();
    loop {
        let rows = app.store.out_of_line(&after, ROUND_SKUS_MAX).await?;
        align_alerts(app, &rows).await?;
        match rows.into_iter().next_back() {
            Some(last) => after = last.sku_id,
            None => return Ok(()),
        }
    }
}

//! Stock rows of which little is left. `low_since` changes in the statements that move units (`holds.rs`, `stock.rs`); here it
//! is read, and brought in line where another mark or an older version of the program left it behind.

use mallard_db::{Error, Row, Unit, UnitError, Value, params};
use mallard_types::Micros;

use super::{Store, in_list};

/// A SKU of which fewer units than the mark can be sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// SKU.
    pub sku_id: String,
    /// Units that can be promised.
    pub available: i64,
    /// When it fell below the mark.
    pub since: Micros,
}

impl Store {
    /// Reads alerts, the latest first, after this place; only of these SKUs unless there are none.
    pub async fn alerts(
        &self,
        (since, sku_id): (Micros, &str),
        sku_ids: &[&str],
        rows_max: usize,
    ) -> Result<Vec<Alert>, Error> {
        let (mut among, mut params) = (String::new(), params![since, sku_id]);
        if !sku_ids.is_empty() {
            let (list, values) = in_list(sku_ids);
            among = format!(" AND sku_id IN {list}");
            params.extend(values);
        }
        params.push(Value::from(rows_max as i64));
        let sql = format!(
            "SELECT sku_id, on_hand - reserved, low_since FROM stock \
             WHERE low_since > 0 AND (low_since, sku_id) < (?, ?){among} ORDER BY low_since DESC, sku_id DESC LIMIT ?"
        );
        self.db.query_dyn(sql, params).await?.iter().map(alert_from).collect()
    }

    /// Begins or ends the alerts of these SKUs as their units say.
    pub async fn align_alerts(&self, sku_ids: &[&str], at: Micros) -> Result<(), Error> {
        const ALIGN: &str = "UPDATE stock SET low_since = CASE WHEN on_hand - reserved < ? THEN ? ELSE 0 END, version = version + 1 \
             WHERE sku_id = ? AND ((low_since > 0 AND on_hand - reserved >= ?) OR (low_since = 0 AND on_hand - reserved < ?))";
        let mark = self.alert_below;
        let mut unit = Unit::new("inventory.align_alerts");
        for sku_id in sku_ids {
            unit = unit.exec(ALIGN, params![mark, at.max(1), *sku_id, mark, mark]);
        }
        match self.db.apply(unit).await {
            Ok(()) => Ok(()),
            // There is no guard in it.
            Err(UnitError::Guard { .. }) => Ok(()),
            Err(UnitError::Db(error)) => Err(error),
        }
    }
}

fn alert_from(row: &Row) -> Result<Alert, Error> {
    Ok(Alert { sku_id: row.get(0)?, available: row.get(1)?, since: row.get(2)? })
}

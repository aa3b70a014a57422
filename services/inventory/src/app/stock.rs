//! Units that come and go by other ways than an order, and all reading.

use std::collections::BTreeMap;

use mallard_proto::catalog::v1::BatchGetSkusRequest;
use mallard_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mallard_rpc::ServiceChannel;
use mallard_types::{Result, page};

use super::{ATTEMPTS_MAX, App};
use crate::domain::{self, Adjustment, Line, Lines, Reservation, Stock};
use crate::error::Refusal;
use crate::store::{Adjusted, LedgerEntry, Returned};

/// Most SKUs in one read.
const SKUS_MAX: usize = 2_000;
/// Most reservations in one read.
const RESERVATIONS_MAX: usize = 1_000;
/// Most ledger entries in one page of a scan.
const SCAN_ROWS_MAX: usize = 10_000;

/// A page of the ledger of one SKU.
pub struct LedgerPage {
    /// Entries, newest first.
    pub entries: Vec<LedgerEntry>,
    /// Cursor of the next page, empty on the last.
    pub next_cursor: String,
}

impl App {
    /// Makes stock rows with units received; a SKU that has one is left alone. Returns how many were made.
    ///
    /// # Errors
    /// A malformed request.
    pub async fn receive(&self, lines: &[Line], reason: &str) -> Result<u64> {
        let lines = Lines::merge_received(lines)?;
        if reason.chars().count() > domain::TEXT_CHARS_MAX {
            return Err(Refusal::BadText("reason").into());
        }
        Ok(self.store.receive(&lines, reason, self.ctx.now()).await?)
    }

    /// Adds or takes away units by hand. The same idempotency key again changes nothing more.
    ///
    /// # Errors
    /// `below_reserved`, `sku_unknown`, `idempotency_conflict`, `seller_required`, or a malformed request.
    pub async fn adjust(&self, mut adjustment: Adjustment) -> Result<Stock> {
        adjustment.check()?;
        if !adjustment.key.is_empty() {
            domain::text("idempotency_key", &adjustment.key)?;
            let user_id = mallard_rpc::with_current(|call| call.caller.user_id.clone());
            adjustment.key = format!("{user_id}/{}/{}", adjustment.sku_id, adjustment.key);
        }
        self.check_owner(&adjustment.sku_id).await?;
        let lines = Lines::stored(vec![Line { sku_id: adjustment.sku_id.clone(), quantity: adjustment.delta }]);
        let audit = self.ctx.audit();
        for _ in 0..ATTEMPTS_MAX {
            let flight = self.availability.begin(&lines, 1);
            match self.store.adjust(&adjustment, self.ctx.now(), &audit).await? {
                Adjusted::Done => {
                    flight.landed();
                    return self.stock_of(&adjustment.sku_id).await;
                }
                Adjusted::KeyTaken => {
                    flight.refused();
                    let first = self.store.adjustment(&adjustment.key).await?;
                    return match first {
                        Some((sku_id, delta)) if sku_id == adjustment.sku_id && delta == adjustment.delta => {
                            self.stock_of(&sku_id).await
                        }
                        _ => Err(Refusal::KeyReused.into()),
                    };
                }
                Adjusted::Refused => {
                    flight.refused();
                    let stock = self.stock_of(&adjustment.sku_id).await?;
                    if stock.on_hand.saturating_add(adjustment.delta) < stock.reserved {
                        return Err(Refusal::BelowReserved { reserved: stock.reserved, on_hand: stock.on_hand }.into());
                    }
                }
            }
        }
        Err(Refusal::Contended.into())
    }

    /// Brings units of a confirmed reservation back; with an empty `id`, units that no known order sold. Returns false when
    /// an earlier call with this return id did it.
    ///
    /// # Errors
    /// `return_exceeds_sold`, `reservation_unknown`, `sku_unknown`, or a malformed request.
    pub async fn give_back(&self, id: &str, return_id: &str, lines: &[Line], reason: &str) -> Result<bool> {
        domain::text("return_id", return_id)?;
        if id.chars().count() > domain::TEXT_CHARS_MAX || reason.chars().count() > domain::TEXT_CHARS_MAX {
            return Err(Refusal::BadText("reason").into());
        }
        let lines = Lines::merge(lines)?;
        if id.is_empty() {
            self.check_known(&lines).await?;
        }
        let asked = lines.clone();
        let decide = move |reservation: Option<&Reservation>, before: &Lines| match reservation {
            Some(reservation) => Ok(reservation.give_back(before, &asked)?),
            None => Err(mallard_types::Error::from(Refusal::ReservationUnknown)),
        };
        let flight = self.availability.begin(&lines, 1);
        let outcome = self.store.give_back(return_id, id, &lines, reason, self.ctx.now(), decide).await;
        match outcome {
            Ok(Returned::Done) => {
                flight.landed();
                Ok(true)
            }
            Ok(Returned::Before) => {
                flight.refused();
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn check_known(&self, lines: &Lines) -> Result<()> {
        let ids: Vec<&str> = lines.as_slice().iter().map(|line| line.sku_id.as_str()).collect();
        let known: BTreeMap<String, i64> = self.store.versions(&ids).await?;
        match ids.iter().find(|id| !known.contains_key(**id)) {
            Some(unknown) => Err(Refusal::SkuUnknown { sku_id: (*unknown).to_owned(), line: None }.into()),
            None => Ok(()),
        }
    }

    /// Reads stock, for an operator or the SKU's own seller.
    ///
    /// # Errors
    /// `sku_unknown`, `seller_required`.
    pub async fn stock(&self, sku_id: &str) -> Result<Stock> {
        domain::text("sku_id", sku_id)?;
        self.check_owner(sku_id).await?;
        self.stock_of(sku_id).await
    }

    async fn stock_of(&self, sku_id: &str) -> Result<Stock> {
        match self.store.stock(sku_id).await? {
            Some(stock) => Ok(stock),
            None => Err(Refusal::SkuUnknown { sku_id: sku_id.to_owned(), line: None }.into()),
        }
    }

    /// Reads the stock of many SKUs; unknown ones are left out.
    ///
    /// # Errors
    /// `too_many_ids` over 2,000.
    pub async fn stocks(&self, sku_ids: &[String]) -> Result<Vec<Stock>> {
        let ids = distinct(sku_ids, SKUS_MAX, "sku_ids")?;
        Ok(self.store.stocks(&ids).await?)
    }

    /// Reads a page of the ledger of one SKU, newest first, for an operator or the SKU's own seller.
    ///
    /// # Errors
    /// `sku_unknown`, `seller_required`, `bad_cursor`, `limit_out_of_range`.
    pub async fn ledger_of(&self, sku_id: &str, limit: i32, cursor: &str) -> Result<LedgerPage> {
        domain::text("sku_id", sku_id)?;
        let limit = page::limit(limit)?;
        let before = match cursor {
            "" => i64::MAX,
            cursor => page::decode_cursor(cursor, 1)?[0].parse().map_err(|_| bad_cursor())?,
        };
        self.check_owner(sku_id).await?;
        let mut entries = self.store.ledger_of(sku_id, before, limit + 1).await?;
        if entries.is_empty() && cursor.is_empty() {
            self.stock_of(sku_id).await?;
        }
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next_cursor = match entries.last() {
            Some(last) if more => page::encode_cursor(&[&last.seq.to_string()]),
            _ => String::new(),
        };
        Ok(LedgerPage { entries, next_cursor })
    }

    /// Reads a page of the whole ledger, oldest first.
    pub async fn ledger(&self, after_seq: i64, limit: i32) -> Result<Vec<LedgerEntry>> {
        Ok(self.store.ledger(after_seq, scan_limit(limit, SCAN_ROWS_MAX)).await?)
    }

    /// Reads the reservations that exist among these ids.
    ///
    /// # Errors
    /// `too_many_ids` over 1,000.
    pub async fn reservations(&self, ids: &[String]) -> Result<Vec<Reservation>> {
        let ids = distinct(ids, RESERVATIONS_MAX, "ids")?;
        Ok(self.store.reservations(&ids).await?)
    }

    /// Reads a page of all reservations in order of id.
    pub async fn reservations_after(&self, after_id: &str, limit: i32) -> Result<Vec<Reservation>> {
        Ok(self.store.reservations_after(after_id, scan_limit(limit, RESERVATIONS_MAX)).await?)
    }

    /// Lets operators and services pass, and a seller whose product the SKU is. Somebody else's SKU is as unknown as none.
    async fn check_owner(&self, sku_id: &str) -> Result<()> {
        let (everything, seller_id) = mallard_rpc::with_current(|call| {
            (call.caller.is_admin() || call.caller.is_system(), call.caller.seller_id.clone())
        });
        if everything {
            return Ok(());
        }
        if seller_id.is_empty() {
            return Err(Refusal::SellerRequired.into());
        }
        let mut catalog = self.ctx.client::<CatalogServiceClient<ServiceChannel>>();
        let request = BatchGetSkusRequest { sku_ids: vec![sku_id.to_owned()] };
        let answer = catalog.batch_get_skus(request).await.map_err(mallard_rpc::error)?.into_inner();
        if answer.skus.iter().any(|sku| sku.sku_id == sku_id && sku.seller_id == seller_id) {
            return Ok(());
        }
        Err(Refusal::SkuUnknown { sku_id: sku_id.to_owned(), line: None }.into())
    }
}

pub(super) fn bad_cursor() -> mallard_types::Error {
    mallard_types::Error::invalid("bad_cursor", "the cursor is not one this list gave; leave it out to start anew")
        .param("cursor")
}

/// Reads a scan's limit: 0 or too many mean the most there is.
fn scan_limit(limit: i32, max: usize) -> usize {
    match usize::try_from(limit) {
        Ok(limit) if (1..=max).contains(&limit) => limit,
        _ => max,
    }
}

pub(super) fn distinct<'a>(ids: &'a [String], max: usize, param: &'static str) -> Result<Vec<&'a str>> {
    if ids.len() > max {
        return Err(Refusal::TooManyIds(param).into());
    }
    let mut distinct: Vec<&str> = ids.iter().map(String::as_str).collect();
    distinct.sort_unstable();
    distinct.dedup();
    Ok(distinct)
}

//! What the mall does at the moment: sales, how many of those who look buy, the latest orders, what runs out.

use http::StatusCode;
use mallard_proto::catalog::v1::BatchGetSkusRequest;
use mallard_proto::insight::v1::{FunnelDay, GetFunnelRequest, GetFunnelResponse, GetSalesRequest, GetSalesResponse};
use mallard_proto::inventory::v1::{ListStockAlertsRequest, ListStockAlertsResponse};
use mallard_proto::order::v1::{AdminListOrdersRequest, ListOrdersResponse};
use mallard_types::{Kind, Result};

use super::orders::table;
use super::shell;
use super::text::Words;
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::panel::Panel;
use crate::console::text::Words as Common;
use crate::console::view::{Block, Cell, Page, Part, Piece, Table, time};
use crate::console::{link, permit, sales};

const LATEST: i32 = 8;
const LOOK_AGAIN_S: u32 = 5;
const ALERTS_SHORT: i32 = 6;
const ALERTS: i32 = 50;

/// Shows the dashboard. What is live or not the most important is loaded by parts of its own.
///
/// # Errors
/// `forbidden`.
pub async fn show(ask: &Ask) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    // Nothing of the page is for who may not even see the orders.
    permit(ask, "GET", "/admin/v1/orders", &[]).await?;
    let (sold, funnel) = tokio::join!(sales_of(ask), funnel_of(ask));
    let sold = Panel::of(sold)?.map(|sold| sales::parts(c, w.sales_chart, &sold));
    let funnel = Panel::of(funnel)?.map(|funnel| visits(w, &funnel));
    let later = |path: &str, label: &'static str| vec![Part::Links(vec![(ask.link(path), label.to_owned())])];
    let live = Block::new("live", w.live_orders, later("/operator/orders", w.all_orders));
    let alerts = Block::new("alerts", w.stock_alerts, later("/operator/stock-alerts", w.see_alerts)).aside();
    let blocks = vec![
        Block::of("sales", w.sales, sold),
        live.live(ask.link("/operator/live"), 0),
        Block::of("funnel", w.visits, funnel).aside(),
        alerts.live(ask.link("/operator/stock-alerts?part=1"), 0),
    ];
    Page::new(shell(ask, w.dashboard, "/operator"), blocks).answer(StatusCode::OK)
}

async fn sales_of(ask: &Ask) -> Result<GetSalesResponse> {
    let caller = permit(ask, "GET", "/admin/v1/insight/sales", &[]).await?;
    let mut client = ask.site.console.insight();
    ask.read(&caller, client.get_sales(GetSalesRequest::default())).await
}

async fn funnel_of(ask: &Ask) -> Result<GetFunnelResponse> {
    let caller = permit(ask, "GET", "/admin/v1/insight/funnel", &[]).await?;
    let mut client = ask.site.console.insight();
    ask.read(&caller, client.get_funnel(GetFunnelRequest::default())).await
}

fn visits(w: &'static Words, funnel: &GetFunnelResponse) -> Vec<Part> {
    let FunnelDay { product_views, cart_additions, checkouts, placed, paid, .. } =
        funnel.total.clone().unwrap_or_default();
    let steps = [
        (w.product_views, product_views),
        (w.cart_additions, cart_additions),
        (w.checkouts, checkouts),
        (w.placed, placed),
        (w.paid, paid),
    ];
    let rows = steps
        .map(|(name, count)| vec![Cell::text(name), Cell::number(count), Cell::number(share(count, product_views))]);
    let table = Table {
        caption: w.visits.to_owned(),
        columns: vec![w.step, w.count, w.share],
        rows: rows.into(),
        empty: w.no_orders,
    };
    let conversion = (w.conversion, share(paid, product_views), w.conversion_text.to_owned());
    vec![Part::Figures(vec![conversion]), Part::Table(table)]
}

/// Writes a part of a whole in per cent with one digit, a dash where there is no whole.
fn share(part: i64, whole: i64) -> String {
    if whole <= 0 {
        return "–".to_owned();
    }
    // Per mille, rounded half up; wide enough for any count.
    let thousandths = (i128::from(part) * 2_000 + i128::from(whole)) / (i128::from(whole) * 2);
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}

/// Shows the latest orders alone, to be put into the dashboard again and again.
///
/// # Errors
/// `forbidden`.
pub async fn live(ask: &Ask) -> Result<Answer> {
    let w = Words::of(ask.lang);
    let latest = match latest(ask).await {
        // The page is still open, the session is not.
        Err(error) if error.kind == Kind::Unauthenticated => return signed_out(ask, "live", w.live_orders),
        latest => Panel::of(latest)?,
    };
    let body = latest.map(|list| {
        let all = (ask.link("/operator/orders"), w.all_orders.to_owned());
        vec![Part::Table(table(ask, &list.orders)), Part::Links(vec![all])]
    });
    let block = Block::of("live", w.live_orders, body).text(w.live_text);
    piece(ask, block.live(ask.link("/operator/live"), LOOK_AGAIN_S))
}

fn piece(ask: &Ask, b: Block) -> Result<Answer> {
    Answer::page(&Piece { s: shell(ask, "", "/operator"), b })
}

fn signed_out(ask: &Ask, id: &'static str, title: &'static str) -> Result<Answer> {
    let w = Words::of(ask.lang);
    let to = (ask.link("/sign-in?next=/operator"), ask.t.sign_in.to_owned());
    piece(ask, Block::new(id, title, vec![Part::Note("warn", w.signed_out.to_owned()), Part::Links(vec![to])]))
}

async fn latest(ask: &Ask) -> Result<ListOrdersResponse> {
    let caller = permit(ask, "GET", "/admin/v1/orders", &[]).await?;
    let request = AdminListOrdersRequest { limit: LATEST, ..AdminListOrdersRequest::default() };
    let mut client = ask.site.peers.order();
    ask.read(&caller, client.admin_list_orders(request)).await
}

/// Shows what runs out: as a page, or as a part of the dashboard.
///
/// # Errors
/// `forbidden`, `bad_cursor`.
pub async fn alerts(ask: &Ask) -> Result<Answer> {
    let w = Words::of(ask.lang);
    let is_part = !ask.query.get("part").is_empty();
    let after = ask.query.get("after");
    let found = match little(ask, if is_part { ALERTS_SHORT } else { ALERTS }, after).await {
        Err(error) if is_part && error.kind == Kind::Unauthenticated => {
            return signed_out(ask, "alerts", w.stock_alerts);
        }
        Err(error) if !is_part && error.kind == Kind::Forbidden => return Err(error),
        found => Panel::of(found)?,
    };
    let mut more = String::new();
    let body = found.map(|(list, names)| {
        more = list.next_cursor.clone();
        let mut parts = vec![Part::Table(alert_table(ask, &list, &names))];
        if is_part {
            parts.push(Part::Links(vec![(ask.link("/operator/stock-alerts"), w.all_alerts.to_owned())]));
        }
        parts
    });
    let block = Block::of("alerts", w.stock_alerts, body);
    if is_part {
        return piece(ask, block.aside());
    }
    let mut page = Page::new(shell(ask, w.stock_alerts, "/operator"), vec![block]);
    page.back = Some((ask.link("/operator"), w.dashboard.to_owned()));
    if !more.is_empty() {
        page.more = link(ask, "/operator/stock-alerts", &[("after", &more)]);
    }
    if !after.is_empty() {
        page.first = ask.link("/operator/stock-alerts");
    }
    page.answer(StatusCode::OK)
}

type Names = std::collections::BTreeMap<String, (String, String)>;

/// Lists what runs out, with the names of the goods as far as the catalogue answers.
async fn little(ask: &Ask, limit: i32, after: &str) -> Result<(ListStockAlertsResponse, Names)> {
    let caller = permit(ask, "GET", "/admin/v1/stock-alerts", &[]).await?;
    let request = ListStockAlertsRequest { sku_ids: Vec::new(), limit, cursor: after.to_owned() };
    let mut client = ask.site.console.inventory();
    let list = ask.read(&caller, client.list_stock_alerts(request)).await?;
    let sku_ids: Vec<String> = list.alerts.iter().map(|alert| alert.sku_id.clone()).collect();
    let mut names = Names::new();
    if sku_ids.is_empty() {
        return Ok((list, names));
    }
    let mut catalog = ask.site.console.catalog();
    match ask.read(&caller, catalog.batch_get_skus(BatchGetSkusRequest { sku_ids })).await {
        Ok(found) => names.extend(found.skus.into_iter().map(|sku| {
            let options = crate::view::options(&sku.options);
            (sku.sku_id, (sku.title, options))
        })),
        Err(error) => tracing::warn!(%error, "the goods that run out are shown without their names"),
    }
    Ok((list, names))
}

fn alert_table(ask: &Ask, list: &ListStockAlertsResponse, names: &Names) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let rows = list.alerts.iter().map(|alert| {
        let name = match names.get(&alert.sku_id) {
            Some((title, options)) => Cell::text(title.clone()).note(options.clone()),
            None => Cell::code(alert.sku_id.clone()),
        };
        let tone = if alert.available > 0 { "warn" } else { "bad" };
        vec![name, Cell::state(alert.available.to_string(), tone), Cell::text(time(ask, &alert.since))]
    });
    Table {
        caption: w.stock_alerts.to_owned(),
        columns: vec![c.product, w.left, w.since],
        rows: rows.collect(),
        empty: w.no_alerts,
    }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_are_rounded_and_never_divided_by_nothing() {
        assert_eq!(share(1, 3), "33.3 %");
        assert_eq!(share(2, 3), "66.7 %");
        assert_eq!(share(0, 5), "0.0 %");
        assert_eq!(share(5, 5), "100.0 %");
        assert_eq!(share(3, 0), "–");
        assert_eq!(share(i64::MAX, i64::MAX), "100.0 %");
    }
}

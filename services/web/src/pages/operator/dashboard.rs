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
const ALERTS_PART: &str = "/operator/stock-alerts?part=1";
const ALERTS_AGAIN_S: u32 = 30;
/// Seldom enough that nobody who reads the numbers is disturbed.
const SUMS_AGAIN_S: u32 = 60;
const ALERTS_SHORT: i32 = 6;
const ALERTS: i32 = 50;

/// Shows the dashboard. What is live or not the most important is loaded by parts of its own.
///
/// # Errors
/// `forbidden`.
pub async fn show(ask: &Ask) -> Result<Answer> {
    let w = Words::of(ask.lang);
    // Nothing of the page is for who may not even see the orders.
    permit(ask, "GET", "/admin/v1/orders", &[]).await?;
    let (sold, funnel) = tokio::join!(sales_of(ask), funnel_of(ask));
    let (sales, currency) = sales_block(ask, sold)?;
    let later = |path: &str, label: &'static str| vec![Part::Links(vec![(ask.link(path), label.to_owned())])];
    let live = Block::new("live", w.live_orders, later("/operator/orders", w.all_orders));
    let live = live.live(ask.link("/operator/live"), LOOK_AGAIN_S).at_once();
    let may_see = Panel::of(permit(ask, "GET", "/admin/v1/stock-alerts", &[]).await)?;
    let asks = !matches!(may_see, Panel::Refused);
    let alerts = Block::of("alerts", w.stock_alerts, may_see.map(|_| later("/operator/stock-alerts", w.see_alerts)));
    let alerts = if asks { alerts.live(ask.link(ALERTS_PART), ALERTS_AGAIN_S).at_once() } else { alerts };
    let blocks = vec![sales, live, funnel_block(ask, funnel)?, alerts.aside()];
    let mut page = Page::new(shell(ask, w.dashboard, "/operator"), blocks);
    // Where no script looks again, people do.
    page.links = vec![(ask.link(&ask.here()), Common::of(ask.lang).look_again.to_owned())];
    if !currency.is_empty() {
        page.filter = Some(sales::choice(ask, "/operator", &currency));
    }
    page.answer(StatusCode::OK)
}

/// Makes the block of the sums, and names the currency they are in.
fn sales_block(ask: &Ask, sold: Result<GetSalesResponse>) -> Result<(Block, String)> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let sold = Panel::of(sold)?;
    let currency = if let Panel::Ready(sold) = &sold { sales::currency(sold).to_owned() } else { String::new() };
    let body = sold.map(|sold| sales::parts(c, w.sales_chart, &sold));
    let again = link(ask, "/operator/live", &[("part", "sales"), ("currency", sales::wanted(ask))]);
    let block = Block::of("sales", sales::heading(w.sales, &currency), body);
    Ok((block.live(again, SUMS_AGAIN_S), currency))
}

fn funnel_block(ask: &Ask, funnel: Result<GetFunnelResponse>) -> Result<Block> {
    let w = Words::of(ask.lang);
    let body = Panel::of(funnel)?.map(|funnel| visits(w, &funnel));
    Ok(Block::of("funnel", w.visits, body).aside().live(ask.link("/operator/live?part=funnel"), SUMS_AGAIN_S))
}

async fn sales_of(ask: &Ask) -> Result<GetSalesResponse> {
    let caller = permit(ask, "GET", "/admin/v1/insight/sales", &[]).await?;
    let request = GetSalesRequest { currency: sales::wanted(ask).to_owned(), ..GetSalesRequest::default() };
    let mut client = ask.site.console.insight();
    ask.read(&caller, client.get_sales(request)).await
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

/// Shows one part of the dashboard alone, to be put into it again and again: the latest orders, or the sums.
///
/// # Errors
/// `forbidden`; nothing is put in the place of what is shown then.
pub async fn live(ask: &Ask) -> Result<Answer> {
    let w = Words::of(ask.lang);
    let (id, title) = match ask.query.get("part") {
        "sales" => ("sales", w.sales),
        "funnel" => ("funnel", w.visits),
        _ => ("live", w.live_orders),
    };
    let made = async {
        permit(ask, "GET", "/admin/v1/orders", &[]).await?;
        match id {
            "sales" => sales_block(ask, sales_of(ask).await).map(|(block, _)| block),
            "funnel" => funnel_block(ask, funnel_of(ask).await),
            _ => orders_block(ask, latest(ask).await),
        }
    };
    match made.await {
        Ok(block) => piece(ask, block),
        // The page is still open, the session is not.
        Err(error) if error.kind == Kind::Unauthenticated => signed_out(ask, id, title, "/operator"),
        Err(error) => Err(error),
    }
}

fn orders_block(ask: &Ask, latest: Result<ListOrdersResponse>) -> Result<Block> {
    let w = Words::of(ask.lang);
    let body = Panel::of(latest)?.map(|list| {
        let all = (ask.link("/operator/orders"), w.all_orders.to_owned());
        vec![Part::Table(table(ask, &list.orders)), Part::Links(vec![all])]
    });
    let block = Block::of("live", w.live_orders, body).text(w.live_text);
    Ok(block.live(ask.link("/operator/live"), LOOK_AGAIN_S))
}

fn piece(ask: &Ask, b: Block) -> Result<Answer> {
    Answer::page(&Piece { s: shell(ask, "", "/operator"), b })
}

/// Says in the place of a part that nobody is signed in any more; `next` is the page to come back to.
///
/// # Errors
/// `page_unwritable`.
pub fn signed_out(ask: &Ask, id: &'static str, title: &'static str, next: &str) -> Result<Answer> {
    let w = Words::of(ask.lang);
    let to = (link(ask, "/sign-in", &[("next", next)]), ask.t.sign_in.to_owned());
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
            return signed_out(ask, "alerts", w.stock_alerts, "/operator");
        }
        Err(error) if error.kind == Kind::Forbidden => return Err(error),
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
        return piece(ask, block.aside().live(ask.link(ALERTS_PART), ALERTS_AGAIN_S));
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

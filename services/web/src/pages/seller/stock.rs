//! Stock: what is there of each variant, why it changed, and changes by hand.

use std::collections::BTreeMap;

use http::StatusCode;
use mallard_proto::catalog::v1::{AdminListProductsRequest, BatchGetSkusRequest, ListProductsResponse, Sku};
use mallard_proto::inventory::v1::{
    AdjustStockRequest, BatchGetStockRequest, GetStockRequest, LedgerEntry, ListLedgerRequest, ListLedgerResponse,
    Stock,
};
use mallard_types::{Error, Result};

use super::text::Words;
use super::{permit, shell};
use crate::answer::Answer;
use crate::ask::Ask;
use crate::catalogue::title;
use crate::console::form::{Input, above, mark, status};
use crate::console::panel::Panel;
use crate::console::text::Words as Common;
use crate::console::view::{Block, Cell, Form, Page, Part, Table, time};
use crate::console::{fresh_key, link, look_again, sent_key};
use crate::view::{options, picture};

/// Products of a page.
const PAGE: i32 = 20;
const LEDGER: i32 = 30;

/// Shows the stock of every variant, product by product.
///
/// # Errors
/// `forbidden`, `bad_cursor`.
pub async fn all(ask: &Ask) -> Result<Answer> {
    let w = Words::of(ask.lang);
    let after = ask.query.get("after");
    let caller = permit(ask, "GET", "/seller/v1/products", &[]).await?;
    let request = AdminListProductsRequest {
        seller: caller.seller_id.clone(),
        limit: PAGE,
        cursor: after.to_owned(),
        ..AdminListProductsRequest::default()
    };
    let mut client = ask.site.console.catalog();
    let list = Panel::of(ask.read(&caller, client.admin_list_products(request)).await)?;
    let stock = match &list {
        Panel::Ready(list) => Panel::of(stocks(ask, list).await)?,
        _ => Panel::Away,
    };
    let mut more = String::new();
    let body = list.map(|list| {
        if !list.next_cursor.is_empty() {
            more = link(ask, "/seller/stock", &[("after", &list.next_cursor)]);
        }
        let known = if let Panel::Ready(stock) = &stock { Some(stock) } else { None };
        vec![Part::Table(stock_table(ask, &list, known))]
    });
    let mut page = Page::new(shell(ask, w.stock, "/seller/stock"), vec![Block::of("list", w.stock, body)]);
    page.more = more;
    if !after.is_empty() {
        page.first = ask.link("/seller/stock");
    }
    page.answer(StatusCode::OK)
}

async fn stocks(ask: &Ask, list: &ListProductsResponse) -> Result<BTreeMap<String, Stock>> {
    let sku_ids: Vec<String> =
        list.products.iter().flat_map(|product| &product.variants).map(|variant| variant.id.clone()).collect();
    let Some(first) = sku_ids.first() else { return Ok(BTreeMap::new()) };
    let caller = permit(ask, "GET", "/seller/v1/inventory/{}", &[first]).await?;
    let mut client = ask.site.console.inventory();
    let found = ask.read(&caller, client.batch_get_stock(BatchGetStockRequest { sku_ids })).await?;
    Ok(found.stocks.into_iter().map(|stock| (stock.sku_id.clone(), stock)).collect())
}

fn stock_table(ask: &Ask, list: &ListProductsResponse, known: Option<&BTreeMap<String, Stock>>) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let mut rows = Vec::new();
    for product in &list.products {
        for variant in &product.variants {
            let name = title(product, ask.lang).to_owned();
            let shot = Some(picture(product, 0, ""));
            let name =
                Cell { picture: shot, ..Cell::text(name).to(ask.link(&format!("/seller/stock/{}", variant.id))) };
            let units = |units: Option<i64>| Cell::number(units.map_or("–".to_owned(), |units| units.to_string()));
            let stock = known.and_then(|known| known.get(&variant.id));
            let left = match stock.map(|stock| stock.available) {
                Some(0) => Cell::state(w.sold_out, "bad"),
                left => units(left),
            };
            rows.push(vec![
                name.note(options(&variant.options)),
                Cell::code(variant.code.clone()),
                units(stock.map(|stock| stock.on_hand)),
                units(stock.map(|stock| stock.reserved)),
                left,
            ]);
        }
    }
    Table {
        caption: w.stock.to_owned(),
        columns: vec![c.product, w.code, w.on_hand, w.reserved, w.available],
        rows,
        empty: w.no_stock,
    }
}

/// Shows the stock of one variant.
///
/// # Errors
/// `sku_unknown`, `forbidden`.
pub async fn show(ask: &Ask, sku: &str) -> Result<Answer> {
    render(ask, sku, StatusCode::OK, None).await
}

async fn render(ask: &Ask, sku: &str, code: StatusCode, refused: Option<&Error>) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    permit(ask, "GET", "/seller/v1/inventory/{}", &[sku]).await?;
    let after = ask.query.get("after");
    // After a refusal its history is left for the next look, so that the page asks no more than any other.
    let (stock, ledger, name) = tokio::join!(
        stock_of(ask, sku),
        async { if refused.is_some() { None } else { Some(ledger_of(ask, sku, after).await) } },
        sku_of(ask, sku)
    );
    // Somebody else's is not there; only what does not answer is left out.
    let stock = Panel::of(stock)?.map(|stock| vec![Part::Figures(figures(w, &stock))]);
    let (known, name) = match name {
        Ok(sku) => (sku.product_id.clone(), format!("{} {}", sku.title, options(&sku.options)).trim().to_owned()),
        Err(_) => (String::new(), sku.to_owned()),
    };
    let mut more = String::new();
    let ledger = match ledger {
        None => Panel::Ready(vec![look_again(ask, format!("/seller/stock/{sku}"))]),
        Some(ledger) => Panel::of(ledger)?.map(|ledger| {
            if !ledger.next_cursor.is_empty() {
                more = link(ask, &format!("/seller/stock/{sku}"), &[("after", &ledger.next_cursor)]);
            }
            vec![Part::Table(ledger_table(ask, &ledger.entries))]
        }),
    };
    let mut s = shell(ask, name, "/seller/stock");
    if ask.query.get("done") == "adjusted" {
        s.f.notice = w.adjusted_done;
    }
    let mut form = adjust_form(ask, sku);
    if let Some(error) = refused {
        s.trouble = above(ask.t, c, error);
        for field in &mut form.fields {
            field.value = ask.form.get(&field.name).to_owned();
        }
        mark(&mut form.fields, c, error);
        if error.is_retryable() {
            form.hidden = vec![("key", sent_key(ask))];
        }
    }
    let blocks = vec![
        Block::of("stock", w.stock, stock),
        Block::of("ledger", w.ledger, ledger),
        Block::new("adjust", w.adjust, vec![Part::Form(Box::new(form))]).text(w.adjust_text).aside(),
    ];
    let mut page = Page::new(s, blocks);
    page.back = Some(match known.is_empty() {
        true => (ask.link("/seller/stock"), w.stock.to_owned()),
        false => (ask.link(&format!("/seller/products/{known}")), c.product.to_owned()),
    });
    page.more = more;
    if !after.is_empty() {
        page.first = ask.link(&format!("/seller/stock/{sku}"));
    }
    page.answer(code)
}

async fn stock_of(ask: &Ask, sku: &str) -> Result<Stock> {
    let caller = permit(ask, "GET", "/seller/v1/inventory/{}", &[sku]).await?;
    let mut client = ask.site.console.inventory();
    let answer = ask.read(&caller, client.get_stock(GetStockRequest { sku_id: sku.to_owned() })).await?;
    Ok(answer.inventory.unwrap_or_default())
}

async fn ledger_of(ask: &Ask, sku: &str, after: &str) -> Result<ListLedgerResponse> {
    let caller = permit(ask, "GET", "/seller/v1/inventory/{}/ledger", &[sku]).await?;
    let request = ListLedgerRequest { sku_id: sku.to_owned(), limit: LEDGER, cursor: after.to_owned() };
    let mut client = ask.site.console.inventory();
    ask.read(&caller, client.list_ledger(request)).await
}

async fn sku_of(ask: &Ask, sku: &str) -> Result<Sku> {
    let caller = permit(ask, "GET", "/seller/v1/products", &[]).await?;
    let request = BatchGetSkusRequest { sku_ids: vec![sku.to_owned()] };
    let mut client = ask.site.console.catalog();
    let found = ask.read(&caller, client.batch_get_skus(request)).await?;
    let missing = || Error::not_found("sku_unknown", "there is no such SKU");
    found.skus.into_iter().find(|found| found.seller_id == caller.seller_id).ok_or_else(missing)
}

fn figures(w: &'static Words, stock: &Stock) -> Vec<(&'static str, String, String)> {
    vec![
        (w.on_hand, stock.on_hand.to_string(), String::new()),
        (w.reserved, stock.reserved.to_string(), String::new()),
        (w.available, stock.available.to_string(), String::new()),
    ]
}

fn ledger_table(ask: &Ask, entries: &[LedgerEntry]) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let row = |entry: &LedgerEntry| {
        let kind = match entry.kind.as_str() {
            "received" => w.received,
            "sold" => w.sold,
            "returned" => w.returned,
            _ => w.adjusted,
        };
        vec![
            Cell::text(time(ask, &entry.created_at)),
            Cell::text(kind),
            Cell::number(format!("{:+}", entry.delta)),
            Cell::text(entry.reason.clone()),
            Cell::code(entry.reference.clone()),
        ]
    };
    Table {
        caption: w.ledger.to_owned(),
        columns: vec![c.when, w.kind, w.change, c.why, w.reference],
        rows: entries.iter().map(row).collect(),
        empty: w.no_ledger,
    }
}

fn adjust_form(ask: &Ask, sku: &str) -> Form {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    Form {
        action: ask.link(&format!("/seller/stock/{sku}")),
        fields: vec![
            Input { maxlength: 11, ..Input::line("delta", w.delta, "").required().hint(w.delta_hint) },
            Input::line("reason", c.why, "").required(),
        ],
        hidden: vec![("key", fresh_key(ask))],
        button: w.adjust,
        ..Form::default()
    }
}

/// Adds or takes away units. The same form sent twice counts once.
///
/// # Errors
/// `sku_unknown`, `forbidden`.
pub async fn adjust(ask: &Ask, sku: &str) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "POST", "/seller/v1/inventory/{}/adjust", &[sku]).await?;
        let delta = ask.form.number("delta").filter(|delta| *delta != 0);
        let bad = || Error::invalid("delta_out_of_range", "a whole number, not 0").param("delta");
        let delta = delta.ok_or_else(bad)?;
        if ask.form.get("reason").is_empty() {
            return Err(Error::invalid("required", "say why").param("reason"));
        }
        let request = AdjustStockRequest {
            sku_id: sku.to_owned(),
            delta,
            reason: ask.form.get("reason").to_owned(),
            idempotency_key: sent_key(ask),
            reference: String::new(),
        };
        let mut client = ask.site.console.inventory();
        ask.write(&caller, client.adjust_stock(request)).await.map(drop)
    };
    match done.await {
        Ok(()) => Ok(Answer::to(ask.link(&format!("/seller/stock/{sku}?done=adjusted")))),
        Err(error) => match status(&error) {
            Some(status) => render(ask, sku, status, Some(&error)).await,
            None => Err(error),
        },
    }
}

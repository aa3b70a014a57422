//! A seller's products, newest first.

use http::StatusCode;
use mallard_proto::catalog::v1::{AdminListProductsRequest, Product, ProductStatus};
use mallard_types::Result;

use super::text::Words;
use super::{permit, shell};
use crate::answer::Answer;
use crate::ask::Ask;
use crate::catalogue::title;
use crate::console::form::Input;
use crate::console::link;
use crate::console::panel::Panel;
use crate::console::text::Words as Common;
use crate::console::view::{Block, Cell, Form, Page, Part, Table, time};
use crate::domain::price;
use crate::view::{picture, variant_price};

const PAGE: i32 = 20;

/// Shows a page of products.
///
/// # Errors
/// `forbidden`, `bad_cursor`.
pub async fn show(ask: &Ask) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let caller = permit(ask, "GET", "/seller/v1/products", &[]).await?;
    let statuses = [("listed", w.listed), ("draft", w.draft), ("delisted", w.delisted)];
    let asked = ask.query.get("status");
    let chosen = statuses.iter().find(|(name, _)| *name == asked).map_or("", |(name, _)| name);
    let (q, after) = (ask.query.get("q"), ask.query.get("after"));
    let request = AdminListProductsRequest {
        status: chosen.to_owned(),
        seller: caller.seller_id.clone(),
        q: q.to_owned(),
        limit: PAGE,
        cursor: after.to_owned(),
        count: false,
    };
    let mut client = ask.site.console.catalog();
    let list = Panel::of(ask.read(&caller, client.admin_list_products(request)).await)?;
    let keep = |after: &str| link(ask, "/seller/products", &[("status", chosen), ("q", q), ("after", after)]);
    let mut more = String::new();
    let body = list.map(|list| {
        if !list.next_cursor.is_empty() {
            more = keep(&list.next_cursor);
        }
        vec![Part::Table(table(ask, &list.products))]
    });
    let mut s = shell(ask, w.products, "/seller/products");
    if ask.query.get("done") == "deleted" {
        s.f.notice = w.deleted_done;
    }
    let mut page = Page::new(s, vec![Block::of("list", w.products, body)]);
    page.links = vec![(ask.link("/seller/products/new"), w.new_product.to_owned())];
    let choices = std::iter::once((String::new(), c.any.to_owned()))
        .chain(statuses.iter().map(|(name, label)| ((*name).to_owned(), (*label).to_owned())));
    page.filter = Some(Form {
        action: ask.link("/seller/products"),
        fields: vec![
            Input::select("status", c.status, chosen, choices.collect()).required(),
            Input::line("q", w.search, q).required(),
        ],
        button: c.show,
        opened: !(chosen.is_empty() && q.is_empty()),
        ..Form::default()
    });
    page.more = more;
    if !after.is_empty() {
        page.first = keep("");
    }
    page.answer(StatusCode::OK)
}

/// Returns a status in words, and whether it is good, waiting or bad.
pub fn status(w: &'static Words, status: ProductStatus) -> (&'static str, &'static str) {
    match status {
        ProductStatus::Draft => (w.draft, "warn"),
        ProductStatus::Listed => (w.listed, "good"),
        ProductStatus::Delisted => (w.delisted, "bad"),
        ProductStatus::Deleted => (w.deleted, "bad"),
    }
}

fn table(ask: &Ask, products: &[Product]) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let row = |product: &Product| {
        let name = title(product, ask.lang).to_owned();
        let (words, tone) = status(w, product.status());
        let mut prices: Vec<_> = product.variants.iter().filter_map(|variant| variant_price(variant).ok()).collect();
        prices.sort_by_key(|money| money.amount);
        let span = match (prices.first(), prices.last()) {
            (Some(low), Some(high)) if low != high => format!("{} – {}", price(*low), price(*high)),
            (Some(low), _) => price(*low),
            _ => String::new(),
        };
        let out = product.variants.iter().filter(|variant| !variant.in_stock).count();
        let out = if out > 0 { format!("{}: {out}", w.sold_out) } else { String::new() };
        let shot = picture(product, 0, "");
        let cell =
            Cell { picture: Some(shot), ..Cell::text(name).to(ask.link(&format!("/seller/products/{}", product.id))) };
        vec![
            cell,
            Cell::state(words, tone),
            Cell::number(span),
            Cell::number(product.variants.len()).note(out),
            Cell::text(time(ask, &product.updated_at)),
        ]
    };
    Table {
        caption: w.products.to_owned(),
        columns: vec![c.product, c.status, w.price, w.variants, w.changed],
        rows: products.iter().map(row).collect(),
        empty: w.no_products,
    }
}

//! One product of a seller's, with a form for each of its parts. Each form brings the version it was made from: what another tab
//! has saved in between is not written over.

use std::collections::BTreeMap;

use http::StatusCode;
use mallard_proto::catalog::v1::{GetProductRequest, Product, ProductStatus};
use mallard_proto::inventory::v1::BatchGetStockRequest;
use mallard_types::{Error, Result};

use super::create::{mark_texts, shelves, texts};
use super::pictures;
use super::products::status;
use super::text::Words;
use super::variants::{self, Rows};
use super::{permit, shell};
use crate::answer::Answer;
use crate::ask::Ask;
use crate::catalogue::title;
use crate::console::form::{above, say};
use crate::console::text::Words as Common;
use crate::console::view::{Block, Cell, Form, Page, Part, time};

/// What the catalogue says of a version that is not the present one.
pub const STALE: &str = "version_mismatch";

/// A form that was refused: which, why, and what was typed.
pub struct Refused<'a> {
    pub part: PartOf,
    pub error: &'a Error,
    /// Rows of variants, and which of them were sent.
    pub rows: Option<(&'a Rows, &'a [usize])>,
    /// The product as it was read for the form.
    pub product: Option<Product>,
}

/// A form of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartOf {
    Texts,
    Variants,
    Pictures,
    Upload,
    Shelf,
}

/// Shows a product.
///
/// # Errors
/// `product_not_found`, `forbidden`.
pub async fn show(ask: &Ask, id: &str) -> Result<Answer> {
    render(ask, id, StatusCode::OK, None, None).await
}

/// Reads a product of the seller's own.
///
/// # Errors
/// `product_not_found`, `forbidden`.
pub async fn product_of(ask: &Ask, id: &str) -> Result<Product> {
    let caller = permit(ask, "GET", "/seller/v1/products/{}", &[id]).await?;
    let mut client = ask.site.console.catalog();
    let answer = ask.read(&caller, client.admin_get_product(GetProductRequest { id: id.to_owned() })).await?;
    let missing = || Error::not_found("product_not_found", "there is no such product");
    // Who is an operator too sees here what is the seller's all the same.
    answer.product.filter(|product| product.seller_id == caller.seller_id).ok_or_else(missing)
}

/// Shows a product, after a form was refused, or with room for more variants.
///
/// # Errors
/// `product_not_found`, `forbidden`.
pub async fn render(
    ask: &Ask,
    id: &str,
    code: StatusCode,
    mut refused: Option<Refused<'_>>,
    more: Option<&Rows>,
) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    // What a refused form has read is not asked for again, and its page says nothing of the stock.
    let is_short = refused.is_some();
    let known = refused.as_mut().and_then(|refused| refused.product.take());
    let read = async {
        match known {
            Some(product) => Ok(product),
            None => product_of(ask, id).await,
        }
    };
    let (product, directory) = tokio::join!(read, ask.public(ask.site.catalogue.directory()));
    let product = product?;
    let stock = if is_short { BTreeMap::new() } else { stock_of(ask, &product).await };
    let refused_in = |part: PartOf| refused.as_ref().filter(|refused| refused.part == part);
    let mut s = shell(ask, title(&product, ask.lang), "/seller/products");
    s.f.notice = match ask.query.get("done") {
        "created" => w.created_done,
        "saved" => c.saved,
        "listed" => w.listed_done,
        "delisted" => w.delisted_done,
        "picture" => w.picture_done,
        _ => "",
    };
    if let Some(refused) = &refused {
        s.trouble = above(ask.t, c, refused.error);
    }
    let mut own_rows = Rows::of(&product);
    own_rows.stock = stock;
    let texts = texts_form(ask, &product, &directory.unwrap_or_default(), refused_in(PartOf::Texts));
    let rows = variants_form(ask, &product, more.unwrap_or(&own_rows), refused_in(PartOf::Variants));
    let mut shots = vec![Part::Form(Box::new(pictures::upload_form(ask, &product, refused_in(PartOf::Upload))))];
    match pictures::form(ask, &product, refused_in(PartOf::Pictures)) {
        Some(form) => shots.insert(0, Part::Form(Box::new(form))),
        None => shots.insert(0, Part::Note("", w.no_pictures.to_owned())),
    }
    let (words, tone) = status(w, product.status());
    let blocks = vec![
        Block::new("texts", w.texts, vec![Part::Form(Box::new(texts))]),
        Block::new("variants", w.variants, vec![Part::Form(Box::new(rows))]).text(w.variants_text),
        Block::new("shelf", w.shelf_state, shelf(ask, &product)).aside(),
        Block::new("pictures", w.pictures, shots).aside(),
    ];
    let mut page = Page::new(s, blocks);
    page.state = Some((words.to_owned(), tone));
    page.back = Some((ask.link("/seller/products"), w.products.to_owned()));
    page.answer(code)
}

/// Reads how many of each variant are left to sell; nothing when the stock does not answer.
async fn stock_of(ask: &Ask, product: &Product) -> BTreeMap<String, i64> {
    let read = async {
        let sku_ids: Vec<String> = product.variants.iter().map(|variant| variant.id.clone()).collect();
        let first = sku_ids.first().cloned().unwrap_or_default();
        let caller = permit(ask, "GET", "/seller/v1/inventory/{}", &[&first]).await?;
        let mut client = ask.site.console.inventory();
        ask.read(&caller, client.batch_get_stock(BatchGetStockRequest { sku_ids })).await
    };
    match read.await {
        Ok(found) => found.stocks.into_iter().map(|stock| (stock.sku_id, stock.available)).collect(),
        Err(error) => {
            tracing::warn!(%error, "a product is shown without its stock");
            BTreeMap::new()
        }
    }
}

/// Makes the address of a form, and the hidden fields each has.
pub fn form(ask: &Ask, product: &Product, verb: &str) -> Form {
    Form {
        action: ask.link(&format!("/seller/products/{}{verb}", product.id)),
        hidden: vec![("version", product.version.to_string())],
        ..Form::default()
    }
}

/// Has a refused form say where the present state is; it keeps the version it was made from, and so is refused again.
pub fn keep_stale(ask: &Ask, product: &Product, form: &mut Form, error: &Error) {
    if error.code == STALE {
        form.reload = ask.link(&format!("/seller/products/{}", product.id));
        form.hidden = vec![("version", ask.form.get("version").to_owned())];
    }
}

fn texts_form(
    ask: &Ask,
    product: &Product,
    directory: &crate::catalogue::Directory,
    refused: Option<&Refused>,
) -> Form {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let zh = product.translations.get("zh").cloned().unwrap_or_default();
    let value = |name: &str| match (refused, name) {
        (Some(_), name) => ask.form.get(name).to_owned(),
        (None, "title") => product.title.clone(),
        (None, "description") => product.description.clone(),
        (None, "title_zh") => zh.title.clone(),
        (None, _) => zh.description.clone(),
    };
    let chosen = match refused {
        Some(_) => ask.form.all("category").map(str::to_owned).collect(),
        None => product.category_ids.clone(),
    };
    // Where the catalogue does not name its shelves none are shown, and none are changed.
    let own = if directory.categories.is_empty() { &[][..] } else { &product.category_ids };
    let mut form = Form {
        fields: texts(w, value),
        picks_title: w.shelves,
        picks: shelves(ask.lang, directory, &chosen, own),
        button: w.save_texts,
        ..form(ask, product, "")
    };
    if let Some(refused) = refused {
        if refused.error.param.as_deref().is_some_and(|param| param.starts_with("category")) {
            form.picks_error = say(c, refused.error);
        }
        mark_texts(&mut form.fields, c, refused.error);
        keep_stale(ask, product, &mut form, refused.error);
    }
    if !form.picks.is_empty() {
        form.hidden.push(("shelves", "1".to_owned()));
    }
    form
}

fn variants_form(ask: &Ask, product: &Product, own: &Rows, refused: Option<&Refused>) -> Form {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let (rows, sent) = refused.and_then(|refused| refused.rows).unwrap_or((own, &[]));
    let (mut names, mut groups) = (rows.names(w), rows.groups(w, |sku| ask.link(&format!("/seller/stock/{sku}"))));
    if let Some(refused) = refused {
        variants::mark(&mut names, &mut groups, sent, c, refused.error);
    }
    let mut form = Form {
        fields: names,
        groups,
        button: w.save_variants,
        other: Some(("more", w.more_rows)),
        ..form(ask, product, "/variants")
    };
    if let Some(refused) = refused {
        keep_stale(ask, product, &mut form, refused.error);
    }
    form
}

fn shelf(ask: &Ask, product: &Product) -> Vec<Part> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let is_listed = product.status() == ProductStatus::Listed;
    let mut parts = vec![Part::Facts(vec![
        (w.changed, Cell::text(time(ask, &product.updated_at))),
        (c.product, Cell::code(product.id.clone())),
    ])];
    if is_listed {
        let address = ask.link(&format!("/p/{}", product.id));
        parts.push(Part::Links(vec![(address, w.see_in_shop.to_owned())]));
        let text = w.delist_text.into();
        let delist =
            Form { title: w.delist.into(), text, button: w.delist, folded: true, ..form(ask, product, "/delist") };
        parts.push(Part::Form(Box::new(delist)));
    } else {
        let list = Form { text: w.list_text.into(), button: w.list, ..form(ask, product, "/list") };
        parts.push(Part::Form(Box::new(list)));
    }
    let delete = Form {
        title: w.delete.into(),
        text: w.delete_text.into(),
        button: w.delete,
        danger: true,
        folded: true,
        ..form(ask, product, "/delete")
    };
    parts.push(Part::Form(Box::new(delete)));
    parts
}

//! What a seller does to a product.

use http::StatusCode;
use mallard_proto::catalog::v1::{
    DeleteProductRequest, Product, ProductStatus, SetProductStatusRequest, UpdateProductRequest,
};
use mallard_types::{Currency, Error, Result};

use super::create::chinese;
use super::permit;
use super::product::{PartOf, Refused, STALE, product_of, render};
use super::variants::Rows;
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::form::status;

/// Saves texts and shelves.
///
/// # Errors
/// `product_not_found`, `forbidden`.
pub async fn texts(ask: &Ask, id: &str) -> Result<Answer> {
    let mut seen = None;
    let done = async {
        let caller = permit(ask, "PATCH", "/seller/v1/products/{}", &[id]).await?;
        let title = ask.form.get("title");
        if title.is_empty() {
            return Err(Error::invalid("required", "a product has a title").param("title"));
        }
        let product = &*seen.insert(product_of(ask, id).await?);
        // Texts in other languages stay as they are: what is sent replaces them all.
        let mut translations = product.translations.clone();
        match chinese(&ask.form)? {
            Some(texts) => drop(translations.insert("zh".to_owned(), texts)),
            None if translations.contains_key("zh") => {
                return Err(Error::invalid("required", "the Chinese title cannot be taken away").param("title_zh"));
            }
            None => {}
        }
        let category_ids: Vec<String> = ask.form.all("category").map(str::to_owned).collect();
        // To the catalogue no shelf means unchanged. Only a form that showed the shelves can have lost them all.
        if category_ids.is_empty() && !product.category_ids.is_empty() && !ask.form.get("shelves").is_empty() {
            return Err(Error::invalid("required", "a product that stood on a shelf stands on one").param("category"));
        }
        let request = UpdateProductRequest {
            id: id.to_owned(),
            title: Some(title.to_owned()),
            description: Some(ask.form.get("description").to_owned()),
            category_ids,
            translations,
            if_version: ask.form.number("version"),
            ..UpdateProductRequest::default()
        };
        let mut client = ask.site.console.catalog();
        ask.write(&caller, client.update_product(request)).await.map(drop)
    };
    let done = done.await;
    outcome(ask, id, PartOf::Texts, "saved", done, seen).await
}

/// Saves the variants; or shows the form with room for more.
///
/// # Errors
/// `product_not_found`, `forbidden`.
pub async fn variants(ask: &Ask, id: &str) -> Result<Answer> {
    let rows = Rows::read(&ask.form);
    if !ask.form.get("more").is_empty() {
        return render(ask, id, StatusCode::OK, None, Some(&rows.more())).await;
    }
    let (mut sent, mut seen) = (Vec::new(), None);
    let done = async {
        let caller = permit(ask, "PATCH", "/seller/v1/products/{}", &[id]).await?;
        // All variants of a product are priced in the currency of the first.
        let product = &*seen.insert(product_of(ask, id).await?);
        let first = product.variants.first().and_then(|variant| variant.price.as_ref());
        let currency = first.and_then(|price| Currency::parse(&price.currency).ok()).unwrap_or(Currency::CNY);
        let wanted = rows.wanted(currency)?;
        sent = wanted.rows;
        let request = UpdateProductRequest {
            id: id.to_owned(),
            options: wanted.options,
            variants: wanted.variants,
            if_version: ask.form.number("version"),
            ..UpdateProductRequest::default()
        };
        let mut client = ask.site.console.catalog();
        ask.write(&caller, client.update_product(request)).await.map(drop)
    };
    let error = match done.await {
        Ok(()) => return Ok(Answer::to(ask.link(&format!("/seller/products/{id}?done=saved")))),
        Err(error) => error,
    };
    match status(&error) {
        Some(code) => {
            let refused = Refused { part: PartOf::Variants, error: &error, rows: Some((&rows, &sent)), product: seen };
            render(ask, id, code, Some(refused), None).await
        }
        None => Err(error),
    }
}

fn asked(ask: &Ask, id: &str) -> SetProductStatusRequest {
    SetProductStatusRequest { id: id.to_owned(), if_version: ask.form.number("version") }
}

/// Looks whether a product stands where a form wanted it, after its version turned out to be an older one: then the form was
/// sent twice, or somebody else wanted the same, and it is done.
async fn reached(ask: &Ask, id: &str, wanted: ProductStatus, done: Result<()>) -> (Result<()>, Option<Product>) {
    match done {
        Err(error) if error.code == STALE => match product_of(ask, id).await {
            Ok(product) if product.status() == wanted => (Ok(()), Some(product)),
            Ok(product) => (Err(error), Some(product)),
            Err(other) => (Err(other), None),
        },
        done => (done, None),
    }
}

/// Puts a product up for sale.
///
/// # Errors
/// `product_not_found`, `forbidden`.
pub async fn list(ask: &Ask, id: &str) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "POST", "/seller/v1/products/{}/list", &[id]).await?;
        let mut client = ask.site.console.catalog();
        ask.write(&caller, client.list_product(asked(ask, id))).await.map(drop)
    };
    let (done, product) = reached(ask, id, ProductStatus::Listed, done.await).await;
    outcome(ask, id, PartOf::Shelf, "listed", done, product).await
}

/// Takes a product off the shelves.
///
/// # Errors
/// `product_not_found`, `forbidden`.
pub async fn delist(ask: &Ask, id: &str) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "POST", "/seller/v1/products/{}/delist", &[id]).await?;
        let mut client = ask.site.console.catalog();
        ask.write(&caller, client.delist_product(asked(ask, id))).await.map(drop)
    };
    let (done, product) = reached(ask, id, ProductStatus::Delisted, done.await).await;
    outcome(ask, id, PartOf::Shelf, "delisted", done, product).await
}

/// Deletes a product.
///
/// # Errors
/// `product_not_found`, `forbidden`.
pub async fn delete(ask: &Ask, id: &str) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "DELETE", "/seller/v1/products/{}", &[id]).await?;
        let request = DeleteProductRequest { id: id.to_owned(), if_version: ask.form.number("version") };
        let mut client = ask.site.console.catalog();
        ask.write(&caller, client.delete_product(request)).await
    };
    match reached(ask, id, ProductStatus::Deleted, done.await).await {
        (Ok(()), _) => Ok(Answer::to(ask.link("/seller/products?done=deleted"))),
        (refused, product) => outcome(ask, id, PartOf::Shelf, "", refused, product).await,
    }
}

/// Leads back to the product, or shows it again with what was refused; `product` is what was read of it already.
///
/// # Errors
/// What is no matter of the form.
pub async fn outcome(
    ask: &Ask,
    id: &str,
    part: PartOf,
    word: &str,
    done: Result<()>,
    product: Option<Product>,
) -> Result<Answer> {
    let error = match done {
        Ok(()) => return Ok(Answer::to(ask.link(&format!("/seller/products/{id}?done={word}")))),
        Err(error) => error,
    };
    match status(&error) {
        Some(code) => render(ask, id, code, Some(Refused { part, error: &error, rows: None, product }), None).await,
        None => Err(error),
    }
}

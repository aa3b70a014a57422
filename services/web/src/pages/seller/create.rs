//! A new product: texts, shelves, variants with their first stock. Pictures come after, when there is something they belong to.

use http::StatusCode;
use mallard_proto::catalog::v1::{CreateProductRequest, ProductStatus, Translation};
use mallard_types::{Currency, Error, Result};

use super::text::Words;
use super::variants::{self, Rows};
use super::{permit, shell};
use crate::answer::Answer;
use crate::ask::{Ask, Fields};
use crate::catalogue::{Directory, category_name};
use crate::console::form::{Input, above, mark, status};
use crate::console::sales::CURRENCIES;
use crate::console::text::Words as Common;
use crate::console::view::{Block, Form, Page, Part, Pick};
use crate::console::{fresh_key, sent_key};
use crate::domain::Lang;

const TITLE_CHARS_MAX: u32 = 200;

/// Shows the empty form.
///
/// # Errors
/// `forbidden`, `seller_required`.
pub async fn show(ask: &Ask) -> Result<Answer> {
    permit(ask, "POST", "/seller/v1/products", &[]).await?;
    render(ask, StatusCode::OK, &Rows::empty(), &[], None).await
}

async fn render(ask: &Ask, code: StatusCode, rows: &Rows, sent: &[usize], error: Option<&Error>) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let directory = ask.public(ask.site.catalogue.directory()).await.unwrap_or_default();
    let chosen: Vec<String> = ask.form.all("category").map(str::to_owned).collect();
    let mut fields = texts(w, |name| ask.form.get(name).to_owned());
    let currency = if ask.form.get("currency").is_empty() { CURRENCIES[0] } else { ask.form.get("currency") };
    let choices = CURRENCIES.map(|code| (code.to_owned(), code.to_owned())).into();
    fields.push(Input::select("currency", w.currency, currency, choices).required());
    let (mut names, mut groups) = (rows.names(w), rows.groups(w, |_| String::new()));
    let mut s = shell(ask, w.new_product, "/seller/products");
    if let Some(error) = error {
        s.trouble = above(ask.t, c, error);
        if !variants::mark(&mut names, &mut groups, sent, c, error) {
            mark_texts(&mut fields, c, error);
        }
    }
    fields.extend(names);
    // Of an outcome nobody knows the same key comes back.
    let key = if error.is_some_and(Error::is_retryable) { sent_key(ask) } else { fresh_key(ask) };
    let form = Form {
        action: ask.link("/seller/products/new"),
        fields,
        hidden: vec![("key", key)],
        picks_title: w.shelves,
        picks: shelves(ask.lang, &directory, &chosen, &[]),
        groups,
        button: w.save_draft,
        other: Some(("more", w.more_rows)),
        ..Form::default()
    };
    let mut page = Page::new(s, vec![Block::new("new", w.new_product, vec![Part::Form(Box::new(form))])]);
    page.back = Some((ask.link("/seller/products"), w.products.to_owned()));
    page.answer(code)
}

/// Makes the fields of a product's texts.
pub fn texts(w: &'static Words, value: impl Fn(&str) -> String) -> Vec<Input> {
    let title = |name: &str, label| Input { maxlength: TITLE_CHARS_MAX, ..Input::line(name, label, value(name)) };
    vec![
        title("title", w.title).required(),
        title("title_zh", w.title_zh).hint(w.zh_hint),
        Input::area("description", w.description, value("description"), 6),
        Input::area("description_zh", w.description_zh, value("description_zh"), 6),
    ]
}

/// Writes a refusal beside the text it is about.
pub fn mark_texts(fields: &mut [Input], c: &'static Common, error: &Error) {
    let param = match error.param.as_deref() {
        Some("translations.zh.title") => "title_zh".to_owned(),
        Some("translations.zh.description") => "description_zh".to_owned(),
        param => param.unwrap_or_default().to_owned(),
    };
    mark(fields, c, &error.clone().param(param));
}

/// Makes the choices of shelves, by the way that leads to them: the lowest ones, and those a product stands on already, which
/// would be taken away if they had no box.
pub fn shelves(lang: Lang, directory: &Directory, chosen: &[String], own: &[String]) -> Vec<Pick> {
    let pick = |id: &str, label: String| Pick {
        name: "category".into(),
        value: id.to_owned(),
        label,
        chosen: chosen.iter().any(|one| one == id),
    };
    let offered =
        directory.categories.iter().filter(|one| directory.below(&one.id).next().is_none() || own.contains(&one.id));
    let mut picks: Vec<Pick> = offered
        .map(|one| {
            let way = directory.line(&one.id).into_iter().map(|step| category_name(step, lang));
            pick(&one.id, way.collect::<Vec<&str>>().join(" / "))
        })
        .collect();
    let unknown: Vec<&String> = own.iter().filter(|id| picks.iter().all(|pick| pick.value != **id)).collect();
    picks.extend(unknown.into_iter().map(|id| pick(id, id.clone())));
    picks
}

/// Reads the Chinese texts; nothing where none were typed.
///
/// # Errors
/// `required` for a description without a title.
pub fn chinese(form: &Fields) -> Result<Option<Translation>> {
    let (title, description) = (form.get("title_zh"), form.get("description_zh"));
    if title.is_empty() && description.is_empty() {
        return Ok(None);
    }
    if title.is_empty() {
        return Err(Error::invalid("required", "a title goes with the description").param("title_zh"));
    }
    Ok(Some(Translation { title: title.to_owned(), description: description.to_owned() }))
}

/// Makes the product, as a draft; or shows the form with room for more variants.
///
/// # Errors
/// `forbidden`, `seller_required`.
pub async fn create(ask: &Ask) -> Result<Answer> {
    let rows = Rows::read(&ask.form);
    if !ask.form.get("more").is_empty() {
        permit(ask, "POST", "/seller/v1/products", &[]).await?;
        return render(ask, StatusCode::OK, &rows.more(), &[], None).await;
    }
    let mut sent = Vec::new();
    let made = async {
        let caller = permit(ask, "POST", "/seller/v1/products", &[]).await?;
        if ask.form.get("title").is_empty() {
            return Err(Error::invalid("required", "a product has a title").param("title"));
        }
        let currency = Currency::parse(ask.form.get("currency")).map_err(|error| error.param("currency"))?;
        let wanted = rows.wanted(currency)?;
        sent = wanted.rows;
        let request = CreateProductRequest {
            title: ask.form.get("title").to_owned(),
            description: ask.form.get("description").to_owned(),
            category_ids: ask.form.all("category").map(str::to_owned).collect(),
            options: wanted.options,
            variants: wanted.variants,
            translations: chinese(&ask.form)?.into_iter().map(|texts| ("zh".to_owned(), texts)).collect(),
            status: ProductStatus::Draft.into(),
            seller_id: caller.seller_id.clone(),
            idempotency_key: sent_key(ask),
            ..CreateProductRequest::default()
        };
        let mut client = ask.site.console.catalog();
        ask.write(&caller, client.create_product(request)).await
    };
    match made.await {
        Ok(made) => {
            let id = made.product.unwrap_or_default().id;
            Ok(Answer::to(ask.link(&format!("/seller/products/{id}?done=created"))))
        }
        Err(error) => match status(&error) {
            Some(status) => render(ask, status, &rows, &sent, Some(&error)).await,
            None => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use mallard_proto::catalog::v1::Category;

    use super::*;

    #[test]
    fn every_shelf_a_product_stands_on_has_a_box() {
        let shelf = |id: &str, parent: &str| Category {
            id: id.into(),
            name: id.to_uppercase(),
            parent_id: parent.into(),
            ..Category::default()
        };
        let directory = Directory { categories: vec![shelf("home", ""), shelf("mugs", "home"), shelf("toys", "")] };
        let boxes = |own: &[&str]| -> Vec<(String, bool)> {
            let own: Vec<String> = own.iter().map(|id| (*id).to_owned()).collect();
            let picks = shelves(Lang::En, &directory, &own, &own);
            picks.into_iter().map(|pick| (pick.label, pick.chosen)).collect()
        };
        assert_eq!(boxes(&[]), [("HOME / MUGS".to_owned(), false), ("TOYS".to_owned(), false)]);
        let own = boxes(&["home", "gone"]);
        assert_eq!(own.len(), 4);
        assert!(own.contains(&("HOME".to_owned(), true)) && own.contains(&("gone".to_owned(), true)), "{own:?}");
    }
}

//! Pictures of a product: added one by one, described, taken away.

use mallard_proto::catalog::v1::{Image, Product, UpdateProductRequest, UploadImageRequest};
use mallard_types::{Error, Result};

use super::permit;
use super::product::{PartOf, Refused, form as product_form, keep_stale, product_of};
use super::product_actions::outcome;
use super::text::Words;
use crate::answer::Answer;
use crate::ask::Ask;
use crate::catalogue::title;
use crate::console::form::{Input, say};
use crate::console::text::Words as Common;
use crate::console::view::{Form, Pick, Shown};
use crate::view::picture;

/// Makes the form of the pictures there are; nothing where there are none.
pub fn form(ask: &Ask, product: &Product, refused: Option<&Refused>) -> Option<Form> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    if product.images.is_empty() {
        return None;
    }
    let one = |(i, image): (usize, &Image)| {
        let name = format!("images[{i}].alt");
        let alt = if refused.is_some() { ask.form.get(&name).to_owned() } else { image.alt.clone() };
        let mut field = Input::line(name, w.alt, alt);
        if let Some(refused) = refused.filter(|refused| refused.error.param.as_deref() == Some(field.name.as_str())) {
            field.error = say(c, refused.error);
        }
        let pick = Pick {
            name: "gone".into(),
            value: image.url.clone(),
            label: w.remove_picture.into(),
            chosen: refused.is_some() && ask.form.all("gone").any(|url| url == image.url),
        };
        let alone = product.images.len() == 1;
        Shown { picture: picture(product, i, &image.alt), field, pick: (!alone).then_some(pick) }
    };
    let mut form = Form {
        pictures: product.images.iter().enumerate().map(one).collect(),
        button: w.save_pictures,
        ..product_form(ask, product, "/pictures")
    };
    if let Some(refused) = refused {
        keep_stale(ask, product, &mut form, refused.error);
    }
    Some(form)
}

/// Makes the form that adds a picture.
pub fn upload_form(ask: &Ask, product: &Product, refused: Option<&Refused>) -> Form {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let alt = if refused.is_some() { ask.form.get("alt").to_owned() } else { String::new() };
    let file = Input::line("file", w.picture_file, "").required();
    let mut file = Input { kind: "file", hint: w.picture_hint, ..file };
    let mut shows = Input::line("alt", w.alt, alt);
    if let Some(refused) = refused {
        let param = refused.error.param.as_deref().unwrap_or_default();
        match refused.error.code.as_ref() {
            "picture_required" | "image_required" => file.error = c.picture_none,
            super::product::STALE => {}
            // Of the picture itself, or of the last one of the product, which it is.
            _ if param == "alt" || param.ends_with(".alt") => shows.error = say(c, refused.error),
            _ => file.error = say(c, refused.error),
        }
    }
    let mut form = Form {
        title: w.add_picture.into(),
        fields: vec![file, shows],
        button: w.upload,
        folded: !product.images.is_empty(),
        opened: refused.is_some(),
        file: true,
        ..product_form(ask, product, "/pictures/add")
    };
    if let Some(refused) = refused {
        keep_stale(ask, product, &mut form, refused.error);
    }
    form
}

/// Adds a picture. The same picture twice is one.
///
/// # Errors
/// `product_not_found`, `forbidden`.
pub async fn add(ask: &Ask, id: &str) -> Result<Answer> {
    let mut seen = None;
    let done = async {
        let caller = permit(ask, "POST", "/seller/v1/images", &[]).await?;
        permit(ask, "PATCH", "/seller/v1/products/{}", &[id]).await?;
        let Some(file) = &ask.file else {
            return Err(Error::invalid("picture_required", "choose a picture").param("file"));
        };
        if file.too_large {
            return Err(Error::invalid("picture_too_large", "a picture has at most 2 MiB").param("file"));
        }
        // Whose product it is, and which version, comes before anything is kept.
        let product = &*seen.insert(product_of(ask, id).await?);
        if ask.form.number("version").is_some_and(|version| version != product.version) {
            return Err(Error::precondition(super::product::STALE, "the product has changed; read it again"));
        }
        let shown = title(product, ask.lang).to_owned();
        let alt = ask.form.get("alt").to_owned();
        let alt = if alt.is_empty() { shown } else { alt };
        let mut client = ask.site.console.catalog();
        let request = UploadImageRequest { content: file.content.clone(), alt };
        let image = ask.write(&caller, client.upload_image(request)).await?.image.unwrap_or_default();
        let mut images = product.images.clone();
        images.retain(|present| present.url != image.url);
        images.push(image);
        replace(ask, id, images).await
    };
    let done = done.await;
    outcome(ask, id, PartOf::Upload, "picture", done, seen).await
}

/// Saves what the pictures show, without those that are taken away.
///
/// # Errors
/// `product_not_found`, `forbidden`.
pub async fn change(ask: &Ask, id: &str) -> Result<Answer> {
    let mut seen = None;
    let done = async {
        let product = seen.insert(product_of(ask, id).await?).clone();
        if ask.form.number("version").is_some_and(|version| version != product.version) {
            return Err(Error::precondition(super::product::STALE, "the product has changed; read it again"));
        }
        let gone: Vec<&str> = ask.form.all("gone").collect();
        let images = product
            .images
            .into_iter()
            .enumerate()
            .map(|(i, image)| Image { alt: ask.form.get(&format!("images[{i}].alt")).to_owned(), ..image });
        let images: Vec<Image> = images.filter(|image| !gone.contains(&image.url.as_str())).collect();
        if images.is_empty() {
            return Err(Error::refused("pictures_empty", "a product that had pictures keeps one"));
        }
        replace(ask, id, images).await
    };
    let done = done.await;
    outcome(ask, id, PartOf::Pictures, "saved", done, seen).await
}

async fn replace(ask: &Ask, id: &str, images: Vec<Image>) -> Result<()> {
    let caller = permit(ask, "PATCH", "/seller/v1/products/{}", &[id]).await?;
    let request = UpdateProductRequest {
        id: id.to_owned(),
        images,
        if_version: ask.form.number("version"),
        ..UpdateProductRequest::default()
    };
    let mut client = ask.site.console.catalog();
    ask.write(&caller, client.update_product(request)).await.map(drop)
}

//! The stored form of a product: JSON, so that a person can read the table. Fields may be added with a default.

use std::collections::BTreeMap;

use mallard_db::Error;
use mallard_types::{Currency, Money};
use serde::{Deserialize, Serialize};

use crate::domain::{Brand, Image, Product, ProductOption, Status, Translation, Variant};

#[derive(Serialize, Deserialize)]
struct Body {
    id: String,
    title: String,
    description: String,
    status: String,
    seller_id: String,
    category_ids: Vec<String>,
    brand: Option<(String, String)>,
    images: Vec<ImageBody>,
    options: Vec<OptionBody>,
    variants: Vec<VariantBody>,
    version: i64,
    created_at: i64,
    updated_at: i64,
    #[serde(default)]
    translations: BTreeMap<String, (String, String)>,
}

#[derive(Serialize, Deserialize)]
struct ImageBody {
    url: String,
    alt: String,
    width: i32,
    height: i32,
}

#[derive(Serialize, Deserialize)]
struct OptionBody {
    name: String,
    values: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct VariantBody {
    id: String,
    title: String,
    options: BTreeMap<String, String>,
    amount: i64,
    currency: String,
    code: String,
}

/// Writes a product. Whether a variant is in stock is not part of it.
pub(super) fn encode(product: &Product) -> Result<Vec<u8>, Error> {
    let variant = |v: &Variant| VariantBody {
        id: v.id.clone(),
        title: v.title.clone(),
        options: v.options.clone(),
        amount: v.price.amount,
        currency: v.price.currency.as_str().to_owned(),
        code: v.code.clone(),
    };
    let image = |image: &Image| ImageBody {
        url: image.url.clone(),
        alt: image.alt.clone(),
        width: image.width,
        height: image.height,
    };
    let body = Body {
        id: product.id.clone(),
        title: product.title.clone(),
        description: product.description.clone(),
        status: product.status.as_str().to_owned(),
        seller_id: product.seller_id.clone(),
        category_ids: product.category_ids.clone(),
        brand: product.brand.as_ref().map(|brand| (brand.id.clone(), brand.name.clone())),
        images: product.images.iter().map(image).collect(),
        options: product
            .options
            .iter()
            .map(|o| OptionBody { name: o.name.clone(), values: o.values.clone() })
            .collect(),
        variants: product.variants.iter().map(variant).collect(),
        version: product.version,
        created_at: product.created_at,
        updated_at: product.updated_at,
        translations: product
            .translations
            .iter()
            .map(|(tag, texts)| (tag.clone(), (texts.title.clone(), texts.description.clone())))
            .collect(),
    };
    serde_json::to_vec(&body).map_err(|e| Error::Type(format!("product {}: {e}", product.id)))
}

/// Reads a product; every variant counts as sold out until its SKU row says otherwise.
pub(super) fn decode(bytes: &[u8]) -> Result<Product, Error> {
    let body: Body = serde_json::from_slice(bytes).map_err(|e| Error::Type(format!("body of a product: {e}")))?;
    let wrong = |what: &str, value: &str| Error::Type(format!("product {}: {what} {value}", body.id));
    let status = Status::parse(&body.status).ok_or_else(|| wrong("status", &body.status))?;
    let mut variants = Vec::with_capacity(body.variants.len());
    for v in body.variants {
        let currency = Currency::parse(&v.currency).map_err(|_| wrong("currency", &v.currency))?;
        let price = Money::new(v.amount, currency);
        variants.push(Variant { id: v.id, title: v.title, options: v.options, price, code: v.code, in_stock: false });
    }
    let image = |image: ImageBody| Image { url: image.url, alt: image.alt, width: image.width, height: image.height };
    Ok(Product {
        id: body.id,
        title: body.title,
        description: body.description,
        status,
        seller_id: body.seller_id,
        category_ids: body.category_ids,
        brand: body.brand.map(|(id, name)| Brand { id, name }),
        images: body.images.into_iter().map(image).collect(),
        options: body.options.into_iter().map(|o| ProductOption { name: o.name, values: o.values }).collect(),
        variants,
        version: body.version,
        created_at: body.created_at,
        updated_at: body.updated_at,
        translations: body
            .translations
            .into_iter()
            .map(|(tag, (title, description))| (tag, Translation { title, description }))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_survives_the_round_trip() {
        let product = Product {
            id: "prod_1".into(),
            title: "笔记本".into(),
            description: "\"quoted\"\n".into(),
            status: Status::Delisted,
            seller_id: "sel_1".into(),
            category_ids: vec!["cat_1".into()],
            brand: Some(Brand { id: "brand_1".into(), name: "Duck & Co".into() }),
            images: vec![Image { url: "/media/a.png".into(), alt: "a".into(), width: 640, height: 480 }],
            options: vec![ProductOption { name: "size".into(), values: vec!["S".into()] }],
            variants: vec![Variant {
                id: "sku_1".into(),
                title: "S".into(),
                options: [("size".to_owned(), "S".to_owned())].into(),
                price: Money::new(990, Currency::CNY),
                code: "N-1".into(),
                in_stock: false,
            }],
            version: 7,
            created_at: 1,
            updated_at: 2,
            translations: [("en".to_owned(), Translation { title: "Notebook".into(), description: String::new() })]
                .into(),
        };
        assert_eq!(decode(&encode(&product).unwrap()).unwrap(), product);
        assert!(decode(b"{}").is_err());
    }
}

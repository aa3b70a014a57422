//! Contract messages to the domain and back.

use std::collections::BTreeMap;

use mallard_proto::Timestamp;
use mallard_proto::catalog::v1 as pb;
use mallard_proto::common::v1::Money as MoneyOut;
use mallard_types::{Error, Money, Result};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::app::{Changing, Creating, Facets, SkuView, Value};
use crate::domain::{
    Brand, Category, Change, Draft, Image, Product, ProductOption, Status, Translation, Variant, VariantInput,
};

/// Writes a product.
pub fn product_out(product: &Product) -> pb::Product {
    pb::Product {
        id: product.id.clone(),
        title: product.title.clone(),
        description: product.description.clone(),
        status: status_out(product.status).into(),
        seller_id: product.seller_id.clone(),
        category_ids: product.category_ids.clone(),
        brand: product.brand.as_ref().map(brand_out),
        images: product.images.iter().map(image_out).collect(),
        options: product
            .options
            .iter()
            .map(|o| pb::Option { name: o.name.clone(), values: o.values.clone() })
            .collect(),
        variants: product.variants.iter().map(variant_out).collect(),
        version: product.version,
        created_at: Some(Timestamp::from_micros(product.created_at)),
        updated_at: Some(Timestamp::from_micros(product.updated_at)),
        translations: product.translations.iter().map(|(tag, texts)| (tag.clone(), translation_out(texts))).collect(),
    }
}

fn status_out(status: Status) -> pb::ProductStatus {
    match status {
        Status::Draft => pb::ProductStatus::Draft,
        Status::Listed => pb::ProductStatus::Listed,
        Status::Delisted => pb::ProductStatus::Delisted,
        Status::Deleted => pb::ProductStatus::Deleted,
    }
}

/// Writes a picture.
pub fn image_out(image: &Image) -> pb::Image {
    pb::Image { url: image.url.clone(), alt: image.alt.clone(), width: image.width, height: image.height }
}

fn variant_out(variant: &Variant) -> pb::Variant {
    pb::Variant {
        id: variant.id.clone(),
        title: variant.title.clone(),
        options: variant.options.clone(),
        price: Some(MoneyOut::from(variant.price)),
        in_stock: variant.in_stock,
        code: variant.code.clone(),
    }
}

fn translation_out(texts: &Translation) -> pb::Translation {
    pb::Translation { title: texts.title.clone(), description: texts.description.clone() }
}

/// Writes a brand.
pub fn brand_out(brand: &Brand) -> pb::Brand {
    pb::Brand { id: brand.id.clone(), name: brand.name.clone() }
}

/// Writes a category.
pub fn category_out(category: &Category) -> pb::Category {
    pb::Category {
        id: category.id.clone(),
        slug: category.slug.clone(),
        name: category.name.clone(),
        parent_id: category.parent_id.clone(),
        names: category.names.clone(),
        position: category.position,
    }
}

/// Writes counts of what products have in common.
pub fn facets_out(facets: &Facets) -> pb::Facets {
    let all = |values: &[Value]| -> Vec<pb::Facet> {
        let one =
            |value: &Value| pb::Facet { value: value.value.clone(), label: value.label.clone(), count: value.count };
        values.iter().map(one).collect()
    };
    pb::Facets {
        brands: all(&facets.brands),
        categories: all(&facets.categories),
        prices: all(&facets.prices),
        in_stock: all(&facets.in_stock),
    }
}

/// Writes a SKU, named in a language; `None` when its product has no such variant.
pub fn sku_out(view: &SkuView, language: &str) -> Option<pb::Sku> {
    let product = &view.product;
    let variant = product.variant(&view.sku_id)?;
    Some(pb::Sku {
        sku_id: variant.id.clone(),
        product_id: product.id.clone(),
        seller_id: product.seller_id.clone(),
        title: product.title_in(language).to_owned(),
        options: variant.options.clone(),
        price: Some(MoneyOut::from(variant.price)),
        sellable: product.status == Status::Listed,
        product_version: product.version,
        image: product.picture_of(variant).map(image_out),
        in_stock: variant.in_stock,
        code: variant.code.clone(),
    })
}

/// Reads a creation.
///
/// # Errors
/// `price_required`, `bad_currency`, `bad_status`.
pub fn creating(request: pb::CreateProductRequest) -> Result<Creating> {
    let request_hash = Sha256::digest(request.encode_to_vec());
    let key = creation_key(&request, &request_hash);
    let status = match pb::ProductStatus::try_from(request.status) {
        Ok(pb::ProductStatus::Draft) => Status::Draft,
        Ok(pb::ProductStatus::Listed) => Status::Listed,
        Ok(pb::ProductStatus::Delisted) => Status::Delisted,
        Ok(pb::ProductStatus::Deleted) => Status::Deleted,
        Err(_) => return Err(Error::invalid("bad_status", "a new product is draft or listed").param("status")),
    };
    Ok(Creating {
        id: request.id,
        key,
        request_hash: request_hash.to_vec(),
        brand_id: request.brand_id,
        draft: Draft {
            title: request.title,
            description: request.description,
            status,
            seller_id: request.seller_id,
            category_ids: request.category_ids,
            brand: None,
            images: request.images.into_iter().map(image).collect(),
            options: request.options.into_iter().map(option).collect(),
            variants: variants(request.variants)?,
            translations: translations(request.translations),
        },
    })
}

/// Makes the key under which a second run of this creation finds the first: the caller's own key, or for a call without one
/// the outermost request and what it asks for, because a lost answer makes the channel send the same call again.
fn creation_key(request: &pb::CreateProductRequest, hash: &[u8]) -> String {
    if !request.id.is_empty() {
        // The id is the key.
        return String::new();
    }
    mallard_rpc::with_current(|call| {
        if !request.idempotency_key.is_empty() {
            return format!("key/{}/{}", call.caller.user_id, request.idempotency_key);
        }
        if call.request_id.is_empty() || call.caller.is_system() {
            return String::new();
        }
        let digest: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("request/{}/{}/{digest}", call.caller.user_id, call.request_id)
    })
}

/// Reads a change.
///
/// # Errors
/// `price_required`, `bad_currency`.
pub fn changing(request: pb::UpdateProductRequest) -> Result<Changing> {
    Ok(Changing {
        id: request.id,
        if_version: request.if_version,
        brand_id: request.brand_id,
        change: Change {
            title: request.title,
            description: request.description,
            category_ids: request.category_ids,
            brand: None,
            images: request.images.into_iter().map(image).collect(),
            options: request.options.into_iter().map(option).collect(),
            variants: variants(request.variants)?,
            translations: translations(request.translations),
        },
    })
}

fn image(image: pb::Image) -> Image {
    Image { url: image.url, alt: image.alt, width: image.width, height: image.height }
}

fn option(option: pb::Option) -> ProductOption {
    ProductOption { name: option.name, values: option.values }
}

fn translations(translations: BTreeMap<String, pb::Translation>) -> BTreeMap<String, Translation> {
    let texts = |texts: pb::Translation| Translation { title: texts.title, description: texts.description };
    translations.into_iter().map(|(tag, value)| (tag, texts(value))).collect()
}

fn variants(variants: Vec<pb::VariantInput>) -> Result<Vec<VariantInput>> {
    let mut read = Vec::with_capacity(variants.len());
    for (i, variant) in variants.into_iter().enumerate() {
        let at = |field: &str| format!("variants[{i}].{field}");
        let Some(price) = variant.price else {
            return Err(Error::invalid("required", "a variant has a price").param(at("price")));
        };
        let price = Money::try_from(price).map_err(|error| error.param(at("price.currency")))?;
        read.push(VariantInput {
            id: variant.id,
            title: variant.title,
            options: variant.options,
            price,
            code: variant.code,
            stock: variant.stock,
        });
    }
    Ok(read)
}

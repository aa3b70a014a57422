//! Puts the demo shop into a mall, through the same calls an importer would use.

use futures_util::{StreamExt, TryStreamExt, stream};
use mallard_proto::catalog::v1 as pb;
use mallard_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mallard_rpc::{Call, ServiceChannel};
use mallard_runtime::Mall;
use mallard_types::{Kind, Result};

use super::MEDIA_PATH;
use super::shop::{Category, Product, Shop, shop};

/// Calls under way at once.
const CALLS_MAX: usize = 16;
/// Ids the catalog answers in one call.
const IDS_MAX: usize = 100;
const PICTURE_PIXELS: i32 = 800;

/// Seeds the demo shop into a mall; see [`seed_catalog`].
///
/// # Errors
/// The catalog is away or refuses something.
pub async fn seed(mall: &Mall) -> anyhow::Result<usize> {
    Ok(seed_catalog(mall.client()).await?)
}

/// Makes the categories, brands and products that the catalog does not list yet, with their stock, and returns how many
/// products it made. A second run finds everything and changes nothing.
///
/// # Errors
/// The catalog is away or refuses something; what was made stays, and another run makes the rest.
pub async fn seed_catalog(catalog: CatalogServiceClient<ServiceChannel>) -> Result<usize> {
    mallard_rpc::scope(Call::system("demo"), seed_missing(catalog, shop())).await
}

async fn seed_missing(catalog: CatalogServiceClient<ServiceChannel>, shop: &Shop) -> Result<usize> {
    let missing = missing(&catalog, shop).await?;
    if missing.is_empty() {
        return Ok(0);
    }
    let departments = shop.categories.iter().filter(|category| category.parent_id.is_empty());
    let shelves = shop.categories.iter().filter(|category| !category.parent_id.is_empty());
    categories(&catalog, departments).await?;
    let brands = stream::iter(&shop.brands).map(Ok).try_for_each_concurrent(CALLS_MAX, |brand| {
        let mut catalog = catalog.clone();
        let request = pb::CreateBrandRequest { name: brand.name.clone(), id: brand.id.clone() };
        async move { catalog.create_brand(request).await.map(drop).map_err(mallard_rpc::error) }
    });
    tokio::try_join!(categories(&catalog, shelves), brands)?;
    stream::iter(missing)
        .map(|product| create(catalog.clone(), product))
        .buffer_unordered(CALLS_MAX)
        .try_fold(0, |count, made| async move { Ok(count + usize::from(made)) })
        .await
}

/// Makes a product; tells whether it is for sale now. One that an operator delisted or deleted stays as it is.
async fn create(mut catalog: CatalogServiceClient<ServiceChannel>, product: &Product) -> Result<bool> {
    match catalog.create_product(request(product)).await.map_err(mallard_rpc::error) {
        Ok(answer) => {
            Ok(answer.into_inner().product.is_some_and(|product| product.status() == pb::ProductStatus::Listed))
        }
        Err(error) if error.kind == Kind::NotFound && error.code == "product_not_found" => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the products that are not listed, taken from the shelves in turn so that the newest products are a mixed lot.
async fn missing<'a>(catalog: &CatalogServiceClient<ServiceChannel>, shop: &'a Shop) -> Result<Vec<&'a Product>> {
    let mut absent = std::collections::BTreeSet::new();
    for products in shop.products.chunks(IDS_MAX) {
        let ids = products.iter().map(|product| product.id.clone()).collect();
        let answer = catalog
            .clone()
            .batch_get_products(pb::BatchGetProductsRequest { ids })
            .await
            .map_err(mallard_rpc::error)?;
        absent.extend(answer.into_inner().missing);
    }
    let mut seen_by_shelf = std::collections::BTreeMap::new();
    let mut missing = Vec::with_capacity(absent.len());
    for product in &shop.products {
        let place = seen_by_shelf.entry(product.category_id.as_str()).or_insert(0usize);
        *place += 1;
        if absent.contains(&product.id) {
            missing.push((*place, product));
        }
    }
    // Stable: within a turn the shelves keep their order.
    missing.sort_by_key(|(place, _)| *place);
    Ok(missing.into_iter().map(|(_, product)| product).collect())
}

async fn categories<'a>(
    catalog: &CatalogServiceClient<ServiceChannel>,
    categories: impl Iterator<Item = &'a Category>,
) -> Result<()> {
    stream::iter(categories)
        .map(Ok)
        .try_for_each_concurrent(CALLS_MAX, |category| {
            let mut catalog = catalog.clone();
            let request = pb::CreateCategoryRequest {
                slug: category.slug.clone(),
                name: category.name.en.clone(),
                parent_id: category.parent_id.clone(),
                names: [("en".to_owned(), category.name.en.clone()), ("zh".to_owned(), category.name.zh.clone())]
                    .into(),
                position: category.position,
                id: category.id.clone(),
            };
            async move { catalog.create_category(request).await.map(drop).map_err(mallard_rpc::error) }
        })
        .await
}

fn request(product: &Product) -> pb::CreateProductRequest {
    let translation = pb::Translation { title: product.title.zh.clone(), description: product.description.zh.clone() };
    let variants = product.variants.iter().map(|variant| pb::VariantInput {
        id: variant.id.clone(),
        title: String::new(),
        options: variant.options.clone(),
        price: Some(variant.price.into()),
        code: variant.code.clone(),
        stock: variant.stock,
    });
    let images = product.pictures.iter().map(|picture| pb::Image {
        url: format!("{MEDIA_PATH}{}.svg", picture.name),
        alt: picture.alt.clone(),
        width: PICTURE_PIXELS,
        height: PICTURE_PIXELS,
    });
    pb::CreateProductRequest {
        title: product.title.en.clone(),
        description: product.description.en.clone(),
        category_ids: vec![product.category_id.clone()],
        brand_id: product.brand_id.clone(),
        images: images.collect(),
        options: product
            .choices
            .iter()
            .map(|choice| pb::Option { name: choice.name.clone(), values: choice.values.clone() })
            .collect(),
        variants: variants.collect(),
        translations: [("zh".to_owned(), translation)].into(),
        status: pb::ProductStatus::Listed.into(),
        seller_id: product.seller_id.clone(),
        idempotency_key: String::new(),
        id: product.id.clone(),
    }
}

//! What the catalogue answers, remembered for a quarter of a second: it is the same for everybody, so
//! most pages ask nobody, and a change shows well within the second that is promised.

use std::sync::Arc;
use std::time::Duration;

use mallard_cache::{Cache, Options};
use mallard_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mallard_proto::catalog::v1::{
    BatchGetProductsRequest, Category, GetProductRequest, ListCategoriesRequest, ListProductsRequest,
    ListProductsResponse, Product,
};
use mallard_rpc::ServiceChannel;
use mallard_runtime::Context;
use mallard_types::{Currency, Result};
use parking_lot::RwLock;

use crate::config::Config;
use crate::domain::Lang;
use crate::view::variant_price;

/// How long an id that no listed product has is remembered.
const ABSENT: Duration = Duration::from_millis(250);

/// The shelves of the shop.
#[derive(Debug, Default)]
pub struct Directory {
    /// Categories in order of position.
    pub categories: Vec<Category>,
}

impl Directory {
    /// Returns the categories without a parent.
    pub fn departments(&self) -> impl Iterator<Item = &Category> {
        self.categories.iter().filter(|category| category.parent_id.is_empty())
    }

    /// Returns the categories right below one.
    pub fn below<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Category> {
        self.categories.iter().filter(move |category| category.parent_id == id)
    }

    /// Finds a category by slug, in any letter case.
    pub fn find(&self, slug: &str) -> Option<&Category> {
        self.categories.iter().find(|category| category.slug.eq_ignore_ascii_case(slug))
    }

    /// Returns a category and all above it, the department first.
    pub fn line(&self, id: &str) -> Vec<&Category> {
        let mut line: Vec<&Category> = Vec::new();
        let mut next = id;
        while let Some(category) = self.categories.iter().find(|category| category.id == next) {
            // A circle cannot be made through the catalogue; a page must not hang on one all the same.
            if line.len() > 10 {
                break;
            }
            line.insert(0, category);
            next = &category.parent_id;
        }
        line
    }
}

/// Returns a category's name in a language.
pub fn category_name(category: &Category, lang: Lang) -> &str {
    category.names.get(lang.tag()).map_or(category.name.as_str(), String::as_str)
}

/// Returns a product's title in a language.
pub fn title(product: &Product, lang: Lang) -> &str {
    match product.translations.get(lang.tag()) {
        Some(texts) if !texts.title.is_empty() => &texts.title,
        _ => &product.title,
    }
}

/// Returns a product's description in a language.
pub fn description(product: &Product, lang: Lang) -> &str {
    match product.translations.get(lang.tag()) {
        Some(texts) if !texts.description.is_empty() => &texts.description,
        _ => &product.description,
    }
}

/// Asks the catalogue.
pub struct Catalogue {
    client: CatalogServiceClient<ServiceChannel>,
    directory: Cache<(), Arc<Directory>>,
    products: Cache<String, Arc<Product>>,
    lists: Cache<String, Arc<ListProductsResponse>>,
    /// The products on the shelf of the best sellers, by their ids.
    rows: Cache<Arc<Vec<String>>, Arc<Vec<Product>>>,
    /// Currency of the products seen last.
    currency: RwLock<Currency>,
}

impl Catalogue {
    /// Makes the reader.
    pub fn new(ctx: &Context, config: &Config) -> Catalogue {
        let options = Options::new(config.catalogue_max, Duration::from_millis(config.catalogue_ms));
        Catalogue {
            client: ctx.client(),
            directory: Cache::new("web_directory", Options { capacity: 1, ..options }),
            products: Cache::new("web_products", options.negative_ttl(ABSENT)),
            lists: Cache::new("web_lists", options),
            currency: RwLock::new(Currency::CNY),
            rows: Cache::new("web_rows", Options { capacity: 8, ..options }),
        }
    }

    /// Returns the shelves.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn directory(&self) -> Result<Arc<Directory>> {
        let load = || async {
            let mut client = self.client.clone();
            let answer = client.list_categories(ListCategoriesRequest {}).await.map_err(mallard_rpc::error)?;
            let mut categories = answer.into_inner().categories;
            categories.sort_by(|a, b| (a.position, &a.id).cmp(&(b.position, &b.id)));
            Ok(Arc::new(Directory { categories }))
        };
        self.directory.get_or_load((), load).await
    }

    /// Returns a listed product.
    ///
    /// # Errors
    /// `product_not_found`; the catalogue's.
    pub async fn product(&self, id: &str) -> Result<Arc<Product>> {
        let load = || async {
            let request = GetProductRequest { id: id.to_owned() };
            let answer = self.client.clone().get_product(request).await.map_err(mallard_rpc::error)?;
            Ok(Arc::new(answer.into_inner().product.unwrap_or_default()))
        };
        self.products.get_or_load(id.to_owned(), load).await
    }

    /// Returns the currency of the shop's prices, in which visitors type theirs.
    pub fn currency(&self) -> Currency {
        *self.currency.read()
    }

    /// Returns a page of a list.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn list(&self, request: ListProductsRequest) -> Result<Arc<ListProductsResponse>> {
        let key = format!("{request:?}");
        let load = || async {
            let answer = self.client.clone().list_products(request).await.map_err(mallard_rpc::error)?.into_inner();
            let first = answer.products.iter().flat_map(|product| &product.variants).next();
            if let Some(money) = first.and_then(|variant| variant_price(variant).ok()) {
                *self.currency.write() = money.currency;
            }
            Ok(Arc::new(answer))
        };
        self.lists.get_or_load(key, load).await
    }

    /// Returns the listed products among these ids, in one call however many there are, up to a cart's worth.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn batch(&self, ids: Vec<String>) -> Result<Vec<Product>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let request = BatchGetProductsRequest { ids };
        let answer = self.client.clone().batch_get_products(request).await.map_err(mallard_rpc::error)?;
        Ok(answer.into_inner().products)
    }

    /// Returns the listed products among these ids in their order, the same for everybody.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn row(&self, ids: Arc<Vec<String>>) -> Result<Arc<Vec<Product>>> {
        let wanted = Arc::clone(&ids);
        let load = || async {
            let mut products = self.batch(wanted.to_vec()).await?;
            products.sort_by_key(|product| wanted.iter().position(|id| *id == product.id));
            Ok(Arc::new(products))
        };
        self.rows.get_or_load(ids, load).await
    }
}

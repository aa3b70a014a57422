//! The catalogue in a test, with an inventory that keeps books as simply as it can.
#![allow(dead_code, reason = "every test binary uses its own part")]

pub mod inventory;

use std::option::Option;
use std::sync::Arc;

use mallard_db::Db;
use mallard_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mallard_proto::catalog::v1::*;
use mallard_proto::common::v1::{Check, Money, RunChecksRequest};
use mallard_rpc::{Call, Caller, CallerKind, ServiceChannel, Surface};
use mallard_runtime::{Config, Mall, ServiceSpec, Settings, Storage};
use mallard_testkit::patiently;
use mallard_testkit::pgtest::PgServer;
use mallard_types::Error;
use tempfile::TempDir;

pub type Client = CatalogServiceClient<ServiceChannel>;

/// A running catalogue and what must outlive it.
pub struct Shop {
    pub mall: Mall,
    pub client: Client,
    db: Db,
    folder: Option<TempDir>,
    server: Option<Arc<PgServer>>,
}

/// Where a suite runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Memory,
    Sqlite,
    Postgres,
}

pub const ENGINES: [Engine; 3] = [Engine::Memory, Engine::Sqlite, Engine::Postgres];

pub fn specs() -> Vec<ServiceSpec> {
    vec![inventory::service(), mallard_catalog::service()]
}

/// Nobody else writes the database of these tests, unless they say so.
pub fn config() -> Config {
    mallard_testkit::config().set("catalog.shared_trust_ms", 0)
}

/// Starts a shop; `None` when the engine is not installed here.
pub async fn shop(engine: Engine) -> Option<Shop> {
    shop_with(engine, specs(), |_| {}).await
}

pub async fn shop_with(engine: Engine, specs: Vec<ServiceSpec>, change: impl FnOnce(&mut Settings)) -> Option<Shop> {
    let (storage, folder, server) = match engine {
        Engine::Memory => (Storage::Memory(Default::default()), None, None),
        Engine::Sqlite => {
            let folder = TempDir::new().unwrap();
            (Storage::Folder(folder.path().to_owned()), Some(folder), None)
        }
        Engine::Postgres => {
            let server = PgServer::shared()?;
            let url = server.fresh_url().await;
            (Storage::Postgres { url, pool_max: 16 }, None, Some(server))
        }
    };
    let mut settings = Settings::new(specs, config(), storage);
    change(&mut settings);
    let mall = mallard_testkit::start(settings).await;
    let client = mall.client::<Client>();
    let db = mall.context("catalog").unwrap().db();
    Some(Shop { mall, client, db, folder, server })
}

/// Runs work as a seller.
pub async fn as_seller<F: Future>(seller_id: &str, work: F) -> F::Output {
    let caller = Caller {
        kind: CallerKind::User,
        user_id: format!("usr_of_{seller_id}"),
        roles: vec!["user".into(), "seller".into()],
        seller_id: seller_id.into(),
        surface: Surface::Seller,
        ..Caller::default()
    };
    mallard_rpc::scope(Call { caller, ..Call::default() }, work).await
}

pub fn price(amount: i64) -> Option<Money> {
    Some(Money { amount, currency: "CNY".into() })
}

/// A listed product of one variant.
pub fn notebook() -> CreateProductRequest {
    CreateProductRequest {
        title: "Notebook".into(),
        description: "Paper to write on".into(),
        variants: vec![VariantInput { price: price(990), stock: 5, ..VariantInput::default() }],
        status: ProductStatus::Listed.into(),
        ..CreateProductRequest::default()
    }
}

/// A listed product with this id, title and price.
pub fn named(id: &str, title: &str, amount: i64) -> CreateProductRequest {
    let variants = vec![VariantInput {
        id: format!("sku_{}", id.trim_start_matches("prod_")),
        price: price(amount),
        stock: 5,
        ..VariantInput::default()
    }];
    CreateProductRequest { id: id.into(), title: title.into(), variants, ..notebook() }
}

pub async fn code<T, F: Future<Output = Result<T, Error>>>(work: F) -> String {
    match work.await {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.code.into_owned(),
    }
}

macro_rules! calls {
    ($($name:ident($request:ident) -> $answer:ident;)*) => {
        impl Shop {
            $(pub async fn $name(&self, request: $request) -> Result<$answer, Error> {
                let ask = || async { self.client.clone().$name(request.clone()).await.map_err(mallard_rpc::error) };
                Ok(patiently(ask).await?.into_inner())
            })*
        }
    };
}

calls! {
    create_product(CreateProductRequest) -> CreateProductResponse;
    update_product(UpdateProductRequest) -> UpdateProductResponse;
    list_product(SetProductStatusRequest) -> SetProductStatusResponse;
    delist_product(SetProductStatusRequest) -> SetProductStatusResponse;
    get_product(GetProductRequest) -> GetProductResponse;
    admin_get_product(GetProductRequest) -> GetProductResponse;
    batch_get_products(BatchGetProductsRequest) -> BatchGetProductsResponse;
    batch_get_skus(BatchGetSkusRequest) -> BatchGetSkusResponse;
    list_products(ListProductsRequest) -> ListProductsResponse;
    admin_list_products(AdminListProductsRequest) -> ListProductsResponse;
    list_categories(ListCategoriesRequest) -> ListCategoriesResponse;
    create_category(CreateCategoryRequest) -> CreateCategoryResponse;
    create_brand(CreateBrandRequest) -> CreateBrandResponse;
    list_brands(ListBrandsRequest) -> ListBrandsResponse;
}

impl Shop {
    /// Creates a product as the mall itself.
    pub async fn create(&self, request: CreateProductRequest) -> Product {
        mallard_testkit::as_system(self.create_product(request)).await.unwrap().product.unwrap()
    }

    pub async fn get(&self, id: &str) -> Result<Product, Error> {
        Ok(self.get_product(GetProductRequest { id: id.into() }).await?.product.unwrap())
    }

    pub async fn update(&self, request: UpdateProductRequest) -> Result<Product, Error> {
        Ok(mallard_testkit::as_admin("usr_1", self.update_product(request)).await?.product.unwrap())
    }

    pub async fn delete(&self, id: &str) -> Result<(), Error> {
        let request = DeleteProductRequest { id: id.into(), if_version: None };
        mallard_testkit::as_admin("usr_1", self.client.clone().delete_product(request))
            .await
            .map_err(mallard_rpc::error)?;
        Ok(())
    }

    pub async fn delist(&self, id: &str) -> Result<Product, Error> {
        let request = SetProductStatusRequest { id: id.into(), if_version: None };
        Ok(mallard_testkit::as_admin("usr_1", self.delist_product(request)).await?.product.unwrap())
    }

    pub async fn sku(&self, sku_id: &str) -> Option<Sku> {
        let request = BatchGetSkusRequest { sku_ids: vec![sku_id.into()] };
        mallard_testkit::as_guest(self.batch_get_skus(request)).await.unwrap().skus.pop()
    }

    pub async fn category(&self, id: &str, slug: &str, parent_id: &str) {
        let request = CreateCategoryRequest {
            id: id.into(),
            slug: slug.into(),
            name: slug.into(),
            parent_id: parent_id.into(),
            ..CreateCategoryRequest::default()
        };
        mallard_testkit::as_system(self.create_category(request)).await.unwrap();
    }

    /// Returns the ids of all pages of a list.
    pub async fn ids(&self, mut request: ListProductsRequest) -> Vec<String> {
        let mut ids = Vec::new();
        loop {
            let page = self.list_products(request.clone()).await.unwrap();
            ids.extend(page.products.into_iter().map(|product| product.id));
            if page.next_cursor.is_empty() {
                return ids;
            }
            request.cursor = page.next_cursor;
        }
    }

    pub async fn checks(&self) -> Vec<Check> {
        mallard_testkit::as_system(self.client.clone().run_checks(RunChecksRequest {}))
            .await
            .unwrap()
            .into_inner()
            .checks
    }

    pub async fn broken(&self) -> Vec<String> {
        self.checks().await.into_iter().filter(|check| !check.ok).map(|check| check.name).collect()
    }

    /// Ends everything in the background, so that the statements counted from now on are the caller's own.
    pub async fn at_rest(mut self) -> Shop {
        mallard_testkit::rest(&mut self.mall).await;
        self
    }

    /// Counts the statements of the catalogue's database.
    pub fn statements(&self) -> u64 {
        self.db.statements()
    }
}

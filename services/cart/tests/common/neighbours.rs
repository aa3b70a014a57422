//! Stand-ins for the services a cart asks: a catalog and an inventory that know what the tests tell them.
//!
//! A service's specification holds no state, so the goods are kept for the whole process; each test uses SKUs of its own.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use mallard_proto::catalog::v1 as catalog;
use mallard_proto::catalog::v1::catalog_service_server::{CatalogService, CatalogServiceServer};
use mallard_proto::common::v1::{Money, RunChecksRequest, RunChecksResponse};
use mallard_proto::inventory::v1 as inventory;
use mallard_proto::inventory::v1::inventory_service_server::{InventoryService, InventoryServiceServer};
use mallard_runtime::{Parts, ServiceSpec};
use parking_lot::Mutex;
use tonic::{Request, Response, Status};

#[derive(Clone)]
struct Goods {
    price: Money,
    sellable: bool,
    left: i64,
}

static GOODS: Mutex<BTreeMap<String, Goods>> = Mutex::new(BTreeMap::new());

/// Puts a SKU on the shelf, or changes it.
pub fn sell(sku_id: &str, price: i64, left: i64) {
    let goods = Goods { price: Money { amount: price, currency: "CNY".into() }, sellable: true, left };
    GOODS.lock().insert(sku_id.to_owned(), goods);
}

/// Takes a SKU off the list.
pub fn delist(sku_id: &str) {
    if let Some(goods) = GOODS.lock().get_mut(sku_id) {
        goods.sellable = false;
    }
}

/// Lets the catalog forget a SKU.
pub fn forget(sku_id: &str) {
    GOODS.lock().remove(sku_id);
}

/// The stand-in for the catalog.
pub fn catalog() -> ServiceSpec {
    let start = |_| async { Ok(Parts::new(tonic::service::Routes::new(CatalogServiceServer::new(Shelf)))) }.boxed();
    ServiceSpec { name: "catalog", migrations: &[], subscribes: &[], start }
}

/// The stand-in for the inventory.
pub fn inventory() -> ServiceSpec {
    let start = |_| async { Ok(Parts::new(tonic::service::Routes::new(InventoryServiceServer::new(Shelf)))) }.boxed();
    ServiceSpec { name: "inventory", migrations: &[], subscribes: &[], start }
}

struct Shelf;

macro_rules! stand_in {
    ($trait:ident: $answered:ident($asked:ty) -> $answer:ty = $with:expr; $($name:ident($request:ty) -> $response:ty),* $(,)?) => {
        #[tonic::async_trait]
        impl $trait for Shelf {
            async fn $answered(&self, request: Request<$asked>) -> Result<Response<$answer>, Status> {
                let answer: fn($asked) -> $answer = $with;
                Ok(Response::new(answer(request.into_inner())))
            }
            $(
                async fn $name(&self, _: Request<$request>) -> Result<Response<$response>, Status> {
                    Err(Status::unimplemented("the stand-in does not answer this"))
                }
            )*
        }
    };
}

stand_in! {
    CatalogService: batch_get_skus(catalog::BatchGetSkusRequest) -> catalog::BatchGetSkusResponse = |request| {
        let shelf = GOODS.lock();
        let mut answer = catalog::BatchGetSkusResponse::default();
        for sku_id in request.sku_ids {
            let Some(goods) = shelf.get(&sku_id) else { answer.missing.push(sku_id); continue };
            answer.skus.push(catalog::Sku {
                product_id: format!("prod_{sku_id}"),
                title: format!("Title of {sku_id}"),
                options: [("Colour".to_owned(), "Sea blue".to_owned())].into(),
                price: Some(goods.price.clone()),
                sellable: goods.sellable,
                sku_id,
                ..Default::default()
            });
        }
        answer
    };
    list_products(catalog::ListProductsRequest) -> catalog::ListProductsResponse,
    get_product(catalog::GetProductRequest) -> catalog::GetProductResponse,
    batch_get_products(catalog::BatchGetProductsRequest) -> catalog::BatchGetProductsResponse,
    list_categories(catalog::ListCategoriesRequest) -> catalog::ListCategoriesResponse,
    create_product(catalog::CreateProductRequest) -> catalog::CreateProductResponse,
    update_product(catalog::UpdateProductRequest) -> catalog::UpdateProductResponse,
    delete_product(catalog::DeleteProductRequest) -> (),
    list_product(catalog::SetProductStatusRequest) -> catalog::SetProductStatusResponse,
    delist_product(catalog::SetProductStatusRequest) -> catalog::SetProductStatusResponse,
    admin_list_products(catalog::AdminListProductsRequest) -> catalog::ListProductsResponse,
    admin_get_product(catalog::GetProductRequest) -> catalog::GetProductResponse,
    create_category(catalog::CreateCategoryRequest) -> catalog::CreateCategoryResponse,
    create_brand(catalog::CreateBrandRequest) -> catalog::CreateBrandResponse,
    list_brands(catalog::ListBrandsRequest) -> catalog::ListBrandsResponse,
    run_checks(RunChecksRequest) -> RunChecksResponse,
}

stand_in! {
    InventoryService: batch_get_stock(inventory::BatchGetStockRequest) -> inventory::BatchGetStockResponse = |request| {
        let shelf = GOODS.lock();
        let known = request.sku_ids.into_iter().filter_map(|sku_id| shelf.get(&sku_id).map(|goods| (sku_id, goods.left)));
        let stocks = known.map(|(sku_id, left)| inventory::Stock { sku_id, on_hand: left, available: left, ..Default::default() });
        inventory::BatchGetStockResponse { stocks: stocks.collect() }
    };
    reserve(inventory::ReserveRequest) -> inventory::ReserveResponse,
    confirm(inventory::ConfirmRequest) -> inventory::ConfirmResponse,
    release(inventory::ReleaseRequest) -> inventory::ReleaseResponse,
    r#return(inventory::ReturnRequest) -> inventory::ReturnResponse,
    get_stock(inventory::GetStockRequest) -> inventory::GetStockResponse,
    adjust_stock(inventory::AdjustStockRequest) -> inventory::AdjustStockResponse,
    list_ledger(inventory::ListLedgerRequest) -> inventory::ListLedgerResponse,
    receive_stock(inventory::ReceiveStockRequest) -> inventory::ReceiveStockResponse,
    scan_ledger(inventory::ScanLedgerRequest) -> inventory::ScanLedgerResponse,
    batch_get_reservations(inventory::BatchGetReservationsRequest) -> inventory::BatchGetReservationsResponse,
    scan_reservations(inventory::ScanReservationsRequest) -> inventory::ScanReservationsResponse,
    run_checks(RunChecksRequest) -> RunChecksResponse,
}

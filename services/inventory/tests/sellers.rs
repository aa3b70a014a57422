//! A seller sees and adjusts the stock of its own SKUs only.

mod common;

use common::{Engine, house_with};
use futures_util::FutureExt;
use mallard_proto::catalog::v1 as catalog;
use mallard_proto::catalog::v1::catalog_service_server::{CatalogService, CatalogServiceServer};
use mallard_proto::common::v1::{RunChecksRequest, RunChecksResponse};
use mallard_proto::inventory::v1::*;
use mallard_rpc::{Call, Caller, CallerKind, Surface};
use mallard_runtime::{Parts, ServiceSpec};
use tonic::{Request, Response, Status};

/// A catalogue in which every SKU belongs to the seller in its name: `sku_of_sel_1`.
struct Fake;

fn fake() -> ServiceSpec {
    let start = |_| async { Ok(Parts::new(tonic::service::Routes::new(CatalogServiceServer::new(Fake)))) }.boxed();
    ServiceSpec { name: "catalog", migrations: &[], subscribes: &[], start }
}

async fn as_seller<F: Future>(seller_id: &str, work: F) -> F::Output {
    let caller = Caller {
        kind: CallerKind::User,
        user_id: "usr_1".into(),
        roles: vec!["user".into(), "seller".into()],
        seller_id: seller_id.into(),
        surface: Surface::Seller,
        ..Caller::default()
    };
    mallard_rpc::scope(Call { caller, ..Call::default() }, work).await
}

#[tokio::test]
async fn somebody_elses_sku_is_as_unknown_as_none() {
    let house = house_with(Engine::Memory, vec![fake(), mallard_inventory::service()], |_| {}).await.unwrap();
    house.receive(&[("sku_of_sel_1", 10)]).await;
    let sku_id = || "sku_of_sel_1".to_owned();
    let get = || house.client.clone();
    let stock = as_seller("sel_1", get().get_stock(GetStockRequest { sku_id: sku_id() })).await.unwrap().into_inner();
    assert_eq!(stock.inventory.unwrap().available, 10);
    let adjust =
        |delta| AdjustStockRequest { sku_id: sku_id(), delta, reason: "count".into(), ..AdjustStockRequest::default() };
    let stock = as_seller("sel_1", get().adjust_stock(adjust(2))).await.unwrap().into_inner();
    assert_eq!(stock.inventory.unwrap().available, 12);
    let ledger = || ListLedgerRequest { sku_id: sku_id(), ..ListLedgerRequest::default() };
    assert_eq!(as_seller("sel_1", get().list_ledger(ledger())).await.unwrap().into_inner().entries.len(), 2);

    let code = |status: Status| mallard_rpc::error(status).code.into_owned();
    let refused = as_seller("sel_2", get().get_stock(GetStockRequest { sku_id: sku_id() })).await.unwrap_err();
    assert_eq!(code(refused), "sku_unknown");
    assert_eq!(code(as_seller("sel_2", get().adjust_stock(adjust(-2))).await.unwrap_err()), "sku_unknown");
    assert_eq!(code(as_seller("sel_2", get().list_ledger(ledger())).await.unwrap_err()), "sku_unknown");
    assert_eq!(house.stock("sku_of_sel_1").await, (12, 0));
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl CatalogService for Fake {
    async fn batch_get_skus(
        &self,
        request: Request<catalog::BatchGetSkusRequest>,
    ) -> Answer<catalog::BatchGetSkusResponse> {
        let sku = |sku_id: String| catalog::Sku {
            seller_id: sku_id.trim_start_matches("sku_of_").into(),
            sku_id,
            ..catalog::Sku::default()
        };
        let skus = request.into_inner().sku_ids.into_iter().map(sku).collect();
        Ok(Response::new(catalog::BatchGetSkusResponse { skus, missing: Vec::new() }))
    }

    async fn list_products(&self, _: Request<catalog::ListProductsRequest>) -> Answer<catalog::ListProductsResponse> {
        Err(Status::unimplemented(""))
    }
    async fn get_product(&self, _: Request<catalog::GetProductRequest>) -> Answer<catalog::GetProductResponse> {
        Err(Status::unimplemented(""))
    }
    async fn batch_get_products(
        &self,
        _: Request<catalog::BatchGetProductsRequest>,
    ) -> Answer<catalog::BatchGetProductsResponse> {
        Err(Status::unimplemented(""))
    }
    async fn list_categories(
        &self,
        _: Request<catalog::ListCategoriesRequest>,
    ) -> Answer<catalog::ListCategoriesResponse> {
        Err(Status::unimplemented(""))
    }
    async fn create_product(
        &self,
        _: Request<catalog::CreateProductRequest>,
    ) -> Answer<catalog::CreateProductResponse> {
        Err(Status::unimplemented(""))
    }
    async fn update_product(
        &self,
        _: Request<catalog::UpdateProductRequest>,
    ) -> Answer<catalog::UpdateProductResponse> {
        Err(Status::unimplemented(""))
    }
    async fn delete_product(&self, _: Request<catalog::DeleteProductRequest>) -> Answer<()> {
        Err(Status::unimplemented(""))
    }
    async fn list_product(
        &self,
        _: Request<catalog::SetProductStatusRequest>,
    ) -> Answer<catalog::SetProductStatusResponse> {
        Err(Status::unimplemented(""))
    }
    async fn delist_product(
        &self,
        _: Request<catalog::SetProductStatusRequest>,
    ) -> Answer<catalog::SetProductStatusResponse> {
        Err(Status::unimplemented(""))
    }
    async fn admin_list_products(
        &self,
        _: Request<catalog::AdminListProductsRequest>,
    ) -> Answer<catalog::ListProductsResponse> {
        Err(Status::unimplemented(""))
    }
    async fn admin_get_product(&self, _: Request<catalog::GetProductRequest>) -> Answer<catalog::GetProductResponse> {
        Err(Status::unimplemented(""))
    }
    async fn create_category(
        &self,
        _: Request<catalog::CreateCategoryRequest>,
    ) -> Answer<catalog::CreateCategoryResponse> {
        Err(Status::unimplemented(""))
    }
    async fn create_brand(&self, _: Request<catalog::CreateBrandRequest>) -> Answer<catalog::CreateBrandResponse> {
        Err(Status::unimplemented(""))
    }
    async fn list_brands(&self, _: Request<catalog::ListBrandsRequest>) -> Answer<catalog::ListBrandsResponse> {
        Err(Status::unimplemented(""))
    }
    async fn run_checks(&self, _: Request<RunChecksRequest>) -> Answer<RunChecksResponse> {
        Err(Status::unimplemented(""))
    }
}

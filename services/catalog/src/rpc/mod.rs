//! The contract's side of the use cases: requests in, answers out, no decisions.

mod convert;

use std::sync::Arc;

use mallard_proto::catalog::v1 as pb;
use mallard_proto::catalog::v1::catalog_service_server::CatalogService;
use mallard_proto::common::v1 as common;
use mallard_rpc::{status, with_current};
use tonic::{Request, Response, Status};

pub use convert::{brand_out, category_out, image_out, product_out};

use crate::app::{AdminQuery, App, Changing, Page, ShopQuery};
use crate::checks;
use crate::domain::{self, Brand, Category};

/// Answers the service's RPCs.
pub struct Rpc(Arc<App>);

impl Rpc {
    /// Makes the server of these use cases.
    pub fn new(app: Arc<App>) -> Rpc {
        Rpc(app)
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl CatalogService for Rpc {
    async fn list_products(&self, request: Request<pb::ListProductsRequest>) -> Answer<pb::ListProductsResponse> {
        let request = request.into_inner();
        let query = ShopQuery {
            q: request.q,
            category: request.category,
            brand: request.brand,
            seller: request.seller,
            price_gte: request.price_gte,
            price_lte: request.price_lte,
            in_stock: request.in_stock,
            order: request.order,
            limit: request.limit,
            cursor: request.cursor,
            count: request.count,
            facets: request.facets,
        };
        Ok(Response::new(page_out(self.0.shop_list(query).await.map_err(status)?)))
    }

    async fn get_product(&self, request: Request<pb::GetProductRequest>) -> Answer<pb::GetProductResponse> {
        let product = self.0.product(&request.into_inner().id).await.map_err(status)?;
        Ok(Response::new(pb::GetProductResponse { product: Some(product_out(&product)) }))
    }

    async fn batch_get_products(
        &self,
        request: Request<pb::BatchGetProductsRequest>,
    ) -> Answer<pb::BatchGetProductsResponse> {
        let (products, missing) = self.0.batch_get(request.into_inner().ids).await.map_err(status)?;
        let products = products.iter().map(|product| product_out(product)).collect();
        Ok(Response::new(pb::BatchGetProductsResponse { products, missing }))
    }

    async fn list_categories(
        &self,
        _request: Request<pb::ListCategoriesRequest>,
    ) -> Answer<pb::ListCategoriesResponse> {
        let listing = self.0.listing().await.map_err(status)?;
        let categories = listing.tree.all().iter().map(convert::category_out).collect();
        Ok(Response::new(pb::ListCategoriesResponse { categories }))
    }

    async fn batch_get_skus(&self, request: Request<pb::BatchGetSkusRequest>) -> Answer<pb::BatchGetSkusResponse> {
        // Products that are not for sale are among them.
        let language = with_current(|call| {
            call.caller.require_identity()?;
            Ok(call.caller.language.clone())
        })
        .map_err(status)?;
        let (views, missing) = self.0.skus(request.into_inner().sku_ids).await.map_err(status)?;
        let skus = views.iter().filter_map(|view| convert::sku_out(view, &language)).collect();
        Ok(Response::new(pb::BatchGetSkusResponse { skus, missing }))
    }

    async fn upload_image(&self, request: Request<pb::UploadImageRequest>) -> Answer<pb::UploadImageResponse> {
        let request = request.into_inner();
        let image = self.0.upload(request.content, request.alt).await.map_err(status)?;
        Ok(Response::new(pb::UploadImageResponse { image: Some(image_out(&image)) }))
    }

    async fn get_image(&self, request: Request<pb::GetImageRequest>) -> Answer<pb::GetImageResponse> {
        let (content, content_type) = self.0.image(&request.into_inner().name).await.map_err(status)?;
        Ok(Response::new(pb::GetImageResponse { content, content_type: content_type.to_owned() }))
    }

    async fn create_product(&self, request: Request<pb::CreateProductRequest>) -> Answer<pb::CreateProductResponse> {
        let creating = convert::creating(request.into_inner()).map_err(status)?;
        let product = self.0.create(creating).await.map_err(status)?;
        Ok(Response::new(pb::CreateProductResponse { product: Some(product_out(&product)) }))
    }

    async fn update_product(&self, request: Request<pb::UpdateProductRequest>) -> Answer<pb::UpdateProductResponse> {
        let changing: Changing = convert::changing(request.into_inner()).map_err(status)?;
        let product = self.0.change(changing).await.map_err(status)?;
        Ok(Response::new(pb::UpdateProductResponse { product: Some(product_out(&product)) }))
    }

    async fn delete_product(&self, request: Request<pb::DeleteProductRequest>) -> Answer<()> {
        let request = request.into_inner();
        self.0.set_status(&request.id, domain::Status::Deleted, request.if_version).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn list_product(
        &self,
        request: Request<pb::SetProductStatusRequest>,
    ) -> Answer<pb::SetProductStatusResponse> {
        let request = request.into_inner();
        let product =
            self.0.set_status(&request.id, domain::Status::Listed, request.if_version).await.map_err(status)?;
        Ok(Response::new(pb::SetProductStatusResponse { product: Some(product_out(&product)) }))
    }

    async fn delist_product(
        &self,
        request: Request<pb::SetProductStatusRequest>,
    ) -> Answer<pb::SetProductStatusResponse> {
        let request = request.into_inner();
        let product =
            self.0.set_status(&request.id, domain::Status::Delisted, request.if_version).await.map_err(status)?;
        Ok(Response::new(pb::SetProductStatusResponse { product: Some(product_out(&product)) }))
    }

    async fn admin_list_products(
        &self,
        request: Request<pb::AdminListProductsRequest>,
    ) -> Answer<pb::ListProductsResponse> {
        let request = request.into_inner();
        let query = AdminQuery {
            status: request.status,
            seller: request.seller,
            q: request.q,
            limit: request.limit,
            cursor: request.cursor,
            count: request.count,
        };
        Ok(Response::new(page_out(self.0.own_list(query).await.map_err(status)?)))
    }

    async fn admin_get_product(&self, request: Request<pb::GetProductRequest>) -> Answer<pb::GetProductResponse> {
        let product = self.0.own_product(&request.into_inner().id).await.map_err(status)?;
        Ok(Response::new(pb::GetProductResponse { product: Some(product_out(&product)) }))
    }

    async fn create_category(&self, request: Request<pb::CreateCategoryRequest>) -> Answer<pb::CreateCategoryResponse> {
        let request = request.into_inner();
        let category = Category {
            id: request.id,
            slug: request.slug,
            name: request.name,
            parent_id: request.parent_id,
            names: request.names,
            position: request.position,
        };
        let category = self.0.create_category(category).await.map_err(status)?;
        Ok(Response::new(pb::CreateCategoryResponse { category: Some(convert::category_out(&category)) }))
    }

    async fn create_brand(&self, request: Request<pb::CreateBrandRequest>) -> Answer<pb::CreateBrandResponse> {
        let request = request.into_inner();
        let brand = self.0.create_brand(Brand { id: request.id, name: request.name }).await.map_err(status)?;
        Ok(Response::new(pb::CreateBrandResponse { brand: Some(convert::brand_out(&brand)) }))
    }

    async fn list_brands(&self, request: Request<pb::ListBrandsRequest>) -> Answer<pb::ListBrandsResponse> {
        let request = request.into_inner();
        let (brands, next_cursor) = self.0.brands(request.limit, &request.cursor).await.map_err(status)?;
        Ok(Response::new(pb::ListBrandsResponse {
            brands: brands.iter().map(convert::brand_out).collect(),
            next_cursor,
        }))
    }

    async fn run_checks(&self, _request: Request<common::RunChecksRequest>) -> Answer<common::RunChecksResponse> {
        with_current(|call| call.caller.require_system()).map_err(status)?;
        let findings = checks::run(&self.0).await.map_err(status)?;
        let mut checks: Vec<common::Check> = findings
            .into_iter()
            .map(|finding| common::Check { name: finding.name.to_owned(), ok: finding.ok, detail: finding.detail })
            .collect();
        checks.extend(self.0.ctx.check_events().await.map_err(status)?);
        Ok(Response::new(common::RunChecksResponse { checks }))
    }
}

fn page_out(page: Page) -> pb::ListProductsResponse {
    let products = page.products.iter().map(|product| product_out(product)).collect();
    let facets = page.facets.map(|facets| convert::facets_out(&facets));
    pb::ListProductsResponse { products, next_cursor: page.next_cursor, count: page.count, facets }
}

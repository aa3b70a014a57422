//! The promotion's contract, through a local channel, against a stand-in for the catalog.

use futures_util::FutureExt;
use mallard_proto::catalog::v1 as catalog;
use mallard_proto::catalog::v1::catalog_service_server::{CatalogService, CatalogServiceServer};
use mallard_proto::common::v1::{Money, RunChecksRequest, RunChecksResponse};
use mallard_proto::promotion::v1::promotion_service_client::PromotionServiceClient;
use mallard_proto::promotion::v1::{Quote, QuoteLineInput, QuoteRequest};
use mallard_rpc::ServiceChannel;
use mallard_runtime::{Clock, Mall, Parts, ServiceSpec, Settings};
use mallard_testkit::{as_guest, as_stranger, as_system, as_user, settings, several, start};
use mallard_types::{Error, Result};
use tonic::{Request, Response, Status};

/// A catalog in which the SKU's name says what there is to say: `sku_990` costs 9.90 CNY, `sku_990_gbp` 9.90 GBP,
/// `sku_990_delisted` is not for sale.
struct Shelf;

fn sku(sku_id: String) -> Option<catalog::Sku> {
    let mut words = sku_id.split('_').skip(1);
    let amount = words.next()?.parse().ok()?;
    let note = words.next().unwrap_or_default();
    let currency = if note == "gbp" { "GBP" } else { "CNY" };
    Some(catalog::Sku {
        product_id: "prod_1".into(),
        seller_id: "sel_1".into(),
        title: "Harbour mug".into(),
        options: [("Colour".to_owned(), "Rust".to_owned())].into(),
        price: Some(Money { amount, currency: currency.into() }),
        sellable: note != "delisted",
        image: Some(catalog::Image { url: "/media/mug.svg".into(), ..Default::default() }),
        code: "MUG-1".into(),
        sku_id,
        ..Default::default()
    })
}

macro_rules! shelf {
    ($($name:ident($request:ty) -> $response:ty),* $(,)?) => {
        #[tonic::async_trait]
        impl CatalogService for Shelf {
            async fn batch_get_skus(
                &self,
                request: Request<catalog::BatchGetSkusRequest>,
            ) -> Result<Response<catalog::BatchGetSkusResponse>, Status> {
                let skus = request.into_inner().sku_ids.into_iter().filter_map(sku).collect();
                Ok(Response::new(catalog::BatchGetSkusResponse { skus, missing: Vec::new() }))
            }
            $(
                async fn $name(&self, _: Request<$request>) -> Result<Response<$response>, Status> {
                    Err(Status::unimplemented("the stand-in does not answer this"))
                }
            )*
        }
    };
}

shelf! {
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

fn catalog_spec() -> ServiceSpec {
    let start = |_| async { Ok(Parts::new(tonic::service::Routes::new(CatalogServiceServer::new(Shelf)))) }.boxed();
    ServiceSpec { name: "catalog", migrations: &[], subscribes: &[], start }
}

fn two_services() -> Settings {
    settings(vec![mallard_promotion::service(), catalog_spec()])
}

fn line(sku_id: &str, quantity: i64) -> QuoteLineInput {
    QuoteLineInput { sku_id: sku_id.into(), quantity, agreed_unit_price_nanos: None }
}

fn agreed(sku_id: &str, quantity: i64, nanos: i64) -> QuoteLineInput {
    QuoteLineInput { agreed_unit_price_nanos: Some(nanos), ..line(sku_id, quantity) }
}

async fn quote(mall: &Mall, lines: Vec<QuoteLineInput>) -> Result<Quote> {
    ask(mall, QuoteRequest { lines, ..Default::default() }).await
}

async fn ask(mall: &Mall, request: QuoteRequest) -> Result<Quote> {
    let mut client: PromotionServiceClient<ServiceChannel> = mall.client();
    let answer = client.quote(request).await.map_err(mallard_rpc::error)?;
    Ok(answer.into_inner().quote.unwrap())
}

fn why(error: &Error) -> (&'static str, &str, &str) {
    (error.kind.as_str(), error.code.as_ref(), error.param.as_deref().unwrap_or(""))
}

fn cny(amount: i64) -> Option<Money> {
    Some(Money { amount, currency: "CNY".into() })
}

#[tokio::test]
async fn a_basket_is_priced_line_by_line_for_fifteen_minutes() {
    let mut settings = two_services();
    settings.clock = Clock::simulated(1_800_000_000_000_000);
    let mall = start(settings).await;
    let quote = as_guest(quote(&mall, vec![line("sku_990", 2), line("sku_660", 1)])).await.unwrap();
    assert_eq!(
        (quote.subtotal, quote.discount, quote.shipping, quote.tax, quote.total),
        (cny(2_640), cny(0), cny(0), cny(0), cny(2_640))
    );
    let first = &quote.lines[0];
    assert_eq!(
        (first.sku_id.as_str(), first.quantity, first.unit_price.clone(), first.line_total.clone()),
        ("sku_990", 2, cny(990), cny(1_980))
    );
    assert_eq!(
        (first.title.as_str(), first.seller_id.as_str(), first.image_url.as_str()),
        ("Harbour mug", "sel_1", "/media/mug.svg")
    );
    assert_eq!((first.code.as_str(), first.options["Colour"].as_str(), first.rounding_nanos), ("MUG-1", "Rust", 0));
    let expires_at = quote.expires_at.unwrap().micros();
    let after = expires_at - 1_800_000_000_000_000;
    assert!((900_000_000..930_000_000).contains(&after), "{after} microseconds");
}

#[tokio::test]
async fn agreed_prices_are_for_the_system_only() {
    let mall = several(vec![mallard_promotion::service(), catalog_spec()]).await;
    let lines = || vec![agreed("sku_990", 3, 1_234_567_890), agreed("sku_990", 1, 5_000_000)];
    let system = as_system(quote(&mall, lines())).await.unwrap();
    assert_eq!((system.lines[0].unit_price.clone(), system.lines[0].line_total.clone()), (cny(123), cny(370)));
    assert_eq!(system.lines[0].rounding_nanos, 3_703_670);
    assert_eq!((system.lines[1].line_total.clone(), system.lines[1].rounding_nanos), (cny(1), -5_000_000));
    assert_eq!(system.total, cny(371));
    let shopper = as_user("usr_1", quote(&mall, lines())).await.unwrap();
    assert_eq!(shopper.total, cny(4 * 990), "from a shopper the list price holds");
}

#[tokio::test]
async fn refusals_name_the_line_at_fault() {
    let mall = several(vec![mallard_promotion::service(), catalog_spec()]).await;
    let refused = |second: QuoteLineInput| {
        let mall = &mall;
        async move { as_guest(quote(mall, vec![line("sku_990", 1), second])).await.unwrap_err() }
    };
    assert_eq!(why(&refused(line("sku_none", 1)).await), ("not_found", "sku_unknown", "lines[1].sku_id"));
    assert_eq!(why(&refused(line("sku_990_delisted", 1)).await), ("conflict", "not_sellable", "lines[1].sku_id"));
    assert_eq!(why(&refused(line("sku_990_gbp", 1)).await), ("refused", "mixed_currencies", "lines[1].sku_id"));
    for quantity in [0, -1, 10_000, i64::MAX] {
        assert_eq!(
            why(&refused(line("sku_990", quantity)).await),
            ("invalid", "quantity_out_of_range", "lines[1].quantity")
        );
    }
    assert_eq!(why(&refused(line(&format!("sku_{}", i64::MAX), 1)).await), ("invalid", "amount_overflow", "lines"));
    assert_eq!(why(&as_guest(quote(&mall, vec![])).await.unwrap_err()), ("invalid", "lines_required", "lines"));
    let many = (0..101).map(|_| line("sku_990", 1)).collect();
    assert_eq!(why(&as_guest(quote(&mall, many)).await.unwrap_err()), ("invalid", "cart_line_limit", "lines"));
}

#[tokio::test]
async fn a_coupon_nobody_issued_is_refused() {
    let mall = several(vec![mallard_promotion::service(), catalog_spec()]).await;
    let request =
        QuoteRequest { lines: vec![line("sku_990", 1)], coupon_codes: vec!["SPRING".into()], ..Default::default() };
    let error = as_guest(ask(&mall, request)).await.unwrap_err();
    assert_eq!(why(&error), ("refused", "coupon_unknown", "coupon_codes[0]"));
}

#[tokio::test]
async fn a_quote_is_for_the_user_who_asks_and_for_nobody_unknown() {
    let mall = several(vec![mallard_promotion::service(), catalog_spec()]).await;
    let of = |user_id: &str| {
        ask(&mall, QuoteRequest { lines: vec![line("sku_990", 1)], user_id: user_id.into(), ..Default::default() })
    };
    let stranger = as_stranger(of("")).await.unwrap_err();
    assert_eq!(why(&stranger), ("unauthenticated", "identity_required", ""));
    for refused in [as_stranger(of("usr_1")).await, as_guest(of("usr_1")).await, as_user("usr_2", of("usr_1")).await] {
        assert!(matches!(refused.unwrap_err().code.as_ref(), "identity_required" | "not_your_quote"));
    }
    assert!(as_user("usr_1", of("usr_1")).await.is_ok());
    assert!(as_system(of("usr_1")).await.is_ok());
}

#[tokio::test]
async fn shipping_follows_the_configuration() {
    let mut settings = two_services();
    settings.config = settings
        .config
        .set("promotion.shipping.CNY.fee_minor", 800)
        .set("promotion.shipping.CNY.free_from_minor", 9_900);
    let mall = start(settings).await;
    let small = as_guest(quote(&mall, vec![line("sku_990", 1)])).await.unwrap();
    assert_eq!((small.shipping, small.total), (cny(800), cny(1_790)));
    let large = as_guest(quote(&mall, vec![line("sku_990", 10)])).await.unwrap();
    assert_eq!((large.shipping, large.total), (cny(0), cny(9_900)));
    let pounds = as_guest(quote(&mall, vec![line("sku_990_gbp", 1)])).await.unwrap();
    assert_eq!(
        pounds.shipping,
        Some(Money { amount: 0, currency: "GBP".into() }),
        "a currency without a rule ships free"
    );
}

#[tokio::test]
async fn without_the_catalog_there_is_no_price() {
    let mall = several(vec![mallard_promotion::service()]).await;
    let error = as_guest(quote(&mall, vec![line("sku_990", 1)])).await.unwrap_err();
    assert_eq!(error.kind.as_str(), "unavailable");
}

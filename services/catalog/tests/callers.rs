//! Who may call what is between services only.

mod common;

use std::option::Option;

use common::{Engine, code, named, shop};
use mallard_proto::catalog::v1::*;
use mallard_proto::common::v1::RunChecksRequest;
use mallard_testkit::{as_admin, as_guest, as_stranger};

#[tokio::test]
async fn skus_and_checks_are_not_for_everybody() {
    let shop = shop(Engine::Memory).await.unwrap();
    let hidden = CreateProductRequest { status: ProductStatus::Draft.into(), ..named("prod_1", "Tea", 100) };
    shop.create(hidden).await;
    let skus = || BatchGetSkusRequest { sku_ids: vec!["sku_1".into()] };
    assert_eq!(code(as_stranger(shop.batch_get_skus(skus()))).await, "identity_required");
    assert_eq!(as_guest(shop.batch_get_skus(skus())).await.unwrap().skus.len(), 1);
    let checks = async || -> Option<String> {
        let refused = shop.client.clone().run_checks(RunChecksRequest {}).await.err()?;
        Some(mallard_rpc::error(refused).code.into_owned())
    };
    assert_eq!(as_stranger(checks()).await.as_deref(), Some("internal_only"));
    assert_eq!(as_admin("usr_1", checks()).await.as_deref(), Some("internal_only"));
}

//! Do the books balance? Asks every service that keeps some.

use mallard_proto::cart::v1::cart_service_client::CartServiceClient;
use mallard_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mallard_proto::common::v1::{Check, RunChecksRequest};
use mallard_proto::identity::v1::identity_service_client::IdentityServiceClient;
use mallard_proto::insight::v1::insight_service_client::InsightServiceClient;
use mallard_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use mallard_proto::order::v1::order_service_client::OrderServiceClient;
use mallard_proto::payment::v1::payment_service_client::PaymentServiceClient;
use mallard_rpc::{Call, ServiceChannel};
use mallard_runtime::Mall;

/// Longest time for all checks together.
const TIME_MAX: std::time::Duration = std::time::Duration::from_secs(3_600);

macro_rules! ask {
    ($mall:expr, $checks:ident, $($client:ident => $name:literal),* $(,)?) => {
        $({
            let mut client: $client<ServiceChannel> = $mall.client();
            match client.run_checks(RunChecksRequest {}).await {
                Ok(answer) => $checks.extend(answer.into_inner().checks),
                Err(status) => $checks.push(Check { name: concat!($name, ".answers").into(), ok: false, detail: mallard_rpc::error(status).to_string() }),
            }
        })*
    };
}

/// Runs every check. A service that does not answer is a red check of its own.
pub async fn run(mall: &Mall) -> Vec<Check> {
    // Reading every book takes its time; a call of the default deadline would end in the middle.
    let call = Call { deadline: Some(tokio::time::Instant::now() + TIME_MAX), ..Call::system("check") };
    mallard_rpc::scope(call, async {
        let mut checks = Vec::new();
        ask!(
            mall, checks,
            InventoryServiceClient => "stock",
            OrderServiceClient => "order",
            PaymentServiceClient => "payment",
            CartServiceClient => "cart",
            CatalogServiceClient => "catalog",
            IdentityServiceClient => "identity",
            InsightServiceClient => "insight",
        );
        checks
    })
    .await
}

/// Tells whether every check is green.
pub fn all_green(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.ok)
}

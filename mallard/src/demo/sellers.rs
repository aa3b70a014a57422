//! The accounts that act for the demo shop's sellers.

use mallard_proto::identity::v1::CreateUserRequest;
use mallard_proto::identity::v1::identity_service_client::IdentityServiceClient;
use mallard_rpc::ServiceChannel;
use mallard_runtime::Mall;

use super::shop::{Seller, shop};

/// Makes an account for each seller, all with this password, and returns how many there were not. To be called as the system.
///
/// # Errors
/// Identity is away or refuses something; what was made stays, and another run makes the rest.
pub async fn sellers(mall: &Mall, password: &str) -> anyhow::Result<usize> {
    let identity: IdentityServiceClient<ServiceChannel> = mall.client();
    let make = |seller: &Seller| {
        let mut identity = identity.clone();
        let request = CreateUserRequest {
            email: seller.email.clone(),
            password: password.to_owned(),
            name: seller.name.clone(),
            language: "en".into(),
            roles: vec!["user".into(), "seller".into()],
            seller_id: seller.id.clone(),
        };
        async move { identity.create_user(request).await.map_err(mallard_rpc::error) }
    };
    let mut made = 0;
    for seller in &shop().sellers {
        made += usize::from(make(seller).await?.into_inner().created);
    }
    Ok(made)
}

/// Returns the e-mail address of the first seller's account.
pub fn seller_email() -> &'static str {
    shop().sellers.first().map_or("", |seller| seller.email.as_str())
}

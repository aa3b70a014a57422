//! What the cart's tests share: a mall of one cart, calls as short words, places to keep carts.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod neighbours;

use std::sync::Arc;

use mallard_db::MemoryDisk;
use mallard_proto::cart::v1::cart_service_client::CartServiceClient;
use mallard_proto::cart::v1::*;
use mallard_proto::common::v1::RunChecksRequest;
use mallard_rpc::ServiceChannel;
use mallard_runtime::{Mall, Storage};
use mallard_testkit::pgtest::PgServer;
use mallard_testkit::{as_system, patiently, settings, several, start};
use mallard_types::{Error, Result};
use neighbours::{catalog, inventory};

pub type Client = CartServiceClient<ServiceChannel>;

pub async fn mall() -> (Mall, Client) {
    let mall = several(vec![mallard_cart::service(), catalog(), inventory()]).await;
    let client = mall.client();
    (mall, client)
}

/// A place to keep carts, with what must outlive the mall that runs on it.
pub struct Place {
    storage: Storage,
    _folder: tempfile::TempDir,
    _server: Option<Arc<PgServer>>,
}

/// Every kind of storage there is here: memory, files, and PostgreSQL where it is installed.
pub async fn places() -> Vec<Place> {
    let folder = || tempfile::tempdir().unwrap();
    let files = folder();
    let mut places = vec![
        Place { storage: Storage::Memory(MemoryDisk::new()), _folder: folder(), _server: None },
        Place { storage: Storage::Folder(files.path().to_owned()), _folder: files, _server: None },
    ];
    if let Some(server) = PgServer::shared() {
        let url = server.fresh_url().await;
        places.push(Place {
            storage: Storage::Postgres { url, pool_max: 8 },
            _folder: folder(),
            _server: Some(server),
        });
    }
    places
}

/// Starts a mall in a place.
pub async fn mall_in(place: &Place) -> (Mall, Client) {
    let mut settings = settings(vec![mallard_cart::service(), catalog(), inventory()]);
    settings.storage = place.storage.clone();
    let mall = start(settings).await;
    let client = mall.client();
    (mall, client)
}

pub async fn get(client: &Client, cart_token: &str) -> Result<CartResponse> {
    let request = GetCartRequest { cart_token: cart_token.into() };
    let ask = || async { client.clone().get_cart(request.clone()).await.map_err(mallard_rpc::error) };
    patiently(ask).await.map(tonic::Response::into_inner)
}

pub async fn add(client: &Client, sku_id: &str, quantity: i64, cart_token: &str) -> Result<CartResponse> {
    let request = AddLineRequest { sku_id: sku_id.into(), quantity, cart_token: cart_token.into(), if_version: None };
    let ask = || async { client.clone().add_line(request.clone()).await.map_err(mallard_rpc::error) };
    patiently(ask).await.map(tonic::Response::into_inner)
}

pub async fn set(client: &Client, sku_id: &str, quantity: i64, if_version: Option<i64>) -> Result<CartResponse> {
    let request = SetLineRequest { sku_id: sku_id.into(), quantity, cart_token: String::new(), if_version };
    let ask = || async { client.clone().set_line(request.clone()).await.map_err(mallard_rpc::error) };
    patiently(ask).await.map(tonic::Response::into_inner)
}

pub async fn remove(client: &Client, sku_id: &str) -> Result<CartResponse> {
    let request = RemoveLineRequest { sku_id: sku_id.into(), ..Default::default() };
    let ask = || async { client.clone().remove_line(request.clone()).await.map_err(mallard_rpc::error) };
    patiently(ask).await.map(tonic::Response::into_inner)
}

pub async fn merge(client: &Client, cart_token: &str) -> Result<CartResponse> {
    let request = MergeCartRequest { cart_token: cart_token.into() };
    let ask = || async { client.clone().merge_cart(request.clone()).await.map_err(mallard_rpc::error) };
    patiently(ask).await.map(tonic::Response::into_inner)
}

pub async fn remove_ordered(client: &Client, user_id: &str, order_id: &str, lines: &[(&str, i64)]) -> Result<()> {
    let lines =
        lines.iter().map(|(sku_id, quantity)| RawLine { sku_id: (*sku_id).into(), quantity: *quantity }).collect();
    let request = RemoveOrderedRequest { user_id: user_id.into(), order_id: order_id.into(), lines };
    let ask = || async { client.clone().remove_ordered(request.clone()).await.map_err(mallard_rpc::error) };
    patiently(ask).await.map(drop)
}

pub async fn checks(client: &Client) -> Vec<(String, bool)> {
    let ask = || async { client.clone().run_checks(RunChecksRequest {}).await.map_err(mallard_rpc::error) };
    let answer = as_system(patiently(ask)).await.unwrap().into_inner();
    // The event machinery adds checks of its own.
    let own = answer.checks.into_iter().filter(|check| !check.name.starts_with("cart.events."));
    own.map(|check| (check.name, check.ok)).collect()
}

pub fn lines(answer: &CartResponse) -> Vec<(String, i64)> {
    answer.cart.as_ref().unwrap().lines.iter().map(|line| (line.sku_id.clone(), line.quantity)).collect()
}

pub fn total(answer: &CartResponse) -> i64 {
    answer.cart.as_ref().unwrap().total.as_ref().unwrap().amount
}

pub fn version(answer: &CartResponse) -> i64 {
    answer.cart.as_ref().unwrap().version
}

pub fn why(error: &Error) -> (&'static str, &str, &str) {
    (error.kind.as_str(), error.code.as_ref(), error.param.as_deref().unwrap_or(""))
}

//! Fake services behind a real gateway. What they keep is shared by all tests of a process, under names of their own.
#![allow(dead_code)]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use mallard_proto::Timestamp;
use mallard_proto::cart::v1 as cart;
use mallard_proto::common::v1::{Check, RunChecksRequest, RunChecksResponse};
use mallard_proto::identity::v1 as identity;
use mallard_proto::order::v1 as order;
use mallard_rpc::current;
use mallard_runtime::{Config, Mall, Parts, ServiceSpec};
use mallard_testkit::Http;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

/// End of every session, far away.
const FAR: i64 = 4_000_000_000;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&[7; 32]));

/// What identity's list of revocations holds.
pub static REVOKED: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// Carts that were merged: user and cart token.
pub static MERGED: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Signs a token with these changes to the usual claims.
pub fn token_with(user: &str, session: &str, changes: Value) -> String {
    let mut claims = json!({"iss": "mallard", "aud": "mallard", "sub": user, "sid": session, "roles": ["user"], "seller": "",
                            "lang": "en", "iat": 1, "exp": FAR, "jti": "j"});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let header = Header { kid: Some("k1".into()), ..Header::new(Algorithm::EdDSA) };
    let der = KEY.to_pkcs8_der().unwrap();
    encode(&header, &claims, &EncodingKey::from_ed_der(der.as_bytes())).unwrap()
}

pub fn token(user: &str, session: &str) -> String {
    token_with(user, session, json!({}))
}

pub fn admin() -> String {
    token_with("usr_admin", "sess_admin", json!({"roles": ["user", "admin"]}))
}

struct Identity;

#[tonic::async_trait]
impl identity::identity_service_server::IdentityService for Identity {
    async fn get_keys(&self, _: Request<identity::GetKeysRequest>) -> Answer<identity::GetKeysResponse> {
        let x = URL_SAFE_NO_PAD.encode(KEY.verifying_key().as_bytes());
        let jwks =
            json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "k1", "x": x}]});
        Ok(Response::new(identity::GetKeysResponse { jwks_json: jwks.to_string() }))
    }

    async fn list_revocations(
        &self,
        request: Request<identity::ListRevocationsRequest>,
    ) -> Answer<identity::ListRevocationsResponse> {
        assert!(current().caller.is_system());
        let after = request.into_inner().after_seq;
        let until = Some(Timestamp::from_micros(FAR * 1_000_000));
        let all = REVOKED.lock().clone();
        let numbered = all.into_iter().enumerate().map(|(index, session_id)| (index as i64 + 1, session_id));
        let revocations = numbered
            .filter(|(seq, _)| *seq > after)
            .map(|(seq, session_id)| identity::Revocation { seq, session_id, until })
            .take(2)
            .collect();
        Ok(Response::new(identity::ListRevocationsResponse { revocations }))
    }

    async fn logout(&self, _: Request<identity::LogoutRequest>) -> Answer<()> {
        REVOKED.lock().push(current().caller.session_id);
        Ok(Response::new(()))
    }

    async fn get_me(&self, _: Request<identity::GetMeRequest>) -> Answer<identity::GetMeResponse> {
        let caller = current().caller;
        let user =
            identity::User { id: caller.user_id, roles: caller.roles, language: caller.language, ..Default::default() };
        Ok(Response::new(identity::GetMeResponse { user: Some(user) }))
    }

    async fn login(&self, request: Request<identity::LoginRequest>) -> Answer<identity::LoginResponse> {
        let user = request.into_inner().email;
        let tokens = identity::Tokens { access_token: token(&user, &format!("sess_{user}")), ..Default::default() };
        let user = identity::User { id: user, ..Default::default() };
        Ok(Response::new(identity::LoginResponse { user: Some(user), tokens: Some(tokens) }))
    }

    async fn run_checks(&self, _: Request<RunChecksRequest>) -> Answer<RunChecksResponse> {
        Ok(Response::new(RunChecksResponse {
            checks: vec![Check { name: "users.unique".into(), ok: true, detail: "3 users".into() }],
        }))
    }
}

struct Cart;

#[tonic::async_trait]
impl cart::cart_service_server::CartService for Cart {
    async fn merge_cart(&self, request: Request<cart::MergeCartRequest>) -> Answer<cart::CartResponse> {
        let token = request.into_inner().cart_token;
        if token == "ct_broken" {
            return Err(Status::internal("on purpose"));
        }
        MERGED.lock().push((current().caller.user_id, token));
        Ok(Response::new(cart::CartResponse::default()))
    }
}

struct Orders;

#[tonic::async_trait]
impl order::order_service_server::OrderService for Orders {
    async fn place_order(&self, request: Request<order::PlaceOrderRequest>) -> Answer<order::PlaceOrderResponse> {
        let placed = order::Order { id: "ord_1".into(), note: request.into_inner().note, ..Default::default() };
        Ok(Response::new(order::PlaceOrderResponse { order: Some(placed), payment: None }))
    }
}

fn fake(name: &'static str) -> ServiceSpec {
    // The three fakes need three plain functions: a specification holds no closure with values.
    let start: fn(mallard_runtime::Context) -> futures_util::future::BoxFuture<'static, anyhow::Result<Parts>> =
        match name {
            "identity" => |_| {
                Box::pin(async {
                    Ok(Parts::new(Routes::new(identity::identity_service_server::IdentityServiceServer::new(Identity))))
                })
            },
            "cart" => |_| {
                Box::pin(async { Ok(Parts::new(Routes::new(cart::cart_service_server::CartServiceServer::new(Cart)))) })
            },
            _ => |_| {
                Box::pin(async {
                    Ok(Parts::new(Routes::new(order::order_service_server::OrderServiceServer::new(Orders))))
                })
            },
        };
    ServiceSpec { name, migrations: &[], subscribes: &[], start }
}

pub async fn mall_with(change: impl FnOnce(Config) -> Config) -> (Mall, Http) {
    let specs = vec![fake("identity"), fake("cart"), fake("order"), mallard_gateway::service()];
    let mut settings = mallard_testkit::settings(specs);
    settings.listen = Some(([127, 0, 0, 1], 0).into());
    settings.config = change(settings.config);
    let mall = mallard_testkit::start(settings).await;
    let http = Http::new(mall.http_addr().unwrap());
    (mall, http)
}

pub async fn mall() -> (Mall, Http) {
    mall_with(|config| config).await
}

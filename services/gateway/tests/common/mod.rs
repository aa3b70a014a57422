//! Fake services behind a real gateway. What they keep is shared by all tests of a process, under names of their own.
#![allow(dead_code)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use mallard_proto::Timestamp;
use mallard_proto::bus::v1::event_intake_client::EventIntakeClient;
use mallard_proto::bus::v1::{DeliverRequest, Event};
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

/// A key, by the one number that its secret consists of; its id is `k` and the number.
fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// What one fake identity has, besides what all share.
pub struct World {
    pub access: Mutex<identity::GetAccessResponse>,
    pub standings: Mutex<Vec<identity::Standing>>,
    /// Revoked sessions.
    pub revoked: Mutex<Vec<String>>,
    /// Uses of sessions that were told.
    pub uses: Mutex<Vec<String>>,
    /// Numbers of the keys.
    pub keys: Mutex<Vec<u8>>,
    /// The keys are not answered.
    pub keys_hang: AtomicBool,
    /// Calls of these methods fail.
    pub failing: Mutex<Vec<&'static str>>,
    /// How often methods that can fail were called.
    looks: Mutex<HashMap<&'static str, u32>>,
}

static WORLDS: LazyLock<Mutex<HashMap<String, Arc<World>>>> = LazyLock::new(Mutex::default);

/// Returns the fake identity of this name, made when it is asked for first.
pub fn world(name: &str) -> Arc<World> {
    let new = || {
        Arc::new(World {
            access: Mutex::new(usual_access()),
            standings: Mutex::default(),
            revoked: Mutex::default(),
            uses: Mutex::default(),
            keys: Mutex::new(vec![1]),
            keys_hang: AtomicBool::new(false),
            failing: Mutex::default(),
            looks: Mutex::default(),
        })
    };
    Arc::clone(WORLDS.lock().entry(name.to_owned()).or_insert_with(new))
}

impl World {
    /// Adds a standing of an account and returns it.
    pub fn stands(&self, user: &str, change: impl FnOnce(&mut identity::Standing)) -> identity::Standing {
        let mut standings = self.standings.lock();
        let seq = standings.len() as i64 + 1;
        let mut standing =
            identity::Standing { seq, user_id: user.into(), roles: vec!["user".into()], ..Default::default() };
        change(&mut standing);
        standings.push(standing.clone());
        standing
    }

    /// Changes the policy.
    pub fn govern(&self, change: impl FnOnce(&mut identity::GetAccessResponse)) {
        let mut access = self.access.lock();
        access.version += 1;
        change(&mut access);
    }

    /// Waits until a method has been called three times more.
    pub async fn looked_at(&self, method: &'static str) {
        let looks = || self.looks.lock().get(method).copied().unwrap_or_default();
        let before = looks();
        mallard_testkit::eventually(method, async || looks() >= before + 3).await;
    }

    fn check(&self, method: &'static str) -> Result<(), Status> {
        *self.looks.lock().entry(method).or_default() += 1;
        if self.failing.lock().contains(&method) { Err(Status::unavailable("on purpose")) } else { Ok(()) }
    }
}

/// Makes a rule for every verb and domain.
pub fn policy(role: &str, path: &str, effect: &str) -> identity::Policy {
    identity::Policy {
        id: format!("pol {role} {path} {effect}"),
        role: role.into(),
        domain: "*".into(),
        path: path.into(),
        method: "*".into(),
        effect: effect.into(),
        ..Default::default()
    }
}

fn usual_access() -> identity::GetAccessResponse {
    let role = |name: &str, inherits: &[&str]| identity::Role {
        name: name.into(),
        inherits: inherits.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    };
    identity::GetAccessResponse {
        version: 1,
        changed: true,
        policies: vec![
            policy("user", "/store/v1/*", "allow"),
            policy("user", "/auth/v1/*", "allow"),
            policy("seller", "/seller/v1/*", "allow"),
            policy("admin", "/admin/v1/*", "allow"),
        ],
        roles: vec![role("admin", &["seller"]), role("seller", &["user"])],
        allow_list: Vec::new(),
    }
}

/// Carts that were merged: user and cart token.
pub static MERGED: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Signs a token with these changes to the usual claims.
pub fn token_with(user: &str, session: &str, changes: Value) -> String {
    token_by(1, user, session, changes)
}

/// The same, signed with the key of this number.
pub fn token_by(number: u8, user: &str, session: &str, changes: Value) -> String {
    let mut claims = json!({"iss": "mallard", "aud": "mallard", "sub": user, "sid": session, "roles": ["user"], "seller": "",
                            "lang": "en", "iat": 1, "exp": FAR, "jti": "j"});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let header = Header { kid: Some(format!("k{number}")), ..Header::new(Algorithm::EdDSA) };
    let der = key(number).to_pkcs8_der().unwrap();
    encode(&header, &claims, &EncodingKey::from_ed_der(der.as_bytes())).unwrap()
}

pub fn token(user: &str, session: &str) -> String {
    token_with(user, session, json!({}))
}

/// An operator who has just entered the password.
pub fn admin() -> String {
    token_with("usr_admin", "sess_admin", json!({"roles": ["user", "admin"], "auth_time": FAR}))
}

struct Identity(Arc<World>);

#[tonic::async_trait]
impl identity::identity_service_server::IdentityService for Identity {
    async fn get_keys(&self, _: Request<identity::GetKeysRequest>) -> Answer<identity::GetKeysResponse> {
        if self.0.keys_hang.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let jwk = |number: &u8| {
            let x = URL_SAFE_NO_PAD.encode(key(*number).verifying_key().as_bytes());
            json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": format!("k{number}"), "x": x})
        };
        let jwks = json!({"keys": self.0.keys.lock().iter().map(jwk).collect::<Vec<_>>()});
        Ok(Response::new(identity::GetKeysResponse { jwks_json: jwks.to_string() }))
    }

    async fn list_revocations(
        &self,
        request: Request<identity::ListRevocationsRequest>,
    ) -> Answer<identity::ListRevocationsResponse> {
        assert!(current().caller.is_system());
        let after = request.into_inner().after_seq;
        let until = Some(Timestamp::from_micros(FAR * 1_000_000));
        let all = self.0.revoked.lock().clone();
        let numbered = all.into_iter().enumerate().map(|(index, session_id)| (index as i64 + 1, session_id));
        let revocations = numbered
            .filter(|(seq, _)| *seq > after)
            .map(|(seq, session_id)| identity::Revocation { seq, session_id, until })
            .take(2)
            .collect();
        Ok(Response::new(identity::ListRevocationsResponse { revocations }))
    }

    async fn get_access(&self, request: Request<identity::GetAccessRequest>) -> Answer<identity::GetAccessResponse> {
        assert!(current().caller.is_system());
        self.0.check("get_access")?;
        let access = self.0.access.lock().clone();
        let known = request.into_inner().known_version == access.version;
        let unchanged = || identity::GetAccessResponse { version: access.version, ..Default::default() };
        Ok(Response::new(if known { unchanged() } else { access }))
    }

    async fn list_standings(
        &self,
        request: Request<identity::ListStandingsRequest>,
    ) -> Answer<identity::ListStandingsResponse> {
        assert!(current().caller.is_system());
        self.0.check("list_standings")?;
        let after = request.into_inner().after_seq;
        let standings =
            self.0.standings.lock().iter().filter(|standing| standing.seq > after).take(2).cloned().collect();
        Ok(Response::new(identity::ListStandingsResponse { standings }))
    }

    async fn touch_sessions(&self, request: Request<identity::TouchSessionsRequest>) -> Answer<()> {
        assert!(current().caller.is_system());
        self.0.check("touch_sessions")?;
        let uses = request.into_inner().uses;
        assert!(uses.iter().all(|one| one.at.is_some()));
        self.0.uses.lock().extend(uses.into_iter().map(|one| one.session_id));
        Ok(Response::new(()))
    }

    async fn admin_ban_user(
        &self,
        request: Request<identity::AdminBanUserRequest>,
    ) -> Answer<identity::AdminBanUserResponse> {
        let request = request.into_inner();
        self.0.stands(&request.id, |standing| standing.ban_level = request.level);
        Ok(Response::new(identity::AdminBanUserResponse::default()))
    }

    async fn admin_unban_user(
        &self,
        request: Request<identity::AdminUnbanUserRequest>,
    ) -> Answer<identity::AdminUnbanUserResponse> {
        let until = Some(Timestamp::from_micros(FAR * 1_000_000));
        self.0.stands(&request.into_inner().id, |standing| standing.until = until);
        Ok(Response::new(identity::AdminUnbanUserResponse::default()))
    }

    async fn admin_set_roles(
        &self,
        request: Request<identity::AdminSetRolesRequest>,
    ) -> Answer<identity::AdminSetRolesResponse> {
        let request = request.into_inner();
        self.0.stands(&request.id, |standing| standing.roles.clone_from(&request.roles));
        Ok(Response::new(identity::AdminSetRolesResponse { roles: request.roles }))
    }

    async fn admin_create_policy(
        &self,
        request: Request<identity::AdminCreatePolicyRequest>,
    ) -> Answer<identity::AdminCreatePolicyResponse> {
        let request = request.into_inner();
        self.0.govern(|access| access.policies.push(policy(&request.role, &request.path, &request.effect)));
        Ok(Response::new(identity::AdminCreatePolicyResponse::default()))
    }

    async fn admin_rotate_keys(
        &self,
        _: Request<identity::AdminRotateKeysRequest>,
    ) -> Answer<identity::AdminRotateKeysResponse> {
        *self.0.keys.lock() = vec![2];
        Ok(Response::new(identity::AdminRotateKeysResponse::default()))
    }

    async fn delete_me(&self, _: Request<identity::DeleteMeRequest>) -> Answer<()> {
        self.0.stands(&current().caller.user_id, |standing| standing.deleted = true);
        Ok(Response::new(()))
    }

    async fn logout(&self, _: Request<identity::LogoutRequest>) -> Answer<()> {
        self.0.revoked.lock().push(current().caller.session_id);
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
        let note = request.into_inner().note;
        if note == "slow" {
            tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        }
        let placed = order::Order { id: "ord_1".into(), note, ..Default::default() };
        Ok(Response::new(order::PlaceOrderResponse { order: Some(placed), payment: None }))
    }
}

/// Settings of the fake identity.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Fake {
    world: String,
}

fn fake(name: &'static str) -> ServiceSpec {
    // The three fakes need three plain functions: a specification holds no closure with values.
    let start: fn(mallard_runtime::Context) -> futures_util::future::BoxFuture<'static, anyhow::Result<Parts>> =
        match name {
            "identity" => |ctx| {
                Box::pin(async move {
                    let fake = Identity(world(&ctx.config::<Fake>()?.world));
                    Ok(Parts::new(Routes::new(identity::identity_service_server::IdentityServiceServer::new(fake))))
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

/// A service that the mall knows and that runs nowhere.
fn ghost() -> ServiceSpec {
    let start: fn(mallard_runtime::Context) -> futures_util::future::BoxFuture<'static, anyhow::Result<Parts>> =
        |_| Box::pin(async { anyhow::bail!("it must not be started") });
    ServiceSpec { name: "ghost", migrations: &[], subscribes: &[], start }
}

pub async fn mall_with(change: impl FnOnce(Config) -> Config) -> (Mall, Http) {
    let specs = vec![fake("identity"), fake("cart"), fake("order"), mallard_gateway::service()];
    started(mallard_testkit::settings(specs), change).await
}

/// The same, beside a service that does not answer.
pub async fn haunted_mall(change: impl FnOnce(Config) -> Config) -> (Mall, Http) {
    let specs = vec![ghost(), fake("identity"), fake("cart"), fake("order"), mallard_gateway::service()];
    let mut settings = mallard_testkit::settings(specs);
    settings.run = ["identity", "cart", "order", "gateway"].map(String::from).to_vec();
    started(settings, change).await
}

/// No limit of time or number is near what a test does, so that a machine that stands still for a while turns nobody away.
const UNHURRIED: [(&str, u64); 8] = [
    ("gateway.timeout_ms", 600_000),
    ("gateway.read_timeout_ms", 600_000),
    ("gateway.check_timeout_ms", 600_000),
    ("gateway.body_timeout_ms", 600_000),
    ("gateway.body_grace_ms", 600_000),
    ("gateway.concurrency.limit_min", 512),
    ("http.header_read_timeout_ms", 600_000),
    ("http.idle_timeout_ms", 600_000),
];

async fn started(mut settings: mallard_runtime::Settings, change: impl FnOnce(Config) -> Config) -> (Mall, Http) {
    settings.listen = Some(([127, 0, 0, 1], 0).into());
    let unhurried = UNHURRIED.iter().fold(settings.config, |config, (key, value)| config.set(key, value));
    settings.config = change(unhurried);
    let mall = mallard_testkit::start(settings).await;
    let http = Http::new(mall.http_addr().unwrap());
    (mall, http)
}

/// Starts a mall whose identity is a fake of its own, and whose gateway learns by itself only what it has to.
pub async fn mall_of(name: &str, change: impl FnOnce(Config) -> Config) -> (Arc<World>, Mall, Http) {
    let (mall, http) = mall_with(|config| {
        let keys = ["revocation_poll_ms", "standing_poll_ms", "policy_poll_ms", "keys_poll_ms", "touch_interval_ms"];
        let config = config.set("identity.world", name);
        change(keys.iter().fold(config, |config, key| config.set(&format!("gateway.{key}"), 3_600_000)))
    })
    .await;
    (world(name), mall, http)
}

/// Delivers an event to the gateway, as identity's relay does.
pub async fn deliver(mall: &Mall, kind: &str, key: &str, event: &impl prost::Message) {
    let event = Event {
        id: format!("evt {kind} {key}"),
        r#type: kind.into(),
        key: key.into(),
        payload: event.encode_to_vec(),
        ..Default::default()
    };
    let request = DeliverRequest { subscriber: "gateway".into(), events: vec![event] };
    let mut intake = EventIntakeClient::new(mall.channel("gateway"));
    let accepted = mallard_testkit::as_system(intake.deliver(request)).await.unwrap().into_inner().accepted_ids;
    assert_eq!(accepted.len(), 1);
}

pub async fn mall() -> (Mall, Http) {
    mall_with(|config| config).await
}

//! The door decides for a page exactly as the edge does for a request of the API: every route, every kind of caller.

use std::cell::RefCell;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use mallard_admission::{Door, Feeds, Settings};
use mallard_gateway_core::{
    Authenticate, Begin, Claim, Contract, Edge, EdgeConfig, IdempotencyStore, Identity, Remembered, Source, routes,
};
use mallard_proto::identity::v1 as identity;
use mallard_proto::rest::{Access, RouteInfo};
use mallard_rpc::{Caller, CallerKind, Channels, Surface, Trace, current};
use mallard_runtime::{Mall, Parts, ServiceSpec};
use mallard_types::Result;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tonic::service::Routes;
use tonic::{Request as RpcRequest, Response, Status};

type Answer<T> = std::result::Result<Response<T>, Status>;

/// End of every token but those that are over, in seconds since the epoch.
const FAR: i64 = 4_000_000_000;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn token(user: &str, changes: Value) -> String {
    let mut claims = json!({"iss": "mallard", "aud": "mallard", "sub": user, "sid": format!("sess_{user}"),
                            "roles": ["user"], "seller": "", "lang": "zh", "iat": 1, "exp": FAR, "jti": "j"});
    for (name, value) in changes.as_object().expect("changes") {
        claims[name] = value.clone();
    }
    let header = Header { kid: Some("k1".into()), ..Header::new(Algorithm::EdDSA) };
    encode(&header, &claims, &EncodingKey::from_ed_der(key().to_pkcs8_der().expect("a key").as_bytes()))
        .expect("a token")
}

fn policy(role: &str, path: &str, effect: &str) -> identity::Policy {
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

struct Issuer;

#[tonic::async_trait]
impl identity::identity_service_server::IdentityService for Issuer {
    async fn get_keys(&self, _: RpcRequest<identity::GetKeysRequest>) -> Answer<identity::GetKeysResponse> {
        let x = URL_SAFE_NO_PAD.encode(key().verifying_key().as_bytes());
        let jwks =
            json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "k1", "x": x}]});
        Ok(Response::new(identity::GetKeysResponse { jwks_json: jwks.to_string() }))
    }

    async fn list_revocations(
        &self,
        request: RpcRequest<identity::ListRevocationsRequest>,
    ) -> Answer<identity::ListRevocationsResponse> {
        // The service asks in its own name.
        assert_eq!(current().caller, Caller::system("probe"));
        let all = [identity::Revocation { seq: 1, session_id: "sess_usr_gone".into(), until: None }];
        let after = request.into_inner().after_seq;
        let revocations = all.into_iter().filter(|one| one.seq > after).collect();
        Ok(Response::new(identity::ListRevocationsResponse { revocations }))
    }

    async fn list_standings(
        &self,
        request: RpcRequest<identity::ListStandingsRequest>,
    ) -> Answer<identity::ListStandingsResponse> {
        let after = request.into_inner().after_seq;
        let banned = ["buy", "login", "all"].into_iter().enumerate().map(|(index, level)| identity::Standing {
            seq: index as i64 + 1,
            user_id: format!("usr_{level}"),
            roles: vec!["user".into()],
            ban_level: level.into(),
            ..Default::default()
        });
        let standings = banned.filter(|standing| standing.seq > after).collect();
        Ok(Response::new(identity::ListStandingsResponse { standings }))
    }

    async fn get_access(&self, request: RpcRequest<identity::GetAccessRequest>) -> Answer<identity::GetAccessResponse> {
        let role = |name: &str, inherits: &str| identity::Role {
            name: name.into(),
            inherits: vec![inherits.into()],
            ..Default::default()
        };
        let known = request.into_inner().known_version == 1;
        Ok(Response::new(identity::GetAccessResponse {
            version: 1,
            changed: !known,
            policies: vec![
                policy("user", "/store/v1/*", "allow"),
                policy("user", "/auth/v1/*", "allow"),
                policy("seller", "/seller/v1/*", "allow"),
                policy("admin", "/admin/v1/*", "allow"),
                policy("admin", "/admin/v1/system/flows", "deny"),
                policy("anonymous", "/store/v1/categories", "deny"),
            ],
            roles: vec![role("admin", "seller"), role("seller", "user")],
            allow_list: vec!["GET /store/v1/me".into()],
        }))
    }

    async fn touch_sessions(&self, _: RpcRequest<identity::TouchSessionsRequest>) -> Answer<()> {
        Ok(Response::new(()))
    }
}

thread_local! {
    /// The door of the mall that started last on this thread: of this test's own.
    static DOOR: RefCell<Option<Arc<Door>>> = const { RefCell::new(None) };
}

/// Starts a fake identity and a service that decides by what it says.
async fn mall() -> (Mall, Arc<Door>) {
    let issuer = ServiceSpec {
        name: "identity",
        migrations: &[],
        subscribes: &[],
        start: |_| {
            Box::pin(async {
                Ok(Parts::new(Routes::new(identity::identity_service_server::IdentityServiceServer::new(Issuer))))
            })
        },
    };
    let probe = ServiceSpec {
        name: "probe",
        migrations: &[],
        subscribes: &mallard_admission::SUBSCRIBES,
        start: |ctx| {
            Box::pin(async move {
                let feeds = Feeds::new(&ctx, &ctx.section::<Settings>("gateway")?)?;
                DOOR.set(Some(Arc::clone(&feeds.door)));
                let mut parts = Parts::new(Routes::default());
                parts.tasks.extend(feeds.tasks(&ctx));
                parts.subscriptions.push(feeds.subscription());
                Ok(parts)
            })
        },
    };
    let mut settings = mallard_testkit::settings(vec![issuer, probe]);
    // A key of the gateway's that the door knows, and one that it does not.
    settings.config = settings.config.set("gateway.trust_s", 60).set("gateway.timeout_ms", 1_000);
    let mall = mallard_testkit::start(settings).await;
    let door = DOOR.take().expect("the probe has started");
    door.complete().await.expect("identity answers");
    (mall, door)
}

/// The edge's door, which remembers as whom it let the last request in.
struct Noting(Arc<Door>, Arc<Mutex<Option<Caller>>>);

#[async_trait]
impl Authenticate for Noting {
    async fn authenticate(&self, headers: &HeaderMap) -> Result<Identity> {
        self.0.authenticate(headers).await
    }

    fn authorise(&self, info: &RouteInfo, access: Access, path: &str, identity: Identity) -> Result<Caller> {
        let caller = self.0.authorise(info, access, path, identity)?;
        *self.1.lock() = Some(caller.clone());
        Ok(caller)
    }
}

/// No request here carries a key.
struct NoKeys;

#[async_trait]
impl IdempotencyStore for NoKeys {
    async fn begin(&self, _: &Claim) -> Result<Begin> {
        panic!("a request without a key claims nothing")
    }

    async fn finish(&self, _: &Claim, _: &Remembered) -> Result<()> {
        panic!("a request without a key keeps nothing")
    }

    async fn abandon(&self, _: &Claim) -> Result<()> {
        panic!("a request without a key gives nothing back")
    }
}

/// Returns a path of a route, with something for each parameter.
fn concrete(info: &RouteInfo) -> String {
    let parts = info.path.split('/').map(|part| if part.starts_with('{') { "x1" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test(start_paused = true)]
async fn every_route_decides_for_every_caller_as_the_edge_does() {
    let (_mall, door) = mall().await;
    let noted = Arc::new(Mutex::new(None));
    let source = Source {
        id: Box::new(|prefix| format!("{prefix}_1")),
        trace: Box::new(|| Trace::new(7, 7)),
        now: Box::new(|| 1_767_225_600_000_000),
    };
    // Nothing runs behind this edge: who is let in finds no service, whoever is not is told why.
    let channels = Channels::default();
    let authenticate = Arc::new(Noting(Arc::clone(&door), Arc::clone(&noted)));
    let routes = routes(|service| channels.channel(service));
    let edge = Edge::new(routes, authenticate, Arc::new(NoKeys), None, source, EdgeConfig::default()).unwrap();

    let admin = json!({"roles": ["user", "admin"]});
    let fresh = json!({"roles": ["user", "admin"], "auth_time": FAR});
    let callers = [
        ("stranger", String::new()),
        ("nonsense", "nonsense".to_owned()),
        ("expired", token("usr_1", json!({"exp": 1}))),
        ("signed out", token("usr_gone", json!({}))),
        ("user", token("usr_1", json!({}))),
        ("seller", token("usr_2", json!({"roles": ["user", "seller"], "seller": "sel_1"}))),
        ("operator", token("usr_3", admin)),
        ("operator who has just entered the password", token("usr_3", fresh)),
        ("banned from buying", token("usr_buy", json!({}))),
        ("banned from signing in", token("usr_login", json!({}))),
        ("banned", token("usr_all", json!({}))),
    ];
    let contract = Contract::new().unwrap();
    assert!(contract.routes().len() > 100, "{} routes", contract.routes().len());
    let mut refusals = std::collections::BTreeMap::<String, usize>::new();
    for info in contract.routes() {
        let path = concrete(info);
        for (who, token) in &callers {
            *noted.lock() = None;
            let mut request = Request::builder().method(info.verb).uri(&path);
            if !token.is_empty() {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let answer = Arc::clone(&edge).handle(request.body(Body::empty()).unwrap()).await;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let let_in = noted.lock().take();

            let decided = door.enter(token, info.verb, &path).await;
            let what = format!("{} {path} by {who}: {status} {body}", info.verb);
            match decided {
                Ok(caller) => assert_eq!(let_in, Some(caller), "{what}"),
                Err(error) => {
                    assert_eq!(let_in, None, "{what}");
                    assert_eq!(status, error.kind.http_status(), "{what}");
                    assert_eq!(body["error"]["code"], *error.code, "{what}");
                    *refusals.entry(error.code.to_string()).or_default() += 1;
                }
            }
        }
    }
    for code in [
        "unauthenticated",
        "invalid_token",
        "token_expired",
        "session_revoked",
        "forbidden",
        "account_banned",
        "reauthentication_required",
    ] {
        assert!(refusals.contains_key(code), "nobody was refused with {code}: {refusals:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_acts_at_the_door_of_the_path_it_stands_for() {
    let (_mall, door) = mall().await;
    let user = token("usr_1", json!({}));
    let operator = token("usr_3", json!({"roles": ["user", "admin"], "auth_time": FAR}));
    let enters = async |token: &str, verb: &str, path: &str| door.enter(token, verb, path).await;

    let caller = enters(&operator, "POST", "/admin/v1/users/usr_9/ban").await.unwrap();
    assert_eq!((caller.user_id.as_str(), caller.surface), ("usr_3", Surface::Admin));
    let caller = enters(&user, "GET", "/store/v1/orders").await.unwrap();
    assert_eq!((caller.user_id.as_str(), caller.surface), ("usr_1", Surface::Store));
    let caller = enters("", "GET", "/store/v1/products").await.unwrap();
    assert_eq!((caller.kind, caller.surface), (CallerKind::Anonymous, Surface::Store));
    let code = async |token: &str, verb: &str, path: &str| enters(token, verb, path).await.unwrap_err().code;
    assert_eq!(code(&user, "POST", "/admin/v1/users/usr_9/ban").await, "forbidden");
    assert_eq!(code("", "GET", "/store/v1/orders").await, "unauthenticated");
    assert_eq!(code(&operator, "GET", "/admin/v1/moons").await, "route_not_found");
    assert_eq!(code(&operator, "PATCH", "/admin/v1/check").await, "method_not_allowed");
    assert_eq!(code(&operator, "NO VERB", "/admin/v1/check").await, "route_not_found");
}

//! A mall with this service alone, and people who call it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mallard_db::{Db, MemoryDisk};
use mallard_proto::identity::v1::identity_service_client::IdentityServiceClient;
use mallard_proto::identity::v1::*;
use mallard_rpc::{Call, Caller, CallerKind, Origin, ServiceChannel, Surface};
use mallard_runtime::{Chance, Clock, Mall, ServiceSpec, Settings, Storage};
use mallard_testkit::is_crowded;
use mallard_types::{Error, Result};
use tokio::sync::Semaphore;
use tonic::{Response, Status};

pub const PASSWORD: &str = "correct horse battery";
/// 2026-01-01T00:00:00Z.
pub const START: i64 = 1_767_225_600_000_000;

/// Names of the books of this service.
pub const CHECKS: [&str; 4] =
    ["identity.email_unique", "identity.sessions_belong_to_users", "identity.roles_exist", "identity.audit_chain"];
const MARGIN_S: i64 = 30;
/// When no token that is issued at [`START`] is good any more on any clock.
pub const LAST_TOKEN_ENDS: i64 = START + (900 + MARGIN_S) * 1_000_000;

pub type Client = IdentityServiceClient<ServiceChannel>;

/// Settings for tests: one thread, one clock, one seed, and passwords hash in a moment.
pub fn settings(storage: Storage, others: &[ServiceSpec]) -> Settings {
    let known = std::iter::once(mallard_identity::service()).chain(others.iter().copied()).collect();
    let mut settings = mallard_testkit::settings(known);
    settings.config = settings.config.set("identity.argon2_memory_kib", 8).set("identity.hash_inline", true);
    // Few enough to reach; the shipped limit also has to let a house full of shoppers mistype.
    settings.config = settings.config.set("identity.login_failures_max", 10);
    settings.storage = storage;
    settings.clock = Clock::simulated(START);
    settings.chance = Chance::seeded(7);
    settings
}

pub struct Shop {
    pub mall: Mall,
    client: Client,
    /// Calls at once, where a database has only so many connections.
    turns: Semaphore,
    crowded: AtomicBool,
}

/// Somebody signed in.
#[derive(Clone, Debug)]
pub struct Account {
    pub user: User,
    pub tokens: Tokens,
    pub call: Call,
}

impl Account {
    pub fn id(&self) -> String {
        self.user.id.clone()
    }
}

pub fn system() -> Call {
    Call::system("test")
}

/// Somebody at a network address.
pub fn from(address: &str) -> Call {
    let origin = Origin { address: address.to_owned(), user_agent: "test".to_owned() };
    Call { origin: Some(Arc::new(origin)), ..Call::default() }
}

/// The same caller at the operators' door, where the edge lets whom the policies allow.
pub fn operating(call: &Call) -> Call {
    let mut call = call.clone();
    call.caller.surface = Surface::Admin;
    call
}

pub fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What an access token says.
pub fn claims(token: &str) -> serde_json::Value {
    let payload = token.split('.').nth(1).unwrap();
    let payload = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

/// The code of a refusal.
pub fn code<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.expect_err("this must be refused").code.into_owned()
}

/// What a client can tell two refusals apart by.
pub fn seen(error: &Error) -> (&str, &str, &str, Option<&str>) {
    (error.kind.as_str(), &error.code, &error.message, error.param.as_deref())
}

impl Shop {
    pub async fn open() -> Shop {
        Shop::open_with(settings(Storage::Memory(MemoryDisk::new()), &[])).await
    }

    pub async fn open_with(settings: Settings) -> Shop {
        // Half of the connections, so that nobody has to wait for one, which he would not do for long.
        let turns = match settings.storage {
            Storage::Postgres { pool_max, .. } => pool_max / 2,
            Storage::Folder(_) | Storage::Memory(_) => Semaphore::MAX_PERMITS,
        };
        let mall = Mall::start(settings).await.unwrap();
        let client = mall.client();
        Shop { mall, client, turns: Semaphore::new(turns), crowded: AtomicBool::new(false) }
    }

    /// Tells whether any call so far was turned away because too much went on at once.
    pub fn was_crowded(&self) -> bool {
        self.crowded.load(Ordering::SeqCst)
    }

    pub fn db(&self) -> Db {
        self.mall.context("identity").unwrap().db()
    }

    /// Calls the service as somebody.
    pub async fn call<'a, T, Fut>(&self, call: &Call, f: impl FnOnce(Client) -> Fut) -> Result<T>
    where
        Fut: Future<Output = Result<Response<T>, Status>> + 'a,
    {
        let _turn = self.turns.acquire().await;
        let answer = mallard_rpc::scope(call.clone(), f(self.client.clone())).await.map_err(mallard_rpc::error);
        if answer.as_ref().is_err_and(is_crowded) {
            self.crowded.store(true, Ordering::SeqCst);
        }
        Ok(answer?.into_inner())
    }

    pub async fn try_register(
        &self,
        email: &str,
        password: &str,
        confirmation: Option<&str>,
    ) -> Result<RegisterResponse> {
        let request = RegisterRequest {
            email: email.to_owned(),
            password: password.to_owned(),
            password_confirmation: confirmation.map(str::to_owned),
            name: "Mei Lin".to_owned(),
            language: "zh-CN".to_owned(),
            ..Default::default()
        };
        self.call(&Call::default(), |mut c| async move { c.register(request).await }).await
    }

    pub async fn register(&self, email: &str) -> Account {
        let answer = self.try_register(email, PASSWORD, None).await.unwrap();
        self.account(answer.user.unwrap(), answer.tokens.unwrap()).await
    }

    pub async fn try_login(&self, email: &str, password: &str) -> Result<LoginResponse> {
        self.try_login_from(&Call::default(), email, password, "").await
    }

    /// Signs in from somewhere, on a device.
    pub async fn try_login_from(
        &self,
        from: &Call,
        email: &str,
        password: &str,
        device: &str,
    ) -> Result<LoginResponse> {
        let request =
            LoginRequest { email: email.to_owned(), password: password.to_owned(), device: device.to_owned() };
        self.call(from, |mut c| async move { c.login(request).await }).await
    }

    /// Signs in on a device.
    pub async fn login_on(&self, email: &str, device: &str) -> Account {
        let answer = self.try_login_from(&Call::default(), email, PASSWORD, device).await.unwrap();
        self.account(answer.user.unwrap(), answer.tokens.unwrap()).await
    }

    pub async fn login(&self, email: &str) -> Account {
        let answer = self.try_login(email, PASSWORD).await.unwrap();
        self.account(answer.user.unwrap(), answer.tokens.unwrap()).await
    }

    /// Makes an operator and signs it in.
    pub async fn admin(&self, email: &str) -> Account {
        let request = CreateUserRequest {
            email: email.to_owned(),
            password: PASSWORD.to_owned(),
            roles: vec!["admin".to_owned(), "user".to_owned()],
            ..CreateUserRequest::default()
        };
        self.call(&system(), |mut c| async move { c.create_user(request).await }).await.unwrap();
        self.login(email).await
    }

    /// Does what the edge does: the caller is what the verified token says.
    pub async fn account(&self, user: User, tokens: Tokens) -> Account {
        let verified = self.verify(&tokens.access_token).await;
        assert!(verified.active);
        let caller = Caller {
            kind: CallerKind::User,
            user_id: verified.user_id,
            session_id: verified.session_id,
            roles: verified.roles,
            seller_id: verified.seller_id,
            surface: Surface::Store,
            language: String::new(),
        };
        Account { user, tokens, call: Call { caller, ..Call::default() } }
    }

    pub async fn verify(&self, token: &str) -> VerifyResponse {
        let request = VerifyRequest { token: token.to_owned() };
        self.call(&Call::default(), |mut c| async move { c.verify(request).await }).await.unwrap()
    }

    pub async fn is_active(&self, tokens: &Tokens) -> bool {
        self.verify(&tokens.access_token).await.active
    }

    pub async fn refresh(&self, tokens: &Tokens) -> Result<Tokens> {
        let request = RefreshRequest { refresh_token: tokens.refresh_token.clone() };
        let answer = self.call(&Call::default(), |mut c| async move { c.refresh(request).await }).await?;
        Ok(answer.tokens.unwrap())
    }

    pub async fn me(&self, who: &Account) -> Result<User> {
        let answer = self.call(&who.call, |mut c| async move { c.get_me(GetMeRequest {}).await }).await?;
        Ok(answer.user.unwrap())
    }

    pub async fn delete_me(&self, who: &Account) -> Result<()> {
        self.call(&who.call, |mut c| async move { c.delete_me(DeleteMeRequest {}).await }).await
    }

    pub async fn set_roles(&self, by: &Call, id: &str, roles: &[&str]) -> Result<Vec<String>> {
        let request = AdminSetRolesRequest { id: id.to_owned(), roles: owned(roles), ..Default::default() };
        Ok(self.call(by, |mut c| async move { c.admin_set_roles(request).await }).await?.roles)
    }

    pub async fn ban(&self, by: &Call, id: &str, level: &str, until: Option<i64>) -> Result<User> {
        let until = until.map(mallard_proto::Timestamp::from_micros);
        let request =
            AdminBanUserRequest { id: id.to_owned(), level: level.to_owned(), until, reason: "spam".to_owned() };
        Ok(self.call(by, |mut c| async move { c.admin_ban_user(request).await }).await?.user.unwrap())
    }

    pub async fn unban(&self, by: &Call, id: &str) -> Result<User> {
        let request = AdminUnbanUserRequest { id: id.to_owned() };
        Ok(self.call(by, |mut c| async move { c.admin_unban_user(request).await }).await?.user.unwrap())
    }

    pub async fn create_user(&self, by: &Call, request: CreateUserRequest) -> Result<CreateUserResponse> {
        self.call(by, |mut c| async move { c.create_user(request).await }).await
    }

    pub async fn standings(&self, after_seq: i64) -> Vec<Standing> {
        let request = ListStandingsRequest { after_seq };
        self.call(&system(), |mut c| async move { c.list_standings(request).await }).await.unwrap().standings
    }

    pub async fn access(&self, known_version: i64) -> GetAccessResponse {
        let request = GetAccessRequest { known_version };
        self.call(&system(), |mut c| async move { c.get_access(request).await }).await.unwrap()
    }

    pub async fn create_policy(&self, by: &Call, request: AdminCreatePolicyRequest) -> Result<Policy> {
        let answer = self.call(by, |mut c| async move { c.admin_create_policy(request).await }).await?;
        Ok(answer.policy.unwrap())
    }

    pub async fn delete_policy(&self, by: &Call, id: &str) -> Result<()> {
        let request = AdminDeletePolicyRequest { id: id.to_owned(), if_version: None };
        self.call(by, |mut c| async move { c.admin_delete_policy(request).await }).await
    }

    pub async fn put_role(&self, by: &Call, name: &str, inherits: &[&str]) -> Result<Role> {
        let request =
            AdminPutRoleRequest { name: name.to_owned(), inherits: owned(inherits), ..AdminPutRoleRequest::default() };
        Ok(self.call(by, |mut c| async move { c.admin_put_role(request).await }).await?.role.unwrap())
    }

    pub async fn delete_role(&self, by: &Call, name: &str) -> Result<()> {
        let request = AdminDeleteRoleRequest { name: name.to_owned(), if_version: None };
        self.call(by, |mut c| async move { c.admin_delete_role(request).await }).await
    }

    pub async fn audit(&self, by: &Call, request: AdminListAuditRequest) -> Result<AdminListAuditResponse> {
        self.call(by, |mut c| async move { c.admin_list_audit(request).await }).await
    }

    /// Returns action and target of everything in the log, the first entry first.
    pub async fn audited(&self) -> Vec<(String, String)> {
        let request = AdminListAuditRequest { limit: 100, ..Default::default() };
        let entries = self.audit(&system(), request).await.unwrap().entries;
        entries.into_iter().rev().map(|entry| (entry.action, entry.target)).collect()
    }

    pub async fn revocations(&self, after_seq: i64) -> Vec<Revocation> {
        let request = ListRevocationsRequest { after_seq };
        self.call(&system(), |mut c| async move { c.list_revocations(request).await }).await.unwrap().revocations
    }

    pub async fn create_address(&self, who: &Account, request: CreateAddressRequest) -> Result<BookAddress> {
        let answer = self.call(&who.call, |mut c| async move { c.create_address(request).await }).await?;
        Ok(answer.address.unwrap())
    }

    pub async fn addresses(&self, who: &Account, limit: i32, cursor: &str) -> Result<ListAddressesResponse> {
        let request = ListAddressesRequest { limit, cursor: cursor.to_owned() };
        self.call(&who.call, |mut c| async move { c.list_addresses(request).await }).await
    }

    /// Runs the checks and returns the names of those that fail.
    pub async fn broken_books(&self) -> Vec<String> {
        let request = mallard_proto::common::v1::RunChecksRequest {};
        let answer = self.call(&system(), |mut c| async move { c.run_checks(request).await }).await.unwrap();
        for name in CHECKS {
            assert!(answer.checks.iter().any(|check| check.name == name), "{name} was not checked");
        }
        answer
            .checks
            .into_iter()
            .filter(|check| !check.ok)
            .map(|check| format!("{}: {}", check.name, check.detail))
            .collect()
    }

    /// Counts rows of a table of the service.
    pub async fn count(&self, sql: &'static str) -> i64 {
        self.db().query_opt(sql, mallard_db::params![]).await.unwrap().unwrap().get(0).unwrap()
    }

    /// Changes a table of the service behind its back.
    pub async fn tamper(&self, sql: &'static str) {
        let db = self.db();
        let changed = db.tx("test.tamper", move |tx| async move { tx.execute(sql, mallard_db::params![]).await }).await;
        changed.map_err(|error: mallard_db::Error| error).unwrap();
    }
}

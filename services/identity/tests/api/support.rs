//! A mall with this service alone, and people who call it.

use std::future::Future;

use mallard_db::{Db, MemoryDisk};
use mallard_proto::identity::v1::identity_service_client::IdentityServiceClient;
use mallard_proto::identity::v1::*;
use mallard_rpc::{Call, Caller, CallerKind, ServiceChannel, Surface};
use mallard_runtime::{Chance, Clock, Mall, ServiceSpec, Settings, Storage};
use mallard_types::{Error, Result};
use tonic::{Response, Status};

pub const PASSWORD: &str = "correct horse battery";
/// 2026-01-01T00:00:00Z.
pub const START: i64 = 1_767_225_600_000_000;

pub type Client = IdentityServiceClient<ServiceChannel>;

/// Settings for tests: one thread, one clock, one seed, and passwords hash in a moment.
pub fn settings(storage: Storage, others: &[ServiceSpec]) -> Settings {
    let known = std::iter::once(mallard_identity::service()).chain(others.iter().copied()).collect();
    let mut settings = mallard_testkit::settings(known);
    settings.config = settings.config.set("identity.argon2_memory_kib", 8).set("identity.hash_inline", true);
    settings.storage = storage;
    settings.clock = Clock::simulated(START);
    settings.chance = Chance::seeded(7);
    settings
}

pub struct Shop {
    pub mall: Mall,
    client: Client,
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
        let mall = Mall::start(settings).await.unwrap();
        let client = mall.client();
        Shop { mall, client }
    }

    pub fn db(&self) -> Db {
        self.mall.context("identity").unwrap().db()
    }

    /// Calls the service as somebody.
    pub async fn call<'a, T, Fut>(&self, call: &Call, f: impl FnOnce(Client) -> Fut) -> Result<T>
    where
        Fut: Future<Output = Result<Response<T>, Status>> + 'a,
    {
        let answer = mallard_rpc::scope(call.clone(), f(self.client.clone())).await;
        answer.map(Response::into_inner).map_err(mallard_rpc::error)
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
        };
        self.call(&Call::default(), |mut c| async move { c.register(request).await }).await
    }

    pub async fn register(&self, email: &str) -> Account {
        let answer = self.try_register(email, PASSWORD, None).await.unwrap();
        self.account(answer.user.unwrap(), answer.tokens.unwrap()).await
    }

    pub async fn try_login(&self, email: &str, password: &str) -> Result<LoginResponse> {
        let request = LoginRequest { email: email.to_owned(), password: password.to_owned() };
        self.call(&Call::default(), |mut c| async move { c.login(request).await }).await
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
    async fn account(&self, user: User, tokens: Tokens) -> Account {
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
        let request =
            AdminSetRolesRequest { id: id.to_owned(), roles: roles.iter().map(|r| (*r).to_owned()).collect() };
        Ok(self.call(by, |mut c| async move { c.admin_set_roles(request).await }).await?.roles)
    }

    pub async fn ban(&self, by: &Call, id: &str, level: &str, until: Option<i64>) -> Result<User> {
        let until = until.map(mallard_proto::Timestamp::from_micros);
        let request =
            AdminBanUserRequest { id: id.to_owned(), level: level.to_owned(), until, reason: "spam".to_owned() };
        Ok(self.call(by, |mut c| async move { c.admin_ban_user(request).await }).await?.user.unwrap())
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
        for name in ["identity.email_unique", "identity.sessions_belong_to_users"] {
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

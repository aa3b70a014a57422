//! The service's RPCs: messages to domain values and back, nothing decided.

mod convert;

use mallard_access::{Effect, Rule};
use mallard_proto::common::v1::{Check, RunChecksRequest, RunChecksResponse};
use mallard_proto::identity::v1::identity_service_server::IdentityService;
use mallard_proto::identity::v1::*;
use mallard_rpc::status;
use tonic::{Request, Response, Status, async_trait};

use crate::app::{App, NewAccount, Registration};
use crate::checks;
use crate::domain::{PlaceChange, ProfileChange};
use crate::store::AuditFilter;
pub use convert::standing;

type Answer<T> = Result<Response<T>, Status>;

/// Answers the contract `mallard.identity.v1.IdentityService`.
pub struct Rpc {
    app: App,
}

impl Rpc {
    /// Wraps the use cases.
    pub fn new(app: App) -> Rpc {
        Rpc { app }
    }
}

#[async_trait]
impl IdentityService for Rpc {
    async fn register(&self, request: Request<RegisterRequest>) -> Answer<RegisterResponse> {
        let r = request.into_inner();
        let registration = Registration {
            email: r.email,
            password: r.password,
            password_confirmation: r.password_confirmation,
            name: r.name,
            language: r.language,
            device: r.device,
        };
        let (user, tokens) = self.app.register(registration).await.map_err(status)?;
        Ok(Response::new(RegisterResponse { user: Some(self.user(user)), tokens: Some(tokens.into()) }))
    }

    async fn login(&self, request: Request<LoginRequest>) -> Answer<LoginResponse> {
        let r = request.into_inner();
        let (user, tokens) = self.app.login(&r.email, r.password, &r.device).await.map_err(status)?;
        Ok(Response::new(LoginResponse { user: Some(self.user(user)), tokens: Some(tokens.into()) }))
    }

    async fn refresh(&self, request: Request<RefreshRequest>) -> Answer<RefreshResponse> {
        let tokens = self.app.refresh(&request.into_inner().refresh_token).await.map_err(status)?;
        Ok(Response::new(RefreshResponse { tokens: Some(tokens.into()) }))
    }

    async fn logout(&self, request: Request<LogoutRequest>) -> Answer<()> {
        self.app.logout(request.into_inner().all_devices).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn verify(&self, request: Request<VerifyRequest>) -> Answer<VerifyResponse> {
        let claims = self.app.verify(&request.into_inner().token).await.map_err(status)?;
        Ok(Response::new(claims.map(VerifyResponse::from).unwrap_or_default()))
    }

    async fn list_sessions(&self, _: Request<ListSessionsRequest>) -> Answer<ListSessionsResponse> {
        let (sessions, current) = self.app.sessions().await.map_err(status)?;
        let sessions = sessions.into_iter().map(|session| convert::session(session, &current)).collect();
        Ok(Response::new(ListSessionsResponse { sessions }))
    }

    async fn revoke_session(&self, request: Request<RevokeSessionRequest>) -> Answer<()> {
        self.app.revoke_session(request.into_inner().id).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn reauthenticate(&self, request: Request<ReauthenticateRequest>) -> Answer<ReauthenticateResponse> {
        let trusted = self.app.reauthenticate(request.into_inner().password).await.map_err(status)?;
        Ok(Response::new(trusted.into()))
    }

    async fn change_password(&self, request: Request<ChangePasswordRequest>) -> Answer<()> {
        let r = request.into_inner();
        self.app.change_password(r.current_password, r.new_password).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn get_me(&self, _: Request<GetMeRequest>) -> Answer<GetMeResponse> {
        let user = self.app.me().await.map_err(status)?;
        Ok(Response::new(GetMeResponse { user: Some(self.user(user)) }))
    }

    async fn update_me(&self, request: Request<UpdateMeRequest>) -> Answer<UpdateMeResponse> {
        let r = request.into_inner();
        let change = ProfileChange { name: r.name, language: r.language };
        let user = self.app.update_me(change, r.if_version).await.map_err(status)?;
        Ok(Response::new(UpdateMeResponse { user: Some(self.user(user)) }))
    }

    async fn delete_me(&self, _: Request<DeleteMeRequest>) -> Answer<()> {
        self.app.delete_me().await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn list_addresses(&self, request: Request<ListAddressesRequest>) -> Answer<ListAddressesResponse> {
        let r = request.into_inner();
        let page = self.app.addresses(r.limit, &r.cursor).await.map_err(status)?;
        let addresses = page.items.into_iter().map(BookAddress::from).collect();
        Ok(Response::new(ListAddressesResponse { addresses, next_cursor: page.next_cursor }))
    }

    async fn create_address(&self, request: Request<CreateAddressRequest>) -> Answer<CreateAddressResponse> {
        let r = request.into_inner();
        let is_default = r.is_default;
        let address = self.app.create_address(r.into(), is_default).await.map_err(status)?;
        Ok(Response::new(CreateAddressResponse { address: Some(address.into()) }))
    }

    async fn update_address(&self, request: Request<UpdateAddressRequest>) -> Answer<UpdateAddressResponse> {
        let r = request.into_inner();
        let change = PlaceChange {
            name: r.name,
            phone: r.phone,
            country: r.country,
            province: r.province,
            city: r.city,
            district: r.district,
            street: r.street,
            postal_code: r.postal_code,
        };
        let address = self.app.update_address(r.id, change, r.is_default).await.map_err(status)?;
        Ok(Response::new(UpdateAddressResponse { address: Some(address.into()) }))
    }

    async fn delete_address(&self, request: Request<DeleteAddressRequest>) -> Answer<()> {
        self.app.delete_address(request.into_inner().id).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn get_address(&self, request: Request<GetAddressRequest>) -> Answer<GetAddressResponse> {
        let address = self.app.address(&request.into_inner().id).await.map_err(status)?;
        Ok(Response::new(GetAddressResponse { address: Some(address.into()) }))
    }

    async fn admin_list_users(&self, request: Request<AdminListUsersRequest>) -> Answer<AdminListUsersResponse> {
        let r = request.into_inner();
        if !r.email.is_empty() {
            let found = self.app.user_by_email(&r.email).await.map_err(status)?;
            let users: Vec<User> = found.into_iter().map(|user| self.full_user(user)).collect();
            let count = r.count.then_some(users.len() as i64);
            return Ok(Response::new(AdminListUsersResponse { users, next_cursor: String::new(), count }));
        }
        let page = self.app.users(r.limit, &r.cursor).await.map_err(status)?;
        let count = match r.count {
            true => Some(self.app.count_users().await.map_err(status)?),
            false => None,
        };
        let users = page.items.into_iter().map(|user| self.full_user(user)).collect();
        Ok(Response::new(AdminListUsersResponse { users, next_cursor: page.next_cursor, count }))
    }

    async fn admin_get_user(&self, request: Request<AdminGetUserRequest>) -> Answer<AdminGetUserResponse> {
        let user = self.app.user(&request.into_inner().id).await.map_err(status)?;
        Ok(Response::new(AdminGetUserResponse { user: Some(self.full_user(user)) }))
    }

    async fn admin_ban_user(&self, request: Request<AdminBanUserRequest>) -> Answer<AdminBanUserResponse> {
        let r = request.into_inner();
        let until = r.until.map(|until| until.micros());
        let user = self.app.ban(r.id, &r.level, until, r.reason).await.map_err(status)?;
        Ok(Response::new(AdminBanUserResponse { user: Some(self.full_user(user)) }))
    }

    async fn admin_unban_user(&self, request: Request<AdminUnbanUserRequest>) -> Answer<AdminUnbanUserResponse> {
        let user = self.app.unban(request.into_inner().id).await.map_err(status)?;
        Ok(Response::new(AdminUnbanUserResponse { user: Some(self.full_user(user)) }))
    }

    async fn admin_kick_user(&self, request: Request<AdminKickUserRequest>) -> Answer<()> {
        self.app.kick(request.into_inner().id).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn admin_get_roles(&self, request: Request<AdminGetRolesRequest>) -> Answer<AdminGetRolesResponse> {
        let user = self.app.user(&request.into_inner().id).await.map_err(status)?;
        Ok(Response::new(AdminGetRolesResponse { roles: user.roles.names() }))
    }

    async fn admin_set_roles(&self, request: Request<AdminSetRolesRequest>) -> Answer<AdminSetRolesResponse> {
        let r = request.into_inner();
        let user = self.app.set_roles(r.id, &r.roles, r.seller_id, r.if_version).await.map_err(status)?;
        Ok(Response::new(AdminSetRolesResponse { roles: user.roles.names() }))
    }

    async fn admin_list_bans(&self, request: Request<AdminListBansRequest>) -> Answer<AdminListBansResponse> {
        let r = request.into_inner();
        let page = self.app.bans(r.limit, &r.cursor).await.map_err(status)?;
        let users = page.items.into_iter().map(|user| self.full_user(user)).collect();
        Ok(Response::new(AdminListBansResponse { users, next_cursor: page.next_cursor }))
    }

    async fn admin_list_sessions(&self, r: Request<AdminListSessionsRequest>) -> Answer<AdminListSessionsResponse> {
        let (sessions, current) = self.app.sessions_of(&r.into_inner().id).await.map_err(status)?;
        let sessions = sessions.into_iter().map(|session| convert::session(session, &current)).collect();
        Ok(Response::new(AdminListSessionsResponse { sessions }))
    }

    async fn admin_revoke_session(&self, request: Request<AdminRevokeSessionRequest>) -> Answer<()> {
        let r = request.into_inner();
        self.app.revoke_session_of(r.id, r.session_id).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn admin_list_policies(&self, r: Request<AdminListPoliciesRequest>) -> Answer<AdminListPoliciesResponse> {
        let (policies, version) = self.app.policies(&r.into_inner().role).await.map_err(status)?;
        let policies = policies.into_iter().map(Policy::from).collect();
        Ok(Response::new(AdminListPoliciesResponse { policies, version }))
    }

    async fn admin_create_policy(&self, r: Request<AdminCreatePolicyRequest>) -> Answer<AdminCreatePolicyResponse> {
        let r = r.into_inner();
        // Id and effect are the use case's to fill in.
        let rule = Rule {
            id: String::new(),
            role: r.role,
            domain: r.domain,
            path: r.path,
            method: r.method,
            effect: Effect::Allow,
        };
        let policy = self.app.create_policy(rule, &r.effect, r.note, r.if_version).await.map_err(status)?;
        Ok(Response::new(AdminCreatePolicyResponse { policy: Some(policy.into()) }))
    }

    async fn admin_delete_policy(&self, request: Request<AdminDeletePolicyRequest>) -> Answer<()> {
        let r = request.into_inner();
        self.app.delete_policy(r.id, r.if_version).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn admin_explain_access(&self, r: Request<AdminExplainAccessRequest>) -> Answer<AdminExplainAccessResponse> {
        let r = r.into_inner();
        let explained = self.app.explain(r.roles, &r.domain, &r.method, &r.path).await.map_err(status)?;
        let policy = explained.policy.map(Policy::from);
        Ok(Response::new(AdminExplainAccessResponse { allowed: explained.allowed, policy }))
    }

    async fn admin_list_roles(&self, _: Request<AdminListRolesRequest>) -> Answer<AdminListRolesResponse> {
        let (roles, version) = self.app.role_defs().await.map_err(status)?;
        Ok(Response::new(AdminListRolesResponse { roles: roles.into_iter().map(Role::from).collect(), version }))
    }

    async fn admin_put_role(&self, request: Request<AdminPutRoleRequest>) -> Answer<AdminPutRoleResponse> {
        let r = request.into_inner();
        let role = self.app.put_role(r.name, r.inherits, r.note, r.if_version).await.map_err(status)?;
        Ok(Response::new(AdminPutRoleResponse { role: Some(role.into()) }))
    }

    async fn admin_delete_role(&self, request: Request<AdminDeleteRoleRequest>) -> Answer<()> {
        let r = request.into_inner();
        self.app.delete_role(r.name, r.if_version).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn admin_get_allow_list(&self, _: Request<AdminGetAllowListRequest>) -> Answer<AdminGetAllowListResponse> {
        let (paths, version) = self.app.allow_list().await.map_err(status)?;
        Ok(Response::new(AdminGetAllowListResponse { paths, version }))
    }

    async fn admin_put_allow_list(&self, r: Request<AdminPutAllowListRequest>) -> Answer<AdminPutAllowListResponse> {
        let r = r.into_inner();
        let (paths, version, warnings) = self.app.put_allow_list(r.paths, r.if_version).await.map_err(status)?;
        Ok(Response::new(AdminPutAllowListResponse { paths, version, warnings }))
    }

    async fn admin_list_keys(&self, _: Request<AdminListKeysRequest>) -> Answer<AdminListKeysResponse> {
        let keys = self.app.keys().await.map_err(status)?;
        Ok(Response::new(AdminListKeysResponse { keys: keys.into_iter().map(SigningKey::from).collect() }))
    }

    async fn admin_rotate_keys(&self, _: Request<AdminRotateKeysRequest>) -> Answer<AdminRotateKeysResponse> {
        let key = self.app.rotate_keys().await.map_err(status)?;
        Ok(Response::new(AdminRotateKeysResponse { key: Some(key.into()) }))
    }

    async fn admin_list_audit(&self, request: Request<AdminListAuditRequest>) -> Answer<AdminListAuditResponse> {
        let r = request.into_inner();
        let filter = AuditFilter { actor: r.actor, target: r.target, action: r.action, service: r.service };
        let page = self.app.audit(r.limit, &r.cursor, filter).await.map_err(status)?;
        let entries = page.items.into_iter().map(AuditEntry::from).collect();
        Ok(Response::new(AdminListAuditResponse { entries, next_cursor: page.next_cursor }))
    }

    async fn create_user(&self, request: Request<CreateUserRequest>) -> Answer<CreateUserResponse> {
        let r = request.into_inner();
        let new = NewAccount {
            email: r.email,
            password: r.password,
            name: r.name,
            language: r.language,
            roles: r.roles,
            seller_id: r.seller_id,
        };
        let (user, created) = self.app.create_user(new).await.map_err(status)?;
        Ok(Response::new(CreateUserResponse { user: Some(self.user(user)), created }))
    }

    async fn get_keys(&self, _: Request<GetKeysRequest>) -> Answer<GetKeysResponse> {
        let jwks_json = self.app.jwks().await.map_err(status)?;
        Ok(Response::new(GetKeysResponse { jwks_json }))
    }

    async fn list_revocations(&self, request: Request<ListRevocationsRequest>) -> Answer<ListRevocationsResponse> {
        let revocations = self.app.revocations(request.into_inner().after_seq).await.map_err(status)?;
        let revocations = revocations.into_iter().map(Revocation::from).collect();
        Ok(Response::new(ListRevocationsResponse { revocations }))
    }

    async fn list_standings(&self, request: Request<ListStandingsRequest>) -> Answer<ListStandingsResponse> {
        let standings = self.app.standings(request.into_inner().after_seq).await.map_err(status)?;
        let standings = standings.into_iter().map(|(seq, standing)| convert::standing(seq, standing)).collect();
        Ok(Response::new(ListStandingsResponse { standings }))
    }

    async fn get_access(&self, request: Request<GetAccessRequest>) -> Answer<GetAccessResponse> {
        let (version, rules) = self.app.access(request.into_inner().known_version).await.map_err(status)?;
        Ok(Response::new(convert::access(version, rules)))
    }

    async fn touch_sessions(&self, request: Request<TouchSessionsRequest>) -> Answer<()> {
        let uses = request.into_inner().uses.into_iter();
        // A use without a time says nothing.
        let uses = uses.filter_map(|used| Some((used.session_id, used.at?.micros()))).collect();
        self.app.touch_sessions(uses).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn run_checks(&self, _: Request<RunChecksRequest>) -> Answer<RunChecksResponse> {
        let ctx = self.app.ctx();
        let outcomes = checks::run(&ctx.db(), ctx.now()).await.map_err(status)?;
        let mut checks: Vec<Check> =
            outcomes.into_iter().map(|o| Check { name: o.name.to_owned(), ok: o.ok, detail: o.detail }).collect();
        checks.extend(ctx.check_events().await.map_err(status)?);
        Ok(Response::new(RunChecksResponse { checks }))
    }
}

//! Rules, roles and the allow-list as data.

use mallard_proto::identity::v1::*;
use mallard_rpc::Call;
use mallard_types::Result;

use crate::support::*;

const ADMIN: &str = "admin@mallard.local";

fn rule(role: &str, path: &str) -> AdminCreatePolicyRequest {
    AdminCreatePolicyRequest { role: role.into(), path: path.into(), ..Default::default() }
}

fn deny(role: &str, path: &str) -> AdminCreatePolicyRequest {
    AdminCreatePolicyRequest { effect: "deny".into(), ..rule(role, path) }
}

async fn explain(shop: &Shop, roles: &[&str], method: &str, path: &str) -> bool {
    explained(shop, roles, "", method, path).await.allowed
}

async fn explained(shop: &Shop, roles: &[&str], domain: &str, method: &str, path: &str) -> AdminExplainAccessResponse {
    let request = AdminExplainAccessRequest {
        roles: owned(roles),
        domain: domain.into(),
        path: path.into(),
        method: method.into(),
    };
    shop.call(&system(), |mut c| async move { c.admin_explain_access(request).await }).await.unwrap()
}

async fn put_allow_list(shop: &Shop, by: &Call, paths: &[&str]) -> Result<AdminPutAllowListResponse> {
    let request = AdminPutAllowListRequest { paths: owned(paths), if_version: None };
    shop.call(by, |mut c| async move { c.admin_put_allow_list(request).await }).await
}

async fn roles(shop: &Shop) -> Vec<Role> {
    let request = AdminListRolesRequest {};
    shop.call(&system(), |mut c| async move { c.admin_list_roles(request).await }).await.unwrap().roles
}

#[tokio::test(start_paused = true)]
async fn a_new_mall_allows_what_the_contracts_say() {
    let shop = Shop::open().await;
    let doors = ["/store/v1/me", "/auth/v1/sessions", "/seller/v1/products", "/admin/v1/orders"];
    for (role, open) in [
        (&[][..], [false, false, false, false]),
        (&["anonymous"], [false, false, false, false]),
        (&["user"], [true, true, false, false]),
        (&["seller"], [true, true, true, false]),
        (&["admin"], [true, true, true, true]),
        (&["user", "seller"], [true, true, true, false]),
    ] {
        for (path, expected) in doors.iter().zip(open) {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                assert_eq!(explain(&shop, role, method, path).await, expected, "{role:?} {method} {path}");
            }
        }
    }
    assert!(!explain(&shop, &["admin"], "GET", "/elsewhere").await);
    let access = shop.access(0).await;
    assert_eq!((access.version, access.changed, access.policies.len(), access.allow_list.len()), (1, true, 3, 0));
    let names: Vec<_> = access.roles.iter().map(|role| (role.name.as_str(), role.built_in)).collect();
    assert_eq!(names, [("admin", true), ("anonymous", true), ("seller", true), ("user", true)]);
    assert!(access.policies.iter().all(|policy| mallard_types::id::is("pol", &policy.id) && !policy.note.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn the_defaults_come_once_and_stay_gone_when_deleted() {
    let disk = mallard_db::MemoryDisk::new();
    let storage = || mallard_runtime::Storage::Memory(disk.clone());
    let shop = Shop::open_with(settings(storage(), &[])).await;
    let first = shop.access(0).await;
    let seller = first.policies.iter().find(|policy| policy.role == "seller").unwrap();
    shop.delete_policy(&system(), &seller.id).await.unwrap();
    shop.mall.stop().await;
    let shop = Shop::open_with(settings(storage(), &[])).await;
    let again = shop.access(0).await;
    assert_eq!((again.version, again.policies.len(), again.roles), (2, 2, first.roles));
}

/// Scenario 13 of the acceptance list.
#[tokio::test(start_paused = true)]
async fn a_merchant_may_what_its_policy_says_and_no_longer_when_it_changes() {
    let shop = Shop::open().await;
    let admin = shop.admin(ADMIN).await;
    let mei = shop.register("mei@example.com").await;
    let request = AdminCreatePolicyRequest { note: "suppliers".into(), ..rule("merchant", "^/api/merchant/.*$") };
    let policy = shop.create_policy(&admin.call, request).await.unwrap();
    let shown = (policy.role.as_str(), policy.domain.as_str(), policy.method.as_str(), policy.effect.as_str());
    assert_eq!(shown, ("merchant", "*", "*", "allow"));
    assert_eq!(policy.created_at.unwrap().micros(), START);
    // The role exists since its policy does.
    assert_eq!(shop.set_roles(&admin.call, &mei.user.id, &["merchant"]).await.unwrap(), ["merchant"]);
    assert!(explain(&shop, &["merchant"], "GET", "/api/merchant/x").await);
    assert!(!explain(&shop, &["merchant"], "GET", "/api/admin/x").await);
    assert!(explain(&shop, &["merchant"], "GET", "/store/v1/me").await, "it inherits user");
    assert!(explain(&shop, &["merchant"], "GET", "/auth/v1/sessions").await);
    assert_eq!(roles(&shop).await.iter().find(|role| role.name == "merchant").unwrap().inherits, owned(&["user"]));

    let before = shop.access(0).await;
    assert_eq!(shop.access(before.version).await, GetAccessResponse { version: 2, ..Default::default() });
    shop.delete_policy(&admin.call, &policy.id).await.unwrap();
    let after = shop.access(before.version).await;
    assert_eq!((after.changed, after.version), (true, 3));
    assert!(after.policies.iter().all(|policy| policy.role != "merchant"));
    assert!(!explain(&shop, &["merchant"], "GET", "/api/merchant/x").await);
    assert_eq!(code(shop.delete_policy(&admin.call, &policy.id).await), "policy_not_found");
}

#[tokio::test(start_paused = true)]
async fn the_same_rule_again_is_the_one_that_is_there() {
    let shop = Shop::open().await;
    let once = shop.create_policy(&system(), rule("support", "/admin/v1/users/:id")).await.unwrap();
    let again = AdminCreatePolicyRequest {
        domain: "*".into(),
        method: "*".into(),
        effect: "allow".into(),
        note: "in other words".into(),
        ..rule("support", "/admin/v1/users/:id")
    };
    assert_eq!(shop.create_policy(&system(), again).await.unwrap(), once);
    assert_eq!(shop.access(0).await.version, 2);
    let other = AdminCreatePolicyRequest { method: "GET".into(), ..rule("support", "/admin/v1/users/:id") };
    assert_ne!(shop.create_policy(&system(), other).await.unwrap().id, once.id);
    let request = AdminListPoliciesRequest { role: "support".into() };
    let listed = shop.call(&system(), |mut c| async move { c.admin_list_policies(request).await }).await.unwrap();
    assert_eq!((listed.policies.len(), listed.version), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_rule_is_said_of_its_field() {
    let shop = Shop::open().await;
    let version = shop.access(0).await.version;
    for (request, code, param) in [
        (rule("", "/x"), "invalid_policy", "role"),
        (rule("a b", "/x"), "invalid_policy", "role"),
        (rule("user", "x"), "invalid_policy", "path"),
        (rule("user", "^/x/("), "invalid_policy", "path"),
        (rule("user", "^/x/(.*$"), "invalid_policy", "path"),
        (AdminCreatePolicyRequest { method: "LOOK".into(), ..rule("user", "/x") }, "invalid_policy", "method"),
        (AdminCreatePolicyRequest { domain: "a b".into(), ..rule("user", "/x") }, "invalid_policy", "domain"),
        (AdminCreatePolicyRequest { effect: "maybe".into(), ..rule("user", "/x") }, "unknown_effect", "effect"),
        (AdminCreatePolicyRequest { note: "x".repeat(501), ..rule("user", "/x") }, "too_long", "note"),
    ] {
        let refused = shop.create_policy(&system(), request.clone()).await.unwrap_err();
        let seen = (refused.kind.as_str(), refused.code.as_ref(), refused.param.as_deref());
        assert_eq!(seen, ("invalid", code, Some(param)), "{request:?}");
    }
    assert_eq!(shop.access(0).await.version, version, "nothing was written");
}

#[tokio::test(start_paused = true)]
async fn rules_and_roles_change_only_over_the_version_that_was_seen() {
    let shop = Shop::open().await;
    let by = system();
    let create = |path: &str, if_version| {
        let request = AdminCreatePolicyRequest { if_version, ..rule("support", path) };
        shop.create_policy(&by, request)
    };
    let delete = |id: &str, if_version| {
        let request = AdminDeletePolicyRequest { id: id.to_owned(), if_version };
        shop.call(&by, |mut c| async move { c.admin_delete_policy(request).await })
    };
    let delete_role = |name: &str, if_version| {
        let request = AdminDeleteRoleRequest { name: name.to_owned(), if_version };
        shop.call(&by, |mut c| async move { c.admin_delete_role(request).await })
    };
    let seen = shop.access(0).await.version;
    let made = create("/x", Some(seen)).await.unwrap();
    // The same again, as after a lost answer, is done already.
    assert_eq!(create("/x", Some(seen)).await.unwrap(), made);
    shop.put_role(&by, "clerk", &[]).await.unwrap();
    let present = shop.access(0).await.version;
    for stale in [seen, present + 1] {
        let late = create("/y", Some(stale)).await.unwrap_err();
        assert_eq!((late.kind.as_str(), late.code.as_ref()), ("precondition", "version_mismatch"));
        assert_eq!(code(delete(&made.id, Some(stale)).await), "version_mismatch");
        assert_eq!(code(delete_role("clerk", Some(stale)).await), "version_mismatch");
    }
    assert_eq!(shop.access(0).await.version, present, "nothing was written");
    delete(&made.id, Some(present)).await.unwrap();
    assert_eq!(code(delete(&made.id, Some(present)).await), "policy_not_found");
    delete_role("clerk", Some(present + 1)).await.unwrap();
    create("/y", None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deny_rule_wins_and_is_named() {
    let shop = Shop::open().await;
    let denied = shop.create_policy(&system(), deny("user", "/store/v1/orders/*")).await.unwrap();
    let answer = explained(&shop, &["user"], "", "POST", "/store/v1/orders/ord_1/pay").await;
    assert!(!answer.allowed);
    assert_eq!(answer.policy, Some(denied));
    let allowed = explained(&shop, &["user"], "", "GET", "/store/v1/me").await;
    assert_eq!(allowed.policy.unwrap().role, "user");
    let nothing = explained(&shop, &["user"], "", "", "/admin/v1/users").await;
    assert_eq!((nothing.allowed, nothing.policy), (false, None));
}

#[tokio::test(start_paused = true)]
async fn what_is_explained_is_what_the_edge_answers() {
    let shop = Shop::open().await;
    let open = "/admin/v1/categories";
    put_allow_list(&shop, &system(), &["GET /admin/v1/categories", "/store/v1/orders"]).await.unwrap();
    let denied = shop.create_policy(&system(), deny("anonymous", "/store/v1/orders")).await.unwrap();
    // No rule opens anything to who is not signed in.
    shop.create_policy(&system(), rule("anonymous", "/store/v1/me")).await.unwrap();
    for strangers in [&[][..], &["anonymous"]] {
        assert!(explain(&shop, strangers, "POST", "/auth/v1/login").await, "public by contract");
        assert!(explain(&shop, strangers, "HEAD", "/store/v1/products/prd_1").await, "public by contract");
        assert!(explain(&shop, strangers, "GET", open).await, "on the list");
        assert!(!explain(&shop, strangers, "POST", open).await);
        assert!(!explain(&shop, strangers, "GET", "/store/v1/me").await);
        assert!(!explain(&shop, strangers, "POST", "/auth/v1/logout").await);
        let answer = explained(&shop, strangers, "", "GET", "/store/v1/orders").await;
        assert_eq!((answer.allowed, answer.policy), (false, Some(denied.clone())), "a rule that denies beats the list");
    }
    assert!(explain(&shop, &["user"], "GET", open).await, "as a stranger");
    assert!(explain(&shop, &["user"], "GET", "/store/v1/orders").await);
    let denied = shop.create_policy(&system(), deny("merchant", "^/(store|auth)/.*$")).await.unwrap();
    let answer = explained(&shop, &["merchant"], "", "GET", "/store/v1/products").await;
    assert_eq!((answer.allowed, answer.policy), (false, Some(denied)), "and the contract");
    assert!(!explain(&shop, &["merchant"], "GET", "/auth/v1/sessions").await);
    for path in ["/auth/v1/logout", "/auth/v1/reauthenticate"] {
        let answer = explained(&shop, &["merchant"], "", "POST", path).await;
        assert_eq!((answer.allowed, answer.policy), (true, None), "{path} is for whoever is signed in");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sellers_domain_counts_at_the_sellers_door_only() {
    let shop = Shop::open().await;
    shop.create_policy(&system(), rule("packer", "^/(seller|admin)/v1/orders$")).await.unwrap();
    assert!(explained(&shop, &["packer@sel_1"], "sel_1", "GET", "/seller/v1/orders").await.allowed);
    assert!(!explained(&shop, &["packer@sel_1"], "sel_1", "GET", "/admin/v1/orders").await.allowed);
}

#[tokio::test(start_paused = true)]
async fn entries_of_the_allow_list_that_open_nothing_are_told() {
    let shop = Shop::open().await;
    let put = put_allow_list(&shop, &system(), &["GET /admin/v1/categories", "/nowhere/*"]).await.unwrap();
    assert_eq!((put.paths.len(), put.warnings.len()), (2, 1));
    assert!(put.warnings[0].contains("\"/nowhere/*\" matches nothing"), "{}", put.warnings[0]);
    // Said again when the same comes again.
    assert_eq!(put_allow_list(&shop, &system(), &["GET /admin/v1/categories", "/nowhere/*"]).await.unwrap(), put);
    let put = put_allow_list(&shop, &system(), &["GET /store/v1/orders/:id"]).await.unwrap();
    assert!(put.warnings[0].contains("(GET /store/v1/orders/{id})"), "{}", put.warnings[0]);
    assert!(put_allow_list(&shop, &system(), &["/admin/v1/categories"]).await.unwrap().warnings.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_role_in_a_sellers_domain_is_good_there_only() {
    let shop = Shop::open().await;
    shop.create_policy(&system(), rule("packer", "/seller/v1/orders/*")).await.unwrap();
    assert!(explained(&shop, &["packer@sel_1"], "sel_1", "GET", "/seller/v1/orders/ord_1").await.allowed);
    assert!(!explained(&shop, &["packer@sel_1"], "sel_2", "GET", "/seller/v1/orders/ord_1").await.allowed);
    let mei = shop.register("mei@example.com").await;
    let request = AdminSetRolesRequest {
        id: mei.id(),
        roles: owned(&["user", "packer@sel_1"]),
        seller_id: Some("sel_1".into()),
        if_version: None,
    };
    let set = shop.call(&system(), |mut c| async move { c.admin_set_roles(request).await }).await.unwrap();
    assert_eq!(set.roles, ["packer@sel_1", "user"]);
    assert_eq!(shop.verify(&mei.tokens.access_token).await.seller_id, "sel_1");
    let claims = claims(&shop.login("mei@example.com").await.tokens.access_token);
    assert_eq!((claims["seller"].as_str(), claims["roles"][0].as_str()), (Some("sel_1"), Some("packer@sel_1")));
    shop.set_roles(&system(), &mei.user.id, &["user"]).await.unwrap();
    assert_eq!(shop.verify(&mei.tokens.access_token).await.seller_id, "", "staff no longer");
    assert_eq!(code(shop.set_roles(&system(), &mei.user.id, &["nobody@sel_1"]).await), "unknown_role");
}

#[tokio::test(start_paused = true)]
async fn roles_inherit_what_exists_never_in_a_circle_and_stay_while_they_are_used() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    let lead = shop.put_role(&system(), "lead", &["user"]).await.unwrap();
    assert_eq!((lead.inherits, lead.built_in), (owned(&["user"]), false));
    shop.put_role(&system(), "chief", &["lead"]).await.unwrap();
    assert!(explain(&shop, &["chief"], "GET", "/store/v1/me").await);
    let version = shop.access(0).await.version;
    shop.put_role(&system(), "chief", &["lead"]).await.unwrap();
    assert_eq!(shop.access(0).await.version, version, "nothing changed");

    let cycle = shop.put_role(&system(), "lead", &["chief"]).await.unwrap_err();
    assert_eq!(
        (cycle.kind.as_str(), cycle.code.as_ref(), cycle.param.as_deref()),
        ("invalid", "role_cycle", Some("inherits"))
    );
    assert_eq!(code(shop.put_role(&system(), "x", &["nobody"]).await), "unknown_role");
    assert_eq!(code(shop.put_role(&system(), "a b", &[]).await), "invalid_role");
    let used = shop.delete_role(&system(), "lead").await.unwrap_err();
    assert_eq!((used.kind.as_str(), used.code.as_ref()), ("conflict", "role_in_use"));
    assert!(used.message.contains("chief"), "{}", used.message);
    for name in ["user", "seller", "admin", "anonymous"] {
        assert_eq!(code(shop.delete_role(&system(), name).await), "role_built_in");
    }
    shop.set_roles(&system(), &mei.user.id, &["user", "chief@sel_1"]).await.unwrap();
    assert_eq!(code(shop.delete_role(&system(), "chief").await), "role_in_use");
    shop.delete_me(&mei).await.unwrap();
    shop.delete_role(&system(), "chief").await.unwrap();
    assert_eq!(code(shop.delete_role(&system(), "chief").await), "role_not_found");
    shop.delete_role(&system(), "lead").await.unwrap();
    assert_eq!(roles(&shop).await.len(), 4);
    assert_eq!(shop.broken_books().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_allow_list_is_replaced_as_a_whole() {
    let shop = Shop::open().await;
    let paths = ["GET /store/v1/orders/:id", "/store/v1/help/*", "GET /store/v1/orders/:id"];
    let put = put_allow_list(&shop, &system(), &paths).await.unwrap();
    assert_eq!((put.paths.as_slice(), put.version), (&owned(&paths[..2])[..], 2));
    assert!(explain(&shop, &[], "GET", "/store/v1/orders/ord_1").await);
    assert!(!explain(&shop, &[], "POST", "/store/v1/orders/ord_1").await);
    assert!(explain(&shop, &[], "POST", "/store/v1/help/me/now").await);
    assert!(!explain(&shop, &[], "GET", "/store/v1/me").await, "nothing else is");
    assert_eq!(put_allow_list(&shop, &system(), &paths).await.unwrap().version, 2, "nothing changed");
    assert_eq!(shop.access(0).await.allow_list, put.paths);
    assert_eq!(code(put_allow_list(&shop, &system(), &["help"]).await), "invalid_allowed_path");
    let many: Vec<String> = (0..201).map(|i| format!("/x/{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(code(put_allow_list(&shop, &system(), &many).await), "allow_list_full");
    let empty = put_allow_list(&shop, &system(), &[]).await.unwrap();
    assert_eq!((empty.paths.len(), empty.version), (0, 3));
    let request = AdminGetAllowListRequest {};
    let got = shop.call(&system(), |mut c| async move { c.admin_get_allow_list(request).await }).await.unwrap();
    assert_eq!((got.paths.len(), got.version), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn no_change_keeps_administrators_from_changing_it_back() {
    let shop = Shop::open().await;
    let admin = shop.admin(ADMIN).await;
    let before = shop.access(0).await;
    for request in [
        deny("admin", "/admin/v1/policies"),
        deny("user", "^/admin/.*$"),
        deny("seller", "/*"),
        deny("admin", "/admin/v1/access/allow-list"),
        deny("admin", "^/admin/v1/policies/pol_.*$"),
        deny("admin", "/admin/v1/users/:id/roles"),
        deny("admin", "/auth/v1/reauthenticate"),
        deny("anonymous", "/auth/v1/login"),
        AdminCreatePolicyRequest { method: "PUT".into(), ..deny("admin", "/admin/v1/users/:id/roles") },
        AdminCreatePolicyRequest { domain: "sel_1".into(), ..deny("admin", "/admin/v1/policies") },
    ] {
        let refused = shop.create_policy(&admin.call, request.clone()).await.unwrap_err();
        assert_eq!((refused.kind.as_str(), refused.code.as_ref()), ("conflict", "would_lock_out"), "{request:?}");
    }
    let theirs = before.policies.iter().find(|policy| policy.role == "admin").unwrap();
    assert_eq!(code(shop.delete_policy(&admin.call, &theirs.id).await), "would_lock_out");
    let users = before.policies.iter().find(|policy| policy.role == "user").unwrap();
    assert_eq!(code(shop.delete_policy(&admin.call, &users.id).await), "would_lock_out", "it has /auth/v1");
    assert_eq!(code(shop.put_role(&admin.call, "admin", &[]).await), "would_lock_out", "it has it from user");
    let now = shop.access(0).await;
    assert_eq!(now, before, "nothing was written");
    shop.create_policy(&admin.call, deny("admin", "/admin/v1/payments/*")).await.unwrap();
    shop.create_policy(&admin.call, rule("admin", "/auth/v1/*")).await.unwrap();
    shop.put_role(&admin.call, "admin", &[]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_policy_makes_an_operator_but_no_administrator() {
    let shop = Shop::open().await;
    let admin = shop.admin(ADMIN).await;
    let mei = shop.register("mei@example.com").await;
    shop.create_policy(&admin.call, rule("support", "/admin/v1/users/*")).await.unwrap();
    shop.put_role(&admin.call, "root", &["admin"]).await.unwrap();
    let sam = shop.register("sam@example.com").await;
    shop.set_roles(&admin.call, &sam.user.id, &["user", "support"]).await.unwrap();
    let sam = shop.login("sam@example.com").await;
    // The edge has asked the policies and let Sam through the operators' door.
    let door = operating(&sam.call);
    assert_eq!(code(shop.ban(&sam.call, &mei.user.id, "buy", None).await), "admin_only", "another door");
    shop.ban(&door, &mei.user.id, "buy", None).await.unwrap();
    shop.unban(&door, &mei.user.id).await.unwrap();
    shop.set_roles(&door, &mei.user.id, &["user", "support"]).await.unwrap();
    let request = || CreateUserRequest { email: "new@example.com".into(), ..Default::default() };
    assert!(shop.create_user(&door, request()).await.unwrap().created);

    let administrators =
        CreateUserRequest { email: "eve@example.com".into(), roles: owned(&["admin"]), ..Default::default() };
    assert_eq!(code(shop.create_user(&door, administrators).await), "admin_only");
    for roles in [&["admin"][..], &["admin@sel_1"], &["root"], &["user", "root@sel_1"]] {
        assert_eq!(code(shop.set_roles(&door, &mei.user.id, roles).await), "admin_only", "{roles:?}");
        assert_eq!(code(shop.set_roles(&door, &sam.user.id, roles).await), "admin_only", "{roles:?}");
    }
    let theirs = admin.user.id.as_str();
    assert_eq!(code(shop.set_roles(&door, theirs, &["user"]).await), "admin_only");
    assert_eq!(code(shop.ban(&door, theirs, "buy", None).await), "admin_only");
    assert_eq!(code(shop.unban(&door, theirs).await), "admin_only");
    let kick = AdminKickUserRequest { id: theirs.into() };
    assert_eq!(code(shop.call(&door, |mut c| async move { c.admin_kick_user(kick).await }).await), "admin_only");
    let end = AdminRevokeSessionRequest { id: theirs.into(), session_id: admin.call.caller.session_id.clone() };
    assert_eq!(code(shop.call(&door, |mut c| async move { c.admin_revoke_session(end).await }).await), "admin_only");

    let version = shop.access(0).await.version;
    assert_eq!(code(shop.create_policy(&door, rule("support", "/admin/v1/*")).await), "admin_only");
    let mine = shop.access(0).await.policies.into_iter().find(|policy| policy.role == "support").unwrap();
    assert_eq!(code(shop.delete_policy(&door, &mine.id).await), "admin_only");
    assert_eq!(code(shop.put_role(&door, "support", &["admin"]).await), "admin_only");
    assert_eq!(code(shop.delete_role(&door, "support").await), "admin_only");
    assert_eq!(code(put_allow_list(&shop, &door, &["/admin/v1/*"]).await), "admin_only");
    let rotate = AdminRotateKeysRequest {};
    assert_eq!(code(shop.call(&door, |mut c| async move { c.admin_rotate_keys(rotate).await }).await), "admin_only");
    assert_eq!(shop.access(0).await.version, version);
    assert!(shop.is_active(&admin.tokens).await);
}

async fn set_seller(shop: &Shop, by: &Call, id: &str, roles: &[&str], seller_id: &str) -> Result<Vec<String>> {
    let request = AdminSetRolesRequest {
        id: id.into(),
        roles: owned(roles),
        seller_id: Some(seller_id.into()),
        if_version: None,
    };
    Ok(shop.call(by, |mut c| async move { c.admin_set_roles(request).await }).await?.roles)
}

#[tokio::test(start_paused = true)]
async fn nobody_but_an_administrator_gives_what_it_has_not() {
    let shop = Shop::open().await;
    shop.create_policy(&system(), rule("support", "/admin/v1/users/*")).await.unwrap();
    shop.create_policy(&system(), rule("finance", "/admin/v1/payments/*")).await.unwrap();
    shop.put_role(&system(), "lead", &["support"]).await.unwrap();
    shop.put_role(&system(), "chief", &["admin"]).await.unwrap();
    let (mei, sam) = (shop.register("mei@example.com").await, shop.register("sam@example.com").await);
    set_seller(&shop, &system(), &mei.user.id, &["user", "finance"], "sel_1").await.unwrap();
    shop.set_roles(&system(), &sam.user.id, &["lead"]).await.unwrap();
    let sam = shop.login("sam@example.com").await;
    let door = operating(&sam.call);
    let (mei, myself) = (mei.user.id.as_str(), sam.user.id.as_str());
    for roles in [&["lead", "finance"][..], &["lead", "seller"], &["lead", "finance@sel_1"], &["lead", "chief"]] {
        assert_eq!(code(shop.set_roles(&door, myself, roles).await), "admin_only", "{roles:?}");
    }
    assert_eq!(code(set_seller(&shop, &door, myself, &["lead"], "sel_1").await), "admin_only");
    assert_eq!(code(set_seller(&shop, &door, mei, &["user", "finance"], "sel_2").await), "admin_only");
    assert_eq!(code(set_seller(&shop, &door, mei, &["user", "finance"], "").await), "admin_only");
    let new = CreateUserRequest { email: "new@example.com".into(), seller_id: "sel_1".into(), ..Default::default() };
    assert_eq!(code(shop.create_user(&door, new.clone()).await), "admin_only");
    let new = CreateUserRequest { seller_id: String::new(), roles: owned(&["seller"]), ..new };
    assert_eq!(code(shop.create_user(&door, new).await), "admin_only");

    // What it has it may give; what somebody has already is not given; the seller may be named as it is.
    let with_support = ["finance", "support", "user"];
    assert_eq!(set_seller(&shop, &door, mei, &with_support, "sel_1").await.unwrap(), with_support);
    assert_eq!(shop.set_roles(&door, mei, &["user"]).await.unwrap(), ["user"]);
    assert_eq!(code(shop.set_roles(&door, mei, &["user", "finance"]).await), "admin_only", "it is gone");

    // Who inherits all rights of an administrator gives what they are, but makes no administrator.
    shop.set_roles(&system(), myself, &["chief"]).await.unwrap();
    let chief = operating(&shop.login("sam@example.com").await.call);
    set_seller(&shop, &chief, mei, &["user", "seller"], "sel_2").await.unwrap();
    assert_eq!(code(shop.set_roles(&chief, mei, &["admin"]).await), "admin_only");
}

#[tokio::test(start_paused = true)]
async fn who_inherits_role_admin_is_guarded_as_who_holds_it() {
    let shop = Shop::open().await;
    shop.create_policy(&system(), rule("support", "/admin/v1/users/*")).await.unwrap();
    shop.put_role(&system(), "chief", &["admin"]).await.unwrap();
    let (mei, sam) = (shop.register("mei@example.com").await, shop.register("sam@example.com").await);
    shop.set_roles(&system(), &sam.user.id, &["support"]).await.unwrap();
    let door = operating(&shop.login("sam@example.com").await.call);
    let id = mei.user.id.as_str();
    for role in ["chief", "chief@sel_1"] {
        shop.set_roles(&system(), id, &["user", role]).await.unwrap();
        assert_eq!(code(shop.ban(&door, id, "all", None).await), "admin_only");
        assert_eq!(code(shop.unban(&door, id).await), "admin_only");
        assert_eq!(code(shop.set_roles(&door, id, &["user"]).await), "admin_only");
        let kick = AdminKickUserRequest { id: id.into() };
        assert_eq!(code(shop.call(&door, |mut c| async move { c.admin_kick_user(kick).await }).await), "admin_only");
        let end = AdminRevokeSessionRequest { id: id.into(), session_id: mei.call.caller.session_id.clone() };
        assert_eq!(
            code(shop.call(&door, |mut c| async move { c.admin_revoke_session(end).await }).await),
            "admin_only"
        );
    }
    shop.set_roles(&system(), id, &["user"]).await.unwrap();
    shop.ban(&door, id, "all", None).await.unwrap();
}

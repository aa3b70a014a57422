//! What operators do with accounts, and that nobody else does.

use std::time::Duration;

use mallard_proto::identity::v1::*;
use mallard_rpc::Call;
use mallard_types::Result;

use crate::support::*;

const ADMIN: &str = "admin@mallard.local";

async fn list(shop: &Shop, by: &Call, request: AdminListUsersRequest) -> Result<AdminListUsersResponse> {
    shop.call(by, |mut c| async move { c.admin_list_users(request).await }).await
}

async fn get(shop: &Shop, by: &Call, id: &str) -> Result<User> {
    let request = AdminGetUserRequest { id: id.to_owned() };
    Ok(shop.call(by, |mut c| async move { c.admin_get_user(request).await }).await?.user.unwrap())
}

async fn kick(shop: &Shop, by: &Call, id: &str) -> Result<()> {
    let request = AdminKickUserRequest { id: id.to_owned() };
    shop.call(by, |mut c| async move { c.admin_kick_user(request).await }).await
}

async fn roles(shop: &Shop, by: &Call, id: &str) -> Result<Vec<String>> {
    let request = AdminGetRolesRequest { id: id.to_owned() };
    Ok(shop.call(by, |mut c| async move { c.admin_get_roles(request).await }).await?.roles)
}

#[tokio::test(start_paused = true)]
async fn nobody_but_operators_and_the_mall_passes_the_last_door() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    let sam = shop.register("sam@example.com").await;
    shop.set_roles(&system(), &sam.user.id, &["seller"]).await.unwrap();
    let sam = shop.login("sam@example.com").await;
    // Nobody is signed in, so no policy can have let them in.
    let posing = operating(&Call::default());
    for call in [&Call::default(), &mei.call, &sam.call, &posing] {
        let id = mei.user.id.as_str();
        assert_eq!(code(list(&shop, call, AdminListUsersRequest::default()).await), "admin_only");
        let by_email = AdminListUsersRequest { email: "mei@example.com".into(), ..Default::default() };
        assert_eq!(code(list(&shop, call, by_email).await), "admin_only");
        assert_eq!(code(get(&shop, call, id).await), "admin_only");
        assert_eq!(code(shop.ban(call, id, "all", None).await), "admin_only");
        assert_eq!(code(shop.unban(call, id).await), "admin_only");
        assert_eq!(code(kick(&shop, call, id).await), "admin_only");
        assert_eq!(code(roles(&shop, call, id).await), "admin_only");
        assert_eq!(code(shop.set_roles(call, id, &["admin"]).await), "admin_only");
    }
    assert!(shop.is_active(&mei.tokens).await);
    assert_eq!(roles(&shop, &system(), &mei.user.id).await.unwrap(), ["user"]);
}

#[tokio::test(start_paused = true)]
async fn a_login_ban_suspends_sessions_and_keeps_the_user_out_until_it_is_lifted() {
    let shop = Shop::open().await;
    let admin = shop.admin(ADMIN).await;
    shop.register("mei@example.com").await;
    for level in ["login", "all"] {
        let mei = shop.login("mei@example.com").await;
        let banned = shop.ban(&admin.call, &mei.user.id, level, None).await.unwrap();
        assert_eq!(banned.status(), UserStatus::Banned);
        assert!(!shop.is_active(&mei.tokens).await);
        let refused = shop.refresh(&mei.tokens).await.unwrap_err();
        assert_eq!((refused.kind.as_str(), refused.code.as_ref()), ("forbidden", "account_banned"));
        let error = shop.try_login("mei@example.com", PASSWORD).await.unwrap_err();
        assert_eq!((error.kind.as_str(), error.code.as_ref()), ("forbidden", "account_banned"));
        assert_eq!(code(shop.try_login("mei@example.com", "wrong horse battery").await), "invalid_credentials");
        assert_eq!(shop.broken_books().await, [""; 0]);
        assert_eq!(shop.unban(&admin.call, &mei.user.id).await.unwrap().status(), UserStatus::Active);
        assert!(shop.is_active(&mei.tokens).await, "the same token is good again");
        let renewed = shop.refresh(&mei.tokens).await.unwrap();
        assert!(shop.is_active(&renewed).await, "a refused renewal used nothing up");
    }
    assert_eq!(shop.revocations(0).await, [], "no session ended");
}

#[tokio::test(start_paused = true)]
async fn a_buying_ban_is_said_in_the_token() {
    let shop = Shop::open().await;
    let admin = shop.admin(ADMIN).await;
    let mei = shop.register("mei@example.com").await;
    shop.ban(&admin.call, &mei.user.id, "buy", None).await.unwrap();
    assert!(shop.is_active(&mei.tokens).await, "it may look");
    let mei = shop.login("mei@example.com").await;
    assert_eq!(claims(&mei.tokens.access_token)["ban"], "buy");
}

#[tokio::test(start_paused = true)]
async fn operators_see_who_is_banned_why_by_whom_and_until_when_and_nobody_else_does() {
    let shop = Shop::open().await;
    let admin = shop.admin(ADMIN).await;
    let mut people = Vec::new();
    for i in 0..5 {
        people.push(shop.register(&format!("user{i}@example.com")).await);
        tokio::time::advance(Duration::from_secs(1)).await;
        let until = (i == 1).then_some(START + 60_000_000);
        shop.ban(&admin.call, &people[i].user.id, "buy", until).await.unwrap();
    }
    shop.unban(&admin.call, &people[3].user.id).await.unwrap();
    let bans = async |limit: i32, cursor: String| {
        let request = AdminListBansRequest { limit, cursor };
        shop.call(&admin.call, |mut c| async move { c.admin_list_bans(request).await }).await.unwrap()
    };
    let first = bans(2, String::new()).await;
    let second = bans(2, first.next_cursor.clone()).await;
    let listed: Vec<_> = first.users.iter().chain(&second.users).map(|user| user.id.clone()).collect();
    assert_eq!(listed, [people[4].id(), people[2].id(), people[1].id(), people[0].id()]);
    assert_eq!(second.next_cursor, "");
    let ban = second.users[0].ban.clone().unwrap();
    assert_eq!((ban.level.as_str(), ban.reason.as_str(), ban.by), ("buy", "spam", admin.id()));
    assert_eq!(ban.until.unwrap().micros(), START + 60_000_000);
    assert_eq!(ban.at.unwrap().micros() / 1_000_000, START / 1_000_000 + 2);
    assert_eq!(shop.me(&people[1]).await.unwrap().ban, None);

    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(bans(10, String::new()).await.users.len(), 3, "one is over");
    assert_eq!(get(&shop, &admin.call, &people[1].user.id).await.unwrap().ban, None);
    let request = AdminListBansRequest::default();
    let refused = shop.call(&people[0].call, |mut c| async move { c.admin_list_bans(request).await }).await;
    assert_eq!(code(refused), "admin_only");
}

#[tokio::test(start_paused = true)]
async fn a_ban_whose_time_is_over_lifts_itself() {
    let shop = Shop::open().await;
    let admin = shop.admin(ADMIN).await;
    let mei = shop.register("mei@example.com").await;
    let until = START + 60_000_000;
    assert_eq!(code(shop.ban(&admin.call, &mei.user.id, "all", Some(START)).await), "ban_over");
    shop.ban(&admin.call, &mei.user.id, "all", Some(until)).await.unwrap();
    assert_eq!(code(shop.try_login("mei@example.com", PASSWORD).await), "account_banned");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(get(&shop, &admin.call, &mei.user.id).await.unwrap().status(), UserStatus::Active);
    shop.login("mei@example.com").await;
}

#[tokio::test(start_paused = true)]
async fn a_ban_that_comes_twice_is_one_ban() {
    let shop = Shop::open().await;
    let admin = shop.admin(ADMIN).await;
    let mei = shop.register("mei@example.com").await;
    let once = shop.ban(&admin.call, &mei.user.id, "buy", None).await.unwrap();
    let since = shop.login("mei@example.com").await;
    assert_eq!(shop.ban(&admin.call, &mei.user.id, "buy", None).await.unwrap(), once);
    assert!(shop.is_active(&since.tokens).await);
    assert_eq!(code(shop.ban(&admin.call, &mei.user.id, "forever", None).await), "unknown_ban_level");
}

#[tokio::test(start_paused = true)]
async fn a_ban_without_a_reason_is_refused() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    for reason in ["", " \n"] {
        let request = AdminBanUserRequest {
            id: mei.id(),
            level: "buy".to_owned(),
            reason: reason.to_owned(),
            ..AdminBanUserRequest::default()
        };
        let refused = shop.call(&system(), |mut c| async move { c.admin_ban_user(request).await }).await.unwrap_err();
        let seen = (refused.kind.as_str(), refused.code.as_ref(), refused.param.as_deref());
        assert_eq!(seen, ("invalid", "required", Some("reason")));
    }
    assert_eq!(get(&shop, &system(), &mei.user.id).await.unwrap().ban, None);
}

#[tokio::test(start_paused = true)]
async fn a_kicked_user_may_come_back() {
    let shop = Shop::open().await;
    let admin = shop.admin(ADMIN).await;
    let mei = shop.register("mei@example.com").await;
    kick(&shop, &admin.call, &mei.user.id).await.unwrap();
    kick(&shop, &admin.call, &mei.user.id).await.unwrap();
    assert!(!shop.is_active(&mei.tokens).await);
    assert!(shop.is_active(&admin.tokens).await);
    shop.login("mei@example.com").await;
}

#[tokio::test(start_paused = true)]
async fn new_roles_hold_at_once_and_end_no_session() {
    let shop = Shop::open().await;
    let admin = shop.admin(ADMIN).await;
    let mei = shop.register("mei@example.com").await;
    assert_eq!(shop.set_roles(&admin.call, &mei.user.id, &["user"]).await.unwrap(), ["user"]);
    assert_eq!(shop.standings(0).await, [], "nothing changed");
    assert_eq!(shop.set_roles(&admin.call, &mei.user.id, &["user", "seller"]).await.unwrap(), ["seller", "user"]);
    let verified = shop.verify(&mei.tokens.access_token).await;
    assert!(verified.active && mallard_types::id::is("sel", &verified.seller_id));
    assert_eq!(verified.roles, ["seller", "user"], "the token is older, the roles are the present ones");
    let seller = shop.login("mei@example.com").await;
    shop.set_roles(&admin.call, &mei.user.id, &["user"]).await.unwrap();
    assert_eq!(shop.login("mei@example.com").await.call.caller.seller_id, "");
    shop.set_roles(&admin.call, &mei.user.id, &["seller"]).await.unwrap();
    assert_eq!(shop.login("mei@example.com").await.call.caller.seller_id, seller.call.caller.seller_id);
    let unknown = shop.set_roles(&admin.call, &mei.user.id, &["merchant"]).await.unwrap_err();
    assert_eq!((unknown.kind.as_str(), unknown.code.as_ref()), ("invalid", "unknown_role"));
    assert!(unknown.message.contains("merchant"), "{}", unknown.message);
    assert_eq!(code(shop.set_roles(&admin.call, &mei.user.id, &[]).await), "roles_empty");
    assert_eq!(code(shop.set_roles(&admin.call, &mei.user.id, &["anonymous"]).await), "unknown_role");
    assert_eq!(shop.revocations(0).await, []);
}

#[tokio::test(start_paused = true)]
async fn roles_decided_on_an_older_account_are_refused_unless_they_are_so_already() {
    let shop = Shop::open().await;
    let admin = shop.admin(ADMIN).await;
    let mei = shop.register("mei@example.com").await;
    let seen = mei.user.version;
    let set = |roles: &[&str], if_version| {
        let request = AdminSetRolesRequest {
            id: mei.user.id.clone(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            if_version,
            ..AdminSetRolesRequest::default()
        };
        shop.call(&admin.call, |mut c| async move { c.admin_set_roles(request).await })
    };
    assert_eq!(set(&["user", "seller"], Some(seen)).await.unwrap().roles, ["seller", "user"]);
    // The same again, as after a lost answer, is done already.
    assert_eq!(set(&["user", "seller"], Some(seen)).await.unwrap().roles, ["seller", "user"]);
    let late = set(&["user"], Some(seen)).await.unwrap_err();
    assert_eq!((late.kind.as_str(), late.code.as_ref()), ("precondition", "version_mismatch"));
    assert_eq!(roles(&shop, &admin.call, &mei.user.id).await.unwrap(), ["seller", "user"]);
    assert_eq!(set(&["user"], None).await.unwrap().roles, ["user"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_operator_stays() {
    let shop = Shop::open().await;
    let admin = shop.admin(ADMIN).await;
    let refused = shop.set_roles(&admin.call, &admin.user.id, &["user"]).await.unwrap_err();
    assert_eq!((refused.kind.as_str(), refused.code.as_ref()), ("conflict", "last_admin"));
    assert_eq!(code(shop.delete_me(&admin).await), "last_admin");
    assert_eq!(code(shop.ban(&admin.call, &admin.user.id, "login", None).await), "last_admin");
    shop.ban(&admin.call, &admin.user.id, "buy", None).await.unwrap();
    assert_eq!(roles(&shop, &system(), &admin.user.id).await.unwrap(), ["admin", "user"]);

    let second = shop.admin("second@mallard.local").await;
    shop.set_roles(&second.call, &admin.user.id, &["user"]).await.unwrap();
    assert_eq!(code(shop.delete_me(&second).await), "last_admin");
}

#[tokio::test(start_paused = true)]
async fn accounts_are_read_in_pages_newest_first() {
    let shop = Shop::open().await;
    let admin = shop.admin(ADMIN).await;
    let mut made = vec![admin.user.id.clone()];
    for i in 0..7 {
        tokio::time::advance(Duration::from_millis(u64::from(i % 2 == 0))).await;
        made.push(shop.register(&format!("user{i}@example.com")).await.user.id);
    }
    made.sort_by(|a, b| b.cmp(a));
    let mut read = Vec::new();
    let mut cursor = String::new();
    loop {
        let page =
            list(&shop, &admin.call, AdminListUsersRequest { limit: 3, cursor, ..Default::default() }).await.unwrap();
        assert_eq!(page.count, None);
        read.extend(page.users.into_iter().map(|user| user.id));
        cursor = page.next_cursor;
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(read, made);
    let counted =
        list(&shop, &admin.call, AdminListUsersRequest { limit: 1, count: true, ..Default::default() }).await.unwrap();
    assert_eq!((counted.users.len(), counted.count), (1, Some(8)));
    for (email, found) in [("USER3@example.com", 1), ("nobody@example.com", 0), ("nonsense", 0)] {
        let request = AdminListUsersRequest { email: email.into(), count: true, ..Default::default() };
        let page = list(&shop, &admin.call, request).await.unwrap();
        assert_eq!((page.users.len(), page.count, page.next_cursor.as_str()), (found, Some(found as i64), ""));
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_user_is_not_found() {
    let shop = Shop::open().await;
    let gone = shop.register("gone@example.com").await;
    shop.delete_me(&gone).await.unwrap();
    for id in ["usr_none", "", &gone.user.id] {
        assert_eq!(code(shop.ban(&system(), id, "all", None).await), "user_not_found");
        assert_eq!(code(shop.unban(&system(), id).await), "user_not_found");
        assert_eq!(code(kick(&shop, &system(), id).await), "user_not_found");
        assert_eq!(code(shop.set_roles(&system(), id, &["admin"]).await), "user_not_found");
    }
    assert_eq!(code(get(&shop, &system(), "usr_none").await), "user_not_found");
}

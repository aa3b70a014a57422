//! Many at once against what decides who may do what, on every store that is there.

use std::collections::BTreeSet;
use std::sync::Arc;

use mallard_db::MemoryDisk;
use mallard_proto::identity::v1::*;
use mallard_runtime::{Chance, Storage};
use mallard_testkit::pgtest::PgServer;
use tokio::task::JoinSet;

use crate::races::{at_once, on_every_store};
use crate::support::*;

fn rule(role: &str, path: &str) -> AdminCreatePolicyRequest {
    AdminCreatePolicyRequest { role: role.into(), path: path.into(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_rule_made_twenty_times_at_once_is_one_rule() {
    on_every_store(|shop| async move {
        let made = at_once((0..20).map(|_| {
            let shop = shop.clone();
            async move { shop.create_policy(&system(), rule("support", "/admin/v1/users/*")).await.unwrap().id }
        }))
        .await;
        assert_eq!(made.into_iter().collect::<BTreeSet<_>>().len(), 1);
        at_once((0..20).map(|_| {
            let shop = shop.clone();
            async move { shop.put_role(&system(), "support", &["seller"]).await.unwrap() }
        }))
        .await;
        let access = shop.access(0).await;
        assert_eq!((access.version, access.policies.len(), access.roles.len()), (3, 4, 5));
        assert_eq!(shop.audited().await.len(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_lists_and_roles_decided_on_one_version_one_is_written() {
    on_every_store(|shop| async move {
        let seen = shop.access(0).await.version;
        let lists = at_once((0..8).map(|i| {
            let shop = shop.clone();
            let request = AdminPutAllowListRequest { paths: vec![format!("/store/v1/{i}")], if_version: Some(seen) };
            async move { shop.call(&system(), |mut c| async move { c.admin_put_allow_list(request).await }).await }
        }))
        .await;
        let (written, refused): (Vec<_>, Vec<_>) = lists.into_iter().partition(Result::is_ok);
        assert_eq!(written.len(), 1);
        assert!(refused.into_iter().all(|list| list.unwrap_err().code == "version_mismatch"));
        let list = shop.access(0).await.allow_list;
        // The same again, as after a lost answer, is done already; a role is decided on a version just so.
        let again = AdminPutAllowListRequest { paths: list.clone(), if_version: Some(seen) };
        let again = shop.call(&system(), |mut c| async move { c.admin_put_allow_list(again).await }).await.unwrap();
        assert_eq!(again.paths, list);
        let by = system();
        let roles = shop.call(&by, |mut c| async move { c.admin_list_roles(AdminListRolesRequest {}).await });
        let present = roles.await.unwrap().version;
        let put = |inherits: &str, version| {
            let request = AdminPutRoleRequest {
                name: "clerk".into(),
                inherits: vec![inherits.into()],
                if_version: Some(version),
                ..AdminPutRoleRequest::default()
            };
            let shop = shop.clone();
            async move { shop.call(&system(), |mut c| async move { c.admin_put_role(request).await }).await }
        };
        put("user", present).await.unwrap();
        put("user", present).await.unwrap();
        assert_eq!(put("seller", present).await.unwrap_err().code, "version_mismatch");
        put("seller", present + 1).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_role_that_is_granted_and_deleted_at_once_is_either_held_or_gone() {
    on_every_store(|shop| async move {
        let mei = shop.register("mei@example.com").await;
        for round in 0..10 {
            let role = format!("role{round}");
            shop.put_role(&system(), &role, &[]).await.unwrap();
            let granting = {
                let (shop, id, role) = (shop.clone(), mei.id(), role.clone());
                tokio::spawn(async move { shop.set_roles(&system(), &id, &["user", &role]).await })
            };
            let deleted = shop.delete_role(&system(), &role).await;
            let granted = granting.await.unwrap();
            match (granted, deleted) {
                (Ok(_), Err(error)) => assert_eq!(error.code, "role_in_use"),
                (Err(error), Ok(())) => assert_eq!(error.code, "unknown_role"),
                other => panic!("both or neither: {other:?}"),
            }
            assert_eq!(shop.broken_books().await, [""; 0]);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_rotations_at_once_no_key_is_lost_and_one_signs() {
    on_every_store(|shop| async move {
        shop.register("mei@example.com").await;
        for _ in 0..4 {
            let before = shop.count("SELECT COUNT(*) FROM signing_keys").await;
            let made = at_once((0..2).map(|_| {
                let shop = shop.clone();
                async move {
                    let request = AdminRotateKeysRequest {};
                    let made = shop.call(&system(), |mut c| async move { c.admin_rotate_keys(request).await }).await;
                    made.unwrap().key.unwrap().kid
                }
            }))
            .await;
            let made: BTreeSet<_> = made.into_iter().collect();
            assert_eq!(shop.count("SELECT COUNT(*) FROM signing_keys").await, before + made.len() as i64);
            assert_eq!(shop.count("SELECT COUNT(*) FROM signing_keys WHERE retired_at IS NULL").await, 1);
        }
        assert!(shop.is_active(&shop.login("mei@example.com").await.tokens).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn however_many_guess_at_once_ten_are_told() {
    on_every_store(|shop| async move {
        shop.register("mei@example.com").await;
        let answers =
            at_once(
                (0..40).map(|_| {
                    let shop = shop.clone();
                    async move {
                        shop.try_login_from(&from("203.0.113.7"), "mei@example.com", "wrong horse battery", "").await
                    }
                }),
            )
            .await;
        let codes: Vec<String> = answers.into_iter().map(code).collect();
        assert_eq!(codes.iter().filter(|code| *code == "invalid_credentials").count(), 10, "{codes:?}");
        assert_eq!(codes.iter().filter(|code| *code == "too_many_attempts").count(), 30);
        let right = shop.try_login_from(&from("203.0.113.7"), "mei@example.com", PASSWORD, "").await;
        assert_eq!(code(right), "too_many_attempts");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_logins_on_one_device_at_once_leave_one_session() {
    on_every_store(|shop| async move {
        shop.register("mei@example.com").await;
        let accounts =
            at_once(
                (0..10).map(|_| {
                    let shop = shop.clone();
                    async move {
                        shop.try_login_from(&from("203.0.113.7"), "mei@example.com", PASSWORD, "phone").await.unwrap()
                    }
                }),
            )
            .await;
        let mut live = 0;
        for account in accounts {
            live += usize::from(shop.is_active(&account.tokens.unwrap()).await);
        }
        assert_eq!(live, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_new_passwords_at_once_one_is_set() {
    on_every_store(|shop| async move {
        let mei = shop.register("mei@example.com").await;
        let set = at_once(["first password", "second password"].map(|new| {
            let (shop, mei) = (shop.clone(), mei.clone());
            async move {
                let request = ChangePasswordRequest { current_password: PASSWORD.into(), new_password: new.into() };
                shop.call(&mei.call, |mut c| async move { c.change_password(request).await }).await.map(|()| new)
            }
        }))
        .await;
        let new: Vec<&str> = set.iter().filter_map(|set| set.as_ref().ok().copied()).collect();
        assert_eq!(new.len(), 1, "{set:?}");
        let refused = code(set.into_iter().find(|set| set.is_err()).unwrap());
        assert!(["invalid_credentials", "changed_meanwhile"].contains(&refused.as_str()), "{refused}");
        shop.try_login("mei@example.com", new[0]).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_of_standings_knows_the_end_of_every_account() {
    on_every_store(|shop| async move {
        let mut people = Vec::new();
        for i in 0..15 {
            people.push(shop.register(&format!("user{i}@example.com")).await.id());
        }
        // A set, so that the reading ends with the test whatever becomes of it.
        let mut reading = JoinSet::new();
        let reader = shop.clone();
        reading.spawn(async move {
            let mut seen: std::collections::BTreeMap<String, Standing> = Default::default();
            let mut last = 0;
            while last < 45 {
                for standing in reader.standings(last).await {
                    assert!(standing.seq > last);
                    last = standing.seq;
                    seen.insert(standing.user_id.clone(), standing);
                }
                tokio::task::yield_now().await;
            }
            seen
        });
        at_once(people.clone().into_iter().map(|id| {
            let shop = shop.clone();
            async move {
                shop.ban(&system(), &id, "all", None).await.unwrap();
                shop.set_roles(&system(), &id, &["seller"]).await.unwrap();
                shop.unban(&system(), &id).await.unwrap();
            }
        }))
        .await;
        let limit = std::time::Duration::from_secs(120);
        let seen = tokio::time::timeout(limit, reading.join_all()).await.expect("a standing was missed").remove(0);
        for id in people {
            let standing = &seen[&id];
            assert_eq!((standing.roles.as_slice(), standing.ban_level.as_str()), (&owned(&["seller"])[..], ""));
        }
    })
    .await;
}

/// Opens two instances of the service on one database, where the engine allows it, both for the first time and at once.
async fn two_instances(server: Option<&PgServer>) -> Vec<[Arc<Shop>; 2]> {
    let mut stores = vec![Storage::Memory(MemoryDisk::new())];
    if let Some(server) = server {
        stores.push(Storage::Postgres { url: server.fresh_url().await, pool_max: 16 });
    }
    let mut pairs = Vec::new();
    for store in stores {
        let mut second = settings(store.clone(), &[]);
        second.chance = Chance::seeded(8);
        let (one, two) = tokio::join!(Shop::open_with(settings(store, &[])), Shop::open_with(second));
        pairs.push([Arc::new(one), Arc::new(two)]);
    }
    pairs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_first_instances_make_one_key_and_one_set_of_rules_and_share_every_change() {
    let server = PgServer::shared();
    for [one, two] in two_instances(server.as_deref()).await {
        assert_eq!(one.count("SELECT COUNT(*) FROM signing_keys").await, 1);
        let access = one.access(0).await;
        assert_eq!((access.version, access.policies.len(), access.roles.len()), (1, 3, 4));
        let made = at_once((0..20).map(|i| {
            let shop = if i % 2 == 0 { one.clone() } else { two.clone() };
            async move { shop.create_policy(&system(), rule("support", &format!("/admin/v1/x{i}"))).await }
        }))
        .await;
        assert!(made.iter().all(Result::is_ok), "{made:?}");
        let access = two.access(0).await;
        assert_eq!((access.version, access.policies.len()), (21, 23));
        assert_eq!(one.access(0).await, access);
        // What is counted in one is counted in both.
        one.register("mei@example.com").await;
        for i in 0..10 {
            let shop = if i % 2 == 0 { &one } else { &two };
            let wrong = shop.try_login_from(&from("203.0.113.7"), "mei@example.com", "wrong horse battery", "").await;
            assert_eq!(code(wrong), "invalid_credentials");
        }
        for shop in [&one, &two] {
            let right = shop.try_login_from(&from("203.0.113.7"), "mei@example.com", PASSWORD, "").await;
            assert_eq!(code(right), "too_many_attempts");
        }
        assert_eq!(one.broken_books().await, [""; 0]);
    }
}

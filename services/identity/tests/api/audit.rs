//! The log of what was changed, by whom.

use std::sync::Arc;
use std::time::Duration;

use mallard_bus::Envelope;
use mallard_db::{MemoryDisk, Migration};
use mallard_proto::audit::v1::Recorded;
use mallard_proto::events;
use mallard_proto::identity::v1::*;
use mallard_rpc::{Call, Origin};
use mallard_runtime::{Context, Parts, ServiceSpec, Storage};

use crate::support::*;

const ADMIN: &str = "admin@mallard.local";

/// Somebody's request from a place.
fn request_of(who: &Account) -> Call {
    let origin = Origin { address: "203.0.113.7".to_owned(), user_agent: "test".to_owned() };
    Call { origin: Some(Arc::new(origin)), request_id: "req_1".to_owned(), ..who.call.clone() }
}

async fn entries(shop: &Shop) -> Vec<AuditEntry> {
    let request = AdminListAuditRequest { limit: 100, ..Default::default() };
    let mut entries = shop.audit(&system(), request).await.unwrap().entries;
    entries.reverse();
    entries
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_entry_says_who_what_from_where_and_what_was_before_and_after() {
    let shop = Shop::open().await;
    let admin = shop.admin(ADMIN).await;
    let mei = shop.register("mei@example.com").await;
    let call = request_of(&admin);
    shop.set_roles(&call, &mei.user.id, &["user", "admin"]).await.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    shop.ban(&call, &mei.user.id, "buy", None).await.unwrap();
    shop.ban(&call, &mei.user.id, "buy", Some(START + 3_600_000_001)).await.unwrap();
    shop.call(&call, |mut c| async move { c.admin_rotate_keys(AdminRotateKeysRequest {}).await }).await.unwrap();
    let log = entries(&shop).await;
    assert_eq!(log.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!((log[0].action.as_str(), log[0].actor.as_str()), ("user.create", "test"), "an administrator was made");
    let roles = &log[1];
    let who = (roles.actor.clone(), roles.actor_email.as_str(), roles.address.as_str(), roles.request_id.as_str());
    assert_eq!(who, (admin.id(), ADMIN, "203.0.113.7", "req_1"));
    let what = (roles.service.as_str(), roles.action.as_str(), roles.target.clone());
    assert_eq!(what, ("identity", "user.roles", mei.id()));
    assert_eq!(json(&roles.before)["roles"], serde_json::json!(["user"]));
    assert_eq!(json(&roles.after)["roles"], serde_json::json!(["admin", "user"]));
    let ban = &log[2];
    assert_eq!((ban.action.as_str(), ban.before.as_str()), ("user.ban", ""));
    assert_eq!(json(&ban.after), serde_json::json!({"level": "buy", "until": null, "reason": "spam"}));
    assert_eq!(ban.at.unwrap().micros() / 1_000_000, START / 1_000_000 + 5);
    assert_eq!(json(&log[3].after)["until"], "2026-01-01T01:00:00.000001Z");
    assert_eq!(json(&log[4].before)["retired_at"], "2026-01-01T00:00:07Z", "two seconds later");
    assert!(log.iter().all(|entry| entry.hash.len() == 64 && entry.hash.bytes().all(|b| b.is_ascii_hexdigit())));
}

#[tokio::test(start_paused = true)]
async fn every_action_of_operators_is_logged_once_and_holds_nothing_secret() {
    let shop = Shop::open().await;
    let admin = shop.admin(ADMIN).await;
    let mei = shop.register("mei@example.com").await;
    let (by, id) = (&admin.call, mei.user.id.as_str());
    let mut expected = vec!["user.create"];
    for _ in 0..2 {
        let new = CreateUserRequest {
            email: "new@example.com".into(),
            password: PASSWORD.into(),
            name: "New Person".into(),
            ..Default::default()
        };
        shop.create_user(by, new).await.unwrap();
        shop.ban(by, id, "all", None).await.unwrap();
    }
    expected.extend(["user.create", "user.ban"]);
    for _ in 0..2 {
        shop.unban(by, id).await.unwrap();
        let kick = AdminKickUserRequest { id: id.into() };
        shop.call(by, |mut c| async move { c.admin_kick_user(kick).await }).await.unwrap();
        shop.set_roles(by, id, &["seller"]).await.unwrap();
        let rule = AdminCreatePolicyRequest { role: "support".into(), path: "/x".into(), ..Default::default() };
        shop.create_policy(by, rule).await.unwrap();
        shop.put_role(by, "support", &["seller"]).await.unwrap();
        let list = AdminPutAllowListRequest { paths: owned(&["/x"]), if_version: None };
        shop.call(by, |mut c| async move { c.admin_put_allow_list(list).await }).await.unwrap();
    }
    expected.extend(["user.unban", "user.kick", "user.roles", "policy.create", "role.put", "allow_list.put"]);
    let policy = shop.access(0).await.policies.into_iter().find(|policy| policy.role == "support").unwrap();
    shop.delete_policy(by, &policy.id).await.unwrap();
    shop.delete_role(by, "support").await.unwrap();
    shop.call(by, |mut c| async move { c.admin_rotate_keys(AdminRotateKeysRequest {}).await }).await.unwrap();
    expected.extend(["policy.delete", "role.delete", "key.rotate"]);
    // What is refused, and what people do with what is theirs, is not an operator's change.
    shop.delete_policy(by, &policy.id).await.unwrap_err();
    shop.login("mei@example.com").await;

    let log = entries(&shop).await;
    assert_eq!(log.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(), expected);
    for entry in &log {
        let text = format!("{} {}", entry.before, entry.after);
        for secret in [PASSWORD, "argon2", "new@example.com", "New Person", "secret"] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
    assert_eq!(shop.broken_books().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_log_is_read_in_pages_by_actor_target_action_and_service() {
    let shop = Shop::open().await;
    let admin = shop.admin(ADMIN).await;
    let mut people = Vec::new();
    for i in 0..5 {
        people.push(shop.register(&format!("user{i}@example.com")).await);
        let by = if i % 2 == 0 { &admin.call } else { &system() };
        shop.ban(by, &people[i].user.id, "buy", None).await.unwrap();
        shop.unban(by, &people[i].user.id).await.unwrap();
    }
    let mut read = Vec::new();
    let mut cursor = String::new();
    loop {
        let request = AdminListAuditRequest { limit: 3, cursor, actor: admin.id(), ..Default::default() };
        let page = shop.audit(&admin.call, request).await.unwrap();
        assert!(page.entries.len() <= 3);
        read.extend(page.entries.into_iter().map(|entry| (entry.action, entry.target)));
        cursor = page.next_cursor;
        if cursor.is_empty() {
            break;
        }
    }
    let expected: Vec<_> = [4usize, 2, 0]
        .iter()
        .flat_map(|i| [("user.unban".to_owned(), people[*i].id()), ("user.ban".to_owned(), people[*i].id())])
        .collect();
    assert_eq!(read, expected);
    let count = async |request: AdminListAuditRequest| shop.audit(&admin.call, request).await.unwrap().entries.len();
    assert_eq!(count(AdminListAuditRequest { target: people[1].id(), ..Default::default() }).await, 2);
    assert_eq!(count(AdminListAuditRequest { action: "user.ban".into(), ..Default::default() }).await, 5);
    assert_eq!(count(AdminListAuditRequest { service: "catalog".into(), ..Default::default() }).await, 0);
    let both = AdminListAuditRequest { action: "user.ban".into(), actor: "test".into(), ..Default::default() };
    assert_eq!(count(both).await, 2);
    let bad = AdminListAuditRequest { cursor: "zz".into(), ..Default::default() };
    assert_eq!(code(shop.audit(&admin.call, bad).await), "bad_cursor");
    assert_eq!(code(shop.audit(&people[0].call, AdminListAuditRequest::default()).await), "admin_only");
}

const MIGRATIONS: &[Migration] = &[Migration { version: 100, name: "unused", sql: "CREATE TABLE unused (id TEXT)" }];

/// A service that reports changes.
fn reporter() -> ServiceSpec {
    async fn start(_: Context) -> anyhow::Result<Parts> {
        Ok(Parts::new(tonic::service::Routes::default()))
    }
    ServiceSpec { name: "reporter", migrations: MIGRATIONS, subscribes: &[], start: |ctx| Box::pin(start(ctx)) }
}

#[tokio::test(start_paused = true)]
async fn what_other_services_report_is_logged_once_however_often_it_comes() {
    let shop = Shop::open_with(settings(Storage::Memory(MemoryDisk::new()), &[reporter()])).await;
    let admin = shop.admin(ADMIN).await;
    let recorded = Recorded {
        actor: admin.id(),
        session_id: "sess_1".into(),
        address: "203.0.113.7".into(),
        request_id: "req_7".into(),
        service: "catalog".into(),
        action: "product.update".into(),
        target: "prod_1".into(),
        before: r#"{"price":1}"#.into(),
        after: format!(r#"{{"text":"{}"}}"#, "鸭".repeat(20_000)),
        at_micros: START - 1,
    };
    let event = Envelope {
        id: "evt_1".into(),
        kind: events::AUDIT_RECORDED_V1.into(),
        key: "prod_1".into(),
        at: START,
        trace: String::new(),
        payload: prost::Message::encode_to_vec(&recorded).into(),
    };
    let reporter = shop.mall.context("reporter").unwrap();
    for id in ["evt_1", "evt_1", "evt_2"] {
        let (outbox, event) = (reporter.outbox(), Envelope { id: id.into(), ..event.clone() });
        let db = reporter.db();
        let sent = db.tx("test.report", move |tx| {
            let (outbox, event) = (outbox.clone(), event.clone());
            async move { outbox.append(&tx, event).await }
        });
        sent.await.unwrap();
    }
    mallard_testkit::eventually("both are logged", || async { entries(&shop).await.len() == 3 }).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let log = entries(&shop).await;
    assert_eq!(log.len(), 3, "one event is one entry");
    let entry = &log[1];
    assert_eq!(
        (entry.service.as_str(), entry.action.as_str(), entry.target.as_str()),
        ("catalog", "product.update", "prod_1")
    );
    assert_eq!(
        (entry.actor_email.as_str(), entry.address.as_str(), entry.request_id.as_str()),
        (ADMIN, "203.0.113.7", "req_7")
    );
    assert_eq!((entry.before.as_str(), entry.at.unwrap().micros()), (r#"{"price":1}"#, START - 1));
    let cut = json(&entry.after);
    assert!(cut["cut"].as_bool().unwrap() && cut["bytes"].as_u64() == Some(60_011) && entry.after.len() <= 16_384);
    assert_eq!(shop.broken_books().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn whoever_changes_removes_or_cuts_the_log_is_noticed() {
    for (damage, broken) in [
        ("UPDATE audit SET actor = 'usr_9' WHERE seq = 3", "identity.audit_chain: 1 of 6 entries: 3"),
        ("UPDATE audit SET was = 'x' WHERE seq = 6", "identity.audit_chain: 1 of 6 entries: 6"),
        ("UPDATE audit SET hash = x'00' WHERE seq = 2", "identity.audit_chain: 2 of 6 entries: 2, 3"),
        ("DELETE FROM audit WHERE seq = 1", "identity.audit_chain: 1 of 5 entries: 2"),
        ("DELETE FROM audit WHERE seq = 4", "identity.audit_chain: 1 of 5 entries: 5"),
        ("DELETE FROM audit WHERE seq >= 5", "identity.audit_chain: 1 of 5 entries: 5 to 6 are missing"),
        ("DELETE FROM audit", "identity.audit_chain: 1 of 1 entries: 1 to 6 are missing"),
    ] {
        let shop = Shop::open().await;
        let mei = shop.register("mei@example.com").await;
        for level in ["buy", "login", "all", "buy", "login", "all"] {
            shop.ban(&system(), &mei.user.id, level, None).await.unwrap();
        }
        assert_eq!(shop.broken_books().await, [""; 0]);
        shop.tamper(damage).await;
        assert_eq!(shop.broken_books().await, [broken], "{damage}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_longer_than_a_page_is_checked_to_its_end() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    for i in 0..1_010 {
        shop.ban(&system(), &mei.user.id, "buy", Some(START + 1_000_000 + i)).await.unwrap();
    }
    assert_eq!(shop.broken_books().await, [""; 0]);
    shop.tamper("UPDATE audit SET target = 'usr_9' WHERE seq = 1005").await;
    assert_eq!(shop.broken_books().await, ["identity.audit_chain: 1 of 1010 entries: 1005"]);
}

#[test]
fn no_statement_changes_or_removes_an_entry() {
    for file in ["audit.rs", "../store.rs"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store").join(file);
        let text = std::fs::read_to_string(path).unwrap().to_uppercase();
        assert!(!text.contains("UPDATE AUDIT") && !text.contains("DELETE FROM AUDIT"), "{file}");
    }
}

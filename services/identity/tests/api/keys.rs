//! Signing keys: rotated without anybody noticing, refused when they are none.

use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use mallard_db::MemoryDisk;
use mallard_proto::identity::v1::*;
use mallard_runtime::{Chance, Mall, Storage};
use mallard_types::Result;

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

async fn rotate(shop: &Shop) -> Result<SigningKey> {
    let request = AdminRotateKeysRequest {};
    Ok(shop.call(&system(), |mut c| async move { c.admin_rotate_keys(request).await }).await?.key.unwrap())
}

async fn keys(shop: &Shop) -> Vec<SigningKey> {
    let request = AdminListKeysRequest {};
    shop.call(&system(), |mut c| async move { c.admin_list_keys(request).await }).await.unwrap().keys
}

async fn published(shop: &Shop) -> Vec<String> {
    let answer = shop.call(&system(), |mut c| async move { c.get_keys(GetKeysRequest {}).await }).await.unwrap();
    let set: JwkSet = serde_json::from_str(&answer.jwks_json).unwrap();
    set.keys.into_iter().filter_map(|key| key.common.key_id).collect()
}

fn kid(tokens: &Tokens) -> String {
    jsonwebtoken::decode_header(&tokens.access_token).unwrap().kid.unwrap()
}

/// A second instance of the service on the same database.
async fn other_instance(disk: &MemoryDisk) -> Shop {
    let mut settings = settings(Storage::Memory(disk.clone()), &[]);
    settings.chance = Chance::seeded(8);
    Shop::open_with(settings).await
}

#[tokio::test(start_paused = true)]
async fn every_instance_changes_keys_at_one_moment_and_no_token_is_lost() {
    let disk = MemoryDisk::new();
    let shop = Shop::open_with(settings(Storage::Memory(disk.clone()), &[])).await;
    let other = other_instance(&disk).await;
    shop.register("mei@example.com").await;
    let old = kid(&shop.login("mei@example.com").await.tokens);
    let new = rotate(&shop).await.unwrap();
    let listed = keys(&other).await;
    assert_eq!(listed.iter().map(|key| key.kid.clone()).collect::<Vec<_>>(), [new.kid.clone(), old.clone()]);
    assert_eq!(listed[1].retired_at.unwrap().micros(), START + 2_000_000, "a moment ahead, so that all know it");
    let mut issued = Vec::new();
    for tenth in 0..40 {
        for (signing, verifying) in [(&shop, &other), (&other, &shop)] {
            let tokens = signing.login("mei@example.com").await.tokens;
            let expected = if tenth < 20 { &old } else { &new.kid };
            assert_eq!(&kid(&tokens), expected, "after {tenth} tenths of a second");
            assert!(verifying.is_active(&tokens).await, "after {tenth} tenths of a second");
            issued.push(tokens);
        }
        tokio::time::advance(SECOND / 10).await;
    }
    for tokens in &issued {
        assert!(shop.is_active(tokens).await && other.is_active(tokens).await);
    }
    assert_eq!(published(&shop).await, [new.kid.clone(), old.clone()]);
    // The old key's last token, and half a minute for clocks that differ.
    tokio::time::advance(Duration::from_secs(900 + 28)).await;
    assert_eq!(published(&other).await, std::slice::from_ref(&new.kid));
    tokio::time::sleep(Duration::from_secs(3_601)).await;
    assert_eq!(shop.count("SELECT COUNT(*) FROM signing_keys").await, 1, "its secret is gone");
    let audited = shop.audited().await;
    assert_eq!(audited, [("key.rotate".to_owned(), new.kid)]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_old_is_replaced_by_one_instance() {
    let disk = MemoryDisk::new();
    let shop = Shop::open_with(settings(Storage::Memory(disk.clone()), &[])).await;
    let _other = other_instance(&disk).await;
    let old = keys(&shop).await[0].kid.clone();
    tokio::time::advance(Duration::from_secs(90 * 24 * 3_600)).await;
    // Both sweep within the hour.
    tokio::time::sleep(Duration::from_secs(2 * 3_600)).await;
    let now = keys(&shop).await;
    assert_eq!(now.len(), 1, "one new key, and the old one's tokens have expired");
    assert_ne!(now[0].kid, old);
    let entries = shop.audit(&system(), AdminListAuditRequest::default()).await.unwrap().entries;
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].actor.as_str(), entries[0].action.as_str()), ("identity", "key.rotate"));
}

#[tokio::test(start_paused = true)]
async fn a_key_is_not_replaced_for_its_age_where_that_is_off() {
    let mut settings = settings(Storage::Memory(MemoryDisk::new()), &[]);
    settings.config = settings.config.set("identity.signing_key_days", 0);
    let shop = Shop::open_with(settings).await;
    let first = keys(&shop).await;
    tokio::time::advance(Duration::from_secs(1_000 * 24 * 3_600)).await;
    tokio::time::sleep(Duration::from_secs(2 * 3_600)).await;
    assert_eq!(keys(&shop).await, first);
}

#[tokio::test(start_paused = true)]
async fn rotations_in_a_row_leave_one_key_signing_and_end_at_a_limit() {
    let shop = Shop::open().await;
    shop.register("mei@example.com").await;
    let mut last = String::new();
    for _ in 0..15 {
        last = rotate(&shop).await.unwrap().kid;
        let tokens = shop.login("mei@example.com").await.tokens;
        assert!(shop.is_active(&tokens).await);
        tokio::time::advance(SECOND / 3).await;
    }
    let refused = rotate(&shop).await.unwrap_err();
    assert_eq!((refused.kind.as_str(), refused.code.as_ref()), ("conflict", "too_many_keys"));
    assert_eq!(keys(&shop).await.iter().filter(|key| key.retired_at.is_none()).count(), 1);
    tokio::time::advance(2 * SECOND).await;
    assert_eq!(kid(&shop.login("mei@example.com").await.tokens), last);
    tokio::time::advance(Duration::from_secs(960)).await;
    rotate(&shop).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_service_does_not_start_with_a_key_that_is_none() {
    for (damage, said) in [
        ("UPDATE signing_keys SET secret = x''", "has 0 bytes, not 32"),
        ("UPDATE signing_keys SET secret = x'00ff'", "has 2 bytes, not 32"),
        ("UPDATE signing_keys SET secret = zeroblob(32)", "one byte over and over"),
    ] {
        let disk = MemoryDisk::new();
        let shop = Shop::open_with(settings(Storage::Memory(disk.clone()), &[])).await;
        let kid = keys(&shop).await[0].kid.clone();
        shop.tamper(damage).await;
        shop.mall.stop().await;
        let Err(refused) = Mall::start(settings(Storage::Memory(disk), &[])).await else { panic!("it started") };
        let refused = format!("{refused:#}");
        for part in ["identity", "signing_keys", &kid, said, "restore the row from a backup, or delete it"] {
            assert!(refused.contains(part), "{refused}");
        }
    }
}

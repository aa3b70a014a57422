//! Logging in and out, tokens and their renewal.

use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use mallard_db::MemoryDisk;
use mallard_proto::identity::v1::*;
use mallard_rpc::Call;
use mallard_runtime::{Clock, Storage};
use mallard_types::Result;
use serde_json::Value;

use crate::support::*;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

async fn logout(shop: &Shop, who: &Account, all_devices: bool) -> Result<()> {
    shop.call(&who.call, |mut c| async move { c.logout(LogoutRequest { all_devices }).await }).await
}

async fn sessions(shop: &Shop, who: &Account) -> Vec<Session> {
    shop.call(&who.call, |mut c| async move { c.list_sessions(ListSessionsRequest {}).await }).await.unwrap().sessions
}

async fn revoke(shop: &Shop, who: &Account, id: &str) -> Result<()> {
    let request = RevokeSessionRequest { id: id.to_owned() };
    shop.call(&who.call, |mut c| async move { c.revoke_session(request).await }).await
}

async fn jwks(shop: &Shop) -> JwkSet {
    let answer = shop.call(&Call::default(), |mut c| async move { c.get_keys(GetKeysRequest {}).await }).await.unwrap();
    serde_json::from_str(&answer.jwks_json).unwrap()
}

/// Verifies a token as an outsider would: with nothing but the published keys.
fn read_with(keys: &JwkSet, token: &str) -> Value {
    let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&["mallard"]);
    validation.set_issuer(&["mallard"]);
    validation.validate_exp = false;
    jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap().claims
}

#[tokio::test(start_paused = true)]
async fn a_token_says_who_it_is_and_the_published_keys_prove_it() {
    let shop = Shop::open().await;
    let admin = shop.admin("admin@mallard.local").await;
    shop.set_roles(&admin.call, &admin.user.id, &["admin", "seller"]).await.unwrap();
    let admin = shop.login("Admin@Mallard.Local").await;
    let claims = read_with(&jwks(&shop).await, &admin.tokens.access_token);
    assert_eq!(claims["sub"], admin.user.id);
    assert_eq!(claims["sid"], admin.call.caller.session_id);
    assert_eq!(claims["roles"], serde_json::json!(["admin", "seller"]));
    assert_eq!(claims["seller"], admin.user.seller_id);
    assert_eq!((&claims["lang"], &claims["iss"], &claims["aud"]), (&"en".into(), &"mallard".into(), &"mallard".into()));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 900);
    assert!(claims["jti"].as_str().is_some_and(|jti| !jti.is_empty()));
    let verified = shop.verify(&admin.tokens.access_token).await;
    assert_eq!((verified.user_id, verified.roles), (admin.id(), admin.user.roles));
    assert_eq!(verified.expires_at.unwrap().micros() / 1_000_000, claims["exp"].as_i64().unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_key_outlives_a_restart() {
    let disk = MemoryDisk::new();
    let shop = Shop::open_with(settings(Storage::Memory(disk.clone()), &[])).await;
    let mei = shop.register("mei@example.com").await;
    let before = jwks(&shop).await;
    shop.mall.stop().await;
    let shop = Shop::open_with(settings(Storage::Memory(disk), &[])).await;
    assert_eq!(jwks(&shop).await, before);
    assert_eq!(before.keys.len(), 1);
    assert!(shop.is_active(&mei.tokens).await);
}

#[tokio::test(start_paused = true)]
async fn a_key_made_by_another_instance_is_looked_up() {
    let disk = MemoryDisk::new();
    let shop = Shop::open_with(settings(Storage::Memory(disk.clone()), &[])).await;
    shop.tamper("UPDATE signing_keys SET retired_at = 1").await;
    let mut settings = settings(Storage::Memory(disk), &[]);
    settings.chance = mallard_runtime::Chance::seeded(8);
    let other = Shop::open_with(settings).await;
    let mei = other.register("mei@example.com").await;
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(shop.is_active(&mei.tokens).await);
}

#[tokio::test(start_paused = true)]
async fn a_forged_token_is_not_active() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    let token = mei.tokens.access_token.as_str();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let mut claims = read_with(&jwks(&shop).await, token);
    claims["roles"] = serde_json::json!(["admin"]);
    let mut tampered: Vec<&str> = token.split('.').collect();
    let payload = jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(b"x")).unwrap();
    tampered[1] = payload.split('.').nth(1).unwrap();
    // The classic confusion: the public key as an HMAC secret, under the right key id.
    let hmac_header = Header { kid: header.kid.clone(), ..Header::new(Algorithm::HS256) };
    let public = jwks(&shop).await.keys[0].clone();
    let public = serde_json::to_vec(&public).unwrap();
    let confused = jsonwebtoken::encode(&hmac_header, &claims, &EncodingKey::from_secret(&public)).unwrap();
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", tampered[1]);
    let half = &token[..token.len() / 2];
    for forged in ["", "x", "a.b.c", half, &tampered.join("."), &confused, &unsigned, &"x".repeat(100_000)] {
        assert_eq!(shop.verify(forged).await, VerifyResponse::default(), "{forged:.40}");
    }
    assert!(shop.is_active(&mei.tokens).await);
}

#[tokio::test(start_paused = true)]
async fn tokens_expire_by_the_malls_clock() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    tokio::time::advance(15 * MINUTE - Duration::from_secs(1)).await;
    assert!(shop.is_active(&mei.tokens).await);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!shop.is_active(&mei.tokens).await);

    tokio::time::advance(29 * DAY).await;
    let renewed = shop.refresh(&mei.tokens).await.unwrap();
    assert!(shop.is_active(&renewed).await);
    tokio::time::advance(30 * DAY).await;
    assert_eq!(code(shop.refresh(&renewed).await), "invalid_refresh_token");
}

#[tokio::test(start_paused = true)]
async fn every_failed_login_looks_the_same() {
    let shop = Shop::open().await;
    shop.register("mei@example.com").await;
    let gone = shop.register("gone@example.com").await;
    shop.delete_me(&gone).await.unwrap();
    let request = CreateUserRequest { email: "nopass@example.com".into(), ..Default::default() };
    shop.call(&system(), |mut c| async move { c.create_user(request).await }).await.unwrap();

    let wrong = shop.try_login("mei@example.com", "wrong horse battery").await.unwrap_err();
    assert_eq!(
        seen(&wrong),
        ("unauthenticated", "invalid_credentials", "the e-mail address or the password is wrong", None)
    );
    for (email, password) in [
        ("unknown@example.com", PASSWORD),
        ("gone@example.com", PASSWORD),
        ("nopass@example.com", PASSWORD),
        ("nopass@example.com", ""),
        ("not an address", PASSWORD),
        ("", ""),
    ] {
        assert_eq!(seen(&shop.try_login(email, password).await.unwrap_err()), seen(&wrong), "{email}");
    }
    shop.login("MEI@example.com").await;
}

#[tokio::test(start_paused = true)]
async fn a_renewal_replaces_the_pair_and_a_replay_ends_the_session() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    let other_device = shop.login("mei@example.com").await;
    let second = shop.refresh(&mei.tokens).await.unwrap();
    assert_ne!(second.refresh_token, mei.tokens.refresh_token);
    let third = shop.refresh(&second).await.unwrap();
    assert!(shop.is_active(&third).await);
    assert_eq!(shop.verify(&third.access_token).await.session_id, mei.call.caller.session_id);

    let replay = shop.refresh(&mei.tokens).await.unwrap_err();
    assert_eq!((replay.kind.as_str(), replay.code.as_ref()), ("unauthenticated", "refresh_token_reused"));
    assert!(!shop.is_active(&third).await, "the newest access token is dead too");
    assert_eq!(code(shop.refresh(&third).await), "invalid_refresh_token");
    assert_eq!(code(shop.refresh(&mei.tokens).await), "refresh_token_reused");
    assert!(shop.is_active(&other_device.tokens).await, "the other device is another family");
    assert_eq!(shop.revocations(0).await.len(), 1, "it ended once");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_refresh_token_is_refused_and_ends_nothing() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    for text in ["", "x", mei.tokens.access_token.as_str(), mei.call.caller.session_id.as_str()] {
        let guess = Tokens { refresh_token: text.to_owned(), ..Default::default() };
        assert_eq!(code(shop.refresh(&guess).await), "invalid_refresh_token");
    }
    assert!(shop.is_active(&mei.tokens).await);
    let stored = shop.db().query("SELECT hash FROM refresh_tokens", vec![]).await.unwrap();
    let hash: Vec<u8> = stored[0].get(0).unwrap();
    assert_eq!(hash.len(), 32);
    assert_ne!(hash, mei.tokens.refresh_token.as_bytes());
}

#[tokio::test(start_paused = true)]
async fn logging_out_ends_this_session_or_all() {
    let shop = Shop::open().await;
    let phone = shop.register("mei@example.com").await;
    let laptop = shop.login("mei@example.com").await;
    let eve = shop.register("eve@example.com").await;
    logout(&shop, &phone, false).await.unwrap();
    logout(&shop, &phone, false).await.unwrap();
    assert!(!shop.is_active(&phone.tokens).await && shop.is_active(&laptop.tokens).await);
    assert_eq!(code(shop.refresh(&phone.tokens).await), "invalid_refresh_token");
    let tablet = shop.login("mei@example.com").await;
    logout(&shop, &laptop, true).await.unwrap();
    assert!(!shop.is_active(&laptop.tokens).await && !shop.is_active(&tablet.tokens).await);
    assert!(shop.is_active(&eve.tokens).await);
    assert_eq!(code(logout(&shop, &Account { call: Call::default(), ..eve }, true).await), "unauthenticated");
}

#[tokio::test(start_paused = true)]
async fn revocations_are_numbered_without_gaps_and_last_as_long_as_a_token() {
    let shop = Shop::open().await;
    let mut ended = Vec::new();
    for i in 0..3 {
        let who = shop.register(&format!("user{i}@example.com")).await;
        ended.push(who.call.caller.session_id.clone());
        logout(&shop, &who, false).await.unwrap();
    }
    let list = shop.revocations(0).await;
    assert_eq!(list.iter().map(|r| r.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(list.iter().map(|r| r.session_id.clone()).collect::<Vec<_>>(), ended);
    assert_eq!(list[0].until.unwrap().micros(), LAST_TOKEN_ENDS);
    assert_eq!(shop.revocations(2).await, list[2..]);
    assert_eq!(shop.revocations(3).await, []);
}

#[tokio::test(start_paused = true)]
async fn people_see_and_end_their_own_sessions_only() {
    let shop = Shop::open().await;
    let phone = shop.register("mei@example.com").await;
    tokio::time::advance(MINUTE).await;
    let laptop = shop.login("mei@example.com").await;
    let eve = shop.register("eve@example.com").await;
    let mine = sessions(&shop, &laptop).await;
    let ids: Vec<_> = mine.iter().map(|session| (session.id.as_str(), session.current)).collect();
    assert_eq!(ids, [(laptop.call.caller.session_id.as_str(), true), (phone.call.caller.session_id.as_str(), false)]);

    let phones = &phone.call.caller.session_id;
    assert_eq!(code(revoke(&shop, &eve, phones).await), "session_not_found");
    assert_eq!(code(revoke(&shop, &eve, "sess_none").await), "session_not_found");
    assert!(shop.is_active(&phone.tokens).await);
    revoke(&shop, &laptop, phones).await.unwrap();
    revoke(&shop, &laptop, phones).await.unwrap();
    assert!(!shop.is_active(&phone.tokens).await);
    assert_eq!(sessions(&shop, &laptop).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_session_too_many_ends_the_oldest() {
    let mut settings = settings(Storage::Memory(MemoryDisk::new()), &[]);
    settings.config = settings.config.set("identity.sessions_per_user_max", 2);
    let shop = Shop::open_with(settings).await;
    let first = shop.register("mei@example.com").await;
    tokio::time::advance(MINUTE).await;
    let second = shop.login("mei@example.com").await;
    tokio::time::advance(MINUTE).await;
    let third = shop.login("mei@example.com").await;
    assert!(!shop.is_active(&first.tokens).await);
    assert!(shop.is_active(&second.tokens).await && shop.is_active(&third.tokens).await);
}

#[tokio::test(start_paused = true)]
async fn a_login_on_the_same_device_at_the_limit_costs_no_other_device_its_session() {
    let mut settings = settings(Storage::Memory(MemoryDisk::new()), &[]);
    settings.config = settings.config.set("identity.sessions_per_user_max", 2);
    let shop = Shop::open_with(settings).await;
    let nameless = shop.register("mei@example.com").await;
    let mut on = Vec::new();
    for device in ["phone", "laptop", "laptop"] {
        tokio::time::advance(MINUTE).await;
        on.push(shop.login_on("mei@example.com", device).await);
    }
    let [phone, replaced, laptop] = on.as_slice() else { panic!("three logins") };
    assert!(!shop.is_active(&nameless.tokens).await && !shop.is_active(&replaced.tokens).await);
    assert!(shop.is_active(&phone.tokens).await && shop.is_active(&laptop.tokens).await);
    assert_eq!(sessions(&shop, phone).await.len(), 2);
    // Another device does.
    tokio::time::advance(MINUTE).await;
    shop.login_on("mei@example.com", "tablet").await;
    assert!(!shop.is_active(&phone.tokens).await && shop.is_active(&laptop.tokens).await);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_idles_too_long_takes_no_place_from_one_that_is_used() {
    let mut settings = settings(Storage::Memory(MemoryDisk::new()), &[]);
    settings.config = settings.config.set("identity.sessions_per_user_max", 2).set("identity.session_idle_s", 86_400);
    let shop = Shop::open_with(settings).await;
    let used = shop.register("mei@example.com").await;
    tokio::time::advance(MINUTE).await;
    let idle = shop.login_on("mei@example.com", "laptop").await;
    tokio::time::advance(MINUTE).await;
    // Not swept yet.
    shop.tamper("UPDATE sessions SET last_used_at = 0 WHERE device = 'laptop'").await;
    let newest = shop.login("mei@example.com").await;
    assert!(!shop.is_active(&idle.tokens).await);
    assert!(shop.is_active(&used.tokens).await && shop.is_active(&newest.tokens).await);
}

#[tokio::test(start_paused = true)]
async fn a_lower_limit_holds_from_the_next_login() {
    let disk = MemoryDisk::new();
    let shop = Shop::open_with(settings(Storage::Memory(disk.clone()), &[])).await;
    shop.register("mei@example.com").await;
    for _ in 0..14 {
        tokio::time::advance(MINUTE).await;
        shop.login("mei@example.com").await;
    }
    shop.mall.stop().await;
    let mut settings = settings(Storage::Memory(disk), &[]);
    settings.config = settings.config.set("identity.sessions_per_user_max", 2);
    settings.clock = Clock::simulated(START + 3_600_000_000);
    let shop = Shop::open_with(settings).await;
    let newest = shop.login("mei@example.com").await;
    assert_eq!(sessions(&shop, &newest).await.len(), 2);
    assert_eq!(shop.revocations(0).await.len(), 14);
}

#[tokio::test(start_paused = true)]
async fn what_is_over_is_removed() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    logout(&shop, &mei, false).await.unwrap();
    let kept = shop.login("mei@example.com").await;
    tokio::time::advance(2 * DAY).await;
    let kept = shop.refresh(&kept.tokens).await.unwrap();
    tokio::time::advance(29 * DAY).await;
    // The sweep runs by itself within the hour; each sleep lets the paused clock go on.
    for _ in 0..3 {
        tokio::time::sleep(60 * MINUTE).await;
    }
    assert_eq!(shop.count("SELECT COUNT(*) FROM sessions").await, 1);
    assert_eq!(shop.count("SELECT COUNT(*) FROM revocations").await, 0);
    assert!(shop.is_active(&shop.refresh(&kept).await.unwrap()).await, "the living one is untouched");
    let next = shop.login("mei@example.com").await;
    logout(&shop, &next, false).await.unwrap();
    assert_eq!(shop.revocations(1).await.len(), 1, "numbers go on after a sweep");
}

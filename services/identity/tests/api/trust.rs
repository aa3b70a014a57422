//! The password asked for again, and changed.

use std::time::Duration;

use mallard_proto::identity::v1::*;
use mallard_types::Result;

use crate::support::*;

const MINUTE: Duration = Duration::from_secs(60);
const NEW: &str = "a new password";

async fn reauthenticate(shop: &Shop, who: &Account, password: &str) -> Result<ReauthenticateResponse> {
    let request = ReauthenticateRequest { password: password.to_owned() };
    shop.call(&who.call, |mut c| async move { c.reauthenticate(request).await }).await
}

async fn change_password(shop: &Shop, who: &Account, current: &str, new: &str) -> Result<()> {
    let request = ChangePasswordRequest { current_password: current.to_owned(), new_password: new.to_owned() };
    shop.call(&who.call, |mut c| async move { c.change_password(request).await }).await
}

fn auth_time(token: &str) -> i64 {
    claims(token)["auth_time"].as_i64().unwrap() - START / 1_000_000
}

#[tokio::test(start_paused = true)]
async fn a_token_says_when_the_password_was_given_and_a_renewal_does_not_move_it() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    assert_eq!(auth_time(&mei.tokens.access_token), 0);
    tokio::time::advance(10 * MINUTE).await;
    let renewed = shop.refresh(&mei.tokens).await.unwrap();
    assert_eq!(auth_time(&renewed.access_token), 0);
    assert_eq!(auth_time(&shop.login("mei@example.com").await.tokens.access_token), 600);

    let trusted = reauthenticate(&shop, &mei, PASSWORD).await.unwrap();
    assert_eq!(auth_time(&trusted.access_token), 600);
    assert_eq!((trusted.token_type.as_str(), trusted.expires_in), ("Bearer", 900));
    assert_eq!(trusted.trusted_until.unwrap().micros() / 1_000_000, START / 1_000_000 + 900);
    let verified = shop.verify(&trusted.access_token).await;
    assert_eq!((verified.active, verified.session_id), (true, mei.call.caller.session_id.clone()));
    assert!(shop.is_active(&renewed).await, "the old token stays good for everything else");
    tokio::time::advance(MINUTE).await;
    assert_eq!(auth_time(&shop.refresh(&renewed).await.unwrap().access_token), 600, "the session remembers");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_prove_it_or_whose_session_has_ended_is_not_trusted() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    let wrong = reauthenticate(&shop, &mei, "wrong horse battery").await.unwrap_err();
    assert_eq!((wrong.kind.as_str(), wrong.code.as_ref()), ("unauthenticated", "invalid_credentials"));
    let nobody = Account { call: mallard_rpc::Call::default(), ..mei.clone() };
    assert_eq!(code(reauthenticate(&shop, &nobody, PASSWORD).await), "unauthenticated");

    let eve = shop.register("eve@example.com").await;
    let mut mixed = mei.clone();
    mixed.call.caller.session_id = eve.call.caller.session_id.clone();
    let refused = reauthenticate(&shop, &mixed, PASSWORD).await.unwrap_err();
    assert_eq!((refused.kind.as_str(), refused.code.as_ref()), ("unauthenticated", "session_revoked"));

    shop.ban(&system(), &mei.user.id, "all", None).await.unwrap();
    assert_eq!(code(reauthenticate(&shop, &mei, PASSWORD).await), "account_banned");
    shop.unban(&system(), &mei.user.id).await.unwrap();
    shop.call(&mei.call, |mut c| async move { c.logout(LogoutRequest::default()).await }).await.unwrap();
    assert_eq!(code(reauthenticate(&shop, &mei, PASSWORD).await), "session_revoked");
}

#[tokio::test(start_paused = true)]
async fn a_new_password_ends_every_other_session() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    let thief = shop.login("mei@example.com").await;
    for (current, new, code_of) in [
        ("wrong horse battery", NEW, "invalid_credentials"),
        (PASSWORD, "short", "password_too_short"),
        (PASSWORD, "MEI@example.com", "password_is_email"),
    ] {
        assert_eq!(code(change_password(&shop, &mei, current, new).await), code_of);
    }
    assert!(shop.is_active(&thief.tokens).await);
    change_password(&shop, &mei, PASSWORD, NEW).await.unwrap();
    assert!(shop.is_active(&mei.tokens).await && !shop.is_active(&thief.tokens).await);
    assert_eq!(code(shop.refresh(&thief.tokens).await), "invalid_refresh_token");
    assert!(shop.is_active(&shop.refresh(&mei.tokens).await.unwrap()).await);
    assert_eq!(code(shop.try_login("mei@example.com", PASSWORD).await), "invalid_credentials");
    shop.try_login("mei@example.com", NEW).await.unwrap();
    assert_eq!(code(change_password(&shop, &mei, PASSWORD, NEW).await), "invalid_credentials", "it has happened");
    assert_eq!(shop.broken_books().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn guesses_in_a_session_are_counted_for_it_at_both_places_and_for_nobody_else() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    let other = shop.login("mei@example.com").await;
    for _ in 0..5 {
        assert_eq!(code(reauthenticate(&shop, &mei, "wrong horse battery").await), "invalid_credentials");
        assert_eq!(code(change_password(&shop, &mei, "wrong horse battery", NEW).await), "invalid_credentials");
    }
    assert_eq!(code(reauthenticate(&shop, &mei, PASSWORD).await), "too_many_attempts");
    assert_eq!(code(change_password(&shop, &mei, PASSWORD, NEW).await), "too_many_attempts");
    reauthenticate(&shop, &other, PASSWORD).await.unwrap();
    shop.try_login("mei@example.com", PASSWORD).await.unwrap();
    tokio::time::advance(15 * MINUTE).await;
    reauthenticate(&shop, &mei, PASSWORD).await.unwrap();
}

//! Registering, the profile, deletion, accounts made by the mall.

use mallard_proto::identity::v1::*;
use mallard_rpc::Call;
use mallard_types::Result;

use crate::support::*;

async fn update_me(shop: &Shop, who: &Account, name: &str, if_version: Option<i64>) -> Result<User> {
    let request = UpdateMeRequest { name: Some(name.to_owned()), language: None, if_version };
    Ok(shop.call(&who.call, |mut c| async move { c.update_me(request).await }).await?.user.unwrap())
}

async fn create_user(shop: &Shop, by: &Call, request: CreateUserRequest) -> Result<CreateUserResponse> {
    shop.call(by, |mut c| async move { c.create_user(request).await }).await
}

#[tokio::test(start_paused = true)]
async fn registering_signs_in_and_keeps_a_slow_salted_hash() {
    let shop = Shop::open().await;
    let mei = shop.register("  Mei@Example.COM ").await;
    assert!(mallard_types::id::is("usr", &mei.user.id), "{}", mei.user.id);
    assert_eq!(mei.user.email, "mei@example.com");
    assert_eq!((mei.user.name.as_str(), mei.user.language.as_str()), ("Mei Lin", "zh-CN"));
    assert_eq!((mei.user.roles.as_slice(), mei.user.status()), (&["user".to_owned()][..], UserStatus::Active));
    assert_eq!((mei.tokens.token_type.as_str(), mei.tokens.expires_in), ("Bearer", 900));
    assert_eq!(shop.me(&mei).await.unwrap(), mei.user);

    shop.register("twin@example.com").await;
    let rows = shop.db().query("SELECT password_hash FROM users ORDER BY email", vec![]).await.unwrap();
    let hashes: Vec<String> = rows.iter().map(|row| row.get(0).unwrap()).collect();
    assert!(hashes.iter().all(|hash| hash.starts_with("$argon2id$")), "{hashes:?}");
    assert_ne!(hashes[0], hashes[1], "one password, two salts");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_confirmation_makes_no_account() {
    let shop = Shop::open().await;
    let error = shop.try_register("mei@example.com", PASSWORD, Some("another password")).await.unwrap_err();
    assert_eq!((error.kind.as_str(), error.code.as_ref()), ("invalid", "password_mismatch"));
    assert_eq!(error.param.as_deref(), Some("password_confirmation"));
    assert_eq!(shop.count("SELECT COUNT(*) FROM users").await, 0);
    shop.try_register("mei@example.com", PASSWORD, Some(PASSWORD)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_field_is_said_of_that_field() {
    let shop = Shop::open().await;
    let long = "x".repeat(129);
    for (email, password, code, param) in [
        ("", PASSWORD, "invalid_email", "email"),
        ("mei", PASSWORD, "invalid_email", "email"),
        ("mei@example", PASSWORD, "invalid_email", "email"),
        ("mei@example.com", "", "password_too_short", "password"),
        ("mei@example.com", "1234567", "password_too_short", "password"),
        ("mei@example.com", &long, "password_too_long", "password"),
        ("mei@example.com", "MEI@example.com", "password_is_email", "password"),
    ] {
        let error = shop.try_register(email, password, None).await.unwrap_err();
        assert_eq!(seen(&error).0, "invalid", "{error}");
        assert_eq!((error.code.as_ref(), error.param.as_deref()), (code, Some(param)));
    }
    assert_eq!(shop.count("SELECT COUNT(*) FROM users").await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_email_in_another_letter_case_is_taken() {
    let shop = Shop::open().await;
    shop.register("mei@example.com").await;
    let error = shop.try_register("MEI@Example.com", PASSWORD, None).await.unwrap_err();
    assert_eq!(seen(&error), ("conflict", "email_taken", seen(&error).2, Some("email")));
    assert_eq!(shop.count("SELECT COUNT(*) FROM users").await, 1);
    assert_eq!(shop.count("SELECT COUNT(*) FROM sessions").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_profile_changes_only_over_the_version_that_was_read() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    let changed = update_me(&shop, &mei, "Mei Chen", Some(mei.user.version)).await.unwrap();
    assert_eq!((changed.name.as_str(), changed.language.as_str(), changed.version), ("Mei Chen", "zh-CN", 2));
    let error = update_me(&shop, &mei, "Mei Wang", Some(mei.user.version)).await.unwrap_err();
    assert_eq!((error.kind.as_str(), error.code.as_ref()), ("precondition", "version_mismatch"));
    assert_eq!(update_me(&shop, &mei, "Mei Wang", None).await.unwrap().version, 3);
    assert_eq!(update_me(&shop, &mei, "Mei Wang", None).await.unwrap().version, 3, "the same again is no change");
    assert_eq!(code(update_me(&shop, &mei, &"x".repeat(101), None).await), "too_long");
    assert_eq!(shop.me(&mei).await.unwrap().name, "Mei Wang");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_nobodys_user() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    for call in [Call::default(), system()] {
        let stranger = Account { call, ..mei.clone() };
        assert_eq!(code(shop.me(&stranger).await), "unauthenticated");
        assert_eq!(code(update_me(&shop, &stranger, "x", None).await), "unauthenticated");
        assert_eq!(code(shop.delete_me(&stranger).await), "unauthenticated");
        assert_eq!(code(shop.addresses(&stranger, 0, "").await), "unauthenticated");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_user_leaves_nothing_personal_and_cannot_sign_in() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    let address = CreateAddressRequest {
        name: "Mei Lin".into(),
        country: "CN".into(),
        street: "Long Lane 1".into(),
        ..Default::default()
    };
    shop.create_address(&mei, address).await.unwrap();

    shop.delete_me(&mei).await.unwrap();
    shop.delete_me(&mei).await.unwrap();

    assert!(!shop.is_active(&mei.tokens).await);
    assert_eq!(code(shop.refresh(&mei.tokens).await), "invalid_refresh_token");
    assert_eq!(code(shop.try_login("mei@example.com", PASSWORD).await), "invalid_credentials");
    assert_eq!(code(shop.me(&mei).await), "user_not_found");
    assert_eq!(shop.count("SELECT COUNT(*) FROM addresses").await, 0);
    let request = AdminGetUserRequest { id: mei.id() };
    let left =
        shop.call(&system(), |mut c| async move { c.admin_get_user(request).await }).await.unwrap().user.unwrap();
    assert_eq!((left.email.as_str(), left.name.as_str(), left.status()), ("", "", UserStatus::Deleted));
    assert_eq!(shop.count("SELECT COUNT(*) FROM users WHERE password_hash IS NOT NULL").await, 0);

    let again = shop.register("mei@example.com").await;
    assert_ne!(again.user.id, mei.user.id, "the address is free, the old account is not back");
    assert_eq!(shop.broken_books().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_account_made_by_the_mall_is_made_once() {
    let shop = Shop::open().await;
    let request =
        CreateUserRequest { email: "Sam@Example.com".into(), roles: vec!["seller".into()], ..Default::default() };
    let first = create_user(&shop, &system(), request.clone()).await.unwrap();
    let second =
        create_user(&shop, &system(), CreateUserRequest { roles: vec!["admin".into()], ..request }).await.unwrap();
    assert!(first.created && !second.created);
    assert_eq!(first.user, second.user);
    let sam = first.user.unwrap();
    assert!(mallard_types::id::is("sel", &sam.seller_id), "a seller has a seller id: {}", sam.seller_id);
    for password in ["", PASSWORD] {
        assert_eq!(code(shop.try_login("sam@example.com", password).await), "invalid_credentials");
    }
}

#[tokio::test(start_paused = true)]
async fn an_imported_seller_keeps_its_seller_id() {
    let shop = Shop::open().await;
    let request = CreateUserRequest {
        email: "sam@example.com".into(),
        password: PASSWORD.into(),
        roles: vec!["user".into(), "seller".into()],
        seller_id: "sel_7".into(),
        ..Default::default()
    };
    assert_eq!(create_user(&shop, &system(), request).await.unwrap().user.unwrap().seller_id, "sel_7");
    let sam = shop.login("sam@example.com").await;
    assert_eq!(sam.call.caller.seller_id, "sel_7");
}

#[tokio::test(start_paused = true)]
async fn only_operators_and_the_mall_make_accounts() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    let request =
        || CreateUserRequest { email: "eve@example.com".into(), roles: vec!["admin".into()], ..Default::default() };
    for call in [&Call::default(), &mei.call] {
        assert_eq!(code(create_user(&shop, call, request()).await), "admin_only");
    }
    let admin = shop.admin("admin@mallard.local").await;
    assert!(create_user(&shop, &admin.call, request()).await.unwrap().created);
    let bad = CreateUserRequest { email: "bad@example.com".into(), roles: vec!["root".into()], ..Default::default() };
    assert_eq!(code(create_user(&shop, &admin.call, bad).await), "unknown_role");
}

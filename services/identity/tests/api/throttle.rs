//! How often a password may be tried.

use std::time::Duration;

use mallard_db::{MemoryDisk, params};
use mallard_proto::identity::v1::{ChangePasswordRequest, ReauthenticateRequest};
use mallard_rpc::Call;
use mallard_runtime::Storage;
use mallard_types::Error;

use crate::support::*;

const WRONG: &str = "wrong horse battery";
const WINDOW: Duration = Duration::from_secs(900);

async fn fail(shop: &Shop, from: &Call, email: &str) -> Error {
    shop.try_login_from(from, email, WRONG, "").await.unwrap_err()
}

async fn limited(keys: &[(&'static str, i64)]) -> Shop {
    let mut settings = settings(Storage::Memory(MemoryDisk::new()), &[]);
    for (key, value) in keys {
        settings.config = settings.config.set(key, *value);
    }
    Shop::open_with(settings).await
}

#[tokio::test(start_paused = true)]
async fn ten_wrong_passwords_are_enough_for_a_known_and_an_unknown_account_alike() {
    let shop = limited(&[("identity.login_failures_max", 10)]).await;
    shop.register("mei@example.com").await;
    for email in ["mei@example.com", "nobody@example.com", "no address"] {
        let home = from("203.0.113.7");
        for _ in 0..10 {
            assert_eq!(fail(&shop, &home, email).await.code, "invalid_credentials", "{email}");
        }
        let refused = fail(&shop, &home, email).await;
        let message = "too many wrong passwords; wait before you try again";
        assert_eq!(seen(&refused), ("too_many", "too_many_attempts", message, None), "{email}");
        assert_eq!(refused.retry_after_ms, Some(900_000), "{email}");
    }
    let right = shop.try_login_from(&from("203.0.113.7"), "mei@example.com", PASSWORD, "").await;
    assert_eq!(code(right), "too_many_attempts", "a right password does not come through either");
    shop.try_login_from(&from("203.0.113.8"), "mei@example.com", PASSWORD, "").await.unwrap();
    tokio::time::advance(WINDOW - Duration::from_secs(1)).await;
    assert_eq!(fail(&shop, &from("203.0.113.7"), "MEI@example.com").await.retry_after_ms, Some(1_000));
    tokio::time::advance(Duration::from_secs(1)).await;
    shop.try_login_from(&from("203.0.113.7"), "mei@example.com", PASSWORD, "").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_success_forgets_the_failures_of_its_account_and_address() {
    let shop = limited(&[("identity.login_failures_max", 10)]).await;
    shop.register("mei@example.com").await;
    let home = from("203.0.113.7");
    for _ in 0..3 {
        for _ in 0..9 {
            assert_eq!(fail(&shop, &home, "mei@example.com").await.code, "invalid_credentials");
        }
        shop.try_login_from(&home, "mei@example.com", PASSWORD, "").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_is_guarded_against_guesses_from_everywhere() {
    let shop = limited(&[("identity.login_account_failures_max", 20)]).await;
    shop.register("mei@example.com").await;
    for i in 0..20 {
        assert_eq!(fail(&shop, &from(&format!("203.0.113.{i}")), "mei@example.com").await.code, "invalid_credentials");
    }
    let elsewhere = from("198.51.100.1");
    assert_eq!(fail(&shop, &elsewhere, "mei@example.com").await.code, "too_many_attempts");
    assert_eq!(fail(&shop, &elsewhere, "eve@example.com").await.code, "invalid_credentials", "others go on");
}

#[tokio::test(start_paused = true)]
async fn strangers_who_guess_do_not_keep_an_account_out_of_its_home() {
    let shop = limited(&[("identity.login_account_failures_max", 20)]).await;
    let mei = shop.register("mei@example.com").await;
    let home = from("2001:db8:0:1::7");
    shop.try_login_from(&home, "mei@example.com", PASSWORD, "").await.unwrap();
    for email in ["mei@example.com", "nobody@example.com"] {
        for i in 0..20 {
            let attacker = from(&format!("203.0.113.{}", i % 2));
            assert_eq!(fail(&shop, &attacker, email).await.code, "invalid_credentials", "{email}");
        }
        for address in ["203.0.113.1", "198.51.100.1", ""] {
            let refused = fail(&shop, &from(address), email).await;
            assert_eq!(refused.code, "too_many_attempts", "{email} from {address:?}");
            assert_eq!(refused.retry_after_ms, Some(900_000), "{email} from {address:?}");
        }
    }
    let neighbour = from("2001:db8:0:1::8");
    assert_eq!(fail(&shop, &neighbour, "mei@example.com").await.code, "invalid_credentials");
    shop.try_login_from(&neighbour, "mei@example.com", PASSWORD, "").await.unwrap();
    // Who is signed in is not kept from proving it, wherever it is.
    let mut abroad = mei.clone();
    abroad.call.origin = from("203.0.113.1").origin;
    let again = ReauthenticateRequest { password: PASSWORD.to_owned() };
    shop.call(&abroad.call, |mut c| async move { c.reauthenticate(again).await }).await.unwrap();
    let change =
        ChangePasswordRequest { current_password: PASSWORD.to_owned(), new_password: "a new password".to_owned() };
    shop.call(&abroad.call, |mut c| async move { c.change_password(change).await }).await.unwrap();
    // At home, too, guesses are counted.
    for _ in 0..10 {
        assert_eq!(fail(&shop, &home, "mei@example.com").await.code, "invalid_credentials");
    }
    assert_eq!(fail(&shop, &home, "mei@example.com").await.code, "too_many_attempts");
}

#[tokio::test(start_paused = true)]
async fn a_home_that_an_account_has_long_left_is_like_anywhere_else() {
    let shop = limited(&[("identity.login_account_failures_max", 10), ("identity.refresh_token_ttl_s", 60)]).await;
    shop.register("mei@example.com").await;
    let home = from("203.0.113.7");
    shop.try_login_from(&home, "mei@example.com", PASSWORD, "").await.unwrap();
    for _ in 0..10 {
        fail(&shop, &from("198.51.100.1"), "mei@example.com").await;
    }
    assert_eq!(fail(&shop, &home, "mei@example.com").await.code, "invalid_credentials");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(fail(&shop, &home, "mei@example.com").await.code, "too_many_attempts");
}

#[tokio::test(start_paused = true)]
async fn the_addresses_of_one_ipv6_network_are_one() {
    let shop = Shop::open().await;
    shop.register("mei@example.com").await;
    for i in 0..10 {
        assert_eq!(
            fail(&shop, &from(&format!("2001:db8::{i}:1")), "mei@example.com").await.code,
            "invalid_credentials"
        );
    }
    assert_eq!(fail(&shop, &from("2001:db8::ffff"), "mei@example.com").await.code, "too_many_attempts");
    assert_eq!(fail(&shop, &from("2001:db8:0:1::1"), "mei@example.com").await.code, "invalid_credentials");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_tries_account_after_account_is_stopped() {
    let shop = limited(&[("identity.login_address_failures_max", 20)]).await;
    shop.register("mei@example.com").await;
    for i in 0..20 {
        assert_eq!(fail(&shop, &from("203.0.113.7"), &format!("u{i}@example.com")).await.code, "invalid_credentials");
        // Nobody's address is no address.
        assert_eq!(fail(&shop, &Call::default(), &format!("u{i}@example.com")).await.code, "invalid_credentials");
    }
    assert_eq!(fail(&shop, &from("203.0.113.7"), "mei@example.com").await.code, "too_many_attempts");
    shop.try_login_from(&from("203.0.113.8"), "mei@example.com", PASSWORD, "").await.unwrap();
    shop.login("mei@example.com").await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_zero_is_off() {
    let shop = limited(&[("identity.login_failures_max", 0)]).await;
    shop.register("mei@example.com").await;
    for _ in 0..30 {
        assert_eq!(fail(&shop, &from("203.0.113.7"), "mei@example.com").await.code, "invalid_credentials");
    }
    shop.try_login_from(&from("203.0.113.7"), "mei@example.com", PASSWORD, "").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_counted_names_nobody_and_is_forgotten() {
    let shop = Shop::open().await;
    for i in 0..5 {
        fail(&shop, &from("203.0.113.7"), &format!("mei{i}@example.com")).await;
    }
    let rows = shop.db().query("SELECT key FROM login_attempts", params![]).await.unwrap();
    assert_eq!(rows.len(), 11, "five accounts, each with the address, and the address");
    for row in rows {
        let key: Vec<u8> = row.get(0).unwrap();
        assert_eq!(key.len(), 32);
        let text = String::from_utf8_lossy(&key);
        assert!(!text.contains("mei") && !text.contains("203.0"), "{text}");
    }
    // The sweep runs by itself within the hour.
    tokio::time::sleep(Duration::from_secs(3_601)).await;
    assert_eq!(shop.count("SELECT COUNT(*) FROM login_attempts").await, 0);
}

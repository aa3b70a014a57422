//! The checks notice what they are there for, and the log holds nothing secret.

use std::io;
use std::sync::Arc;

use mallard_db::MemoryDisk;
use mallard_runtime::Storage;
use parking_lot::Mutex;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn the_books_of_a_busy_shop_balance() {
    let shop = Shop::open().await;
    assert_eq!(shop.broken_books().await, [""; 0]);
    // More than one page of either check.
    for i in 0..600 {
        shop.register(&format!("user{i}@example.com")).await;
    }
    assert_eq!(shop.broken_books().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_email_that_two_accounts_share_is_noticed() {
    let shop = Shop::open().await;
    shop.register("mei@example.com").await;
    tokio::time::advance(std::time::Duration::from_millis(1)).await;
    let twin = shop.register("twin@example.com").await;
    shop.tamper("DROP INDEX users_email").await;
    shop.tamper("UPDATE users SET email = 'mei@example.com' WHERE email = 'twin@example.com'").await;
    let broken = shop.broken_books().await;
    assert_eq!(broken, [format!("identity.email_unique: 1 of 2 accounts: {}", twin.user.id)]);
}

#[tokio::test(start_paused = true)]
async fn an_email_in_another_form_is_noticed() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    shop.tamper("UPDATE users SET email = 'Mei@example.com'").await;
    assert_eq!(shop.broken_books().await, [format!("identity.email_unique: 1 of 1 accounts: {}", mei.user.id)]);
}

#[tokio::test(start_paused = true)]
async fn a_session_of_nobody_is_noticed() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    shop.tamper("DELETE FROM users").await;
    let expected = format!("identity.sessions_belong_to_users: 1 of 1 sessions: {}", mei.call.caller.session_id);
    assert_eq!(shop.broken_books().await, [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_forgets_the_sessions_is_noticed() {
    let mut settings = settings(Storage::Memory(MemoryDisk::new()), &[]);
    settings.switches.insert("identity.deletion_keeps_sessions".to_owned());
    let shop = Shop::open_with(settings).await;
    let mei = shop.register("mei@example.com").await;
    shop.delete_me(&mei).await.unwrap();
    let expected = format!("identity.sessions_belong_to_users: 1 of 1 sessions: {}", mei.call.caller.session_id);
    assert_eq!(shop.broken_books().await, [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_not_there_is_noticed() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    shop.put_role(&system(), "support", &[]).await.unwrap();
    shop.set_roles(&system(), &mei.user.id, &["support@sel_1"]).await.unwrap();
    assert_eq!(shop.broken_books().await, [""; 0]);
    shop.tamper("DELETE FROM roles WHERE name = 'support'").await;
    assert_eq!(shop.broken_books().await, [format!("identity.roles_exist: 1 of 1 accounts: {}", mei.user.id)]);
}

/// The table of statements in README.md.
#[tokio::test(start_paused = true)]
async fn use_cases_cost_what_the_readme_says() {
    let shop = Shop::open().await;
    // What a start does beside answering is over.
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    let db = shop.db();
    let count = std::sync::atomic::AtomicU64::new(db.statements());
    let cost = |_: &str| {
        let now = db.statements();
        now - count.swap(now, std::sync::atomic::Ordering::Relaxed)
    };
    let mei = shop.try_register("mei@example.com", PASSWORD, None).await.unwrap();
    let tokens = mei.tokens.unwrap();
    let id = mei.user.unwrap().id;
    assert_eq!(cost("register"), 3);
    let home = from("203.0.113.7");
    shop.try_login_from(&home, "mei@example.com", PASSWORD, "").await.unwrap();
    assert_eq!(cost("login"), 8);
    shop.try_login_from(&home, "mei@example.com", PASSWORD, "phone").await.unwrap();
    assert_eq!(cost("login on a device"), 9);
    shop.try_login_from(&home, "mei@example.com", "wrong horse battery", "").await.unwrap_err();
    assert_eq!(cost("wrong password"), 9);
    shop.try_login_from(&home, "mei@example.com", PASSWORD, "").await.unwrap();
    assert_eq!(cost("login after a wrong password"), 9);
    let tokens = shop.refresh(&tokens).await.unwrap();
    assert_eq!(cost("refresh"), 5);
    shop.is_active(&tokens).await;
    assert_eq!(cost("verify"), 2);
    shop.ban(&system(), &id, "buy", None).await.unwrap();
    assert_eq!(cost("ban"), 10);
    shop.unban(&system(), &id).await.unwrap();
    assert_eq!(cost("unban"), 10);
    shop.standings(0).await;
    assert_eq!(cost("standings"), 1);
    shop.access(1).await;
    assert_eq!(cost("access that is known"), 1);
}

#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<u8>>>);

impl io::Write for Capture {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn no_log_line_holds_a_password_a_token_or_an_email() {
    let log = Capture::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let shop = Shop::open().await;
    let mei = shop.register("mei.secret@example.com").await;
    shop.try_register("mei.secret@example.com", PASSWORD, Some("hunter22")).await.unwrap_err();
    shop.try_register("Mei.Secret@example.com", PASSWORD, None).await.unwrap_err();
    shop.try_login("mei.secret@example.com", "wrong horse battery").await.unwrap_err();
    let mei = shop.login(&mei.user.email).await;
    let next = shop.refresh(&mei.tokens).await.unwrap();
    shop.refresh(&mei.tokens).await.unwrap_err();
    shop.delete_me(&mei).await.unwrap();

    let log = String::from_utf8(log.0.lock().clone()).unwrap();
    assert!(log.contains("refresh token used twice"), "the capture works: {log}");
    let secrets = [PASSWORD, "hunter22", "horse", "mei.secret", "argon2id", "$v=19"];
    let tokens = [&mei.tokens.access_token, &mei.tokens.refresh_token, &next.access_token, &next.refresh_token];
    for secret in secrets.into_iter().chain(tokens.into_iter().map(String::as_str)) {
        assert!(!log.to_lowercase().contains(&secret.to_lowercase()), "{secret} is in the log");
    }
}

//! Many at once, on every store that is there: in memory, SQLite files, PostgreSQL where it is installed.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use mallard_db::MemoryDisk;
use mallard_proto::identity::v1::*;
use mallard_runtime::Storage;
use mallard_testkit::pgtest::PgServer;
use mallard_types::Result;
use tokio::task::JoinSet;

use crate::support::*;

/// How often a race is run again that a busy database has spoilt.
const ROUNDS_MAX: usize = 10;

/// Opens a shop on each store and runs a race in it; the books must balance after each.
pub async fn on_every_store<Fut: Future<Output = ()>>(race: impl Fn(Arc<Shop>) -> Fut) {
    let folder = tempfile::tempdir().unwrap();
    for store in [Storage::Memory(MemoryDisk::new()), Storage::Folder(folder.path().to_owned())] {
        run(Arc::new(Shop::open_with(settings(store, &[])).await), &race).await;
    }
    let Some(server) = PgServer::shared() else { return };
    for round in 1.. {
        let store = Storage::Postgres { url: server.fresh_url().await, pool_max: 16 };
        let shop = Arc::new(Shop::open_with(settings(store, &[])).await);
        match AssertUnwindSafe(run(shop.clone(), &race)).catch_unwind().await {
            Ok(()) => return,
            // A caller was turned away because the machine stood still: this says nothing about who wins.
            Err(_) if shop.was_crowded() && round < ROUNDS_MAX => {}
            Err(panic) => resume_unwind(panic),
        }
    }
}

async fn run<Fut: Future<Output = ()>>(shop: Arc<Shop>, race: impl Fn(Arc<Shop>) -> Fut) {
    race(shop.clone()).await;
    assert_eq!(shop.broken_books().await, [""; 0]);
}

/// Runs tasks at once and returns their results.
pub async fn at_once<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    tasks.into_iter().collect::<JoinSet<T>>().join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_registrations_of_one_email_make_one_user() {
    on_every_store(|shop| async move {
        let in_some_case = |i: usize| -> String {
            let upper = |j: usize| (i >> (j % 5)) & 1 == 1;
            "mei.lin@example.com"
                .chars()
                .enumerate()
                .map(|(j, c)| if upper(j) { c.to_ascii_uppercase() } else { c })
                .collect()
        };
        let results = at_once((0..20).map(|i| {
            let (shop, email) = (shop.clone(), in_some_case(i));
            async move { shop.try_register(&email, PASSWORD, None).await }
        }))
        .await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        for error in results.into_iter().filter_map(Result::err) {
            assert_eq!(error.code, "email_taken");
        }
        assert_eq!(shop.count("SELECT COUNT(*) FROM users").await, 1);
        assert_eq!(shop.count("SELECT COUNT(*) FROM sessions").await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_makings_of_one_account_make_one_user() {
    on_every_store(|shop| async move {
        let results = at_once((0..10).map(|_| {
            let shop = shop.clone();
            let request = CreateUserRequest { email: "sam@example.com".into(), ..Default::default() };
            async move { shop.call(&system(), |mut c| async move { c.create_user(request).await }).await.unwrap() }
        }))
        .await;
        assert_eq!(results.iter().filter(|result| result.created).count(), 1);
        let users: BTreeSet<_> = results.into_iter().map(|result| result.user.unwrap().id).collect();
        assert_eq!(users.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_renewals_with_one_token_exactly_one_wins() {
    on_every_store(|shop| async move {
        for round in 0..10 {
            let mei = shop.register(&format!("mei{round}@example.com")).await;
            let results = at_once((0..2).map(|_| {
                let (shop, tokens) = (shop.clone(), mei.tokens.clone());
                async move { shop.refresh(&tokens).await }
            }))
            .await;
            assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
            assert_eq!(code(results.into_iter().find(Result::is_err).unwrap()), "refresh_token_reused");
            assert!(!shop.is_active(&mei.tokens).await, "one of the two is a thief");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_login_at_the_moment_of_a_ban_leaves_no_session_that_is_good_for_anything() {
    on_every_store(|shop| async move {
        for round in 0..10 {
            let mei = shop.register(&format!("mei{round}@example.com")).await;
            let banning = {
                let (shop, id) = (shop.clone(), mei.id());
                tokio::spawn(async move { shop.ban(&system(), &id, "all", None).await })
            };
            let logins = at_once((0..4).map(|_| {
                let (shop, email) = (shop.clone(), mei.user.email.clone());
                async move { shop.try_login(&email, PASSWORD).await }
            }))
            .await;
            banning.await.unwrap().unwrap();
            for tokens in logins.into_iter().filter_map(|login| login.ok()?.tokens) {
                assert!(!shop.is_active(&tokens).await);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn operators_who_depose_each_other_leave_one() {
    on_every_store(|shop| async move {
        let mut ids = Vec::new();
        for i in 0..4 {
            ids.push(shop.admin(&format!("admin{i}@mallard.local")).await.id());
        }
        for _ in 0..10 {
            let results = at_once(ids.clone().into_iter().map(|id| {
                let shop = shop.clone();
                async move { shop.set_roles(&system(), &id, &["user"]).await }
            }))
            .await;
            assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3, "{results:?}");
            assert_eq!(code(results.into_iter().find(Result::is_err).unwrap()), "last_admin");
            for id in &ids {
                shop.set_roles(&system(), id, &["admin"]).await.unwrap();
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_addresses_at_once_fill_the_book_with_fifty_and_one_default() {
    on_every_store(|shop| async move {
        let mei = shop.register("mei@example.com").await;
        let results = at_once((0..60).map(|_| {
            let (shop, mei) = (shop.clone(), mei.clone());
            let request = CreateAddressRequest {
                name: "Mei Lin".into(),
                country: "CN".into(),
                street: "Long Lane 1".into(),
                is_default: true,
                ..Default::default()
            };
            async move { shop.create_address(&mei, request).await }
        }))
        .await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 50);
        let all = shop.addresses(&mei, 100, "").await.unwrap().addresses;
        assert_eq!((all.len(), all.iter().filter(|address| address.is_default).count()), (50, 1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_of_revocations_misses_none() {
    on_every_store(|shop| async move {
        let mut people = Vec::new();
        for i in 0..30 {
            people.push(shop.register(&format!("user{i}@example.com")).await);
        }
        // A set, so that the reading ends with the test whatever becomes of it.
        let mut reading = JoinSet::new();
        let reader = shop.clone();
        reading.spawn(async move {
            let mut seen: Vec<Revocation> = Vec::new();
            while seen.len() < 30 {
                let after = seen.last().map_or(0, |last| last.seq);
                seen.extend(reader.revocations(after).await);
                tokio::task::yield_now().await;
            }
            seen
        });
        let ids: BTreeSet<_> = people.iter().map(|who| who.call.caller.session_id.clone()).collect();
        at_once(people.into_iter().map(|who| {
            let shop = shop.clone();
            async move {
                shop.call(&who.call, |mut c| async move { c.logout(LogoutRequest::default()).await }).await.unwrap()
            }
        }))
        .await;
        let limit = std::time::Duration::from_secs(120);
        let seen = tokio::time::timeout(limit, reading.join_all()).await.expect("a revocation was missed").remove(0);
        assert!(seen.is_sorted_by_key(|revocation| revocation.seq));
        assert_eq!(seen.into_iter().map(|revocation| revocation.session_id).collect::<BTreeSet<_>>(), ids);
    })
    .await;
}

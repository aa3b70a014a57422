//! What others hear of this service.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use mallard_bus::{Envelope, Handler, Subscription};
use mallard_db::MemoryDisk;
use mallard_proto::identity::v1::*;
use mallard_runtime::{Context, Parts, ServiceSpec, Storage};
use parking_lot::Mutex;

use crate::support::*;

const KINDS: &[&str] = &[
    "user.registered.v1",
    "user.deleted.v1",
    "user.session_revoked.v1",
    "user.standing_changed.v1",
    "policy.changed.v1",
];

static HEARD: LazyLock<Arc<Listener>> = LazyLock::new(Arc::default);

#[derive(Default)]
struct Listener(Mutex<Vec<Envelope>>);

#[async_trait]
impl Handler for Listener {
    async fn after(&self, event: &Envelope) {
        self.0.lock().push(event.clone());
    }
}

fn listener() -> ServiceSpec {
    async fn start(_: Context) -> anyhow::Result<Parts> {
        let subscription = Subscription::in_memory(KINDS, HEARD.clone());
        Ok(Parts { subscriptions: vec![subscription], ..Parts::new(tonic::service::Routes::default()) })
    }
    ServiceSpec { name: "listener", migrations: &[], subscribes: KINDS, start: |ctx| Box::pin(start(ctx)) }
}

async fn heard(count: usize) -> Vec<Envelope> {
    mallard_testkit::eventually("the events arrive", || async { HEARD.0.lock().len() >= count }).await;
    HEARD.0.lock().clone()
}

#[tokio::test(start_paused = true)]
async fn what_happened_is_heard_in_order_and_what_did_not_is_not() {
    let shop = Shop::open_with(settings(Storage::Memory(MemoryDisk::new()), &[listener()])).await;
    let mei = shop.register("mei@example.com").await;
    shop.try_register("mei@example.com", PASSWORD, None).await.unwrap_err();
    let laptop = shop.login("mei@example.com").await;
    for _ in 0..2 {
        shop.call(&laptop.call, |mut c| async move { c.logout(LogoutRequest::default()).await }).await.unwrap();
    }
    shop.set_roles(&system(), &mei.user.id, &["seller"]).await.unwrap();
    shop.set_roles(&system(), &mei.user.id, &["seller"]).await.unwrap();
    shop.delete_me(&mei).await.unwrap();
    shop.delete_me(&mei).await.unwrap();

    let events = heard(6).await;
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    let expected = [
        "user.registered.v1",
        "user.session_revoked.v1",
        "user.standing_changed.v1",
        "user.session_revoked.v1",
        "user.standing_changed.v1",
        "user.deleted.v1",
    ];
    assert_eq!(kinds, expected);
    assert!(events.iter().all(|event| event.key == mei.user.id && mallard_types::id::is("evt", &event.id)));
    let registered: UserRegistered = events[0].decode().unwrap();
    assert_eq!((registered.user_id, registered.language), (mei.id(), "zh-CN".to_owned()));
    let revoked: SessionRevoked = events[1].decode().unwrap();
    assert_eq!(revoked.session_ids, [laptop.call.caller.session_id.as_str()]);
    assert_eq!(revoked.until_micros / 1_000_000, LAST_TOKEN_ENDS / 1_000_000);
    let changed: StandingChanged = events[2].decode().unwrap();
    let standing = changed.standing.unwrap();
    assert_eq!((standing.seq, standing.user_id, standing.roles), (1, mei.id(), owned(&["seller"])));
    let revoked: SessionRevoked = events[3].decode().unwrap();
    assert_eq!(revoked.session_ids, [mei.call.caller.session_id.as_str()]);
    let changed: StandingChanged = events[4].decode().unwrap();
    assert!(changed.standing.is_some_and(|standing| standing.deleted && standing.seq == 2));
    let deleted: UserDeleted = events[5].decode().unwrap();
    assert_eq!(deleted.user_id, mei.user.id);

    for _ in 0..2 {
        shop.put_role(&system(), "lead", &["user"]).await.unwrap();
    }
    shop.delete_role(&system(), "lead").await.unwrap();
    let versions: Vec<_> =
        heard(8).await[6..].iter().map(|event| event.decode::<PolicyChanged>().unwrap().version).collect();
    assert_eq!(versions, [2, 3]);
}

//! Sessions by device: what is remembered of them, who ends them, when they idle.

use std::time::Duration;

use mallard_db::MemoryDisk;
use mallard_proto::Timestamp;
use mallard_proto::identity::v1::*;
use mallard_rpc::Call;
use mallard_runtime::Storage;
use mallard_types::Result;

use crate::support::*;

const MINUTE: Duration = Duration::from_secs(60);

async fn sessions_of(shop: &Shop, by: &Call, id: &str) -> Result<Vec<Session>> {
    let request = AdminListSessionsRequest { id: id.to_owned() };
    Ok(shop.call(by, |mut c| async move { c.admin_list_sessions(request).await }).await?.sessions)
}

async fn end(shop: &Shop, by: &Call, id: &str, session_id: &str) -> Result<()> {
    let request = AdminRevokeSessionRequest { id: id.to_owned(), session_id: session_id.to_owned() };
    shop.call(by, |mut c| async move { c.admin_revoke_session(request).await }).await
}

async fn touch(shop: &Shop, uses: &[(&str, i64)]) -> Result<()> {
    let uses =
        uses.iter().map(|(id, at)| SessionUse { session_id: (*id).into(), at: Some(Timestamp::from_micros(*at)) });
    let request = TouchSessionsRequest { uses: uses.collect() };
    shop.call(&system(), |mut c| async move { c.touch_sessions(request).await }).await
}

async fn idling(session_idle_s: u32) -> Shop {
    let mut settings = settings(Storage::Memory(MemoryDisk::new()), &[]);
    settings.config = settings.config.set("identity.session_idle_s", i64::from(session_idle_s));
    Shop::open_with(settings).await
}

#[tokio::test(start_paused = true)]
async fn a_session_remembers_the_device_the_client_and_the_address() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    tokio::time::advance(MINUTE).await;
    shop.try_login_from(&from("203.0.113.7"), "mei@example.com", PASSWORD, " Mei's phone ").await.unwrap();
    let request = ListSessionsRequest {};
    let mine = shop.call(&mei.call, |mut c| async move { c.list_sessions(request).await }).await.unwrap().sessions;
    let phone = &mine[0];
    assert_eq!(
        (phone.device.as_str(), phone.user_agent.as_str(), phone.address.as_str()),
        ("Mei's phone", "test", "203.0.113.7")
    );
    assert_eq!(phone.expires_at.unwrap().micros(), START + (60 + 30 * 24 * 3_600) * 1_000_000);
    assert!(!phone.current && mine[1].current);
    let long = "x".repeat(101);
    let refused = shop.try_login_from(&Call::default(), "mei@example.com", PASSWORD, &long).await.unwrap_err();
    assert_eq!((refused.code.as_ref(), refused.param.as_deref()), ("too_long", Some("device")));
}

#[tokio::test(start_paused = true)]
async fn a_login_on_the_same_device_replaces_the_session_there_and_no_other() {
    let shop = Shop::open().await;
    let nameless = shop.register("mei@example.com").await;
    let phone = shop.login_on("mei@example.com", "phone").await;
    let laptop = shop.login_on("mei@example.com", "laptop").await;
    let other_nameless = shop.login("mei@example.com").await;
    shop.register("eve@example.com").await;
    let eves = shop.login_on("eve@example.com", "phone").await;
    let again = shop.login_on("mei@example.com", "phone").await;
    assert!(!shop.is_active(&phone.tokens).await);
    assert_eq!(code(shop.refresh(&phone.tokens).await), "invalid_refresh_token");
    for still in [&nameless, &laptop, &other_nameless, &eves, &again] {
        assert!(shop.is_active(&still.tokens).await);
    }
    assert_eq!(shop.revocations(0).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn operators_see_and_end_anybodys_sessions() {
    let shop = Shop::open().await;
    let admin = shop.admin("admin@mallard.local").await;
    let mei = shop.register("mei@example.com").await;
    tokio::time::advance(MINUTE).await;
    let phone = shop.login_on("mei@example.com", "phone").await;
    let eve = shop.register("eve@example.com").await;
    assert_eq!(code(sessions_of(&shop, &eve.call, &mei.user.id).await), "admin_only");
    assert_eq!(code(end(&shop, &eve.call, &mei.user.id, "sess_1").await), "admin_only");
    let listed = sessions_of(&shop, &admin.call, &mei.user.id).await.unwrap();
    assert_eq!(listed.iter().map(|session| session.device.as_str()).collect::<Vec<_>>(), ["phone", ""]);
    let phones = phone.call.caller.session_id.as_str();
    assert_eq!(code(end(&shop, &admin.call, &eve.user.id, phones).await), "session_not_found");
    assert_eq!(code(end(&shop, &admin.call, "usr_none", phones).await), "user_not_found");
    end(&shop, &admin.call, &mei.user.id, phones).await.unwrap();
    end(&shop, &admin.call, &mei.user.id, phones).await.unwrap();
    assert!(!shop.is_active(&phone.tokens).await && shop.is_active(&mei.tokens).await);
    assert_eq!(sessions_of(&shop, &admin.call, &mei.user.id).await.unwrap().len(), 1);
    assert_eq!(shop.audited().await[1..], [("session.revoke".to_owned(), mei.id())], "once");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_idles_too_long_ends_for_its_live_token_too() {
    let shop = idling(100).await;
    let idle = shop.register("mei@example.com").await;
    let busy = shop.login("mei@example.com").await;
    let busys = busy.call.caller.session_id.as_str();
    // A session is given a quarter more for reports that come late.
    tokio::time::sleep(Duration::from_secs(80)).await;
    touch(&shop, &[(busys, START + 75_000_000)]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!shop.is_active(&idle.tokens).await);
    assert_eq!(code(shop.refresh(&idle.tokens).await), "invalid_refresh_token");
    assert!(shop.is_active(&busy.tokens).await);
    let revoked = shop.revocations(0).await;
    assert_eq!(
        revoked.iter().map(|r| r.session_id.as_str()).collect::<Vec<_>>(),
        [idle.call.caller.session_id.as_str()]
    );
    assert!(shop.is_active(&shop.refresh(&busy.tokens).await.unwrap()).await);
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_a_session_may_idle_until_it_expires() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    tokio::time::advance(29 * 24 * 60 * MINUTE).await;
    assert!(shop.refresh(&mei.tokens).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_report_of_use_turns_nothing_back_and_brings_nothing_back() {
    let shop = idling(1_000).await;
    let mei = shop.register("mei@example.com").await;
    let id = mei.call.caller.session_id.clone();
    let used_at = async || -> i64 {
        let listed = sessions_of(&shop, &system(), &mei.user.id).await.unwrap();
        (listed[0].last_used_at.unwrap().micros() - START) / 1_000_000
    };
    tokio::time::advance(10 * MINUTE).await;
    let second = |s: i64| START + s * 1_000_000;
    touch(&shop, &[(&id, second(300)), (&id, second(500)), (&id, second(400)), ("sess_none", second(500))])
        .await
        .unwrap();
    assert_eq!(used_at().await, 500);
    touch(&shop, &[(&id, second(450))]).await.unwrap();
    assert_eq!(used_at().await, 500, "never backwards");
    touch(&shop, &[(&id, second(90_000))]).await.unwrap();
    assert_eq!(used_at().await, 600, "never into the future");
    touch(&shop, &[]).await.unwrap();
    let many: Vec<(&str, i64)> = vec![("sess_none", START); 1_001];
    assert_eq!(code(touch(&shop, &many).await), "too_many_uses");

    tokio::time::advance(Duration::from_secs(1_031)).await;
    touch(&shop, &[(&id, second(1_631))]).await.unwrap();
    assert!(!shop.is_active(&mei.tokens).await, "what idled too long stays over");
    assert_eq!(code(shop.refresh(&mei.tokens).await), "invalid_refresh_token");
}

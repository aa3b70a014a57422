//! How accounts stand since their tokens were issued, as gateways read it.

use std::time::Duration;

use mallard_proto::identity::v1::*;
use mallard_rpc::Call;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn roles_bans_and_deletion_are_announced_and_what_changes_nothing_is_not() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    let id = mei.user.id.as_str();
    let until = START + 60_000_000;
    shop.set_roles(&system(), id, &["user", "seller"]).await.unwrap();
    shop.set_roles(&system(), id, &["user", "seller"]).await.unwrap();
    let roles = shop.standings(0).await;
    shop.ban(&system(), id, "all", Some(until)).await.unwrap();
    shop.ban(&system(), id, "all", Some(until)).await.unwrap();
    let banned = shop.standings(1).await;
    shop.unban(&system(), id).await.unwrap();
    shop.unban(&system(), id).await.unwrap();
    let free = shop.standings(2).await;
    shop.delete_me(&mei).await.unwrap();
    shop.delete_me(&mei).await.unwrap();
    let gone = shop.standings(3).await;

    let seller_id = roles[0].seller_id.clone();
    assert!(mallard_types::id::is("sel", &seller_id));
    let ends = Some(mallard_proto::Timestamp::from_micros(LAST_TOKEN_ENDS));
    let expected = Standing {
        seq: 1,
        user_id: mei.id(),
        roles: owned(&["seller", "user"]),
        seller_id,
        until: ends,
        ..Default::default()
    };
    assert_eq!(roles, std::slice::from_ref(&expected));
    let ban = Standing {
        seq: 2,
        ban_level: "all".into(),
        ban_until: Some(mallard_proto::Timestamp::from_micros(until)),
        until: None,
        ..expected.clone()
    };
    assert_eq!(banned, [ban]);
    assert_eq!(free, [Standing { seq: 3, ..expected.clone() }]);
    assert_eq!(gone.len(), 1);
    assert!(gone[0].deleted && gone[0].seq == 4 && gone[0].until == ends && gone[0].seller_id.is_empty());
    assert_eq!(shop.standings(0).await, gone, "of one account the latest is enough");
    assert_eq!(shop.standings(4).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_standing_goes_when_no_token_is_left_and_no_ban_stands() {
    let shop = Shop::open().await;
    let mut people = Vec::new();
    for name in ["roles", "free", "hour", "ever"] {
        people.push(shop.register(&format!("{name}@example.com")).await.user.id);
    }
    shop.set_roles(&system(), &people[0], &["seller"]).await.unwrap();
    shop.ban(&system(), &people[1], "login", None).await.unwrap();
    shop.unban(&system(), &people[1]).await.unwrap();
    shop.ban(&system(), &people[2], "login", Some(START + 2 * 3_600_000_000)).await.unwrap();
    shop.ban(&system(), &people[3], "login", None).await.unwrap();
    let listed = async || shop.standings(0).await.into_iter().map(|standing| standing.user_id).collect::<Vec<_>>();
    assert_eq!(listed().await, people);
    // The sweep runs by itself within the hour; each sleep lets the paused clock go on.
    tokio::time::sleep(Duration::from_secs(3_601)).await;
    assert_eq!(listed().await, people[2..]);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(listed().await, people[2..], "a token that was issued under the ban may speak of it");
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(listed().await, people[3..]);
    let seq = shop.standings(0).await[0].seq;
    shop.unban(&system(), &people[3]).await.unwrap();
    assert_eq!(shop.standings(seq).await[0].seq, 6, "numbers go on after a sweep");
}

#[tokio::test(start_paused = true)]
async fn standings_are_read_in_pages() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    let db = shop.db();
    let fill = db.tx("test.fill", |tx| async move {
        for seq in 1..=1_500i64 {
            let sql = "INSERT INTO standings (seq, user_id, roles, seller_id, deleted) VALUES (?, ?, 'user', '', 0)";
            tx.execute(sql, mallard_db::params![seq, format!("usr_{seq}")]).await?;
        }
        tx.execute("UPDATE counters SET value = 1500 WHERE name = 'standings'", mallard_db::params![]).await
    });
    fill.await.map_err(|error: mallard_db::Error| error).unwrap();
    shop.set_roles(&system(), &mei.user.id, &["seller"]).await.unwrap();
    let mut read: Vec<i64> = Vec::new();
    loop {
        let page = shop.standings(read.last().copied().unwrap_or_default()).await;
        assert!(page.len() <= 1_000);
        if page.is_empty() {
            break;
        }
        read.extend(page.into_iter().map(|standing| standing.seq));
    }
    assert_eq!(read, (1..=1_501).collect::<Vec<i64>>());
}

#[tokio::test(start_paused = true)]
async fn only_the_mall_reads_the_feeds() {
    let shop = Shop::open().await;
    let admin = shop.admin("admin@mallard.local").await;
    for call in [&Call::default(), &admin.call, &operating(&admin.call)] {
        let request = ListStandingsRequest::default();
        assert_eq!(
            code(shop.call(call, |mut c| async move { c.list_standings(request).await }).await),
            "internal_only"
        );
        let request = GetAccessRequest::default();
        assert_eq!(code(shop.call(call, |mut c| async move { c.get_access(request).await }).await), "internal_only");
        let request = ListRevocationsRequest::default();
        let refused = shop.call(call, |mut c| async move { c.list_revocations(request).await }).await;
        assert_eq!(code(refused), "internal_only");
        let request = TouchSessionsRequest::default();
        assert_eq!(
            code(shop.call(call, |mut c| async move { c.touch_sessions(request).await }).await),
            "internal_only"
        );
    }
}

//! Files on their way: who may send one, how many at once, and how long one may take.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// A form with a picture that is sent piece by piece.
struct Slow {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Slow {
    /// Sends the head and half of the form.
    async fn begin(shop: &Shop, browser: &Browser, path: &str, fields: &[(&str, &str)], file: &[u8]) -> Slow {
        let (kind, body) = multipart(browser, fields, file);
        let at = shop.url("").trim_start_matches("http://").to_owned();
        let mut stream = TcpStream::connect(&at).await.expect("the shop listens");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {at}\r\nAccept: text/html\r\nAccept-Language: en\r\nCookie: {}\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            cookies(browser),
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("the head is taken");
        let (first, rest) = body.split_at(body.len() / 2);
        stream.write_all(first).await.expect("the first half is taken");
        Slow { stream, rest: rest.to_vec() }
    }

    /// Sends one byte more, unless it is the last.
    async fn dribble(&mut self) {
        if self.rest.len() > 1 {
            let byte = self.rest.remove(0);
            self.stream.write_all(&[byte]).await.expect("a byte is taken");
        }
    }

    /// Reads the status.
    async fn status(&mut self) -> u16 {
        let mut line = [0; 12];
        self.stream.read_exact(&mut line).await.expect("an answer");
        String::from_utf8_lossy(&line[9..]).parse().expect("a status")
    }

    /// Sends the other half and reads the status.
    async fn finish(mut self) -> u16 {
        self.stream.write_all(&self.rest).await.expect("the rest is taken");
        self.status().await
    }
}

#[tokio::test]
async fn whoever_may_not_upload_holds_no_place_and_whoever_may_holds_one() {
    let shop = Shop::start().await;
    let mut grace = seller(&shop, "sel_grace").await;
    let path = draft(&mut grace, "Harbour mug").await;
    let add = format!("{path}/pictures/add");
    let mut eve = Browser::new(&shop);
    eve.sign_up().await;
    eve.get("/account").await.expect(200);
    // More than there are places, none of them sent to its end: each is refused before it is read.
    let mut held = Vec::new();
    for _ in 0..9 {
        let mut slow = Slow::begin(&shop, &eve, &add, &[], PNG).await;
        assert_eq!(slow.status().await, 403);
        held.push(slow);
    }
    let mut mia = seller(&shop, "sel_mia").await;
    let hers = draft(&mut mia, "Sand mug").await;
    let her_version = hidden_of(&mia.get(&hers).await.expect(200), &format!("{hers}/pictures/add"), "version");
    let version = hidden_of(&grace.get(&path).await.expect(200), &add, "version");
    let fields = [("version", version.as_str()), ("alt", "A mug")];
    let first = Slow::begin(&shop, &grace, &add, &fields, PNG).await;
    // The second of the same seller is told to wait; another seller is not.
    mallard_testkit::eventually("the first file has its place", async || {
        upload(&shop, &grace, &add, &[], b"x").await == 503
    })
    .await;
    assert_eq!(upload(&shop, &mia, &format!("{hers}/pictures/add"), &[("version", &her_version)], PNG).await, 303);
    assert_eq!(first.finish().await, 303);
    drop(held);
    shop.stop().await;
}

#[tokio::test]
async fn a_picture_may_take_longer_to_come_than_a_page_waits_for_its_calls() {
    // Where a machine is so busy that other pages are late as well, the pages get more time.
    for wait_ms in [1_000, 4_000, 16_000] {
        let tasks = tokio::task::LocalSet::new();
        let taken = tasks.spawn_local(picture_that_takes_longer(wait_ms));
        tasks.await;
        if taken.await.is_ok() {
            return;
        }
    }
    panic!("a picture that takes longer than a page waits is not taken");
}

async fn picture_that_takes_longer(wait_ms: u64) {
    let shop = Shop::start_with(|mut settings| {
        let config = settings.config.set("web.read_timeout_ms", wait_ms);
        settings.config = config.set("web.write_timeout_ms", 2 * wait_ms);
        settings
    })
    .await;
    let mut grace = seller(&shop, "sel_grace").await;
    let path = draft(&mut grace, "Harbour mug").await;
    let add = format!("{path}/pictures/add");
    let version = hidden_of(&grace.get(&path).await.expect(200), &add, "version");
    let mut slow = Slow::begin(&shop, &grace, &add, &[("version", &version), ("alt", "A mug")], PNG).await;
    // Longer than either of the two, a byte now and then, as whoever sends must: what is waited for is the clock of the page.
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(2 * wait_ms + 100) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        slow.dribble().await;
    }
    assert_eq!(slow.finish().await, 303);
    assert!(grace.get(&path).await.expect(200).has("alt=\"A mug\""));
    shop.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_picture_is_said_beside_the_field_it_is_about() {
    let shop = Shop::start().await;
    let mut grace = seller(&shop, "sel_grace").await;
    let path = draft(&mut grace, "Harbour mug").await;
    let add = format!("{path}/pictures/add");
    let version = hidden_of(&grace.get(&path).await.expect(200), &add, "version");
    let long = "m".repeat(201);
    let (status, page) = sent(&shop, &grace, &add, &[("version", &version), ("alt", &long)], PNG).await;
    assert!(status == 422 && page.contains("id=\"e-alt\"") && !page.contains("id=\"e-file\""), "{page}");
    let (status, page) = sent(&shop, &grace, &add, &[("version", &version)], b"no picture").await;
    assert!(status == 422 && page.contains("id=\"e-file\"") && !page.contains("id=\"e-alt\""), "{page}");
    shop.stop().await;
}

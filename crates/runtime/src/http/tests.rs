use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::sync::Notify;

use super::*;

/// A running server, and the means to hold its requests back.
struct Site {
    address: SocketAddr,
    shutdown: Shutdown,
    /// Lets a request to `/held` be answered.
    release: Arc<Notify>,
    /// Rings when a request to `/held` has arrived.
    arrived: Arc<Notify>,
    served: tokio::task::JoinHandle<()>,
}

async fn site(config: HttpConfig) -> Site {
    config.check().unwrap();
    let (release, arrived) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (held, rings) = (Arc::clone(&release), Arc::clone(&arrived));
    let router = Router::new()
        .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
        .route("/large", get(|| async { vec![b'x'; 32 * 1024 * 1024] }))
        .route("/echo", post(|body: String| async move { body }))
        .route(
            "/held",
            get(move |_: Request| {
                let (held, rings) = (Arc::clone(&held), Arc::clone(&rings));
                async move {
                    rings.notify_one();
                    held.notified().await;
                    Response::new(axum::body::Body::from("held"))
                }
            }),
        );
    let listener = TcpListener::bind(own_address()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let served = tokio::spawn(serve(listener, router, config, shutdown.clone()));
    Site { address, shutdown, release, arrived, served }
}

/// An address of this machine that no other server of any test has: once a server is gone, nobody else answers at its port.
fn own_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
    format!("127.{}.{}.{number}:0", 1 + (process >> 8) % 254, process % 256)
}

impl Site {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Connects and is answered once. Where clients have a tenth of a second for their first byte, a slow machine may cut
    /// some before they have said anything.
    async fn connect_and_ask(&self) -> TcpStream {
        for _ in 0..1_000 {
            let mut stream = self.connect().await;
            if stream.write_all(GET.as_bytes()).await.is_ok() && answer(&mut stream).await.starts_with("HTTP/1.1 200") {
                return stream;
            }
        }
        panic!("nobody is answered");
    }
}

/// Sends text and reads one answer: until its length is there, or until the connection ends.
async fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    answer(stream).await
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(usize::MAX) {
                return text;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return text,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Waits until the other side has closed.
async fn closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    matches!(stream.read_to_end(&mut rest).await, Ok(0) | Err(_))
}

const GET: &str = "GET / HTTP/1.1\r\nhost: mall\r\n\r\n";

#[tokio::test]
async fn a_connection_answers_many_requests_and_knows_its_peer() {
    let site = site(HttpConfig::default()).await;
    let mut stream = site.connect().await;
    for _ in 0..3 {
        let text = ask(&mut stream, GET).await;
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
        assert!(text.ends_with(&stream.local_addr().unwrap().to_string()), "{text}");
    }
}

#[tokio::test]
async fn a_client_that_sends_its_headers_drop_by_drop_is_cut() {
    let site = site(HttpConfig { header_read_timeout_ms: 100, ..HttpConfig::default() }).await;
    // On a connection that has been used, too.
    let stream = site.connect_and_ask().await;
    let (mut reader, mut writer) = stream.into_split();
    let dripping = tokio::spawn(async move {
        writer.write_all(b"GET / HTTP/1.1\r\n").await?;
        loop {
            sleep(Duration::from_millis(20)).await;
            writer.write_all(b"x-drop: 1\r\n").await?;
        }
        #[allow(unreachable_code)]
        std::io::Result::Ok(())
    });
    let mut rest = Vec::new();
    // It ends, with or without a reset, and without an answer.
    let _ = reader.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    assert!(dripping.await.unwrap().is_err());
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_request_under_way_is_not() {
    let site = site(HttpConfig { idle_timeout_ms: 100, ..HttpConfig::default() }).await;
    let mut idle = site.connect().await;
    // On a slow machine it may be cut before it has asked.
    let mut busy = loop {
        let mut busy = site.connect().await;
        if busy.write_all(b"GET /held HTTP/1.1\r\nhost: mall\r\n\r\n").await.is_err() {
            continue;
        }
        tokio::select! {
            biased;
            () = site.arrived.notified() => break busy,
            _ = closed(&mut busy) => {}
        }
    };
    assert!(closed(&mut idle).await);
    // Far longer than an idle connection may rest.
    sleep(Duration::from_millis(300)).await;
    site.release.notify_one();
    assert!(answer(&mut busy).await.ends_with("held"));
    assert!(closed(&mut busy).await);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut() {
    let site = site(HttpConfig { idle_timeout_ms: 100, ..HttpConfig::default() }).await;
    let mut stream = site.connect().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: mall\r\n\r\n").await.unwrap();
    // Wait until it is cut: the write side of this socket fails then.
    let cut = async {
        while stream.write_all(b" ").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(300), cut).await.expect("never cut");
}

#[tokio::test]
async fn headers_that_are_too_large_are_refused() {
    let site = site(HttpConfig { header_bytes_max: 8_192, ..HttpConfig::default() }).await;
    let mut stream = site.connect().await;
    let fits = format!("GET / HTTP/1.1\r\nhost: mall\r\nx-long: {}\r\n\r\n", "x".repeat(8_000));
    assert!(ask(&mut stream, &fits).await.starts_with("HTTP/1.1 200"));
    let large = format!("GET / HTTP/1.1\r\nhost: mall\r\nx-long: {}\r\n\r\n", "x".repeat(9_000));
    assert!(ask(&mut stream, &large).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn a_connection_too_many_is_told_so_and_a_place_that_is_free_is_taken() {
    let site = site(HttpConfig { connections_max: 2, ..HttpConfig::default() }).await;
    let mut first = site.connect().await;
    let mut second = site.connect().await;
    for stream in [&mut first, &mut second] {
        assert!(ask(stream, GET).await.starts_with("HTTP/1.1 200"));
    }
    let mut third = site.connect().await;
    let text = ask(&mut third, GET).await;
    assert!(text.starts_with("HTTP/1.1 503"), "{text}");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("connection: close") && head.contains("retry-after: 1"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"]["code"], "too_many_connections");
    assert!(closed(&mut third).await);
    drop(first);
    loop {
        let mut next = site.connect().await;
        if ask(&mut next, GET).await.starts_with("HTTP/1.1 200") {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    assert!(ask(&mut second, GET).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn one_address_cannot_have_every_connection() {
    let site = site(HttpConfig { connections_per_address_max: 1, ..HttpConfig::default() }).await;
    let mut own = site.connect().await;
    assert!(ask(&mut own, GET).await.starts_with("HTTP/1.1 200"));
    let mut second = site.connect().await;
    assert!(ask(&mut second, GET).await.starts_with("HTTP/1.1 503"));
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(site.address).await.unwrap();
    assert!(ask(&mut other, GET).await.starts_with("HTTP/1.1 200"));
    drop(own);
    loop {
        let mut next = site.connect().await;
        if ask(&mut next, GET).await.starts_with("HTTP/1.1 200") {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn who_connects_and_says_nothing_is_cut_and_who_was_served_may_rest() {
    let site = site(HttpConfig { header_read_timeout_ms: 100, ..HttpConfig::default() }).await;
    let mut served = site.connect_and_ask().await;
    let mut silent = site.connect().await;
    assert!(closed(&mut silent).await);
    assert!(ask(&mut served, GET).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn headers_that_are_too_many_are_refused() {
    let site = site(HttpConfig { headers_max: 120, ..HttpConfig::default() }).await;
    let mut stream = site.connect().await;
    let with = |count: usize| format!("GET / HTTP/1.1\r\nhost: mall\r\n{}\r\n", "x-a: b\r\n".repeat(count));
    assert!(ask(&mut stream, &with(110)).await.starts_with("HTTP/1.1 200"));
    assert!(ask(&mut stream, &with(130)).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn draining_answers_what_is_under_way_and_closes_the_rest() {
    let site = site(HttpConfig { header_read_timeout_ms: 600_000, ..HttpConfig::default() }).await;
    let mut held = site.connect().await;
    held.write_all(b"GET /held HTTP/1.1\r\nhost: mall\r\n\r\n").await.unwrap();
    site.arrived.notified().await;
    let mut idle = site.connect().await;
    assert!(ask(&mut idle, GET).await.starts_with("HTTP/1.1 200"));
    let mut late = site.connect().await;
    let mut halfway = site.connect().await;
    halfway.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let mut slow_body = site.connect().await;
    slow_body.write_all(b"POST /echo HTTP/1.1\r\nhost: mall\r\ncontent-length: 5\r\n\r\n").await.unwrap();
    // Whatever was sent on an older connection is read by now.
    assert!(ask(&mut idle, GET).await.starts_with("HTTP/1.1 200"));

    site.shutdown.begin();
    let text = ask(&mut late, GET).await;
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("connection: close"), "{text}");
    assert!(closed(&mut late).await);
    assert!(closed(&mut idle).await);
    let text = ask(&mut halfway, "host: mall\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("connection: close"), "{text}");
    let text = ask(&mut slow_body, "hello").await;
    assert!(text.ends_with("hello") && text.contains("connection: close"), "{text}");
    assert!(TcpStream::connect(site.address).await.is_err());
    assert!(!site.served.is_finished());
    site.release.notify_one();
    let text = answer(&mut held).await;
    assert!(text.ends_with("held") && text.contains("connection: close"), "{text}");
    site.served.await.unwrap();
}

//! Background work that dies is seen from outside.

use futures_util::future::BoxFuture;
use mallard_db::MemoryDisk;
use mallard_runtime::{Config, Context, Mall, Parts, ServiceSpec, Settings, Storage, Task};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn mall(start: fn(Context) -> BoxFuture<'static, anyhow::Result<Parts>>) -> Mall {
    let spec = ServiceSpec { name: "work", migrations: &[], subscribes: &[], start };
    let mut settings = Settings::new(vec![spec], Config::defaults(""), Storage::Memory(MemoryDisk::new()));
    settings.listen = Some("127.0.0.1:0".parse().unwrap());
    Mall::start(settings).await.unwrap()
}

fn parts(task: Task) -> Parts {
    Parts { tasks: vec![task], ..Parts::new(tonic::service::Routes::default()) }
}

async fn get(mall: &Mall, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(mall.http_addr().unwrap()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: mall\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn readyz_names_a_task_that_died_and_healthz_stays() {
    let ready = mall(|ctx| {
        let stop = ctx.shutdown();
        Box::pin(async { Ok(parts(Task::once("waits", async move { stop.wait().await }))) })
    })
    .await;
    assert_eq!(get(&ready, "/readyz").await, (200, "ready\n".to_owned()));
    ready.stop().await;

    let broken =
        mall(|_| Box::pin(async { Ok(parts(Task::once("dies", async { panic!("planted: a secret reason") }))) })).await;
    while broken.health().failing().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(get(&broken, "/readyz").await, (503, "down: work.dies\n".to_owned()));
    assert_eq!(get(&broken, "/healthz").await, (200, "ok\n".to_owned()));
    broken.stop().await;
}

//! Calls that take long are remembered where they are answered, whatever becomes of them.

mod support;

use std::time::Duration;

use mallard_rpc::{Call, Channels, Config, Policy, ServerConfig, Trace, scope, status};
use mallard_types::Error;
use support::{ProbeClient, note, routes};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tonic::service::Routes;

/// Does what the text of a request says.
fn probe() -> Routes {
    routes(|request| async move {
        let note = request.into_inner();
        match note.text.as_str() {
            "slow" => sleep(Duration::from_millis(300)).await,
            "fails" => {
                sleep(Duration::from_millis(200)).await;
                return Err(status(Error::conflict("stock_gone", "there is none left")));
            }
            "hangs" => std::future::pending().await,
            _ => {}
        }
        Ok(note)
    })
}

fn call(trace_id: u128) -> Call {
    Call { trace: Trace::new(trace_id, 1), ..Call::system("test") }
}

#[tokio::test(start_paused = true)]
async fn slow_calls_are_listed_with_their_trace_and_outcome_and_fast_ones_are_not() {
    let channels = Channels::new(Config { slow_call_ms: 200, seed: Some(1), ..Config::default() });
    channels.mount_local("probe", probe());
    let client: ProbeClient = channels.client();
    let begun = Instant::now();
    scope(call(1), client.clone().get(note("fast"))).await.unwrap();
    assert!(channels.slow_calls().latest().is_empty());
    scope(call(2), client.clone().get(note("slow"))).await.unwrap();
    scope(call(3), client.clone().change(note("fails"))).await.unwrap_err();
    let late = Call { deadline: Some(Instant::now() + Duration::from_millis(400)), ..call(4) };
    scope(late, client.clone().change(note("hangs"))).await.unwrap_err();
    // The caller goes away before the deadline.
    let mut gone = client.clone();
    tokio::select! {
        _ = scope(call(5), gone.change(note("hangs"))) => panic!("it hangs"),
        () = sleep(Duration::from_millis(250)) => {}
    }
    let latest = channels.slow_calls().latest();
    let seen: Vec<_> = latest.iter().map(|call| (call.trace_id, call.name.as_str(), call.outcome.as_ref())).collect();
    assert_eq!(seen[0], (5, "probe.Change", "cancelled"));
    assert_eq!((seen[1].0, seen[1].1), (4, "probe.Change"));
    assert!(["deadline_exceeded", "cancelled"].contains(&seen[1].2), "{}", seen[1].2);
    assert_eq!(seen[2], (3, "probe.Change", "stock_gone"));
    assert_eq!(seen[3], (2, "probe.Get", "ok"));
    assert_eq!(seen.len(), 4);
    assert_eq!((latest[3].started, latest[3].took), (begun, Duration::from_millis(300)));
}

#[tokio::test]
async fn the_server_of_a_port_remembers_with_the_services_of_its_process() {
    let callee = Channels::new(Config { slow_call_ms: 1, ..Config::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = ServerConfig { slow_calls: callee.slow_calls(), ..ServerConfig::default() };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(mallard_rpc::serve(listener, vec![("probe", probe())], config, async {
        let _ = stopped.await;
    }));
    let caller = Channels::new(Config { slow_call_ms: 1, deadline_default_ms: 600_000, ..Config::default() });
    // However slow the machine is, this is one attempt.
    let policy = Policy {
        connect_timeout: Duration::from_secs(600),
        keep_alive_interval: Duration::from_secs(600),
        ..Policy::default()
    };
    caller.mount_remote_with("probe", vec![format!("http://{address}")], policy).unwrap();
    let mut client: ProbeClient = caller.client();
    scope(call(9), client.get(note("slow"))).await.unwrap();
    let latest = callee.slow_calls().latest();
    assert_eq!(latest.iter().map(|call| (call.trace_id, call.name.as_str())).collect::<Vec<_>>(), [(9, "probe.Get")]);
    assert!(caller.slow_calls().latest().is_empty(), "who waits is not who was slow");
    drop(stop);
    server.await.unwrap().unwrap();
}

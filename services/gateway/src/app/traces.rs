//! Slow calls of all processes, put together by the request they belong to.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use mallard_proto::gateway::v1::SlowTrace;
use mallard_proto::platform::v1::{ListSlowCallsRequest, SlowCall};
use mallard_types::{Error, Micros, Result};

use super::App;
use super::workings::soon;

/// Traces listed when nothing is asked, and at most.
const TRACES_DEFAULT: usize = 20;
const TRACES_MAX: i32 = 100;
/// Calls shown of a trace. A client may give many requests one trace.
const CALLS_MAX: usize = 50;

impl App {
    /// Lists the requests that took long lately, with their calls that did, the latest first. A process that does not answer
    /// is left out.
    ///
    /// # Errors
    /// `limit_out_of_range`.
    pub async fn traces(&self, limit: i32) -> Result<Vec<SlowTrace>> {
        if !(0..=TRACES_MAX).contains(&limit) {
            let message = format!("limit must be between 1 and {TRACES_MAX}");
            return Err(Error::invalid("limit_out_of_range", message).param("limit"));
        }
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(TRACES_DEFAULT);
        let asked = self.ctx.services().iter().map(|name| async {
            soon(self.platform(name).list_slow_calls(ListSlowCallsRequest {})).await.map_err(mallard_rpc::error)
        });
        let mut calls = Vec::new();
        for (name, answer) in self.ctx.services().iter().zip(join_all(asked).await) {
            match answer {
                Ok(answer) => calls.extend(answer.into_inner().calls),
                Err(error) => tracing::warn!(%error, service = name, "slow calls could not be listed"),
            }
        }
        Ok(joined(calls, limit))
    }
}

/// Puts calls together by their trace. Services of one process remember the same ones and say the same, but for the start,
/// which each answer reckons anew.
fn joined(calls: Vec<SlowCall>, limit: usize) -> Vec<SlowTrace> {
    let mut seen = BTreeSet::new();
    let mut by_trace: BTreeMap<String, Vec<SlowCall>> = BTreeMap::new();
    for call in calls {
        if seen.insert((call.process.clone(), call.trace_id.clone(), call.name.clone(), call.duration_us)) {
            by_trace.entry(call.trace_id.clone()).or_default().push(call);
        }
    }
    let mut traces: Vec<SlowTrace> = by_trace.into_iter().map(|(trace_id, calls)| trace(trace_id, calls)).collect();
    traces.sort_by_key(|trace| Reverse(trace.calls.last().map(started)));
    traces.truncate(limit);
    traces
}

fn trace(trace_id: String, mut calls: Vec<SlowCall>) -> SlowTrace {
    // Of calls that began together the longer one holds the others.
    calls.sort_by_key(|call| (started(call), Reverse(call.duration_us)));
    calls.drain(..calls.len().saturating_sub(CALLS_MAX));
    SlowTrace {
        trace_id,
        started_at: calls.first().and_then(|call| call.started_at),
        // The clocks of several processes differ, so the longest says more than the last end less the first start.
        duration_us: calls.iter().map(|call| call.duration_us).max().unwrap_or_default(),
        calls,
    }
}

fn started(call: &SlowCall) -> Micros {
    call.started_at.map_or(0, |at| at.micros())
}

#[cfg(test)]
mod tests {
    use mallard_proto::Timestamp;

    use super::*;

    fn call(trace: &str, process: &str, name: &str, at: Micros, duration_us: u64) -> SlowCall {
        SlowCall {
            trace_id: trace.into(),
            process: process.into(),
            name: name.into(),
            started_at: Some(Timestamp::from_micros(at)),
            duration_us,
            outcome: "ok".into(),
        }
    }

    #[test]
    fn calls_are_put_together_by_their_trace_the_latest_first() {
        let calls = vec![
            call("b", "door", "GET /store/v1/cart", 2_000, 900),
            call("a", "door", "POST /store/v1/orders", 1_000, 5_000),
            call("a", "trade", "order.PlaceOrder", 1_001, 4_900),
            call("a", "trade", "payment.Pay", 1_200, 4_000),
            // Another service of the same process, which reckons a little later.
            call("a", "trade", "payment.Pay", 1_201, 4_000),
            call("c", "door", "GET /store/v1/me", 3_000, 100),
        ];
        let traces = joined(calls, 2);
        assert_eq!(traces.iter().map(|trace| trace.trace_id.as_str()).collect::<Vec<_>>(), ["c", "b"]);
        let traces = joined(
            vec![
                call("a", "trade", "payment.Pay", 1_200, 4_000),
                call("a", "trade", "order.PlaceOrder", 1_000, 4_900),
                call("a", "door", "POST /store/v1/orders", 1_000, 5_000),
                call("a", "trade", "payment.Pay", 1_201, 4_000),
            ],
            20,
        );
        let names: Vec<_> = traces[0].calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["POST /store/v1/orders", "order.PlaceOrder", "payment.Pay"]);
        assert_eq!((traces[0].duration_us, traces[0].started_at), (5_000, Some(Timestamp::from_micros(1_000))));
    }

    #[test]
    fn a_trace_of_many_requests_shows_the_latest() {
        let mut calls: Vec<SlowCall> =
            (0..80).map(|n| call("a", "door", "POST /auth/v1/login", n, 1_000 + n as u64)).collect();
        calls.push(call("b", "door", "GET /store/v1/me", 50, 10));
        let traces = joined(calls, 20);
        assert_eq!(traces.iter().map(|trace| trace.trace_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(traces[0].calls.len(), CALLS_MAX);
        assert_eq!((started(&traces[0].calls[0]), started(&traces[0].calls[49])), (30, 79));
    }
}

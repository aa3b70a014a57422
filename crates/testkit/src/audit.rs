//! The audit log of a test: a subscriber that is away, so that records stay in the outbox where they can be counted.

use mallard_db::params;
use mallard_proto::audit::v1::Recorded;
use mallard_proto::events::AUDIT_RECORDED_V1;
use mallard_runtime::{Mall, Parts, ServiceSpec, Settings};
use prost::Message;
use serde_json::Value;

const NAME: &str = "auditor";

/// A record as a test reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What was done.
    pub action: String,
    /// To what.
    pub target: String,
    /// What was; null for nothing.
    pub before: Value,
    /// What is; null for nothing.
    pub after: Value,
    /// All of it.
    pub recorded: Recorded,
}

/// Lets the mall keep its audit records for [`audit_records`].
pub fn audited(settings: &mut Settings) {
    if settings.run.is_empty() {
        settings.run = settings.known.iter().map(|spec| spec.name.to_owned()).collect();
    }
    settings.known.push(ServiceSpec {
        name: NAME,
        migrations: &[],
        subscribes: &[AUDIT_RECORDED_V1],
        start: |_| Box::pin(async { Ok(Parts::new(tonic::service::Routes::default())) }),
    });
}

/// Returns what a service that runs here has recorded so far, oldest first.
///
/// # Panics
/// When the service does not run here, or a record cannot be read.
pub async fn audit_records(mall: &Mall, service: &str) -> Vec<Record> {
    let context = mall.context(service).unwrap_or_else(|| panic!("{service} does not run here"));
    let sql = "SELECT payload FROM outbox WHERE subscriber = ? ORDER BY seq";
    let rows = context.db().query(sql, params![NAME]).await.expect("the outbox can be read");
    let read = |text: &str| if text.is_empty() { Value::Null } else { serde_json::from_str(text).expect("JSON") };
    let record = |payload: Vec<u8>| {
        let recorded = Recorded::decode(payload.as_slice()).expect("an audit record");
        Record {
            action: recorded.action.clone(),
            target: recorded.target.clone(),
            before: read(&recorded.before),
            after: read(&recorded.after),
            recorded,
        }
    };
    rows.iter().map(|row| record(row.get(0).expect("a payload"))).collect()
}

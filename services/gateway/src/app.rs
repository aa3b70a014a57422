//! The operators' view of the mall: one function per use case.

mod traces;
mod workings;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mallard_admission::Policies;
use mallard_db::Unit;
use mallard_gateway_core::Edge;
use mallard_proto::bus::v1 as bus;
use mallard_proto::bus::v1::event_intake_client::EventIntakeClient;
use mallard_proto::cart::v1::cart_service_client::CartServiceClient;
use mallard_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mallard_proto::common::v1::{Check, RunChecksRequest};
use mallard_proto::gateway::v1::{CheckResponse, DeadLetter, ServiceState};
use mallard_proto::identity::v1::identity_service_client::IdentityServiceClient;
use mallard_proto::insight::v1::insight_service_client::InsightServiceClient;
use mallard_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use mallard_proto::order::v1::order_service_client::OrderServiceClient;
use mallard_proto::payment::v1::payment_service_client::PaymentServiceClient;
use mallard_proto::{ANSWER_BYTES_MAX, Timestamp};
use mallard_rpc::{Call, Caller, Client, ServiceChannel, current};
use mallard_runtime::Context;
use mallard_types::{Error, Result};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Longest wait for the sign of life of a service.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// Most dead letters listed of one service.
const DEAD_LETTERS_MAX: i32 = 100;

/// The gateway's own use cases.
pub struct App {
    ctx: Context,
    edge: Arc<Edge>,
    policies: Arc<Policies>,
}

/// Asks one service to check its books; a service that cannot answer is a failed check.
macro_rules! checks_of {
    ($app:expr, $client:ident) => {
        async {
            let name = <$client<ServiceChannel> as Client>::SERVICE;
            let mut client: $client<ServiceChannel> = $app.ctx.client();
            match as_mall(client.run_checks(RunChecksRequest {})).await {
                Ok(answer) => answer.into_inner().checks,
                Err(status) => {
                    let error = mallard_rpc::error(status);
                    vec![Check { name: format!("{name}.answers"), ok: false, detail: error.to_string() }]
                }
            }
        }
    };
}

impl App {
    /// Makes the use cases.
    pub fn new(ctx: Context, edge: Arc<Edge>, policies: Arc<Policies>) -> App {
        App { ctx, edge, policies }
    }

    /// Asks every service that keeps books to check them, all at once.
    pub async fn check(&self) -> CheckResponse {
        let (identity, catalog, inventory, cart, order, payment, insight) = tokio::join!(
            checks_of!(self, IdentityServiceClient),
            checks_of!(self, CatalogServiceClient),
            checks_of!(self, InventoryServiceClient),
            checks_of!(self, CartServiceClient),
            checks_of!(self, OrderServiceClient),
            checks_of!(self, PaymentServiceClient),
            checks_of!(self, InsightServiceClient),
        );
        let checks = [identity, catalog, inventory, cart, order, payment, insight].concat();
        CheckResponse { ok: checks.iter().all(|check| check.ok), checks }
    }

    /// Lists the services with whether each answers.
    pub async fn services(&self) -> Vec<ServiceState> {
        join_all(self.ctx.services().iter().map(|name| self.state(name))).await
    }

    async fn state(&self, name: &str) -> ServiceState {
        // Asking for nothing is a sign of life: every service takes events, and an empty delivery changes nothing.
        let request = bus::DeliverRequest { subscriber: name.to_owned(), events: Vec::new() };
        let mut intake = self.intake(name);
        let deadline = Some(Instant::now() + PING_TIMEOUT);
        let call = Call { caller: Caller::system("gateway"), deadline, ..current() };
        let answer = mallard_rpc::scope(call, intake.deliver(request)).await;
        let detail = match answer.map_err(mallard_rpc::error) {
            Err(error) => error.to_string(),
            Ok(_) => String::new(),
        };
        ServiceState { name: name.to_owned(), ok: detail.is_empty(), detail }
    }

    /// Lists the events that services could not apply: of one service, or of all.
    ///
    /// # Errors
    /// `service_not_found`; the service's own error when one service was asked for.
    pub async fn dead_letters(&self, service: &str, limit: i32) -> Result<Vec<DeadLetter>> {
        if !(0..=DEAD_LETTERS_MAX).contains(&limit) {
            return Err(Error::invalid("limit_out_of_range", "limit must be between 1 and 100").param("limit"));
        }
        let limit = if limit == 0 { DEAD_LETTERS_MAX } else { limit };
        if !service.is_empty() {
            self.known(service)?;
            return self.dead_letters_of(service, limit).await;
        }
        let pages = join_all(self.ctx.services().iter().map(|name| self.dead_letters_of(name, limit))).await;
        let mut letters = Vec::new();
        for (name, page) in self.ctx.services().iter().zip(pages) {
            match page {
                Ok(page) => letters.extend(page),
                Err(error) => tracing::warn!(%error, service = name, "dead letters could not be listed"),
            }
        }
        Ok(letters)
    }

    async fn dead_letters_of(&self, service: &str, limit: i32) -> Result<Vec<DeadLetter>> {
        let request = bus::ListDeadLettersRequest { service: service.to_owned(), limit };
        let mut intake = self.intake(service);
        let answer = as_mall(intake.list_dead_letters(request)).await.map_err(mallard_rpc::error)?;
        Ok(answer.into_inner().dead_letters.into_iter().map(|letter| dead_letter(service, letter)).collect())
    }

    /// Has a service apply an event again. That an operator asked for it is recorded before: what happens then happens in
    /// another service's database, and nothing may happen that nobody is recorded to have asked for.
    ///
    /// # Errors
    /// `service_not_found`, or the service's own.
    pub async fn retry_dead_letter(&self, service: &str, event_id: &str) -> Result<bool> {
        self.known(service)?;
        let audit = self.ctx.audit();
        if audit.is_due() {
            let target = format!("{service}/{event_id}");
            let asked = || (Value::Null, json!({ "asked": "retry" }));
            let unit = audit.add_to(Unit::new("gateway.audit"), "dead_letter.retry", &target, asked)?;
            self.ctx.db().apply(unit).await?;
        }
        let request = bus::RetryDeadLetterRequest { service: service.to_owned(), event_id: event_id.to_owned() };
        let mut intake = self.intake(service);
        let answer = as_mall(intake.retry_dead_letter(request)).await.map_err(mallard_rpc::error)?;
        Ok(answer.into_inner().applied)
    }

    fn known(&self, service: &str) -> Result<()> {
        if self.ctx.services().contains(&service) {
            return Ok(());
        }
        Err(Error::not_found("service_not_found", "there is no such service").param("service"))
    }

    fn intake(&self, service: &str) -> EventIntakeClient<ServiceChannel> {
        EventIntakeClient::new(self.ctx.channel(service)).max_decoding_message_size(ANSWER_BYTES_MAX)
    }
}

/// Runs a call as the mall itself, with the deadline and trace of the present one.
async fn as_mall<F: Future>(work: F) -> F::Output {
    mallard_rpc::scope(Call { caller: Caller::system("gateway"), ..current() }, work).await
}

fn dead_letter(service: &str, letter: bus::DeadLetter) -> DeadLetter {
    let event = letter.event.unwrap_or_default();
    DeadLetter {
        service: service.to_owned(),
        event_id: event.id,
        r#type: event.r#type,
        key: event.key,
        at: Some(Timestamp::from_micros(event.at_micros)),
        reason: letter.reason,
        attempts: letter.attempts,
        parked_at: Some(Timestamp::from_micros(letter.parked_at_micros)),
    }
}

//! Services, their instances, breakers, and what the edge lets in.

use http::StatusCode;
use mallard_proto::gateway::v1::{
    GetProtectionRequest, GetProtectionResponse, ListBreakersRequest, ListInstancesRequest, ListServicesRequest,
    ServiceState,
};
use mallard_proto::platform::v1::{Endpoint, MethodState};
use mallard_types::Result;

use super::super::text::Words;
use super::{lasting, shell};
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::panel::Panel;
use crate::console::text::Words as Common;
use crate::console::view::{Block, Cell, Page, Part, Table};
use crate::console::{patiently, permit};
use crate::text::fill;

/// Shows the services and their instances.
///
/// # Errors
/// `forbidden`.
pub async fn show(ask: &Ask) -> Result<Answer> {
    let w = Words::of(ask.lang);
    let (services, instances) = tokio::join!(services(ask), instances(ask));
    let services = match services {
        Err(error) if error.code == "forbidden" => return Err(error),
        services => Panel::of(services)?.map(|services| vec![Part::Table(service_table(ask, &services))]),
    };
    let instances = Panel::of(instances)?.map(|instances| vec![Part::Table(instance_table(ask, &instances))]);
    let blocks = vec![
        Block::of("services", w.services, services).text(w.services_text),
        Block::of("instances", w.instances, instances),
    ];
    Page::new(shell(ask, w.services, "/operator/system"), blocks).answer(StatusCode::OK)
}

async fn services(ask: &Ask) -> Result<Vec<ServiceState>> {
    let caller = permit(ask, "GET", "/admin/v1/system/services", &[]).await?;
    let mut client = ask.site.console.gateway();
    Ok(patiently(ask, &caller, client.list_services(ListServicesRequest {})).await?.services)
}

async fn instances(ask: &Ask) -> Result<Vec<Endpoint>> {
    let caller = permit(ask, "GET", "/admin/v1/system/instances", &[]).await?;
    let mut client = ask.site.console.gateway();
    Ok(patiently(ask, &caller, client.list_instances(ListInstancesRequest {})).await?.instances)
}

fn service_table(ask: &Ask, services: &[ServiceState]) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let row = |service: &ServiceState| {
        let (words, tone) = if service.ok { (w.answers, "good") } else { (w.silent, "bad") };
        vec![Cell::text(service.name.clone()), Cell::state(words, tone).note(service.detail.clone())]
    };
    Table {
        caption: w.services.to_owned(),
        columns: vec![w.service, c.status],
        rows: services.iter().map(row).collect(),
        empty: w.no_instances,
    }
}

fn gate(w: &'static Words, state: &str) -> (&'static str, &'static str) {
    match state {
        "open" => (w.opened, "bad"),
        "half_open" => (w.half_open, "warn"),
        _ => (w.closed, "good"),
    }
}

fn instance_table(ask: &Ask, instances: &[Endpoint]) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let row = |instance: &Endpoint| {
        let (words, tone) = gate(w, &instance.state);
        vec![
            Cell::text(instance.service.clone()),
            Cell::code(instance.endpoint.clone()).note(instance.zone.clone()),
            Cell::text(instance.version.clone()),
            Cell::state(words, tone),
            Cell::number(instance.in_flight),
            Cell::number(lasting(instance.average_us)),
        ]
    };
    Table {
        caption: w.instances.to_owned(),
        columns: vec![w.service, w.endpoint, w.version, c.status, w.in_flight, w.average],
        rows: instances.iter().map(row).collect(),
        empty: w.no_instances,
    }
}

/// Shows what calls what, and what is left out because it fails.
///
/// # Errors
/// `forbidden`.
pub async fn breakers(ask: &Ask) -> Result<Answer> {
    let w = Words::of(ask.lang);
    let caller = permit(ask, "GET", "/admin/v1/system/breakers", &[]).await?;
    let mut client = ask.site.console.gateway();
    let request = ListBreakersRequest::default();
    let breakers = Panel::of(patiently(ask, &caller, client.list_breakers(request)).await)?;
    let endpoints = breakers.clone().map(|breakers| vec![Part::Table(endpoint_table(ask, &breakers.endpoints))]);
    let methods = breakers.map(|breakers| vec![Part::Table(method_table(ask, &breakers.methods))]);
    let blocks = vec![Block::of("endpoints", w.endpoints, endpoints), Block::of("methods", w.methods, methods)];
    Page::new(shell(ask, w.breakers, "/operator/system/breakers"), blocks).answer(StatusCode::OK)
}

fn endpoint_table(ask: &Ask, endpoints: &[Endpoint]) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let row = |endpoint: &Endpoint| {
        let (words, tone) = gate(w, &endpoint.state);
        vec![
            Cell::text(endpoint.service.clone()).note(endpoint.endpoint.clone()),
            Cell::text(endpoint.caller.replace(',', ", ")),
            Cell::state(words, tone).note(endpoint.reason.clone()),
            Cell::number(endpoint.calls),
            Cell::number(endpoint.failed),
            Cell::number(endpoint.slow),
            Cell::number(lasting(endpoint.average_us)),
            Cell::number(endpoint.opened),
        ]
    };
    Table {
        caption: w.endpoints.to_owned(),
        columns: vec![w.service, w.called_by, c.status, w.calls, w.failed, w.slow, w.average, w.opened_times],
        rows: endpoints.iter().map(row).collect(),
        empty: w.no_instances,
    }
}

fn method_table(ask: &Ask, methods: &[MethodState]) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let row = |method: &MethodState| {
        let (words, tone) = gate(w, &method.state);
        vec![
            Cell::text(format!("{}.{}", method.service, method.method)).note(method.policy.clone()),
            Cell::text(method.caller.replace(',', ", ")),
            Cell::state(words, tone).note(method.reason.clone()),
            Cell::number(method.calls),
            Cell::number(method.retries),
            Cell::number(method.hedges),
            Cell::number(method.fallbacks),
            Cell::number(method.rejected),
        ]
    };
    Table {
        caption: w.methods.to_owned(),
        columns: vec![w.policy, w.called_by, c.status, w.calls, w.retries, w.hedges, w.fallbacks, w.rejected],
        rows: methods.iter().map(row).collect(),
        empty: w.no_methods,
    }
}

/// Shows what the edge lets in and turns away.
///
/// # Errors
/// `forbidden`.
pub async fn protection(ask: &Ask) -> Result<Answer> {
    let w = Words::of(ask.lang);
    let caller = permit(ask, "GET", "/admin/v1/system/protection", &[]).await?;
    let mut client = ask.site.console.gateway();
    let shown = Panel::of(ask.read(&caller, client.get_protection(GetProtectionRequest {})).await)?;
    let door = shown.clone().map(|shown| vec![Part::Figures(figures(w, &shown))]);
    let tiers = shown.clone().map(|shown| vec![Part::Table(tier_table(w, &shown))]);
    let limits = shown.map(|shown| vec![Part::Table(limit_table(w, &shown))]);
    let blocks = vec![
        Block::of("door", w.at_the_door, door),
        Block::of("tiers", w.tiers, tiers),
        Block::of("limits", w.rate_limits, limits),
    ];
    Page::new(shell(ask, w.protection, "/operator/system/protection"), blocks).answer(StatusCode::OK)
}

fn figures(w: &'static Words, shown: &GetProtectionResponse) -> Vec<(&'static str, String, String)> {
    vec![
        (w.in_flight, shown.in_flight.to_string(), String::new()),
        (w.limit, shown.limit.to_string(), String::new()),
        (w.policy_version, shown.policy_version.to_string(), fill(w.policy_age, shown.policy_age_ms)),
    ]
}

fn tier_table(w: &'static Words, shown: &GetProtectionResponse) -> Table {
    let rows = shown
        .tiers
        .iter()
        .map(|tier| vec![Cell::text(tier_name(w, &tier.name)), Cell::number(tier.admitted), Cell::number(tier.shed)]);
    Table {
        caption: w.tiers.to_owned(),
        columns: vec![w.tier, w.let_in, w.turned_away],
        rows: rows.collect(),
        empty: w.no_tiers,
    }
}

/// Puts a tier into words; one that a later version adds stays as it is.
fn tier_name<'a>(w: &'static Words, name: &'a str) -> &'a str {
    match name {
        "pay" => w.tier_pay,
        "order" => w.tier_order,
        "cart" => w.tier_cart,
        "browse" => w.tier_browse,
        "assistant" => w.tier_assistant,
        other => other,
    }
}

fn limit_table(w: &'static Words, shown: &GetProtectionResponse) -> Table {
    let rows = shown.rate_limits.iter().map(|limit| {
        vec![
            Cell::text(limit.name.clone()).note(limit.rule.clone()),
            Cell::number(limit.allowed),
            Cell::number(limit.limited),
            Cell::number(limit.keys),
        ]
    });
    Table {
        caption: w.rate_limits.to_owned(),
        columns: vec![w.rule, w.let_in, w.turned_away, w.remembered],
        rows: rows.collect(),
        empty: w.no_limits,
    }
}

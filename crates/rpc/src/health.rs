//! The standard health service, `grpc.health.v1.Health`, written by hand: `Check` only, as the standard allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;

/// Prefix of the service's paths.
pub(crate) const PREFIX: &str = "/grpc.health.v1.Health/";
const CHECK: &str = "/grpc.health.v1.Health/Check";

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
}

/// Answers whether the services of this port take calls: yes until the port begins to drain.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    services: Arc<[&'static str]>,
    draining: Arc<AtomicBool>,
}

impl Health {
    pub(crate) fn new(services: Arc<[&'static str]>) -> Self {
        Health { services, draining: Arc::default() }
    }

    /// Says no from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) async fn handle(&self, request: Request<Body>) -> Response<Body> {
        if request.uri().path() != CHECK {
            return Status::unimplemented("only Check is answered").into_http();
        }
        let check = |request: tonic::Request<HealthCheckRequest>| {
            std::future::ready(self.check(&request.into_inner().service).map(tonic::Response::new))
        };
        Grpc::new(ProstCodec::default()).unary(tower::service_fn(check), request).await
    }

    /// Answers for the port (an empty name) or for one service, by its name (`order`) or its full gRPC name.
    fn check(&self, service: &str) -> Result<HealthCheckResponse, Status> {
        if !service.is_empty() && !self.services.iter().any(|known| *known == package_service(service)) {
            return Err(Status::not_found("unknown service"));
        }
        let draining = self.draining.load(Ordering::Relaxed);
        let status = if draining { ServingStatus::NotServing } else { ServingStatus::Serving };
        Ok(HealthCheckResponse { status: status.into() })
    }
}

/// Returns the service a gRPC name belongs to: `mallard.order.v1.OrderService` is `order`'s.
pub(crate) fn package_service(name: &str) -> &str {
    name.strip_prefix("mallard.").and_then(|rest| rest.split('.').next()).unwrap_or(name)
}

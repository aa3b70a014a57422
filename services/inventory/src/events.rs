//! Events of the service.

use mallard_bus::Envelope;
use mallard_proto::events::STOCK_AVAILABILITY_V1;
use mallard_proto::inventory::v1::AvailabilityChanged;
use mallard_types::Micros;
use prost::Message;

use crate::store::Announced;

/// Makes `stock.availability.v1`.
pub fn availability_changed(id: String, sku_id: &str, announced: Announced, at: Micros) -> Envelope {
    let payload =
        AvailabilityChanged { sku_id: sku_id.to_owned(), in_stock: announced.in_stock, version: announced.version };
    Envelope {
        id,
        kind: STOCK_AVAILABILITY_V1.to_owned(),
        key: sku_id.to_owned(),
        at,
        trace: mallard_rpc::with_current(|call| call.trace.traceparent()),
        payload: payload.encode_to_vec().into(),
    }
}

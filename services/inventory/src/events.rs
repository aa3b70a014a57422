//! Events of the service.

use mallard_bus::Envelope;
use mallard_proto::events::STOCK_AVAILABILITY_V1;
use mallard_proto::inventory::v1::AvailabilityChanged;
use mallard_types::Micros;

use crate::store::Announced;

/// Makes `stock.availability.v1`.
pub fn availability_changed(id: String, sku_id: &str, announced: Announced, at: Micros) -> Envelope {
    let changed =
        AvailabilityChanged { sku_id: sku_id.to_owned(), in_stock: announced.in_stock, version: announced.version };
    // Many orders may have led here, so it carries the trace of none.
    Envelope::new(id, STOCK_AVAILABILITY_V1, sku_id, at, &changed)
}

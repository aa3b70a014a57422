//! The statuses of the public API.

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    PendingPayment,
    Paid,
    PartiallyShipped,
    Shipped,
    Delivered,
    Completed,
    Cancelled,
    Refunding,
    Refunded,
}

/// Every status.
pub const STATUSES: [Status; 9] = [
    Status::PendingPayment,
    Status::Paid,
    Status::PartiallyShipped,
    Status::Shipped,
    Status::Delivered,
    Status::Completed,
    Status::Cancelled,
    Status::Refunding,
    Status::Refunded,
];

impl Status {
    /// Returns the public name.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::PendingPayment => "pending_payment",
            Status::Paid => "paid",
            Status::PartiallyShipped => "partially_shipped",
            Status::Shipped => "shipped",
            Status::Delivered => "delivered",
            Status::Completed => "completed",
            Status::Cancelled => "cancelled",
            Status::Refunding => "refunding",
            Status::Refunded => "refunded",
        }
    }

    /// Parses a public name.
    pub fn parse(name: &str) -> Option<Status> {
        STATUSES.into_iter().find(|status| status.as_str() == name)
    }
}

/// How the money of an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaymentStatus {
    Pending,
    Authorised,
    Captured,
    Cancelled,
    Failed,
    PartiallyRefunded,
    Refunded,
}

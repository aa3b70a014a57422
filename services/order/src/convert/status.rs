//! Statuses as messages, and back.

use mallard_proto::order::v1 as pb;
use mallard_proto::payment::v1::PaymentStatus as PbPaymentStatus;

use crate::domain::{PaymentStatus, ReturnStatus, Status};

pub(super) fn status_to_proto(status: Status) -> pb::OrderStatus {
    match status {
        Status::PendingPayment => pb::OrderStatus::PendingPayment,
        Status::Paid => pb::OrderStatus::Paid,
        Status::PartiallyShipped => pb::OrderStatus::PartiallyShipped,
        Status::Shipped => pb::OrderStatus::Shipped,
        Status::Delivered => pb::OrderStatus::Delivered,
        Status::Completed => pb::OrderStatus::Completed,
        Status::Cancelled => pb::OrderStatus::Cancelled,
        Status::Refunding => pb::OrderStatus::Refunding,
        Status::Refunded => pb::OrderStatus::Refunded,
    }
}

pub(super) fn status_from_proto(status: pb::OrderStatus) -> Status {
    match status {
        pb::OrderStatus::PendingPayment => Status::PendingPayment,
        pb::OrderStatus::Paid => Status::Paid,
        pb::OrderStatus::PartiallyShipped => Status::PartiallyShipped,
        pb::OrderStatus::Shipped => Status::Shipped,
        pb::OrderStatus::Delivered => Status::Delivered,
        pb::OrderStatus::Completed => Status::Completed,
        pb::OrderStatus::Cancelled => Status::Cancelled,
        pb::OrderStatus::Refunding => Status::Refunding,
        pb::OrderStatus::Refunded => Status::Refunded,
    }
}

pub(super) fn payment_status_to_proto(status: PaymentStatus) -> PbPaymentStatus {
    match status {
        PaymentStatus::Pending => PbPaymentStatus::Pending,
        PaymentStatus::Authorised => PbPaymentStatus::Authorised,
        PaymentStatus::Captured => PbPaymentStatus::Captured,
        PaymentStatus::Cancelled => PbPaymentStatus::Cancelled,
        PaymentStatus::Failed => PbPaymentStatus::Failed,
        PaymentStatus::PartiallyRefunded => PbPaymentStatus::PartiallyRefunded,
        PaymentStatus::Refunded => PbPaymentStatus::Refunded,
    }
}

pub(super) fn payment_status_from_proto(status: PbPaymentStatus) -> PaymentStatus {
    match status {
        PbPaymentStatus::Pending => PaymentStatus::Pending,
        PbPaymentStatus::Authorised => PaymentStatus::Authorised,
        PbPaymentStatus::Captured => PaymentStatus::Captured,
        PbPaymentStatus::Cancelled => PaymentStatus::Cancelled,
        PbPaymentStatus::Failed => PaymentStatus::Failed,
        PbPaymentStatus::PartiallyRefunded => PaymentStatus::PartiallyRefunded,
        PbPaymentStatus::Refunded => PaymentStatus::Refunded,
    }
}

pub(super) fn return_status_to_proto(status: ReturnStatus) -> pb::ReturnStatus {
    match status {
        ReturnStatus::Requested => pb::ReturnStatus::Requested,
        ReturnStatus::Refused => pb::ReturnStatus::Refused,
        ReturnStatus::Approved => pb::ReturnStatus::Approved,
        ReturnStatus::Refunded => pb::ReturnStatus::Refunded,
        ReturnStatus::Withdrawn => pb::ReturnStatus::Withdrawn,
    }
}

pub(super) fn return_status_from_proto(status: pb::ReturnStatus) -> ReturnStatus {
    match status {
        pb::ReturnStatus::Requested => ReturnStatus::Requested,
        pb::ReturnStatus::Refused => ReturnStatus::Refused,
        pb::ReturnStatus::Approved => ReturnStatus::Approved,
        pb::ReturnStatus::Refunded => ReturnStatus::Refunded,
        pb::ReturnStatus::Withdrawn => ReturnStatus::Withdrawn,
    }
}

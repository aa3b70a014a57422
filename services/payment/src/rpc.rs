//! Proto to domain and back.

use std::sync::Arc;

use mallard_proto::Timestamp;
use mallard_proto::common::v1::{Check, Money as MoneyMessage, RunChecksRequest, RunChecksResponse};
use mallard_proto::payment::v1::payment_service_server::PaymentService;
use mallard_proto::payment::v1::{self as pb, *};
use mallard_types::{Money, Result};
use tonic::{Request, Response, Status as RpcStatus};

use crate::app::{App, Start};
use crate::checks;
use crate::domain::{self, CardFace, CardInput, RefundRequest, Status};
use crate::error;
use crate::store::{Balance, LedgerEntry as StoredEntry};

type Answer<T> = std::result::Result<Response<T>, RpcStatus>;

/// Serves the payment contract.
pub struct Rpc(Arc<App>);

impl Rpc {
    /// Makes the server of an application.
    pub fn new(app: Arc<App>) -> Rpc {
        Rpc(app)
    }
}

/// Turns a use case's result into an answer.
fn answer<T, M>(result: Result<T>, message: impl FnOnce(T) -> M) -> Answer<M> {
    result.map(|value| Response::new(message(value))).map_err(mallard_rpc::status)
}

#[tonic::async_trait]
impl PaymentService for Rpc {
    async fn tokenise(&self, request: Request<TokeniseRequest>) -> Answer<TokeniseResponse> {
        check_paying()?;
        let input = request.into_inner().input.unwrap_or_default();
        let typed =
            CardInput { number: input.number, exp_month: input.exp_month, exp_year: input.exp_year, cvc: input.cvc };
        answer(self.0.tokenise(&input.method, &typed), |(card_token, face)| TokeniseResponse {
            card_token,
            card: Some(card_message(face)),
        })
    }

    async fn start_payment(&self, request: Request<StartPaymentRequest>) -> Answer<StartPaymentResponse> {
        let request = request.into_inner();
        let amount = required_money(request.amount).map_err(mallard_rpc::status)?;
        let start = Start {
            payment_id: request.payment_id,
            order_id: request.order_id,
            user_id: request.user_id,
            amount,
            method: request.method,
            card_token: request.card_token,
            rounding_nanos: request.rounding_nanos,
        };
        answer(self.0.start(start).await, |payment| StartPaymentResponse { payment: Some(payment_message(payment)) })
    }

    async fn resolve_payment(&self, request: Request<ResolvePaymentRequest>) -> Answer<ResolvePaymentResponse> {
        answer(self.0.resolve(&request.into_inner().order_id).await, |resolved| ResolvePaymentResponse {
            payment: resolved.payment.map(payment_message),
            unknown: resolved.unknown,
        })
    }

    async fn close_order_payments(
        &self,
        request: Request<CloseOrderPaymentsRequest>,
    ) -> Answer<CloseOrderPaymentsResponse> {
        for_the_mall()?;
        let request = request.into_inner();
        answer(self.0.close(&request.order_id, &request.reason).await, |closed| CloseOrderPaymentsResponse {
            unknown: closed.unknown,
            refunded: closed.refunded.map(Into::into),
        })
    }

    async fn refund_order(&self, request: Request<RefundOrderRequest>) -> Answer<RefundOrderResponse> {
        for_the_mall()?;
        let request = request.into_inner();
        let order_id = request.order_id.clone();
        let wish = refund_request(request).map_err(mallard_rpc::status)?;
        answer(self.0.refund_order(&order_id, &wish).await, |(refund, payment)| RefundOrderResponse {
            refund: Some(refund_message(refund)),
            payment: payment.map(payment_message),
        })
    }

    async fn get_payment(&self, request: Request<GetPaymentRequest>) -> Answer<GetPaymentResponse> {
        answer(self.0.visible(&request.into_inner().id).await, |payment| GetPaymentResponse {
            payment: Some(payment_message(payment)),
        })
    }

    async fn cancel_payment(&self, request: Request<CancelPaymentRequest>) -> Answer<CancelPaymentResponse> {
        answer(self.0.cancel(&request.into_inner().id).await, |payment| CancelPaymentResponse {
            payment: Some(payment_message(payment)),
        })
    }

    async fn admin_list_payments(
        &self,
        request: Request<AdminListPaymentsRequest>,
    ) -> Answer<AdminListPaymentsResponse> {
        let r = request.into_inner();
        answer(self.0.list(&r.status, r.order_id, r.limit, &r.cursor, r.count).await, |page| {
            AdminListPaymentsResponse {
                payments: page.rows.into_iter().map(payment_message).collect(),
                next_cursor: page.next_cursor,
                count: page.count,
            }
        })
    }

    async fn admin_refund(&self, request: Request<AdminRefundRequest>) -> Answer<AdminRefundResponse> {
        let r = request.into_inner();
        let amount = optional_money(r.amount).map_err(mallard_rpc::status)?;
        let refunded = self.0.refund_by_operator(&r.id, amount, r.reason, &r.idempotency_key).await;
        answer(refunded, |(refund, payment)| AdminRefundResponse {
            refund: Some(refund_message(refund)),
            payment: Some(payment_message(payment)),
        })
    }

    async fn list_ledger_accounts(&self, _: Request<ListLedgerAccountsRequest>) -> Answer<ListLedgerAccountsResponse> {
        answer(self.0.accounts().await, |accounts| ListLedgerAccountsResponse {
            accounts: accounts.into_iter().map(account_message).collect(),
        })
    }

    async fn list_ledger_entries(
        &self,
        request: Request<ListLedgerEntriesRequest>,
    ) -> Answer<ListLedgerEntriesResponse> {
        let r = request.into_inner();
        answer(self.0.entries(r.account, r.order_id, r.limit, &r.cursor).await, |page| ListLedgerEntriesResponse {
            entries: page.rows.into_iter().map(entry_message).collect(),
            next_cursor: page.next_cursor,
        })
    }

    async fn scan_refunds(&self, request: Request<ScanRefundsRequest>) -> Answer<ScanRefundsResponse> {
        let r = request.into_inner();
        answer(self.0.scan_refunds(&r.after_id, r.limit).await, |refunds| ScanRefundsResponse {
            refunds: refunds.into_iter().map(refund_message).collect(),
        })
    }

    async fn scan_payments(&self, request: Request<ScanPaymentsRequest>) -> Answer<ScanPaymentsResponse> {
        let r = request.into_inner();
        answer(self.0.scan_payments(&r.after_id, r.limit).await, |payments| ScanPaymentsResponse {
            payments: payments.into_iter().map(payment_message).collect(),
        })
    }

    async fn run_checks(&self, _: Request<RunChecksRequest>) -> Answer<RunChecksResponse> {
        for_the_mall()?;
        let check = |v: checks::Verdict| Check { name: v.name.to_owned(), ok: v.ok, detail: v.detail };
        let run = async {
            let mut checks: Vec<Check> = checks::run(&self.0).await?.into_iter().map(check).collect();
            checks.extend(self.0.check_events().await?);
            Ok(checks)
        };
        answer(run.await, |checks| RunChecksResponse { checks })
    }
}

/// Refuses everybody but the mall's own services: orders close payments and give money back, shoppers and operators ask them.
fn for_the_mall() -> std::result::Result<(), RpcStatus> {
    mallard_rpc::with_current(|call| call.caller.require_system()).map_err(mallard_rpc::status)
}

/// Refuses everybody but signed-in users and the mall itself: a card is kept for somebody.
fn check_paying() -> std::result::Result<(), RpcStatus> {
    let check = |caller: &mallard_rpc::Caller| match caller.is_system() {
        true => Ok(()),
        false => caller.require_user().map(|_| ()),
    };
    mallard_rpc::with_current(|call| check(&call.caller)).map_err(mallard_rpc::status)
}

fn optional_money(money: Option<MoneyMessage>) -> Result<Option<Money>> {
    money.map(Money::try_from).transpose()
}

fn required_money(money: Option<MoneyMessage>) -> Result<Money> {
    optional_money(money)?.ok_or_else(error::amount_invalid)
}

fn refund_request(r: RefundOrderRequest) -> Result<RefundRequest> {
    let line = |line: pb::RefundLine| {
        let amount = optional_money(line.amount)?;
        Ok(domain::RefundLine { sku_id: line.sku_id, code: line.code, quantity: line.quantity, amount, row: line.row })
    };
    Ok(RefundRequest {
        id: r.refund_id,
        amount: optional_money(r.amount)?,
        reason: r.reason,
        reference: r.reference,
        customer: r.customer,
        country: r.country,
        lines: r.lines.into_iter().map(line).collect::<Result<_>>()?,
    })
}

fn payment_message(p: domain::Payment) -> pb::Payment {
    let money = |amount: i64| Some(Money::new(amount, p.amount.currency).into());
    pb::Payment {
        status: status_message(p.status).into(),
        method: p.method.as_str().to_owned(),
        amount: money(p.amount.amount),
        captured: money(p.captured),
        refunded: money(p.refunded),
        card: p.card.map(card_message),
        // No method of this release sends the shopper anywhere.
        action: (p.status == Status::Pending).then(|| Action { r#type: "none".to_owned(), url: String::new() }),
        failure: p.failure.map(|failure| Failure { code: failure.code, message: failure.message }),
        created_at: Some(Timestamp::from_micros(p.created_at)),
        updated_at: Some(Timestamp::from_micros(p.updated_at)),
        version: p.version,
        id: p.id,
        order_id: p.order_id,
    }
}

fn status_message(status: Status) -> PaymentStatus {
    match status {
        Status::Pending => PaymentStatus::Pending,
        Status::Authorised => PaymentStatus::Authorised,
        Status::Captured => PaymentStatus::Captured,
        Status::Cancelled => PaymentStatus::Cancelled,
        Status::Failed => PaymentStatus::Failed,
        Status::PartiallyRefunded => PaymentStatus::PartiallyRefunded,
        Status::Refunded => PaymentStatus::Refunded,
    }
}

fn card_message(face: CardFace) -> Card {
    Card { brand: face.brand, last4: face.last4 }
}

fn refund_message(r: domain::Refund) -> pb::Refund {
    let status = match r.status {
        domain::RefundStatus::Pending => RefundStatus::Pending,
        domain::RefundStatus::Succeeded => RefundStatus::Succeeded,
        domain::RefundStatus::Failed => RefundStatus::Failed,
    };
    let line = |line: domain::RefundLine| pb::RefundLine {
        sku_id: line.sku_id,
        code: line.code,
        quantity: line.quantity,
        amount: line.amount.map(Into::into),
        row: line.row,
    };
    pb::Refund {
        id: r.id,
        payment_id: r.payment_id,
        order_id: r.order_id,
        amount: Some(r.amount.into()),
        status: status.into(),
        reason: r.reason,
        created_at: Some(Timestamp::from_micros(r.created_at)),
        reference: r.reference,
        customer: r.customer,
        country: r.country,
        lines: r.lines.into_iter().map(line).collect(),
    }
}

fn account_message(balance: Balance) -> LedgerAccount {
    LedgerAccount {
        account: balance.account,
        currency: balance.currency,
        balance: balance.balance,
        balance_nanos: balance.nanos,
    }
}

fn entry_message(entry: StoredEntry) -> LedgerEntry {
    LedgerEntry {
        seq: entry.seq,
        transaction_id: entry.transaction_id,
        account: entry.account,
        debit: entry.debit,
        credit: entry.credit,
        currency: entry.currency,
        order_id: entry.order_id,
        payment_id: entry.payment_id,
        created_at: Some(Timestamp::from_micros(entry.at)),
        nanos: entry.nanos,
    }
}

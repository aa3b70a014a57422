//! Planted bugs. Tests switch them on to prove that the checks notice; nothing else can.
//!
//! | switch | what goes wrong | check that notices |
//! |---|---|---|
//! | `payment.double_capture` | every captured card is charged a second time | `payment.one_capture_per_order` |
//! | `payment.unbalanced_ledger` | captures credit one minor unit too little | `ledger.balanced` |

use mallard_types::Result;

use super::App;
use crate::acquirer::{Charge, Charged};
use crate::domain::{Card, Outcome, Payment, Posting, Status};
use crate::store::Change;

impl App {
    /// Spoils a posting when `payment.unbalanced_ledger` is on.
    pub(super) fn planted_posting(&self, mut posting: Posting) -> Posting {
        if self.ctx.switch("payment.unbalanced_ledger")
            && let Some(entry) = posting.entries.iter_mut().find(|entry| entry.credit > 0)
        {
            entry.credit -= 1;
        }
        posting
    }

    /// Charges the card again beside the gate when `payment.double_capture` is on.
    pub(super) async fn planted_second_capture(&self, payment: &Payment, card: &Card) -> Result<()> {
        if !self.ctx.switch("payment.double_capture") || payment.status != Status::Captured {
            return Ok(());
        }
        let id = self.ctx.id("pay");
        let charge = Charge { key: id.clone(), amount: payment.amount, card: card.clone(), at: payment.created_at };
        let Charged::Captured { provider_ref } = self.provider.authorise_capture(&charge).await else { return Ok(()) };
        let twin = Payment {
            id: id.clone(),
            provider_key: id,
            status: Status::Pending,
            captured: 0,
            provider_ref: String::new(),
            version: 1,
            ..payment.clone()
        };
        if self.store.write("payment.planted", Change { opened: Some(&twin), ..Change::default() }).await? {
            self.record(twin, &Outcome::Captured { provider_ref }).await?;
        }
        Ok(())
    }
}

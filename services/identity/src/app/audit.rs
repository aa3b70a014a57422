//! The audit log: what operators and sellers changed.

use std::collections::BTreeMap;

use mallard_types::{Result, page};
use serde_json::Value;

use super::caller::require_operator;
use super::{App, Page, Work, bad_cursor};
use crate::domain::{Email, Entry};
use crate::store::{self, AuditFilter, StoredEntry};

/// An entry as it is shown.
pub struct AuditItem {
    /// The entry at its place.
    pub stored: StoredEntry,
    /// E-mail address of who did it; empty when unknown or gone.
    pub actor_email: String,
}

impl App {
    /// Returns a page of the log, the latest entry first.
    ///
    /// # Errors
    /// `admin_only`, `limit_out_of_range`, `bad_cursor`.
    pub async fn audit(&self, limit: i32, cursor: &str, filter: AuditFilter) -> Result<Page<AuditItem>> {
        require_operator()?;
        let limit = page::limit(limit)?;
        let before = match cursor {
            "" => i64::MAX,
            cursor => page::decode_cursor(cursor, 1)?[0].parse().map_err(|_| bad_cursor())?,
        };
        let mut entries = store::audit_page(&self.db, &filter, before, limit + 1).await?;
        let mut next_cursor = String::new();
        if entries.len() > limit {
            entries.truncate(limit);
            next_cursor = entries.last().map(|last| page::encode_cursor(&[&last.seq.to_string()])).unwrap_or_default();
        }
        let emails = self.emails(&entries).await?;
        let items = entries
            .into_iter()
            .map(|stored| AuditItem {
                actor_email: emails.get(&stored.entry.actor).cloned().unwrap_or_default(),
                stored,
            })
            .collect();
        Ok(Page { items, next_cursor })
    }

    async fn emails(&self, entries: &[StoredEntry]) -> Result<BTreeMap<String, String>> {
        let mut ids: Vec<&str> = entries.iter().map(|stored| stored.entry.actor.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let users = store::users_by_id(&self.db, ids).await?;
        let email = |email: Option<Email>| email.map(|email| email.as_str().to_owned()).unwrap_or_default();
        Ok(users.into_iter().map(|user| (user.id, email(user.email))).collect())
    }
}

impl Work {
    /// Writes what the caller changed into the log, if this transaction commits. `was` and `became` hold no secret; none
    /// means that there was or is nothing.
    pub(super) async fn record(
        &self,
        action: &str,
        target: &str,
        was: Option<Value>,
        became: Option<Value>,
    ) -> Result<()> {
        let text = |state: Option<Value>| state.map(|state| state.to_string()).unwrap_or_default();
        let entry = Entry {
            at: self.now,
            actor: self.doer.id.clone(),
            session_id: self.doer.session_id.clone(),
            address: self.doer.address.clone(),
            request_id: self.doer.request_id.clone(),
            service: self.app.ctx.service().to_owned(),
            action: action.to_owned(),
            target: target.to_owned(),
            was: text(was),
            became: text(became),
        };
        store::append_audit(&self.tx, &entry.bounded()).await
    }
}

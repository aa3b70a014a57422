//! The books of this service that must balance, read in pages. Details name ids only, never personal data.

use std::collections::BTreeMap;

use mallard_db::Db;
use mallard_types::{Micros, Result};

use crate::domain::{Email, Session, User};
use crate::store;

/// Rows read at once.
const PAGE_ROWS: usize = 500;
/// Breaking rows named in a detail.
const NAMED_MAX: usize = 10;

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Stable name.
    pub name: &'static str,
    /// Whether no row breaks the rule.
    pub ok: bool,
    /// What was counted, or the first rows that break the rule.
    pub detail: String,
}

/// Runs every check.
///
/// # Errors
/// The database fails.
pub async fn run(db: &Db, now: Micros) -> Result<Vec<Outcome>> {
    Ok(vec![emails_are_unique(db).await?, sessions_belong_to_users(db, now).await?])
}

/// Every stored e-mail address is in its one form, and no two accounts share one.
async fn emails_are_unique(db: &Db) -> Result<Outcome> {
    let mut tally = Tally::new("identity.email_unique", "accounts");
    let mut last = (String::new(), String::new());
    loop {
        let page = store::emails_page(db, (&last.0, &last.1), PAGE_ROWS).await?;
        let rows = page.len();
        for (email, user_id) in page {
            let in_form = Email::parse(&email).is_ok_and(|parsed| parsed.as_str() == email);
            tally.count(in_form && email != last.0, &user_id);
            last = (email, user_id);
        }
        if rows < PAGE_ROWS {
            return Ok(tally.close());
        }
    }
}

/// Every session belongs to an account, and every live one to an account that may sign in.
async fn sessions_belong_to_users(db: &Db, now: Micros) -> Result<Outcome> {
    let mut tally = Tally::new("identity.sessions_belong_to_users", "sessions");
    let mut last = String::new();
    loop {
        let page = store::sessions_page(db, &last, PAGE_ROWS).await?;
        let Some(newest) = page.last() else { return Ok(tally.close()) };
        last.clone_from(&newest.id);
        let users = store::users_by_id(db, page.iter().map(|session| session.user_id.as_str())).await?;
        let users: BTreeMap<&str, &User> = users.iter().map(|user| (user.id.as_str(), user)).collect();
        for session in &page {
            let owner = users.get(session.user_id.as_str());
            tally.count(owner.is_some_and(|owner| may_stand(session, owner, now)), &session.id);
        }
    }
}

fn may_stand(session: &Session, owner: &User, now: Micros) -> bool {
    !session.is_live(now) || owner.admit(now).is_ok()
}

struct Tally {
    name: &'static str,
    of: &'static str,
    counted: u64,
    broken: u64,
    named: Vec<String>,
}

impl Tally {
    fn new(name: &'static str, of: &'static str) -> Tally {
        Tally { name, of, counted: 0, broken: 0, named: Vec::new() }
    }

    fn count(&mut self, ok: bool, id: &str) {
        self.counted += 1;
        if ok {
            return;
        }
        self.broken += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(id.to_owned());
        }
    }

    fn close(self) -> Outcome {
        let detail = match self.broken {
            0 => format!("{} {}", self.counted, self.of),
            _ => format!("{} of {} {}: {}", self.broken, self.counted, self.of, self.named.join(", ")),
        };
        Outcome { name: self.name, ok: self.broken == 0, detail }
    }
}

//! The books of this service that must balance, read in pages. Details name ids only, never personal data.

use std::collections::BTreeMap;

use mallard_db::Db;
use mallard_types::{Micros, Result};

use crate::domain::{Email, GENESIS, Moment, Roles, Ruleset, Session, User, is_built_in};
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
    Ok(vec![
        emails_are_unique(db).await?,
        sessions_belong_to_users(db, now).await?,
        roles_exist(db).await?,
        audit_chain_holds(db).await?,
    ])
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

/// Every session belongs to an account, and every live one to an account that is not deleted.
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
    // A ban suspends sessions without ending them.
    !session.is_live(Moment::new(now, None)) || owner.deleted_at.is_none()
}

/// Every role of an account is one that exists.
async fn roles_exist(db: &Db) -> Result<Outcome> {
    let mut tally = Tally::new("identity.roles_exist", "accounts");
    let mut last = String::new();
    loop {
        let page = store::living_users_page(db, &last, PAGE_ROWS).await?;
        let Some(newest) = page.last() else { return Ok(tally.close()) };
        last.clone_from(&newest.id);
        // After the accounts: a role somebody has just been given is there.
        let known = Ruleset { roles: store::roles(db).await?, ..Ruleset::default() };
        for user in &page {
            let mut exist = all_exist(&user.roles, &known);
            if !exist {
                // The role may have been taken from the account and deleted since.
                let again = store::user(db, &user.id).await?;
                let known = Ruleset { roles: store::roles(db).await?, ..Ruleset::default() };
                exist = again.deleted_at.is_some() || all_exist(&again.roles, &known);
            }
            tally.count(exist, &user.id);
        }
    }
}

fn all_exist(roles: &Roles, known: &Ruleset) -> bool {
    roles.bare().into_iter().all(|name| is_built_in(name) || known.role(name).is_some())
}

/// The audit log has no gap, its end is there, and every entry's hash is right for it and the entry before.
async fn audit_chain_holds(db: &Db) -> Result<Outcome> {
    let mut tally = Tally::new("identity.audit_chain", "entries");
    // First the number: entries that are added meanwhile are left for the next time.
    let end = store::last_audit_seq(db).await?;
    let (mut seq, mut hash) = (0, GENESIS);
    while seq < end {
        let page = store::audit_after(db, seq, PAGE_ROWS).await?;
        if page.is_empty() {
            break;
        }
        for stored in page.into_iter().filter(|stored| stored.seq <= end) {
            let follows = stored.seq == seq + 1 && stored.entry.hash(stored.seq, &hash) == stored.hash;
            tally.count(follows, &stored.seq.to_string());
            (seq, hash) = (stored.seq, stored.hash);
        }
    }
    if seq < end {
        tally.count(false, &format!("{} to {end} are missing", seq + 1));
    }
    Ok(tally.close())
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

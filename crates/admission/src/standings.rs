//! How accounts stand since their tokens were issued: roles, seller and ban, which override what a token says.
//!
//! Three ways lead here, each enough by itself: the event `user.standing_changed.v1`, a look at identity's list every 400 ms,
//! and a look right after the service passed on a ban, its end, a change of roles or a deletion. Until the list was read once
//! no token counts.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use mallard_proto::identity::v1 as proto;
use mallard_rpc::Caller;
use mallard_runtime::Shutdown;
use mallard_types::{Error, Micros, Result};
use parking_lot::RwLock;
use tokio::sync::{Mutex, Notify};

use crate::bans::Ban;
use crate::cache::Now;
use crate::feed;
use crate::issuer::Issuer;

/// Longest wait for a page of the list.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// A ban that has ended by itself is forgotten after this long: no token lives as long, and newer ones say what is true.
const ENDED_BAN_KEPT: Micros = 24 * 60 * 60 * 1_000_000;

/// How one account stands.
#[derive(Clone, Debug)]
struct Standing {
    seq: i64,
    roles: Vec<String>,
    seller_id: String,
    ban: Option<Ban>,
    deleted: bool,
    /// After this it says nothing that tokens do not say.
    forget_at: Micros,
}

/// Knows the accounts whose tokens may not say what is true.
pub struct Standings {
    identity: Issuer,
    now: Now,
    accounts: RwLock<HashMap<String, Arc<Standing>>>,
    /// Last change read from the list.
    read_to: AtomicI64,
    reading: Mutex<()>,
    complete: AtomicBool,
    wake: Notify,
}

impl Standings {
    /// Makes an empty set that is not complete yet.
    pub fn new(identity: Issuer, now: Now) -> Standings {
        Standings {
            identity,
            now,
            accounts: RwLock::default(),
            read_to: AtomicI64::new(0),
            reading: Mutex::new(()),
            complete: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    /// Corrects what a token says of its caller: roles, ban among them, and seller.
    ///
    /// # Errors
    /// `session_revoked` when the account has been deleted.
    pub fn correct(&self, caller: &mut Caller) -> Result<()> {
        let Some(standing) = self.find(&caller.user_id) else { return Ok(()) };
        if standing.deleted {
            return Err(Error::unauthenticated("session_revoked", "this account has been deleted"));
        }
        caller.roles.clone_from(&standing.roles);
        caller.seller_id.clone_from(&standing.seller_id);
        if let Some(ban) = standing.ban.filter(|ban| ban.stands_at((self.now)())) {
            caller.roles.push(ban.level.role().to_owned());
        }
        Ok(())
    }

    /// Returns when an account's ban ends by itself, as far as that is known here.
    pub fn ban_until(&self, user: &str) -> Option<Micros> {
        self.find(user)?.ban?.until
    }

    fn find(&self, user: &str) -> Option<Arc<Standing>> {
        self.accounts.read().get(user).cloned()
    }

    /// Takes a change that an event tells.
    pub fn tell(&self, standing: proto::Standing) {
        // The list says the latest of everything up to here: an event that comes late says something older.
        if standing.seq > self.read_to.load(Ordering::Acquire) {
            self.put(standing);
        }
    }

    fn put(&self, standing: proto::Standing) {
        let ban = Ban::parse(&standing.ban_level, standing.ban_until.map(|until| until.micros()));
        let ban_forgotten_at = || ban.and_then(|ban| ban.until).map(|until| until.saturating_add(ENDED_BAN_KEPT));
        let until = standing.until.map(|until| until.micros());
        let new = Standing {
            seq: standing.seq,
            roles: standing.roles,
            seller_id: standing.seller_id,
            ban,
            deleted: standing.deleted,
            forget_at: until.or_else(ban_forgotten_at).unwrap_or(Micros::MAX),
        };
        let mut accounts = self.accounts.write();
        if accounts.get(&standing.user_id).is_none_or(|held| held.seq < new.seq) {
            if new.forget_at <= (self.now)() {
                accounts.remove(&standing.user_id);
            } else {
                accounts.insert(standing.user_id, Arc::new(new));
            }
        }
    }

    /// Reads the list unless it was read before.
    ///
    /// # Errors
    /// When identity cannot be asked.
    pub async fn complete(&self) -> Result<()> {
        if self.complete.load(Ordering::Acquire) {
            return Ok(());
        }
        self.read().await
    }

    /// Reads what is new on identity's list.
    ///
    /// # Errors
    /// When identity cannot be asked.
    pub async fn read(&self) -> Result<()> {
        let _reading = self.reading.lock().await;
        loop {
            let after_seq = self.read_to.load(Ordering::Acquire);
            let call = self.identity.call(PAGE_TIMEOUT);
            let mut identity = self.identity.client();
            let request = proto::ListStandingsRequest { after_seq };
            let answer = mallard_rpc::scope(call, identity.list_standings(request)).await;
            let page = answer.map_err(mallard_rpc::error)?.into_inner().standings;
            let last = page.iter().map(|standing| standing.seq).max().unwrap_or_default();
            page.into_iter().for_each(|standing| self.put(standing));
            // A page that does not lead on is the last one.
            if last <= after_seq {
                break;
            }
            self.read_to.store(last, Ordering::Release);
        }
        self.complete.store(true, Ordering::Release);
        Ok(())
    }

    /// Reads the list again and again, until shutdown.
    pub async fn keep_fresh(self: Arc<Self>, pause: Duration, shutdown: Shutdown) {
        let tidy = || self.forget();
        feed::keep_fresh("standings", pause, &self.wake, &shutdown, || self.read(), tidy).await;
    }

    fn forget(&self) {
        let now = (self.now)();
        self.accounts.write().retain(|_, standing| standing.forget_at > now);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;

    use mallard_proto::Timestamp;

    use super::*;
    use crate::bans::Level;

    const NOW: Micros = 1_800_000_000_000_000;
    const SECOND: Micros = 1_000_000;

    fn standings() -> (Standings, Arc<AtomicI64>) {
        let clock = Arc::new(AtomicI64::new(NOW));
        let now = Arc::clone(&clock);
        (Standings::new(Issuer::nowhere(), Arc::new(move || now.load(Ordering::SeqCst))), clock)
    }

    fn standing(seq: i64, level: &str, ban_until: Option<Micros>, until: Option<Micros>) -> proto::Standing {
        proto::Standing {
            seq,
            user_id: "usr_1".into(),
            roles: vec!["user".into()],
            ban_level: level.into(),
            ban_until: ban_until.map(Timestamp::from_micros),
            until: until.map(Timestamp::from_micros),
            ..Default::default()
        }
    }

    fn level(standings: &Standings, claimed: &str) -> Option<Level> {
        let roles = Level::parse(claimed).map(|level| level.role().to_owned());
        let mut caller = Caller { user_id: "usr_1".into(), roles: Vec::from_iter(roles), ..Caller::default() };
        standings.correct(&mut caller).unwrap();
        Level::of(&caller)
    }

    #[test]
    fn the_latest_change_counts_in_whatever_order_they_come() {
        let (standings, _) = standings();
        assert_eq!(level(&standings, "buy"), Some(Level::Buy));
        standings.tell(standing(2, "", None, Some(NOW + 900 * SECOND)));
        standings.tell(standing(1, "all", None, None));
        assert_eq!(level(&standings, "buy"), None);
        standings.put(standing(3, "login", None, None));
        standings.read_to.store(3, Ordering::SeqCst);
        standings.forget();
        standings.tell(standing(2, "", None, Some(NOW + 900 * SECOND)));
        assert_eq!(level(&standings, ""), Some(Level::Login));
    }

    #[test]
    fn a_ban_ends_by_itself_and_is_forgotten_after_its_tokens() {
        let (standings, clock) = standings();
        standings.tell(standing(1, "buy", Some(NOW + SECOND), None));
        assert_eq!(level(&standings, ""), Some(Level::Buy));
        clock.store(NOW + SECOND, Ordering::SeqCst);
        assert_eq!(level(&standings, "buy"), None);
        standings.forget();
        assert_eq!(standings.accounts.read().len(), 1);
        clock.store(NOW + SECOND + ENDED_BAN_KEPT, Ordering::SeqCst);
        standings.forget();
        assert_eq!(standings.accounts.read().len(), 0);
    }

    #[test]
    fn what_tokens_say_themselves_is_not_kept() {
        let (standings, clock) = standings();
        standings.tell(standing(1, "", None, Some(NOW + SECOND)));
        assert_eq!(standings.accounts.read().len(), 1);
        clock.store(NOW + SECOND, Ordering::SeqCst);
        standings.forget();
        standings.tell(standing(1, "", None, Some(NOW + SECOND)));
        assert_eq!(standings.accounts.read().len(), 0);
    }

    #[test]
    fn roles_and_seller_are_the_standings_and_a_deleted_account_has_no_session() {
        let (standings, _) = standings();
        let mut change = standing(1, "", None, None);
        (change.roles, change.seller_id) = (vec!["support".into()], "sel_1".into());
        standings.tell(change);
        let token = Caller { user_id: "usr_1".into(), roles: vec!["admin".into()], ..Caller::default() };
        let mut caller = token.clone();
        standings.correct(&mut caller).unwrap();
        assert_eq!((caller.roles, caller.seller_id.as_str()), (vec!["support".to_owned()], "sel_1"));
        standings.tell(proto::Standing { deleted: true, ..standing(2, "", None, None) });
        assert_eq!(standings.correct(&mut token.clone()).unwrap_err().code, "session_revoked");
    }
}

//! Sessions: one per login. A session lives while its refresh token keeps being renewed and, where there is an idle limit,
//! while it is used; it ends once. A ban of its account suspends it without ending it.

use mallard_types::Micros;

use super::text;
use crate::error::Refusal;

/// What is known of the client that signs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// What it calls its device; empty: unknown, so every login is a device of its own.
    pub device: String,
    /// What it says it is, cut to a bounded length.
    pub user_agent: String,
    /// Network address it comes from, cut to a bounded length; empty when unknown.
    pub address: String,
}

const DEVICE_CHARS_MAX: usize = 100;
const USER_AGENT_CHARS_MAX: usize = 200;
const ADDRESS_CHARS_MAX: usize = 64;

impl Client {
    /// Checks what the user enters and cuts what travels with the request.
    ///
    /// # Errors
    /// `too_long`, `invalid_text` for the device.
    pub fn new(device: &str, user_agent: &str, address: &str) -> Result<Client, Refusal> {
        let device = device.trim().to_owned();
        text::check("device", &device, DEVICE_CHARS_MAX)?;
        let cut = |text: &str, chars_max| text.chars().filter(|c| !c.is_control()).take(chars_max).collect();
        let (user_agent, address) = (cut(user_agent, USER_AGENT_CHARS_MAX), cut(address, ADDRESS_CHARS_MAX));
        Ok(Client { device, user_agent, address })
    }
}

/// What one login opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Id, `sess_…`.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// Who opened it.
    pub client: Client,
    /// When it was opened.
    pub created_at: Micros,
    /// When it was last renewed or seen in use.
    pub last_used_at: Micros,
    /// When its user last proved who it is with the password.
    pub authenticated_at: Micros,
    /// When it ends unless it is renewed.
    pub expires_at: Micros,
    /// When it was ended early.
    pub revoked_at: Option<Micros>,
}

/// A moment, and how long before it a session must have been used to stand at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The moment.
    pub now: Micros,
    /// A session last used at this time or before is idle; [`Micros::MIN`] when idling is allowed.
    pub idle_since: Micros,
}

impl Moment {
    /// Makes a moment; `idle` is how long a session may go unused.
    pub fn new(now: Micros, idle: Option<Micros>) -> Moment {
        Moment { now, idle_since: idle.map_or(Micros::MIN, |idle| now.saturating_sub(idle)) }
    }
}

/// What presenting a refresh token leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The token is exchanged for a new pair.
    Granted,
    /// The token was exchanged before, so somebody has a copy: the session ends.
    Reused,
    /// The session has ended already.
    Over,
}

impl Session {
    /// Opens a session of a user who has just given the password.
    pub fn open(id: String, user_id: String, client: Client, now: Micros, lifetime: Micros) -> Session {
        Session {
            id,
            user_id,
            client,
            created_at: now,
            last_used_at: now,
            authenticated_at: now,
            expires_at: now.saturating_add(lifetime),
            revoked_at: None,
        }
    }

    /// Tells whether the session stands.
    pub fn is_live(&self, at: Moment) -> bool {
        self.revoked_at.is_none() && at.now < self.expires_at && self.last_used_at > at.idle_since
    }

    /// Decides what a refresh token of this session is worth.
    pub fn renewal(&self, token_used: bool, at: Moment) -> Renewal {
        match (token_used, self.is_live(at)) {
            (true, _) => Renewal::Reused,
            (false, true) => Renewal::Granted,
            (false, false) => Renewal::Over,
        }
    }

    /// Extends the session by a lifetime from now.
    pub fn renew(&mut self, now: Micros, lifetime: Micros) {
        self.last_used_at = self.last_used_at.max(now);
        self.expires_at = now.saturating_add(lifetime);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::open("sess_1".into(), "usr_1".into(), Client::default(), 1_000, 500)
    }

    fn at(now: Micros) -> Moment {
        Moment::new(now, None)
    }

    #[test]
    fn a_session_lives_until_its_expiry_and_no_longer() {
        assert!(session().is_live(at(1_499)));
        assert!(!session().is_live(at(1_500)));
    }

    #[test]
    fn a_session_that_idles_too_long_ends_before_its_expiry() {
        let mut session = session();
        assert!(session.is_live(Moment::new(1_099, Some(100))));
        assert!(!session.is_live(Moment::new(1_100, Some(100))));
        session.last_used_at = 1_050;
        assert!(session.is_live(Moment::new(1_149, Some(100))));
    }

    #[test]
    fn a_renewal_extends_from_now_and_never_turns_use_back() {
        let mut session = session();
        session.renew(1_400, 500);
        assert_eq!((session.last_used_at, session.expires_at), (1_400, 1_900));
        session.renew(1_390, 500);
        assert_eq!(session.last_used_at, 1_400);
    }

    #[test]
    fn a_used_token_is_reuse_even_after_the_end() {
        let mut session = session();
        assert_eq!(session.renewal(false, at(1_100)), Renewal::Granted);
        assert_eq!(session.renewal(true, at(1_100)), Renewal::Reused);
        session.revoked_at = Some(1_200);
        assert_eq!(session.renewal(false, at(1_300)), Renewal::Over);
        assert_eq!(session.renewal(true, at(9_999)), Renewal::Reused);
    }

    #[test]
    fn what_the_client_says_of_itself_is_bounded_and_printable() {
        let client = Client::new(" Anna's phone ", "curl/8\u{7}", "::1").unwrap();
        assert_eq!(
            (client.device.as_str(), client.user_agent.as_str(), client.address.as_str()),
            ("Anna's phone", "curl/8", "::1")
        );
        let long = "鸭".repeat(1_000);
        let cut = Client::new("", &long, &long).unwrap();
        assert_eq!((cut.user_agent.chars().count(), cut.address.chars().count()), (200, 64));
        assert_eq!(Client::new(&long, "", ""), Err(Refusal::TextTooLong("device", 100)));
        assert_eq!(Client::new("a\0b", "", ""), Err(Refusal::TextInvalid("device")));
    }
}

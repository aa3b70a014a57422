//! Sessions: one per login. A session lives while its refresh token keeps being renewed, and ends once.

use mallard_types::Micros;

/// What one login opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Id, `sess_…`.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// What the client said it is, cut to a bounded length.
    pub user_agent: String,
    /// When it was opened.
    pub created_at: Micros,
    /// When its refresh token was last renewed.
    pub last_used_at: Micros,
    /// When it ends unless it is renewed.
    pub expires_at: Micros,
    /// When it was ended early.
    pub revoked_at: Option<Micros>,
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

const USER_AGENT_CHARS_MAX: usize = 200;

impl Session {
    /// Opens a session.
    pub fn open(id: String, user_id: String, user_agent: &str, now: Micros, lifetime: Micros) -> Session {
        let user_agent = user_agent.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARS_MAX).collect();
        Session {
            id,
            user_id,
            user_agent,
            created_at: now,
            last_used_at: now,
            expires_at: now.saturating_add(lifetime),
            revoked_at: None,
        }
    }

    /// Tells whether the session stands at this time.
    pub fn is_live(&self, now: Micros) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }

    /// Decides what a refresh token of this session is worth.
    pub fn renewal(&self, token_used: bool, now: Micros) -> Renewal {
        match (token_used, self.is_live(now)) {
            (true, _) => Renewal::Reused,
            (false, true) => Renewal::Granted,
            (false, false) => Renewal::Over,
        }
    }

    /// Extends the session by a lifetime from now.
    pub fn renew(&mut self, now: Micros, lifetime: Micros) {
        self.last_used_at = now;
        self.expires_at = now.saturating_add(lifetime);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::open("sess_1".into(), "usr_1".into(), "curl/8\u{7}", 1_000, 500)
    }

    #[test]
    fn a_session_lives_until_its_expiry_and_no_longer() {
        assert!(session().is_live(1_499));
        assert!(!session().is_live(1_500));
    }

    #[test]
    fn a_renewal_extends_from_now() {
        let mut session = session();
        session.renew(1_400, 500);
        assert_eq!((session.last_used_at, session.expires_at), (1_400, 1_900));
    }

    #[test]
    fn a_used_token_is_reuse_even_after_the_end() {
        let mut session = session();
        assert_eq!(session.renewal(false, 1_100), Renewal::Granted);
        assert_eq!(session.renewal(true, 1_100), Renewal::Reused);
        session.revoked_at = Some(1_200);
        assert_eq!(session.renewal(false, 1_300), Renewal::Over);
        assert_eq!(session.renewal(true, 9_999), Renewal::Reused);
    }

    #[test]
    fn what_the_client_says_of_itself_is_bounded_and_printable() {
        assert_eq!(session().user_agent, "curl/8");
        let long = Session::open("sess_1".into(), "usr_1".into(), &"鸭".repeat(1_000), 0, 1);
        assert_eq!(long.user_agent.chars().count(), USER_AGENT_CHARS_MAX);
    }
}

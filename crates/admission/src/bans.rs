//! Bans: what an account that operators have banned is refused.

use mallard_proto::Timestamp;
use mallard_proto::rest::RouteInfo;
use mallard_rpc::Caller;
use mallard_types::{Error, Micros};

/// Methods that buy.
const BUYING: [&str; 2] = ["PlaceOrder", "PayOrder"];
/// The one thing that every account may do: end its sessions.
pub const LEAVING: &str = "Logout";
/// Begins the roles that stand for bans.
pub const PREFIX: &str = "ban:";

/// What a ban takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Buying.
    Buy,
    /// Everything that needs a login.
    Login,
    /// Everything.
    All,
}

impl Level {
    /// Reads a level; none when there is no ban. A word nobody knows yet is the hardest ban.
    pub fn parse(word: &str) -> Option<Level> {
        match word {
            "" => None,
            "buy" => Some(Level::Buy),
            "login" => Some(Level::Login),
            _ => Some(Level::All),
        }
    }

    /// Returns the role that stands for the ban while a request is on its way. Nobody can be given it: no role's name has
    /// a colon.
    pub fn role(self) -> &'static str {
        match self {
            Level::Buy => "ban:buy",
            Level::Login => "ban:login",
            Level::All => "ban:all",
        }
    }

    /// Returns the hardest ban among a caller's roles.
    pub fn of(caller: &Caller) -> Option<Level> {
        [Level::All, Level::Login, Level::Buy]
            .into_iter()
            .find(|level| caller.roles.iter().any(|role| role == level.role()))
    }

    /// Says what becomes of a request; `open` routes need no login.
    pub fn verdict(self, info: &RouteInfo, open: bool) -> Verdict {
        match self {
            _ if info.name == LEAVING => Verdict::Pass,
            Level::Buy if BUYING.contains(&info.name) => Verdict::Refuse,
            Level::Buy => Verdict::Pass,
            Level::Login if open => Verdict::Stranger,
            Level::Login | Level::All => Verdict::Refuse,
        }
    }

    /// Makes the refusal; `until` is when the ban ends by itself.
    pub fn refusal(self, until: Option<Micros>) -> Error {
        let message = match self {
            Level::Buy => "this account may not buy; ask the mall's operators",
            Level::Login | Level::All => "this account is banned; ask the mall's operators",
        };
        let until = until.map(|until| Timestamp::from_micros(until).to_string());
        let level = self.role().trim_start_matches(PREFIX);
        Error::forbidden("account_banned", message).details(serde_json::json!({ "level": level, "until": until }))
    }
}

/// A ban and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// What it takes away.
    pub level: Level,
    /// When it ends by itself.
    pub until: Option<Micros>,
}

/// What becomes of a banned account's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It goes on as that of somebody who is not signed in.
    Stranger,
    /// It is refused.
    Refuse,
}

impl Ban {
    /// Reads a ban; none when the level is empty.
    pub fn parse(level: &str, until: Option<Micros>) -> Option<Ban> {
        Level::parse(level).map(|level| Ban { level, until })
    }

    /// Tells whether the ban has not ended by itself.
    pub fn stands_at(&self, now: Micros) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

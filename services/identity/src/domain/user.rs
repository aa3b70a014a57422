//! Accounts: profile, standing, change of roles, deletion.

use mallard_types::Micros;

use super::{Ban, BanLevel, Email, PasswordHash, Roles, text};
use crate::error::Refusal;

const NAME_CHARS_MAX: usize = 100;
const SELLER_ID_CHARS_MAX: usize = 64;
const LANGUAGE_BYTES_MAX: usize = 35;
const LANGUAGE_DEFAULT: &str = "en";

/// How an account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing is held against it.
    Active,
    /// A ban stands.
    Banned,
    /// It is gone; only the id and what others need to keep remain.
    Deleted,
}

/// What a user says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// First and last name as entered; may be empty.
    pub name: String,
    /// BCP 47 language tag.
    pub language: String,
}

impl Profile {
    /// Checks a profile; no language means English.
    ///
    /// # Errors
    /// `too_long`, `invalid_text`, `invalid_language`.
    pub fn new(name: String, language: String) -> Result<Profile, Refusal> {
        text::check("name", &name, NAME_CHARS_MAX)?;
        let language = if language.is_empty() { LANGUAGE_DEFAULT.to_owned() } else { language };
        if !is_language(&language) {
            return Err(Refusal::LanguageInvalid);
        }
        Ok(Profile { name, language })
    }
}

/// Checks the id of a seller from elsewhere.
///
/// # Errors
/// `too_long`, `invalid_text`.
pub fn check_seller_id(seller_id: &str) -> Result<(), Refusal> {
    text::check("seller_id", seller_id, SELLER_ID_CHARS_MAX)
}

/// Checks the shape of a BCP 47 tag: subtags of one to eight letters or digits, the first of two to eight letters.
fn is_language(tag: &str) -> bool {
    let mut subtags = tag.split('-');
    let first = subtags.next().unwrap_or_default();
    tag.len() <= LANGUAGE_BYTES_MAX
        && (2..=8).contains(&first.len())
        && first.bytes().all(|b| b.is_ascii_alphabetic())
        && subtags.all(|s| (1..=8).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// New values for some fields of a profile.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    /// See [`Profile::name`].
    pub name: Option<String>,
    /// See [`Profile::language`].
    pub language: Option<String>,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Id, `usr_…`.
    pub id: String,
    /// What it signs in with; none once deleted, so that the address is free again.
    pub email: Option<Email>,
    /// None: it cannot sign in with a password.
    pub password_hash: Option<PasswordHash>,
    /// What it says of itself.
    pub profile: Profile,
    /// What it may do.
    pub roles: Roles,
    /// Seller it acts for, `sel_…`; empty when it never sold.
    pub seller_id: String,
    /// The latest ban, perhaps over.
    pub ban: Option<Ban>,
    /// When it was made.
    pub created_at: Micros,
    /// When it was last changed.
    pub updated_at: Micros,
    /// When it was deleted.
    pub deleted_at: Option<Micros>,
    /// Grows by one with every change.
    pub version: i64,
}

impl User {
    /// Makes the account of a newcomer.
    pub fn new(id: String, email: Email, profile: Profile, password_hash: Option<PasswordHash>, now: Micros) -> User {
        User {
            id,
            email: Some(email),
            password_hash,
            profile,
            roles: Roles::shopper(),
            seller_id: String::new(),
            ban: None,
            created_at: now,
            updated_at: now,
            deleted_at: None,
            version: 1,
        }
    }

    /// Returns how the account stands. A ban whose time is over no longer counts.
    pub fn status(&self, now: Micros) -> Status {
        if self.deleted_at.is_some() {
            return Status::Deleted;
        }
        if self.ban_level(now).is_some() { Status::Banned } else { Status::Active }
    }

    /// Returns what the ban that stands forbids.
    pub fn ban_level(&self, now: Micros) -> Option<BanLevel> {
        self.ban.as_ref().filter(|ban| ban.stands(now)).map(|ban| ban.level)
    }

    /// Decides whether the account may open or renew a session.
    ///
    /// # Errors
    /// `invalid_credentials` when it is deleted, `account_banned`.
    pub fn admit(&self, now: Micros) -> Result<(), Refusal> {
        if self.deleted_at.is_some() {
            return Err(Refusal::CredentialsInvalid);
        }
        match self.ban_level(now) {
            Some(BanLevel::Login | BanLevel::All) => Err(Refusal::AccountBanned),
            Some(BanLevel::Buy) | None => Ok(()),
        }
    }

    /// Checks that the caller has seen the present version.
    ///
    /// # Errors
    /// `version_mismatch`.
    pub fn expect_version(&self, version: Option<i64>) -> Result<(), Refusal> {
        if version.is_none_or(|version| version == self.version) { Ok(()) } else { Err(Refusal::VersionMismatch) }
    }

    /// Changes the profile and tells whether anything is different now.
    ///
    /// # Errors
    /// As [`Profile::new`].
    pub fn change_profile(&mut self, change: ProfileChange, now: Micros) -> Result<bool, Refusal> {
        let name = change.name.unwrap_or_else(|| self.profile.name.clone());
        let language = change.language.unwrap_or_else(|| self.profile.language.clone());
        let profile = Profile::new(name, language)?;
        if profile == self.profile {
            return Ok(false);
        }
        self.profile = profile;
        self.touch(now);
        Ok(true)
    }

    /// Replaces the password.
    pub fn change_password(&mut self, hash: PasswordHash, now: Micros) {
        self.password_hash = Some(hash);
        self.touch(now);
    }

    /// Replaces the roles and, where given, the seller the account acts for; tells whether anything is different now.
    /// Whoever becomes a seller without one gets `new_seller_id`; whoever stops selling keeps its seller id for a later
    /// return.
    pub fn change_roles(
        &mut self,
        roles: Roles,
        seller_id: Option<String>,
        new_seller_id: String,
        now: Micros,
    ) -> bool {
        let mut seller_id = seller_id.unwrap_or_else(|| self.seller_id.clone());
        if roles.is_seller() && seller_id.is_empty() {
            seller_id = new_seller_id;
        }
        if roles == self.roles && seller_id == self.seller_id {
            return false;
        }
        self.roles = roles;
        self.seller_id = seller_id;
        self.touch(now);
        true
    }

    /// Bans the account, in place of an earlier ban, and tells whether anything is different now.
    pub fn impose(&mut self, ban: Ban, now: Micros) -> bool {
        if self.ban.as_ref().is_some_and(|present| present.says_the_same(&ban)) {
            return false;
        }
        self.ban = Some(ban);
        self.touch(now);
        true
    }

    /// Lifts the ban and tells whether there was one.
    pub fn lift_ban(&mut self, now: Micros) -> bool {
        if self.ban.take().is_none() {
            return false;
        }
        self.touch(now);
        true
    }

    /// Deletes the account: everything personal goes, the id stays for those who refer to it.
    pub fn delete(&mut self, now: Micros) {
        self.email = None;
        self.password_hash = None;
        self.profile.name.clear();
        self.roles = Roles::shopper();
        self.ban = None;
        self.deleted_at = Some(now);
        self.touch(now);
    }

    /// Returns the seller a session of this account acts for: only while it has a role for it.
    pub fn acting_seller(&self) -> &str {
        if self.roles.act_for(&self.seller_id) { &self.seller_id } else { "" }
    }

    /// Tells whether the account can sign in and operate the mall.
    pub fn is_operator(&self, now: Micros) -> bool {
        self.roles.is_admin() && self.admit(now).is_ok()
    }

    fn touch(&mut self, now: Micros) {
        self.updated_at = now;
        self.version += 1;
    }
}

/// Checks that a change of one account leaves somebody who operates the mall, given the stored accounts with the role.
///
/// # Errors
/// `last_admin`.
pub fn keep_operator(admins: &[User], changed: &User, now: Micros) -> Result<(), Refusal> {
    let was_one = admins.iter().any(|user| user.id == changed.id && user.is_operator(now));
    let another = admins.iter().any(|user| user.id != changed.id && user.is_operator(now));
    if was_one && !changed.is_operator(now) && !another { Err(Refusal::LastAdmin) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn user() -> User {
        let profile = Profile::new("Mei Lin".into(), String::new()).unwrap();
        User::new(
            "usr_1".into(),
            Email::parse("mei@example.com").unwrap(),
            profile,
            Some(PasswordHash("h".into())),
            100,
        )
    }

    fn ban(level: BanLevel, until: Option<Micros>) -> Ban {
        Ban::new(level, until, "spam".into(), 100, "usr_9".into()).unwrap()
    }

    fn roles(names: &[&str]) -> Roles {
        Roles::parse(names.iter().copied()).unwrap()
    }

    #[test]
    fn a_newcomer_shops_in_english_unless_it_says_otherwise() {
        let user = user();
        assert_eq!(user.roles.names(), ["user"]);
        assert_eq!(user.profile.language, "en");
        assert_eq!(user.status(100), Status::Active);
        assert_eq!(user.version, 1);
    }

    #[test]
    fn language_tags_are_checked_by_shape() {
        for tag in ["en", "zh-CN", "zh-Hans-CN", "de-CH-1996"] {
            assert!(is_language(tag), "{tag}");
        }
        for tag in ["e", "en_US", "en-", "-en", "12", "english-languages", "日本"] {
            assert!(!is_language(tag), "{tag}");
        }
    }

    #[test]
    fn a_ban_ends_by_itself() {
        let mut user = user();
        user.impose(ban(BanLevel::All, Some(200)), 110);
        assert_eq!((user.status(199), user.admit(199)), (Status::Banned, Err(Refusal::AccountBanned)));
        assert_eq!((user.status(200), user.admit(200)), (Status::Active, Ok(())));
    }

    #[test]
    fn a_buying_ban_lets_the_user_in() {
        let mut user = user();
        user.impose(ban(BanLevel::Buy, None), 110);
        assert_eq!(user.admit(i64::MAX), Ok(()));
        assert_eq!(user.ban_level(i64::MAX), Some(BanLevel::Buy));
        assert!(user.lift_ban(120));
        assert!(!user.lift_ban(130));
        assert_eq!(user.status(130), Status::Active);
    }

    #[test]
    fn deletion_leaves_nothing_personal() {
        let mut user = user();
        user.impose(ban(BanLevel::Buy, None), 105);
        user.delete(110);
        assert_eq!(
            (&user.email, &user.password_hash, user.profile.name.as_str(), &user.ban),
            (&None, &None, "", &None)
        );
        assert_eq!(user.status(110), Status::Deleted);
        assert_eq!(user.admit(110), Err(Refusal::CredentialsInvalid));
    }

    #[test]
    fn a_seller_gets_its_id_once_and_acts_for_it_only_with_the_role() {
        let mut user = user();
        assert!(user.change_roles(roles(&["user", "seller"]), None, "sel_1".into(), 110));
        assert_eq!(user.acting_seller(), "sel_1");
        assert!(user.change_roles(roles(&["user"]), None, "sel_2".into(), 120));
        assert_eq!((user.acting_seller(), user.seller_id.as_str()), ("", "sel_1"));
        assert!(user.change_roles(roles(&["seller"]), None, "sel_3".into(), 130));
        assert_eq!(user.acting_seller(), "sel_1");
        assert!(!user.change_roles(roles(&["seller"]), None, "sel_4".into(), 140));
        assert_eq!(user.version, 4);
    }

    #[test]
    fn staff_acts_for_the_seller_it_is_given_to() {
        let mut user = user();
        assert!(user.change_roles(roles(&["user", "packer@sel_9"]), Some("sel_9".into()), "sel_1".into(), 110));
        assert_eq!(user.acting_seller(), "sel_9");
        assert!(user.change_roles(roles(&["user", "packer@sel_9"]), Some("sel_8".into()), "sel_1".into(), 120));
        assert_eq!(user.acting_seller(), "", "its role is in another seller's domain");
        assert!(user.change_roles(roles(&["seller"]), Some(String::new()), "sel_1".into(), 130));
        assert_eq!(user.acting_seller(), "sel_1", "a seller of nobody else's has a shop of its own");
    }

    #[test]
    fn the_mall_keeps_an_operator_who_can_sign_in() {
        let admin = User { id: "usr_2".into(), roles: roles(&["admin"]), ..user() };
        let mut banned = User { id: "usr_3".into(), ..admin.clone() };
        banned.impose(ban(BanLevel::Login, Some(300)), 120);
        let mut leaving = admin.clone();
        leaving.change_roles(roles(&["user"]), None, String::new(), 120);
        let only = [admin.clone()];
        let two = [admin.clone(), banned.clone()];
        assert_eq!(keep_operator(&only, &leaving, 130), Err(Refusal::LastAdmin));
        assert_eq!(keep_operator(&two, &leaving, 130), Err(Refusal::LastAdmin), "the other one is banned");
        assert_eq!(keep_operator(&two, &leaving, 300), Ok(()), "the other one's ban is over");
        assert_eq!(keep_operator(&only, &admin, 130), Ok(()), "nothing was lost");
        assert_eq!(keep_operator(&[], &user(), 130), Ok(()), "it never was one");
    }

    #[test]
    fn a_stale_version_is_refused() {
        assert_eq!(user().expect_version(None), Ok(()));
        assert_eq!(user().expect_version(Some(1)), Ok(()));
        assert_eq!(user().expect_version(Some(2)), Err(Refusal::VersionMismatch));
    }

    proptest! {
        #[test]
        fn a_profile_change_counts_only_when_something_differs(name in "[a-z]{0,5}", language in "(en|zh|zh-CN)") {
            let mut user = user();
            let before = user.clone();
            let change = ProfileChange { name: Some(name.clone()), language: Some(language.clone()) };
            let changed = user.change_profile(change.clone(), 110).unwrap();
            prop_assert_eq!(changed, user.profile != before.profile);
            prop_assert_eq!(user.version, before.version + i64::from(changed));
            prop_assert!(!user.change_profile(change, 120).unwrap());
        }
    }
}

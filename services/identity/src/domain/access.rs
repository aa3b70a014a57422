//! Who may do what, as data: rules, roles and the allow-list, and what makes a change of them sound. Whether a pattern is
//! well formed and what a request is answered is `mallard_access`'s to say.

use std::collections::BTreeSet;

use mallard_access::{Effect, Rule};
use mallard_types::Micros;

use super::roles::{ADMIN, Roles, USER, is_built_in, split};
use super::text;
use crate::error::Refusal;

/// Most rules.
pub const POLICIES_MAX: usize = 1_000;
/// Most roles, the built-in ones among them.
pub const ROLES_MAX: usize = 100;
/// Most paths that need no login.
pub const ALLOW_LIST_MAX: usize = 200;
/// Most roles that one inherits by itself.
pub const INHERITS_MAX: usize = 20;
const NOTE_CHARS_MAX: usize = 500;

/// One rule, and why it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What it says; its id is `pol_…`.
    pub rule: Rule,
    /// Why it is there.
    pub note: String,
    /// When it was made.
    pub created_at: Micros,
}

impl Policy {
    /// Makes a rule of what an operator entered; what is left out gets its default.
    ///
    /// # Errors
    /// `unknown_effect`; `too_long`, `invalid_text` for the note.
    pub fn new(mut rule: Rule, effect: &str, note: String, created_at: Micros) -> Result<Policy, Refusal> {
        text::check("note", &note, NOTE_CHARS_MAX)?;
        rule.effect = parse_effect(effect)?;
        for (field, default) in [(&mut rule.domain, "*"), (&mut rule.method, "*")] {
            if field.is_empty() {
                default.clone_into(field);
            }
        }
        Ok(Policy { rule, note, created_at })
    }

    /// Tells whether another rule decides the same.
    fn says_the_same(&self, other: &Policy) -> bool {
        let what = |policy: &Policy| Rule { id: String::new(), ..policy.rule.clone() };
        what(self) == what(other)
    }
}

/// Returns the public name of an effect.
pub fn effect_name(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    }
}

/// Parses the public name of an effect; empty means allow.
///
/// # Errors
/// `unknown_effect`.
pub fn parse_effect(name: &str) -> Result<Effect, Refusal> {
    match name {
        "" | "allow" => Ok(Effect::Allow),
        "deny" => Ok(Effect::Deny),
        _ => Err(Refusal::EffectUnknown),
    }
}

/// A role, the roles whose rights it has besides its own, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleDef {
    /// Name and parents.
    pub role: mallard_access::Role,
    /// What it is for.
    pub note: String,
}

impl RoleDef {
    /// Makes a role; a parent twice is the same as once.
    ///
    /// # Errors
    /// `too_many_roles` for parents; `too_long`, `invalid_text` for the note.
    pub fn new(name: String, inherits: Vec<String>, note: String) -> Result<RoleDef, Refusal> {
        text::check("note", &note, NOTE_CHARS_MAX)?;
        let inherits: Vec<String> = inherits.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        if inherits.len() > INHERITS_MAX {
            return Err(Refusal::RolesTooMany);
        }
        Ok(RoleDef { role: mallard_access::Role { name, inherits }, note })
    }

    /// Returns the role's name.
    pub fn name(&self) -> &str {
        &self.role.name
    }
}

/// A change that is sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A rule, and its role where that does not exist yet.
    AddPolicy(Policy, Option<RoleDef>),
    /// A rule goes.
    RemovePolicy(Policy),
    /// A role is made, or changed from what it was.
    PutRole(Option<RoleDef>, RoleDef),
    /// A role goes.
    RemoveRole(RoleDef),
    /// Other paths need no login.
    SetAllowList(Vec<String>, Vec<String>),
}

/// Everything that decides who may do what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Grows with every change.
    pub version: i64,
    /// In order of creation.
    pub policies: Vec<Policy>,
    /// In order of name.
    pub roles: Vec<RoleDef>,
    /// As it was entered.
    pub allow_list: Vec<String>,
}

impl Ruleset {
    /// Finds a role.
    pub fn role(&self, name: &str) -> Option<&RoleDef> {
        self.roles.iter().find(|role| role.name() == name)
    }

    /// Returns a rule that decides the same.
    pub fn same(&self, policy: &Policy) -> Option<&Policy> {
        self.policies.iter().find(|present| present.says_the_same(policy))
    }

    /// Adds a rule. A role that does not exist yet begins to, so that rules and roles may come in any order; it inherits
    /// `user`, or who holds it alone could not even see its own sessions.
    ///
    /// # Errors
    /// `policies_full`, `roles_full`.
    pub fn add_policy(&self, policy: Policy) -> Result<Edit, Refusal> {
        if self.policies.len() >= POLICIES_MAX {
            return Err(Refusal::PoliciesFull);
        }
        let new_role = match self.role(&policy.rule.role) {
            Some(_) => None,
            None if self.roles.len() >= ROLES_MAX => return Err(Refusal::RolesFull),
            None => Some(RoleDef::new(policy.rule.role.clone(), vec![USER.to_owned()], String::new())?),
        };
        Ok(Edit::AddPolicy(policy, new_role))
    }

    /// Removes a rule.
    ///
    /// # Errors
    /// `policy_not_found`.
    pub fn remove_policy(&self, id: &str) -> Result<Edit, Refusal> {
        let policy = self.policies.iter().find(|policy| policy.rule.id == id).ok_or(Refusal::PolicyNotFound)?;
        Ok(Edit::RemovePolicy(policy.clone()))
    }

    /// Makes a role or changes one; none when it is so already.
    ///
    /// # Errors
    /// `unknown_role` for a parent, `role_cycle`, `roles_full`.
    pub fn put_role(&self, role: RoleDef) -> Result<Option<Edit>, Refusal> {
        let before = self.role(role.name());
        if before == Some(&role) {
            return Ok(None);
        }
        if before.is_none() && self.roles.len() >= ROLES_MAX {
            return Err(Refusal::RolesFull);
        }
        for parent in &role.role.inherits {
            if self.role(parent).is_none() && parent != role.name() {
                return Err(Refusal::ParentUnknown(parent.clone()));
            }
            if self.reaches(parent, role.name()) {
                return Err(Refusal::RoleCycle(parent.clone()));
            }
        }
        Ok(Some(Edit::PutRole(before.cloned(), role)))
    }

    /// Removes a role that no rule and no other role is about. Whether an account holds it is the caller's to look up.
    ///
    /// # Errors
    /// `role_not_found`, `role_built_in`, `role_in_use`.
    pub fn remove_role(&self, name: &str) -> Result<Edit, Refusal> {
        let role = self.role(name).ok_or(Refusal::RoleNotFound)?;
        if is_built_in(name) {
            return Err(Refusal::RoleBuiltIn);
        }
        if let Some(policy) = self.policies.iter().find(|policy| policy.rule.role == name) {
            return Err(Refusal::RoleInUse(format!("policy {}", policy.rule.id)));
        }
        if let Some(heir) = self.roles.iter().find(|heir| heir.role.inherits.iter().any(|parent| parent == name)) {
            return Err(Refusal::RoleInUse(format!("role {}", heir.name())));
        }
        Ok(Edit::RemoveRole(role.clone()))
    }

    /// Replaces the allow-list; a path twice is the same as once. None when it is so already.
    ///
    /// # Errors
    /// `allow_list_full`.
    pub fn set_allow_list(&self, paths: Vec<String>) -> Result<Option<Edit>, Refusal> {
        let mut seen = BTreeSet::new();
        let mut kept = Vec::new();
        for path in paths {
            if seen.insert(path.clone()) {
                kept.push(path);
            }
            if kept.len() > ALLOW_LIST_MAX {
                return Err(Refusal::AllowListFull);
            }
        }
        Ok((kept != self.allow_list).then(|| Edit::SetAllowList(self.allow_list.clone(), kept)))
    }

    /// Lets a change through that was decided on this version, or on none in particular. What changes nothing was decided on
    /// any.
    ///
    /// # Errors
    /// `version_mismatch`.
    pub fn seen(&self, version: Option<i64>, edit: Option<Edit>) -> Result<Option<Edit>, Refusal> {
        match version {
            Some(version) if edit.is_some() && version != self.version => Err(Refusal::VersionMismatch),
            _ => Ok(edit),
        }
    }

    /// Returns what would be in force after a change.
    pub fn after(&self, edit: &Edit) -> Ruleset {
        let mut next = Ruleset { version: self.version + 1, ..self.clone() };
        match edit {
            Edit::AddPolicy(policy, role) => {
                next.policies.push(policy.clone());
                next.roles.extend(role.clone());
            }
            Edit::RemovePolicy(gone) => next.policies.retain(|policy| policy.rule.id != gone.rule.id),
            Edit::PutRole(_, role) => {
                next.roles.retain(|present| present.name() != role.name());
                next.roles.push(role.clone());
            }
            Edit::RemoveRole(gone) => next.roles.retain(|role| role.name() != gone.name()),
            Edit::SetAllowList(_, paths) => next.allow_list.clone_from(paths),
        }
        next.roles.sort_by(|a, b| a.name().cmp(b.name()));
        next
    }

    /// Tells whether any of these roles is `admin` or has its rights, be it in one domain only.
    pub fn make_admin(&self, roles: &Roles) -> bool {
        roles.bare().into_iter().any(|name| self.reaches(name, ADMIN))
    }

    /// Tells whether somebody with these roles has every right of another, as `name` or `name@domain`.
    pub fn cover(&self, roles: &[String], other: &str) -> bool {
        let (wanted, in_domain) = split(other);
        roles
            .iter()
            .map(|role| split(role))
            .any(|(name, domain)| (domain.is_none() || domain == in_domain) && self.reaches(name, wanted))
    }

    /// Tells whether one role is another or inherits it, however far.
    fn reaches(&self, from: &str, to: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(name) = open.pop() {
            if name == to {
                return true;
            }
            if seen.insert(name) {
                open.extend(self.role(name).into_iter().flat_map(|role| role.role.inherits.iter().map(String::as_str)));
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::BUILT_IN;

    fn role(name: &str, inherits: &[&str]) -> RoleDef {
        RoleDef::new(name.into(), inherits.iter().map(|name| (*name).to_owned()).collect(), String::new()).unwrap()
    }

    fn policy(id: &str, role: &str) -> Policy {
        let rule = Rule {
            id: id.into(),
            role: role.into(),
            domain: String::new(),
            path: "/admin/v1/orders".into(),
            method: String::new(),
            effect: Effect::Allow,
        };
        Policy::new(rule, "", String::new(), 1).unwrap()
    }

    fn ruleset() -> Ruleset {
        let roles = BUILT_IN.iter().map(|(name, inherits)| role(name, inherits)).collect();
        Ruleset { roles, ..Ruleset::default() }
    }

    fn put(rules: &Ruleset, changed: RoleDef) -> Ruleset {
        rules.after(&rules.put_role(changed).unwrap().unwrap())
    }

    #[test]
    fn what_is_left_out_of_a_rule_means_all_and_allow() {
        let policy = policy("pol_1", "support");
        assert_eq!((policy.rule.domain.as_str(), policy.rule.method.as_str()), ("*", "*"));
        assert_eq!(policy.rule.effect, Effect::Allow);
        assert_eq!(Policy::new(policy.rule, "maybe", String::new(), 1), Err(Refusal::EffectUnknown));
    }

    #[test]
    fn a_rule_makes_its_role_and_the_same_rule_is_found() {
        let rules = ruleset();
        let edit = rules.add_policy(policy("pol_1", "support")).unwrap();
        let rules = rules.after(&edit);
        assert!(rules.role("support").is_some() && rules.version == 1);
        let again = Policy { note: "other words".into(), ..policy("pol_2", "support") };
        assert_eq!(rules.same(&again).map(|policy| policy.rule.id.as_str()), Some("pol_1"));
        assert_eq!(rules.same(&policy("pol_2", "user")), None);
        assert!(matches!(rules.add_policy(policy("pol_3", "support")), Ok(Edit::AddPolicy(_, None))));
        assert_eq!(rules.role("support").unwrap().role.inherits, ["user"]);
    }

    #[test]
    fn roles_cover_what_they_inherit_in_their_domain_and_no_more() {
        let rules = put(&ruleset(), role("packer", &["user"]));
        let rules = put(&rules, role("lead", &["packer"]));
        for (held, other, covered) in [
            (&["lead"][..], "lead", true),
            (&["lead"], "packer", true),
            (&["lead"], "packer@sel_1", true),
            (&["lead"], "user", true),
            (&["lead"], "seller", false),
            (&["packer", "user"], "lead", false),
            (&["lead@sel_1"], "packer@sel_1", true),
            (&["lead@sel_1"], "packer@sel_2", false),
            (&["lead@sel_1"], "packer", false),
            (&["admin"], "seller", true),
            (&[], "user", false),
        ] {
            let held: Vec<String> = held.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(rules.cover(&held, other), covered, "{held:?} {other}");
        }
    }

    #[test]
    fn a_role_inherits_only_what_exists_and_never_itself() {
        let rules = put(&ruleset(), role("lead", &["user"]));
        let rules = put(&rules, role("chief", &["lead"]));
        assert_eq!(rules.put_role(role("chief", &["lead"])), Ok(None));
        assert_eq!(rules.put_role(role("x", &["nobody"])), Err(Refusal::ParentUnknown("nobody".into())));
        assert_eq!(rules.put_role(role("x", &["x"])), Err(Refusal::RoleCycle("x".into())));
        assert_eq!(rules.put_role(role("lead", &["chief"])), Err(Refusal::RoleCycle("chief".into())));
        assert_eq!(rules.put_role(role("user", &["chief"])), Err(Refusal::RoleCycle("chief".into())));
    }

    #[test]
    fn whoever_inherits_admin_is_one_however_far() {
        let rules = put(&ruleset(), role("root", &["admin"]));
        let rules = put(&rules, role("chief", &["root"]));
        let make_admin = |names: &[&str]| rules.make_admin(&Roles::parse(names.iter().copied()).unwrap());
        assert!(make_admin(&["admin"]) && make_admin(&["user", "chief"]) && make_admin(&["chief@sel_1"]));
        assert!(!make_admin(&["seller", "user"]) && !make_admin(&["nobody"]));
    }

    #[test]
    fn a_role_that_is_used_stays() {
        let rules = put(&ruleset(), role("lead", &[]));
        let heir = put(&rules, role("chief", &["lead"]));
        assert_eq!(heir.remove_role("lead"), Err(Refusal::RoleInUse("role chief".into())));
        let ruled = rules.after(&rules.add_policy(policy("pol_1", "lead")).unwrap());
        assert_eq!(ruled.remove_role("lead"), Err(Refusal::RoleInUse("policy pol_1".into())));
        let free = ruled.after(&ruled.remove_policy("pol_1").unwrap());
        assert_eq!(free.after(&free.remove_role("lead").unwrap()).role("lead"), None);
        assert_eq!(rules.remove_role("user"), Err(Refusal::RoleBuiltIn));
        assert_eq!(rules.remove_role("nobody"), Err(Refusal::RoleNotFound));
        assert_eq!(rules.remove_policy("pol_9"), Err(Refusal::PolicyNotFound));
    }

    #[test]
    fn there_is_a_limit_on_everything() {
        let mut rules = ruleset();
        rules.policies = vec![policy("pol_1", "user"); POLICIES_MAX];
        assert_eq!(rules.add_policy(policy("pol_2", "seller")), Err(Refusal::PoliciesFull));
        let mut rules = ruleset();
        rules.roles.extend((rules.roles.len()..ROLES_MAX).map(|i| role(&format!("role{i}"), &[])));
        assert_eq!(rules.put_role(role("more", &[])), Err(Refusal::RolesFull));
        assert_eq!(rules.add_policy(policy("pol_1", "more")), Err(Refusal::RolesFull));
        let many = |count: usize| (0..count).map(|i| format!("/x/{i}")).collect::<Vec<_>>();
        assert_eq!(rules.set_allow_list(many(201)), Err(Refusal::AllowListFull));
        assert!(rules.set_allow_list(many(200)).is_ok());
        assert_eq!(rules.set_allow_list(Vec::new()), Ok(None));
    }
}

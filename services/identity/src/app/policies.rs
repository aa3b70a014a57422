//! Policies and the allow-list: read, changed one at a time, and never so that nobody could change them back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mallard_access::{Access, Rule};
use mallard_types::Result;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::caller::{require_admin_role, require_operator};
use super::{App, Work};
use crate::contract::{self, Terms};
use crate::domain::{ADMIN, ANONYMOUS, BUILT_IN, Edit, Policy, RoleDef, Ruleset, SELLER, USER, effect_name};
use crate::error::Refusal;
use crate::{events, store};

/// What is allowed in a new mall: what the contracts say.
const DEFAULTS: [(&str, &str, &str); 3] = [
    (USER, "^/(store|auth)/v1/.*$", "whoever is signed in shops"),
    (SELLER, "^/seller/v1/.*$", "sellers sell"),
    (ADMIN, "^/(admin|seller)/v1/.*$", "administrators operate the mall"),
];

/// What role admin must reach, or a change is refused.
const WAYS_IN: [(&str, &str); 8] = [
    ("GET", "/admin/v1/policies"),
    ("POST", "/admin/v1/policies"),
    ("PUT", "/admin/v1/policies"),
    ("DELETE", "/admin/v1/policies/pol_06b0000000000000000000000z"),
    ("PUT", "/admin/v1/roles/role"),
    ("PUT", "/admin/v1/access/allow-list"),
    ("PUT", "/admin/v1/users/usr_06b0000000000000000000000z/roles"),
    // These actions want a fresh password.
    ("POST", "/auth/v1/reauthenticate"),
];
/// What nobody must be kept from, or no administrator could sign in.
const DOORS: [(&str, &str); 2] = [("POST", "/auth/v1/login"), ("POST", "/auth/v1/refresh")];

/// Tries of a change while other instances change something, too.
const CHANGE_TRIES_MAX: usize = 50;
/// Longest pause before another try, in milliseconds.
const CHANGE_PAUSE_MS_MAX: u8 = 16;

/// Changes policies one after the other, and remembers the present ones ready to be asked.
#[derive(Default)]
pub struct Judge {
    turn: tokio::sync::Mutex<()>,
    present: Mutex<Option<(i64, Arc<Access>)>>,
}

/// What the edge answers a caller.
pub struct Explained {
    /// Whether the caller may.
    pub allowed: bool,
    /// The rule that decided; none when none did.
    pub policy: Option<Policy>,
}

impl App {
    /// Returns the rules, all or those of one role, and the version they are of.
    ///
    /// # Errors
    /// `admin_only`.
    pub async fn policies(&self, role: &str) -> Result<(Vec<Policy>, i64)> {
        require_operator()?;
        let mut rules = store::ruleset(&self.db).await?;
        rules.policies.retain(|policy| role.is_empty() || policy.rule.role == role);
        Ok((rules.policies, rules.version))
    }

    /// Adds a rule; a rule that decides the same is answered as it is.
    ///
    /// # Errors
    /// `admin_only`, `invalid_policy`, `unknown_effect`, `policies_full`, `roles_full`, `would_lock_out`; `version_mismatch`
    /// when another version of the policies was seen.
    pub async fn create_policy(
        &self,
        rule: Rule,
        effect: &str,
        note: String,
        if_version: Option<i64>,
    ) -> Result<Policy> {
        require_admin_role()?;
        let policy = Policy::new(Rule { id: self.ctx.id("pol"), ..rule }, effect, note, self.ctx.now())?;
        mallard_access::check_rule(&policy.rule)?;
        let wanted = policy.clone();
        let rules = self
            .change_access(move |rules| match rules.same(&wanted) {
                Some(_) => Ok(None),
                None => Ok(rules.seen(if_version, Some(rules.add_policy(wanted.clone())?))?),
            })
            .await?;
        Ok(rules.same(&policy).cloned().unwrap_or(policy))
    }

    /// Deletes a rule.
    ///
    /// # Errors
    /// `admin_only`, `policy_not_found`, `would_lock_out`; `version_mismatch` when another version of the policies was seen.
    pub async fn delete_policy(&self, id: String, if_version: Option<i64>) -> Result<()> {
        require_admin_role()?;
        let decide = move |rules: &Ruleset| Ok(rules.seen(if_version, Some(rules.remove_policy(&id)?))?);
        self.change_access(decide).await.map(|_| ())
    }

    /// Returns the paths that need no login beside those the contracts make public, and the version they are of.
    ///
    /// # Errors
    /// `admin_only`.
    pub async fn allow_list(&self) -> Result<(Vec<String>, i64)> {
        require_operator()?;
        let rules = store::ruleset(&self.db).await?;
        Ok((rules.allow_list, rules.version))
    }

    /// Replaces the allow-list. The same again changes nothing. Says besides of each entry that opens nothing why.
    ///
    /// # Errors
    /// `admin_only`, `invalid_allowed_path`, `allow_list_full`; `version_mismatch` when another version of the list was seen.
    pub async fn put_allow_list(
        &self,
        paths: Vec<String>,
        if_version: Option<i64>,
    ) -> Result<(Vec<String>, i64, Vec<String>)> {
        require_admin_role()?;
        paths.iter().try_for_each(|path| mallard_access::check_allowed_path(path))?;
        let rules =
            self.change_access(move |rules| Ok(rules.seen(if_version, rules.set_allow_list(paths.clone())?)?)).await?;
        let warnings = rules.allow_list.iter().filter_map(|entry| contract::warning(entry)).collect();
        Ok((rules.allow_list, rules.version, warnings))
    }

    /// Tells what the edge answers a caller with these roles, and by which rule. No role is somebody not signed in. Bans, and
    /// whether the password was given lately, are not a matter of roles.
    ///
    /// # Errors
    /// `admin_only`.
    pub async fn explain(&self, roles: Vec<String>, domain: &str, method: &str, path: &str) -> Result<Explained> {
        require_operator()?;
        let rules = store::ruleset(&self.db).await?;
        let access = self.judge.access(&rules).await?;
        let method = if method.is_empty() { "GET" } else { method };
        let signed_in = roles.iter().any(|role| role != ANONYMOUS);
        let roles = if signed_in { roles } else { vec![ANONYMOUS.to_owned()] };
        let terms = contract::terms(method, path);
        if signed_in && terms == Terms::SignedIn {
            return Ok(Explained { allowed: true, policy: None });
        }
        let domain = if contract::is_sellers(path) { domain } else { "" };
        let decision = access.decide(&roles, domain, method, path);
        let policy = decision.rule.and_then(|id| rules.policies.into_iter().find(|policy| policy.rule.id == *id));
        // A rule that denies wins, also where everybody may look.
        if !decision.allowed && policy.is_some() {
            return Ok(Explained { allowed: false, policy });
        }
        if signed_in && decision.allowed && terms != Terms::Public {
            return Ok(Explained { allowed: true, policy });
        }
        // What is open is so by no rule, and no rule lets in who is not signed in.
        let open = terms == Terms::Public || access.needs_no_login(method, path);
        Ok(Explained { allowed: open, policy: None })
    }

    /// Puts what the contracts say into a new database. Of several first instances one does.
    pub(super) async fn seed_access(&self) -> Result<()> {
        let policy = |(role, path, note): &(&str, &str, &str)| {
            let rule = Rule {
                id: self.ctx.id("pol"),
                role: (*role).to_owned(),
                domain: String::new(),
                path: (*path).to_owned(),
                method: String::new(),
                effect: mallard_access::Effect::Allow,
            };
            Policy::new(rule, "", (*note).to_owned(), self.ctx.now())
        };
        let policies = DEFAULTS.iter().map(policy).collect::<Result<Vec<_>, _>>()?;
        self.tx("identity.seed_access", policies, |work, policies| async move {
            if !store::next_access_version(&work.tx, 0).await? {
                return Ok(());
            }
            for (name, inherits) in BUILT_IN {
                let inherits = inherits.iter().map(|name| (*name).to_owned()).collect();
                store::put_role(&work.tx, &RoleDef::new(name.to_owned(), inherits, String::new())?).await?;
            }
            store::insert_policies(&work.tx, &policies).await
        })
        .await
    }

    /// Changes who may do what: decides on what is stored, proves that the outcome is usable and locks nobody out, and
    /// writes it unless somebody else was faster; then it decides anew. Returns what is in force. `decide` returns none
    /// when there is nothing to change.
    pub(super) async fn change_access(
        &self,
        decide: impl Fn(&Ruleset) -> Result<Option<Edit>> + Send,
    ) -> Result<Ruleset> {
        // In this process changes wait for each other; the version decides between processes.
        let _turn = self.judge.turn.lock().await;
        for _ in 0..CHANGE_TRIES_MAX {
            let rules = store::ruleset(&self.db).await?;
            let Some(edit) = decide(&rules)? else { return Ok(rules) };
            let next = rules.after(&edit);
            let access = Judge::load(&next).await?;
            keep_a_way_in(&access, &next)?;
            let input = (rules.version, edit);
            let written = self
                .tx("identity.change_access", input, |work, (version, edit)| async move {
                    if !store::next_access_version(&work.tx, version).await? {
                        return Ok(false);
                    }
                    work.write_edit(version + 1, &edit).await?;
                    Ok(true)
                })
                .await?;
            if written {
                *self.judge.present.lock() = Some((next.version, Arc::new(access)));
                return Ok(next);
            }
            // By chance, so that two instances do not keep in step.
            let [chance] = self.ctx.random_bytes::<1>();
            tokio::time::sleep(Duration::from_millis(u64::from(chance % CHANGE_PAUSE_MS_MAX))).await;
        }
        Err(Refusal::ChangedMeanwhile.into())
    }
}

impl Work {
    async fn write_edit(&self, version: i64, edit: &Edit) -> Result<()> {
        if let Edit::RemoveRole(role) = edit
            && store::is_role_held(&self.tx, role.name()).await?
        {
            return Err(Refusal::RoleInUse("an account that holds it".to_owned()).into());
        }
        store::save_edit(&self.tx, edit).await?;
        let (action, target, was, became) = told(edit);
        self.record(action, target, was, became).await?;
        self.publish(events::policy_changed(version)).await
    }
}

impl Judge {
    async fn load(rules: &Ruleset) -> Result<Access> {
        let policies = rules.policies.iter().map(|policy| policy.rule.clone()).collect();
        let roles = rules.roles.iter().map(|role| role.role.clone()).collect();
        Access::new(policies, roles, rules.allow_list.clone()).await
    }

    /// Returns rules ready to be asked.
    async fn access(&self, rules: &Ruleset) -> Result<Arc<Access>> {
        if let Some((version, access)) = &*self.present.lock()
            && *version == rules.version
        {
            return Ok(Arc::clone(access));
        }
        let access = Arc::new(Judge::load(rules).await?);
        *self.present.lock() = Some((rules.version, Arc::clone(&access)));
        Ok(access)
    }
}

/// Checks that role admin can still change everything back, also an administrator who acts for a seller.
fn keep_a_way_in(access: &Access, rules: &Ruleset) -> Result<()> {
    let admin = [ADMIN.to_owned()];
    let nobody = [ANONYMOUS.to_owned()];
    // Elsewhere than in the domain of a rule that denies, no rule takes away what holds for all domains.
    let denies = |policy: &&Policy| policy.rule.effect == mallard_access::Effect::Deny && policy.rule.domain != "*";
    let mut domains: BTreeSet<&str> =
        rules.policies.iter().filter(denies).map(|policy| policy.rule.domain.as_str()).collect();
    domains.insert("");
    for domain in domains {
        let reached = WAYS_IN.iter().all(|(method, path)| access.decide(&admin, domain, method, path).allowed);
        let denied = DOORS.iter().any(|(method, path)| {
            let decision = access.decide(&nobody, domain, method, path);
            !decision.allowed && decision.rule.is_some()
        });
        if !reached || denied {
            return Err(Refusal::WouldLockOut.into());
        }
    }
    Ok(())
}

/// Says what a change was, for the log: action, target, before, after.
fn told(edit: &Edit) -> (&'static str, &str, Option<Value>, Option<Value>) {
    match edit {
        Edit::AddPolicy(policy, _) => ("policy.create", &policy.rule.id, None, Some(policy_told(policy))),
        Edit::RemovePolicy(policy) => ("policy.delete", &policy.rule.id, Some(policy_told(policy)), None),
        Edit::PutRole(before, role) => ("role.put", role.name(), before.as_ref().map(role_told), Some(role_told(role))),
        Edit::RemoveRole(role) => ("role.delete", role.name(), Some(role_told(role)), None),
        Edit::SetAllowList(before, paths) => ("allow_list.put", "allow-list", Some(json!(before)), Some(json!(paths))),
    }
}

fn policy_told(policy: &Policy) -> Value {
    let rule = &policy.rule;
    json!({
        "role": rule.role, "domain": rule.domain, "path": rule.path, "method": rule.method,
        "effect": effect_name(rule.effect), "note": policy.note,
    })
}

fn role_told(role: &RoleDef) -> Value {
    json!({"inherits": role.role.inherits, "note": role.note})
}

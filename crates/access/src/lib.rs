//! Who may do what: a Casbin model of roles, role hierarchy, domains, path patterns and rules that deny.
//!
//! Casbin decides. What it says about a path depends on the path only through the patterns that match it, so the patterns are
//! compiled once into one automaton, and Casbin is asked once for each combination of matching patterns, roles, domain and
//! verb. Paths that differ in an id share the answer.

mod memory;
mod model;
mod path;
mod rule;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use mallard_types::{Error, Result};
use regex::{RegexSet, RegexSetBuilder};

use memory::Memory;
use model::Model;
use rule::{ANY, AllowedPath, Pattern};

pub use rule::{ANONYMOUS, Effect, Role, Rule, check_allowed_path, check_role, check_rule};

/// Most rules of a policy.
pub const RULES_MAX: usize = 1_000;
/// Most roles of a policy.
pub const ROLES_MAX: usize = 1_000;
/// Most entries of the allow-list.
pub const ALLOW_LIST_MAX: usize = 1_000;
/// Most decisions remembered.
const DECISIONS_MAX: usize = 8_192;
/// Largest automaton of all patterns, and the largest memory for its states, in bytes.
const SET_BYTES_MAX: usize = 32 * 1_024 * 1_024;
const WORD_BITS: usize = u64::BITS as usize;

/// What was decided, and by which rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether the caller may.
    pub allowed: bool,
    /// Id of the rule that decided; none when no rule lets the caller through and none keeps them out.
    pub rule: Option<Arc<str>>,
}

/// A policy in force. It never changes; a new policy is a new value.
pub struct Access {
    model: Model,
    patterns: RegexSet,
    /// Roles, domains and verbs that the policy names, by their place in a key. Others make no difference.
    roles: HashMap<String, usize>,
    domains: HashMap<String, u64>,
    verbs: HashMap<String, u64>,
    memory: Memory,
    allowed: Vec<AllowedPath>,
    allowed_paths: RegexSet,
}

impl Access {
    /// Loads a policy.
    ///
    /// # Errors
    /// `invalid_policy`, `invalid_role`, `invalid_allowed_path`, `policy_too_large`; `policy_unusable` when Casbin refuses it.
    pub async fn new(rules: Vec<Rule>, roles: Vec<Role>, allow_list: Vec<String>) -> Result<Access> {
        if rules.len() > RULES_MAX || roles.len() > ROLES_MAX || allow_list.len() > ALLOW_LIST_MAX {
            return Err(too_large());
        }
        roles.iter().try_for_each(check_role)?;
        rules.iter().try_for_each(check_rule)?;
        let mut ids = HashSet::new();
        if rules.iter().any(|rule| rule.id.is_empty() || !ids.insert(rule.id.as_str())) {
            return Err(Error::invalid("invalid_policy", "every rule needs an id of its own").param("id"));
        }
        let patterns: Result<Vec<Pattern>, String> = rules.iter().map(|rule| Pattern::parse(&rule.path)).collect();
        let patterns = patterns.map_err(|remedy| Error::invalid("invalid_policy", remedy).param("path"))?;
        let allowed = allow_list.iter().map(|entry| AllowedPath::parse(entry)).collect::<Result<Vec<_>>>()?;
        let mut distinct: Vec<&str> = patterns.iter().map(|pattern| pattern.regex.as_str()).collect();
        distinct.sort_unstable();
        distinct.dedup();

        let model = Model::load(&rules, &patterns, &roles).await?;
        let inherited = roles.iter().flat_map(|role| role.inherits.iter().chain([&role.name]));
        let named = rules.iter().map(|rule| &rule.role).chain(inherited);
        let verbs = rules.iter().filter(|rule| rule.method != ANY).flat_map(|rule| rule.method.split('|'));
        Ok(Access {
            model,
            patterns: set(&distinct)?,
            roles: numbered(named.map(String::as_str)).map(|(name, at)| (name, at as usize)).collect(),
            // 0 is any that is not named.
            domains: numbered(rules.iter().map(|rule| rule.domain.as_str())).map(|(name, at)| (name, at + 1)).collect(),
            verbs: numbered(verbs).map(|(name, at)| (name, at + 1)).collect(),
            memory: Memory::new(DECISIONS_MAX),
            allowed_paths: set(&allowed.iter().map(|entry| entry.regex.as_str()).collect::<Vec<_>>())?,
            allowed,
        })
    }

    /// Decides whether a caller may. `roles` are names or `name@domain`, `domain` is the seller concerned or empty, `path`
    /// the request's own, undecoded. `HEAD` counts as `GET`.
    pub fn decide(&self, roles: &[String], domain: &str, method: &str, path: &str) -> Decision {
        let path = path::canonical(path);
        let verb = verb(method);
        let key = self.key(roles, domain, verb, &path);
        let decision = self.memory.get(&key).unwrap_or_else(|| {
            let decision = self.ask(roles, domain, verb, &path);
            self.memory.put(&key, decision.clone());
            decision
        });
        if decision.allowed && path::has_dots(&path) {
            return Decision::default();
        }
        decision
    }

    /// Tells whether the allow-list has a path.
    pub fn needs_no_login(&self, method: &str, path: &str) -> bool {
        if self.allowed.is_empty() {
            return false;
        }
        let path = path::canonical(path);
        let verb = verb(method);
        let listed = self.allowed_paths.matches(&path).iter().any(|index| self.allowed[index].has_verb(verb));
        listed && !path::has_dots(&path)
    }

    /// Decides as [`Access::decide`] does, by asking Casbin each time.
    #[doc(hidden)]
    pub fn decide_anew(&self, roles: &[String], domain: &str, method: &str, path: &str) -> Decision {
        let path = path::canonical(path);
        let decision = self.ask(roles, domain, verb(method), &path);
        if decision.allowed && path::has_dots(&path) { Decision::default() } else { decision }
    }

    fn ask(&self, roles: &[String], domain: &str, verb: &str, path: &str) -> Decision {
        // Blanks separate grants; a name that has one is nobody's role.
        let grants: Vec<&str> = roles.iter().map(String::as_str).filter(|grant| !grant.contains(' ')).collect();
        self.model.decide(&grants.join(" "), domain, verb, path)
    }

    /// Says everything about a request that a decision depends on: matching patterns and roles as bits, domain and verb.
    fn key(&self, roles: &[String], domain: &str, verb: &str, path: &str) -> Vec<u64> {
        let pattern_words = self.patterns.len().div_ceil(WORD_BITS);
        let role_words = self.roles.len().div_ceil(WORD_BITS);
        let mut key = vec![0; pattern_words + role_words + 1];
        for pattern in self.patterns.matches(path).iter() {
            key[pattern / WORD_BITS] |= 1 << (pattern % WORD_BITS);
        }
        for role in roles.iter().filter_map(|grant| self.roles.get(model::in_domain(grant, domain)?)) {
            key[pattern_words + role / WORD_BITS] |= 1 << (role % WORD_BITS);
        }
        let number = |of: &HashMap<String, u64>, name: &str| of.get(name).copied().unwrap_or_default();
        // Either number is far below 2^32.
        key[pattern_words + role_words] = number(&self.domains, domain) << 32 | number(&self.verbs, verb);
        key
    }
}

fn verb(method: &str) -> &str {
    if method == "HEAD" { "GET" } else { method }
}

/// Numbers distinct names from 0.
fn numbered<'a>(names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = (String, u64)> {
    let distinct: HashSet<&str> = names.collect();
    distinct.into_iter().map(str::to_owned).zip(0..)
}

fn set(patterns: &[&str]) -> Result<RegexSet> {
    // Each compiled by itself when it was checked, so only the size of all together can be too much.
    let set = RegexSetBuilder::new(patterns).size_limit(SET_BYTES_MAX).dfa_size_limit(SET_BYTES_MAX).build();
    set.map_err(|error| too_large().source(error))
}

fn too_large() -> Error {
    let message = format!(
        "a policy has at most {RULES_MAX} rules, {ROLES_MAX} roles and {ALLOW_LIST_MAX} allowed paths, and its patterns \
         together a limited size; write fewer and simpler ones"
    );
    Error::invalid("policy_too_large", message)
}

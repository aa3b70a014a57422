//! The Casbin model and its enforcer.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use casbin::function_map::{OperatorFunction, dynamic_to_str};
use casbin::rhai::Dynamic;
use casbin::{CoreApi, DefaultModel, DefaultRoleManager, Enforcer, MatchingFn, Model as _, NullAdapter, RoleManager};
use casbin_lock::RwLock;
use mallard_types::{Error, Result};

use crate::Decision;
use crate::rule::{Effect, Pattern, Role, Rule};

/// Requests: what the caller was granted, the seller concerned (empty: none), the canonical path, the verb. Rules say by their
/// form which function matches their path. `holds` notes the rules that hold, in the order of the policy.
const MODEL: &str = r#"
[request_definition]
r = grants, dom, path, act

[policy_definition]
p = id, role, dom, path, form, act, eft

[role_definition]
g = _, _, _

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = (p.dom == "*" || p.dom == r.dom) && g(r.grants, p.role, r.dom) && regexMatch(r.act, p.act) && ((p.form == "key" && keyMatch2(r.path, p.path)) || (p.form == "regex" && regexMatch(r.path, p.path))) && holds(p.id)
"#;

thread_local! {
    /// Ids of the rules that held in the decision under way on this thread. Casbin can explain its decisions only with its
    /// logging compiled in.
    static HELD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Decides with Casbin.
pub(crate) struct Model {
    enforcer: Enforcer,
    rules: HashMap<String, (Arc<str>, Effect)>,
}

impl Model {
    /// Loads checked rules and roles.
    pub(crate) async fn load(rules: &[Rule], patterns: &[Pattern], roles: &[Role]) -> Result<Model> {
        let mut model = DefaultModel::from_str(MODEL).await.map_err(broken)?;
        for (rule, pattern) in rules.iter().zip(patterns) {
            model.add_policy("p", "p", line(rule, pattern));
        }
        let mut names = 1;
        for role in roles {
            names += 1 + role.inherits.len();
            for inherited in &role.inherits {
                model.add_policy("g", "g", vec![role.name.clone(), inherited.clone(), "*".to_owned()]);
            }
        }
        // Nothing is loaded from an adapter: the model has its policy.
        let mut enforcer = Enforcer::new_raw(model, NullAdapter).await.map_err(broken)?;
        enforcer.add_function("holds", OperatorFunction::Arg1(hold));
        // A chain of roles is never longer than there are names, so none is cut short.
        let roles = Arc::new(RwLock::new(Grants(DefaultRoleManager::new(names))));
        enforcer.set_role_manager(roles).map_err(broken)?;
        let ids = rules.iter().map(|rule| (rule.id.clone(), (Arc::from(rule.id.as_str()), rule.effect)));
        let model = Model { enforcer, rules: ids.collect() };
        // A matcher that cannot be evaluated shows here, not in the middle of a request.
        model.enforce("anonymous", "", "/", "GET").map_err(broken)?;
        Ok(model)
    }

    /// Decides a request; `path` is canonical, `grants` are names separated by blanks.
    pub(crate) fn decide(&self, grants: &str, domain: &str, verb: &str, path: &str) -> Decision {
        // The same matcher was evaluated when the policy was loaded, on text of any kind; should it fail all the same,
        // nobody gets in.
        let Ok(allowed) = self.enforce(grants, domain, verb, path) else { return Decision::default() };
        let decisive = if allowed { Effect::Allow } else { Effect::Deny };
        let rule = HELD.with_borrow(|held| {
            let mut rules = held.iter().filter_map(|id| self.rules.get(id));
            rules.find(|(_, effect)| *effect == decisive).map(|(id, _)| Arc::clone(id))
        });
        Decision { allowed, rule }
    }

    fn enforce(&self, grants: &str, domain: &str, verb: &str, path: &str) -> casbin::Result<bool> {
        HELD.with_borrow_mut(Vec::clear);
        self.enforcer.enforce((grants, domain, path, verb))
    }
}

fn broken(error: casbin::Error) -> Error {
    Error::internal("policy_unusable", format!("the policy cannot be used: {error}"))
}

fn line(rule: &Rule, pattern: &Pattern) -> Vec<String> {
    let act = if rule.method == "*" { "^.*$".to_owned() } else { format!("^({})$", rule.method) };
    let eft = match rule.effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    };
    let fields = [&rule.id, &rule.role, &rule.domain, &pattern.text, pattern.form.as_str(), &act, eft];
    fields.map(str::to_owned).to_vec()
}

fn hold(id: Dynamic) -> Dynamic {
    HELD.with_borrow_mut(|held| held.push(dynamic_to_str(&id).into_owned()));
    true.into()
}

/// Tells whether what somebody was granted includes a role, in a domain. The subject of a request is everything granted:
/// names separated by blanks, `name@domain` where it is granted for one domain only. The hierarchy itself holds everywhere.
struct Grants(DefaultRoleManager);

impl RoleManager for Grants {
    fn has_link(&self, grants: &str, role: &str, domain: Option<&str>) -> bool {
        let names = grants.split(' ').filter_map(|grant| in_domain(grant, domain.unwrap_or_default()));
        names.into_iter().any(|name| self.0.has_link(name, role, Some("*")))
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn add_link(&mut self, name: &str, role: &str, domain: Option<&str>) {
        self.0.add_link(name, role, domain);
    }

    fn matching_fn(&mut self, role: Option<MatchingFn>, domain: Option<MatchingFn>) {
        self.0.matching_fn(role, domain);
    }

    fn delete_link(&mut self, name: &str, role: &str, domain: Option<&str>) -> casbin::Result<()> {
        self.0.delete_link(name, role, domain)
    }

    fn get_roles(&self, name: &str, domain: Option<&str>) -> Vec<String> {
        self.0.get_roles(name, domain)
    }

    fn get_users(&self, name: &str, domain: Option<&str>) -> Vec<String> {
        self.0.get_users(name, domain)
    }
}

/// Returns the name of a role that is granted in a domain.
pub(crate) fn in_domain<'a>(grant: &'a str, domain: &str) -> Option<&'a str> {
    match grant.split_once('@') {
        None => Some(grant),
        Some((name, of)) => (!of.is_empty() && of == domain).then_some(name),
    }
}

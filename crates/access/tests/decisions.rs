//! What policies decide: examples, ways around a rule that must not exist, and equality with Casbin and with a naive reading.

use std::collections::HashSet;

use casbin::function_map::{key_match2, regex_match};
use mallard_access::{ANONYMOUS, Access, Decision, Effect, Role, Rule};
use proptest::prelude::*;

fn rule(id: &str, role: &str, domain: &str, method: &str, path: &str, effect: Effect) -> Rule {
    let [id, role, domain, method, path] = [id, role, domain, method, path].map(str::to_owned);
    Rule { id, role, domain, path, method, effect }
}

fn allow(id: &str, role: &str, path: &str) -> Rule {
    rule(id, role, "*", "*", path, Effect::Allow)
}

fn deny(id: &str, role: &str, path: &str) -> Rule {
    rule(id, role, "*", "*", path, Effect::Deny)
}

fn inherits(name: &str, from: &[&str]) -> Role {
    Role { name: name.to_owned(), inherits: from.iter().map(|name| (*name).to_owned()).collect() }
}

async fn access(rules: Vec<Rule>, roles: Vec<Role>) -> Access {
    Access::new(rules, roles, Vec::new()).await.unwrap()
}

fn roles(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn allowed(access: &Access, names: &[&str], method: &str, path: &str) -> bool {
    access.decide(&roles(names), "", method, path).allowed
}

fn by(decision: &Decision) -> (bool, Option<&str>) {
    (decision.allowed, decision.rule.as_deref())
}

#[tokio::test]
async fn a_merchant_gets_what_the_regular_expression_says_and_no_more() {
    let access = access(vec![allow("pol_1", "merchant", "^/api/merchant/.*$")], vec![]).await;
    assert_eq!(by(&access.decide(&roles(&["merchant"]), "", "GET", "/api/merchant/x")), (true, Some("pol_1")));
    assert_eq!(by(&access.decide(&roles(&["merchant"]), "", "GET", "/api/admin/x")), (false, None));
    for (names, path) in [
        (&["merchant"][..], "/api/merchant"),
        (&["merchant"], "/x/api/merchant/x"),
        (&["merchant"], "/API/merchant/x"),
        (&["user"], "/api/merchant/x"),
        (&["Merchant"], "/api/merchant/x"),
        (&[ANONYMOUS], "/api/merchant/x"),
        (&[], "/api/merchant/x"),
        (&[""], "/api/merchant/x"),
        (&["user merchant"], "/api/merchant/x"),
    ] {
        assert!(!allowed(&access, names, "GET", path), "{names:?} {path}");
    }
}

#[tokio::test]
async fn nobody_may_anything_where_there_is_no_rule() {
    let access = access(vec![], vec![]).await;
    assert_eq!(access.decide(&roles(&["admin"]), "", "GET", "/"), Decision { allowed: false, rule: None });
    assert!(!access.needs_no_login("GET", "/"));
}

#[tokio::test]
async fn a_rule_that_denies_wins_over_every_rule_that_allows() {
    let rules = vec![
        allow("pol_all", "admin", "^/.*$"),
        deny("pol_no", "intern", "/admin/v1/refunds/*"),
        allow("pol_yes", "lead", "/admin/v1/refunds/*"),
    ];
    let access = access(rules, vec![inherits("trainee", &["intern", "admin"])]).await;
    assert!(allowed(&access, &["admin"], "GET", "/admin/v1/refunds/1"));
    for names in [&["admin", "intern"][..], &["intern", "lead"], &["lead", "admin", "intern"], &["trainee"]] {
        let decision = access.decide(&roles(names), "", "GET", "/admin/v1/refunds/1");
        assert_eq!(by(&decision), (false, Some("pol_no")), "{names:?}");
    }
    assert_eq!(by(&access.decide(&roles(&["trainee"]), "", "GET", "/admin/v1/orders")), (true, Some("pol_all")));
}

#[tokio::test]
async fn roles_inherit_over_any_number_of_steps_and_circles_do_no_harm() {
    let mut chain: Vec<Role> = (0..40).map(|n| inherits(&format!("r{n}"), &[&format!("r{}", n + 1)])).collect();
    chain.push(inherits("a", &["b"]));
    chain.push(inherits("b", &["a"]));
    let access =
        access(vec![allow("pol_1", "r40", "/x"), deny("pol_2", "r40", "/y"), allow("pol_3", "b", "/z")], chain).await;
    assert!(allowed(&access, &["r0"], "GET", "/x"));
    assert_eq!(by(&access.decide(&roles(&["r0"]), "", "GET", "/y")), (false, Some("pol_2")));
    assert!(allowed(&access, &["a"], "GET", "/z") && allowed(&access, &["b"], "GET", "/z"));
    assert!(!allowed(&access, &["a"], "GET", "/x"));
    // Upwards nothing is inherited.
    assert!(!allowed(&access, &["r41"], "GET", "/x"));
}

#[tokio::test]
async fn a_grant_for_one_domain_counts_only_there() {
    let rules = vec![
        rule("pol_any", "clerk", "*", "*", "/seller/v1/orders/*", Effect::Allow),
        rule("pol_one", "clerk", "sel_1", "*", "/seller/v1/stock/*", Effect::Allow),
        rule("pol_not", "clerk", "sel_2", "*", "/seller/v1/orders/*", Effect::Deny),
    ];
    let access = access(rules, vec![inherits("head", &["clerk"])]).await;
    let may = |names: &[&str], domain: &str, path: &str| access.decide(&roles(names), domain, "GET", path).allowed;
    for (names, domain, path, expected) in [
        (&["clerk"][..], "", "/seller/v1/orders/1", true),
        (&["clerk"], "sel_1", "/seller/v1/orders/1", true),
        (&["clerk"], "sel_2", "/seller/v1/orders/1", false),
        (&["clerk"], "sel_3", "/seller/v1/orders/1", true),
        (&["clerk"], "", "/seller/v1/stock/1", false),
        (&["clerk"], "sel_1", "/seller/v1/stock/1", true),
        (&["clerk"], "sel_3", "/seller/v1/stock/1", false),
        (&["clerk@sel_1"], "sel_1", "/seller/v1/stock/1", true),
        (&["head@sel_1"], "sel_1", "/seller/v1/stock/1", true),
        (&["clerk@sel_1"], "sel_1", "/seller/v1/orders/1", true),
        (&["clerk@sel_1"], "sel_3", "/seller/v1/orders/1", false),
        (&["clerk@sel_1"], "", "/seller/v1/orders/1", false),
        (&["clerk@"], "", "/seller/v1/orders/1", false),
        (&["clerk@sel_1@sel_3"], "sel_3", "/seller/v1/orders/1", false),
        (&["clerk@sel_3", "clerk@sel_1"], "sel_1", "/seller/v1/stock/1", true),
    ] {
        assert_eq!(may(names, domain, path), expected, "{names:?} {domain} {path}");
    }
}

#[tokio::test]
async fn no_other_spelling_of_a_path_slips_past_a_rule() {
    let rules = vec![
        allow("pol_all", "admin", "/*"),
        deny("pol_list", "admin", "/admin/v1/orders"),
        deny("pol_one", "admin", "^/admin/v1/orders/.+$"),
        deny("pol_word", "admin", "^/admin/v1/商品$"),
    ];
    let access = access(rules, vec![]).await;
    for path in [
        "/admin/v1/orders",
        "/admin/v1/%6frders",
        "/admin/v1/%6Frders",
        "/admin//v1/orders",
        "//admin/v1/orders",
        "/admin/v1/orders/",
        "/admin/v1/orders//",
        "/%61%64min/v1//%6frders/",
        "/admin/v1/orders/1",
        "/admin/v1/orders//1",
        "/admin/v1/orders/%31",
        "/admin/v1/orders/%0a1",
        "/admin/v1/orders/1%0A",
        "/admin/v1/orders/%00",
        "/admin/v1/orders/%ff",
        "/admin/v1/orders/%2F",
        "/admin/v1/%E5%95%86%E5%93%81",
        "/admin/v1/商品",
    ] {
        let decision = access.decide(&roles(&["admin"]), "", "GET", path);
        assert!(!decision.allowed && decision.rule.is_some(), "{path}: {decision:?}");
        assert_eq!(decision, access.decide_anew(&roles(&["admin"]), "", "GET", path), "{path}");
    }
    // Dot segments are literal for the router, and never allowed.
    for path in ["/admin/v1/x/../orders", "/admin/v1/./orders", "/admin/v1/%2e%2e/v1/orders", "/store/.."] {
        assert_eq!(by(&access.decide(&roles(&["admin"]), "", "GET", path)), (false, None), "{path}");
    }
    assert_eq!(by(&access.decide(&roles(&["admin"]), "", "GET", "/admin/v1/orders/..")), (false, Some("pol_one")));
    // What is encoded to be no separator is none.
    assert!(allowed(&access, &["admin"], "GET", "/admin/v1%2Forders"));
    assert!(allowed(&access, &["admin"], "GET", "/admin/v1/orders.x"));
}

#[tokio::test]
async fn verbs_are_compared_whole_and_head_is_get() {
    let rules = vec![
        rule("pol_1", "user", "*", "GET|POST", "/a", Effect::Allow),
        rule("pol_2", "user", "*", "GET", "/a/b", Effect::Deny),
        allow("pol_3", "user", "/a/b"),
    ];
    let access = access(rules, vec![]).await;
    for (verb, expected) in
        [("GET", true), ("POST", true), ("HEAD", true), ("PUT", false), ("GE", false), ("", false), ("get", false)]
    {
        assert_eq!(allowed(&access, &["user"], verb, "/a"), expected, "{verb}");
    }
    assert!(!allowed(&access, &["user"], "HEAD", "/a/b") && !allowed(&access, &["user"], "GET", "/a/b"));
    assert!(allowed(&access, &["user"], "POST", "/a/b"));
}

#[tokio::test]
async fn the_allow_list_has_what_it_names_and_nothing_else() {
    let list = ["/store/v1/status", "GET /store/v1/orders/:id", "GET|POST ^/hooks/v1/[a-z]+$"].map(str::to_owned);
    let access = Access::new(vec![], vec![], list.to_vec()).await.unwrap();
    for (verb, path, expected) in [
        ("POST", "/store/v1/status", true),
        ("GET", "/store/v1/status/", true),
        ("GET", "/store/v1/%73tatus", true),
        ("GET", "/store/v1/status/x", false),
        ("GET", "/store/v1/orders/1", true),
        ("HEAD", "/store/v1/orders/1", true),
        ("POST", "/store/v1/orders/1", false),
        ("GET", "/store/v1/orders", false),
        ("GET", "/store/v1/orders/1/events", false),
        ("GET", "/store/v1/orders/..", false),
        ("GET", "/store/v1/orders/1%2Fevents", true),
        ("POST", "/hooks/v1/acme", true),
        ("DELETE", "/hooks/v1/acme", false),
        ("POST", "/hooks/v1/acme/1", false),
    ] {
        assert_eq!(access.needs_no_login(verb, path), expected, "{verb} {path}");
    }
}

#[tokio::test]
async fn what_cannot_be_in_force_is_refused_with_its_code() {
    let refused =
        |rules, roles, list| async move { Access::new(rules, roles, list).await.err().unwrap().code.into_owned() };
    assert_eq!(refused(vec![allow("pol_1", "a", "^/[$")], vec![], vec![]).await, "invalid_policy");
    assert_eq!(refused(vec![allow("pol_1", "a", "^/a")], vec![], vec![]).await, "invalid_policy");
    assert_eq!(refused(vec![allow("", "a", "/a")], vec![], vec![]).await, "invalid_policy");
    assert_eq!(refused(vec![allow("p", "a", "/a"), deny("p", "a", "/b")], vec![], vec![]).await, "invalid_policy");
    assert_eq!(refused(vec![], vec![inherits("a b", &[])], vec![]).await, "invalid_role");
    assert_eq!(refused(vec![], vec![], vec!["a".to_owned()]).await, "invalid_allowed_path");
    let many = (0..1_001).map(|n| allow(&n.to_string(), "a", "/a")).collect();
    assert_eq!(refused(many, vec![], vec![]).await, "policy_too_large");
    // Small alone, large together.
    let large = (0..1_000).map(|n| allow(&n.to_string(), "a", &format!(r"^/{n}/\w+-\w+$"))).collect();
    assert_eq!(refused(large, vec![], vec![]).await, "policy_too_large");
}

#[tokio::test]
async fn a_long_path_and_a_pattern_that_repeats_are_decided_in_linear_time() {
    let access = access(vec![allow("pol_1", "a", "^/(a+)+$"), deny("pol_2", "a", "^/(.*a){10}$")], vec![]).await;
    // A matcher that goes back over the text would take longer than the age of the world.
    let path = format!("/{}!", "a".repeat(8_000));
    assert!(!allowed(&access, &["a"], "GET", &path));
}

const NAMES: [&str; 4] = ["a", "b", "c", ANONYMOUS];
const DOMAINS: [&str; 3] = ["", "sel_1", "sel_2"];
const VERBS: [&str; 4] = ["GET", "POST", "HEAD", "DELETE"];

fn some_rule() -> impl Strategy<Value = Rule> {
    let path = prop_oneof![
        prop::collection::vec(prop_oneof!["[xy]", Just("*".to_owned()), Just(":id".to_owned())], 1..4)
            .prop_map(|segments| format!("/{}", segments.join("/"))),
        prop_oneof![Just("^/x/[^/]+$"), Just("^/.*y$"), Just("^/x|/y$"), Just("^/(x/?)+$"), Just("^/[x-z]/%2F$")]
            .prop_map(str::to_owned),
    ];
    let domain = prop_oneof![3 => Just("*"), 1 => Just("sel_1"), 1 => Just("sel_2")];
    let verbs = prop_oneof![2 => Just("*"), 1 => Just("GET"), 1 => Just("POST|DELETE")];
    let effect = prop_oneof![2 => Just(Effect::Allow), 1 => Just(Effect::Deny)];
    (prop::sample::select(&NAMES[..]), domain, path, verbs, effect).prop_map(|(role, domain, path, method, effect)| {
        Rule { id: String::new(), role: role.into(), domain: domain.into(), path, method: method.into(), effect }
    })
}

fn some_request() -> impl Strategy<Value = (Vec<String>, &'static str, &'static str, String)> {
    let grant = prop_oneof![
        4 => prop::sample::select(&NAMES[..]).prop_map(str::to_owned),
        2 => (prop::sample::select(&NAMES[..]), prop::sample::select(&DOMAINS[..])).prop_map(|(name, domain)| format!("{name}@{domain}")),
        1 => Just("unknown".to_owned()),
    ];
    let path = prop::collection::vec(prop_oneof![4 => "[xyz]", 1 => Just("%78".to_owned()), 1 => Just("%2f".to_owned()), 1 => Just("..".to_owned()), 1 => Just(String::new())], 1..4)
        .prop_map(|segments| format!("/{}", segments.join("/")));
    (prop::collection::vec(grant, 0..3), prop::sample::select(&DOMAINS[..]), prop::sample::select(&VERBS[..]), path)
}

/// Reads a policy as its documentation says, without Casbin, automata or memory. `path` is canonical.
fn naive(rules: &[Rule], hierarchy: &[Role], grants: &[String], domain: &str, verb: &str, path: &str) -> bool {
    let mut held: HashSet<&str> = HashSet::new();
    for grant in grants {
        match grant.split_once('@') {
            None => held.insert(grant),
            Some((name, of)) if of == domain && !of.is_empty() => held.insert(name),
            Some(_) => false,
        };
    }
    loop {
        let more = hierarchy.iter().filter(|role| held.contains(role.name.as_str()));
        let more: Vec<&str> = more.flat_map(|role| role.inherits.iter().map(String::as_str)).collect();
        let before = held.len();
        held.extend(more);
        if held.len() == before {
            break;
        }
    }
    let verb = if verb == "HEAD" { "GET" } else { verb };
    let holds = |rule: &&Rule| {
        held.contains(rule.role.as_str())
            && (rule.domain == "*" || rule.domain == domain)
            && (rule.method == "*" || rule.method.split('|').any(|name| name == verb))
            && match rule.path.starts_with('^') {
                true => regex_match(path, &format!("^(?:{})$", rule.path)),
                false => key_match2(path, &rule.path),
            }
    };
    let holding: Vec<&Rule> = rules.iter().filter(holds).collect();
    !holding.is_empty() && holding.iter().all(|rule| rule.effect == Effect::Allow)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_remembered_decision_is_casbins_and_the_naive_readings(
        mut rules in prop::collection::vec(some_rule(), 0..12),
        links in prop::collection::vec((prop::sample::select(&NAMES[..]), prop::sample::select(&NAMES[..])), 0..4),
        requests in prop::collection::vec(some_request(), 1..24),
    ) {
        rules.iter_mut().enumerate().for_each(|(index, rule)| rule.id = format!("pol_{index}"));
        let links = links.into_iter().filter(|(name, from)| name != from);
        let hierarchy: Vec<Role> = links.map(|(name, from)| inherits(name, &[from])).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let access = runtime.block_on(access(rules.clone(), hierarchy.clone()));
        for (grants, domain, verb, path) in &requests {
            let anew = access.decide_anew(grants, domain, verb, path);
            // The first asks Casbin or finds what another path has left, the second finds it in any case.
            prop_assert_eq!(&access.decide(grants, domain, verb, path), &anew, "{:?} {} {} {}", grants, domain, verb, path);
            prop_assert_eq!(&access.decide(grants, domain, verb, path), &anew);
            if path.contains("..") {
                prop_assert!(!anew.allowed);
                continue;
            }
            let segments = path.split('/').filter(|segment| !segment.is_empty()).map(|segment| segment.replace("%78", "x").replace("%2f", "%2F"));
            let canonical = format!("/{}", segments.collect::<Vec<_>>().join("/"));
            prop_assert_eq!(anew.allowed, naive(&rules, &hierarchy, grants, domain, verb, &canonical), "{:?} {} {} {}", grants, domain, verb, path);
            if let Some(id) = &anew.rule {
                let deciding = rules.iter().find(|rule| *rule.id == **id).unwrap();
                prop_assert_eq!(deciding.effect == Effect::Allow, anew.allowed);
            }
        }
    }
}

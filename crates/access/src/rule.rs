//! Rules, roles and patterns, and what makes them valid.

use mallard_types::{Error, Result};
use regex::RegexBuilder;

/// Role of everybody who is not signed in.
pub const ANONYMOUS: &str = "anonymous";
/// Any domain, any verb.
pub(crate) const ANY: &str = "*";

/// Longest name of a role or domain, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 512;
/// Largest compiled pattern, in bytes. Matching takes time linear in the path whatever the pattern.
const COMPILED_BYTES_MAX: usize = 128 * 1_024;
/// Verbs a rule may name. `HEAD` counts as `GET`.
const VERBS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// What a rule that holds does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Lets the caller through, unless another rule denies.
    Allow,
    /// Keeps the caller out, whatever other rules say.
    Deny,
}

/// One rule of who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Names the rule in decisions and logs; unique.
    pub id: String,
    /// Role it is about; [`ANONYMOUS`] for everybody who is not signed in.
    pub role: String,
    /// Seller whose things it is about; `*` for all.
    pub domain: String,
    /// Pattern for `keyMatch2`, or, beginning with `^` and ending with `$`, a regular expression.
    pub path: String,
    /// `*`, or verbs joined by `|`.
    pub method: String,
    /// What it does.
    pub effect: Effect,
}

/// A role and the roles whose rules hold for it, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Name of the role.
    pub name: String,
    /// Roles it has everything of.
    pub inherits: Vec<String>,
}

/// Checks a rule; its id is not looked at.
///
/// # Errors
/// `invalid_policy`, naming the field and the remedy.
pub fn check_rule(rule: &Rule) -> Result<()> {
    if !is_name(&rule.role) {
        return Err(invalid_policy("role", NAME_REMEDY));
    }
    if rule.domain != ANY && !is_name(&rule.domain) {
        return Err(invalid_policy("domain", "the domain must be * or the id of a seller"));
    }
    check_verbs(&rule.method).map_err(|remedy| invalid_policy("method", remedy))?;
    Pattern::parse(&rule.path).map_err(|remedy| invalid_policy("path", remedy))?;
    Ok(())
}

/// Checks the names in a role.
///
/// # Errors
/// `invalid_role`, naming the field and the remedy.
pub fn check_role(role: &Role) -> Result<()> {
    let invalid = |param, message| Error::invalid("invalid_role", message).param(param);
    if !is_name(&role.name) {
        return Err(invalid("name", NAME_REMEDY));
    }
    if !role.inherits.iter().all(|name| is_name(name)) {
        return Err(invalid("inherits", NAME_REMEDY));
    }
    if role.inherits.contains(&role.name) {
        return Err(invalid("inherits", "a role cannot inherit itself; leave it out"));
    }
    Ok(())
}

/// Checks an entry of the allow-list: a pattern, with verbs and a blank in front where not all are meant.
///
/// # Errors
/// `invalid_allowed_path`, with the remedy.
pub fn check_allowed_path(entry: &str) -> Result<()> {
    AllowedPath::parse(entry).map(|_| ())
}

const NAME_REMEDY: &str = "a role's name must be 1 to 64 letters, digits, dots, - or _";

fn invalid_policy(param: &'static str, message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::invalid("invalid_policy", message).param(param)
}

fn is_name(name: &str) -> bool {
    let shaped = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(shaped)
}

fn check_verbs(verbs: &str) -> Result<(), &'static str> {
    if verbs == ANY || verbs.split('|').all(|verb| VERBS.contains(&verb)) {
        return Ok(());
    }
    if verbs.split('|').any(|verb| verb == "HEAD") {
        return Err("HEAD counts as GET; name GET");
    }
    Err("the method must be *, or names of GET, POST, PUT, PATCH, DELETE, OPTIONS joined by |, e.g. GET|POST")
}

/// Which function of Casbin matches a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `keyMatch2`
    Key,
    /// `regexMatch`
    Regex,
}

impl Form {
    /// Returns the word that stands for it in the model.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Form::Key => "key",
            Form::Regex => "regex",
        }
    }
}

/// A pattern that compiles and can only match whole paths.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) form: Form,
    /// Second argument of the function of Casbin.
    pub(crate) text: String,
    /// Regular expression that says the same.
    pub(crate) regex: String,
}

impl Pattern {
    /// Reads a pattern, or says what to do about it.
    pub(crate) fn parse(text: &str) -> Result<Pattern, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("the path must have at most {PATTERN_BYTES_MAX} bytes; write several rules"));
        }
        let pattern = if text.starts_with('^') { Pattern::regex(text)? } else { Pattern::key(text)? };
        compile(&pattern.regex)?;
        Ok(pattern)
    }

    fn regex(text: &str) -> Result<Pattern, String> {
        let escapes = text.strip_suffix('$').map(|rest| rest.bytes().rev().take_while(|byte| *byte == b'\\').count());
        if escapes.is_none_or(|count| count % 2 == 1) {
            return Err("a regular expression must end with $, or it would match inside other paths; add it".to_owned());
        }
        if text.strip_suffix("/$").is_some_and(|rest| rest.len() > 1) {
            return Err("paths are compared without a slash at their end; leave it out before $".to_owned());
        }
        // By itself first: what only makes sense inside the group would say something else outside.
        compile(text)?;
        // `^a$|b` begins and ends well and still matches inside other paths. In a group between anchors it cannot.
        let whole = format!("^(?:{text})$");
        Ok(Pattern { form: Form::Regex, text: whole.clone(), regex: whole })
    }

    fn key(text: &str) -> Result<Pattern, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("the path must begin with /, or be a regular expression between ^ and $".to_owned());
        };
        let mut regex = String::from("^");
        for segment in rest.split('/') {
            regex.push('/');
            match segment {
                "" if rest.is_empty() => {}
                "" => return Err("paths are compared without doubled slashes and without one at their end".to_owned()),
                "*" => regex.push_str(".*"),
                _ => regex.push_str(&key_segment(segment)?),
            }
        }
        regex.push('$');
        Ok(Pattern { form: Form::Key, text: text.to_owned(), regex })
    }
}

/// Translates a segment as `keyMatch2` does. What means something to regular expressions is refused, for `keyMatch2` would
/// hand it on as it is.
fn key_segment(segment: &str) -> Result<String, String> {
    let literal = |character: char| character.is_alphanumeric() || matches!(character, '-' | '_' | '~');
    let (fixed, name) = segment.split_once(':').map_or((segment, None), |(fixed, name)| (fixed, Some(name)));
    let named = name.is_none_or(|name| !name.is_empty() && name.chars().all(literal));
    if !fixed.chars().all(literal) || !named {
        return Err(format!(
            "{segment:?} must be letters, digits, - and _, or :name for one segment, or * for all that follows; \
             for anything else write a regular expression between ^ and $"
        ));
    }
    Ok(if name.is_some() { format!("{fixed}[^/]+") } else { fixed.to_owned() })
}

fn compile(regex: &str) -> Result<(), String> {
    match RegexBuilder::new(regex).size_limit(COMPILED_BYTES_MAX).build() {
        Ok(_) => Ok(()),
        Err(regex::Error::CompiledTooBig(_)) => {
            Err("the regular expression is too large; repeat less, or write [a-z] instead of \\w".to_owned())
        }
        Err(error) => Err(format!("the regular expression cannot be read: {error}")),
    }
}

/// An entry of the allow-list.
#[derive(Clone, Debug)]
pub(crate) struct AllowedPath {
    verbs: String,
    pub(crate) regex: String,
}

impl AllowedPath {
    pub(crate) fn parse(entry: &str) -> Result<AllowedPath> {
        let (verbs, path) = entry.split_once(' ').unwrap_or((ANY, entry));
        let invalid =
            |remedy: String| Error::invalid("invalid_allowed_path", format!("{entry:?}: {remedy}")).param("paths");
        check_verbs(verbs).map_err(|remedy| invalid(remedy.to_owned()))?;
        let pattern = Pattern::parse(path).map_err(invalid)?;
        Ok(AllowedPath { verbs: verbs.to_owned(), regex: pattern.regex })
    }

    pub(crate) fn has_verb(&self, verb: &str) -> bool {
        self.verbs == ANY || self.verbs.split('|').any(|name| name == verb)
    }
}

#[cfg(test)]
mod tests {
    use casbin::function_map::{key_match2, regex_match};
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    fn rule() -> Rule {
        Rule {
            id: "pol_1".into(),
            role: "support".into(),
            domain: "*".into(),
            path: "/admin/v1/orders/:id".into(),
            method: "GET|POST".into(),
            effect: Effect::Allow,
        }
    }

    #[test]
    fn a_good_rule_passes_and_each_bad_field_is_named() {
        check_rule(&rule()).unwrap();
        for (bad, param) in [
            (Rule { role: String::new(), ..rule() }, "role"),
            (Rule { role: "support@sel_1".into(), ..rule() }, "role"),
            (Rule { role: "two words".into(), ..rule() }, "role"),
            (Rule { role: "x".repeat(65), ..rule() }, "role"),
            (Rule { domain: String::new(), ..rule() }, "domain"),
            (Rule { domain: "a b".into(), ..rule() }, "domain"),
            (Rule { method: "get".into(), ..rule() }, "method"),
            (Rule { method: String::new(), ..rule() }, "method"),
            (Rule { method: "GET|".into(), ..rule() }, "method"),
            (Rule { method: "HEAD".into(), ..rule() }, "method"),
            (Rule { path: String::new(), ..rule() }, "path"),
        ] {
            let error = check_rule(&bad).unwrap_err();
            assert_eq!((error.code.as_ref(), error.param.as_deref()), ("invalid_policy", Some(param)), "{bad:?}");
        }
    }

    #[test]
    fn patterns_that_would_match_elsewhere_or_nowhere_are_refused() {
        for good in [
            "/", "/a", "/a/:id", "/a/*", "/*", "/a/:id/b", "/a/*/b", "/v1:x", "^/a$", "^/a/.*$", "^/$", "^(?i)/a$",
            r"^/a\\$",
        ] {
            Pattern::parse(good).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
        for bad in [
            "a",
            "",
            "/a/",
            "//",
            "/a//b",
            "/a*",
            "/a/**",
            "/a/:",
            "/a.b",
            "/a|/b",
            "/a%2Fb",
            "/(a)",
            "/a b",
            "^/a",
            "^/a\\$",
            "^/a/$",
            "^/[$",
            "^/a)|(?:/b$",
            "^(?x)/a#$",
            "^/a{100000}$",
            r"^/(\w{50}){50}$",
        ] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
        assert!(Pattern::parse(&format!("/{}", "a".repeat(512))).is_err());
        Pattern::parse(r"^/a/\w+$").unwrap();
    }

    #[test]
    fn an_alternative_cannot_leave_the_anchors() {
        let regex = Regex::new(&Pattern::parse("^/a|/b$").unwrap().regex).unwrap();
        assert!(regex.is_match("/a") && regex.is_match("/b"));
        assert!(!regex.is_match("/a/secret") && !regex.is_match("/secret/b"));
    }

    #[test]
    fn roles_and_allowed_paths_are_checked() {
        check_role(&Role { name: "lead".into(), inherits: vec!["support".into()] }).unwrap();
        for (name, inherits) in [("", "a"), ("a b", "a"), ("lead", ""), ("lead", "lead")] {
            assert!(
                check_role(&Role { name: name.into(), inherits: vec![inherits.into()] }).is_err(),
                "{name} {inherits}"
            );
        }
        for good in ["/store/v1/status", "GET /a/:id", "GET|POST ^/a/[0-9]+$"] {
            check_allowed_path(good).unwrap();
        }
        for bad in ["", "GET", "get /a", "GET  /a", "/a /b", "^/a", "GET "] {
            assert_eq!(check_allowed_path(bad).unwrap_err().code, "invalid_allowed_path", "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_means_what_casbin_makes_of_it(
            pattern in prop::collection::vec(prop_oneof!["[ab]{1,2}", Just("*".to_owned()), "[ab]?:[ab]"], 1..4),
            path in prop::collection::vec("[ab]{1,2}", 1..5),
        ) {
            let (text, path) = (format!("/{}", pattern.join("/")), format!("/{}", path.join("/")));
            let pattern = Pattern::parse(&text).unwrap();
            prop_assert_eq!(pattern.form, Form::Key);
            prop_assert_eq!(key_match2(&path, &pattern.text), regex_match(&path, &pattern.regex), "{} {}", text, path);
        }
    }
}

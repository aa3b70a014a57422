//! The routes of the mall's contracts, as the edge tells them apart: which a request takes, which need no account, and which
//! an entry of the allow-list opens.

use std::sync::LazyLock;

use mallard_proto::rest::{self, Access, Method, RouteInfo, Visitor};

/// Routes that whoever is signed in may always take, whatever the policies say: nobody is kept from signing out, nor from
/// proving who it is.
const ALWAYS: [&str; 2] = ["Logout", "Reauthenticate"];

static ROUTES: LazyLock<Vec<&'static RouteInfo>> = LazyLock::new(|| {
    struct Collect(Vec<&'static RouteInfo>);
    impl Visitor for Collect {
        fn route<M: Method>(&mut self, info: &'static RouteInfo) {
            self.0.push(info);
        }
    }
    let mut routes = Collect(Vec::new());
    rest::routes(&mut routes);
    routes.0
});

/// What the contract says of a request, whatever the policies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// Anybody may make it.
    Public,
    /// Whoever is signed in may make it.
    SignedIn,
    /// The policies decide.
    Policies,
}

/// Returns the contract's terms for a request; what leads nowhere is for the policies, too.
pub fn terms(method: &str, path: &str) -> Terms {
    match find(method, path) {
        Some(info) if is_public(info) => Terms::Public,
        Some(info) if info.service == "identity" && ALWAYS.contains(&info.name) => Terms::SignedIn,
        _ => Terms::Policies,
    }
}

/// Tells whether a path is under the sellers' door, the only one where a seller's domain counts.
pub fn is_sellers(path: &str) -> bool {
    path.split('/').nth(1) == Some("seller")
}

/// Says why an entry of the allow-list that is well formed opens nothing; none when it may open something.
pub fn warning(entry: &str) -> Option<String> {
    let (verbs, path) = entry.split_once(' ').unwrap_or(("*", entry));
    let pattern = pattern(path)?;
    let has_verb = |info: &RouteInfo| verbs == "*" || verbs.split('|').any(|verb| verb == info.verb);
    let met: Vec<_> = ROUTES
        .iter()
        .filter(|info| has_verb(info) && overlap(&pattern, &segments(info.path).collect::<Vec<_>>()))
        .collect();
    if met.is_empty() {
        return Some(format!("{entry:?} matches nothing the mall answers, so it opens nothing; check path and verbs"));
    }
    // What the contract lets anybody call answers to strangers, at whatever door.
    if met.iter().any(|info| info.access == Access::Public) {
        return None;
    }
    Some(format!(
        "{entry:?} opens nothing: what answers there ({} {}) wants somebody who is signed in, whatever this list says",
        met[0].verb, met[0].path
    ))
}

/// Tells whether the edge lets anybody take a route: the operators' door is never open by contract.
fn is_public(info: &RouteInfo) -> bool {
    info.access == Access::Public && segments(info.path).next() != Some("admin")
}

fn find(method: &str, path: &str) -> Option<&'static RouteInfo> {
    let method = if method == "HEAD" { "GET" } else { method };
    let matches = |info: &RouteInfo| {
        segments(info.path).count() == segments(path).count()
            && segments(info.path).zip(segments(path)).all(|(ours, theirs)| match is_param(ours) {
                true => !theirs.is_empty(),
                false => ours == theirs,
            })
    };
    // Of two paths that match, the one whose fixed text goes on longest.
    let fixed = |info: &RouteInfo| segments(info.path).map(|segment| !is_param(segment)).collect::<Vec<_>>();
    let path = ROUTES.iter().filter(|info| matches(info)).max_by_key(|info| fixed(info))?.path;
    ROUTES.iter().find(|info| info.path == path && info.verb == method).copied()
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

fn is_param(segment: &str) -> bool {
    segment.starts_with('{')
}

/// A piece of a pattern.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    /// A segment that is this.
    Is(&'a str),
    /// A segment that begins so.
    Begins(&'a str),
    /// Any number of segments, none too.
    Rest,
}

/// Reads a pattern, of a regular expression what is certain: the text it begins with. None when nothing is certain.
fn pattern(path: &str) -> Option<Vec<Piece<'_>>> {
    let Some(regex) = path.strip_prefix('^') else {
        let piece = |segment| match segment {
            "*" => Piece::Rest,
            segment => segment.split_once(':').map_or(Piece::Is(segment), |(fixed, _)| Piece::Begins(fixed)),
        };
        return Some(segments(path).map(piece).collect());
    };
    // One of several ways may begin otherwise.
    if regex.contains('|') {
        return None;
    }
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '-' | '_');
    let end = regex.find(|c| !plain(c)).unwrap_or(regex.len());
    let (mut begin, rest) = regex.split_at(end);
    if rest == "$" {
        return Some(segments(begin).map(Piece::Is).collect());
    }
    // What is repeated may be there not at all.
    if rest.starts_with(['*', '?', '{']) {
        begin = begin.char_indices().next_back().map_or("", |(at, _)| &begin[..at]);
    }
    let (whole, last) = begin.rsplit_once('/')?;
    let whole = whole.split('/').skip(1).map(Piece::Is);
    Some(whole.chain([Piece::Begins(last), Piece::Rest]).collect())
}

/// Tells whether a pattern may match a path of a route.
fn overlap(pattern: &[Piece<'_>], route: &[&str]) -> bool {
    let Some((piece, pattern_after)) = pattern.split_first() else { return route.is_empty() };
    if *piece == Piece::Rest {
        return (0..=route.len()).any(|skipped| overlap(pattern_after, &route[skipped..]));
    }
    let Some((segment, route_after)) = route.split_first() else { return false };
    let meets = is_param(segment)
        || match piece {
            Piece::Is(text) => segment == text,
            Piece::Begins(text) => segment.starts_with(text),
            Piece::Rest => true,
        };
    meets && overlap(pattern_after, route_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_decides_for_the_route_a_request_takes() {
        for (method, path, expected) in [
            ("POST", "/auth/v1/login", Terms::Public),
            ("GET", "/store/v1/products", Terms::Public),
            ("HEAD", "/store/v1/products/prd_1", Terms::Public),
            ("POST", "/store/v1/products/batch-get", Terms::Public),
            ("GET", "/store/v1/products/batch-get", Terms::Policies),
            ("DELETE", "/store/v1/products/prd_1", Terms::Policies),
            ("GET", "/store/v1/products/", Terms::Policies),
            ("GET", "/store/v1/me", Terms::Policies),
            ("GET", "/store/v1/categories", Terms::Public),
            ("GET", "/admin/v1/categories", Terms::Policies),
            ("POST", "/auth/v1/logout", Terms::SignedIn),
            ("POST", "/auth/v1/reauthenticate", Terms::SignedIn),
            ("GET", "/auth/v1/logout", Terms::Policies),
            ("GET", "/nowhere", Terms::Policies),
        ] {
            assert_eq!(terms(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn an_entry_that_may_open_something_needs_no_warning() {
        for entry in [
            "GET /admin/v1/categories",
            "/admin/v1/categories",
            "/admin/v1/:what",
            "/admin/*",
            "/*",
            "/store/v1/products/prd_1",
            "^/admin/v1/.*$",
            "^/admin/v1/cat.*$",
            "^/admin/v1/categories$",
            "GET ^/admin/v1/categories/?$",
            "^/admin/v1/categoriesx*$",
            "^(?i)/ADMIN/v1/categories$",
            "^/nowhere$|^/admin/v1/categories$",
            "^.*$",
        ] {
            assert_eq!(warning(entry), None, "{entry}");
        }
    }

    #[test]
    fn an_entry_that_opens_nothing_is_told_why() {
        for entry in [
            "/nowhere",
            "/admin/v1/categoriess",
            "/admin/v1/categories/:id",
            "PATCH /store/v1/categories",
            "^/nowhere/.*$",
            "^/admin/v1/categoriez$",
            "^/admin/v9/[a-z]+$",
        ] {
            let text = warning(entry).unwrap_or_else(|| panic!("{entry} opens something"));
            assert!(text.contains(entry) && text.contains("matches nothing"), "{text}");
        }
        for entry in ["/admin/v1/users", "GET /store/v1/orders/:id", "/store/v1/orders/*", "^/store/v1/orders/.*$"] {
            let text = warning(entry).unwrap_or_else(|| panic!("{entry} opens something"));
            assert!(text.contains(entry) && text.contains("signed in"), "{text}");
        }
    }
}

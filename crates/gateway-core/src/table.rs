//! The table of routes: verb and path to endpoint.

use std::collections::BTreeMap;

use http::Method as Verb;
use mallard_proto::rest::{self, Access, Method, RouteInfo, Visitor};
use mallard_rpc::{ServiceChannel, Surface};

use crate::endpoint::{Endpoint, Typed};
use crate::meter::Meter;
use crate::policy::Policy;
use crate::query;

/// One route.
pub struct Route {
    /// Rules of the route.
    pub info: &'static RouteInfo,
    /// Who may call: what the contract says, and operators only below `/admin`.
    pub access: Access,
    /// Door the route belongs to.
    pub surface: Surface,
    pub(crate) endpoint: Box<dyn Endpoint>,
    pub(crate) meter: Meter,
    pub(crate) policy: Policy,
}

/// Makes every route of the contracts; `channel` gives the way to a service by its name.
pub fn routes(channel: impl Fn(&str) -> ServiceChannel) -> Vec<Route> {
    struct Collect<F>(F, Vec<Route>);
    impl<F: Fn(&str) -> ServiceChannel> Visitor for Collect<F> {
        fn route<M: Method>(&mut self, info: &'static RouteInfo) {
            let endpoint = Box::new(Typed::<M>::new(info, (self.0)(info.service)));
            self.1.push(Route {
                info,
                access: access(info),
                surface: surface(info.path),
                endpoint,
                meter: Meter::new(info.path),
                policy: Policy::default(),
            });
        }
    }
    let mut collect = Collect(channel, Vec::new());
    rest::routes(&mut collect);
    collect.1
}

/// Returns who may call: everything below `/admin` is for operators, even where sellers share the method.
pub fn access(info: &RouteInfo) -> Access {
    if surface(info.path) == Surface::Admin { Access::Admin } else { info.access }
}

/// Returns the door a path belongs to.
pub fn surface(path: &str) -> Surface {
    match path.split('/').nth(1).unwrap_or_default() {
        "auth" => Surface::Auth,
        "seller" => Surface::Seller,
        "admin" => Surface::Admin,
        _ => Surface::Store,
    }
}

/// What a verb and a path lead to.
pub enum Found<'a> {
    /// A route with its decoded path parameters.
    Route(&'a Route, Vec<String>),
    /// The path exists, the verb does not; these do.
    OtherVerbs(&'a str),
    /// There is no such path.
    Nothing,
}

struct Place {
    routes: Vec<(Verb, usize)>,
    allow: String,
}

/// Finds routes.
pub struct Table {
    paths: matchit::Router<Place>,
    routes: Vec<Route>,
}

impl Table {
    /// Builds the table.
    ///
    /// # Errors
    /// Text naming two routes that cannot be told apart.
    pub fn new(routes: Vec<Route>) -> Result<Table, String> {
        let mut places: BTreeMap<String, Vec<(Verb, usize)>> = BTreeMap::new();
        for (index, route) in routes.iter().enumerate() {
            let verb =
                Verb::from_bytes(route.info.verb.as_bytes()).map_err(|_| format!("{} is no verb", route.info.verb))?;
            let verbs = places.entry(normal(route.info.path)).or_default();
            if verbs.iter().any(|(other, _)| *other == verb) {
                return Err(format!("two routes for {verb} {}", route.info.path));
            }
            verbs.push((verb, index));
        }
        let mut paths = matchit::Router::new();
        for (path, mut verbs) in places {
            verbs.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
            let mut allow: Vec<&str> = verbs.iter().map(|(verb, _)| verb.as_str()).collect();
            if allow.contains(&"GET") {
                allow.push("HEAD");
            }
            let allow = allow.join(", ");
            paths.insert(path.clone(), Place { routes: verbs, allow }).map_err(|error| format!("{path}: {error}"))?;
        }
        Ok(Table { paths, routes })
    }

    /// Finds the route of a request; `HEAD` finds the route of `GET`.
    pub fn find(&self, verb: &Verb, path: &str) -> Found<'_> {
        let Ok(matched) = self.paths.at(path) else { return Found::Nothing };
        let wanted = if verb == Verb::HEAD { &Verb::GET } else { verb };
        let place = matched.value;
        let Some((_, index)) = place.routes.iter().find(|(verb, _)| verb == wanted) else {
            return Found::OtherVerbs(&place.allow);
        };
        let mut params = Vec::new();
        for (_, value) in matched.params.iter() {
            match query::decode(value, false) {
                Some(value) if !value.is_empty() => params.push(value.into_owned()),
                _ => return Found::Nothing,
            }
        }
        Found::Route(&self.routes[*index], params)
    }

    /// Returns all routes, in order of the contracts.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

/// Gives parameters names by their position, so that two routes may call the same segment by different names.
fn normal(path: &str) -> String {
    let segments = path.split('/').enumerate();
    let named = segments
        .map(|(index, segment)| if segment.starts_with('{') { format!("{{p{index}}}") } else { segment.to_owned() });
    named.collect::<Vec<_>>().join("/")
}

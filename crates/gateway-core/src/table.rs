//! The table of routes: verb and path to endpoint.

use std::collections::BTreeMap;

use http::Method as Verb;
use mallard_proto::rest::{self, Access, Method, RouteInfo, Visitor};
use mallard_rpc::{ServiceChannel, Surface};
use mallard_types::Error;

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
pub enum Found<'a, R = &'a Route> {
    /// A route with its decoded path parameters.
    Route(R, Vec<String>),
    /// The path exists, the verb does not; these do.
    OtherVerbs(&'a str),
    /// There is no such path.
    Nothing,
}

struct Place {
    routes: Vec<(Verb, usize)>,
    allow: String,
}

/// Finds routes by their number.
struct Paths(matchit::Router<Place>);

impl Paths {
    fn new<'a>(infos: impl Iterator<Item = &'a RouteInfo>) -> Result<Paths, String> {
        let mut places: BTreeMap<String, Vec<(Verb, usize)>> = BTreeMap::new();
        for (index, info) in infos.enumerate() {
            let verb = Verb::from_bytes(info.verb.as_bytes()).map_err(|_| format!("{} is no verb", info.verb))?;
            let verbs = places.entry(normal(info.path)).or_default();
            if verbs.iter().any(|(other, _)| *other == verb) {
                return Err(format!("two routes for {verb} {}", info.path));
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
        Ok(Paths(paths))
    }

    /// Finds a route; `HEAD` finds the route of `GET`.
    fn find(&self, verb: &Verb, path: &str) -> Found<'_, usize> {
        let Ok(matched) = self.0.at(path) else { return Found::Nothing };
        let wanted = if verb == Verb::HEAD { &Verb::GET } else { verb };
        let place = matched.value;
        let Some((_, index)) = place.routes.iter().find(|(verb, _)| verb == wanted) else {
            return Found::OtherVerbs(&place.allow);
        };
        let mut params = Vec::new();
        for (_, value) in matched.params.iter() {
            match query::decode(value, false) {
                // Nothing has an empty name, or one with U+0000 in it.
                Some(value) if !value.is_empty() && !value.contains('\0') => params.push(value.into_owned()),
                _ => return Found::Nothing,
            }
        }
        Found::Route(*index, params)
    }
}

/// The routes of an edge.
pub struct Table {
    paths: Paths,
    routes: Vec<Route>,
}

impl Table {
    /// Builds the table.
    ///
    /// # Errors
    /// Text naming two routes that cannot be told apart.
    pub fn new(routes: Vec<Route>) -> Result<Table, String> {
        Ok(Table { paths: Paths::new(routes.iter().map(|route| route.info))?, routes })
    }

    /// Finds the route of a request; `HEAD` finds the route of `GET`.
    pub fn find(&self, verb: &Verb, path: &str) -> Found<'_> {
        match self.paths.find(verb, path) {
            Found::Route(index, params) => Found::Route(&self.routes[index], params),
            Found::OtherVerbs(allow) => Found::OtherVerbs(allow),
            Found::Nothing => Found::Nothing,
        }
    }

    /// Returns all routes, in order of the contracts.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

/// The rules of all routes, for those who ask about a route and do not take it.
pub struct Contract {
    paths: Paths,
    infos: Vec<&'static RouteInfo>,
}

impl Contract {
    /// Reads the contracts.
    ///
    /// # Errors
    /// Text naming two routes that cannot be told apart.
    pub fn new() -> Result<Contract, String> {
        struct Collect(Vec<&'static RouteInfo>);
        impl Visitor for Collect {
            fn route<M: Method>(&mut self, info: &'static RouteInfo) {
                self.0.push(info);
            }
        }
        let mut collect = Collect(Vec::new());
        rest::routes(&mut collect);
        Ok(Contract { paths: Paths::new(collect.0.iter().copied())?, infos: collect.0 })
    }

    /// Finds the route of a verb and a path; `HEAD` finds the route of `GET`.
    ///
    /// # Errors
    /// `route_not_found`, `method_not_allowed`.
    pub fn find(&self, verb: &str, path: &str) -> mallard_types::Result<&'static RouteInfo> {
        let found = Verb::from_bytes(verb.as_bytes()).map_or(Found::Nothing, |verb| self.paths.find(&verb, path));
        match found {
            Found::Route(index, _) => Ok(self.infos[index]),
            Found::OtherVerbs(allow) => {
                Err(Error::invalid("method_not_allowed", format!("{verb} is not possible here, only {allow}")))
            }
            Found::Nothing => Err(Error::not_found("route_not_found", "there is no such route")),
        }
    }

    /// Returns the rules of all routes, in order of the contracts.
    pub fn routes(&self) -> &[&'static RouteInfo] {
        &self.infos
    }
}

/// Gives parameters names by their position, so that two routes may call the same segment by different names.
fn normal(path: &str) -> String {
    let segments = path.split('/').enumerate();
    let named = segments
        .map(|(index, segment)| if segment.starts_with('{') { format!("{{p{index}}}") } else { segment.to_owned() });
    named.collect::<Vec<_>>().join("/")
}

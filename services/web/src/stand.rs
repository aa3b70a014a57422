//! Which route of the API a page stands for: it is limited, shed and timed like it, and its door's address lists hold.

use http::Method;
use http::header::ACCEPT;
use http::request::Parts;
use mallard_runtime::Stand;

use crate::ask::header;
use crate::domain::{has_prefix, split_language};
use crate::{images, pages};

/// Paths that are not pages but the mall's API and what belongs to running it.
const API: [&str; 12] = [
    "/auth/v1",
    "/store/v1",
    "/seller/v1",
    "/admin/v1",
    "/hooks",
    "/mcp",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/.well-known",
];
/// Pictures, which the binary adds to the API.
const MEDIA: &str = "/media";
/// Files of the pages themselves.
pub const ASSETS: &str = "/assets";

/// Tells what a request is.
pub fn stands_for(head: &Parts) -> Stand {
    let path = head.uri.path();
    if has_prefix(path, &[images::PATH, ASSETS]) {
        return Stand::File;
    }
    if has_prefix(path, &API) || has_prefix(path, &[MEDIA]) {
        return Stand::Api;
    }
    let (_, local) = split_language(path);
    let found = pages::find(local);
    if found.is_none() && !header(&head.headers, ACCEPT.as_str()).contains("text/html") {
        // A program gets the API's own words.
        return Stand::Api;
    }
    let is_form = head.method == Method::POST;
    let (verb, route) = if is_form { form(local) } else { reading(local) };
    Stand::Page { verb, route, streams: is_form && found.is_some_and(|page| page.takes_file()) }
}

fn reading(path: &str) -> (&'static str, &'static str) {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let route = match parts.as_slice() {
        ["operator", ..] => "/admin/v1/orders",
        ["seller", ..] => "/seller/v1/orders",
        ["sign-in" | "sign-up", ..] => "/auth/v1/sessions",
        ["p", ..] => "/store/v1/products/{id}",
        ["cart", ..] => "/store/v1/cart",
        ["checkout", "result", ..] => "/store/v1/payments/{id}",
        ["checkout", ..] => return ("POST", "/store/v1/checkout/quote"),
        ["orders"] => "/store/v1/orders",
        ["orders", ..] => "/store/v1/orders/{id}",
        ["account", "addresses", ..] => "/store/v1/me/addresses",
        ["account", ..] => "/store/v1/me",
        _ => "/store/v1/products",
    };
    ("GET", route)
}

fn form(path: &str) -> (&'static str, &'static str) {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["sign-in", ..] => ("POST", "/auth/v1/login"),
        ["sign-up", ..] => ("POST", "/auth/v1/register"),
        ["sign-out", ..] => ("POST", "/auth/v1/logout"),
        ["checkout", ..] => ("POST", "/store/v1/orders"),
        ["orders", _, "pay"] => ("POST", "/store/v1/orders/{id}/pay"),
        ["orders", _, "cancel"] => ("POST", "/store/v1/orders/{id}/cancel"),
        ["orders", _, "address"] => ("PATCH", "/store/v1/orders/{id}"),
        ["orders", ..] => ("POST", "/store/v1/orders/{id}/returns"),
        ["account", "addresses", ..] => ("POST", "/store/v1/me/addresses"),
        ["account", "sessions", ..] => ("DELETE", "/auth/v1/sessions/{id}"),
        ["account", "password", ..] => ("POST", "/auth/v1/password"),
        ["account", "delete", ..] => ("POST", "/auth/v1/reauthenticate"),
        ["account", ..] => ("PATCH", "/store/v1/me"),
        ["seller", "orders", ..] => ("POST", "/seller/v1/orders/{id}/ship"),
        ["seller", "stock" | "inventory", ..] => ("POST", "/seller/v1/inventory/{sku_id}/adjust"),
        ["seller", "products", _, "pictures", "add"] => ("POST", "/seller/v1/images"),
        ["seller", ..] => ("POST", "/seller/v1/products"),
        ["operator", "orders", _, "refund"] => ("POST", "/admin/v1/orders/{id}/refund"),
        ["operator", "orders", ..] => ("POST", "/admin/v1/orders/{id}/cancel"),
        ["operator", "returns", ..] => ("POST", "/admin/v1/returns/{id}/approve"),
        ["operator", "users", ..] => ("POST", "/admin/v1/users/{id}/kick"),
        ["operator", ..] => ("POST", "/admin/v1/policies"),
        _ => ("POST", "/store/v1/cart/lines"),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use mallard_gateway_core::Contract;

    use super::*;

    fn stand(verb: &str, path: &str) -> Stand {
        let request = Request::builder().method(verb).uri(path).header("accept", "text/html,*/*");
        stands_for(&request.body(()).unwrap().into_parts().0)
    }

    fn route(verb: &str, path: &str) -> String {
        match stand(verb, path) {
            Stand::Page { verb, route, .. } => format!("{verb} {route}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn every_page_stands_for_a_route_there_is() {
        let contract = Contract::new().unwrap();
        let ends = [
            "",
            "/x",
            "/x/pay",
            "/x/cancel",
            "/x/address",
            "/x/refund",
            "/x/y/end",
            "/result/x",
            "/x/pictures/add",
            "/addresses/x",
        ];
        let begins = [
            "",
            "c",
            "p",
            "search",
            "cart",
            "checkout",
            "sign-in",
            "sign-up",
            "sign-out",
            "orders",
            "account",
            "account/addresses",
            "account/sessions",
            "account/password",
            "seller",
            "seller/orders",
            "seller/products",
            "seller/stock",
            "operator",
            "operator/orders",
            "operator/returns",
            "operator/users",
            "operator/system",
            "nothing",
        ];
        for path in begins.iter().flat_map(|begin| ends.iter().map(move |end| format!("/{begin}{end}"))) {
            for (verb, path) in [reading(&path), form(&path)] {
                contract.find(verb, path).unwrap_or_else(|error| panic!("{verb} {path}: {error}"));
            }
        }
    }

    #[test]
    fn a_page_stands_for_what_it_does_in_whatever_language() {
        assert_eq!(route("POST", "/sign-in"), "POST /auth/v1/login");
        assert_eq!(route("POST", "/zh/sign-in"), "POST /auth/v1/login");
        assert_eq!(route("POST", "/checkout"), "POST /store/v1/orders");
        assert_eq!(route("GET", "/"), "GET /store/v1/products");
        assert_eq!(route("HEAD", "/en/p/prod_1"), "GET /store/v1/products/{id}");
        assert_eq!(route("GET", "/no/such/page"), "GET /store/v1/products");
        assert_eq!(route("GET", "/operator"), "GET /admin/v1/orders");
        assert_eq!(route("GET", "/zh/operator/users"), "GET /admin/v1/orders");
        assert_eq!(route("POST", "/operator/keys"), "POST /admin/v1/policies");
    }

    #[test]
    fn files_and_the_api_are_no_pages() {
        assert_eq!(stand("GET", "/assets/shop.css"), Stand::File);
        assert_eq!(stand("GET", "/media/up/x"), Stand::File);
        assert_eq!(stand("GET", "/media/demo/mug.svg"), Stand::Api);
        for path in ["/store/v1/cart", "/seller/v1/orders", "/admin/v1/nothing", "/healthz", "/docs"] {
            assert_eq!(stand("GET", path), Stand::Api, "{path}");
        }
        let program = Request::builder().uri("/nothing").body(()).unwrap().into_parts().0;
        assert_eq!(stands_for(&program), Stand::Api);
    }
}

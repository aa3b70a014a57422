//! The page that shows the API to people: three small files of our own, no other host, no build step.

use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, Response};

use crate::edge::harden;

/// Address of the page and of the files it loads.
pub const PATHS: [&str; 3] = ["/docs", "/docs/page.js", "/docs/page.css"];

/// Returns one of the files of the page.
pub fn file(path: &str) -> Option<Response<axum::body::Body>> {
    let (kind, text) = match path {
        "/docs" => ("text/html; charset=utf-8", include_str!("docs/page.html")),
        "/docs/page.js" => ("text/javascript; charset=utf-8", include_str!("docs/page.js")),
        "/docs/page.css" => ("text/css; charset=utf-8", include_str!("docs/page.css")),
        _ => return None,
    };
    let mut response = Response::new(axum::body::Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    harden(headers);
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        for path in PATHS {
            assert!(file(path).is_some(), "{path}");
        }
        for text in [include_str!("docs/page.html"), include_str!("docs/page.js"), include_str!("docs/page.css")] {
            assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("innerHTML"));
        }
        assert!(file("/docs/other").is_none());
    }
}

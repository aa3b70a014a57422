//! Style, scripts and pictures inside the binary, under addresses that change with their content, so that a browser may keep
//! them for ever.

use std::io::Write;
use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

use crate::ask::header;

const FOREVER: &str = "public, max-age=31536000, immutable";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// One file.
pub struct Asset {
    /// Its address.
    pub url: String,
    kind: &'static str,
    plain: Bytes,
    zipped: Bytes,
}

/// All files.
pub struct Assets {
    /// The stylesheet.
    pub style: Asset,
    /// What the consoles add to it.
    pub console: Asset,
    /// The htmx library, 0BSD; see `assets/htmx-LICENSE.txt`.
    pub htmx: Asset,
    /// What else the pages do with scripts.
    pub script: Asset,
    /// The mark of the shop.
    pub mark: Asset,
    /// The picture of the banner.
    pub hero: Asset,
    /// Stands where a product has no picture.
    pub blank: Asset,
}

/// The files, zipped when the first page is made.
pub static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets {
    style: asset("shop.css", "text/css; charset=utf-8", include_bytes!("../assets/shop.css")),
    console: asset("console.css", "text/css; charset=utf-8", include_bytes!("../assets/console.css")),
    htmx: asset("htmx.js", SCRIPT, include_bytes!("../assets/htmx-2.0.11.min.js")),
    script: asset("shop.js", SCRIPT, include_bytes!("../assets/shop.js")),
    mark: asset("mark.svg", "image/svg+xml", include_bytes!("../assets/mark.svg")),
    hero: asset("hero.svg", "image/svg+xml", include_bytes!("../assets/hero.svg")),
    blank: asset("blank.svg", "image/svg+xml", include_bytes!("../assets/blank.svg")),
});

fn asset(name: &str, kind: &'static str, content: &'static [u8]) -> Asset {
    let hash = URL_SAFE_NO_PAD.encode(&Sha256::digest(content)[..9]);
    Asset { url: format!("/assets/{hash}/{name}"), kind, plain: Bytes::from_static(content), zipped: zip(content) }
}

fn zip(content: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Writing into memory fails only when there is none; then the plain file is served.
    let zipped = encoder.write_all(content).and_then(|()| encoder.finish()).unwrap_or_default();
    Bytes::from(zipped)
}

/// Answers a file by its address.
pub fn serve(path: &str, headers: &HeaderMap) -> Response {
    let assets = &*ASSETS;
    let all = [&assets.style, &assets.htmx, &assets.script, &assets.mark, &assets.hero, &assets.blank];
    let Some(asset) = all.into_iter().chain([&assets.console]).find(|asset| asset.url == path) else {
        let mut missing = Response::new(Body::empty());
        *missing.status_mut() = StatusCode::NOT_FOUND;
        return missing;
    };
    let zipped = !asset.zipped.is_empty() && header(headers, ACCEPT_ENCODING.as_str()).contains("gzip");
    let mut response = Response::new(Body::from(if zipped { asset.zipped.clone() } else { asset.plain.clone() }));
    let out = response.headers_mut();
    if zipped {
        out.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    out.insert(CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    out.insert(CACHE_CONTROL, HeaderValue::from_static(FOREVER));
    out.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    out.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_the_content_and_the_style_is_small() {
        assert!(ASSETS.style.plain.len() < 20 * 1024, "{} bytes of style", ASSETS.style.plain.len());
        assert!(ASSETS.style.url.starts_with("/assets/") && ASSETS.style.url.ends_with("/shop.css"));
        assert_eq!(serve(&ASSETS.style.url, &HeaderMap::new()).status(), 200);
        assert_eq!(serve("/assets/other/shop.css", &HeaderMap::new()).status(), 404);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("br, gzip"));
        assert_eq!(serve(&ASSETS.htmx.url, &headers).headers()[CONTENT_ENCODING], "gzip");
        assert!(ASSETS.htmx.zipped.len() < 20 * 1024);
    }
}

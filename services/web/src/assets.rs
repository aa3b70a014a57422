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
    Asset {
        url: format!("/assets/{hash}/{name}"),
        kind,
        plain: Bytes::from_static(content),
        zipped: zip(content, Compression::best()),
    }
}

/// Compresses with gzip; empty where that cannot be done.
pub fn zip(content: &[u8], effort: Compression) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), effort);
    // Writing into memory fails only when there is none; then the plain content is served.
    let zipped = encoder.write_all(content).and_then(|()| encoder.finish()).unwrap_or_default();
    Bytes::from(zipped)
}

/// Tells whether a request takes an answer in gzip.
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|offer| {
        let mut parts = offer.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
        // A weight of zero says: not this one.
        let weights = parts.filter_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        is_gzip && weights.map(|weight| weight.parse::<f32>().unwrap_or(0.0)).all(|weight| weight > 0.0)
    })
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
    let zipped = !asset.zipped.is_empty() && takes_gzip(headers);
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

    #[test]
    fn gzip_goes_to_who_takes_it() {
        let takes = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(ACCEPT_ENCODING, HeaderValue::from_static(line));
            }
            takes_gzip(&headers)
        };
        for lines in [&["gzip"][..], &["gzip, deflate, br"], &["br;q=1.0, GZIP;q=0.001"], &["br", "gzip ; q=1"]] {
            assert!(takes(lines), "{lines:?}");
        }
        for lines in
            [&[][..], &[""], &["br, gzip;q=0"], &["gzip; q=0.000"], &["identity"], &["gzip-like"], &["gzip;q=x"]]
        {
            assert!(!takes(lines), "{lines:?}");
        }
    }
}

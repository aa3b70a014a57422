//! Pictures that sellers put up, `/media/up/{name}`. A name is a hash of the content, so an answer is good for ever: the most
//! wanted stay in memory, and browsers and proxies keep theirs.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use mallard_cache::{Cache, Options};
use mallard_proto::catalog::v1::GetImageRequest;
use mallard_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mallard_rpc::{Call, Caller, ServiceChannel, Surface};
use mallard_runtime::Context;
use mallard_types::{Error, Kind, Result};
use tokio::time::Instant;

use crate::ask::header;
use crate::config::Config;

/// Where the pictures are.
pub const PATH: &str = "/media/up";
const FOREVER: &str = "public, max-age=31536000, immutable";
/// A picture that is not there may be there soon.
const ABSENT: &str = "public, max-age=5";
const ABSENT_TTL: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(60 * 60);
const NAME_BYTES_MAX: usize = 100;
/// Types that are sent as they are; whatever else came in would be sent as bytes to be kept, not shown.
const TYPES: [&str; 3] = ["image/png", "image/jpeg", "image/webp"];

/// A picture in memory.
struct Image {
    content: Bytes,
    kind: &'static str,
}

/// Serves the pictures.
pub struct Images {
    client: CatalogServiceClient<ServiceChannel>,
    memory: Cache<String, Arc<Image>>,
    timeout: Duration,
}

impl Images {
    /// Makes the server of pictures.
    pub fn new(ctx: &Context, config: &Config) -> Images {
        Images {
            client: ctx.client(),
            memory: Cache::new("web_images", Options::new(config.images_max, TTL).negative_ttl(ABSENT_TTL)),
            timeout: Duration::from_millis(config.read_timeout_ms),
        }
    }

    /// Answers a picture by the path it has in its product.
    pub async fn serve(&self, parts: &Parts) -> Response {
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return with(StatusCode::METHOD_NOT_ALLOWED, &[(ALLOW, "GET, HEAD")], Body::empty());
        }
        let name = parts.uri.path().strip_prefix(PATH).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
        if !is_name(name) {
            return absent();
        }
        let etag = format!("\"{name}\"");
        if header(&parts.headers, IF_NONE_MATCH.as_str()).split(',').any(|known| known.trim() == etag) {
            return with(StatusCode::NOT_MODIFIED, &[(ETAG, &etag), (CACHE_CONTROL, FOREVER)], Body::empty());
        }
        let image = match self.find(name).await {
            Ok(image) => image,
            Err(error) if error.kind == Kind::NotFound => return absent(),
            Err(error) => {
                tracing::warn!(%error, name, "a picture could not be read");
                return with(StatusCode::SERVICE_UNAVAILABLE, &[(RETRY_AFTER, "1")], Body::empty());
            }
        };
        let body = if parts.method == Method::HEAD { Body::empty() } else { Body::from(image.content.clone()) };
        let length = image.content.len().to_string();
        let headers = [
            (CONTENT_TYPE, image.kind),
            (CONTENT_LENGTH, &length),
            (ETAG, &etag),
            (CACHE_CONTROL, FOREVER),
            // Opened by itself, a picture is a picture, whatever it holds.
            (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
        ];
        with(StatusCode::OK, &headers, body)
    }

    async fn find(&self, name: &str) -> Result<Arc<Image>> {
        let load = || async {
            let caller = Caller { surface: Surface::Store, ..Caller::default() };
            let call = Call { caller, deadline: Some(Instant::now() + self.timeout), ..Call::default() };
            let request = GetImageRequest { name: name.to_owned() };
            let answer = mallard_rpc::scope(call, self.client.clone().get_image(request)).await;
            let found = answer.map_err(mallard_rpc::error)?.into_inner();
            let kind = TYPES.into_iter().find(|kind| *kind == found.content_type);
            let Some(kind) = kind else {
                return Err(Error::not_found("image_not_found", "there is no such picture"));
            };
            Ok(Arc::new(Image { content: Bytes::from(found.content), kind }))
        };
        self.memory.get_or_load(name.to_owned(), load).await
    }
}

/// Tells whether a name can be one: what cannot is not asked for.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(plain) && !name.starts_with('.')
}

fn absent() -> Response {
    with(StatusCode::NOT_FOUND, &[(CACHE_CONTROL, ABSENT)], Body::empty())
}

fn with(status: StatusCode, headers: &[(HeaderName, &str)], body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let out = response.headers_mut();
    out.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in headers {
        // Every value here is ours and plain.
        if let Ok(value) = HeaderValue::from_str(value) {
            out.insert(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn a_name_is_one_part_of_a_path() {
        assert!(is_name("3fa9c1.png") && is_name("A-b_c.webp"));
        for bad in ["", ".", "..", ".png", "a/b.png", "a%2Fb", "a b", &"x".repeat(101)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}

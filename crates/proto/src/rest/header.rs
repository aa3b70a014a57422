//! Headers into fields and back.

use http::{HeaderMap, HeaderName, HeaderValue};
use mallard_types::Error;

/// Most bytes of a header's value that becomes a field.
const VALUE_BYTES_MAX: usize = 255;

/// Reads a header as text; empty when it is not there.
///
/// # Errors
/// `invalid_field` when the value is longer than 255 bytes, empty, or not visible ASCII.
pub fn text(headers: &HeaderMap, name: &'static str) -> Result<String, Error> {
    let Some(value) = headers.get(name) else { return Ok(String::new()) };
    let fits = !value.is_empty()
        && value.len() <= VALUE_BYTES_MAX
        && value.as_bytes().iter().all(|b| (0x20..0x7f).contains(b));
    match value.to_str() {
        Ok(text) if fits => Ok(text.to_owned()),
        _ => {
            Err(Error::invalid("invalid_field", format!("{name} must be 1 to 255 visible ASCII characters"))
                .param(name))
        }
    }
}

/// Reads `If-Match` as a version: `"7"`, `W/"7"` or `7`, also `"7-…"`, the tag of a page that shows more than the version
/// says. `*` and no header both mean any version.
///
/// # Errors
/// `invalid_field` for a list or for what is no tag, `version_mismatch` for a tag that no version has.
pub fn if_match(headers: &HeaderMap) -> Result<Option<i64>, Error> {
    let Some(value) = headers.get(http::header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let tagged = tag(text).split_once('-').map_or(tag(text), |(version, _)| version);
    if let Ok(version) = tagged.parse() {
        return Ok(Some(version));
    }
    let quoted = tag(text) != text && !text.contains(',');
    if quoted {
        return Err(Error::precondition("version_mismatch", "the thing has another version by now; read it again")
            .param("If-Match"));
    }
    Err(Error::invalid("invalid_field", "If-Match must be one entity tag such as \"7\", or *").param("If-Match"))
}

/// Takes weak mark and quotes off an entity tag.
pub fn tag(text: &str) -> &str {
    let strong = text.strip_prefix("W/").unwrap_or(text);
    strong.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

/// Writes a field into a header; an empty one is left out.
pub fn write(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if value.is_empty() {
        return;
    }
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn if_match_of(value: &str) -> Result<Option<i64>, String> {
        let mut headers = HeaderMap::new();
        headers.insert("if-match", HeaderValue::from_str(value).unwrap());
        if_match(&headers).map_err(|error| error.code.into_owned())
    }

    #[test]
    fn if_match_takes_quoted_weak_and_bare_versions() {
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
        assert_eq!(if_match_of("\"7\""), Ok(Some(7)));
        assert_eq!(if_match_of("W/\"7\""), Ok(Some(7)));
        assert_eq!(if_match_of("7"), Ok(Some(7)));
        assert_eq!(if_match_of("\"7-5f3a\""), Ok(Some(7)));
        assert_eq!(if_match_of("*"), Ok(None));
        assert_eq!(if_match_of("\"abc\""), Err("version_mismatch".into()));
        assert_eq!(if_match_of("\"1\", \"2\""), Err("invalid_field".into()));
        assert_eq!(if_match_of("abc"), Err("invalid_field".into()));
    }

    #[test]
    fn a_key_must_be_short_visible_text() {
        let mut headers = HeaderMap::new();
        assert_eq!(text(&headers, "idempotency-key").unwrap(), "");
        headers.insert("idempotency-key", HeaderValue::from_static("k-1"));
        assert_eq!(text(&headers, "idempotency-key").unwrap(), "k-1");
        headers.insert("idempotency-key", HeaderValue::from_str(&"k".repeat(256)).unwrap());
        assert_eq!(text(&headers, "idempotency-key").unwrap_err().code, "invalid_field");
        headers.insert("idempotency-key", HeaderValue::from_static(""));
        assert_eq!(text(&headers, "idempotency-key").unwrap_err().code, "invalid_field");
    }
}

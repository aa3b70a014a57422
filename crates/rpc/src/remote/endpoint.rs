//! The text of an endpoint: `http://host:port`, with attributes behind a `#`.

use mallard_types::{Error, Result};

/// Heaviest an endpoint may be.
const WEIGHT_MAX: u32 = 100;

/// An endpoint as discovery lists it, e.g. `http://10.0.0.7:9000#version=v2;zone=a;weight=3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Without the attributes.
    pub(crate) uri: String,
    /// Empty when not said.
    pub(crate) version: String,
    /// Empty when not said.
    pub(crate) zone: String,
    /// Share of the calls in proportion to the other endpoints, 1 to 100.
    pub(crate) weight: u32,
}

impl Endpoint {
    /// Reads the text of an endpoint.
    ///
    /// # Errors
    /// `invalid` (`bad_endpoint`) naming the part that is wrong.
    pub(crate) fn parse(text: &str) -> Result<Endpoint> {
        let (uri, attributes) = text.split_once('#').unwrap_or((text, ""));
        check_uri(uri).map_err(|what| bad(text, what))?;
        let mut endpoint = Endpoint { uri: uri.to_owned(), version: String::new(), zone: String::new(), weight: 1 };
        let mut seen = Vec::new();
        for attribute in attributes.split(';').filter(|attribute| !attribute.is_empty()) {
            let Some((name, value)) = attribute.split_once('=') else {
                return Err(bad(text, &format!("the attribute {attribute} has no value, as in version=v2")));
            };
            if seen.contains(&name) {
                return Err(bad(text, &format!("the attribute {name} is there twice")));
            }
            seen.push(name);
            match name {
                "version" => endpoint.version = word(value).ok_or_else(|| bad(text, &not_a_word(attribute)))?,
                "zone" => endpoint.zone = word(value).ok_or_else(|| bad(text, &not_a_word(attribute)))?,
                "weight" => {
                    let weight = value.parse().ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight));
                    let what = || bad(text, &format!("{attribute} is not a weight of 1 to {WEIGHT_MAX}"));
                    endpoint.weight = weight.ok_or_else(what)?;
                }
                _ => return Err(bad(text, &format!("{name} is no attribute; there are version, zone and weight"))),
            }
        }
        Ok(endpoint)
    }
}

fn check_uri(uri: &str) -> Result<(), &'static str> {
    let parsed: http::Uri = uri.parse().map_err(|_| "it is no URI, as in http://host:port")?;
    match parsed.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err("it does not begin with http:// or https://"),
    }
    parsed.host().filter(|host| !host.is_empty()).map(|_| ()).ok_or("it has no host")
}

/// Versions and zones travel in headers and stand in configurations, so they are simple words.
fn word(value: &str) -> Option<String> {
    let good = !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    good.then(|| value.to_owned())
}

fn not_a_word(attribute: &str) -> String {
    format!("{attribute} is not made of letters, digits, dots and dashes")
}

fn bad(text: &str, what: &str) -> Error {
    Error::invalid("bad_endpoint", format!("the endpoint {text} is no good: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_stand_behind_the_address_in_any_order() {
        let plain = Endpoint::parse("http://[::1]:9000").unwrap();
        assert_eq!((plain.uri.as_str(), plain.weight), ("http://[::1]:9000", 1));
        let full = Endpoint::parse("http://host:1#weight=3;version=2026.11-rc1;zone=eu_a").unwrap();
        let expected =
            Endpoint { uri: "http://host:1".into(), version: "2026.11-rc1".into(), zone: "eu_a".into(), weight: 3 };
        assert_eq!(full, expected);
    }

    #[test]
    fn a_bad_endpoint_is_refused_by_its_bad_part() {
        for (text, part) in [
            ("not a uri", "it is no URI"),
            ("host:1", "it does not begin with http://"),
            ("ftp://host:1", "it does not begin with http://"),
            ("http://host:1#weight=0", "weight=0 is not a weight of 1 to 100"),
            ("http://host:1#weight=101", "weight=101 is not a weight"),
            ("http://host:1#weight=x", "weight=x is not a weight"),
            ("http://host:1#zone=", "zone= is not made of"),
            ("http://host:1#version=a b", "version=a b is not made of"),
            ("http://host:1#zone", "the attribute zone has no value"),
            ("http://host:1#zone=a;zone=b", "the attribute zone is there twice"),
            ("http://host:1#colour=red", "colour is no attribute"),
        ] {
            let refused = Endpoint::parse(text).unwrap_err();
            assert_eq!(refused.code, "bad_endpoint");
            assert!(refused.message.contains(part) && refused.message.contains(text), "{text}: {refused}");
        }
    }
}

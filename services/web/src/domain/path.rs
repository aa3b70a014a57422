//! Paths: which ones belong to the API, which language they name, and where a visitor may be sent.

use super::Lang;

/// Longest path that `next` may hold.
const NEXT_BYTES_MAX: usize = 1_024;

/// Tells whether a path is one of these or lies below one.
pub fn has_prefix(path: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Splits the language off a path: `/zh/cart` is `(Zh, "/cart")`.
pub fn split_language(path: &str) -> (Option<Lang>, &str) {
    for lang in Lang::ALL {
        if let Some(rest) = path.strip_prefix('/').and_then(|path| path.strip_prefix(lang.tag())) {
            if rest.is_empty() {
                return (Some(lang), "/");
            }
            if rest.starts_with('/') {
                return (Some(lang), rest);
            }
        }
    }
    (None, path)
}

/// Returns a path of this shop that somebody may be sent to; nothing for what a browser could take for another host.
pub fn local_path(next: &str) -> Option<&str> {
    let local = next.starts_with('/')
        && !next.starts_with("//")
        && next.len() <= NEXT_BYTES_MAX
        // Browsers read a backslash as a slash and leave control characters out.
        && next.bytes().all(|byte| byte > b' ' && byte != b'\\' && byte != 0x7f)
        && !next.contains("/../")
        && !next.contains("//");
    local.then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_shop_are_followed() {
        for good in ["/", "/cart", "/zh/orders?status=paid", "/p/prod_1?sku=sku_1#reviews"] {
            assert_eq!(local_path(good), Some(good));
        }
        for bad in [
            "",
            "cart",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\n/evil.example",
            "/a//evil.example",
            "/a/../../x",
            " /cart",
        ] {
            assert_eq!(local_path(bad), None, "{bad:?}");
        }
        assert_eq!(local_path(&format!("/{}", "a".repeat(NEXT_BYTES_MAX))), None);
    }

    #[test]
    fn a_language_is_a_whole_first_part() {
        assert_eq!(split_language("/zh"), (Some(Lang::Zh), "/"));
        assert_eq!(split_language("/zh/"), (Some(Lang::Zh), "/"));
        assert_eq!(split_language("/en/c/shoes"), (Some(Lang::En), "/c/shoes"));
        assert_eq!(split_language("/english"), (None, "/english"));
        assert_eq!(split_language("/"), (None, "/"));
    }

    #[test]
    fn prefixes_end_at_a_slash() {
        assert!(has_prefix("/store/v1/cart", &["/store/v1"]));
        assert!(has_prefix("/docs", &["/docs"]));
        assert!(!has_prefix("/docsify", &["/docs"]));
    }
}

//! What a browser calls itself, in the two words people know it by.

/// Browsers by a mark only they have; those that pretend to be others come first.
const BROWSERS: [(&str, &str); 9] = [
    ("MicroMessenger", "WeChat"),
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];
const SYSTEMS: [(&str, &str); 7] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "Mac"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

/// Names browser and system of a `User-Agent`; nothing where it names neither as people know them.
pub fn device(user_agent: &str) -> Option<(&'static str, &'static str)> {
    // Headless Chrome writes its name in one word.
    let browser = BROWSERS.iter().find(|(mark, _)| user_agent.contains(mark))?.1;
    let system = SYSTEMS.iter().find(|(mark, _)| user_agent.contains(mark))?.1;
    Some((browser, system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_known_by_name() {
        let chrome =
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36";
        assert_eq!(device(chrome), Some(("Chrome", "Linux")));
        assert_eq!(device(&chrome.replace("Chrome/", "HeadlessChrome/")), Some(("Chrome", "Linux")));
        let edge = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/141.0 Safari/537.36 Edg/141.0";
        assert_eq!(device(edge), Some(("Edge", "Windows")));
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 Version/18.0 Mobile/15E148 Safari/604.1";
        assert_eq!(device(phone), Some(("Safari", "iPhone")));
        assert_eq!(device("curl/8.5.0"), None);
        assert_eq!(device(""), None);
    }
}

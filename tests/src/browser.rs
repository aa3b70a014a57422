//! A browser without a screen: cookies, forms, no redirections followed by themselves.

use std::collections::BTreeMap;

use crate::{PASSWORD, Shop, unique};

/// Visits the pages of one shop.
#[derive(Clone)]
pub struct Browser {
    base: String,
    client: reqwest::Client,
    /// Cookies by name.
    pub cookies: BTreeMap<String, String>,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// Token of the last page with a form.
    pub csrf: String,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Page {
    /// HTTP status.
    pub status: u16,
    /// Where to go instead, empty for nowhere.
    pub location: String,
    /// Headers.
    pub headers: reqwest::header::HeaderMap,
    /// The document.
    pub body: String,
}

impl Page {
    /// Asserts the status, showing the page when it differs.
    ///
    /// # Panics
    /// When the status differs.
    #[track_caller]
    pub fn expect(self, status: u16) -> Page {
        assert_eq!(self.status, status, "location: {} body: {}", self.location, self.body);
        self
    }

    /// Returns a header as text, empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// Returns the value of a hidden field, empty when there is none.
    pub fn hidden(&self, name: &str) -> String {
        let begin = format!("name=\"{name}\" value=\"");
        let found = self.body.split_once(&begin).and_then(|(_, rest)| rest.split_once('"'));
        found.map(|(value, _)| value.replace("&#38;", "&")).unwrap_or_default()
    }

    /// Tells whether the page shows a text.
    pub fn has(&self, text: &str) -> bool {
        self.body.contains(text)
    }

    /// Returns every address the page asks for by itself: pictures, styles, scripts.
    pub fn loads(&self) -> Vec<String> {
        let mut found = Vec::new();
        for mark in ["src=\"", "<link rel=\"stylesheet\" href=\""] {
            found.extend(
                self.body.split(mark).skip(1).filter_map(|rest| rest.split_once('"')).map(|(url, _)| url.to_owned()),
            );
        }
        found
    }
}

impl Browser {
    /// Opens a browser that speaks English.
    pub fn new(shop: &Shop) -> Browser {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        Browser {
            base: shop.url(""),
            client: client.expect("a client"),
            cookies: BTreeMap::new(),
            headers: vec![("accept".into(), "text/html".into()), ("accept-language".into(), "en".into())],
            csrf: String::new(),
        }
    }

    /// Reads a page.
    pub async fn get(&mut self, path: &str) -> Page {
        let request = self.client.get(format!("{}{path}", self.base));
        self.send(request).await
    }

    /// Sends a form with the token of the last page.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let token = self.csrf.clone();
        let mut all = vec![("_csrf", token.as_str())];
        all.extend_from_slice(fields);
        self.post_raw(path, &all).await
    }

    /// Sends a form as it is.
    pub async fn post_raw(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let body = fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        let request = self
            .client
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.collect::<Vec<_>>().join("&"));
        self.send(request).await
    }

    /// Reads where an answer sends to, as a browser does.
    pub async fn follow(&mut self, page: Page) -> Page {
        let location = page.expect(303).location;
        self.get(&location).await
    }

    async fn send(&mut self, mut request: reqwest::RequestBuilder) -> Page {
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        let answer = request.send().await.expect("the shop answers");
        for cookie in answer.headers().get_all("set-cookie") {
            let text = cookie.to_str().expect("a cookie");
            let (name, rest) = text.split_once('=').expect("a name");
            let value = rest.split(';').next().unwrap_or_default();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let headers = answer.headers().clone();
        let status = answer.status().as_u16();
        let location = headers.get("location").and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        let page = Page { status, location, headers, body: answer.text().await.expect("a body") };
        let token = page.hidden("_csrf");
        if !token.is_empty() {
            self.csrf = token;
        }
        page
    }

    /// Makes an account and signs in; returns the e-mail address.
    pub async fn sign_up(&mut self) -> String {
        let email = format!("{}@shop.test", unique("page"));
        self.get("/sign-up").await.expect(200);
        let fields = [
            ("email", email.as_str()),
            ("name", "Ada Lovelace"),
            ("password", PASSWORD),
            ("password_confirmation", PASSWORD),
            ("next", "/"),
        ];
        let page = self.post("/sign-up", &fields).await.expect(303);
        assert_eq!(page.location, "/");
        // The form's token belongs to the session that has just begun.
        self.get("/account").await.expect(200);
        email
    }

    /// Puts units of a SKU into the cart.
    pub async fn add(&mut self, product: &str, sku: &str, quantity: u32) -> Page {
        self.get(&format!("/p/{product}")).await.expect(200);
        self.post("/cart/add", &[("product", product), ("sku", sku), ("quantity", &quantity.to_string())]).await
    }
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Returns the fields of a checkout with a new address and this card.
pub fn checkout_fields<'a>(page: &'a [(String, String)], card: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut fields: Vec<(&str, &str)> = page.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    fields.extend([
        ("address", "new"),
        ("name", "Ada King-Lovelace"),
        ("phone", "+86 10 5555 0100"),
        ("country", "CN"),
        ("province", "北京市"),
        ("city", "北京市"),
        ("district", "海淀区"),
        ("street", "1 Analytical Road"),
        ("postal_code", "01234"),
        ("method", "card"),
        ("number", card),
        ("expiry", "12/30"),
        ("cvc", "012"),
    ]);
    fields
}

/// Returns the hidden fields of a checkout page.
pub fn hidden_fields(page: &Page) -> Vec<(String, String)> {
    ["key", "total", "currency", "goods"].into_iter().map(|name| (name.to_owned(), page.hidden(name))).collect()
}

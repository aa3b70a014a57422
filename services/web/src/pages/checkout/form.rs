//! What the checkout's form holds.

use mallard_proto::order::v1::LineInput;
use mallard_proto::payment::v1::PaymentInput;
use mallard_types::{Error, Result};
use sha2::{Digest, Sha256};

use crate::ask::{Ask, Fields};
use crate::error::at_field;
use crate::pages::address_form::FIELDS_MISSING;
use crate::text::Text;
use crate::view::Field;

/// Most lines an order has.
const LINES_MAX: usize = 100;
const COUPON_CHARS_MAX: usize = 50;

/// Lines that a visitor chose out of a cart that cannot be bought as a whole; empty for the whole cart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// `sku:quantity`, as it travels in links and forms.
    pub texts: Vec<String>,
    /// Version of the cart they were seen in.
    pub cart_version: String,
}

impl Chosen {
    /// Reads the lines of a link or a form.
    pub fn read(fields: &Fields) -> Chosen {
        Chosen {
            texts: fields.all("line").take(LINES_MAX + 1).map(str::to_owned).collect(),
            cart_version: fields.get("cart").chars().take(20).collect(),
        }
    }

    /// Returns the lines as the order takes them.
    ///
    /// # Errors
    /// `line_unreadable`.
    pub fn lines(&self) -> Result<Vec<LineInput>> {
        let unreadable = || Error::refused("line_unreadable", "a line must be a SKU and a quantity").param("line");
        let line = |text: &String| {
            let (sku_id, quantity) = text.split_once(':').ok_or_else(unreadable)?;
            let quantity = quantity.parse().map_err(|_| unreadable())?;
            Ok(LineInput { sku_id: sku_id.to_owned(), quantity, agreed_unit_price_nanos: None })
        };
        self.texts.iter().map(line).collect()
    }

    /// Makes the key of the order. The same choice out of the same cart has the same key in every tab, so that it is ordered
    /// once, until its order has failed or was cancelled; the whole cart is ordered once per version by the order service
    /// itself.
    pub fn key(&self, ask: &Ask, user_id: &str) -> String {
        if self.texts.is_empty() {
            return fresh_key(ask);
        }
        let stored = ask.session.as_ref().map(|session| session.stored());
        let mut attempt = 0;
        loop {
            let key = self.key_of(user_id, attempt);
            // What is remembered is limited, so some attempt is not among it.
            if !stored.as_ref().is_some_and(|stored| stored.kept.is_over(&key)) {
                return key;
            }
            attempt += 1;
        }
    }

    fn key_of(&self, user_id: &str, attempt: u32) -> String {
        let mut hash = Sha256::new();
        for part in [user_id, self.cart_version.as_str()].into_iter().chain(self.texts.iter().map(String::as_str)) {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        if attempt > 0 {
            hash.update(attempt.to_be_bytes());
        }
        let hash: [u8; 32] = hash.finalize().into();
        format!("web-{}", hex(&hash[..16]))
    }

    /// Returns the page of the checkout of this choice.
    pub fn page(&self) -> String {
        if self.texts.is_empty() {
            return "/checkout".to_owned();
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("cart", &self.cart_version);
        for line in &self.texts {
            query.append_pair("line", line);
        }
        format!("/checkout?{}", query.finish())
    }
}

/// Reads the coupon, of which there is at most one.
pub fn coupons(form: &Fields) -> Vec<String> {
    let code: String = form.get("coupon").chars().take(COUPON_CHARS_MAX).collect();
    if code.is_empty() { Vec::new() } else { vec![code] }
}

/// Makes a key nobody has used.
pub fn fresh_key(ask: &Ask) -> String {
    let bytes: [u8; 16] = ask.site.ctx.random_bytes();
    format!("web-{}", hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The fields of a card. Number and code are never written into a page again.
pub struct Card {
    /// Number.
    pub number: Field,
    /// Month and year.
    pub expiry: Field,
    /// Security code.
    pub cvc: Field,
}

impl Card {
    /// Makes the fields, with what is wrong with one of them.
    pub fn new(ask: &Ask, error: Option<&Error>) -> Card {
        let t: &'static Text = ask.t;
        let field = |name, label, value: &str, autocomplete| Field {
            inputmode: "numeric",
            ..Field::text(name, label, value, autocomplete).required()
        };
        let mut card = Card {
            number: Field { maxlength: 30, ..field("number", t.card_number, "", "cc-number") },
            expiry: Field { maxlength: 7, ..field("expiry", t.card_expiry, ask.form.get("expiry"), "cc-exp") },
            cvc: Field { maxlength: 4, ..field("cvc", t.card_cvc, "", "cc-csc") },
        };
        if let Some(error) = error {
            let said = at_field(t, error);
            if error.code == FIELDS_MISSING {
                for field in [&mut card.number, &mut card.expiry, &mut card.cvc] {
                    if ask.form.get(field.name).is_empty() {
                        field.error = t.field_required;
                    }
                }
                return card;
            }
            match error.param.as_deref().unwrap_or_default() {
                "payment.exp_month" | "payment.exp_year" => card.expiry.error = said,
                "payment.cvc" => card.cvc.error = said,
                "payment.number" => card.number.error = said,
                _ => match error.code.as_ref() {
                    "expired_card" => card.expiry.error = said,
                    "incorrect_cvc" => card.cvc.error = said,
                    "insufficient_funds" => card.number.error = t.insufficient,
                    _ => card.number.error = t.declined,
                },
            }
        }
        card
    }

    /// Speaks of the card only, where there is no cart any more.
    pub fn without_cart(mut self, t: &'static Text) -> Card {
        if self.number.error == t.declined {
            self.number.error = t.reason_declined;
        } else if self.number.error == t.insufficient {
            self.number.error = t.reason_funds;
        }
        self
    }

    /// Tells whether a field of the card was left empty.
    pub fn is_incomplete(form: &Fields) -> bool {
        ["number", "expiry", "cvc"].into_iter().any(|name| form.get(name).is_empty())
    }

    /// Tells whether an error is about the card.
    pub fn concerns(error: &Error) -> bool {
        error.code == FIELDS_MISSING
            || error.param.as_deref().is_some_and(|param| param.starts_with("payment."))
            || error.kind == mallard_types::Kind::PaymentFailed
    }
}

/// Reads how the visitor pays.
///
/// # Errors
/// `card_expiry_invalid` for an expiry that is no month and year.
pub fn payment(form: &Fields, method: &str) -> Result<PaymentInput> {
    if method != "card" {
        return Ok(PaymentInput { method: method.to_owned(), ..PaymentInput::default() });
    }
    let bad = || {
        Error::new(mallard_types::Kind::Invalid, "card_expiry_invalid", "write month and year, e.g. 09/28")
            .param("payment.exp_month")
    };
    let (exp_month, exp_year) = expiry(form.get("expiry")).ok_or_else(bad)?;
    Ok(PaymentInput {
        method: "card".into(),
        number: form.get("number").to_owned(),
        exp_month,
        exp_year,
        cvc: form.get("cvc").to_owned(),
        card_token: String::new(),
    })
}

/// Reads `09/28`, `9 / 2028` or `0928`.
fn expiry(text: &str) -> Option<(i32, i32)> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'/' || byte == b'-') {
        return None;
    }
    let (month, year) = match text.split_once(['/', '-']) {
        Some(parts) => parts,
        None if text.len() == 4 || text.len() == 6 => text.split_at(2),
        None => return None,
    };
    let year: i32 = match year.len() {
        2 => 2_000 + year.parse::<i32>().ok()?,
        4 => year.parse().ok()?,
        _ => return None,
    };
    let month: i32 = month.parse().ok()?;
    Some((month, year))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_read_as_people_write_it() {
        for (text, read) in [
            ("09/28", Some((9, 2028))),
            (" 9 / 2028 ", Some((9, 2028))),
            ("0928", Some((9, 2028))),
            ("12-30", Some((12, 2030))),
            ("13/28", Some((13, 2028))),
            ("", None),
            ("9", None),
            ("ab/cd", None),
            ("1/2/3", None),
            ("09/028", None),
        ] {
            assert_eq!(expiry(text), read, "{text}");
        }
    }

    #[test]
    fn chosen_lines_travel_as_text() {
        let chosen = Chosen::read(&Fields::parse(b"cart=7&line=sku_a%3A2&line=sku_b%3A1"));
        let lines = chosen.lines().unwrap();
        assert_eq!((lines[0].sku_id.as_str(), lines[0].quantity), ("sku_a", 2));
        assert_eq!((lines.len(), chosen.cart_version.as_str()), (2, "7"));
        for bad in ["line=sku_a", "line=sku_a%3Ax", "line=sku_a%3A99999999999999999999"] {
            assert_eq!(Chosen::read(&Fields::parse(bad.as_bytes())).lines().unwrap_err().code, "line_unreadable");
        }
        assert_eq!(chosen.page(), "/checkout?cart=7&line=sku_a%3A2&line=sku_b%3A1");
        assert_eq!(Chosen::default().page(), "/checkout");
    }

    #[test]
    fn a_choice_has_one_key_per_attempt() {
        let chosen = Chosen::read(&Fields::parse(b"cart=7&line=sku_a%3A2"));
        assert_eq!(chosen.key_of("usr_1", 0), chosen.clone().key_of("usr_1", 0));
        let other = Chosen::read(&Fields::parse(b"cart=8&line=sku_a%3A2"));
        for key in [chosen.key_of("usr_1", 1), chosen.key_of("usr_2", 0), other.key_of("usr_1", 0)] {
            assert_ne!(chosen.key_of("usr_1", 0), key);
        }
    }
}

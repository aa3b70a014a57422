//! Fields of the consoles' forms, and what is said of a refusal.

use http::StatusCode;
use mallard_types::{Error, Kind};

use crate::console::text::Words;
use crate::text::Text;

/// One field: what was typed, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// Id in the page; the name, where no other form has a field of the same.
    pub id: String,
    pub name: String,
    pub label: String,
    pub value: String,
    pub error: &'static str,
    /// Type of the input, or `area` or `select`.
    pub kind: &'static str,
    pub required: bool,
    pub maxlength: u32,
    pub inputmode: &'static str,
    pub hint: &'static str,
    pub rows: u32,
    /// Of a select: value and label.
    pub choices: Vec<(String, String)>,
}

impl Input {
    /// Makes a line of text.
    pub fn line(name: impl Into<String>, label: impl Into<String>, value: impl Into<String>) -> Input {
        let (name, label, value) = (name.into(), label.into(), value.into());
        Input { id: name.clone(), name, label, value, kind: "text", maxlength: 200, ..Input::default() }
    }

    /// Makes a field of several lines.
    pub fn area(name: impl Into<String>, label: impl Into<String>, value: impl Into<String>, rows: u32) -> Input {
        Input { kind: "area", rows, maxlength: 20_000, ..Input::line(name, label, value) }
    }

    /// Makes a choice of one.
    pub fn select(name: &str, label: &str, value: &str, choices: Vec<(String, String)>) -> Input {
        Input { kind: "select", choices, ..Input::line(name, label, value) }
    }

    /// Says that it must be filled.
    pub fn required(mut self) -> Input {
        self.required = true;
        self
    }

    /// Says more about it.
    pub fn hint(mut self, hint: &'static str) -> Input {
        self.hint = hint;
        self
    }

    /// Asks a phone for digits.
    pub fn digits(mut self) -> Input {
        self.inputmode = "decimal";
        self.maxlength = 20;
        self
    }
}

/// Writes a refusal beside the field it is about; tells whether there is such a field. `param` of the refusal is the field's
/// name, or ends in it.
pub fn mark<'a>(fields: impl IntoIterator<Item = &'a mut Input>, c: &'static Words, error: &Error) -> bool {
    let param = error.param.as_deref().unwrap_or_default();
    let mut found = false;
    for field in fields {
        if !param.is_empty() && (field.name == param || param.strip_prefix(field.name.as_str()) == Some(".amount")) {
            field.error = say(c, error);
            found = true;
        }
    }
    found
}

/// Says above the page what was refused; what makes sense beside its field only is said there.
pub fn above(t: &'static Text, c: &'static Words, error: &Error) -> String {
    let words = say(c, error);
    let points = [c.field_required, c.field_text, c.field_bad].contains(&words) && error.param.is_some();
    (if points { t.see_fields } else { words }).to_owned()
}

/// Returns the status of a form that is shown again; nothing when the refusal is no matter of the form.
pub fn status(error: &Error) -> Option<StatusCode> {
    match error.kind {
        Kind::Invalid | Kind::Refused => Some(StatusCode::UNPROCESSABLE_ENTITY),
        Kind::Conflict | Kind::Precondition => Some(StatusCode::CONFLICT),
        Kind::TooMany => Some(StatusCode::TOO_MANY_REQUESTS),
        Kind::Unavailable | Kind::Deadline => Some(StatusCode::SERVICE_UNAVAILABLE),
        // A part that is not running yet is away.
        Kind::Internal if error.code == "unimplemented" => Some(StatusCode::SERVICE_UNAVAILABLE),
        Kind::Forbidden if error.code == "admin_only" => Some(StatusCode::FORBIDDEN),
        _ => None,
    }
}

/// Says a refusal in words.
pub fn say(c: &'static Words, error: &Error) -> &'static str {
    match error.code.as_ref() {
        "required" => c.field_required,
        "too_long" | "bad_text" | "invalid_text" | "bad_alt" => c.field_text,
        "version_mismatch" => c.changed,
        "changed_meanwhile" => c.changed_now,
        "illegal_transition" => c.not_in_this_state,
        "idempotency_conflict" => c.key_used,
        "refund_exceeds_captured" => c.refund_too_much,
        "refund_failed" => c.refund_failed,
        "amount_invalid" | "currency_mismatch" => c.amount_bad,
        "return_exceeds_sold" => c.return_too_much,
        "quantity_out_of_range" => c.quantity_bad,
        "bad_title" => c.title_bad,
        "bad_description" => c.description_bad,
        "bad_price" => c.price_bad,
        "bad_stock" => c.stock_bad,
        "bad_variants" => c.variants_bad,
        "variants_alike" => c.variants_alike,
        "option_missing" | "option_value_unknown" | "option_unknown" => c.option_missing,
        "bad_option" | "bad_option_values" => c.option_bad,
        "too_many_images" => c.pictures_full,
        "below_reserved" => c.below_reserved,
        "delta_out_of_range" => c.delta_bad,
        "ban_over" => c.ban_over,
        "time_bad" => c.time_bad,
        "unknown_role" => c.role_unknown,
        "invalid_role" => c.role_bad,
        "role_cycle" => c.role_cycle,
        "role_in_use" => c.role_in_use,
        "role_built_in" => c.role_built_in,
        "roles_empty" => c.roles_empty,
        "last_admin" => c.last_admin,
        "would_lock_out" => c.would_lock_out,
        "admin_only" => c.admin_only,
        "invalid_policy" => c.policy_bad,
        "invalid_allowed_path" => c.path_bad,
        "policies_full" | "roles_full" | "allow_list_full" => c.list_full,
        "too_many_keys" => c.keys_full,
        "no_handler" => c.no_handler,
        "pictures_empty" => c.pictures_empty,
        "picture_required" | "image_required" => c.picture_none,
        "images_full" => c.list_full,
        "image_too_large" | "picture_too_large" => c.picture_large,
        code if code.contains("image") || code.contains("picture") => c.picture_bad,
        _ => match error.kind {
            Kind::Invalid => c.field_bad,
            Kind::Refused => c.refused,
            Kind::Conflict | Kind::Precondition => c.not_in_this_state,
            Kind::TooMany => c.too_many,
            Kind::NotFound | Kind::Gone => c.gone,
            _ => c.unknown_outcome,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Lang;

    #[test]
    fn a_refusal_stands_beside_its_field() {
        let c = Words::of(Lang::En);
        let mut fields = [Input::line("title", "Title", ""), Input::line("variants[0].price", "Price", "")];
        assert!(mark(&mut fields, c, &Error::invalid("bad_title", "x").param("title")));
        assert!(mark(&mut fields, c, &Error::invalid("bad_price", "x").param("variants[0].price.amount")));
        assert_eq!((fields[0].error, fields[1].error), (c.title_bad, c.price_bad));
        assert!(!mark(&mut fields, c, &Error::invalid("bad_alt", "x").param("images[0].alt")));
        assert_eq!(status(&Error::precondition("version_mismatch", "x")), Some(StatusCode::CONFLICT));
        assert_eq!(status(&Error::not_found("x", "x")), None);
    }
}

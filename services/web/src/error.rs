//! What the pages say of the refusals of others.

use mallard_types::Error;

use crate::text::Text;

/// Returns the words for a refusal that a form shows at one of its fields.
pub fn at_field(t: &'static Text, error: &Error) -> &'static str {
    match error.code.as_ref() {
        "required" => t.field_required,
        "too_long" | "note_too_long" => t.field_too_long,
        "invalid_text" => t.field_hidden,
        "invalid_email" => t.email_bad,
        "email_taken" => t.email_taken,
        "password_too_short" => t.password_short,
        "password_too_long" => t.password_long,
        "password_is_email" => t.password_is_email,
        "password_mismatch" => t.password_differs,
        "card_number_invalid" => t.card_number_bad,
        "card_cvc_invalid" => t.card_cvc_bad,
        "incorrect_cvc" => t.card_cvc_wrong,
        "card_expired" | "expired_card" => t.card_over,
        "card_expiry_invalid" => t.card_expiry_bad,
        "test_card_required" => t.card_demo,
        "test_card_refused" => t.card_test,
        "insufficient_funds" => t.insufficient,
        _ => t.field_bad,
    }
}

//! Ids: `prefix_` and a UUIDv7 (RFC 9562) in Crockford base32, lower case, so that ids sort by the time they were made.

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const BODY_CHARS: usize = 26;

/// Makes an id from the time in microseconds since the epoch and ten random bytes.
///
/// The 48-bit millisecond field is followed by the microseconds within the millisecond (10 bits of `rand_a`), so ids made
/// by one clock sort finer than the RFC asks.
pub fn make(prefix: &str, now_micros: i64, random: [u8; 10]) -> String {
    let micros = now_micros.max(0) as u64;
    let millis = u128::from(micros / 1_000) & 0xffff_ffff_ffff;
    // Twelve bits: ten of microseconds, two random.
    let rand_a = (u128::from(micros % 1_000) << 2) | u128::from(random[0] & 0b11);
    let mut rand_b = 0u128;
    for byte in &random[1..9] {
        rand_b = (rand_b << 8) | u128::from(*byte);
    }
    rand_b &= (1 << 62) - 1;
    let uuid = (millis << 80) | (0x7 << 76) | (rand_a << 64) | (0b10 << 62) | rand_b;
    let mut id = String::with_capacity(prefix.len() + 1 + BODY_CHARS);
    id.push_str(prefix);
    id.push('_');
    for i in (0..BODY_CHARS).rev() {
        let digit = (uuid >> (5 * i)) & 31;
        id.push(ALPHABET[digit as usize] as char);
    }
    id
}

/// Returns when an id with this prefix was made, in microseconds since the epoch; none for what has not its shape.
pub fn made_at(prefix: &str, id: &str) -> Option<i64> {
    if !is(prefix, id) {
        return None;
    }
    let digit = |b: u8| ALPHABET.iter().position(|known| *known == b).map(|digit| digit as u128);
    // 26 digits hold 130 bits; the first one of an id that was made here is below 8.
    let uuid = id.bytes().skip(prefix.len() + 1).try_fold(0u128, |uuid, b| Some((uuid << 5) | digit(b)?))?;
    let micros = ((uuid >> 80) * 1_000) + ((uuid >> 66) & 0x3ff);
    i64::try_from(micros).ok()
}

/// Tells whether a text has the shape of an id with this prefix.
pub fn is(prefix: &str, id: &str) -> bool {
    let Some(body) = id.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')) else { return false };
    body.len() == BODY_CHARS && body.bytes().all(|b| ALPHABET.contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_sort_by_time(a in 0i64..4_000_000_000_000_000, d in 1i64..1_000_000_000, r in any::<[u8; 10]>(), s in any::<[u8; 10]>()) {
            prop_assert!(make("ord", a, r) < make("ord", a + d, s));
        }

        #[test]
        fn an_id_has_its_own_shape(t in 0i64..4_000_000_000_000_000, r in any::<[u8; 10]>()) {
            let id = make("usr", t, r);
            prop_assert!(is("usr", &id));
            prop_assert!(!is("ord", &id));
            prop_assert_eq!(made_at("usr", &id), Some(t));
            prop_assert_eq!(made_at("ord", &id), None);
        }
    }
}

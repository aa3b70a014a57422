//! The place of a client in the crowd: a number that stays the same for the same client, so that the same ones are served
//! under overload and the same ones see a canary. Every gateway comes to the same number.

use std::borrow::Cow;
use std::net::IpAddr;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use mallard_rpc::Caller;
use sha2::{Digest, Sha256};

/// Header of a guest's cart.
pub const CART_TOKEN: &str = "x-cart-token";
/// Places there are.
pub const PLACES: u32 = 10_000;

/// Returns what a request shows of its client before anybody has checked it: the access token, else the token of the guest's
/// cart, else the address. Empty when there is nothing.
pub fn presented(headers: &HeaderMap, address: Option<IpAddr>) -> Cow<'_, [u8]> {
    match headers.get(AUTHORIZATION).or_else(|| headers.get(CART_TOKEN)) {
        Some(value) => Cow::Borrowed(value.as_bytes()),
        None => of_address(address),
    }
}

/// Returns who a client is once its token is checked: the user, else the token of the guest's cart, else the address.
pub fn known<'a>(caller: &'a Caller, headers: &'a HeaderMap, address: Option<IpAddr>) -> Cow<'a, [u8]> {
    if !caller.user_id.is_empty() {
        return Cow::Borrowed(caller.user_id.as_bytes());
    }
    headers.get(CART_TOKEN).map_or_else(|| of_address(address), |value| Cow::Borrowed(value.as_bytes()))
}

fn of_address(address: Option<IpAddr>) -> Cow<'static, [u8]> {
    address.map_or(Cow::Borrowed(&[][..]), |address| Cow::Owned(address.to_string().into_bytes()))
}

/// Returns the place of a client, below [`PLACES`]; another `salt` shuffles the crowd.
pub fn place(salt: &str, who: &[u8]) -> u32 {
    let digest = Sha256::new().chain_update((salt.len() as u64).to_be_bytes()).chain_update(salt).chain_update(who);
    let digest = digest.finalize();
    let number =
        u64::from_be_bytes([digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7]]);
    // Below ten thousand it fits.
    (number % u64::from(PLACES)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_kept_spread_and_shuffled_by_the_salt() {
        let places: Vec<u32> = (0..10_000).map(|user| place("a", format!("usr_{user}").as_bytes())).collect();
        assert_eq!(places[7], place("a", b"usr_7"));
        for tenth in 0..10 {
            let share = places.iter().filter(|place| **place / 1_000 == tenth).count();
            assert!((850..1_150).contains(&share), "{share} of 10,000 in tenth {tenth}");
        }
        let kept = (0..10_000).filter(|user| place("b", format!("usr_{user}").as_bytes()) == places[*user]).count();
        assert!(kept < 20, "{kept} kept their place under another salt");
    }

    #[test]
    fn the_token_counts_before_the_cart_and_the_cart_before_the_address() {
        let address = "192.0.2.1".parse().ok();
        let mut headers = HeaderMap::new();
        assert_eq!(&*presented(&headers, address), b"192.0.2.1");
        assert_eq!(&*presented(&headers, None), b"");
        headers.insert(CART_TOKEN, "ct_1".parse().unwrap());
        assert_eq!(&*presented(&headers, address), b"ct_1");
        assert_eq!(&*known(&Caller::default(), &headers, address), b"ct_1");
        headers.insert(AUTHORIZATION, "Bearer t".parse().unwrap());
        assert_eq!(&*presented(&headers, address), b"Bearer t");
        let user = Caller { user_id: "usr_1".into(), ..Caller::default() };
        assert_eq!(&*known(&user, &headers, address), b"usr_1");
    }
}

//! Friction for bots on hot routes: a request costs its client a little work before it costs the mall any.
//!
//! The client gets a challenge, looks for a nonce that makes SHA-256 of `challenge.nonce` begin with so many zero bits, and
//! sends both as `X-Mallard-Proof`. A person does not notice; who sends thousands does. The edge keeps nothing for a challenge:
//! it is signed for the route and the client and names its end. What is kept are the proofs spent, until they would have ended.

use std::collections::HashMap;

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName};
use mallard_types::{Error, Micros, Result};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Header of a proof.
pub const PROOF: HeaderName = HeaderName::from_static("x-mallard-proof");

/// Most zero bits asked for: half a billion hashes on average.
pub const DIFFICULTY_BITS_MAX: u32 = 29;
/// Longest proof.
const PROOF_BYTES_MAX: usize = 255;
const MICROS_PER_SECOND: Micros = 1_000_000;
/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 16;

/// What is asked of clients.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Routes as [`crate::limits::is_meant`] reads them.
    pub routes: Vec<String>,
    /// Zero bits: 18 are a quarter of a million hashes on average, a fraction of a second in a browser.
    pub difficulty_bits: u32,
    /// How long a challenge is good, in seconds.
    pub lifetime_s: u32,
    /// Key of the signatures; gateways that share it take each other's challenges.
    pub secret: Vec<u8>,
    /// Most spent proofs remembered; beyond them new proofs are refused.
    pub spent_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { routes: Vec::new(), difficulty_bits: 18, lifetime_s: 120, secret: Vec::new(), spent_max: 200_000 }
    }
}

/// Asks clients for work.
pub struct Friction {
    settings: Settings,
    /// End of each spent proof, by its signature.
    spent: Mutex<HashMap<[u8; SIGNATURE_BYTES], Micros>>,
}

/// A proof that is good and not spent yet.
#[derive(Clone, Copy, Debug)]
pub struct Proven {
    signature: [u8; SIGNATURE_BYTES],
    until: Micros,
}

/// The request a proof is for.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Method of the route.
    pub rpc: &'a str,
    /// Who asks.
    pub who: &'a [u8],
    /// Present time in microseconds.
    pub now: Micros,
}

impl Friction {
    /// Makes it with its settings.
    pub fn new(settings: Settings) -> Friction {
        Friction { settings, spent: Mutex::new(HashMap::new()) }
    }

    /// Checks the proof of a request, or asks for one; `salt` tells a new challenge from every other.
    ///
    /// # Errors
    /// `challenge_required` with the challenge in its details.
    pub fn verify(&self, headers: &HeaderMap, asked: Asked<'_>, salt: impl FnOnce() -> String) -> Result<Proven> {
        match headers.get(PROOF).and_then(|value| self.proven(value.to_str().ok()?, asked)) {
            Some(proven) if !self.spent.lock().contains_key(&proven.signature) => Ok(proven),
            _ => Err(self.challenge(asked, &salt())),
        }
    }

    /// Spends a proof, once.
    ///
    /// # Errors
    /// `challenge_required` when another request was faster, or more proofs are spent than can be remembered.
    pub fn spend(&self, proven: Proven, asked: Asked<'_>, salt: impl FnOnce() -> String) -> Result<()> {
        let mut spent = self.spent.lock();
        if spent.len() >= self.settings.spent_max {
            spent.retain(|_, until| *until > asked.now);
        }
        let room = spent.len() < self.settings.spent_max;
        let fresh = room && spent.insert(proven.signature, proven.until).is_none();
        drop(spent);
        if fresh { Ok(()) } else { Err(self.challenge(asked, &salt())) }
    }

    fn proven(&self, proof: &str, asked: Asked<'_>) -> Option<Proven> {
        let (challenge, _) = proof.rsplit_once('.').filter(|_| proof.len() <= PROOF_BYTES_MAX)?;
        let (signed, signature) = challenge.rsplit_once('.')?;
        let until: Micros = signed.split_once('.')?.0.parse::<Micros>().ok()?.checked_mul(MICROS_PER_SECOND)?;
        let expected = self.sign(signed, asked);
        let is_ours: bool = hex(&expected).as_bytes().ct_eq(signature.as_bytes()).into();
        let worked = leading_zero_bits(&Sha256::digest(proof)) >= self.settings.difficulty_bits;
        (is_ours && until > asked.now && worked).then_some(Proven { signature: expected, until })
    }

    fn challenge(&self, asked: Asked<'_>, salt: &str) -> Error {
        let until = asked.now / MICROS_PER_SECOND + Micros::from(self.settings.lifetime_s);
        let signed = format!("{until}.{salt}");
        let challenge = format!("{signed}.{}", hex(&self.sign(&signed, asked)));
        Error::forbidden(
            "challenge_required",
            "find a nonce so that SHA-256 of challenge.nonce begins with difficulty_bits zero bits, and send challenge.nonce \
             as X-Mallard-Proof",
        )
        .details(serde_json::json!({
            "challenge": challenge, "difficulty_bits": self.settings.difficulty_bits, "algorithm": "sha256",
        }))
    }

    fn sign(&self, signed: &str, asked: Asked<'_>) -> [u8; SIGNATURE_BYTES] {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.settings.secret) else { return Default::default() };
        for part in [signed.as_bytes(), asked.rpc.as_bytes(), asked.who] {
            // Lengths keep parts apart.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let whole = mac.finalize().into_bytes();
        let mut signature = [0; SIGNATURE_BYTES];
        signature.copy_from_slice(&whole[..SIGNATURE_BYTES]);
        signature
    }
}

fn leading_zero_bits(hash: &[u8]) -> u32 {
    let mut bits = 0;
    for byte in hash {
        bits += byte.leading_zeros();
        if *byte != 0 {
            break;
        }
    }
    bits
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn friction(bits: u32, spent_max: usize) -> Friction {
        let secret = b"0123456789abcdef".to_vec();
        Friction::new(Settings { difficulty_bits: bits, spent_max, secret, ..Settings::default() })
    }

    fn asked(rpc: &'static str, who: &'static str, now_s: Micros) -> Asked<'static> {
        Asked { rpc, who: who.as_bytes(), now: now_s * MICROS_PER_SECOND }
    }

    fn with(proof: &str) -> HeaderMap {
        HeaderMap::from_iter([(PROOF, proof.parse().unwrap())])
    }

    fn challenge(friction: &Friction, asked: Asked<'_>, salt: &str) -> String {
        let error = friction.verify(&HeaderMap::new(), asked, || salt.to_owned()).unwrap_err();
        assert_eq!(error.code, "challenge_required");
        error.details.unwrap()["challenge"].as_str().unwrap().to_owned()
    }

    /// Works as a client would.
    fn solve(challenge: &str, bits: u32) -> String {
        let proofs = (0u64..).map(|nonce| format!("{challenge}.{nonce}"));
        proofs.into_iter().find(|proof| leading_zero_bits(&Sha256::digest(proof)) >= bits).unwrap()
    }

    #[test]
    fn a_proof_is_good_once_for_its_route_and_client_until_it_ends() {
        let friction = friction(8, 10);
        let now = asked("/order/Place", "usr_1", 1_000);
        let proof = solve(&challenge(&friction, now, "a"), 8);
        let good = |asked| friction.verify(&with(&proof), asked, String::new).is_ok();
        assert!(good(now) && good(asked("/order/Place", "usr_1", 1_119)));
        assert!(!good(asked("/order/Place", "usr_1", 1_120)), "it has ended");
        assert!(!good(asked("/order/Pay", "usr_1", 1_000)), "another route");
        assert!(!good(asked("/order/Place", "usr_2", 1_000)), "another client");
        let proven = friction.verify(&with(&proof), now, String::new).unwrap();
        assert!(friction.spend(proven, now, String::new).is_ok());
        assert!(friction.spend(proven, now, String::new).is_err() && !good(now), "it is spent");
    }

    #[test]
    fn work_is_asked_for_and_nothing_is_forged() {
        let ours = friction(12, 10);
        let now = asked("/order/Place", "usr_1", 1_000);
        let challenge = challenge(&ours, now, "a");
        let refused = |proof: &str| ours.verify(&with(proof), now, String::new).is_err();
        let lazy = (0u64..).map(|nonce| format!("{challenge}.{nonce}"));
        let lazy = lazy.into_iter().find(|proof| leading_zero_bits(&Sha256::digest(proof)) < 12).unwrap();
        assert!(refused(&lazy));
        let later = challenge.replacen("1120", "9999", 1);
        assert!(refused(&solve(&later, 12)), "its end is signed");
        let strangers = Friction::new(Settings { secret: b"another".to_vec(), ..ours.settings.clone() });
        let theirs = strangers.verify(&with(&solve(&challenge, 12)), now, String::new);
        assert!(theirs.is_err(), "another secret");
        for text in ["", ".", "a.b", "a.b.c.d", "-1.a.b.c", &"9".repeat(300), "99999999999999999999.a.b.c"] {
            assert!(ours.verify(&with(text), now, String::new).is_err(), "{text}");
        }
    }

    #[test]
    fn spent_proofs_are_bounded_and_forgotten_when_they_end() {
        let friction = friction(1, 2);
        let spend = |salt: &str, now_s| {
            let now = asked("/order/Place", "usr_1", now_s);
            let proof = solve(&challenge(&friction, now, salt), 1);
            let proven = friction.verify(&with(&proof), now, String::new).unwrap();
            friction.spend(proven, now, String::new).is_ok()
        };
        assert!(spend("a", 1_000) && spend("b", 1_000) && !spend("c", 1_000), "no more than can be remembered");
        assert!(spend("d", 1_200), "the first two have ended");
        assert_eq!(friction.spent.lock().len(), 1);
    }
}

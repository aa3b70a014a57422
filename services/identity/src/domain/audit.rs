//! The log of what operators and sellers changed: entries are only ever added, each with a hash over itself and the one
//! before, so that whoever changes or removes one must change all after it.

use mallard_types::Micros;
use sha2::{Digest as _, Sha256};

/// SHA-256 of an entry.
pub type EntryHash = [u8; 32];
/// What stands before the first entry.
pub const GENESIS: EntryHash = [0; 32];

/// Longest text of what was or what became, in bytes.
pub const STATE_BYTES_MAX: usize = 16 * 1024;
const NAME_CHARS_MAX: usize = 200;

/// One change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// When it was made.
    pub at: Micros,
    /// Who made it: a user's id, or the name of a service.
    pub actor: String,
    /// Session it was made in; empty for a service.
    pub session_id: String,
    /// Network address it came from.
    pub address: String,
    /// Request it was made by.
    pub request_id: String,
    /// Service that made it.
    pub service: String,
    /// What was done, e.g. `user.ban`.
    pub action: String,
    /// Id of what it was done to.
    pub target: String,
    /// JSON of what was; empty: there was nothing.
    pub was: String,
    /// JSON of what became of it; empty: it is gone.
    pub became: String,
}

impl Entry {
    /// Cuts every text to its limit.
    pub fn bounded(self) -> Entry {
        Entry {
            at: self.at,
            actor: cut_name(self.actor),
            session_id: cut_name(self.session_id),
            address: cut_name(self.address),
            request_id: cut_name(self.request_id),
            service: cut_name(self.service),
            action: cut_name(self.action),
            target: cut_name(self.target),
            was: cut_state(self.was),
            became: cut_state(self.became),
        }
    }

    /// Returns the entry's hash at its place in the log.
    pub fn hash(&self, seq: i64, before: &EntryHash) -> EntryHash {
        let mut hash = Sha256::new();
        hash.update(before);
        hash.update(seq.to_be_bytes());
        hash.update(self.at.to_be_bytes());
        let texts = [
            &self.actor,
            &self.session_id,
            &self.address,
            &self.request_id,
            &self.service,
            &self.action,
            &self.target,
            &self.was,
            &self.became,
        ];
        for text in texts {
            // With its length, so that no two entries read the same.
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.finalize().into()
    }
}

fn cut_name(text: String) -> String {
    // The engines store no NUL in a text.
    match text.chars().nth(NAME_CHARS_MAX).is_some() || text.contains('\0') {
        true => text.chars().filter(|c| *c != '\0').take(NAME_CHARS_MAX).collect(),
        false => text,
    }
}

/// Cuts a JSON text that is too long; what remains is JSON that says so.
fn cut_state(text: String) -> String {
    let text = match text.contains('\0') {
        true => text.replace('\0', ""),
        false => text,
    };
    if text.len() <= STATE_BYTES_MAX {
        return text;
    }
    let wrap = |start: &str| serde_json::json!({"cut": true, "bytes": text.len(), "start": start}).to_string();
    // Escapes take room, too.
    let mut room = STATE_BYTES_MAX - wrap("").len();
    let mut fits = |c: &char| {
        let bytes = match c {
            '"' | '\\' => 2,
            c if c.is_control() => 6,
            c => c.len_utf8(),
        };
        let left = room.checked_sub(bytes);
        room = left.unwrap_or(room);
        left.is_some()
    };
    wrap(&text.chars().take_while(|c| fits(c)).collect::<String>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> Entry {
        Entry { at: 7, actor: "usr_1".into(), action: "user.ban".into(), target: "usr_2".into(), ..Entry::default() }
    }

    #[test]
    fn the_hash_covers_every_field_its_place_and_the_entry_before() {
        let hash = entry().hash(1, &GENESIS);
        type Change = fn(&mut Entry);
        let changes: [Change; 10] = [
            |e| e.at += 1,
            |e| e.actor.push('x'),
            |e| e.session_id.push('x'),
            |e| e.address.push('x'),
            |e| e.request_id.push('x'),
            |e| e.service.push('x'),
            |e| e.action.push('x'),
            |e| e.target.push('x'),
            |e| e.was.push('x'),
            |e| e.became.push('x'),
        ];
        let mut hashes = vec![hash, entry().hash(2, &GENESIS), entry().hash(1, &hash)];
        for change in changes {
            let mut changed = entry();
            change(&mut changed);
            hashes.push(changed.hash(1, &GENESIS));
        }
        let moved = Entry { actor: "usr_1u".into(), action: "ser.ban".into(), ..entry() };
        hashes.push(moved.hash(1, &GENESIS));
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }

    #[test]
    fn a_short_state_stays_and_a_long_one_says_that_it_was_cut() {
        let short = r#"{"name":"x"}"#.to_owned();
        assert_eq!(Entry { was: short.clone(), ..entry() }.bounded().was, short);
        let cut = Entry { became: "\"".repeat(40_000), ..entry() }.bounded().became;
        let json: serde_json::Value = serde_json::from_str(&cut).unwrap();
        assert_eq!((json["cut"].as_bool(), json["bytes"].as_u64()), (Some(true), Some(40_000)));
        assert!(cut.len() <= STATE_BYTES_MAX && cut.len() > STATE_BYTES_MAX - 64, "{}", cut.len());
    }

    proptest! {
        #[test]
        fn whatever_comes_in_is_bounded_and_bounding_it_again_changes_nothing(
            name in "\\PC{0,300}|[\0a]{0,300}", unit in "\\PC{1,8}|\0", times in 1usize..6_000,
        ) {
            let once = Entry { target: name, was: unit.repeat(times), ..Entry::default() }.bounded();
            prop_assert!(once.was.len() <= STATE_BYTES_MAX && once.target.chars().count() <= NAME_CHARS_MAX);
            prop_assert!(!once.was.contains('\0') && !once.target.contains('\0'));
            prop_assert_eq!(once.clone().bounded(), once);
        }
    }
}

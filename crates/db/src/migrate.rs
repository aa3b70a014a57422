//! Schema versions: what has to be applied, and when to refuse. The engines run the result.

use crate::Error;

/// One step of a schema. Steps only add (expand); removing waits for a later version (contract).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Unique number; steps run in ascending order. The platform has 1 to 99, services begin at 100.
    pub version: u32,
    /// Short name, for people.
    pub name: &'static str,
    /// Portable statements, separated by semicolons.
    pub sql: &'static str,
}

/// A row of `schema_migrations`.
pub(crate) struct Applied {
    pub(crate) version: i64,
    pub(crate) checksum: String,
}

pub(crate) const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY NOT NULL, \
     name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL)";
pub(crate) const READ: &str = "SELECT version, checksum FROM schema_migrations ORDER BY version";
pub(crate) const INSERT: &str =
    "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (?, ?, ?, ?)";

/// Picks the steps that are still to be applied, in order.
///
/// # Errors
/// [`Error::Migration`] when two steps have one version, an applied step has changed, or the database has a step this
/// program does not know.
pub(crate) fn plan(wanted: &[Migration], applied: &[Applied]) -> Result<Vec<Migration>, Error> {
    let mut wanted = wanted.to_vec();
    wanted.sort_by_key(|m| m.version);
    if let Some(pair) = wanted.windows(2).find(|pair| pair[0].version == pair[1].version) {
        let (version, one, two) = (pair[0].version, pair[0].name, pair[1].name);
        return Err(Error::Migration(format!("version {version} is given twice, as `{one}` and `{two}`")));
    }
    for have in applied {
        let Some(known) = wanted.iter().find(|m| i64::from(m.version) == have.version) else {
            return Err(Error::Migration(format!(
                "the database has version {}, which this program does not know; use a newer program",
                have.version
            )));
        };
        if have.checksum != checksum(known) {
            let (version, name) = (known.version, known.name);
            return Err(Error::Migration(format!(
                "version {version} `{name}` was changed after it had been applied; write a new version instead"
            )));
        }
    }
    wanted.retain(|m| !applied.iter().any(|have| have.version == i64::from(m.version)));
    Ok(wanted)
}

/// Sums up the text of a step (FNV-1a, 64 bits). It finds accidental edits; it is no signature.
pub(crate) fn checksum(migration: &Migration) -> String {
    format!("{:016x}", fnv1a(migration.sql.as_bytes()))
}

pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Migration = Migration { version: 1, name: "one", sql: "CREATE TABLE one (id TEXT)" };
    const LATER: Migration = Migration { version: 100, name: "later", sql: "CREATE TABLE later (id TEXT)" };

    fn applied(m: &Migration) -> Applied {
        Applied { version: i64::from(m.version), checksum: checksum(m) }
    }

    #[test]
    fn what_is_missing_is_applied_in_order_even_below_the_newest() {
        assert_eq!(plan(&[LATER, ONE], &[]), Ok(vec![ONE, LATER]));
        assert_eq!(plan(&[LATER, ONE], &[applied(&LATER)]), Ok(vec![ONE]));
        assert_eq!(plan(&[LATER, ONE], &[applied(&ONE), applied(&LATER)]), Ok(vec![]));
    }

    #[test]
    fn a_changed_an_unknown_and_a_doubled_version_are_refused() {
        let changed = Migration { sql: "CREATE TABLE one (id TEXT, more TEXT)", ..ONE };
        for (wanted, have) in
            [(vec![changed], vec![applied(&ONE)]), (vec![ONE], vec![applied(&LATER)]), (vec![ONE, changed], vec![])]
        {
            assert!(matches!(plan(&wanted, &have), Err(Error::Migration(_))));
        }
    }
}

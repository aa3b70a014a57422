//! Rules, roles and the allow-list.

use mallard_db::{Db, Row, Tx, Value, params};
use mallard_types::{Micros, Result};

use super::{Read, broken, counter_value, lock_counter};
use crate::domain::{Edit, Policy, RoleDef, Ruleset, effect_name, parse_effect};

/// Reads of everything that are tried until no change comes in between.
const READS_MAX: usize = 20;

/// Returns the number of the last change.
pub async fn access_version(from: &impl Read) -> Result<i64> {
    Ok(counter_value(from, "access").await?)
}

/// Loads everything that decides who may do what, as it was after one change and before the next.
pub async fn ruleset(db: &Db) -> Result<Ruleset> {
    let mut version = access_version(db).await?;
    for _ in 0..READS_MAX {
        let rules = Ruleset {
            version,
            policies: policies(db).await?,
            roles: roles(db).await?,
            allow_list: allow_list(db).await?,
        };
        let now = access_version(db).await?;
        if now == version {
            return Ok(rules);
        }
        version = now;
    }
    Err(mallard_types::Error::unavailable("access_changing", "the policies are being changed; try again")
        .retry_after_ms(1_000))
}

async fn policies(db: &Db) -> Result<Vec<Policy>> {
    let sql = "SELECT id, role, domain, path, method, effect, note, created_at FROM policies ORDER BY created_at, id";
    db.query(sql, params![]).await?.iter().map(read_policy).collect()
}

/// Loads the roles in order of name.
pub async fn roles(from: &impl Read) -> Result<Vec<RoleDef>> {
    let rows = from.rows("SELECT name, inherits, note FROM roles ORDER BY name", params![]).await?;
    rows.iter().map(read_role).collect()
}

async fn allow_list(db: &Db) -> Result<Vec<String>> {
    let rows = db.query("SELECT path FROM allow_list ORDER BY position", params![]).await?;
    rows.iter().map(|row| Ok(row.get(0)?)).collect()
}

/// Keeps everybody else from changing policies and roles until this transaction ends.
pub async fn lock_access(tx: &Tx) -> Result<()> {
    Ok(lock_counter(tx, "access").await?)
}

/// Takes the number of the next change; false when the last one is not `version` any more.
pub async fn next_access_version(tx: &Tx, version: i64) -> Result<bool> {
    let sql = "UPDATE counters SET value = value + 1 WHERE name = 'access' AND value = ?";
    Ok(tx.execute(sql, params![version]).await? == 1)
}

/// Writes a change.
pub async fn save_edit(tx: &Tx, edit: &Edit) -> Result<()> {
    match edit {
        Edit::AddPolicy(policy, role) => {
            insert_policies(tx, std::slice::from_ref(policy)).await?;
            if let Some(role) = role {
                put_role(tx, role).await?;
            }
        }
        Edit::RemovePolicy(policy) => {
            tx.execute("DELETE FROM policies WHERE id = ?", params![policy.rule.id.as_str()]).await?;
        }
        Edit::PutRole(_, role) => put_role(tx, role).await?,
        Edit::RemoveRole(role) => {
            tx.execute("DELETE FROM roles WHERE name = ?", params![role.name()]).await?;
        }
        Edit::SetAllowList(_, paths) => {
            tx.execute("DELETE FROM allow_list", params![]).await?;
            let mut values: Vec<Value> = Vec::with_capacity(paths.len() * 2);
            for (position, path) in (0i64..).zip(paths) {
                values.extend(params![position, path.as_str()]);
            }
            if !paths.is_empty() {
                let places = vec!["(?, ?)"; paths.len()].join(", ");
                tx.execute_dyn(format!("INSERT INTO allow_list (position, path) VALUES {places}"), values).await?;
            }
        }
    }
    Ok(())
}

/// Inserts rules.
pub async fn insert_policies(tx: &Tx, policies: &[Policy]) -> Result<()> {
    for Policy { rule, note, created_at } in policies {
        let sql = "INSERT INTO policies (id, role, domain, path, method, effect, note, created_at) \
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
        let values = params![
            rule.id.as_str(),
            rule.role.as_str(),
            rule.domain.as_str(),
            rule.path.as_str(),
            rule.method.as_str(),
            effect_name(rule.effect),
            note.as_str(),
            *created_at,
        ];
        tx.execute(sql, values).await?;
    }
    Ok(())
}

/// Inserts a role or replaces it.
pub async fn put_role(tx: &Tx, role: &RoleDef) -> Result<()> {
    let sql = "INSERT INTO roles (name, inherits, note) VALUES (?, ?, ?) \
               ON CONFLICT (name) DO UPDATE SET inherits = excluded.inherits, note = excluded.note";
    tx.execute(sql, params![role.name(), role.role.inherits.join(","), role.note.as_str()]).await?;
    Ok(())
}

fn read_policy(row: &Row) -> Result<Policy> {
    let effect: String = row.get(5)?;
    let rule = mallard_access::Rule {
        id: row.get(0)?,
        role: row.get(1)?,
        domain: row.get(2)?,
        path: row.get(3)?,
        method: row.get(4)?,
        effect: parse_effect(&effect).map_err(broken)?,
    };
    let created_at: Micros = row.get(7)?;
    Ok(Policy { rule, note: row.get(6)?, created_at })
}

fn read_role(row: &Row) -> Result<RoleDef> {
    let inherits: String = row.get(1)?;
    let inherits = inherits.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    RoleDef::new(row.get(0)?, inherits, row.get(2)?).map_err(broken)
}

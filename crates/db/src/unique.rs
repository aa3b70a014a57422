//! SQLite names the columns of a violated unique index, PostgreSQL names the index. This table makes SQLite name it too.

use std::collections::BTreeMap;

use rusqlite::Connection;

/// From `table.column, table.column` to the name of the unique index on those columns.
#[derive(Debug, Default)]
pub(crate) struct UniqueNames {
    by_columns: BTreeMap<String, String>,
}

impl UniqueNames {
    /// Reads the indexes of every table.
    pub(crate) fn read(conn: &Connection) -> rusqlite::Result<UniqueNames> {
        let mut by_columns = BTreeMap::new();
        for table in texts(conn, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name", &[])? {
            let indexes = "SELECT name FROM pragma_index_list(?) WHERE \"unique\" = 1 AND origin = ? ORDER BY name";
            for name in texts(conn, indexes, &[&table, "c"])? {
                by_columns.insert(key(&table, &columns(conn, &name)?), name);
            }
            for name in texts(conn, indexes, &[&table, "u"])? {
                // PostgreSQL's own name for an unnamed UNIQUE (a, b).
                let columns = columns(conn, &name)?;
                by_columns.entry(key(&table, &columns)).or_insert(format!("{table}_{}_key", columns.join("_")));
            }
            let primary = texts(conn, "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", &[&table])?;
            if !primary.is_empty() {
                by_columns.insert(key(&table, &primary), format!("{table}_pkey"));
            }
        }
        Ok(UniqueNames { by_columns })
    }

    /// Finds the name in SQLite's message, `UNIQUE constraint failed: orders.user_id, orders.key`.
    pub(crate) fn name(&self, message: &str) -> String {
        let columns = message.split_once("failed: ").map_or(message, |(_, columns)| columns);
        if let Some(index) = columns.strip_prefix("index '") {
            return index.trim_end_matches('\'').to_owned();
        }
        self.by_columns.get(columns).cloned().unwrap_or_else(|| columns.to_owned())
    }
}

fn key(table: &str, columns: &[String]) -> String {
    let parts: Vec<String> = columns.iter().map(|column| format!("{table}.{column}")).collect();
    parts.join(", ")
}

fn columns(conn: &Connection, index: &str) -> rusqlite::Result<Vec<String>> {
    texts(conn, "SELECT name FROM pragma_index_info(?) WHERE name IS NOT NULL ORDER BY seqno", &[index])
}

fn texts(conn: &Connection, sql: &str, params: &[&str]) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare(sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(params), |row| row.get(0))?;
    rows.collect()
}

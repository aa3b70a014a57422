//! Schema of the flows table; versions 20 to 39 of every service's migrations.

use mallard_db::Migration;

/// Migrations of the tables the engine needs.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 20,
        name: "flows",
        // wake_at: when the row is due; NULL when it awaits a signal or is stuck.
        // parked: 1 when the present state is one that awaits or sleeps, so that a signal is for it.
        sql: "CREATE TABLE flows (
            name TEXT NOT NULL,
            flow_key TEXT NOT NULL,
            state TEXT NOT NULL,
            version INTEGER NOT NULL,
            wake_at INTEGER,
            parked INTEGER NOT NULL,
            signalled INTEGER NOT NULL,
            attempts INTEGER NOT NULL,
            last_error TEXT,
            stuck INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL,
            PRIMARY KEY (name, flow_key)
          );
          CREATE INDEX flows_by_wake_at ON flows (wake_at)",
    },
    Migration {
        version: 21,
        name: "flow_history",
        sql: "ALTER TABLE flows ADD COLUMN history TEXT NOT NULL DEFAULT ''",
    },
];

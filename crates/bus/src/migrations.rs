//! Schema of the outbox, the inbox and the dead letters; versions 1 to 19 of every service's migrations.

use mallard_db::Migration;

/// Migrations of the tables the bus needs.
pub const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "events",
    // outbox: one row per event and subscriber, deleted once accepted. at_us is the event's time, which a replay backdates;
    //   appended_at is the clock's. attempts and next_attempt_at tell operators about a key that fails.
    // inbox: applied counts how often the effect was written; 0 for an event that was parked.
    // dead_letters: parked_at is NULL while failures are only being counted.
    sql: "CREATE TABLE outbox (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            subscriber TEXT NOT NULL,
            event_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            event_key TEXT NOT NULL,
            at_us INTEGER NOT NULL,
            trace TEXT NOT NULL,
            payload BLOB NOT NULL,
            appended_at INTEGER NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            next_attempt_at INTEGER NOT NULL DEFAULT 0
          );
          CREATE INDEX outbox_by_subscriber ON outbox (subscriber, seq);
          CREATE TABLE inbox (
            event_id TEXT NOT NULL PRIMARY KEY,
            applied_at INTEGER NOT NULL,
            applied INTEGER NOT NULL
          );
          CREATE INDEX inbox_by_applied_at ON inbox (applied_at, event_id);
          CREATE TABLE dead_letters (
            event_id TEXT NOT NULL PRIMARY KEY,
            kind TEXT NOT NULL,
            event_key TEXT NOT NULL,
            at_us INTEGER NOT NULL,
            trace TEXT NOT NULL,
            payload BLOB NOT NULL,
            reason TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            failed_at INTEGER NOT NULL,
            parked_at INTEGER
          )",
}];

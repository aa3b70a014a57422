//! Schema of the acquirer simulator's own database.

use mallard_db::Migration;

/// Every step, oldest first.
pub const ALL: &[Migration] = &[Migration {
    version: 100,
    name: "books",
    sql: "
        CREATE TABLE charges (
            charge_key TEXT PRIMARY KEY,
            state TEXT NOT NULL,
            code TEXT NOT NULL,
            amount INTEGER NOT NULL,
            refunded INTEGER NOT NULL,
            currency TEXT NOT NULL,
            card_brand TEXT NOT NULL,
            card_last4 TEXT NOT NULL,
            created_at INTEGER NOT NULL
        );
        CREATE TABLE repayments (
            repayment_key TEXT PRIMARY KEY,
            charge_key TEXT NOT NULL,
            amount INTEGER NOT NULL,
            currency TEXT NOT NULL,
            created_at INTEGER NOT NULL
        );
    ",
}];

//! Schema of the service's database.

use mallard_db::Migration;

/// Every step, oldest first.
pub const ALL: &[Migration] = &[Migration {
    version: 100,
    name: "payments",
    sql: "
        -- One row per attempt. due_at is NULL while nothing is left to do.
        CREATE TABLE payments (
            id TEXT PRIMARY KEY,
            order_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            method TEXT NOT NULL,
            status TEXT NOT NULL,
            amount INTEGER NOT NULL,
            currency TEXT NOT NULL,
            captured INTEGER NOT NULL,
            refunded INTEGER NOT NULL,
            refunding INTEGER NOT NULL,
            rounding_nanos INTEGER NOT NULL,
            card_brand TEXT NOT NULL,
            card_last4 TEXT NOT NULL,
            provider_key TEXT NOT NULL,
            provider_ref TEXT NOT NULL,
            failure_code TEXT NOT NULL,
            failure_message TEXT NOT NULL,
            unknown INTEGER NOT NULL,
            closing INTEGER NOT NULL,
            attempts INTEGER NOT NULL,
            due_at INTEGER,
            version INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL
        );
        CREATE INDEX payments_by_order ON payments (order_id);
        CREATE INDEX payments_by_due ON payments (due_at);

        -- The gate of an order: the attempt that holds it, and whether it is shut.
        CREATE TABLE order_payments (
            order_id TEXT PRIMARY KEY,
            payment_id TEXT NOT NULL,
            closed INTEGER NOT NULL,
            version INTEGER NOT NULL
        );

        CREATE TABLE refunds (
            id TEXT PRIMARY KEY,
            payment_id TEXT NOT NULL,
            order_id TEXT NOT NULL,
            amount INTEGER NOT NULL,
            currency TEXT NOT NULL,
            status TEXT NOT NULL,
            reason TEXT NOT NULL,
            reference TEXT NOT NULL,
            customer TEXT NOT NULL,
            country TEXT NOT NULL,
            lines BLOB NOT NULL,
            attempts INTEGER NOT NULL,
            due_at INTEGER,
            version INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL
        );
        CREATE INDEX refunds_by_payment ON refunds (payment_id);
        CREATE INDEX refunds_by_order ON refunds (order_id);
        CREATE INDEX refunds_by_due ON refunds (due_at);

        CREATE TABLE ledger_entries (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            transaction_id TEXT NOT NULL,
            account TEXT NOT NULL,
            debit INTEGER NOT NULL,
            credit INTEGER NOT NULL,
            nanos INTEGER NOT NULL,
            currency TEXT NOT NULL,
            order_id TEXT NOT NULL,
            payment_id TEXT NOT NULL,
            at INTEGER NOT NULL
        );
        CREATE UNIQUE INDEX ledger_entries_once ON ledger_entries (transaction_id, account);
    ",
}];

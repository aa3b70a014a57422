//! Schema of the service. A product is one row: the columns that lists filter and order by, and its body as JSON.

use mallard_db::Migration;

/// Every version of the schema, oldest first.
pub const MIGRATIONS: &[Migration] = &[FIRST, IMAGES, FACETS, CREATIONS];

const FIRST: Migration = Migration {
    version: 100,
    name: "products, categories, brands",
    sql: "
        CREATE TABLE products (
            id TEXT NOT NULL PRIMARY KEY,
            status TEXT NOT NULL,
            seller_id TEXT NOT NULL,
            brand_id TEXT NOT NULL,
            title_key TEXT NOT NULL,
            words TEXT NOT NULL,
            min_price INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            version INTEGER NOT NULL,
            stock_stamp INTEGER NOT NULL,
            body BLOB NOT NULL
        );
        CREATE INDEX products_by_age ON products (status, created_at, id);
        CREATE INDEX products_by_price ON products (status, min_price, id);
        CREATE INDEX products_by_title ON products (status, title_key, id);
        CREATE INDEX products_by_seller ON products (seller_id, created_at, id);
        CREATE TABLE product_skus (
            sku_id TEXT NOT NULL PRIMARY KEY,
            product_id TEXT NOT NULL,
            in_stock INTEGER NOT NULL,
            stock_version INTEGER NOT NULL
        );
        CREATE INDEX product_skus_by_product ON product_skus (product_id);
        CREATE TABLE product_categories (
            category_id TEXT NOT NULL,
            product_id TEXT NOT NULL,
            PRIMARY KEY (category_id, product_id)
        );
        CREATE INDEX product_categories_by_product ON product_categories (product_id);
        CREATE TABLE categories (
            id TEXT NOT NULL PRIMARY KEY,
            slug TEXT NOT NULL,
            name TEXT NOT NULL,
            parent_id TEXT NOT NULL,
            names TEXT NOT NULL,
            position INTEGER NOT NULL,
            created_at INTEGER NOT NULL
        );
        CREATE UNIQUE INDEX categories_slug ON categories (slug);
        CREATE TABLE brands (
            id TEXT NOT NULL PRIMARY KEY,
            name TEXT NOT NULL,
            name_key TEXT NOT NULL,
            created_at INTEGER NOT NULL
        );
        CREATE UNIQUE INDEX brands_name ON brands (name_key);
        CREATE TABLE creations (
            idempotency_key TEXT NOT NULL PRIMARY KEY,
            product_id TEXT NOT NULL,
            at INTEGER NOT NULL
        )
    ",
};

/// Pictures by the hash of their bytes and the ending of their kind, and how many of them and how many bytes each seller has
/// brought; the seller '' stands for the whole mall. What a product has named is never changed and never removed, because
/// orders show it too.
const IMAGES: Migration = Migration {
    version: 101,
    name: "pictures",
    sql: "
        CREATE TABLE images (
            name TEXT NOT NULL PRIMARY KEY,
            seller_id TEXT NOT NULL,
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            named INTEGER NOT NULL,
            content BLOB NOT NULL
        );
        CREATE INDEX images_by_seller ON images (seller_id);
        CREATE INDEX images_unnamed ON images (created_at) WHERE named = 0;
        CREATE TABLE image_counts (
            seller_id TEXT NOT NULL PRIMARY KEY,
            images INTEGER NOT NULL,
            bytes INTEGER NOT NULL
        )
    ",
};

/// What facets count, so that counting ten thousand products reads no product. Three indexes of the first version begin these
/// and may go with a later one.
const FACETS: Migration = Migration {
    version: 102,
    name: "what facets count",
    sql: "
        CREATE INDEX products_for_facets ON products (status, created_at, id, brand_id, seller_id, min_price);
        CREATE INDEX product_skus_for_facets ON product_skus (product_id, in_stock);
        CREATE INDEX product_categories_for_facets ON product_categories (product_id, category_id)
    ",
};

/// What was asked for under a key, as a hash; none for keys that were used before this version.
const CREATIONS: Migration = Migration {
    version: 103,
    name: "what a creation asked for",
    sql: "ALTER TABLE creations ADD COLUMN request_hash BLOB",
};

//! Address books.

use mallard_db::{Db, Row, Tx, params};
use mallard_types::{Micros, Result};

use super::Read;
use crate::domain::{Address, Place};
use crate::error::Refusal;

macro_rules! columns {
    () => {
        "id, user_id, name, phone, country, province, city, district, street, postal_code, is_default, created_at, updated_at"
    };
}

/// Counts a user's addresses.
pub async fn count_addresses(tx: &Tx, user_id: &str) -> Result<usize> {
    let row = tx.query_opt("SELECT COUNT(*) FROM addresses WHERE user_id = ?", params![user_id]).await?;
    Ok(row.map(|row| row.get(0)).transpose()?.unwrap_or(0))
}

/// Takes the default mark from whichever address of the user has it.
pub async fn clear_default(tx: &Tx, user_id: &str) -> Result<()> {
    tx.execute("UPDATE addresses SET is_default = 0 WHERE user_id = ? AND is_default = 1", params![user_id]).await?;
    Ok(())
}

/// Inserts an address.
pub async fn insert_address(tx: &Tx, address: &Address) -> Result<()> {
    let sql = concat!("INSERT INTO addresses (", columns!(), ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    let place = &address.place;
    let values = params![
        address.id.as_str(),
        address.user_id.as_str(),
        place.name.as_str(),
        place.phone.as_str(),
        place.country.as_str(),
        place.province.as_str(),
        place.city.as_str(),
        place.district.as_str(),
        place.street.as_str(),
        place.postal_code.as_str(),
        address.is_default,
        address.created_at,
        address.updated_at,
    ];
    tx.execute(sql, values).await?;
    Ok(())
}

/// Saves a changed address.
pub async fn save_address(tx: &Tx, address: &Address) -> Result<()> {
    let sql = "UPDATE addresses SET name = ?, phone = ?, country = ?, province = ?, city = ?, district = ?, street = ?, \
               postal_code = ?, is_default = ?, updated_at = ? WHERE id = ? AND user_id = ?";
    let place = &address.place;
    let values = params![
        place.name.as_str(),
        place.phone.as_str(),
        place.country.as_str(),
        place.province.as_str(),
        place.city.as_str(),
        place.district.as_str(),
        place.street.as_str(),
        place.postal_code.as_str(),
        address.is_default,
        address.updated_at,
        address.id.as_str(),
        address.user_id.as_str(),
    ];
    tx.execute(sql, values).await?;
    Ok(())
}

/// Loads an address of this user.
///
/// # Errors
/// `address_not_found`, also when it is somebody else's.
pub async fn address(from: &impl Read, user_id: &str, id: &str) -> Result<Address> {
    let sql = concat!("SELECT ", columns!(), " FROM addresses WHERE id = ? AND user_id = ?");
    let row = from.row(sql, params![id, user_id]).await?.ok_or(Refusal::AddressNotFound)?;
    read(&row)
}

/// Loads a user's addresses, newest first, after the one with this creation time and id.
pub async fn addresses_page(db: &Db, user_id: &str, after: (Micros, &str), limit: usize) -> Result<Vec<Address>> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM addresses WHERE user_id = ? AND (created_at, id) < (?, ?) ORDER BY created_at DESC, id DESC LIMIT ?"
    );
    db.query(sql, params![user_id, after.0, after.1, limit as i64]).await?.iter().map(read).collect()
}

/// Deletes an address of this user; false when there is none.
pub async fn delete_address(tx: &Tx, user_id: &str, id: &str) -> Result<bool> {
    Ok(tx.execute("DELETE FROM addresses WHERE id = ? AND user_id = ?", params![id, user_id]).await? == 1)
}

/// Deletes a user's whole book.
pub async fn delete_addresses(tx: &Tx, user_id: &str) -> Result<()> {
    tx.execute("DELETE FROM addresses WHERE user_id = ?", params![user_id]).await?;
    Ok(())
}

fn read(row: &Row) -> Result<Address> {
    Ok(Address {
        id: row.get(0)?,
        user_id: row.get(1)?,
        place: Place {
            name: row.get(2)?,
            phone: row.get(3)?,
            country: row.get(4)?,
            province: row.get(5)?,
            city: row.get(6)?,
            district: row.get(7)?,
            street: row.get(8)?,
            postal_code: row.get(9)?,
        },
        is_default: row.get(10)?,
        created_at: row.get(11)?,
        updated_at: row.get(12)?,
    })
}

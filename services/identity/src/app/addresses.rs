//! The caller's address book. Changes of one book run one after another: its account's row is locked first.

use mallard_types::{Result, page};

use super::caller::caller_id;
use super::{App, Page, position};
use crate::domain::{Address, Place, PlaceChange, admit_address};
use crate::error::Refusal;
use crate::store;

impl App {
    /// Returns a page of the caller's addresses, newest first.
    ///
    /// # Errors
    /// `unauthenticated`, `limit_out_of_range`, `bad_cursor`.
    pub async fn addresses(&self, limit: i32, cursor: &str) -> Result<Page<Address>> {
        let user_id = caller_id()?;
        let limit = page::limit(limit)?;
        let (at, id) = position(cursor)?;
        let items = store::addresses_page(&self.db, &user_id, (at, &id), limit + 1).await?;
        Ok(Page::cut(items, limit, |address| (address.created_at, &address.id)))
    }

    /// Returns one of the caller's addresses.
    ///
    /// # Errors
    /// `unauthenticated`, `address_not_found`.
    pub async fn address(&self, id: &str) -> Result<Address> {
        store::address(&self.db, &caller_id()?, id).await
    }

    /// Adds an address; the first one becomes the default.
    ///
    /// # Errors
    /// `unauthenticated`, `address_book_full`, or what is wrong with a field.
    pub async fn create_address(&self, place: Place, is_default: bool) -> Result<Address> {
        let now = self.ctx.now();
        let address = Address {
            id: self.ctx.id("addr"),
            user_id: caller_id()?,
            place: place.check()?,
            is_default,
            created_at: now,
            updated_at: now,
        };
        self.tx("identity.create_address", address, |work, mut address| async move {
            store::lock_address_book(&work.tx, &address.user_id).await?;
            let count = store::count_addresses(&work.tx, &address.user_id).await?;
            address.is_default = admit_address(count, address.is_default)?;
            if address.is_default {
                store::clear_default(&work.tx, &address.user_id).await?;
            }
            store::insert_address(&work.tx, &address).await?;
            Ok(address)
        })
        .await
    }

    /// Changes some fields of one of the caller's addresses.
    ///
    /// # Errors
    /// `unauthenticated`, `address_not_found`, or what is wrong with a field.
    pub async fn update_address(&self, id: String, change: PlaceChange, is_default: Option<bool>) -> Result<Address> {
        let input = (caller_id()?, id, change);
        self.tx("identity.update_address", input, move |work, (user_id, id, change)| async move {
            store::lock_address_book(&work.tx, &user_id).await?;
            let mut address = store::address(&work.tx, &user_id, &id).await?;
            address.place = address.place.with(change)?;
            address.is_default = is_default.unwrap_or(address.is_default);
            address.updated_at = work.now;
            if is_default == Some(true) {
                store::clear_default(&work.tx, &user_id).await?;
            }
            store::save_address(&work.tx, &address).await?;
            Ok(address)
        })
        .await
    }

    /// Deletes one of the caller's addresses.
    ///
    /// # Errors
    /// `unauthenticated`, `address_not_found`.
    pub async fn delete_address(&self, id: String) -> Result<()> {
        self.tx("identity.delete_address", (caller_id()?, id), |work, (user_id, id)| async move {
            let deleted = store::delete_address(&work.tx, &user_id, &id).await?;
            if deleted { Ok(()) } else { Err(Refusal::AddressNotFound.into()) }
        })
        .await
    }
}

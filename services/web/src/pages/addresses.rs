//! The address book.

use askama::Template;
use http::StatusCode;
use mallard_proto::common::v1::Address;
use mallard_proto::identity::v1::{
    BookAddress, CreateAddressRequest, DeleteAddressRequest, GetAddressRequest, ListAddressesRequest,
    UpdateAddressRequest,
};
use mallard_rpc::Caller;
use mallard_types::{Error, Kind, Result};

use super::address_form::{self, Offered};
use crate::answer::Answer;
use crate::ask::{Ask, route};
use crate::view::{Field, Frame};

/// Most entries of a book.
const BOOK_MAX: i32 = 50;

#[derive(Template)]
#[template(path = "addresses.html")]
struct Page {
    f: Frame,
    trouble: &'static str,
    editing: bool,
    book: Vec<Offered>,
    action: String,
    address: Vec<Field>,
    is_default: bool,
}

/// Shows the book, with a form for a new entry.
///
/// # Errors
/// Identity's.
pub async fn show(ask: &Ask) -> Result<Answer> {
    let caller = ask.permit("GET", "/store/v1/me/addresses").await?;
    list(ask, &caller).await
}

async fn list(ask: &Ask, caller: &Caller) -> Result<Answer> {
    let (status, trouble, error) = (StatusCode::OK, "", None);
    let book = book(ask, caller).await?;
    show_book(ask, &book, status, trouble, error)
}

/// Returns the entries of the book.
///
/// # Errors
/// Identity's.
pub async fn book(ask: &Ask, caller: &Caller) -> Result<Vec<BookAddress>> {
    let mut client = ask.site.peers.identity();
    let request = ListAddressesRequest { limit: BOOK_MAX, cursor: String::new() };
    Ok(ask.read(caller, client.list_addresses(request)).await?.addresses)
}

fn show_book(
    ask: &Ask,
    book: &[BookAddress],
    status: StatusCode,
    trouble: &'static str,
    error: Option<&Error>,
) -> Result<Answer> {
    let default = book.iter().find(|entry| entry.is_default).map(|entry| entry.id.clone()).unwrap_or_default();
    let typed = if error.is_some() { address_form::read(&ask.form) } else { address_form::empty(ask) };
    let mut f = Frame::new(ask, ask.t.addresses);
    f.notice = match ask.query.get("done") {
        "saved" => ask.t.address_saved,
        "deleted" => ask.t.address_deleted,
        _ => "",
    };
    let page = Page {
        f,
        trouble,
        editing: false,
        book: address_form::offered(ask, book, &default),
        action: "/account/addresses".into(),
        address: address_form::fields(ask, &typed, error),
        is_default: ask.form.get("default") == "1",
    };
    Answer::with(status, &page)
}

/// Adds an entry.
///
/// # Errors
/// Identity's.
pub async fn create(ask: &Ask) -> Result<Answer> {
    let caller = ask.permit("POST", "/store/v1/me/addresses").await?;
    let address = address_form::read(&ask.form);
    match keep(ask, &caller, address, ask.form.get("default") == "1").await {
        Ok(()) => Ok(Answer::to(ask.link("/account/addresses?done=saved"))),
        Err(error) => match trouble(ask, &error) {
            Some(text) => {
                let book = book(ask, &caller).await?;
                show_book(ask, &book, StatusCode::UNPROCESSABLE_ENTITY, text, Some(&error))
            }
            None => Err(error),
        },
    }
}

/// Puts an address into the book, unless the book has it: the same form sent twice makes one entry.
///
/// # Errors
/// Identity's.
pub async fn keep(ask: &Ask, caller: &Caller, address: Address, is_default: bool) -> Result<()> {
    // One after the other, so that the second of two clicks sees what the first has put there.
    let turn = match &ask.session {
        Some(session) => Some(session.turn().await),
        None => None,
    };
    let entries = book(ask, caller).await?;
    let mut client = ask.site.peers.identity();
    if let Some(known) = entries.iter().find(|entry| address_form::of_book(entry) == address) {
        if is_default && !known.is_default {
            let request = UpdateAddressRequest {
                id: known.id.clone(),
                is_default: Some(true),
                ..UpdateAddressRequest::default()
            };
            ask.write(caller, client.update_address(request)).await?;
        }
        return Ok(());
    }
    let request = CreateAddressRequest {
        name: address.name,
        phone: address.phone,
        country: address.country,
        province: address.province,
        city: address.city,
        district: address.district,
        street: address.street,
        postal_code: address.postal_code,
        is_default,
    };
    ask.write(caller, client.create_address(request)).await?;
    drop(turn);
    Ok(())
}

/// Shows the form of an entry.
///
/// # Errors
/// `address_not_found`; identity's.
pub async fn edit(ask: &Ask, id: &str) -> Result<Answer> {
    let caller = ask.permit("GET", "/store/v1/me/addresses").await?;
    let mut client = ask.site.peers.identity();
    let entry = ask.read(&caller, client.get_address(GetAddressRequest { id: id.to_owned() })).await?.address;
    let entry = entry.unwrap_or_default();
    one(ask, id, StatusCode::OK, "", &address_form::of_book(&entry), entry.is_default, None)
}

fn one(
    ask: &Ask,
    id: &str,
    status: StatusCode,
    trouble: &'static str,
    address: &Address,
    is_default: bool,
    error: Option<&Error>,
) -> Result<Answer> {
    let page = Page {
        f: Frame::new(ask, ask.t.edit_address),
        trouble,
        editing: true,
        book: Vec::new(),
        action: format!("/account/addresses/{id}"),
        address: address_form::fields(ask, address, error),
        is_default,
    };
    Answer::with(status, &page)
}

/// Changes an entry.
///
/// # Errors
/// `address_not_found`; identity's.
pub async fn change(ask: &Ask, id: &str) -> Result<Answer> {
    let caller = ask.permit("PATCH", &route(&["/store/v1/me/addresses/", id])).await?;
    let address = address_form::read(&ask.form);
    let typed = address.clone();
    let is_default = ask.form.get("default") == "1";
    let request = UpdateAddressRequest {
        id: id.to_owned(),
        name: Some(address.name),
        phone: Some(address.phone),
        country: Some(address.country),
        province: Some(address.province),
        city: Some(address.city),
        district: Some(address.district),
        street: Some(address.street),
        postal_code: Some(address.postal_code),
        is_default: Some(is_default),
    };
    let mut client = ask.site.peers.identity();
    match ask.write(&caller, client.update_address(request)).await {
        Ok(_) => Ok(Answer::to(ask.link("/account/addresses?done=saved"))),
        Err(error) => match trouble(ask, &error) {
            Some(text) => one(ask, id, StatusCode::UNPROCESSABLE_ENTITY, text, &typed, is_default, Some(&error)),
            None => Err(error),
        },
    }
}

/// Deletes an entry.
///
/// # Errors
/// `address_not_found`; identity's.
pub async fn delete(ask: &Ask, id: &str) -> Result<Answer> {
    let caller = ask.permit("DELETE", &route(&["/store/v1/me/addresses/", id])).await?;
    let mut client = ask.site.peers.identity();
    ask.write(&caller, client.delete_address(DeleteAddressRequest { id: id.to_owned() })).await?;
    Ok(Answer::to(ask.link("/account/addresses?done=deleted")))
}

fn trouble(ask: &Ask, error: &Error) -> Option<&'static str> {
    match error.kind {
        _ if error.code == "address_book_full" => Some(ask.t.address_book_full),
        Kind::Invalid => Some(ask.t.see_fields),
        _ => None,
    }
}

//! The fields of an address, wherever one is typed.

use mallard_proto::common::v1::Address;
use mallard_proto::identity::v1::BookAddress;
use mallard_types::Error;

use crate::ask::{Ask, Fields};
use crate::domain::Lang;
use crate::error::at_field;
use crate::view::Field;

/// Code of the refusal that marks every empty field at once.
pub const FIELDS_MISSING: &str = "fields_missing";

/// Tells whether an address lacks what every parcel needs.
pub fn is_incomplete(address: &Address) -> bool {
    [&address.name, &address.country, &address.street].into_iter().any(|text| text.is_empty())
}

/// An address of the book, as it is offered.
pub struct Offered {
    pub id: String,
    pub name: String,
    pub phone: String,
    pub text: String,
    pub chosen: bool,
}

/// Makes the fields with what is in them and, after a refusal, what is wrong with one.
pub fn fields(ask: &Ask, address: &Address, error: Option<&Error>) -> Vec<Field> {
    let t = ask.t;
    let field = |name, label, value: &str, autocomplete| Field::text(name, label, value, autocomplete);
    let country = field("country", t.country, &address.country, "country-name").required();
    let mut fields = vec![
        Field { maxlength: 100, ..field("name", t.receiver, &address.name, "name").required() },
        Field { kind: "tel", inputmode: "tel", maxlength: 32, ..field("phone", t.phone, &address.phone, "tel") },
        Field { maxlength: 64, ..country },
        Field { maxlength: 100, ..field("province", t.province, &address.province, "address-level1") },
        Field { maxlength: 100, ..field("city", t.city, &address.city, "address-level2") },
        Field { maxlength: 100, ..field("district", t.district, &address.district, "address-level3") },
        field("street", t.street, &address.street, "street-address").required(),
        Field { maxlength: 20, ..field("postal_code", t.postal_code, &address.postal_code, "postal-code") },
    ];
    if error.is_some_and(|error| error.code == FIELDS_MISSING) {
        for field in fields.iter_mut().filter(|field| field.required && field.value.is_empty()) {
            field.error = t.field_required;
        }
    } else if let Some(error) = error {
        let param = error.param.as_deref().unwrap_or_default();
        let name = param.strip_prefix("address.").unwrap_or(param);
        for field in fields.iter_mut().filter(|field| field.name == name) {
            field.error = at_field(t, error);
        }
    }
    fields
}

/// Makes an address to begin with.
pub fn empty(ask: &Ask) -> Address {
    let country = if ask.lang == Lang::Zh { "中国" } else { "" };
    Address { country: country.into(), ..Address::default() }
}

/// Reads what was typed.
pub fn read(form: &Fields) -> Address {
    let get = |name| form.get(name).to_owned();
    Address {
        name: get("name"),
        phone: get("phone"),
        country: get("country"),
        province: get("province"),
        city: get("city"),
        district: get("district"),
        street: get("street"),
        postal_code: get("postal_code"),
    }
}

/// Tells whether an error is about a field of the address.
pub fn concerns(error: &Error) -> bool {
    let param = error.param.as_deref().unwrap_or_default();
    error.code == FIELDS_MISSING
        || param.starts_with("address.")
        || matches!(param, "name" | "phone" | "country" | "province" | "city" | "district" | "street" | "postal_code")
}

/// Takes an address out of the book's entry.
pub fn of_book(entry: &BookAddress) -> Address {
    let entry = entry.clone();
    Address {
        name: entry.name,
        phone: entry.phone,
        country: entry.country,
        province: entry.province,
        city: entry.city,
        district: entry.district,
        street: entry.street,
        postal_code: entry.postal_code,
    }
}

/// Offers the entries of a book.
pub fn offered(ask: &Ask, book: &[BookAddress], chosen: &str) -> Vec<Offered> {
    let offer = |entry: &BookAddress| Offered {
        id: entry.id.clone(),
        name: entry.name.clone(),
        phone: entry.phone.clone(),
        text: written(&of_book(entry), ask.lang),
        chosen: entry.id == chosen,
    };
    book.iter().map(offer).collect()
}

/// Writes where a parcel goes in one line: the large first in Chinese, the small first in English.
pub fn written(address: &Address, lang: Lang) -> String {
    let large = [&address.country, &address.province, &address.city, &address.district, &address.street];
    let parts = large.into_iter().map(String::as_str).filter(|part| !part.is_empty());
    let mut parts: Vec<&str> = parts.collect();
    // Cities that are provinces are written once.
    parts.dedup();
    match lang {
        Lang::Zh => {
            let post =
                if address.postal_code.is_empty() { String::new() } else { format!("（{}）", address.postal_code) };
            format!("{}{post}", parts.join(" "))
        }
        Lang::En => {
            parts.reverse();
            let mut text = parts.join(", ");
            if !address.postal_code.is_empty() {
                text = format!("{text}, {}", address.postal_code);
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_the_language_writes_it() {
        let address = Address {
            name: "Ada".into(),
            country: "中国".into(),
            province: "北京市".into(),
            city: "北京市".into(),
            district: "海淀区".into(),
            street: "学院路 1 号".into(),
            postal_code: "01234".into(),
            ..Address::default()
        };
        assert_eq!(written(&address, Lang::Zh), "中国 北京市 海淀区 学院路 1 号（01234）");
        assert_eq!(written(&address, Lang::En), "学院路 1 号, 海淀区, 北京市, 中国, 01234");
    }
}

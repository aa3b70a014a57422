//! The address book. Texts are kept exactly as entered: a postal code of `01234` stays `01234`. Only a phone number loses the marks
//! of direction that it was pasted with.

use mallard_types::Micros;
use mallard_types::text::without_direction;

use super::text;
use crate::error::Refusal;

/// Most addresses of one user.
pub const ADDRESSES_MAX: usize = 50;

/// Where a parcel goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// First and last name of the receiver.
    pub name: String,
    /// Phone number as entered, without marks of direction.
    pub phone: String,
    /// Country name or ISO 3166 code.
    pub country: String,
    /// Province or state.
    pub province: String,
    /// City.
    pub city: String,
    /// District.
    pub district: String,
    /// Street, house number, anything below the district.
    pub street: String,
    /// Postal code as text.
    pub postal_code: String,
}

/// New texts for some fields of a place.
#[derive(Clone, Debug, Default)]
pub struct PlaceChange {
    /// See [`Place::name`].
    pub name: Option<String>,
    /// See [`Place::phone`].
    pub phone: Option<String>,
    /// See [`Place::country`].
    pub country: Option<String>,
    /// See [`Place::province`].
    pub province: Option<String>,
    /// See [`Place::city`].
    pub city: Option<String>,
    /// See [`Place::district`].
    pub district: Option<String>,
    /// See [`Place::street`].
    pub street: Option<String>,
    /// See [`Place::postal_code`].
    pub postal_code: Option<String>,
}

impl Place {
    /// Checks limits; name, country and street must be given.
    ///
    /// # Errors
    /// `required`, `too_long`, `invalid_text`, naming the field.
    pub fn check(self) -> Result<Place, Refusal> {
        let place = Place { phone: without_direction(&self.phone), ..self };
        place.checked()
    }

    fn checked(self) -> Result<Place, Refusal> {
        text::check_required("name", &self.name, 100)?;
        text::check("phone", &self.phone, 32)?;
        text::check_required("country", &self.country, 64)?;
        text::check("province", &self.province, 100)?;
        text::check("city", &self.city, 100)?;
        text::check("district", &self.district, 100)?;
        text::check_required("street", &self.street, 200)?;
        text::check("postal_code", &self.postal_code, 20)?;
        Ok(self)
    }

    /// Returns the place with some texts replaced.
    ///
    /// # Errors
    /// As [`Place::check`].
    pub fn with(self, change: PlaceChange) -> Result<Place, Refusal> {
        let place = Place {
            name: change.name.unwrap_or(self.name),
            phone: change.phone.unwrap_or(self.phone),
            country: change.country.unwrap_or(self.country),
            province: change.province.unwrap_or(self.province),
            city: change.city.unwrap_or(self.city),
            district: change.district.unwrap_or(self.district),
            street: change.street.unwrap_or(self.street),
            postal_code: change.postal_code.unwrap_or(self.postal_code),
        };
        place.check()
    }
}

/// One entry of a user's address book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Id, `addr_…`.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// Where it is.
    pub place: Place,
    /// Whether checkout offers it first. At most one of a user's addresses is the default.
    pub is_default: bool,
    /// When it was entered.
    pub created_at: Micros,
    /// When it was last changed.
    pub updated_at: Micros,
}

/// Decides whether a book of `count` addresses takes one more, and whether that one becomes the default: the first always
/// does.
///
/// # Errors
/// `address_book_full`.
pub fn admit_address(count: usize, wants_default: bool) -> Result<bool, Refusal> {
    if count >= ADDRESSES_MAX {
        return Err(Refusal::AddressBookFull);
    }
    Ok(wants_default || count == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> Place {
        Place {
            name: "Mei Lin".into(),
            phone: "+86 138 0000 0000".into(),
            country: "CN".into(),
            province: "Zhejiang".into(),
            city: "Hangzhou".into(),
            district: "Xihu".into(),
            street: "Long Lane 1".into(),
            postal_code: "01234".into(),
        }
    }

    #[test]
    fn a_good_place_is_kept_to_the_letter() {
        assert_eq!(place().check(), Ok(place()));
    }

    #[test]
    fn a_number_from_an_address_book_is_taken_without_its_marks() {
        let pasted = Place { phone: "\u{202D}+86 138 0000 0000\u{202C}".into(), ..place() };
        assert_eq!(pasted.check(), Ok(place()));
        let broken = Place { phone: "1\u{0}2".into(), ..place() };
        assert_eq!(broken.check(), Err(Refusal::TextInvalid("phone")));
    }

    #[test]
    fn name_country_and_street_are_required() {
        for (param, broken) in [
            ("name", Place { name: " ".into(), ..place() }),
            ("country", Place { country: String::new(), ..place() }),
            ("street", Place { street: "\n".into(), ..place() }),
        ] {
            assert_eq!(broken.check(), Err(Refusal::Required(param)));
        }
    }

    #[test]
    fn a_change_touches_only_what_it_names() {
        let moved =
            place().with(PlaceChange { street: Some("Short Lane 2".into()), ..PlaceChange::default() }).unwrap();
        assert_eq!(moved, Place { street: "Short Lane 2".into(), ..place() });
    }

    #[test]
    fn a_change_cannot_break_a_place() {
        let change = PlaceChange { postal_code: Some("x".repeat(21)), ..PlaceChange::default() };
        assert_eq!(place().with(change), Err(Refusal::TextTooLong("postal_code", 20)));
    }

    #[test]
    fn the_first_address_becomes_the_default_and_the_last_fits() {
        assert_eq!(admit_address(0, false), Ok(true));
        assert_eq!(admit_address(1, false), Ok(false));
        assert_eq!(admit_address(ADDRESSES_MAX - 1, true), Ok(true));
        assert_eq!(admit_address(ADDRESSES_MAX, true), Err(Refusal::AddressBookFull));
    }

    proptest! {
        #[test]
        fn an_accepted_place_equals_what_was_entered(name in any::<String>(), street in any::<String>(), postal_code in any::<String>()) {
            let entered = Place { name, street, postal_code, country: "CN".into(), ..Place::default() };
            if let Ok(kept) = entered.clone().check() {
                prop_assert_eq!(kept, entered);
            }
        }
    }
}

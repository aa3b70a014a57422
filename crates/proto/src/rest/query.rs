//! Query parameters into fields.

use mallard_types::Error;

use super::Slot;
use crate::Enumeration;
use crate::enumeration::number_of;

/// A field that a query parameter can fill.
pub trait Value {
    /// How often the parameter may be given.
    const SLOT: Slot = Slot::One;

    /// Takes a value. An empty one leaves numbers and booleans as they are, because HTML forms send every field.
    ///
    /// # Errors
    /// What was expected.
    fn take(&mut self, value: &str) -> Result<(), &'static str>;
}

impl Value for String {
    fn take(&mut self, value: &str) -> Result<(), &'static str> {
        *self = value.to_owned();
        Ok(())
    }
}

impl Value for bool {
    fn take(&mut self, value: &str) -> Result<(), &'static str> {
        match value {
            "true" | "1" => *self = true,
            "false" | "0" => *self = false,
            "" => {}
            _ => return Err("must be true or false"),
        }
        Ok(())
    }
}

impl Value for i32 {
    fn take(&mut self, value: &str) -> Result<(), &'static str> {
        if !value.is_empty() {
            *self = value.parse().map_err(|_| "must be a whole number")?;
        }
        Ok(())
    }
}

impl Value for i64 {
    fn take(&mut self, value: &str) -> Result<(), &'static str> {
        if !value.is_empty() {
            *self = value.parse().map_err(|_| "must be a whole number")?;
        }
        Ok(())
    }
}

impl<T: Value + Default> Value for Option<T> {
    fn take(&mut self, value: &str) -> Result<(), &'static str> {
        if value.is_empty() {
            return Ok(());
        }
        let mut inner = T::default();
        inner.take(value)?;
        *self = Some(inner);
        Ok(())
    }
}

impl<T: Value + Default> Value for Vec<T> {
    const SLOT: Slot = Slot::Many;

    fn take(&mut self, value: &str) -> Result<(), &'static str> {
        let mut inner = T::default();
        inner.take(value)?;
        self.push(inner);
        Ok(())
    }
}

/// Puts a parameter's value into a field.
///
/// # Errors
/// `invalid_field` naming the parameter.
pub fn read<T: Value>(field: &mut T, name: &'static str, value: &str) -> Result<Slot, Error> {
    field.take(value).map_err(|expected| Error::invalid("invalid_field", format!("{name} {expected}")).param(name))?;
    Ok(T::SLOT)
}

/// Puts a parameter's value into an enum field.
///
/// # Errors
/// `invalid_field` naming the parameter and the allowed values.
pub fn read_enum<E: Enumeration>(field: &mut i32, name: &'static str, value: &str) -> Result<Slot, Error> {
    *field = number_of::<E>(value)
        .ok_or_else(|| Error::invalid("invalid_field", format!("{name} must be one of {}", E::names())).param(name))?;
    Ok(Slot::One)
}

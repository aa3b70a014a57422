//! Names of enum values: lower snake_case, without the enum's own name in front.

/// An enum of the contracts whose values have public names.
pub trait Enumeration: Copy + Into<i32> + TryFrom<i32> + 'static {
    /// Number and name of every value, in the order of the contract.
    const VALUES: &'static [(i32, &'static str)];

    /// Returns the public name, e.g. `pending_payment`.
    fn as_name(self) -> &'static str {
        name_of::<Self>(self.into()).unwrap_or("unknown")
    }

    /// Parses a public name.
    fn from_name(name: &str) -> Option<Self> {
        number_of::<Self>(name).and_then(|number| Self::try_from(number).ok())
    }

    /// Lists the public names, separated by commas, for error messages.
    fn names() -> String {
        Self::VALUES.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
    }
}

/// Returns the public name of a number.
pub(crate) fn name_of<E: Enumeration>(number: i32) -> Option<&'static str> {
    E::VALUES.iter().find(|(value, _)| *value == number).map(|(_, name)| *name)
}

/// Returns the number of a public name.
pub(crate) fn number_of<E: Enumeration>(name: &str) -> Option<i32> {
    E::VALUES.iter().find(|(_, value)| *value == name).map(|(number, _)| *number)
}

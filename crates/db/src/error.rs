//! What a database can answer besides rows.

/// An error of a database, the same for every engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A unique index refused the row. Holds the name of the index; `<table>_pkey` for a primary key.
    #[error("unique constraint {constraint} violated")]
    Unique {
        /// Name of the unique index.
        constraint: String,
    },
    /// Another constraint (check, not null, foreign key) refused the row.
    #[error("constraint violated: {0}")]
    Constraint(String),
    /// The database is too busy: a lock, a queue or the pool was waited for too long, or a transaction kept colliding.
    /// Nothing was written.
    #[error("database is busy: {0}")]
    Busy(String),
    /// The connection was lost or could not be made. When it happens during a commit the outcome is unknown.
    #[error("database is away: {0}")]
    Lost(String),
    /// The disk is full or failed. Nothing was written.
    #[error("disk failure: {0}")]
    Disk(String),
    /// A text holds the character U+0000, which PostgreSQL cannot store; no engine takes it, so that all say the same.
    #[error("a text holds the character U+0000")]
    Nul,
    /// A column does not hold the type that was asked for.
    #[error("wrong column: {0}")]
    Type(String),
    /// The schema cannot be brought to the version of this program.
    #[error("migration refused: {0}")]
    Migration(String),
    /// The transaction handle was used after its closure had ended.
    #[error("the transaction has ended")]
    Ended,
    /// A statement of this transaction failed before, so it can only be rolled back.
    #[error("the transaction has failed and can only be rolled back; first failure: {0}")]
    Doomed(String),
    /// A transaction closure waited for something that is not its database.
    #[error("transaction {0} waited for something else than its database")]
    Waited(&'static str),
    /// A transaction closure used the database past its own handle.
    #[error("a transaction closure must use nothing but its own handle")]
    Nested,
    /// A transaction closure panicked; its effects were rolled back.
    #[error("transaction panicked: {0}")]
    Panicked(String),
    /// Anything else: a statement the engine does not understand, broken files, a defect.
    #[error("database error: {0}")]
    Sql(String),
}

impl Error {
    /// Tells whether the unique index of this name refused the row.
    pub fn is_unique(&self, constraint: &str) -> bool {
        matches!(self, Error::Unique { constraint: name } if name == constraint)
    }

    /// Tells whether the same work may succeed when it is tried again.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Busy(_) | Error::Lost(_) | Error::Disk(_))
    }
}

impl From<Error> for mallard_types::Error {
    fn from(error: Error) -> Self {
        let known = match &error {
            Error::Busy(_) => Self::unavailable("database_busy", "the database is busy, try again"),
            Error::Lost(_) => Self::unavailable("database_unavailable", "the database is not reachable, try again"),
            Error::Disk(_) => Self::unavailable("database_disk", "the database cannot write, try again later"),
            Error::Nul => {
                Self::invalid("invalid_text", "a text holds the character U+0000, which cannot be stored; leave it out")
            }
            _ => Self::internal("database", "something went wrong on our side"),
        };
        known.source(error)
    }
}

/// Why a [`crate::Unit`] was not applied. Nothing of it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// A guarded statement changed another number of rows than expected.
    #[error("guard {tag} of statement {index} refused")]
    Guard {
        /// Position of the statement in the order it was added, from 0.
        index: usize,
        /// The tag the caller gave it.
        tag: u32,
    },
    /// The database refused or failed.
    #[error(transparent)]
    Db(#[from] Error),
}

impl UnitError {
    /// Tells whether the unique index of this name refused a row.
    pub fn is_unique(&self, constraint: &str) -> bool {
        matches!(self, UnitError::Db(error) if error.is_unique(constraint))
    }
}

impl From<UnitError> for mallard_types::Error {
    fn from(error: UnitError) -> Self {
        match error {
            UnitError::Db(error) => error.into(),
            guard @ UnitError::Guard { .. } => {
                Self::internal("database", "something went wrong on our side").source(guard)
            }
        }
    }
}

/// Takes the text out of a panic.
pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "no text".to_owned(),
    }
}

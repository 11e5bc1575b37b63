//! What can go wrong with a store, and what to do about it.
//!
//! [`StoreError::is_retryable`] says whether the same request may succeed later, unchanged.
//!
//! ```
//! use labyard_store::StoreError;
//! assert!(StoreError::Locked { store: "/var/lib/labyard/labyard.db".into() }.is_retryable());
//! ```

/// An error of the store. Where nothing else is said, nothing was written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The location is no absolute path and no URL that is understood.
    #[error(
        "store \"{given}\": {why}. Give an absolute path (/var/lib/labyard/labyard.db) or a URL (postgres://user@host/database)"
    )]
    Location {
        /// As it was given, without a password.
        given: String,
        /// What is wrong with it.
        why: String,
    },
    /// The store cannot be opened or reached.
    #[error("the store {store} cannot be opened: {why}")]
    Unavailable {
        /// The store, without a password.
        store: String,
        /// What the database said.
        why: String,
    },
    /// Another program writes for longer than the time to wait.
    #[error(
        "the store {store} is locked by another program that has not finished writing; nothing was written, try again"
    )]
    Locked {
        /// The store.
        store: String,
    },
    /// No room on the disk.
    #[error("the disk of the store {store} is full: nothing was written. Make room and try again")]
    Full {
        /// The store.
        store: String,
    },
    /// The connection ended before the commit: nothing was written.
    #[error("the connection to the store {store} was lost before anything was written ({why}); try again")]
    Lost {
        /// The store.
        store: String,
        /// What the database said.
        why: String,
    },
    /// The connection ended during the commit: it may have been written or not.
    #[error(
        "the connection to the store {store} was lost while it committed ({why}): repeat the request with the same idempotency key to learn whether it was written"
    )]
    Unknown {
        /// The store.
        store: String,
        /// What the database said.
        why: String,
    },
    /// A newer program has changed the tables.
    #[error(
        "the store {store} has tables of version {found}, this program knows up to {known}: a newer labyard has upgraded it. Run that release or a later one, or restore the backup made before the upgrade"
    )]
    Newer {
        /// The store.
        store: String,
        /// The version of its tables.
        found: i64,
        /// The newest version this program knows.
        known: i64,
    },
    /// Something else's database.
    #[error(
        "{store} is a database of something else: it has tables, and none of them says that it is a labyard store. Give an empty database"
    )]
    Foreign {
        /// The store.
        store: String,
    },
    /// The store's secrets are sealed with another key.
    #[error(
        "the secrets of the store {store} are sealed with another key than the one given: give the key it was made with (LABYARD_STORE_KEY, or store_key_file)"
    )]
    OtherKey {
        /// The store.
        store: String,
    },
    /// A sealed value does not open: it was changed, or moved from another record.
    #[error(
        "a sealed value of {what} does not open: it was changed outside labyard or belongs to another record"
    )]
    Tampered {
        /// The record.
        what: String,
    },
    /// The key itself cannot be used.
    #[error("the sealing key cannot be used: {why}")]
    Key {
        /// What is wrong with it.
        why: String,
    },
    /// A unique constraint was violated: the object exists already.
    #[error("{what} exists already")]
    Exists {
        /// What the constraint is called.
        what: String,
    },
    /// A piece of work changed rows and logged no event: an error of ours, nothing was written.
    #[error("a change without an event in the log was refused (an error of labyard itself)")]
    Unlogged,
    /// A statement the database refused: an error of ours.
    #[error("the store {store} refused a statement (an error of labyard itself): {why}")]
    Refused {
        /// The store.
        store: String,
        /// What the database said.
        why: String,
    },
    /// A column holds what it must not.
    #[error("the store holds a value that this program does not understand: {what}")]
    Unreadable {
        /// Table, column, value.
        what: String,
    },
}

impl StoreError {
    /// Whether the same request may succeed later, unchanged.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Locked { .. }
                | Self::Full { .. }
                | Self::Lost { .. }
                | Self::Unknown { .. }
                | Self::Unavailable { .. }
        )
    }

    /// Whether the connection is of no use any more.
    pub(crate) fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::Lost { .. } | Self::Unknown { .. } | Self::Unavailable { .. }
        )
    }
}

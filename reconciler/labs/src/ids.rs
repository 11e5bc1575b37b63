//! Names and identities, each of a type of its own.
//!
//! ```
//! use labyard_labs::ids::PoolName;
//! assert_eq!(PoolName::from("k8s").as_str(), "k8s");
//! ```

use labyard_store::StoreError;
use std::fmt;

macro_rules! texts {
    ($($(#[doc = $doc:literal])+ $name:ident)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// Its text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

texts! {
    /// A namespace.
    Namespace
    /// A pool's name in its namespace.
    PoolName
    /// A code's name in its namespace.
    CodeName
    /// A claim.
    ClaimId
    /// A machine of a pool.
    MemberId
    /// Who redeems: a name of the caller's own.
    UserName
}

/// 128 random bits in hexadecimal: an identity, or the secret of a claim.
///
/// # Errors
/// If the system has no random bytes.
pub fn random_id() -> Result<String, StoreError> {
    let mut bytes = [0; 16];
    labyard_store::seal::random(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

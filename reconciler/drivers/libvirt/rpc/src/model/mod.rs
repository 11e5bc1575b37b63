//! The values that calls take and give: references to objects, states, infos, statistics.

mod domain;
mod host;
mod network;
mod params;
mod refs;
mod storage;

pub use domain::*;
pub use host::*;
pub use network::*;
pub use params::*;
pub use refs::*;
pub use storage::*;

/// Declares an enum whose numbers come from libvirt and may grow with later releases.
macro_rules! wire_enum {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $value:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant,)*
            /// A number that a later libvirt has added.
            Other(i32),
        }

        impl $name {
            /// The meaning of libvirt's number.
            pub fn from_raw(raw: i32) -> Self {
                match raw {
                    $($value => Self::$variant,)*
                    other => Self::Other(other),
                }
            }

            /// libvirt's number.
            pub fn raw(self) -> i32 {
                match self {
                    $(Self::$variant => $value,)*
                    Self::Other(raw) => raw,
                }
            }
        }

        impl $crate::xdr::Decode for $name {
            fn decode(input: &mut $crate::xdr::Decoder<'_>) -> Result<Self, $crate::xdr::DecodeError> {
                i32::decode(input).map(Self::from_raw)
            }
        }

        impl $crate::xdr::Encode for $name {
            fn encode(&self, out: &mut $crate::xdr::Encoder) -> Result<(), $crate::xdr::EncodeError> {
                self.raw().encode(out)
            }
        }
    };
}
pub(crate) use wire_enum;

/// Declares a struct that travels as its fields, in order.
macro_rules! wire_struct {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$doc:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl $crate::xdr::Decode for $name {
            const MIN_SIZE: usize = 0 $(+ <$type as $crate::xdr::Decode>::MIN_SIZE)*;

            fn decode(input: &mut $crate::xdr::Decoder<'_>) -> Result<Self, $crate::xdr::DecodeError> {
                Ok(Self { $($field: $crate::xdr::Decode::decode(input)?,)* })
            }
        }

        #[cfg(test)]
        impl $crate::xdr::Encode for $name {
            fn encode(&self, out: &mut $crate::xdr::Encoder) -> Result<(), $crate::xdr::EncodeError> {
                $($crate::xdr::Encode::encode(&self.$field, out)?;)*
                Ok(())
            }
        }
    };
}
pub(crate) use wire_struct;

//! Values to bytes.

use uuid::Uuid;

use super::{LIST_MAX, STRING_MAX, padding};

/// Why a value cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A string is longer than libvirt accepts.
    #[error("a text of {length} bytes is longer than libvirt accepts ({STRING_MAX})")]
    StringTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A string holds a zero byte, at which libvirt would cut it off.
    #[error("a text holds a zero byte at position {position}")]
    ZeroByte {
        /// Where the first one is.
        position: usize,
    },
    /// A list has more elements than libvirt accepts.
    #[error("a list of {length} elements is longer than libvirt accepts ({LIST_MAX})")]
    ListTooLong {
        /// Its length.
        length: usize,
    },
    /// The whole message is longer than libvirt accepts.
    #[error("a message of {length} bytes is longer than libvirt accepts ({max})")]
    MessageTooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit.
        max: usize,
    },
}

/// Collects the bytes of one message.
#[derive(Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// An empty message.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes so far.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How many bytes there are so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.raw(bytes);
        self.raw(&[0; 3][..padding(bytes.len())]);
    }
}

/// A value that can be sent.
pub trait Encode {
    /// Appends the value.
    fn encode(&self, out: &mut Encoder) -> Result<(), EncodeError>;
}

impl<T: Encode + ?Sized> Encode for &T {
    fn encode(&self, out: &mut Encoder) -> Result<(), EncodeError> {
        (**self).encode(out)
    }
}

macro_rules! encode_numbers {
    ($($number:ty),*) => {$(
        impl Encode for $number {
            fn encode(&self, out: &mut Encoder) -> Result<(), EncodeError> {
                out.raw(&self.to_be_bytes());
                Ok(())
            }
        }
    )*};
}
encode_numbers!(i32, u32, i64, u64, f64);

impl Encode for bool {
    fn encode(&self, out: &mut Encoder) -> Result<(), EncodeError> {
        i32::from(*self).encode(out)
    }
}

impl Encode for str {
    fn encode(&self, out: &mut Encoder) -> Result<(), EncodeError> {
        if self.len() > STRING_MAX {
            return Err(EncodeError::StringTooLong { length: self.len() });
        }
        if let Some(position) = self.bytes().position(|byte| byte == 0) {
            return Err(EncodeError::ZeroByte { position });
        }
        length(self.len()).encode(out)?;
        out.padded(self.as_bytes());
        Ok(())
    }
}

impl Encode for String {
    fn encode(&self, out: &mut Encoder) -> Result<(), EncodeError> {
        self.as_str().encode(out)
    }
}

impl Encode for Uuid {
    fn encode(&self, out: &mut Encoder) -> Result<(), EncodeError> {
        out.raw(self.as_bytes());
        Ok(())
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, out: &mut Encoder) -> Result<(), EncodeError> {
        self.is_some().encode(out)?;
        self.as_ref().map_or(Ok(()), |value| value.encode(out))
    }
}

impl<T: Encode> Encode for [T] {
    fn encode(&self, out: &mut Encoder) -> Result<(), EncodeError> {
        if self.len() > LIST_MAX {
            return Err(EncodeError::ListTooLong { length: self.len() });
        }
        length(self.len()).encode(out)?;
        self.iter().try_for_each(|element| element.encode(out))
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, out: &mut Encoder) -> Result<(), EncodeError> {
        self.as_slice().encode(out)
    }
}

macro_rules! encode_tuples {
    ($(($($name:ident $index:tt),*);)*) => {$(
        impl<$($name: Encode),*> Encode for ($($name,)*) {
            #[allow(unused_variables, reason = "the empty tuple writes nothing")]
            fn encode(&self, out: &mut Encoder) -> Result<(), EncodeError> {
                $(self.$index.encode(out)?;)*
                Ok(())
            }
        }
    )*};
}
encode_tuples! {
    ();
    (A 0);
    (A 0, B 1);
    (A 0, B 1, C 2);
    (A 0, B 1, C 2, D 3);
    (A 0, B 1, C 2, D 3, E 4);
    (A 0, B 1, C 2, D 3, E 4, F 5);
}

/// A length as the wire has it; the limits checked before keep it far below 2³².
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

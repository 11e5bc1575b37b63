//! Bytes to values.

use uuid::Uuid;

use super::{LIST_MAX, STRING_MAX, padding};

/// Why bytes are not the value that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The message ends too early.
    #[error("the message ends {missing} bytes too early")]
    Truncated {
        /// How many bytes more the value needs.
        missing: usize,
    },
    /// A string is longer than the protocol allows.
    #[error("a text of {length} bytes is longer than the protocol allows ({STRING_MAX})")]
    StringTooLong {
        /// The length it claims.
        length: usize,
    },
    /// A list has more elements than the protocol allows.
    #[error("a list of {length} elements is longer than the protocol allows ({LIST_MAX})")]
    ListTooLong {
        /// The length it claims.
        length: usize,
    },
    /// A field holds a number that means nothing there.
    #[error("{value} is not a valid {what}")]
    Invalid {
        /// What the number should be.
        what: &'static str,
        /// The number.
        value: i64,
    },
    /// The value ends before the message does.
    #[error("{extra} bytes are left over after the value")]
    Trailing {
        /// How many.
        extra: usize,
    },
}

/// Reads values from the front of one message.
#[derive(Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Decodes `bytes`, all of them, as one value.
    pub fn whole<T: Decode>(bytes: &'a [u8]) -> Result<T, DecodeError> {
        let mut decoder = Self::new(bytes);
        let value = T::decode(&mut decoder)?;
        match decoder.rest.len() {
            0 => Ok(value),
            extra => Err(DecodeError::Trailing { extra }),
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(DecodeError::Truncated {
                missing: count - self.rest.len(),
            });
        };
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(DecodeError::Truncated {
                missing: N - self.rest.len(),
            });
        };
        self.rest = rest;
        Ok(*taken)
    }

    fn length(&mut self) -> Result<usize, DecodeError> {
        u32::decode(self).map(|length| usize::try_from(length).unwrap_or(usize::MAX))
    }
}

/// A value that can be received.
pub trait Decode: Sized {
    /// The fewest bytes that a value takes; a list that claims more elements than fit is refused unread.
    const MIN_SIZE: usize = 4;

    /// Takes the value from the front.
    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError>;
}

macro_rules! decode_numbers {
    ($($number:ty),*) => {$(
        impl Decode for $number {
            const MIN_SIZE: usize = size_of::<$number>();

            fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                input.array().map(<$number>::from_be_bytes)
            }
        }
    )*};
}
decode_numbers!(i32, u32, i64, u64, f64);

/// `char` and `short` travel as whole words.
macro_rules! decode_small_numbers {
    ($($number:ty),*) => {$(
        impl Decode for $number {
            fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                let value = u32::decode(input)?;
                Self::try_from(value)
                    .map_err(|_| DecodeError::Invalid { what: stringify!($number), value: i64::from(value) })
            }
        }
    )*};
}
decode_small_numbers!(u8, u16);

/// libvirt uses plain integers for truth values; its own convention is that all but zero is true.
impl Decode for bool {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        i32::decode(input).map(|value| value != 0)
    }
}

/// Bytes that are not UTF-8 (a file name, a message in another encoding) become replacement characters: one
/// odd name must not make a whole list unreadable.
impl Decode for String {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let length = input.length()?;
        if length > STRING_MAX {
            return Err(DecodeError::StringTooLong { length });
        }
        let text = String::from_utf8_lossy(input.take(length)?).into_owned();
        input.take(padding(length))?;
        Ok(text)
    }
}

impl Decode for Uuid {
    const MIN_SIZE: usize = 16;

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.array().map(Uuid::from_bytes)
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        match u32::decode(input)? {
            0 => Ok(None),
            1 => T::decode(input).map(Some),
            value => Err(DecodeError::Invalid {
                what: "presence mark",
                value: i64::from(value),
            }),
        }
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let length = input.length()?;
        if length > LIST_MAX {
            return Err(DecodeError::ListTooLong { length });
        }
        let least = length.saturating_mul(T::MIN_SIZE.max(1));
        if least > input.rest.len() {
            return Err(DecodeError::Truncated {
                missing: least - input.rest.len(),
            });
        }
        (0..length).map(|_| T::decode(input)).collect()
    }
}

macro_rules! decode_tuples {
    ($(($($name:ident),*);)*) => {$(
        impl<$($name: Decode),*> Decode for ($($name,)*) {
            const MIN_SIZE: usize = 0 $(+ $name::MIN_SIZE)*;

            #[allow(unused_variables, reason = "the empty tuple reads nothing")]
            fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                Ok(($($name::decode(input)?,)*))
            }
        }
    )*};
}
decode_tuples! {
    ();
    (A);
    (A, B);
    (A, B, C);
    (A, B, C, D);
}

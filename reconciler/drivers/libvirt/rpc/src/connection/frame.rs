//! Frames: a length, a header of six words, a payload (`virnetprotocol.x`).

use bytes::Bytes;

use crate::procedure::Program;
use crate::xdr::{Encode, EncodeError, Encoder};

/// The bytes before the payload: the length word and the header.
pub(crate) const HEAD: usize = 28;

/// The longest frame without its length word (`VIR_NET_MESSAGE_MAX`), and with it.
const MESSAGE_MAX: usize = 32 * 1024 * 1024;
const FRAME_MAX: usize = MESSAGE_MAX + 4;

/// The longest payload.
pub(crate) const PAYLOAD_MAX: usize = FRAME_MAX - HEAD;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A procedure is called.
    Call = 0,
    /// The answer to a call.
    Reply = 1,
    /// Something sent unasked.
    Message = 2,
    /// A piece of a stream.
    Stream = 3,
}

/// How a frame is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// It went well; a stream is over.
    Ok = 0,
    /// An error follows; a stream is given up.
    Error = 1,
    /// A stream goes on.
    Continue = 2,
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) program: Program,
    pub(crate) procedure: i32,
    pub(crate) kind: Kind,
    pub(crate) serial: u32,
    pub(crate) status: Status,
}

/// A frame as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) header: Header,
    pub(crate) payload: Bytes,
}

/// Bytes that are no frame of this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A length that no frame can have.
    #[error("a frame of {length} bytes")]
    Length {
        /// The length it claims.
        length: u32,
    },
    /// A program or version that was not asked for.
    #[error("program {program:#x} version {version}")]
    Program {
        /// Its number.
        program: u32,
        /// Its version.
        version: u32,
    },
    /// A kind of frame that is not expected here.
    #[error("a frame of kind {kind}")]
    Kind {
        /// The kind.
        kind: u32,
    },
    /// A status that does not exist, or not for that kind.
    #[error("a frame of status {status}")]
    Status {
        /// The status.
        status: u32,
    },
    /// An answer that names another procedure than its call did.
    #[error("an answer to procedure {procedure} under the number of a call to {called}")]
    Procedure {
        /// What the answer names.
        procedure: i32,
        /// What was called.
        called: &'static str,
    },
}

impl Header {
    /// The bytes before a payload of that length.
    pub(crate) fn head(self, payload: usize) -> [u8; HEAD] {
        let length = u32::try_from(HEAD + payload).unwrap_or(u32::MAX);
        let words = [
            length.to_be_bytes(),
            self.program.number().to_be_bytes(),
            Program::VERSION.to_be_bytes(),
            self.procedure.to_be_bytes(),
            (self.kind as u32).to_be_bytes(),
            self.serial.to_be_bytes(),
            (self.status as u32).to_be_bytes(),
        ];
        let mut head = [0; HEAD];
        head.copy_from_slice(words.as_flattened());
        head
    }

    /// The header in the words that follow the length.
    pub(crate) fn parse(words: [u8; HEAD - 4]) -> Result<Self, FrameError> {
        let word = |index: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&words[index * 4..index * 4 + 4]);
            u32::from_be_bytes(bytes)
        };
        let (number, version) = (word(0), word(1));
        let program = Program::from_number(number)
            .filter(|_| version == Program::VERSION)
            .ok_or(FrameError::Program {
                program: number,
                version,
            })?;
        let kind = match word(3) {
            1 => Kind::Reply,
            2 => Kind::Message,
            3 => Kind::Stream,
            kind => return Err(FrameError::Kind { kind }),
        };
        let status = match (word(5), kind) {
            (0, _) => Status::Ok,
            (1, _) => Status::Error,
            (2, Kind::Stream) => Status::Continue,
            (status, _) => return Err(FrameError::Status { status }),
        };
        Ok(Self {
            program,
            procedure: i32::from_be_bytes(word(2).to_be_bytes()),
            kind,
            serial: word(4),
            status,
        })
    }
}

/// How many bytes follow a length word.
pub(crate) fn rest_after(length: u32) -> Result<usize, FrameError> {
    usize::try_from(length)
        .ok()
        .filter(|length| (HEAD..=FRAME_MAX).contains(length))
        .map(|length| length - 4)
        .ok_or(FrameError::Length { length })
}

/// The payload of a call.
pub(crate) fn payload<A: Encode>(args: &A) -> Result<Bytes, EncodeError> {
    let mut out = Encoder::new();
    args.encode(&mut out)?;
    if out.len() > PAYLOAD_MAX {
        return Err(EncodeError::MessageTooLong {
            length: out.len(),
            max: PAYLOAD_MAX,
        });
    }
    Ok(out.into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_seven_words_in_the_order_of_the_specification() {
        let header = Header {
            program: Program::Remote,
            procedure: 1,
            kind: Kind::Reply,
            serial: 7,
            status: Status::Error,
        };
        let head = header.head(8);
        let words = [36u32, 0x2000_8086, 1, 1, 1, 7, 1].map(u32::to_be_bytes);
        assert_eq!(head, words.as_flattened());
        let mut rest = [0; HEAD - 4];
        rest.copy_from_slice(&head[4..]);
        assert_eq!(Header::parse(rest), Ok(header));
    }

    #[test]
    fn lengths_outside_the_limits_are_refused() {
        assert_eq!(rest_after(28), Ok(24));
        assert_eq!(rest_after(32 * 1024 * 1024 + 4), Ok(32 * 1024 * 1024));
        for length in [0, 4, 27, 32 * 1024 * 1024 + 5, u32::MAX] {
            assert_eq!(rest_after(length), Err(FrameError::Length { length }));
        }
    }
}

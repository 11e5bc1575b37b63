//! Everything in an exchange that is refused. None of these holds a secret: what could is sealed.

use crate::config::ConfigError;
use crate::identity::{Session, VmId};

/// Why an item, or with it an exchange, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Illegal {
    /// Bytes that are no text.
    #[error("the value of {0} is no UTF-8")]
    NotText(String),
    /// One name, two values.
    #[error("{0} is there twice")]
    Twice(String),
    /// More than fits.
    #[error("the value of {key} has {length} characters; at most {most} are taken")]
    TooLong {
        /// Whose.
        key: String,
        /// How many there are.
        length: usize,
        /// How many are taken.
        most: usize,
    },
    /// Not the text that the other side writes.
    #[error("the value of {0} is not what the other side writes there")]
    Malformed(String),
    /// Another version of the protocol.
    #[error(
        "{key} is of version {found} of the exchange, and this side speaks version {}: use the same release of labyard on both sides",
        crate::VERSION
    )]
    Version {
        /// Whose.
        key: String,
        /// The version it says.
        found: u32,
    },
    /// The host has not told the guest yet which machine it is.
    #[error("there is a request, and the host has not said yet which machine this is")]
    MachineUnknown,
    /// A request for another machine, as in the copied disk of one.
    #[error("the request is for machine {asked}, and this is {is}: left over in a copied disk")]
    OtherMachine {
        /// Which it asks for.
        asked: VmId,
        /// Which this is.
        is: VmId,
    },
    /// An item of another exchange, as in the copied disk of a machine.
    #[error(
        "{key} belongs to another exchange, {session}: left over from an earlier one or in a copied disk"
    )]
    ForeignSession {
        /// Whose.
        key: String,
        /// The exchange that it belongs to.
        session: Session,
    },
    /// The right session and another nonce.
    #[error("{0} names this exchange and not its nonce")]
    ForeignNonce(String),
    /// An exchange that is over.
    #[error("the exchange {0} is over, and is not done again")]
    Replayed(Session),
    /// A guest that keeps beginning anew.
    #[error("the guest program began {0} times in one exchange and never finished")]
    TooManyAttempts(u32),
    /// Another public key under the same attempt.
    #[error("the guest's public key changed within attempt {0}")]
    KeyChanged(u32),
    /// An attempt before the one that was seen last.
    #[error("the guest went back from attempt {from} to {to}")]
    WentBack {
        /// The one seen before.
        from: u32,
        /// The one seen now.
        to: u32,
    },
    /// A public key that is none.
    #[error("the guest's public key is none")]
    PublicKey,
    /// Sealed to a key that is not the guest's of today.
    #[error("what came is sealed to another key")]
    WrongKey,
    /// The manifest is there before the pieces it lists.
    #[error("the manifest came before piece {missing} of {pieces}")]
    ManifestFirst {
        /// The first that is missing.
        missing: usize,
        /// How many it lists.
        pieces: usize,
    },
    /// A manifest that cannot be.
    #[error("the manifest lists {pieces} pieces for {length} bytes")]
    Manifest {
        /// How many pieces.
        pieces: usize,
        /// For how many bytes.
        length: usize,
    },
    /// A piece at another one's place.
    #[error("piece {says} stands at the place of piece {at}")]
    OutOfOrder {
        /// The place.
        at: usize,
        /// The piece that is there.
        says: usize,
    },
    /// A piece that was cut, or got longer.
    #[error("piece {piece} has {found} bytes instead of {expected}")]
    Truncated {
        /// Which.
        piece: usize,
        /// How many bytes it should have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// A piece that the manifest does not list.
    #[error("{0} is one piece more than the manifest lists")]
    Surplus(String),
    /// The pieces are not those of the manifest.
    #[error("the pieces together are not what the manifest says: their SHA-256 differs")]
    Digest,
    /// It does not open.
    #[error("what came does not open: it was altered, or made for another machine or exchange")]
    Open,
    /// It opened, and is no configuration.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// An acknowledgement of something that was not sent.
    #[error("the guest acknowledged something else than was sent")]
    ForeignAck,
    /// Success without having taken anything.
    #[error("the guest says it is done, and has acknowledged nothing")]
    DoneTooEarly,
}

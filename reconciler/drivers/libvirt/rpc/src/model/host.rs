//! The host: its hardware and its versions.

use std::fmt;

use crate::xdr::{Decode, DecodeError, Decoder};

/// The host's hardware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// The CPU model or architecture, such as `x86_64`.
    pub model: String,
    /// The memory, in KiB.
    pub memory_kib: u64,
    /// The CPUs that are online.
    pub cpus: i32,
    /// The clock of the CPUs.
    pub mhz: i32,
    /// NUMA nodes.
    pub nodes: i32,
    /// Sockets in a node.
    pub sockets: i32,
    /// Cores in a socket.
    pub cores: i32,
    /// Threads in a core.
    pub threads: i32,
}

/// The length of the model's name, each character of which travels as a word of its own.
const MODEL_LENGTH: usize = 32;

impl Decode for NodeInfo {
    const MIN_SIZE: usize = MODEL_LENGTH * 4 + 32;

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let words = (0..MODEL_LENGTH)
            .map(|_| u32::decode(input))
            .collect::<Result<Vec<_>, _>>()?;
        let bytes: Vec<u8> = words
            .into_iter()
            .map(|word| word.to_be_bytes()[3])
            .take_while(|byte| *byte != 0)
            .collect();
        Ok(Self {
            model: String::from_utf8_lossy(&bytes).into_owned(),
            memory_kib: Decode::decode(input)?,
            cpus: Decode::decode(input)?,
            mhz: Decode::decode(input)?,
            nodes: Decode::decode(input)?,
            sockets: Decode::decode(input)?,
            cores: Decode::decode(input)?,
            threads: Decode::decode(input)?,
        })
    }
}

/// A version as libvirt counts it: a million for the major, a thousand for the minor number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// The version with these numbers.
    pub const fn new(major: u64, minor: u64, release: u64) -> Self {
        Self(major * 1_000_000 + minor * 1_000 + release)
    }

    /// The major number.
    pub const fn major(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The minor number.
    pub const fn minor(self) -> u64 {
        self.0 / 1_000 % 1_000
    }

    /// The release number.
    pub const fn release(self) -> u64 {
        self.0 % 1_000
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major(), self.minor(), self.release())
    }
}

impl Decode for Version {
    const MIN_SIZE: usize = 8;

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        u64::decode(input).map(Self)
    }
}

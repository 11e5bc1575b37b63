//! Pools and volumes.

use super::wire_enum;
use crate::xdr::{Decode, DecodeError, Decoder};

wire_enum! {
    /// What a pool is doing.
    pub enum PoolState {
        /// It is not started.
        Inactive = 0,
        /// It is being built.
        Building = 1,
        /// It runs.
        Running = 2,
        /// It runs with losses.
        Degraded = 3,
        /// It is started and cannot be reached.
        Inaccessible = 4,
    }
}

/// The figures of a pool, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolInfo {
    /// What it is doing.
    pub state: PoolState,
    /// Its size.
    pub capacity: u64,
    /// What is taken.
    pub allocation: u64,
    /// What is free.
    pub available: u64,
}

impl Decode for PoolInfo {
    const MIN_SIZE: usize = 28;

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            state: PoolState::from_raw(i32::from(u8::decode(input)?)),
            capacity: Decode::decode(input)?,
            allocation: Decode::decode(input)?,
            available: Decode::decode(input)?,
        })
    }
}

wire_enum! {
    /// What a volume is.
    pub enum VolType {
        /// A file.
        File = 0,
        /// A block device.
        Block = 1,
        /// A directory.
        Dir = 2,
        /// Storage reached over the network.
        Network = 3,
        /// A directory reached over the network.
        NetDir = 4,
        /// A Ploop image.
        Ploop = 5,
    }
}

/// The figures of a volume, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolInfo {
    /// What it is.
    pub kind: VolType,
    /// Its size as a guest sees it.
    pub capacity: u64,
    /// What it takes in the pool.
    pub allocation: u64,
}

impl Decode for VolInfo {
    const MIN_SIZE: usize = 20;

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            kind: VolType::from_raw(i32::decode(input)?),
            capacity: Decode::decode(input)?,
            allocation: Decode::decode(input)?,
        })
    }
}

//! Files that are nearly right.

use std::collections::BTreeMap;
use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use vhdx::ReadAt;

/// The longest read that any file may cause: a cluster of 2 MiB, compressed to twice its length.
const LONGEST: usize = 4 << 20;

/// xorshift64*: small, fast, repeatable.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded() -> Self {
        let given = std::env::var("VHDX_FUZZ_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap();
            u64::from(now.subsec_nanos()) ^ now.as_secs().rotate_left(32) | 1
        });
        println!("VHDX_FUZZ_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound.max(1)
    }

    /// A number that programs stumble over.
    fn awkward(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << self.below(64),
            3 => (1_u64 << self.below(64)).wrapping_sub(1),
            4 => self.below(1 << 12) << 20,
            5 => self.below(1 << 12) << 16,
            6 => self.below(300),
            _ => self.next(),
        }
    }
}

/// A good file and what was changed of it.
#[derive(Clone)]
pub(crate) struct Mutated {
    base: Bytes,
    bytes: BTreeMap<u64, u8>,
    length: u64,
}

impl Mutated {
    pub(crate) fn new(base: Bytes) -> Self {
        Self {
            length: base.len() as u64,
            bytes: BTreeMap::new(),
            base,
        }
    }

    /// Changes a few bytes in one of the places, each given by offset and length, and sometimes the length.
    pub(crate) fn change(&mut self, random: &mut Random, places: &[(u64, u64)]) {
        for _ in 0..=random.below(4) {
            let (offset, length) = places[random.below(places.len() as u64) as usize];
            // Fields are aligned, mostly.
            let within = random.below(length) & !(random.below(2) * 7) & !random.below(2);
            let value = random.awkward();
            let big = random.below(2) == 0;
            let width = [1, 2, 4, 8][random.below(4) as usize];
            for index in 0..width {
                let shift = 8 * if big { width - 1 - index } else { index };
                self.bytes.insert(offset + within + index, (value >> shift) as u8);
            }
        }
        self.length = match random.below(20) {
            0 => random.below(self.base.len() as u64),
            1 => 1 << (20 + random.below(30)),
            _ => self.base.len() as u64,
        };
    }

    /// Makes a structure's checksum right again.
    pub(crate) fn seal(&mut self, offset: u64, length: usize) {
        let mut structure = self.get(offset, length);
        structure[4..8].fill(0);
        let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&structure);
        for (at, byte) in (offset + 4..).zip(sum.to_le_bytes()) {
            self.bytes.insert(at, byte);
        }
    }

    /// What is there, with zeros behind the good file's end.
    fn get(&self, offset: u64, length: usize) -> Vec<u8> {
        let from = usize::try_from(offset).unwrap().min(self.base.len());
        let mut bytes = self.base[from..(from + length).min(self.base.len())].to_vec();
        bytes.resize(length, 0);
        for (at, byte) in self.bytes.range(offset..offset + length as u64) {
            bytes[(at - offset) as usize] = *byte;
        }
        bytes
    }
}

#[async_trait]
impl ReadAt for Mutated {
    async fn length(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        assert!(length <= LONGEST, "{length} bytes were read at once");
        let left = self.length.saturating_sub(offset).min(length as u64);
        Ok(self.get(offset.min(self.length), left as usize).into())
    }
}

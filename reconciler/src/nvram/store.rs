//! EDK2's store of authenticated variables in a firmware volume.
//!
//! A volume begins with a header that tells its own length at byte 48; the store follows, with a header of 28 bytes;
//! then the variables, each with a header of 60 bytes, its name in UTF-16 and its data, padded to four bytes. What
//! follows the store (work space of fault tolerant writes) is left as found.

/// `EFI_SYSTEM_NV_DATA_FV_GUID`: a volume of variables.
const VOLUME: Guid = Guid::new(
    0xfff1_2b8d,
    0x7696,
    0x4c8b,
    [0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50],
);
/// `EFI_AUTHENTICATED_VARIABLE_GUID`: the format of the store.
const STORE: Guid = Guid::new(
    0xaaf3_2c78,
    0x947b,
    0x439a,
    [0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92],
);
const STORE_HEADER: usize = 28;
const FORMATTED: u8 = 0x5a;
const HEALTHY: u8 = 0xfe;
const VARIABLE_HEADER: usize = 60;
const START: u16 = 0x55aa;
/// A variable that was written to the end.
const ADDED: u8 = 0x3f;
/// One that is being replaced, and counts until the new one is whole.
const IN_DELETION: u8 = 0x3e;
const ERASED: u8 = 0xff;

/// A GUID with its first three parts in the order of the machine, as UEFI writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guid([u8; 16]);

impl Guid {
    /// Of its parts as they are printed.
    pub const fn new(first: u32, second: u16, third: u16, rest: [u8; 8]) -> Self {
        let (a, b, c) = (first.to_le_bytes(), second.to_le_bytes(), third.to_le_bytes());
        Self([
            a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], rest[0], rest[1], rest[2], rest[3], rest[4],
            rest[5], rest[6], rest[7],
        ])
    }

    /// As it lies in a file.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Whose it is.
    pub vendor: Guid,
    /// Its name.
    pub name: String,
    /// Whether it stays, and who may see it.
    pub attributes: u32,
    /// Its value.
    pub data: Vec<u8>,
    /// What authenticated writes keep: a counter, a time, a key's number.
    pub header_rest: [u8; 28],
}

impl Variable {
    /// Of a variable that is not authenticated.
    pub const NO_TIME: [u8; 28] = [0; 28];
}

/// A file of variables that is not what it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another format.
    #[error("it is no file of UEFI variables as OVMF keeps them ({0})")]
    Format(&'static str),
    /// It ends before its time.
    #[error("it is cut off or damaged at byte {0}")]
    Damaged(usize),
    /// Too much is to go into it.
    #[error("{needed} bytes are needed and it has room for {room}: give fewer or smaller certificates")]
    Full {
        /// Of all variables together.
        needed: usize,
        /// Of the store.
        room: usize,
    },
}

/// A file of variables.
#[derive(Clone, Debug)]
pub struct Variables {
    file: Vec<u8>,
    first: usize,
    end: usize,
    variables: Vec<Variable>,
}

impl Variables {
    /// Reads a file.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(file: &[u8]) -> Result<Self, StoreError> {
        let volume = bytes(file, 16, 16)?;
        if volume != VOLUME.to_bytes() || bytes(file, 40, 4)? != b"_FVH" {
            return Err(StoreError::Format("no volume of variables"));
        }
        let store = usize::from(u16::from_le_bytes(array(file, 48)?));
        if bytes(file, store, 16)? != STORE.to_bytes() {
            return Err(StoreError::Format("no store of authenticated variables"));
        }
        let size = u32::from_le_bytes(array(file, store + 16)?) as usize;
        if bytes(file, store + 20, 2)? != [FORMATTED, HEALTHY] {
            return Err(StoreError::Format("the store is not healthy"));
        }
        let (first, end) = (store + STORE_HEADER, store + size);
        if end > file.len() || end < first {
            return Err(StoreError::Damaged(store + 16));
        }
        let variables = read(&file[..end], first)?;
        Ok(Self {
            file: file.to_vec(),
            first,
            end,
            variables,
        })
    }

    /// The variables that count.
    pub fn live(&self) -> impl Iterator<Item = &Variable> {
        self.variables.iter()
    }

    /// Sets a variable, in the place of the one of its name.
    pub fn set(&mut self, variable: Variable) {
        self.remove(&variable.vendor, &variable.name);
        self.variables.push(variable);
    }

    /// Removes a variable.
    pub fn remove(&mut self, vendor: &Guid, name: &str) {
        self.variables.retain(|v| &v.vendor != vendor || v.name != name);
    }

    /// The file: the same length, the variables one behind the other, the rest of the store erased.
    ///
    /// # Errors
    /// Where they have no room.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StoreError> {
        let mut written = Vec::new();
        for variable in &self.variables {
            write(&mut written, variable);
        }
        let room = self.end - self.first;
        if written.len() > room {
            let needed = written.len();
            return Err(StoreError::Full { needed, room });
        }
        let mut file = self.file.clone();
        written.resize(room, ERASED);
        file[self.first..self.end].copy_from_slice(&written);
        Ok(file)
    }
}

fn read(store: &[u8], mut at: usize) -> Result<Vec<Variable>, StoreError> {
    let mut variables: Vec<(u8, Variable)> = Vec::new();
    while store.len() >= at + VARIABLE_HEADER && store[at..at + 2] == START.to_le_bytes() {
        let state = store[at + 2];
        let size = |offset| Ok::<_, StoreError>(u32::from_le_bytes(array(store, at + offset)?) as usize);
        let (name_size, data_size) = (size(36)?, size(40)?);
        let name_at = at + VARIABLE_HEADER;
        let name = bytes(store, name_at, name_size)?;
        let data = bytes(store, name_at + name_size, data_size)?;
        let units = name
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
        let variable = Variable {
            vendor: Guid(array(store, at + 44)?),
            name: String::from_utf16_lossy(&units),
            attributes: u32::from_le_bytes(array(store, at + 4)?),
            data: data.to_vec(),
            header_rest: array(store, at + 8)?,
        };
        if state == ADDED || state == IN_DELETION {
            variables.push((state, variable));
        }
        at = (name_at + name_size + data_size).next_multiple_of(4);
    }
    let whole = |v: &Variable| {
        let same = |(state, other): &(u8, Variable)| {
            *state == ADDED && other.vendor == v.vendor && other.name == v.name
        };
        variables.iter().any(same)
    };
    let counts = |(state, v): &&(u8, Variable)| *state == ADDED || !whole(v);
    let kept = variables.iter().filter(counts).map(|(_, v)| v.clone());
    Ok(kept.collect())
}

fn write(store: &mut Vec<u8>, variable: &Variable) {
    let name: Vec<u8> = variable
        .name
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    store.extend(START.to_le_bytes());
    store.extend([ADDED, 0]);
    store.extend(variable.attributes.to_le_bytes());
    store.extend(variable.header_rest);
    store.extend(size(name.len()));
    store.extend(size(variable.data.len()));
    store.extend(variable.vendor.to_bytes());
    store.extend(name);
    store.extend(&variable.data);
    store.resize(store.len().next_multiple_of(4), ERASED);
}

fn bytes(file: &[u8], at: usize, length: usize) -> Result<&[u8], StoreError> {
    let end = at.checked_add(length).ok_or(StoreError::Damaged(at))?;
    file.get(at..end).ok_or(StoreError::Damaged(at))
}

fn array<const N: usize>(file: &[u8], at: usize) -> Result<[u8; N], StoreError> {
    let found = bytes(file, at, N)?;
    found.try_into().map_err(|_| StoreError::Damaged(at))
}

//! References: what a call needs to name a domain, a network, a pool or a volume.

use uuid::Uuid;

use crate::xdr::{Decode, DecodeError, Decoder, Encode, EncodeError, Encoder};

/// Declares a reference that travels as its fields, in order.
macro_rules! reference {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$doc:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl Encode for $name {
            fn encode(&self, out: &mut Encoder) -> Result<(), EncodeError> {
                $(self.$field.encode(out)?;)*
                Ok(())
            }
        }

        impl Decode for $name {
            const MIN_SIZE: usize = 0 $(+ <$type as Decode>::MIN_SIZE)*;

            fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                Ok(Self { $($field: Decode::decode(input)?,)* })
            }
        }
    };
}

/// The number of a running domain; a stopped one has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DomainId(pub Option<u32>);

impl Encode for DomainId {
    fn encode(&self, out: &mut Encoder) -> Result<(), EncodeError> {
        self.0.unwrap_or(u32::MAX).encode(out)
    }
}

impl Decode for DomainId {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        i32::decode(input).map(|id| Self(u32::try_from(id).ok()))
    }
}

reference! {
    /// A domain. libvirt finds it by its UUID.
    pub struct DomainRef {
        /// Its name when the reference was made.
        pub name: String,
        /// Its UUID.
        pub uuid: Uuid,
        /// Its number, if it ran when the reference was made.
        pub id: DomainId,
    }
}

reference! {
    /// A network. libvirt finds it by its UUID.
    pub struct NetworkRef {
        /// Its name.
        pub name: String,
        /// Its UUID.
        pub uuid: Uuid,
    }
}

reference! {
    /// A filter of network traffic. libvirt finds it by its UUID.
    pub struct NwFilterRef {
        /// Its name.
        pub name: String,
        /// Its UUID.
        pub uuid: Uuid,
    }
}

reference! {
    /// A port of a network: what a NIC is plugged into.
    pub struct NetworkPortRef {
        /// The network.
        pub network: NetworkRef,
        /// Its UUID.
        pub uuid: Uuid,
    }
}

reference! {
    /// A storage pool. libvirt finds it by its UUID.
    pub struct PoolRef {
        /// Its name.
        pub name: String,
        /// Its UUID.
        pub uuid: Uuid,
    }
}

reference! {
    /// A volume. libvirt finds it by its pool and name.
    pub struct VolRef {
        /// The name of its pool.
        pub pool: String,
        /// Its name in the pool.
        pub name: String,
        /// Its key; in pools of directories this is its path.
        pub key: String,
    }
}

impl DomainRef {
    /// A reference made of a name and a UUID that are already known, without a look-up.
    pub fn new(name: impl Into<String>, uuid: Uuid) -> Self {
        Self {
            name: name.into(),
            uuid,
            id: DomainId(None),
        }
    }

    /// Whether the domain ran when the reference was made.
    pub fn was_active(&self) -> bool {
        self.id.0.is_some()
    }
}

impl NetworkRef {
    /// A reference made of a name and a UUID that are already known, without a look-up.
    pub fn new(name: impl Into<String>, uuid: Uuid) -> Self {
        Self {
            name: name.into(),
            uuid,
        }
    }
}

impl PoolRef {
    /// A reference made of a name and a UUID that are already known, without a look-up.
    pub fn new(name: impl Into<String>, uuid: Uuid) -> Self {
        Self {
            name: name.into(),
            uuid,
        }
    }
}

impl VolRef {
    /// A reference made of a pool's and a volume's name, without a look-up; libvirt does not ask for the key.
    pub fn new(pool: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            pool: pool.into(),
            name: name.into(),
            key: String::new(),
        }
    }
}

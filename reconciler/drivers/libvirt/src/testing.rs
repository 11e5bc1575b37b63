//! Values that tests share.

use labyard_driver::ids::{Namespace, ObjectName, Token};
use labyard_driver::mark::{Kind, Mark, Ownership, Stage, VERSION};

/// A mark of a machine that is being made.
pub(crate) fn mark(name: &str) -> Mark {
    let token = Token("00112233445566778899aabbccddeeff".to_owned());
    Mark {
        version: VERSION,
        namespace: Namespace("default".to_owned()),
        kind: Kind::Machine,
        name: ObjectName(name.to_owned()),
        token: token.clone(),
        origin: token,
        ownership: Ownership::Building,
        stage: Stage::Record,
        lease: None,
        disks: Default::default(),
        media: Default::default(),
        ejecting: Default::default(),
        nics: Default::default(),
        seed: None,
        nvram: None,
        tpm: Default::default(),
        discard: Default::default(),
        released: Default::default(),
        leaving: Default::default(),
        give_back: Default::default(),
        hooks: Default::default(),
        wishes: serde_json::Value::Null,
    }
}

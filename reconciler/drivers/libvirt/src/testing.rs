//! Values that tests share.

use labyard_driver::ids::{Namespace, ObjectName, Token};
use labyard_driver::mark::{Kind, Mark};

/// A mark of a machine that is being made.
pub(crate) fn mark(name: &str) -> Mark {
    let token = Token("00112233445566778899aabbccddeeff".to_owned());
    Mark::building(
        Kind::Machine,
        Namespace("default".to_owned()),
        ObjectName(name.to_owned()),
        token,
    )
}

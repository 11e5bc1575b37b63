//! The calls, typed, grouped by noun; each is a method of [`Connection`](crate::Connection).
//!
//! A call whose arguments travel as they are written is one line of a table; the few that differ are written
//! out below their table.

mod connect;
mod domain;
mod network;
mod nwfilter;
mod storage;

/// Declares methods that send their arguments in order and give the whole answer.
macro_rules! calls {
    ($($(#[$doc:meta])* $procedure:ident $name:ident($($arg:ident: $type:ty),*) $(-> $ret:ty)?;)*) => {
        impl $crate::Connection {
            $(
                $(#[$doc])*
                pub async fn $name(&self, $($arg: $type),*) -> $crate::error::Result<calls!(@ret $($ret)?)> {
                    self.call(&$crate::procedure::$procedure, &($($arg,)*)).await
                }
            )*
        }
    };
    (@ret) => { () };
    (@ret $ret:ty) => { $ret };
}
use calls;
pub use connect::CapabilitiesOf;
pub(crate) use connect::Feature;

/// What a listing call takes to give the objects, not only their number.
const NEED_RESULTS: i32 = 1;

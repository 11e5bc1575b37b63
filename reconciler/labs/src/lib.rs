//! Codes, claims and the machines of pools: who may have which machine, for how long.
//!
//! - [`code`]: what a code looks like, and what it grants ([`code::Terms`]).
//! - [`claim`]: a code is redeemed for machines, all that are wanted or none; the claim's lease ([`claim::lease`]) runs,
//!   stops and ends; who finds none free waits in a fair queue.
//! - [`member`]: a machine of a pool, from building to free, claimed, recycling and gone.
//! - [`pool`]: what a pool is asked to be, and the work that follows from it, leased to one worker at a time; [`plan`]
//!   decides what that is, pure.
//! - [`console`]: machines that somebody types into.
//! - [`maker`]: who makes a pool or a code, until its caller has written it down.
//! - [`quota`]: what a namespace may have.
//! - [`host`]: what is wanted of a host, and whether it answers.
//! - [`schedule`]: when a pool is open, pure.
//! - [`show`]: what is shown of all that: lists, counts, places in the queue.
//! - [`retention`]: what is over is forgotten after a while.
//! - [`rotate`]: another key for all that is sealed.
//! - [`refusal`]: every answer that is not what was asked for, with its type and whether trying again makes sense.
//!
//! Each change is one transaction of the store ([`labyard_store::Store::write`]), so that what was read is still true
//! when it is decided; clocks are arguments. Nothing here knows a hypervisor.
//!
//! ```
//! use labyard_labs::code::CodeText;
//! let text = CodeText::from_random([0x5a; 10]);
//! assert_eq!(CodeText::parse(&text.to_string().to_lowercase().replace('-', " ")).unwrap(), text);
//! ```

pub mod claim;
pub mod code;
pub mod console;
pub mod host;
pub mod ids;
pub mod maker;
pub mod member;
pub mod plan;
pub mod pool;
pub mod quota;
pub mod refusal;
pub mod retention;
pub mod rotate;
pub mod schedule;
pub mod show;

pub use refusal::Refusal;

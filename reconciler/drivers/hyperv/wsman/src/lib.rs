//! WS-Management as Windows speaks it, for programs that work with CIM objects of a host: enumerate, get, put, create,
//! delete, invoke. It knows nothing of machines.
//!
//! | file | what |
//! |---|---|
//! | `client` | what can be asked, over any [`Carrier`] |
//! | `message` | requests and answers as text |
//! | `object`, `typed`, `class` | objects as they come; CIM's types as Rust's; structs for classes: [`cim_class!`] |
//! | `cim_xml` | instances that are embedded in strings |
//! | `reference`, `wql` | references and paths; queries |
//! | `time` | moments and intervals |
//! | `http/` | requests over HTTP(S): endpoints, logins, TLS, connections |
//! | `fault`, `error`, `trouble` | what goes wrong: on the host, between asking and having, on the way there |
//! | `setup` | faults that somebody on the host can mend, with how |
//! | `check` | the way to a service gone step by step |
//! | `xml`, `names` | the XML of all this |

pub mod check;
mod cim_xml;
pub mod class;
mod client;
mod error;
mod fault;
pub mod http;
mod message;
mod names;
mod object;
mod reference;
mod setup;
mod time;
mod trouble;
mod typed;
pub mod wql;
mod xml;

pub use cim_xml::{NoInstance, read as read_instance};
pub use class::{CimClass, ClassTable, Misread, Property, Unfit};
pub use client::{Answer, Carrier, Client, Identity, Invoke};
pub use error::Error;
pub use fault::{Fault, FaultKind};
pub use message::Settings;
pub use names::{Namespace, ResourceUri};
pub use object::{Object, Raw};
pub use reference::Reference;
pub use setup::{Asked, Remedy, Setup};
pub use time::{Interval, Moment, NoTime};
pub use trouble::{KerberosTrouble, ProxyTrouble, TlsTrouble, Trouble};
pub use typed::{Arity, CimType, NoValue, Typed, Value};
pub use xml::{Unwritable, XmlError};

//! The daemon as a process, asked over HTTP by curl and by the command line, on both stores.

mod claims;
mod console;
mod console_at_a_terminal;
mod crowd;
mod daemon;
mod described;
mod ending;
mod events;
mod images;
mod keeping;
mod kills;
mod machines;
mod makers;
mod namespaces;
mod places;
mod provider;
mod roles;
mod room;
mod running;
mod sign_in;
mod theirs;
mod versions;
mod working;

//! The host on its wire: by hand, by our client, and by programs that others wrote.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod between;
mod others;
mod ours;
mod program;
mod raw;
mod shelf;
mod trouble;
mod wire;

//! The client against services that are scripted here: pages, faults, lost answers, TLS and logins.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod asking;
mod carrying;
mod crowd;
mod diagnosing;
mod kdc;
mod proxy;

mod sealing;
mod service;
mod ssh;
#[path = "../../../../ssh/tests/suite/sshd.rs"]
mod sshd;
mod tickets;

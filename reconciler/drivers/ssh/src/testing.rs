//! What tests ask with.

use crate::words::{There, Words};

pub(crate) const WORDS: Words = Words {
    host: "its name",
    user: "write NAME@HOST",
    key_file: "the key",
    known_hosts: "the file of keys",
    there: There::Unix,
};

//! The `labyard` program.

fn main() {}

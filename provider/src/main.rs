//! The Terraform provider `labyard/labyard`.

fn main() {}

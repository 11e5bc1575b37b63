//! `labyard_access_code`: what Terraform calls ([`resource`]), what is planned ([`plan`]).

mod plan;
mod resource;

pub use resource::Codes;

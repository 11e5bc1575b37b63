//! `labyard_vm_pool`: what Terraform calls ([`resource`]), what is planned ([`plan`], [`room`]), what is stored ([`state`]).

mod plan;
mod resource;
mod room;
mod state;

pub use resource::Pools;

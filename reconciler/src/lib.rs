//! Desired against observed: diff, stages, executor.

pub mod image;
pub mod seed;

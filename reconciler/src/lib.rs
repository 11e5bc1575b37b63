//! Desired against observed: diff, stages, executor.

//! What every driver must do, as one table of cases that the tests of each driver run.

pub mod sample;

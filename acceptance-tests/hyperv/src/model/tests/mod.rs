//! Each behaviour of the host by a test of its name: the third column of `BEHAVIOUR.md`, where one more test sees to it that
//! the table and these agree.

mod adapters;
mod around;
mod devices;
mod disks;
mod guests;
mod machines;
mod networks;
mod power;
mod rights;
mod schema;
mod snapshots;
mod strange;
mod table;

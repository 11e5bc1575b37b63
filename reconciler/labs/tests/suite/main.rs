//! Codes and claims on both stores. The numbers are those of the invariants of labs.

mod claims;
mod code_configs;
mod codes;
mod consoles;
mod lab;
mod makers;
mod networks;
mod pool_hosts;
mod pools;
mod quotas;
mod random;
mod retention;
mod rotate;
mod serving;
mod shown;

//! A Hyper-V host for tests, as a program: `hyperv-double --help`.
//!
//! It says where it listens in a line of JSON, then takes commands, one a line as JSON, and answers each with a line:
//! `{"fault": {"on": {"verb": "Invoke", "method": "DefineSystem"}, "nth": {"only": 1}, "does": "drop-after"}}`, `"clear-faults"`,
//! `"restart"`, `"log"`, `"forget-log"`, `"complaints"`. It ends with its input.
fn main() {}

//! A stateful model of a hypervisor, with latency and faults.

//! The driver trait, marks and observed state shared by every hypervisor.

//! `labyard_vm_pool`: machines that are kept free and ready, handed out by code, and taken back clean.

mod rules;
mod secrets;
mod template;

use std::collections::BTreeMap;

use crate::attribute::attributes;
use crate::check;
use crate::text::Span;

pub use secrets::Secrets;
pub use template::{LEFT_OUT, Template};

/// When machines are made.
pub const STRATEGIES: &[&str] = &["warm", "on_demand"];
/// How a used machine is brought back.
pub const RECYCLES: &[&str] = &["reset", "recreate"];
/// What live claims mean for destroy.
pub const ON_DESTROY: &[&str] = &["refuse", "drain", "force"];
/// From where machines are reached.
pub const ACCESS: &[&str] = &["open", "claimer"];
/// What becomes of the guests of a paused claim.
pub const ON_PAUSE: &[&str] = &["suspend", "leave"];
/// What becomes of claims when a window closes.
pub const AT_END: &[&str] = &["soft", "cut_off"];

attributes! {
    /// A pool of like machines, kept free and ready, handed out by access codes and taken back clean.
    pub struct VmPool {
        /// Name of the pool, unique in its namespace. Its machines are called by it and a number.
        name: String = required().replace().check(check::object_name);
        /// Hosts that its machines may run on, keys of the provider's `hosts`. Left out: all of them.
        hosts: Option<Vec<String>> = optional();
        /// Free machines that are kept ready.
        ready: u32 = required().range(0, 10_000);
        /// All machines of the pool together, at most: free, claimed, being built or brought back.
        max: u32 = required().range(1, 10_000);
        /// Machines that are built or brought back at the same time, at most.
        max_in_flight: u32 = default(2).range(1, 1_000);
        /// When machines are made: before anybody asks (`warm`), or when somebody waits (`on_demand`).
        strategy: String = default("warm").choice(STRATEGIES);
        /// How a used machine is brought back: to memory and disk as they were when it was first ready (`reset`, which needs the agent in its guest to answer then: see `template.ready`), or by another in its place (`recreate`).
        recycle: String = default("reset").choice(RECYCLES);
        /// Whether its machines are kept apart: none reaches another on any network; all reach the host and what lies beyond. Set it to `false` where machines of one claim work together.
        isolated: bool = default(true);
        /// From where its machines are reached: from wherever their network is (`open`), or from the address alone that their code was redeemed from (`claimer`), opened when it is redeemed and closed when they are given back. What they ask for themselves still comes back to them. Needs a daemon, and on libvirt a host with filters of network traffic.
        access: String = default("open").choice(ACCESS);
        /// Whether all machines that one claim has of it are on one host. New ones are then put where most of the pool are, as far as there is room.
        together: bool = default(false);
        /// A network that the machines of one claim have to themselves, on which they reach one another whatever `isolated` says, and nobody else does. All machines that a claim has of the pool are on one host then, as with `together`. Left out: claims have no network of their own.
        claim_network: Option<ClaimNetwork> = optional();
        /// What becomes of guests while their claim is paused: they stand still (`suspend`) or run on (`leave`).
        on_pause: String = default("suspend").choice(ON_PAUSE);
        /// Machines that could not be made or brought back and are kept for a look, at most: the newest ones, as they were left. They count within `max`; where it is reached they make room.
        keep_failed: u32 = default(0).range(0, 100);
        /// What live claims mean for destroy: it is refused (`refuse`), waits for them (`drain`), or ends them (`force`).
        on_destroy: String = default("refuse").choice(ON_DESTROY);
        /// What its machines are made of. A change rolls through the free machines of the pool; a claimed one is replaced when it comes back.
        template: Template = required();
        /// What the leases of its claims may be.
        lease: Option<LeaseLimits> = optional();
        /// When the pool is open, by a key of your own. Left out: always.
        schedule: Option<BTreeMap<String, Window>> = optional();
        /// How long its operations may take.
        timeouts: Option<PoolTimeouts> = optional();
        /// Id of the pool in its store.
        id: Option<String> = computed();
    }

    /// A network that each claim has to itself. It is made when a code is redeemed, and gone when its machines are given back.
    pub struct ClaimNetwork {
        /// The card of the template's machines that is on it, a key of `template.nics`; there has to be another. While nobody has a machine this card is on the network that the template says, which is best an isolated one. Its guest asks for an address anew when its cable comes back.
        nic: String = required();
        /// Private network that the addresses are of, between /16 and /28: each claim gets a part of its own, of 16 addresses, or as many more as its machines need. The host has the first of a part, machines get theirs by DHCP.
        cidr: String = required().check(check::claim_cidr);
    }

    /// What leases may be.
    pub struct LeaseLimits {
        /// How long a lease is, where the code does not say; default 2h.
        default: Option<Span> = optional().check(check::duration);
        /// How long it may become by extension; default 8h.
        max: Option<Span> = optional().check(check::duration);
        /// How long nobody may be seen before it ends. Left out: as long as it lasts.
        idle: Option<Span> = optional().check(check::duration);
        /// How long one pause may last; default `0s`, no pauses.
        pause: Option<Span> = optional().check(check::duration);
    }

    /// A window in which the pool is open: on days of the week (`days`, `from`, `to`), or one event (`start`, `end`).
    pub struct Window {
        /// Time zone whose clock it goes by, like `Europe/Madrid`.
        timezone: String = required().check(check::timezone);
        /// Days of the week: `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`.
        days: Option<Vec<String>> = optional().check(check::weekday);
        /// Time of day at which it opens, like `08:00`.
        from: Option<String> = optional().check(check::time_of_day);
        /// Time of day at which it closes; one that is not after `from` is on the next day.
        to: Option<String> = optional().check(check::time_of_day);
        /// First day, like `2026-09-01`.
        not_before: Option<String> = optional().check(check::date);
        /// Last day, included.
        not_after: Option<String> = optional().check(check::date);
        /// When a single event begins, like `2026-11-23T08:00`.
        start: Option<String> = optional().check(check::wall_clock);
        /// When it ends.
        end: Option<String> = optional().check(check::wall_clock);
        /// How long before it opens machines are made; default 0s.
        warm_up: Option<Span> = optional().check(check::duration);
        /// What becomes of claims when it closes: they go on to the end of their leases (`soft`) or end with it (`cut_off`).
        at_end: String = default("soft").choice(AT_END);
    }

    /// How long operations on a pool may take.
    pub struct PoolTimeouts {
        /// Until as many machines as asked for are free; default 30m.
        create: Option<Span> = optional().check(check::duration);
        /// As `create`, after a change; default 30m.
        update: Option<Span> = optional().check(check::duration);
        /// Until all of its machines are gone; default 30m.
        delete: Option<Span> = optional().check(check::duration);
    }
}

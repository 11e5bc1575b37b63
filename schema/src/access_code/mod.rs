//! `labyard_access_code`: what people type to get machines of pools.

mod rules;

use std::collections::BTreeMap;

use crate::attribute::attributes;
use crate::check;
use crate::text::{Secret, Span};

/// What live claims mean when a code goes.
pub const ON_DESTROY: &[&str] = &["keep", "end"];

attributes! {
    /// An access code: who has it gets machines of pools, for a time, as often as it says. It is kept in the store, sealed, and found by a keyed hash.
    pub struct AccessCode {
        /// Name of the code, unique in its namespace. It is not what people type.
        name: String = required().replace().check(check::object_name);
        /// Machines that a claim gets, by pool: all of them or none.
        pools: BTreeMap<String, CodePool> = required();
        /// How often the code may be used, by all together. Left out: without limit. Uses of before a change count. Refused with `batch`, whose codes are for one use each.
        max_uses: Option<u64> = optional().range(1, 1_000_000);
        /// How often one user may use it; of a batch, how many of its codes. Left out: without limit.
        max_uses_per_user: Option<u64> = optional().range(1, 1_000_000);
        /// From when on it can be used, like `2026-09-01T08:00:00Z` or with an offset, `2026-09-01T08:00:00+02:00`.
        not_before: Option<String> = optional().check(check::moment);
        /// Until when it can be used, that moment not included.
        not_after: Option<String> = optional().check(check::moment);
        /// How long a claim lasts at first. Left out: as its pool says. A pool's longest lease bounds it.
        lease: Option<Span> = optional().check(check::duration);
        /// Networks from which it can be used, like `10.0.0.0/8`. Left out: from anywhere.
        source_cidrs: Option<Vec<String>> = optional().check(check::cidr);
        /// The code itself: 6 to 128 letters and digits, of which capitals, blanks and `-` do not count, nor whether it is `O` or `0`, and `I`, `L` or `1`. Left out, with `code_wo` and `batch` too: one of 80 random bits is made up. Kept in Terraform's state; `code_wo` is not.
        code: Option<String> = optional().sensitive().check(check::code_text);
        /// The code itself, which Terraform does not store. It is sent again when `code_wo_version` changes.
        code_wo: Option<Secret> = optional().write_only().sensitive();
        /// Version of `code_wo`: raise it when the code changes.
        code_wo_version: Option<u64> = optional();
        /// So many made-up codes in place of one, each for one use, called `001`, `002` and so on. Raised, more are made, and the old ones stay; lowered, the last ones are revoked, used or not.
        batch: Option<u32> = optional().range(1, 10_000);
        /// What becomes of claims when the code is destroyed: they go on to their end (`keep`), or end with it (`end`). Who waits in a queue fails in either case.
        on_destroy: String = default("keep").choice(ON_DESTROY);
        /// Id of the code in its store.
        id: Option<String> = computed();
        /// The codes as people type them, by key: `main`, or the keys of a batch. Empty with `code_wo`. They are in Terraform's state; the ephemeral resource `labyard_access_code` reads codes that are not.
        codes: Option<BTreeMap<String, String>> = computed().sensitive();
    }

    /// What a claim gets of a pool.
    pub struct CodePool {
        /// How many machines.
        count: u32 = default(1).range(1, 100);
    }
}

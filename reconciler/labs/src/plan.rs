//! What a pool should do next: pure, from what it is asked to be and what its machines are.
//!
//! - Free and ready machines of the newest generation are kept at `ready`, and one more for each machine that somebody
//!   waits for; `on_demand` pools keep none. Who prefers one that is kept gets one of those: more are made only where more
//!   are waited for than are kept.
//! - Machines that stand, whatever they are, are never more than `max`; those being built or recycled never more than
//!   `max_in_flight` (invariant 8).
//! - A changed template rolls through free machines: new ones are built first where `max` lets it, and an old one goes
//!   for each that has come; at `max` an old one goes first. Claimed machines are never touched (invariant 10).
//! - Machines on a host that is emptied roll as those of an old template do; where none can be made elsewhere they go all
//!   the same. Machines on a host that does not answer are
//!   not counted as free, so that others are made elsewhere; they are counted within `max`, since they are there.
//! - While a template fails, building waits ([`backoff`]) and is given up after a bounded number of attempts
//!   (invariant 9); what is free stays free. So many machines that failed are kept as asked for, the newest ones, as long
//!   as there is room for those that are wanted.
//!
//! ```
//! use labyard_labs::plan::{Action, Asked, plan};
//! let asked = Asked { ready: 3, max: 10, max_in_flight: 2, generation: 1, may_build: true, ..Asked::default() };
//! assert_eq!(plan(&asked, &[]), [Action::Build(2)]);
//! ```

use crate::{
    ids::MemberId,
    member::{Member, State},
};
use labyard_store::event::Moment;
use std::collections::BTreeSet;

/// What a pool is asked to be, now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Free machines that are kept.
    pub ready: usize,
    /// All machines, at most.
    pub max: usize,
    /// Machines being built or recycled, at most.
    pub max_in_flight: usize,
    /// The newest template.
    pub generation: i64,
    /// Machines that queued claims want, whether they are kept or made for them.
    pub waiting: usize,
    /// Machines that queued claims want which would rather have those that are kept.
    pub preferring: usize,
    /// Machines that failed and are kept, at most.
    pub keep_failed: usize,
    /// Whether building may be tried now: no back-off runs, and it was not given up.
    pub may_build: bool,
    /// Hosts that are emptied, or that the pool may no longer use: their machines roll as those of an old template.
    pub leaving: BTreeSet<String>,
    /// Hosts that are emptied though nothing can be made elsewhere: their free machines go without others in their place.
    pub emptied: BTreeSet<String>,
    /// Hosts that do not answer: their machines are there still, but nobody can have them.
    pub lost: BTreeSet<String>,
}

impl Asked {
    fn is_lost(&self, member: &Member) -> bool {
        member.host.as_ref().is_some_and(|host| self.lost.contains(host))
    }

    fn is_emptied(&self, member: &Member) -> bool {
        member
            .host
            .as_ref()
            .is_some_and(|host| self.emptied.contains(host))
    }

    /// Whether it is what is wanted now.
    #[must_use]
    pub fn is_new(&self, member: &Member) -> bool {
        let leaves = member
            .host
            .as_ref()
            .is_some_and(|host| self.leaving.contains(host));
        member.generation == self.generation && !leaves
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Build so many.
    Build(usize),
    /// Take this one away.
    Retire(MemberId),
}

/// How many free machines of the newest template can be got here: claims may have all that there may be.
#[must_use]
pub fn reachable(asked: &Asked, members: &[Member]) -> usize {
    let claimed = members.iter().filter(|member| member.state == State::Claimed);
    asked.ready.min(asked.max.saturating_sub(claimed.count()))
}

/// Free machines of the newest template on hosts that answer.
#[must_use]
pub fn free_new(asked: &Asked, members: &[Member]) -> usize {
    let free = members.iter().filter(|member| member.state == State::Free);
    free.filter(|member| asked.is_new(member) && !asked.is_lost(member))
        .count()
}

/// Whether a pool is what it is asked to be: as many machines are free as can be, nothing is to be done, and nothing is
/// on its way on a host that answers.
#[must_use]
pub fn rests(asked: &Asked, members: &[Member]) -> bool {
    let moves =
        |member: &Member| matches!(member.state, State::Building | State::Recycling | State::Retiring);
    let moving = members
        .iter()
        .any(|member| moves(member) && !asked.is_lost(member));
    !moving && free_new(asked, members) >= reachable(asked, members) && plan(asked, members).is_empty()
}

/// What a pool should do next. Doing it and asking again comes to rest.
#[must_use]
pub fn plan(asked: &Asked, members: &[Member]) -> Vec<Action> {
    let of = |state: State| members.iter().filter(move |member| member.state == state);
    let here = |state: State| of(state).filter(|member| !asked.is_lost(member));
    let is_new = |member: &&Member| asked.is_new(member);
    let free = here(State::Free).count();
    let free_new = here(State::Free).filter(is_new).count();
    // What hangs on a host that does not answer keeps nothing from being made elsewhere.
    let in_flight = here(State::Building).count() + here(State::Recycling).count();
    let coming = here(State::Building).filter(is_new).count() + here(State::Recycling).filter(is_new).count();
    let kept = asked.ready.max(asked.preferring);
    let claimed = of(State::Claimed).count();
    // A lowered `max` sheds free machines: those that people have are there to stay.
    let target = kept
        .saturating_add(asked.waiting)
        .min(asked.max.saturating_sub(claimed));

    let wanted = target.saturating_sub(free_new + coming);
    let slots = asked.max_in_flight.saturating_sub(in_flight);
    let room = asked.max.saturating_sub(members.len());
    let build = if asked.may_build {
        wanted.min(slots).min(room)
    } else {
        0
    };

    // More free machines than are kept: old ones go first, then those that came last.
    let mut surplus = free.saturating_sub(target);
    // At `max` an old machine makes room for a new one, as many as may be in flight.
    let blocked = if asked.may_build {
        wanted.min(slots).saturating_sub(build)
    } else {
        0
    };
    let old = free - free_new;
    let leaving = here(State::Retiring).count();
    surplus = surplus.max(blocked.saturating_sub(leaving).min(old));

    let mut goers: Vec<&Member> = here(State::Free).collect();
    goers.sort_by_key(|member| (asked.is_new(member), -member.since.0, -member.number));
    let rest = goers.split_off(surplus.min(goers.len()));
    goers.extend(rest.into_iter().filter(|member| asked.is_emptied(member)));
    // What failed makes room for what is wanted.
    let mut failed: Vec<&Member> = here(State::Failed).collect();
    failed.sort_by_key(|member| (member.since.0, member.number));
    let too_many = failed.len().saturating_sub(asked.keep_failed);
    failed.truncate(too_many.max(blocked.saturating_sub(leaving + goers.len())));
    let mut actions: Vec<Action> = goers
        .into_iter()
        .chain(failed)
        .map(|member| Action::Retire(member.id.clone()))
        .collect();
    if build > 0 {
        actions.push(Action::Build(build));
    }
    actions
}

/// How often a template that fails is tried, and how long is waited in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Not before then.
    At(Moment),
    /// Never, until the template or somebody's word changes it.
    GivenUp,
}

/// Attempts in a row that may fail.
pub const ATTEMPTS: u32 = 8;
const FIRST_MS: i64 = 10_000;
const LONGEST_MS: i64 = 30 * 60_000;

/// When to build next after so many failures in a row, the last one now: 10 s, then twice as long each time, at most
/// half an hour.
#[must_use]
pub fn backoff(failures: u32, now: Moment) -> Next {
    if failures >= ATTEMPTS {
        return Next::GivenUp;
    }
    let doublings = failures.saturating_sub(1).min(20);
    let wait = (FIRST_MS << doublings).min(LONGEST_MS);
    Next::At(Moment(now.0.saturating_add(if failures == 0 { 0 } else { wait })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::Touch;
    use proptest::prelude::*;

    fn member(number: i64, state: State, generation: i64) -> Member {
        Member {
            id: MemberId(format!("m{number}")),
            namespace: "default".into(),
            pool: "k8s".into(),
            number,
            name: format!("k8s-{number}"),
            host: None,
            state,
            generation,
            claim: None,
            since: Moment(number),
            touch: Touch::Untouched,
            identity: None,
            addresses: Vec::new(),
            trouble: None,
        }
    }

    const ASKED: Asked = Asked {
        ready: 2,
        max: 4,
        max_in_flight: 2,
        generation: 2,
        waiting: 0,
        preferring: 0,
        keep_failed: 0,
        may_build: true,
        leaving: BTreeSet::new(),
        emptied: BTreeSet::new(),
        lost: BTreeSet::new(),
    };

    #[test]
    fn a_changed_template_builds_first_where_there_is_room_and_retires_what_was_replaced() {
        let mut members = vec![member(1, State::Free, 1), member(2, State::Free, 1)];
        assert_eq!(plan(&ASKED, &members), [Action::Build(2)]);
        members.extend([member(3, State::Building, 2), member(4, State::Building, 2)]);
        assert_eq!(plan(&ASKED, &members), []);
        members[2].state = State::Free;
        assert_eq!(plan(&ASKED, &members), [Action::Retire("m2".into())]);
    }

    #[test]
    fn at_the_most_an_old_free_machine_makes_room_and_a_claimed_one_never() {
        let members = [
            member(1, State::Free, 1),
            member(2, State::Claimed, 1),
            member(3, State::Claimed, 1),
            member(4, State::Claimed, 1),
        ];
        assert_eq!(plan(&ASKED, &members), [Action::Retire("m1".into())]);
        let leaving = [
            member(1, State::Retiring, 1),
            member(2, State::Claimed, 1),
            member(3, State::Claimed, 1),
            member(4, State::Claimed, 1),
        ];
        assert_eq!(plan(&ASKED, &leaving), []);
    }

    #[test]
    fn a_template_that_fails_keeps_what_is_free_and_builds_nothing() {
        let asked = Asked {
            may_build: false,
            ..ASKED
        };
        assert_eq!(
            plan(&asked, &[member(1, State::Free, 1), member(2, State::Free, 1)]),
            []
        );
    }

    #[test]
    fn a_host_that_is_emptied_rolls_and_one_that_is_lost_is_replaced_without_being_forgotten() {
        let on = |host: &str, number| Member {
            host: Some(host.to_owned()),
            ..member(number, State::Free, 2)
        };
        let there = [on("a", 1), on("b", 2)];
        let drained = Asked {
            leaving: ["a".to_owned()].into(),
            ..ASKED
        };
        assert_eq!(plan(&drained, &there), [Action::Build(1)]);
        let replaced = [on("a", 1), on("b", 2), on("b", 3)];
        assert_eq!(plan(&drained, &replaced), [Action::Retire("m1".into())]);
        let lost = Asked {
            lost: ["a".to_owned()].into(),
            ..ASKED
        };
        assert_eq!(plan(&lost, &there), [Action::Build(1)]);
        assert_eq!(plan(&lost, &replaced), [], "what cannot be reached is left alone");
        let full = Asked { max: 2, ..lost };
        assert_eq!(plan(&full, &there), [], "it is there, so it counts");
        // It answers again: one is too many.
        assert_eq!(plan(&ASKED, &replaced), [Action::Retire("m3".into())]);
    }

    #[test]
    fn a_host_is_emptied_though_nothing_can_be_made_elsewhere() {
        let on = |host: &str, number, state| Member {
            host: Some(host.to_owned()),
            ..member(number, state, 2)
        };
        let there = [
            on("a", 1, State::Free),
            on("a", 2, State::Claimed),
            on("b", 3, State::Free),
        ];
        let failing = Asked {
            leaving: ["a".to_owned()].into(),
            emptied: ["a".to_owned()].into(),
            may_build: false,
            ..ASKED
        };
        assert_eq!(plan(&failing, &there), [Action::Retire("m1".into())]);
    }

    #[test]
    fn what_hangs_on_a_lost_host_keeps_nothing_from_being_made_elsewhere() {
        let on = |host: &str, number| Member {
            host: Some(host.to_owned()),
            ..member(number, State::Recycling, 2)
        };
        let hanging = [on("a", 1), on("a", 2)];
        assert_eq!(plan(&ASKED, &hanging), []);
        let lost = Asked {
            lost: ["a".to_owned()].into(),
            ..ASKED
        };
        assert_eq!(plan(&lost, &hanging), [Action::Build(2)]);
    }

    #[test]
    fn a_lowered_most_sheds_free_machines_and_no_claimed_ones() {
        let lowered = Asked {
            ready: 2,
            max: 2,
            ..ASKED
        };
        let members = [
            member(1, State::Claimed, 2),
            member(2, State::Claimed, 2),
            member(3, State::Free, 2),
            member(4, State::Free, 2),
        ];
        let goers = [Action::Retire("m4".into()), Action::Retire("m3".into())];
        assert_eq!(plan(&lowered, &members), goers);
        let one = Asked { max: 3, ..lowered };
        assert_eq!(plan(&one, &members), [Action::Retire("m4".into())]);
    }

    #[test]
    fn what_is_kept_serves_who_prefers_it_and_more_are_made_for_who_takes_any() {
        let free = [member(1, State::Claimed, 2), member(2, State::Building, 2)];
        let with = |waiting, preferring| Asked {
            max: 9,
            max_in_flight: 9,
            waiting,
            preferring,
            ..ASKED
        };
        assert_eq!(
            plan(&with(0, 2), &free),
            [Action::Build(1)],
            "those that are kept"
        );
        assert_eq!(
            plan(&with(2, 0), &free),
            [Action::Build(3)],
            "those, and two more"
        );
        assert_eq!(plan(&with(0, 4), &free), [Action::Build(3)], "more than are kept");
    }

    #[test]
    fn machines_that_failed_are_kept_as_asked_for_and_make_room() {
        let members = [
            member(1, State::Failed, 2),
            member(2, State::Failed, 2),
            member(3, State::Free, 2),
            member(4, State::Free, 2),
        ];
        let keep = |keep_failed| Asked { keep_failed, ..ASKED };
        assert_eq!(plan(&keep(1), &members), [Action::Retire("m1".into())]);
        assert_eq!(plan(&keep(2), &members), []);
        let wanted = Asked {
            waiting: 1,
            ..keep(2)
        };
        assert_eq!(
            plan(&wanted, &members),
            [Action::Retire("m1".into())],
            "it is full"
        );
        let leaving = [
            member(1, State::Retiring, 2),
            members[1].clone(),
            members[2].clone(),
            members[3].clone(),
        ];
        assert_eq!(plan(&wanted, &leaving), []);
    }

    /// Invariant 9.
    #[test]
    fn waits_grow_and_end() {
        let waits: Vec<_> = (0..=ATTEMPTS)
            .map(|failures| backoff(failures, Moment(0)))
            .collect();
        assert_eq!(waits[0], Next::At(Moment(0)));
        assert_eq!(
            waits[1..4],
            [
                Next::At(Moment(10_000)),
                Next::At(Moment(20_000)),
                Next::At(Moment(40_000))
            ]
        );
        assert_eq!(waits[ATTEMPTS as usize], Next::GivenUp);
    }

    fn members() -> impl Strategy<Value = Vec<Member>> {
        let one = (0..State::ALL.len(), 1..3_i64);
        proptest::collection::vec(one, 0..12).prop_map(|all| {
            let numbered = all.into_iter().zip(1..);
            numbered
                .map(|((state, generation), number)| member(number, State::ALL[state], generation))
                .collect()
        })
    }

    proptest! {
        /// Invariants 8 and 10, from any state, also one with more machines than `max` (it was lowered).
        #[test]
        fn no_plan_goes_beyond_what_may_be_or_touches_what_is_claimed(
            members in members(), ready in 0..6_usize, max in 0..10_usize, flight in 0..4_usize, waiting in 0..3_usize,
            preferring in 0..6_usize, keep_failed in 0..3_usize
        ) {
            let asked = Asked {
                ready, max, max_in_flight: flight, generation: 2, waiting, preferring, keep_failed, may_build: true,
                ..Asked::default()
            };
            let actions = plan(&asked, &members);
            let in_flight = members.iter().filter(|m| matches!(m.state, State::Building | State::Recycling)).count();
            for action in &actions {
                match action {
                    Action::Build(count) => {
                        prop_assert!(members.len() + count <= max);
                        prop_assert!(in_flight + count <= flight);
                    }
                    Action::Retire(id) => {
                        let gone = members.iter().find(|member| member.id == *id).unwrap();
                        prop_assert!(matches!(gone.state, State::Free | State::Failed), "{:?}", gone.state);
                    }
                }
            }
        }

        /// Doing what the plan says, with builds and removals that succeed, comes to rest with what was asked for.
        #[test]
        fn following_the_plan_comes_to_rest_with_what_was_asked_for(
            members in members(), ready in 0..4_usize, max in 0..10_usize
        ) {
            let asked = Asked { ready, max, max_in_flight: 2, generation: 2, may_build: true, ..Asked::default() };
            let (mut members, mut next) = (members, 100);
            for round in 0.. {
                prop_assert!(round < 100, "does not come to rest: {members:?}");
                for member in &mut members {
                    if matches!(member.state, State::Building | State::Recycling) {
                        member.state = State::Free;
                    }
                }
                members.retain(|member| !matches!(member.state, State::Retiring | State::Failed));
                let actions = plan(&asked, &members);
                if actions.is_empty() {
                    break;
                }
                for action in actions {
                    match action {
                        Action::Build(count) => {
                            for _ in 0..count {
                                next += 1;
                                members.push(member(next, State::Building, 2));
                            }
                        }
                        Action::Retire(id) => {
                            members.iter_mut().find(|member| member.id == id).unwrap().state = State::Retiring;
                        }
                    }
                }
            }
            let free: Vec<_> = members.iter().filter(|member| member.state == State::Free).collect();
            let claimed = members.iter().filter(|member| member.state == State::Claimed).count();
            let reachable = ready.min(max).min(max.saturating_sub(claimed));
            prop_assert!(free.iter().filter(|member| member.generation == 2).count() >= reachable, "{members:?}");
            prop_assert!(free.len() <= ready.min(max), "{members:?}");
        }
    }
}

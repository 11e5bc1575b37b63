//! What every driver must do, as one table of cases that the tests of each driver run.
//!
//! A driver's tests implement [`Fixture`] for a host that may be played with, and run the table:
//!
//! ```text
//! #[tokio::test(flavor = "multi_thread")]
//! async fn the_driver_does_what_every_driver_must() {
//!     let report = conformance::run(&MyFixture::new().await, "").await;
//!     println!("{report}");
//!     report.assert_passed();
//! }
//! ```
//!
//! The filter is a part of a case's name; the empty one runs all. Cases run one after another, each with names of
//! its own, and each is cleaned up after, also when it failed. What a fixture cannot offer (guests that boot, a
//! small pool, somebody else's hands) skips the cases that need it, and the report says so.

mod attach;
mod copies;
mod files;
mod firmware;
mod fixture;
mod guests;
mod hands;
mod kit;
mod lab;
mod live;
mod machines;
mod moments;
mod networks;
mod power;
mod report;
pub mod sample;
mod screens;
mod uploads;
mod volumes;

use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;

pub use fixture::{Fixture, Guest, Guests, Ids, OtherHands, Presence};
pub use lab::{Failure, Lab};
pub use report::{Outcome, Ran, Report};

/// One behaviour.
pub struct Case {
    /// What it is called: module and sentence.
    pub name: &'static str,
    needs: Need,
    run: for<'a> fn(&'a Lab<'a>) -> LocalBoxFuture<'a, Result<(), Failure>>,
}

/// What a case needs of its fixture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    IdsByCaller,
    Networks,
    MachinesThatStart,
    GuestsThatBoot,
    SmallPool,
    OtherPool,
    OtherHands,
}

/// A case that takes longer has failed.
const CASE_DEADLINE: Duration = Duration::from_secs(180);

macro_rules! cases {
    ($($need:ident: $module:ident { $($case:ident,)+ })+) => {
        /// All cases, in the order in which they run.
        pub const CASES: &[Case] = &[$($(Case {
            name: concat!(stringify!($module), "::", stringify!($case)),
            needs: Need::$need,
            run: |lab| Box::pin($module::$case(lab)),
        },)+)+];
    };
}

cases! {
    Nothing: machines {
        a_record_is_a_stopped_machine_without_devices_that_carries_its_mark,
        a_name_that_is_taken_exists_already_and_nothing_changes,
        of_racing_records_of_one_name_exactly_one_wins,
        a_definition_shows_what_was_asked_for,
        a_definition_repeated_changes_nothing,
        a_definition_changed_shows_the_change_and_keeps_the_id,
        what_is_not_there_is_missing,
        removal_repeated_is_success,
        a_mark_comes_back_as_written_whatever_is_in_it,
        a_mark_written_alone_leaves_the_definition,
        marks_show_every_machine_of_ours,
        a_medium_is_changed_in_a_stopped_machine,
        a_disk_of_a_stopped_machine_grows_and_never_shrinks,
        a_snapshot_shows_what_was_made_and_nothing_after_removal,
        the_host_tells_the_same_facts_twice,
        a_stopped_machine_is_left_alone_by_stop_and_shutdown,
        the_agent_of_a_stopped_machine_is_silent,
    }
    IdsByCaller: machines {
        an_id_that_is_taken_exists_already_and_nothing_changes,
    }
    Nothing: kit {
        a_machine_is_renamed_while_it_is_off_and_stays_the_same,
        autostart_is_set_and_seen_alone_and_in_the_snapshot,
        hardware_is_as_asked_for_and_stays_where_nothing_is_asked,
        drives_come_and_go_in_a_stopped_machine,
        a_card_is_kept_apart_and_stays_so,
    }
    MachinesThatStart: kit {
        drives_come_and_go_in_a_running_machine,
        a_display_has_a_port_of_its_own_while_its_machine_runs,
    }
    Nothing: firmware {
        templates_of_variables_are_read_the_same_each_time,
        guards_variables_and_boot_order_are_shown_as_asked_for,
    }
    Nothing: volumes {
        a_blank_disk_is_listed_with_its_size_and_format,
        a_name_that_is_taken_exists_already,
        what_is_not_there_is_missing,
        deletion_repeated_is_success,
        an_overlay_names_its_base,
        an_overlay_smaller_than_its_base_is_refused,
        an_overlay_of_nothing_is_refused_and_leaves_nothing,
        a_copy_stands_alone,
        the_room_of_a_pool_is_not_more_than_it_has,
    }
    Nothing: uploads {
        an_upload_is_read_back_as_it_was_sent,
        an_upload_of_a_qcow2_image_is_recognised,
        a_disk_that_is_read_and_sent_is_the_same_disk,
        a_stream_that_ends_early_is_an_error_of_the_source,
        a_stream_that_runs_over_is_an_error_of_the_source,
        a_stream_that_fails_is_an_error_of_the_source,
        a_stream_that_stalls_ends_at_the_deadline,
        an_upload_longer_than_its_volume_is_refused,
        a_volume_longer_than_the_limit_is_not_read,
    }
    SmallPool: uploads {
        an_upload_without_room_leaves_nothing,
    }
    Networks: networks {
        a_network_runs_and_shows_what_was_asked_for,
        what_a_network_offers_is_shown_changed_and_taken_back,
        a_network_on_a_bridge_of_the_host_shows_its_vlan,
        guests_are_put_back_on_a_network_that_got_another_bridge_of_the_host,
        a_name_that_is_taken_exists_already,
        a_subnet_in_use_is_refused_and_leaves_nothing,
        a_bridge_in_use_is_refused_and_leaves_nothing,
        what_is_not_there_is_missing,
        removal_repeated_is_success,
        a_change_keeps_id_and_reservations,
        a_mark_written_alone_is_seen,
        a_reservation_repeated_is_success_and_is_seen,
        an_address_or_mac_that_is_taken_exists_already,
        an_address_set_aside_is_kept_for_its_mac_and_can_be_reserved,
        no_address_is_lost_while_the_mark_is_written,
        a_release_repeated_is_success,
        a_snapshot_shows_what_was_made_and_nothing_after_removal,
    }
    IdsByCaller: networks {
        an_id_that_is_taken_exists_already,
    }
    Networks: firmware {
        a_boot_file_is_told_changed_and_taken_back,
    }
    MachinesThatStart: power {
        a_machine_starts_and_stops_and_keeps_its_mark,
        events_tell_of_start_and_stop,
        a_machine_that_runs_is_not_removed,
        a_start_without_the_disk_is_refused_and_the_machine_stays,
        a_change_of_a_running_machine_waits_for_its_next_start,
        a_medium_is_changed_in_a_running_machine,
        a_medium_is_taken_out_of_a_running_machine,
        a_disk_of_a_running_machine_grows_and_never_shrinks,
    }
    Networks: power {
        a_start_without_the_network_is_refused_and_the_machine_stays,
    }
    Nothing: live {
        a_stopped_machine_loses_what_is_unplugged_and_is_otherwise_left_alone,
    }
    OtherPool: live {
        disks_of_one_machine_lie_in_two_pools,
    }
    MachinesThatStart: live {
        processors_are_given_to_a_running_machine_up_to_its_room,
    }
    Networks: live {
        a_card_moves_to_a_network_on_a_bridge_of_the_host_and_back,
    }
    Networks: attach {
        a_card_is_lent_to_another_network_in_what_runs_and_in_the_definition_and_goes_home,
    }
    GuestsThatBoot: attach {
        a_guest_whose_card_is_lent_asks_for_an_address_there,
    }
    GuestsThatBoot: live {
        memory_is_given_and_taken_while_the_guest_runs,
        a_disk_is_plugged_in_and_taken_off_while_the_guest_runs,
        a_card_is_plugged_in_moved_and_taken_off_while_the_guest_runs,
    }
    GuestsThatBoot: networks {
        guests_are_put_back_on_a_network_that_was_restarted,
    }
    GuestsThatBoot: guests {
        a_console_gives_bytes_and_ends_with_the_machine,
        what_is_typed_into_a_console_is_echoed_by_its_guest,
        a_console_is_had_by_one_and_lost_to_who_takes_it_over,
        a_guest_gets_the_address_reserved_for_it,
        a_guest_gets_an_address_of_the_range,
    }
    Nothing: moments {
        a_footing_is_taken_back_and_a_stopped_machine_has_no_memory,
    }
    GuestsThatBoot: moments {
        a_machine_goes_back_to_its_moment_as_often_as_asked,
        a_machine_that_goes_back_paused_goes_on_when_started,
        an_agent_keeps_files_keys_and_the_time,
    }
    Networks: screens {
        a_screen_lets_in_whom_it_is_told_and_says_so,
        a_screen_goes_when_its_machine_does_not_run_and_not_before,
        the_name_of_another_machines_screen_is_taken,
        what_is_changed_of_a_machine_leaves_its_screen,
    }
    GuestsThatBoot: screens {
        a_screen_is_told_while_its_machine_runs_and_outlives_its_moment,
    }
    Nothing: copies {
        a_disk_of_a_machine_that_is_off_is_not_copied_as_of_a_running_one,
    }
    GuestsThatBoot: copies {
        a_disk_is_copied_while_its_machine_runs,
        a_copy_that_was_ended_midway_is_begun_again,
        what_is_a_systems_own_is_set_aside_and_put_back,
    }
    OtherHands: files {
        a_file_is_read_as_it_stands_and_left_alone,
        a_file_becomes_a_volume_that_stands_alone,
        what_is_no_file_is_not_read,
    }
    OtherHands: hands {
        a_foreign_machine_is_seen_without_a_mark,
        an_edit_keeps_what_others_put_in,
        a_cable_that_was_pulled_out_is_seen_and_put_back,
    }
}

/// Runs the cases whose name holds `filter`, one after another.
pub async fn run(fixture: &dyn Fixture, filter: &str) -> Report {
    let mut report = Report::default();
    for case in CASES.iter().filter(|case| case.name.contains(filter)) {
        let began = Instant::now();
        let outcome = case.outcome(fixture).await;
        report.add(case.name, outcome, began.elapsed());
    }
    report
}

impl Case {
    async fn outcome(&self, fixture: &dyn Fixture) -> Outcome {
        if let Some(lack) = self.needs.lacking(fixture) {
            return Outcome::Skipped(lack);
        }
        let lab = Lab::new(fixture);
        let result = tokio::time::timeout(CASE_DEADLINE, (self.run)(&lab)).await;
        let cleaned = lab.clean_up().await;
        match (result, cleaned) {
            (Err(_), _) => Outcome::Failed(format!("not done after {CASE_DEADLINE:?}")),
            (Ok(Err(failure)), _) => Outcome::Failed(failure.to_string()),
            (Ok(Ok(())), Err(failure)) => Outcome::Failed(format!("cleaning up: {failure}")),
            (Ok(Ok(())), Ok(())) => Outcome::Passed,
        }
    }
}

impl Need {
    fn lacking(self, fixture: &dyn Fixture) -> Option<&'static str> {
        let guests = fixture.guests();
        match self {
            Self::Nothing => None,
            Self::IdsByCaller => (fixture.ids() == Ids::ByHost).then_some("the host chooses the ids"),
            Self::Networks => fixture.free_net().is_none().then_some("no networks"),
            Self::MachinesThatStart => matches!(guests, Guests::Never).then_some("no machine starts"),
            Self::GuestsThatBoot if fixture.free_net().is_none() => Some("no networks"),
            Self::GuestsThatBoot => (!matches!(guests, Guests::Boot(_))).then_some("no guest boots"),
            Self::SmallPool => fixture.small_pool().is_none().then_some("no small pool"),
            Self::OtherPool => fixture.other_pool().is_none().then_some("no other pool"),
            Self::OtherHands => fixture.hands().is_none().then_some("no other hands"),
        }
    }
}

//! States of machines, and starts that fail.

use crate::cim::Value;
use crate::contract::WmiFault;
use crate::model::add::EPASD;
use crate::model::machine::{OnShutdown, Power, Services};
use crate::model::paths;
use crate::model::row::Row;
use crate::model::setup::States;
use crate::model::store::{number, text};
use crate::model::testing::{Bench, Outcome, VSSD, adapter, code, connection};
use crate::model::{SwitchKind, paths::system};

#[test]
fn each_state_is_reached_from_where_it_can_be_and_from_nowhere_else() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    // From, wanted, what comes of it: none where it is refused.
    let ways = [
        (Power::Off, 2, Some(2)),
        (Power::Off, 3, None),
        (Power::Off, 6, None),
        (Power::Off, 9, None),
        (Power::Off, 11, None),
        (Power::Running, 2, None),
        (Power::Running, 3, Some(3)),
        (Power::Running, 6, Some(6)),
        (Power::Running, 9, Some(9)),
        (Power::Running, 11, Some(2)),
        (Power::Running, 32768, Some(9)),
        (Power::Running, 32769, Some(6)),
        (Power::Paused, 2, Some(2)),
        (Power::Paused, 3, Some(3)),
        (Power::Paused, 6, Some(6)),
        (Power::Paused, 9, None),
        (Power::Saved, 2, Some(2)),
        (Power::Saved, 3, Some(3)),
        (Power::Saved, 6, None),
        (Power::Saved, 9, None),
    ];
    for (from, wanted, reached) in ways {
        bench.host.set_power(&id, from);
        let outcome = bench.request(&id, wanted);
        match reached {
            Some(state) => {
                assert_eq!(outcome, Outcome::Well, "{from:?} to {wanted}");
                assert_eq!(bench.state(&id), state, "{from:?} to {wanted}");
            }
            None => assert_eq!(outcome, Outcome::Refused(32775), "{from:?} to {wanted}"),
        }
    }
    assert_eq!(bench.request(&id, 77), Outcome::Refused(32773));
}

#[test]
fn a_machine_on_its_way_looks_as_the_host_is_set_and_takes_no_other_way() {
    for (states, seen) in [(States::Quiet, 3), (States::Shown, 10), (States::Old, 32770)] {
        let mut bench = Bench::with(|setup| setup.states = states);
        let id = bench.machine("a", 2);
        let answer = bench.ask(&id, 2);
        assert_eq!(bench.state(&id), seen);
        let row = bench
            .rows("Msvm_ComputerSystem")
            .into_iter()
            .find(|row| text(row, "Name") == id)
            .expect("it");
        assert_eq!(
            (
                number(&row, "RequestedState"),
                row.get("OperationalStatus").each()
            ),
            (2, &[Value::Unsigned(11)][..])
        );
        assert_eq!(code(&bench.ask(&id, 3)), 32775);
        assert_eq!(bench.end(&answer), Outcome::Well);
    }
}

#[test]
fn older_hosts_show_older_numbers_at_rest() {
    let mut bench = Bench::with(|setup| setup.states = States::Old);
    let id = bench.machine("a", 2);
    bench.host.set_power(&id, Power::Paused);
    assert_eq!(bench.state(&id), 32768);
    bench.host.set_power(&id, Power::Saved);
    assert_eq!(bench.state(&id), 32769);
}

#[test]
fn a_saved_machine_says_so_in_its_setting_and_turned_off_loses_its_memory() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    bench.start(&id);
    assert_eq!(bench.request(&id, 6), Outcome::Well);
    assert_eq!(bench.vssd(&id).get("IsSaved").as_boolean(), Some(true));
    assert_eq!(bench.request(&id, 3), Outcome::Well);
    assert_eq!(bench.vssd(&id).get("IsSaved").as_boolean(), Some(false));
}

fn shutdown_path(bench: &Bench, id: &str) -> Option<crate::cim::Path> {
    let rows = bench.rows("Msvm_ShutdownComponent");
    let row = rows.iter().find(|row| text(row, "SystemName") == id)?;
    let keys = [
        "SystemCreationClassName",
        "SystemName",
        "CreationClassName",
        "DeviceID",
    ];
    let pairs: Vec<(&str, &str)> = keys.iter().map(|name| (*name, text(row, name))).collect();
    Some(paths::path("Msvm_ShutdownComponent", &pairs))
}

#[test]
fn a_guest_that_listens_goes_down_after_the_answer_and_shows_nothing_meanwhile() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    assert!(
        shutdown_path(&bench, &id).is_none(),
        "off, it has no such component"
    );
    bench.start(&id);
    let path = shutdown_path(&bench, &id).expect("the component");
    assert_eq!(
        code(&bench.call(&path, "InitiateShutdown", &[("Force", Value::Boolean(true))])),
        0
    );
    assert_eq!(
        code(&bench.call(&path, "InitiateShutdown", &[])),
        32782,
        "one is under way"
    );
    assert_eq!(bench.state(&id), 2);
    bench.pass(200);
    assert_eq!(bench.state(&id), 3);
}

#[test]
fn guests_that_are_locked_ignore_or_have_no_services_are_told_apart() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    assert_eq!(bench.request(&id, 2), Outcome::Well);
    let path = shutdown_path(&bench, &id).expect("the component");
    assert_eq!(
        code(&bench.call(&path, "InitiateShutdown", &[])),
        32780,
        "its services have not come yet"
    );
    bench.pass(1000);
    bench.host.guest(&id, |guest| guest.asked = OnShutdown::Locked);
    assert_eq!(code(&bench.call(&path, "InitiateShutdown", &[])), 32781);
    bench.host.guest(&id, |guest| guest.asked = OnShutdown::Ignores);
    assert_eq!(code(&bench.call(&path, "InitiateShutdown", &[])), 0);
    bench.pass(60_000);
    assert_eq!(bench.state(&id), 2);
    bench.host.guest(&id, |guest| guest.services = Services::Absent);
    assert_eq!(code(&bench.call(&path, "InitiateShutdown", &[])), 32780);
    let short = paths::path("Msvm_ShutdownComponent", &[("SystemName", id.as_str())]);
    assert_eq!(
        bench.try_call(&short, "InitiateShutdown", &[]),
        Err(WmiFault::NOT_FOUND)
    );
}

#[test]
fn a_reboot_keeps_the_uptime_and_a_reset_does_not() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    bench.start(&id);
    let uptime = |bench: &Bench| {
        let rows = bench.rows("Msvm_ComputerSystem");
        number(
            rows.iter().find(|row| text(row, "Name") == id).expect("it"),
            "OnTimeInMilliseconds",
        )
    };
    let path = shutdown_path(&bench, &id).expect("the component");
    let before = uptime(&bench);
    assert_eq!(code(&bench.call(&path, "InitiateReboot", &[])), 0);
    bench.pass(200);
    assert!(!bench.host.guest_is_up(&id));
    bench.pass(1000);
    assert!(bench.host.guest_is_up(&id));
    assert!(uptime(&bench) >= before + 1200);
    assert_eq!(bench.request(&id, 11), Outcome::Well);
    assert!(uptime(&bench) < 100);
}

#[test]
fn a_start_fails_for_a_file_that_is_missing() {
    let mut bench = Bench::new();
    let (id, ..) = bench.with_disk("a", r"D:\lab\a.vhdx");
    std::fs::remove_file(bench.drive.path().join("lab/a.vhdx")).expect("its file");
    assert_eq!(bench.request(&id, 2), Outcome::Failed(10, 32779));
    assert_eq!(bench.state(&id), 3);
}

#[test]
fn a_start_fails_for_a_disk_that_another_machine_writes_to() {
    let mut bench = Bench::new();
    let (one, ..) = bench.with_disk("a", r"D:\lab\a.vhdx");
    let other = bench.machine("b", 2);
    let _ = bench.host.plug_disk(&other, r"d:\LAB\A.vhdx");
    bench.start(&one);
    assert_eq!(bench.request(&other, 2), Outcome::Failed(10, 32774));
    assert_eq!(bench.request(&one, 3), Outcome::Well);
    assert_eq!(bench.request(&other, 2), Outcome::Well);
}

#[test]
fn a_start_fails_for_a_disk_that_is_in_the_machine_twice() {
    let mut bench = Bench::new();
    let (id, ..) = bench.with_disk("a", r"D:\lab\a.vhdx");
    let _ = bench.host.plug_disk(&id, r"D:\LAB\a.vhdx");
    assert_eq!(bench.request(&id, 2), Outcome::Failed(10, 32774));
}

#[test]
fn a_start_fails_for_a_switch_that_is_missing() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let switch = bench.host.add_switch("lab", SwitchKind::Private);
    let nic = bench.added(&id, adapter("nic"));
    let plug = bench.added(&id, connection(&nic, &switch));
    let gone = crate::model::testing::switch_link("00000000-0000-4000-8000-000000000000");
    bench.host.change(&plug, "HostResource", Value::texts([gone]));
    assert_eq!(bench.request(&id, 2), Outcome::Failed(10, 32768));
    assert_eq!(
        bench.change(Row::of(EPASD).text("InstanceID", &plug).number("EnabledState", 3)),
        Outcome::Well
    );
    assert_eq!(
        bench.request(&id, 2),
        Outcome::Well,
        "what is disconnected needs no switch"
    );
}

#[test]
fn a_start_fails_without_memory_or_processors_enough() {
    let mut bench = Bench::with(|setup| {
        setup.memory = 1500;
        setup.processors = 2;
    });
    let (one, other) = (bench.machine("a", 2), bench.machine("b", 2));
    bench.start(&one);
    assert_eq!(bench.request(&other, 2), Outcome::Failed(10, 32778));
    assert_eq!(bench.request(&one, 3), Outcome::Well);
    let processors = bench.own(&other, "Msvm_ProcessorSettingData");
    let four = Row::of("Msvm_ProcessorSettingData")
        .text("InstanceID", text(&processors, "InstanceID"))
        .number("VirtualQuantity", 4);
    assert_eq!(bench.change(four), Outcome::Well);
    assert_eq!(bench.request(&other, 2), Outcome::Failed(10, 32768));
}

#[test]
fn a_machine_is_found_by_two_keys_and_no_time_out_is_taken() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let one = paths::path("Msvm_ComputerSystem", &[("Name", id.as_str())]);
    let wanted = [("RequestedState", Value::Unsigned(2))];
    assert_eq!(
        bench.try_call(&one, "RequestStateChange", &wanted),
        Err(WmiFault::NOT_FOUND)
    );
    let path = system("Msvm_ComputerSystem", &id);
    let input = [
        ("RequestedState", Value::Unsigned(2)),
        ("TimeoutPeriod", Value::text("00000000000100.000000:000")),
    ];
    assert_eq!(code(&bench.call(&path, "RequestStateChange", &input)), 4098);
}

#[test]
fn a_critical_state_is_a_number_of_its_own() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    bench.host.set_critical(&id, Some(32785));
    assert_eq!(bench.state(&id), 32785);
    bench.host.set_critical(&id, None);
    assert_eq!(
        bench.modify(&id, Row::of(VSSD).text("ElementName", "b")),
        Outcome::Well
    );
}

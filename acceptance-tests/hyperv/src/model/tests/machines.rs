//! Machines come, change and go; jobs.

use crate::cim::{Instance, Value};
use crate::contract::Model;
use crate::model::add::RASD;
use crate::model::faults::How;
use crate::model::machine::Power;
use crate::model::paths::{self, V2};
use crate::model::row::Row;
use crate::model::setup::{Answers, Build, Edition, Resulting};
use crate::model::store::{self, first_text, number, text};
use crate::model::testing::{Bench, Outcome, VSSD, code, controller, drive, instance, to};

fn setting(name: &str) -> Row {
    Row::of(VSSD)
        .text("ElementName", name)
        .text("VirtualSystemSubType", "Microsoft:Hyper-V:SubType:2")
}

#[test]
fn the_host_chooses_the_guid_of_a_machine() {
    let mut bench = Bench::new();
    let wished = "11111111-2222-4333-8444-555555555555";
    let answer = bench.vsms(
        "DefineSystem",
        &[(
            "SystemSettings",
            instance(setting("a").text("VirtualSystemIdentifier", wished)),
        )],
    );
    assert_eq!(bench.end(&answer), Outcome::Well);
    let machines = bench.host.machines();
    assert_eq!(machines.len(), 1);
    assert_ne!(machines[0].id, wished);
}

#[test]
fn a_new_machine_is_there_only_when_its_job_has_ended() {
    let mut bench = Bench::new();
    let answer = bench.vsms("DefineSystem", &[("SystemSettings", instance(setting("a")))]);
    assert_eq!(code(&answer), 4096);
    assert_eq!(bench.rows("Msvm_ComputerSystem").len(), 1, "the host alone");
    assert!(bench.host.machines().is_empty());
    assert_eq!(bench.end(&answer), Outcome::Well);
    assert_eq!(bench.rows("Msvm_ComputerSystem").len(), 2);
}

#[test]
fn a_job_names_what_will_come_of_it_or_not_as_the_host_is_set() {
    for (resulting, named) in [(Resulting::Named, true), (Resulting::Empty, false)] {
        let mut bench = Bench::with(|setup| setup.resulting = resulting);
        let answer = bench.vsms("DefineSystem", &[("SystemSettings", instance(setting("a")))]);
        assert_eq!(answer.contains_key("ResultingSystem"), named);
        assert_eq!(bench.end(&answer), Outcome::Well);
    }
}

#[test]
fn a_host_set_to_it_answers_without_jobs() {
    let mut bench = Bench::with(|setup| setup.answers = Answers::AtOnce);
    let answer = bench.vsms("DefineSystem", &[("SystemSettings", instance(setting("a")))]);
    assert_eq!(code(&answer), 0);
    assert_eq!(bench.host.machines().len(), 1);
    let elsewhere = setting("b").text("ConfigurationDataRoot", r"X:\lab");
    let answer = bench.vsms("DefineSystem", &[("SystemSettings", instance(elsewhere))]);
    assert_eq!(code(&answer), 32779, "what a job would have failed with");
}

#[test]
fn names_of_machines_repeat() {
    let mut bench = Bench::new();
    assert_ne!(bench.machine("twin", 2), bench.machine("twin", 2));
}

#[test]
fn the_second_generation_is_born_without_controller_adapter_and_dvd() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let kinds: Vec<u64> = bench
        .host
        .settings_of(&id, RASD)
        .iter()
        .map(|row| number(row, "ResourceType"))
        .collect();
    assert!(
        !kinds.iter().any(|kind| [5, 6, 14, 16, 17].contains(kind)),
        "{kinds:?}"
    );
    assert!(
        bench
            .host
            .settings_of(&id, "Msvm_SyntheticEthernetPortSettingData")
            .is_empty()
    );
    assert_eq!(
        number(&bench.own(&id, "Msvm_MemorySettingData"), "VirtualQuantity"),
        1024
    );
    assert_eq!(
        number(&bench.own(&id, "Msvm_ProcessorSettingData"), "VirtualQuantity"),
        1
    );
}

#[test]
fn the_first_generation_is_born_with_two_ide_controllers_a_floppy_drive_and_two_ports() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 1);
    let rows = bench.host.settings_of(&id, RASD);
    let mut ide: Vec<&str> = rows
        .iter()
        .filter(|row| number(row, "ResourceType") == 5)
        .map(|row| text(row, "Address"))
        .collect();
    ide.sort_unstable();
    assert_eq!(ide, ["0", "1"]);
    assert_eq!(
        rows.iter()
            .filter(|row| number(row, "ResourceType") == 14)
            .count(),
        1
    );
    assert_eq!(bench.host.settings_of(&id, "Msvm_SerialPortSettingData").len(), 2);
}

#[test]
fn automatic_checkpoints_are_on_for_clients_and_off_for_servers() {
    for (edition, on) in [(Edition::Client, true), (Edition::Server, false)] {
        let mut bench = Bench::with(|setup| setup.edition = edition);
        let id = bench.machine("a", 2);
        assert_eq!(
            bench.vssd(&id).get("AutomaticSnapshotsEnabled").as_boolean(),
            Some(on)
        );
    }
}

#[test]
fn a_property_that_the_build_has_not_is_refused() {
    let mut bench = Bench::with(|setup| setup.build = Build::SERVER_2016);
    let sent = setting("a").flag("AutomaticSnapshotsEnabled", false);
    assert_eq!(
        bench.manage("DefineSystem", &[("SystemSettings", instance(sent))]),
        Outcome::Refused(32773)
    );
    let id = bench.machine("b", 2);
    assert!(bench.vssd(&id).get("AutomaticSnapshotsEnabled").is_null());
}

#[test]
fn only_the_first_note_is_kept_and_no_notes_say_nothing() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    assert_eq!(
        bench.modify(&id, Row::of(VSSD).texts("Notes", ["one", "two"])),
        Outcome::Well
    );
    assert_eq!(*bench.vssd(&id).get("Notes"), Value::texts(["one"]));
    assert_eq!(
        bench.modify(&id, Row::of(VSSD).texts("Notes", Vec::<String>::new())),
        Outcome::Well
    );
    assert_eq!(
        *bench.vssd(&id).get("Notes"),
        Value::texts(["one"]),
        "an empty array is ignored"
    );
    assert_eq!(
        bench.modify(&id, Row::of(VSSD).texts("Notes", [""])),
        Outcome::Well
    );
    assert_eq!(*bench.vssd(&id).get("Notes"), Value::texts([""]));
    assert_eq!(
        bench.modify(&id, Row::of(VSSD).text("Notes", "scalar")),
        Outcome::Refused(32773)
    );
}

#[test]
fn what_is_left_out_stays_and_what_is_false_is_written() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    assert_eq!(bench.vssd(&id).get("SecureBootEnabled").as_boolean(), Some(true));
    assert_eq!(
        bench.modify(&id, Row::of(VSSD).flag("SecureBootEnabled", false)),
        Outcome::Well
    );
    assert_eq!(
        bench.modify(&id, Row::of(VSSD).text("ElementName", "b")),
        Outcome::Well
    );
    let row = bench.vssd(&id);
    assert_eq!(row.get("SecureBootEnabled").as_boolean(), Some(false));
    assert_eq!(text(&row, "ElementName"), "b");
}

#[test]
fn a_whole_setting_sent_back_ends_its_job_in_state_10() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let mut whole = bench.vssd(&id);
    whole.set("ElementName", Value::text("b"));
    let answer = bench.vsms(
        "ModifySystemSettings",
        &[("SystemSettings", Value::Instance(Box::new(whole)))],
    );
    assert_eq!(code(&answer), 4096);
    assert_eq!(bench.end(&answer), Outcome::Failed(10, 32768));
    assert_eq!(text(&bench.vssd(&id), "ElementName"), "a");
}

#[test]
fn a_time_that_is_no_interval_of_cim_ends_its_job_with_32768() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let delay = |text: &str| Row::of(VSSD).text("AutomaticStartupActionDelay", text);
    assert_eq!(bench.modify(&id, delay("PT45M")), Outcome::Failed(10, 32768));
    assert_eq!(
        bench.modify(&id, delay("00000000004500.000000:000")),
        Outcome::Well
    );
}

#[test]
fn the_generation_and_the_folder_are_said_once() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let generation = Row::of(VSSD).text("VirtualSystemSubType", "Microsoft:Hyper-V:SubType:1");
    assert_eq!(bench.modify(&id, generation), Outcome::Refused(32773));
    assert_eq!(
        bench.modify(&id, Row::of(VSSD).text("ConfigurationDataRoot", r"D:\x")),
        Outcome::Refused(32773)
    );
}

#[test]
fn firmware_changes_while_off_and_names_and_notes_at_any_time() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    bench.start(&id);
    assert_eq!(
        bench.modify(&id, Row::of(VSSD).flag("SecureBootEnabled", false)),
        Outcome::Refused(32775)
    );
    assert_eq!(
        bench.modify(&id, Row::of(VSSD).text("ElementName", "b")),
        Outcome::Well
    );
    assert_eq!(
        bench.modify(&id, Row::of(VSSD).texts("Notes", ["n"])),
        Outcome::Well
    );
}

#[test]
fn a_template_of_secure_boot_is_one_of_three() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let template = |text: &str| Row::of(VSSD).text("SecureBootTemplateId", text);
    assert_eq!(
        bench.modify(&id, template("272e7447-90a4-4563-a4b9-8e4ab00526ce")),
        Outcome::Well
    );
    assert_eq!(
        bench.modify(&id, template("MicrosoftUEFICertificateAuthority")),
        Outcome::Refused(32773)
    );
    let first = bench.machine("b", 1);
    assert_eq!(
        bench.modify(&first, Row::of(VSSD).flag("SecureBootEnabled", true)),
        Outcome::Refused(32773)
    );
}

#[test]
fn the_order_to_boot_in_is_of_this_machines_sources_and_what_is_left_out_is_lost() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let controller = bench.controller(&id);
    let (one, two) = (bench.drive(&id, &controller, 0), bench.drive(&id, &controller, 1));
    let source =
        |drive: &str| crate::model::testing::link("Msvm_BootSourceSettingData", &format!(r"{drive}\B"));
    assert_eq!(
        bench.vssd(&id).get("BootSourceOrder").each().len(),
        2,
        "a drive is a source, with a disk or without"
    );
    let order = |all: &[String]| Row::of(VSSD).texts("BootSourceOrder", all.iter().cloned());
    assert_eq!(
        bench.modify(&id, order(&[source(&two), source(&one)])),
        Outcome::Well
    );
    let first = first_text(&bench.vssd(&id), "BootSourceOrder")
        .expect("a path")
        .to_owned();
    assert!(first.starts_with(r"\\HV01\root\virtualization\v2:"), "{first}");
    assert!(first.contains(r"\\1\\D\\B"), "{first}");
    assert_eq!(bench.modify(&id, order(&[source(&two)])), Outcome::Well);
    assert_eq!(bench.vssd(&id).get("BootSourceOrder").each().len(), 1);
    assert_eq!(
        bench.modify(&id, order(&[source(&two), source(&two)])),
        Outcome::Refused(32773)
    );
    assert_eq!(
        bench.modify(&id, order(&[one])),
        Outcome::Refused(32773),
        "an id is no path"
    );
}

#[test]
fn the_first_generation_boots_from_all_four() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 1);
    assert_eq!(
        bench.modify(&id, Row::of(VSSD).numbers("BootOrder", &[3, 2, 1, 0])),
        Outcome::Well
    );
    assert_eq!(
        bench.modify(&id, Row::of(VSSD).numbers("BootOrder", &[2])),
        Outcome::Refused(32773)
    );
}

#[test]
fn a_machine_goes_only_off_or_saved_and_its_disks_stay() {
    let mut bench = Bench::new();
    let (id, ..) = bench.with_disk("a", r"D:\lab\a.vhdx");
    bench.start(&id);
    let gone = [(
        "AffectedSystem",
        Value::Reference(paths::system("Msvm_ComputerSystem", &id)),
    )];
    assert_eq!(bench.manage("DestroySystem", &gone), Outcome::Refused(32775));
    assert_eq!(bench.request(&id, 3), Outcome::Well);
    bench.host.set_power(&id, Power::Running);
    assert_eq!(bench.request(&id, 6), Outcome::Well);
    let configuration = bench.drive.path().join(format!("lab/Virtual Machines/{id}.vmcx"));
    assert!(configuration.exists());
    assert_eq!(bench.manage("DestroySystem", &gone), Outcome::Well);
    assert!(bench.host.machines().is_empty());
    assert!(bench.drive.path().join("lab/a.vhdx").exists());
    assert!(!configuration.exists());
    assert!(
        configuration.parent().expect("a folder").is_dir(),
        "empty folders stay"
    );
}

#[test]
fn a_folder_on_a_drive_that_is_not_there_fails_the_job() {
    let mut bench = Bench::new();
    let sent = setting("a").text("ConfigurationDataRoot", r"X:\lab");
    assert_eq!(
        bench.manage("DefineSystem", &[("SystemSettings", instance(sent))]),
        Outcome::Failed(10, 32779)
    );
    assert!(bench.host.machines().is_empty());
}

#[test]
fn while_a_job_works_on_a_machine_others_are_refused() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let first = bench.add(&id, controller());
    assert_eq!(code(&first), 4096);
    assert_eq!(code(&bench.add(&id, controller())), 32775);
    assert_eq!(
        bench.modify(&id, Row::of(VSSD).text("ElementName", "b")),
        Outcome::Refused(32775)
    );
    assert_eq!(bench.end(&first), Outcome::Well);
    assert_eq!(
        bench.modify(&id, Row::of(VSSD).text("ElementName", "b")),
        Outcome::Well
    );
}

#[test]
fn a_job_goes_from_starting_over_running_to_completed_and_its_row_vanishes() {
    let mut bench = Bench::new();
    let answer = bench.vsms("DefineSystem", &[("SystemSettings", instance(setting("a")))]);
    let state = |bench: &Bench| {
        bench
            .job(&answer)
            .map(|job| (number(&job, "JobState"), number(&job, "PercentComplete")))
    };
    assert_eq!(state(&bench), Some((3, 0)));
    bench.pass(10);
    assert_eq!(state(&bench), Some((4, 50)));
    bench.pass(10);
    assert_eq!(state(&bench), Some((7, 100)));
    bench.pass(299_000);
    assert!(state(&bench).is_some());
    bench.pass(2000);
    assert_eq!(state(&bench), None);
}

#[test]
fn jobs_fail_on_demand_in_each_of_their_ways() {
    let ways = [
        (How::Return(32778), Outcome::Refused(32778), false),
        (How::Job(32772), Outcome::Failed(10, 32772), false),
        (How::JobAfterWork(32768), Outcome::Failed(10, 32768), true),
        (How::CompletedWithError(32769), Outcome::Failed(7, 32769), false),
        (How::CompletedAndNothing, Outcome::Well, false),
    ];
    for (how, wanted, there) in ways {
        let mut bench = Bench::new();
        bench.host.fail("DefineSystem", 2, how);
        bench.machine("first", 2);
        let outcome = bench.manage("DefineSystem", &[("SystemSettings", instance(setting("second")))]);
        assert_eq!(outcome, wanted, "{how:?}");
        assert_eq!(bench.host.machines().len(), if there { 2 } else { 1 }, "{how:?}");
        bench.machine("third", 2);
    }
}

#[test]
fn a_job_whose_row_vanishes_has_done_its_work() {
    let mut bench = Bench::new();
    bench.host.fail("DefineSystem", 1, How::Vanishes);
    let answer = bench.vsms("DefineSystem", &[("SystemSettings", instance(setting("a")))]);
    bench.pass(1000);
    assert_eq!(bench.job(&answer), None);
    assert_eq!(bench.host.machines().len(), 1);
}

#[test]
fn a_restart_of_the_service_loses_jobs_and_what_they_had_not_done() {
    let mut bench = Bench::new();
    let answer = bench.vsms("DefineSystem", &[("SystemSettings", instance(setting("a")))]);
    bench.host.restart_service();
    bench.pass(1000);
    assert_eq!(bench.job(&answer), None);
    assert!(bench.host.machines().is_empty());
}

#[test]
fn a_failed_job_tells_its_error_and_one_that_went_well_has_none() {
    let mut bench = Bench::new();
    bench.host.fail("DefineSystem", 1, How::Job(32772));
    let failed = bench.vsms("DefineSystem", &[("SystemSettings", instance(setting("a")))]);
    let well = bench.vsms("DefineSystem", &[("SystemSettings", instance(setting("b")))]);
    assert_ne!(bench.end(&failed), Outcome::Well);
    assert_eq!(bench.end(&well), Outcome::Well);
    let path = |answer: &crate::contract::Parameters| match answer.get("Job") {
        Some(Value::Reference(path)) => path.clone(),
        _ => panic!("no job"),
    };
    let errors = bench.call(&path(&failed), "GetErrorEx", &[]);
    let Some(Value::Array(errors)) = errors.get("Errors") else {
        panic!("no errors");
    };
    assert!(matches!(&errors[0], Value::Instance(error) if error.class == "Msvm_Error"));
    assert!(bench.try_call(&path(&well), "GetErrorEx", &[]).is_err());
}

#[test]
fn a_job_leads_to_what_it_made() {
    let mut bench = Bench::new();
    let answer = bench.vsms("DefineSystem", &[("SystemSettings", instance(setting("a")))]);
    assert_eq!(bench.end(&answer), Outcome::Well);
    let Some(Value::Reference(job)) = answer.get("Job") else {
        panic!("no job");
    };
    let made = bench
        .host
        .associated(job, Some("Msvm_AffectedJobElement"), Some("Msvm_ComputerSystem"));
    assert_eq!(made.expect("an answer").len(), 1);
}

#[test]
fn a_setting_leads_to_its_parts_and_its_machine() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let from = paths::setting(VSSD, &format!("Microsoft:{id}"));
    let parts = |result: &str| -> Vec<Instance> {
        let component = Some("Msvm_VirtualSystemSettingDataComponent");
        bench
            .host
            .associated(&from, component, Some(result))
            .expect("an answer")
    };
    assert_eq!(parts("Msvm_MemorySettingData").len(), 1);
    assert_eq!(parts("Msvm_ProcessorSettingData").len(), 1);
    let machine = bench
        .host
        .associated(&from, Some("Msvm_SettingsDefineState"), None)
        .expect("an answer");
    assert_eq!(text(&machine[0], "Name"), id);
}

#[test]
fn defaults_have_rows_for_the_least_the_most_and_the_step() {
    let bench = Bench::new();
    let rows = bench
        .host
        .instances(V2, "Msvm_ProcessorSettingData")
        .expect("rows");
    let most = rows.iter().find(|row| {
        store::id(row).starts_with(r"Microsoft:Definition\") && store::id(row).ends_with("Maximum")
    });
    assert_eq!(number(most.expect("a row"), "VirtualQuantity"), 240);
    assert_eq!(rows.len(), 4);
}

#[test]
fn parts_with_a_parent_cannot_come_with_the_definition() {
    let mut bench = Bench::new();
    let input = [
        ("SystemSettings", instance(setting("a"))),
        (
            "ResourceSettings",
            Value::Array(vec![instance(drive(r"Microsoft:X\Y\0", 0))]),
        ),
    ];
    assert_eq!(bench.manage("DefineSystem", &input), Outcome::Refused(32773));
    let memory = Row::of("Msvm_MemorySettingData").number("VirtualQuantity", 2048);
    let input = [
        ("SystemSettings", instance(setting("a"))),
        ("ResourceSettings", Value::Array(vec![instance(memory)])),
    ];
    assert_eq!(bench.manage("DefineSystem", &input), Outcome::Well);
    let id = bench.host.machines()[0].id.clone();
    assert_eq!(
        number(&bench.own(&id, "Msvm_MemorySettingData"), "VirtualQuantity"),
        2048
    );
}

#[test]
fn a_class_that_is_not_the_objects_own_is_refused() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let wrong = [
        ("AffectedConfiguration", to(RASD, &format!("Microsoft:{id}"))),
        ("ResourceSettings", Value::Array(vec![instance(controller())])),
    ];
    assert_eq!(
        bench.manage("AddResourceSettings", &wrong),
        Outcome::Refused(32773)
    );
}

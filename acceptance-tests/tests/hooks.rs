//! The operator's hooks with real Terraform and libvirtd: the example's IPAM acquires and gets back, kills in between
//! included; answers that deny, hold or are nonsense; commands; and the journal of it all.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use labyard_acceptance_tests::Terraform;
use labyard_acceptance_tests::command::output_of;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::nocloud::SeedFiles;
use labyard_acceptance_tests::observer::Description;
use labyard_acceptance_tests::processes::{self, Signal};
use labyard_acceptance_tests::receiver::{Ipam, Reply, Scripted};
use labyard_acceptance_tests::terraform::Running;
use labyard_acceptance_tests::wait::comes;
use labyard_acceptance_tests::{assets, hcl, whole};
use labyard_reconciler::journal::{What, file, stages};
use labyard_schema::hooks::PROVISION;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);
const APPLY: &[&str] = &["apply", "-json", "-input=false", "-auto-approve"];
const DESTROY: &[&str] = &["destroy", "-json", "-input=false", "-auto-approve"];

fn provider(host: &Host, hooks: &str) -> String {
    let hooks = format!("  hooks = {{\n{hooks}  }}\n");
    hcl::provider_of(&hooks, &[("lab1", &host.uri())])
}

fn hook(moment: &str, url: &str, more: &str) -> String {
    format!("    {moment:?} = {{ url = {url:?}, {more} }}\n")
}

fn write_key(directory: &Path, key: &str) -> String {
    let path = directory.join("key");
    std::fs::write(&path, format!("{key}\n")).unwrap();
    path.display().to_string()
}

fn kill(running: Running) {
    let provider = running.provider().expect("a provider runs");
    processes::send(Signal::Kill, provider).unwrap();
    running.end().unwrap().expect_failure();
    comes("the provider's end", SOON, || !processes::runs(provider));
}

/// The network `lab`, and on it a stopped machine with a disk, a seed and a NIC.
struct Bench<'h> {
    host: &'h Host,
    terraform: Terraform<'h>,
    files: TempDir,
    ipam: Ipam,
    key: String,
}

impl<'h> Bench<'h> {
    fn new(host: &'h Host) -> Self {
        let files = TempDir::new().unwrap();
        let key = write_key(files.path(), "correct horse");
        let ipam = Ipam::start(files.path(), key.as_ref());
        let image = whole::write_image(&files.path().join("image.qcow2"), 100_000).unwrap();
        let bench = Self {
            host,
            terraform: Terraform::new().unwrap(),
            files,
            ipam,
            key,
        };
        let (url, key) = (bench.ipam.url(), format!("secret_file = {:?}", bench.key));
        let hooks = hook("before:define", &url, &key) + &hook("after:release_addresses", &url, &key);
        let config = provider(host, &hooks) + &whole::lab(&image, &["web"]);
        bench.terraform.write("main.tf", &config).unwrap();
        bench
    }

    fn network(&self) -> String {
        let networks = self.host.observer().unwrap().networks().unwrap();
        networks.into_iter().find(|n| n.name == "lab").unwrap().xml
    }

    fn assert_stands_with(&self, address: &str) {
        whole::assert_whole(self.host, &["web"]);
        let state = self.terraform.attributes("labyard_vm.web").unwrap().unwrap();
        assert_eq!(state["ip"], address);
        let mac = state["macs"]["lan"].as_str().unwrap();
        let network = self.network();
        let line = network
            .lines()
            .find(|line| line.contains(mac))
            .unwrap_or_default();
        assert!(line.contains(&format!("ip='{address}'")), "{network}");
        assert_eq!(self.ipam.held(), [address]);
        self.terraform.plan(&[]).unwrap().expect_empty();
    }
}

#[test]
fn an_address_of_an_ipam_is_acquired_used_and_given_back_once_whatever_was_killed() {
    let host = Host::start().unwrap();
    let begun = host.inventory().unwrap();
    let mut bench = Bench::new(&host);

    // What a hook may supply the plan leaves open.
    let plan = bench.terraform.plan(&[]).unwrap().expect_success();
    assert_eq!(plan.known("labyard_vm.web", "ip"), None);
    assert_eq!(
        plan.change("labyard_vm.web")["after_unknown"]["macs"]["lan"],
        true,
        "{}",
        plan.json()
    );

    // Killed between the hook's answer and the definition.
    let held = bench.files.path().join("held");
    let fault = format!("hold@before-define:{}", held.display());
    bench.terraform.env("LABYARD_FAULT", &fault);
    let running = bench.terraform.start(APPLY).unwrap();
    bench.terraform.env("LABYARD_FAULT", "");
    comes("the hook's answer", SOON, || held.exists() || !running.goes_on());
    assert_eq!(bench.ipam.log(), ["acquired 10.77.0.10 web"]);
    kill(running);
    bench.terraform.apply(&[]).unwrap().expect_success();
    bench.assert_stands_with("10.77.0.10");
    assert_eq!(bench.ipam.log(), ["acquired 10.77.0.10 web"], "acquired once");

    bench.terraform.destroy(&[]).unwrap().expect_success();
    assert_eq!(
        bench.ipam.log(),
        ["acquired 10.77.0.10 web", "released 10.77.0.10 web"]
    );
    assert_eq!(bench.ipam.held(), [""; 0]);
    let changes = begun.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "left over or lost:\n{changes}");

    // A receiver that has another key says no, and the apply says why.
    write_key(bench.files.path(), "wrong horse");
    let failed = bench.terraform.apply(&[]).unwrap().expect_failure().text();
    assert!(
        failed.contains("before:define") && failed.contains("401"),
        "{failed}"
    );
    write_key(bench.files.path(), "correct horse");
    bench.terraform.apply(&[]).unwrap().expect_success();
    bench.assert_stands_with("10.77.0.10");
    bench.terraform.destroy(&[]).unwrap().expect_success();
    assert_eq!(bench.ipam.held(), [""; 0]);
}

#[test]
fn a_removal_that_was_killed_while_its_hook_was_asked_asks_it_again_under_its_key() {
    let (host, server) = (Host::shared(), Scripted::start());
    let mut terraform = Terraform::new().unwrap();
    let journal = TempDir::new().unwrap();
    terraform.env("LABYARD_JOURNAL", &journal.path().display().to_string());
    let hooks = hook("before:undefine", &server.url(), "timeout = \"60s\"");
    let machine = hcl::machine("leaving", "memory_mib = 64\n  power = \"stopped\"");
    let config = provider(host, &hooks) + &machine;
    terraform.write("main.tf", &config).unwrap();
    terraform.apply(&[]).unwrap().expect_success();

    server.script(&[Reply::Hang, Reply::Say("200 OK", "{}")]);
    let running = terraform.start(DESTROY).unwrap();
    comes("the hook's call", SOON, || !server.asked().is_empty());
    kill(running);
    terraform.destroy(&[]).unwrap().expect_success();
    let keys: Vec<_> = server
        .asked()
        .iter()
        .map(|asked| asked.header("idempotency-key"))
        .collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert_eq!(keys[0], keys[1]);
    assert!(keys[0].ends_with("-removal/before:undefine"), "{keys:?}");
    assert!(host.observer().unwrap().domain("leaving").unwrap().is_none());

    let entries = file::read(journal.path(), "default").unwrap();
    let passed = stages::stages(&entries);
    let undefine: Vec<_> = passed.iter().filter(|p| p.stage == "undefine").collect();
    let outcomes: Vec<_> = undefine.iter().map(|p| p.outcome).collect();
    assert_eq!(
        outcomes,
        [stages::Outcome::Open, stages::Outcome::Done],
        "the killed run and the next"
    );
    assert!(passed.iter().any(|p| p.event == "create" && p.stage == "define"));
}

#[test]
fn a_name_and_a_mac_of_a_hook_are_the_seeds_the_definitions_and_the_networks_and_past_runs_say_what_is_usual()
{
    let (host, server) = (Host::start().unwrap(), Scripted::start());
    let begun = host.inventory().unwrap();
    let (files, journal) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let image = whole::write_image(&files.path().join("image.qcow2"), 100_000).unwrap();
    let mut terraform = Terraform::new().unwrap();
    terraform.env("LABYARD_JOURNAL", &journal.path().display().to_string());
    server.script(&[Reply::Say(
        "200 OK",
        r#"{"set": {"macs": {"lan": "52:54:00:aa:bb:01"}, "hostname": "named-by-hook"}}"#,
    )]);
    let hooks = hook("before:define", &server.url(), "retries = 0");
    let first = provider(&host, &hooks) + &whole::lab(&image, &["web"]);
    terraform.applied(&first);
    terraform.assert_settled();
    whole::assert_whole(&host, &["web"]);

    let state = terraform.resource("labyard_vm.web");
    assert_eq!(state["name"], "web", "what Terraform calls it stays");
    assert_eq!(state["macs"]["lan"], "52:54:00:aa:bb:01");
    let observer = host.observer().unwrap();
    let xml = observer.domain_xml("web", Description::Persistent).unwrap();
    assert!(xml.contains("<mac address='52:54:00:aa:bb:01'/>"), "{xml}");
    let meta = SeedFiles::of(&host, "web").unwrap().text("meta-data").unwrap();
    assert!(meta.contains("named-by-hook"), "{meta}");
    // Others find it on the network by the machine's own name, under the card that it has.
    let network = observer.networks().unwrap().remove(0).xml;
    let reserved = format!(
        "<host mac='52:54:00:aa:bb:01' name='web' ip='{}'/>",
        state["ip"].as_str().unwrap()
    );
    assert!(network.contains(&reserved), "{network}");

    // A second of the same image: the command's table says what its stages took, and what is usual by the first.
    server.script(&[
        Reply::Say(
            "200 OK",
            r#"{"hold": {"retry_after": 1, "reason": "the owner's approval"}}"#,
        ),
        Reply::Say("200 OK", "{}"),
    ]);
    terraform.applied(&(provider(&host, &hooks) + &whole::lab(&image, &["web", "db"])));
    terraform.assert_settled();
    let table = |name: &str| {
        let program = assets::provider().with_file_name("labyard");
        let mut command = Command::new(program);
        command.args(["journal", name, "--directory"]).arg(journal.path());
        output_of(&mut command).unwrap()
    };
    let (web, db) = (table("web"), table("db"));
    for stage in PROVISION {
        let [first, second] = [&web, &db].map(|table| row(table, stage));
        assert_eq!(first[1..6], ["lab1", "web", "create", stage, "1"], "{web}");
        assert_eq!(
            (first[7], first[8]),
            ("-", "done"),
            "nothing is usual yet:\n{web}"
        );
        assert_eq!(second[1..6], ["lab1", "db", "create", stage, "1"], "{db}");
        assert_eq!(
            second[7], first[6],
            "the only past run's time is usual:\n{web}\n{db}"
        );
    }
    assert!(
        row(&db, "define")
            .join(" ")
            .contains("holds: the owner's approval"),
        "{db}"
    );
    terraform.destroyed();
    host.assert_as(&begun);
}

/// The words of the line of a machine's create that is about a stage.
#[track_caller]
fn row<'t>(table: &'t str, stage: &str) -> Vec<&'t str> {
    let mut rows = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = rows.find(|words| words.get(3) == Some(&"create") && words.get(4) == Some(&stage));
    found.unwrap_or_else(|| panic!("no stage {stage} in\n{table}"))
}

/// A machine without anything, and one hook with its answers; each step in the same directory.
struct Asking {
    host: &'static Host,
    terraform: Terraform<'static>,
    server: Scripted,
    journal: TempDir,
}

impl Asking {
    fn new() -> Self {
        let journal = TempDir::new().unwrap();
        let mut terraform = Terraform::new().unwrap();
        terraform.env("LABYARD_JOURNAL", &journal.path().display().to_string());
        terraform.env("LABYARD_SENTINEL", "hunter2");
        Self {
            host: Host::shared(),
            terraform,
            server: Scripted::start(),
            journal,
        }
    }

    fn configure(&self, hooks: &str) {
        let machine = hcl::machine("asked", "memory_mib = 64\n  power = \"stopped\"");
        let config = provider(self.host, hooks) + &machine;
        self.terraform.write("main.tf", &config).unwrap();
    }

    /// The error of an apply whose hook gives these replies.
    fn refused(&self, replies: &[Reply], more: &str) -> String {
        self.server.script(replies);
        self.configure(&hook("before:define", &self.server.url(), more));
        self.terraform.apply(&[]).unwrap().expect_failure().text()
    }

    fn applied(&self) {
        self.terraform.apply(&[]).unwrap().expect_success();
    }
}

#[test]
fn hooks_deny_hold_stumble_and_talk_nonsense_and_each_is_told_for_what_it_is() {
    let asking = Asking::new();
    let deny = Reply::Say(
        "200 OK",
        r#"{"deny": {"reason": "quota of the class is used up"}}"#,
    );
    let told = asking.refused(&[deny], "on_error = \"continue\"");
    assert!(told.contains("quota of the class is used up"), "{told}");
    let xml = asking
        .host
        .observer()
        .unwrap()
        .domain_xml("asked", Description::Persistent)
        .unwrap();
    assert!(xml.contains("before:define"), "the mark names the hook: {xml}");

    for (reply, more, said) in [
        (
            Reply::Hang,
            "timeout = \"1s\", retries = 0",
            "did not answer within 1s",
        ),
        (Reply::Say("200 OK", "<html>"), "retries = 5", "is not understood"),
        (Reply::Away, "retries = 5", "a redirect"),
        (
            Reply::Say("403 Forbidden", "not you"),
            "retries = 5",
            "403 (not you)",
        ),
    ] {
        let told = asking.refused(std::slice::from_ref(&reply), more);
        assert!(told.contains(said), "{said}: {told}");
        assert!(
            told.contains("stage define") || told.contains("before:define"),
            "{told}"
        );
        assert_eq!(asking.server.asked().len(), 1, "{said}: asked once");
    }

    // Stumbles twice, holds once, and lets go.
    asking.server.script(&[
        Reply::Say("503 Busy", "later"),
        Reply::Say("500 Oops", "later"),
        Reply::Say(
            "200 OK",
            r#"{"hold": {"retry_after": 1, "reason": "the owner's approval"}}"#,
        ),
        Reply::Say("200 OK", "{}"),
    ]);
    asking.configure(&hook("before:define", &asking.server.url(), "retries = 2"));
    asking.applied();
    let asked = asking.server.asked();
    let attempts: Vec<_> = asked
        .iter()
        .map(|asked| asked.body["attempt"].as_u64().unwrap())
        .collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
    let request = &asked[3].body;
    assert_eq!(request["event"], "create");
    assert_eq!(
        (&request["when"], &request["stage"]),
        (&"before".into(), &"define".into())
    );
    assert_eq!(
        (&request["name"], &request["host"]),
        (&"asked".into(), &"lab1".into())
    );
    assert_eq!(request["machine"]["memory_mib"], 64);
    assert_eq!(request["idempotency_key"], asked[0].header("idempotency-key"));
    let entries = file::read(asking.journal.path(), "default").unwrap();
    assert!(entries.iter().any(|e| e.what == What::HookHolds));
    let lines: String = entries.iter().map(|e| format!("{e:?}")).collect();
    assert!(lines.contains("the owner's approval") && !lines.contains("hunter2"));
    asking.terraform.plan(&[]).unwrap().expect_empty();
    asking.terraform.destroy(&[]).unwrap().expect_success();
}

#[test]
fn a_command_is_a_hook_too_and_a_hook_that_may_be_missed_is() {
    let asking = Asking::new();
    let seen = asking.journal.path().join("seen");
    let script = format!("cat > {0}; env >> {0}", seen.display());
    let command = format!(
        "    \"before:define\" = {{ command = [\"/bin/sh\", \"-c\", {script:?}] }}\n    \
         \"after:finished\" = {{ command = [\"/no/such/program\"], on_error = \"continue\" }}\n"
    );
    asking.configure(&command);
    asking.applied();
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(
        seen.contains(r#""stage":"define""#) && seen.contains("PATH="),
        "{seen}"
    );
    assert!(!seen.contains("hunter2") && !seen.contains("TF_"), "{seen}");

    // A change calls no hooks unless it is asked to.
    let no = "    \"before:define\" = { command = [\"/bin/sh\", \"-c\", \"echo out of hours >&2; exit 1\"]";
    let larger = |hooks: &str, memory: u32| {
        let body = format!("memory_mib = {memory}\n  power = \"stopped\"");
        let config = provider(asking.host, hooks) + &hcl::machine("asked", body);
        asking.terraform.write("main.tf", &config).unwrap();
    };
    larger(&format!("{no} }}\n"), 96);
    asking.applied();
    larger(&format!("{no}, on_update = true }}\n"), 128);
    let told = asking.terraform.apply(&[]).unwrap().expect_failure().text();
    assert!(told.contains("out of hours"), "{told}");
    asking.configure("");
    asking.terraform.destroy(&[]).unwrap().expect_success();
}

#[test]
fn a_hook_that_makes_no_sense_is_refused_before_anything_is_done() {
    let asking = Asking::new();
    for (hooks, said) in [
        (
            "    \"before:lunch\" = { url = \"http://h/\" }\n",
            "release_addresses",
        ),
        (
            "    \"after:undefine\" = { url = \"http://h/\" }\n",
            "before:undefine",
        ),
        ("    \"before:define\" = {}\n", "needs one of url"),
        (
            "    \"before:define\" = { url = \"http://h/\", command = [\"x\"] }\n",
            "keep one",
        ),
        (
            "    \"before:define\" = { url = \"http://me:pw@h/\" }\n",
            "user name or password",
        ),
        (
            "    \"before:define\" = { url = \"http://h/\", timeout = \"soon\" }\n",
            "no duration",
        ),
    ] {
        asking.configure(hooks);
        let plan = asking.terraform.plan(&[]).unwrap();
        let told = plan.run().text();
        assert!(!plan.run().succeeded() && told.contains(said), "{said}: {told}");
    }
}

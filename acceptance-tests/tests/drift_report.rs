//! Drift detection in CI: a plan with access that cannot write, and what `labyard drift` makes of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use labyard_acceptance_tests::command::{Ended, end_of, output_of};
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::terraform::{Install, Terraform};
use labyard_acceptance_tests::{assets, hcl};
use serde_json::Value;

const MACHINES: &str = "memory_mib = 64\n  power = \"stopped\"";

fn labyard() -> PathBuf {
    assets::provider().with_file_name("labyard")
}

fn read_only(host: &Host) -> String {
    configuration("  read_only = true\n", &host.read_only_uri())
}

fn configuration(more: &str, uri: &str) -> String {
    hcl::provider_of(more, &[("lab1", uri)])
        + &hcl::network("lab", 77)
        + &hcl::machine("web", MACHINES)
        + &hcl::machine("db", MACHINES)
}

/// Two machines and a network, applied with access that may write; then read only.
fn applied() -> (Host, Terraform<'static>) {
    let host = Host::start().unwrap();
    // As a runner has it: by `terraform init`, from a mirror.
    let version = "0.1.0".to_owned();
    let terraform = Terraform::installed(&Install::Mirror { version }).unwrap();
    terraform
        .write("main.tf", &configuration("", &host.uri()))
        .unwrap();
    terraform.init().unwrap().expect_success();
    terraform.apply(&[]).unwrap().expect_success();
    terraform.write("main.tf", &read_only(&host)).unwrap();
    (host, terraform)
}

/// A step of a workflow: its lines, when it runs, and the variables that it has beside the job's.
struct Step {
    lines: String,
    runs: String,
    environment: Vec<(String, String)>,
}

/// A workflow file as its CI system reads it.
struct Workflow {
    steps: Vec<Step>,
    environment: Vec<(String, String)>,
    shell: &'static [&'static str],
}

/// The values that have no expression in them; one with an expression is the test's to give.
fn variables(of: &Value) -> Vec<(String, String)> {
    let all = of.as_object().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.iter()
        .filter(|(_, value)| !text(value).contains("${{"))
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

impl Workflow {
    /// The file's YAML, read by others.
    fn yaml(name: &str) -> Value {
        const READ: &str =
            "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1])), default=str))";
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../examples/ci")
            .join(name);
        let mut python = Command::new("/usr/bin/python3");
        let text = output_of(python.args(["-c", READ]).arg(file)).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// The job of GitHub Actions with all its own steps. Of a step of somebody else (`uses`) nothing is run.
    fn github() -> Self {
        let job = &Self::yaml("github-drift.yml")["jobs"]["drift"];
        let steps = job["steps"].as_array().unwrap().iter();
        let steps = steps.filter(|step| step["run"].is_string()).map(|step| Step {
            lines: step["run"].as_str().unwrap().to_owned(),
            runs: step["if"].as_str().unwrap_or_default().to_owned(),
            environment: variables(&step["env"]),
        });
        Self {
            steps: steps.collect(),
            environment: variables(&job["env"]),
            // As its documentation says of a `run` that names no shell.
            shell: &["bash", "-e"],
        }
    }

    /// The job of GitLab CI: its script, and what runs after it whatever became of that.
    fn gitlab() -> Self {
        let job = &Self::yaml("gitlab-drift.yml")["drift"];
        let step = |key: &str, runs: &str| Step {
            lines: job[key]
                .as_array()
                .unwrap()
                .iter()
                .fold(String::new(), |all, line| all + line.as_str().unwrap() + "\n"),
            runs: runs.to_owned(),
            environment: Vec::new(),
        };
        Self {
            steps: vec![step("script", ""), step("after_script", "always()")],
            environment: variables(&job["variables"]),
            shell: &["bash", "-e", "-o", "pipefail"],
        }
    }

    /// Runs every step as it is written, as in the run of a pull request. What the job ended with, and all that was said.
    fn run(&self, terraform: &Terraform<'_>, scope: &str) -> Ended {
        let mut job: Option<Ended> = None;
        let mut failed = false;
        for step in &self.steps {
            let always = step.runs.contains("always()");
            let file = step.runs.split("hashFiles('").nth(1);
            let file = file.and_then(|rest| rest.split('\'').next());
            if (failed && !always) || file.is_some_and(|file| !terraform.directory().join(file).exists()) {
                continue;
            }
            let ended = self.run_step(terraform, step, scope);
            failed |= !ended.status.success();
            assert!(
                job.is_none() || ended.status.success(),
                "{}: {}",
                step.lines,
                said(&ended)
            );
            job.get_or_insert(ended);
        }
        job.unwrap()
    }

    fn run_step(&self, terraform: &Terraform<'_>, step: &Step, scope: &str) -> Ended {
        let file = terraform.directory().join("step.sh");
        std::fs::write(&file, &step.lines).unwrap();
        let mut command = terraform.in_its_place(self.shell[0]);
        command.args(&self.shell[1..]).arg(&file);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.envs(step.environment.iter().map(|(name, value)| (name, value)));
        let place = |name: &str| terraform.directory().join(name);
        let path = std::env::var("PATH").unwrap_or_default();
        let tools = place("tools");
        command
            .env("PATH", format!("{}:{path}", tools.display()))
            .env("DRIFT_SCOPE", scope)
            .env("GITHUB_STEP_SUMMARY", place("summary.md"))
            .env("GITHUB_REPOSITORY", "lab/infrastructure")
            .env("NUMBER", "7");
        end_of(&mut command).unwrap()
    }
}

/// Programs that a runner has: the report's, Terraform, and one that plays GitHub. It keeps one comment, and writes down
/// what is asked of it.
fn install_tools(terraform: &Terraform<'_>) {
    let tools = terraform.directory().join("tools");
    std::fs::create_dir(&tools).unwrap();
    std::os::unix::fs::symlink(labyard(), tools.join("labyard")).unwrap();
    let gh = tools.join("gh");
    let text = "#!/bin/bash\necho \"$*\" >> gh.log\ncase \"$*\" in\n  *--paginate*) [ ! -e commented ] || echo 41 ;;\n  \
                *--method*) cp comment.md commented ;;\n  *) cp comment.md commented ;;\nesac\n";
    std::fs::write(&gh, text).unwrap();
    output_of(Command::new("chmod").arg("+x").arg(&gh)).unwrap();
}

fn said(ended: &Ended) -> String {
    format!("{}{}", ended.stdout, ended.stderr)
}

fn read(terraform: &Terraform<'_>, file: &str) -> String {
    std::fs::read_to_string(terraform.directory().join(file)).unwrap()
}

/// One comment, written by the first run and renewed by the next ones; a plan, which may hold secrets, is not left behind.
#[track_caller]
fn assert_told_to_github(terraform: &Terraform<'_>) {
    let asked = read(terraform, "gh.log");
    let asked: Vec<_> = asked.lines().collect();
    assert_eq!(asked.len(), 4, "{asked:#?}");
    assert!(
        asked[0].starts_with("api --paginate repos/lab/infrastructure/issues/7/comments"),
        "{asked:#?}"
    );
    assert_eq!(asked[1], "pr comment 7 --body-file comment.md");
    assert_eq!(
        asked[3],
        "api --method PATCH repos/lab/infrastructure/issues/comments/41 --field body=@comment.md"
    );
    assert!(read(terraform, "commented").starts_with("<!-- labyard drift -->"));
    for left in ["plan.bin", "plan.json"] {
        assert!(!terraform.directory().join(left).exists(), "{left}");
    }
}

#[test]
fn a_read_only_run_reports_what_others_changed_and_changes_nothing_itself() {
    let (host, terraform) = applied();
    install_tools(&terraform);
    let (github, gitlab) = (&Workflow::github(), &Workflow::gitlab());
    let (all, only_outside) = ("", "--only-outside");
    for (workflow, scope) in [(github, all), (github, only_outside), (gitlab, only_outside)] {
        let quiet = workflow.run(&terraform, scope);
        assert_eq!(quiet.status.code(), Some(0), "{}", said(&quiet));
        assert!(
            quiet.stdout.contains("No drift: 3 objects as configured."),
            "{}",
            quiet.stdout
        );
    }
    assert_told_to_github(&terraform);

    // What a pull request wants changed is none of others' doing.
    let config = read_only(&host);
    terraform
        .write(
            "main.tf",
            &config.replacen("memory_mib = 64", "memory_mib = 80", 1),
        )
        .unwrap();
    let wanted = github.run(&terraform, only_outside);
    assert_eq!(wanted.status.code(), Some(0), "{}", said(&wanted));
    let told = gitlab.run(&terraform, all);
    assert_eq!(told.status.code(), Some(2), "{}", said(&told));
    assert!(said(&told).contains("labyard_vm.web"), "{}", said(&told));
    terraform.write("main.tf", &config).unwrap();

    host.virsh(&["setmaxmem", "web", "96M", "--config"]).unwrap();
    host.virsh(&["setmem", "web", "96M", "--config"]).unwrap();
    host.virsh(&["start", "db"]).unwrap();
    let before = host.inventory().unwrap();
    for (workflow, scope) in [(gitlab, only_outside), (github, all)] {
        let drift = workflow.run(&terraform, scope);
        assert_eq!(drift.status.code(), Some(2), "{scope}: {}", said(&drift));
        for part in [
            "labyard_vm.web: changed outside of Terraform",
            "memory_mib: 64 -> 96",
            "labyard_vm.db: changed outside of Terraform",
            "power: \"stopped\" -> \"running\"",
            "an apply sets back: power",
            "2 objects changed outside of Terraform, 0 otherwise not as configured, 1 as configured.",
        ] {
            assert!(said(&drift).contains(part), "{part} is not in\n{}", said(&drift));
        }
    }
    assert!(read(&terraform, "drift.md").contains("| `memory_mib` | `64` | `96` |"));
    // The report is the run's summary and the pull request's one comment, also where the report ended the job.
    assert!(read(&terraform, "summary.md").contains("| `memory_mib` | `64` | `96` |"));
    assert!(read(&terraform, "commented").contains("| `memory_mib` | `64` | `96` |"));
    assert!(read(&terraform, "drift.xml").contains("tests=\"3\" failures=\"2\""));
    let sarif: Value = serde_json::from_str(&read(&terraform, "drift.sarif")).unwrap();
    let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "main.tf");
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "drift");

    for refused in [terraform.apply(&[]).unwrap(), terraform.destroy(&[]).unwrap()] {
        let refused = refused.expect_failure();
        assert!(
            refused.text().contains("the provider is read_only"),
            "{}",
            refused.text()
        );
    }
    let changes = before.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "a read-only run changed:\n{changes}");
}

#[test]
fn the_machines_own_log_tells_when_it_was_ended() {
    let (host, terraform) = applied();
    host.virsh(&["start", "db"]).unwrap();
    host.virsh(&["destroy", "db"]).unwrap();
    host.virsh(&["start", "db"]).unwrap();
    terraform
        .run(&["plan", "-lock=false", "-out=plan.bin"])
        .unwrap()
        .expect_success();
    let plan = output_of(terraform.command().args(["show", "-json", "plan.bin"])).unwrap();
    std::fs::write(terraform.directory().join("plan.json"), plan).unwrap();
    let log = host.directory().join("log/qemu/db.log");
    let mut report = Command::new(labyard());
    report
        .args(["drift", "plan.json", "-o", "json", "--log"])
        .arg(&log)
        .current_dir(terraform.directory());
    let ended = end_of(&mut report).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{}", said(&ended));
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let lines = report["objects"][0]["log"].as_array().unwrap();
    assert!(
        lines
            .iter()
            .any(|entry| entry["line"].as_str().unwrap().contains("reason=destroyed")),
        "{report:#}"
    );
}

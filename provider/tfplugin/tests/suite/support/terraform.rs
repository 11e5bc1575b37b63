//! Real Terraform in a directory of its own, with the faulty provider in place of a released one.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{Scratch, example};

/// A working directory.
pub(crate) struct Terraform {
    scratch: Scratch,
}

/// What a command printed and returned.
pub(crate) struct Outcome {
    pub(crate) code: i32,
    /// All output with every run of white space as one space: Terraform breaks lines at 78 columns.
    pub(crate) text: String,
}

/// The one resource instance of a state.
#[derive(Debug, PartialEq)]
pub(crate) struct Instance {
    pub(crate) tainted: bool,
    pub(crate) attributes: Value,
    pub(crate) private: String,
}

impl Terraform {
    /// A directory whose configuration is one `faulty_thing` with these arguments.
    pub(crate) fn with_thing(arguments: &str) -> Self {
        Self::with_config(&format!("resource \"faulty_thing\" \"a\" {{\n{arguments}\n}}\n"))
    }

    /// A directory with this configuration.
    pub(crate) fn with_config(config: &str) -> Self {
        let scratch = Scratch::new();
        let bin = scratch.path().join("bin");
        std::fs::create_dir(&bin).expect("a directory for the provider");
        std::os::unix::fs::symlink(example("faulty"), bin.join("terraform-provider-faulty")).expect("a link");
        let head = "terraform {\n required_providers {\n faulty = { source = \"labyard/faulty\" }\n }\n}\n";
        let overrides = format!(
            "provider_installation {{\n dev_overrides {{ \"labyard/faulty\" = {:?} }}\n direct {{}}\n}}\n",
            bin.display().to_string()
        );
        scratch.write("main.tf", &format!("{head}{config}"));
        scratch.write("rc", &overrides);
        Self { scratch }
    }

    /// Puts the resource into the state, with `kept` as its private data.
    pub(crate) fn given(&self, version: i64, attributes: &Value) {
        let state = json!({
            "version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "test", "outputs": {},
            "resources": [{
                "mode": "managed", "type": "faulty_thing", "name": "a",
                "provider": "provider[\"registry.terraform.io/labyard/faulty\"]",
                "instances": [{
                    "schema_version": version, "attributes": attributes, "sensitive_attributes": [],
                    "private": KEPT,
                }],
            }],
        });
        self.scratch.write("terraform.tfstate", &state.to_string());
    }

    /// Changes the configuration.
    pub(crate) fn rewrite(&self, from: &str, to: &str) {
        let config = self.read("main.tf").expect("the configuration");
        assert!(config.contains(from), "{from} is not in\n{config}");
        self.scratch.write("main.tf", &config.replace(from, to));
    }

    /// A command that is yet to be run.
    pub(crate) fn command(&self, args: &[&str], env: &[(&str, &str)]) -> Command {
        let mut command = Command::new("terraform");
        command
            .args(args)
            .current_dir(self.scratch.path())
            .stdin(Stdio::null());
        for name in [
            "TF_LOG",
            "TF_LOG_PROVIDER",
            "TF_REATTACH_PROVIDERS",
            "TF_CLI_ARGS",
            "FAULTY",
        ] {
            command.env_remove(name);
        }
        command.env("TF_CLI_CONFIG_FILE", self.scratch.path().join("rc"));
        command
            .env("TMPDIR", self.scratch.tmp())
            .env("CHECKPOINT_DISABLE", "1")
            .env("TF_IN_AUTOMATION", "1");
        command.envs(env.iter().copied());
        command
    }

    /// Runs a command to its end. No socket may be left then.
    pub(crate) fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Outcome {
        let output = self.command(args, env).output().expect("terraform on the PATH");
        let leftovers = self.scratch.leftovers();
        assert!(leftovers.is_empty(), "left behind: {leftovers:?}");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Outcome {
            code: output.status.code().unwrap_or(-1),
            text: normal(&text.concat()),
        }
    }

    /// Starts a command in a process group of its own, its output in a file.
    pub(crate) fn start(&self, args: &[&str], env: &[(&str, &str)]) -> Child {
        use std::os::unix::process::CommandExt as _;
        let out = std::fs::File::create(self.scratch.path().join("out")).expect("a file for the output");
        let err = out.try_clone().expect("a file for the output");
        let mut command = self.command(args, env);
        command
            .process_group(0)
            .stdout(out)
            .stderr(err)
            .spawn()
            .expect("terraform on the PATH")
    }

    /// What a started command has printed so far.
    pub(crate) fn output(&self) -> String {
        normal(&self.read("out").unwrap_or_default())
    }

    pub(crate) fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.scratch.path().join(name)).ok()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.scratch.path().join(name).display().to_string()
    }

    /// The resource in the state, if it is there.
    pub(crate) fn instance(&self) -> Option<Instance> {
        let state: Value = serde_json::from_str(&self.read("terraform.tfstate")?).expect("a state");
        let instance = state["resources"].get(0)?["instances"].get(0)?.clone();
        Some(Instance {
            tainted: instance["status"] == "tainted",
            attributes: instance["attributes"].clone(),
            private: instance["private"].as_str().unwrap_or_default().to_owned(),
        })
    }
}

/// The private data that [`Terraform::given`] puts into the state ("kept").
pub(crate) const KEPT: &str = "a2VwdA==";
/// What a save of the faulty provider puts there ("made").
pub(crate) const MADE: &str = "bWFkZQ==";

impl Scratch {
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("a file of the test");
    }
}

fn normal(text: &str) -> String {
    text.split_whitespace()
        .filter(|word| !matches!(*word, "│" | "╷" | "╵"))
        .collect::<Vec<_>>()
        .join(" ")
}

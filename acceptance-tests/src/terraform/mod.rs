//! Terraform in a working directory of its own, with the provider under test.
//!
//! Everything runs with `-json`, so that what the user would be told is there as data; the provider is found by
//! Terraform's `dev_overrides`, or where `terraform init` looks in a filesystem mirror.

mod expect;
mod plan;
mod run;
mod settings;

pub use plan::Plan;
pub use run::{Diagnostic, Run, Running};
pub use settings::Install;

use crate::command::{end_of, shown};
use crate::error::{HarnessError, Result};
use crate::host::Host;
use settings::Settings;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A working directory with its state.
#[derive(Debug)]
pub struct Terraform<'h> {
    directory: TempDir,
    settings: Settings,
    environment: Vec<(String, String)>,
    inside: Option<&'h Host>,
    user: Option<u32>,
}

impl<'h> Terraform<'h> {
    /// An empty directory; the provider is found without `init`.
    pub fn new() -> Result<Self> {
        Self::installed(&Install::Override)
    }

    /// An empty directory.
    pub fn installed(install: &Install) -> Result<Self> {
        let directory = TempDir::new().map_err(HarnessError::file("make a working directory"))?;
        let settings = Settings::write(install)?;
        Ok(Self {
            directory,
            settings,
            environment: Vec::new(),
            inside: None,
            user: None,
        })
    }

    /// Runs Terraform and the provider inside of a host's namespaces, where they reach guests (`ready = tcp:PORT`).
    #[must_use]
    pub fn inside(mut self, host: &'h Host) -> Self {
        self.inside = Some(host);
        self
    }

    /// Runs everything that follows as a user without groups, who may do in the working directory what root may.
    pub fn become_user(&mut self, id: u32) -> Result<()> {
        let mut open = Command::new("chmod");
        open.args(["-R", "a+rwX"])
            .arg(self.directory())
            .arg(self.settings.directory());
        end_of(&mut open)?.successful()?;
        self.user = Some(id);
        Ok(())
    }

    /// Sets a variable of the environment for all that follows.
    pub fn env(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Where configuration and state are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file of the configuration.
    pub fn write(&self, name: &str, content: &str) -> Result<()> {
        std::fs::write(self.directory().join(name), content)
            .map_err(HarnessError::file(format!("write {name}")))
    }

    /// `terraform init`; needed only with a mirror or modules.
    pub fn init(&self) -> Result<Run> {
        self.run(&["init", "-input=false", "-no-color"])
    }

    /// `terraform plan`, and what it found as data.
    pub fn plan(&self, arguments: &[&str]) -> Result<Plan> {
        let mut all = vec!["plan", "-json", "-input=false", "-out=plan.bin"];
        all.extend(arguments);
        let run = self.run(&all)?;
        let shown = if run.succeeded() {
            end_of(self.command().args(["show", "-json", "plan.bin"]))?
                .successful()?
                .stdout
        } else {
            "{}".to_owned()
        };
        Plan::new(run, &shown)
    }

    /// `terraform apply`.
    pub fn apply(&self, arguments: &[&str]) -> Result<Run> {
        let mut all = vec!["apply", "-json", "-input=false", "-auto-approve"];
        all.extend(arguments);
        self.run(&all)
    }

    /// `terraform destroy`.
    pub fn destroy(&self, arguments: &[&str]) -> Result<Run> {
        let mut all = vec!["destroy", "-json", "-input=false", "-auto-approve"];
        all.extend(arguments);
        self.run(&all)
    }

    /// `terraform import`.
    pub fn import(&self, address: &str, id: &str) -> Result<Run> {
        self.run(&["import", "-input=false", "-no-color", address, id])
    }

    /// Any other command, run to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<Run> {
        Ok(Run::of(end_of(self.command().args(arguments))?))
    }

    /// Starts a command and lets it run: to be killed, or met by another.
    pub fn start(&self, arguments: &[&str]) -> Result<Running> {
        self.start_with(arguments, &[])
    }

    /// The same with more in its environment.
    pub fn start_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Running> {
        let mut command = self.command();
        command
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let name = shown(&command);
        let child = command.spawn().map_err(|source| HarnessError::NotStarted {
            command: name.clone(),
            source,
        })?;
        Ok(Running::new(name, child))
    }

    /// The state as `terraform show -json` tells it.
    pub fn state(&self) -> Result<serde_json::Value> {
        let shown = end_of(self.command().args(["show", "-json"]))?
            .successful()?
            .stdout;
        serde_json::from_str(&shown).map_err(|_| HarnessError::Unreadable {
            what: "terraform show".into(),
            text: shown,
        })
    }

    /// The attributes of one resource in the state.
    pub fn attributes(&self, address: &str) -> Result<Option<serde_json::Value>> {
        let state = self.state()?;
        let resources = state["values"]["root_module"]["resources"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        Ok(resources
            .into_iter()
            .find(|one| one["address"] == address)
            .map(|mut one| one["values"].take()))
    }

    /// The file of the state itself, as it lies on the disk; empty if there is none.
    pub fn state_text(&self) -> String {
        std::fs::read_to_string(self.state_file()).unwrap_or_default()
    }

    /// Puts back what the state was where Terraform, ended while it wrote, has left half of it: it writes over the file
    /// that is there. `before` is empty where there was none.
    pub fn put_back_half_a_state(&self, before: &str) {
        let left = self.state_text();
        if left.is_empty() || serde_json::from_str::<serde_json::Value>(&left).is_ok() {
            return;
        }
        eprintln!("Terraform has left half of its state");
        match before {
            "" => std::fs::remove_file(self.state_file()).unwrap(),
            before => std::fs::write(self.state_file(), before).unwrap(),
        }
    }

    /// Where the state lies.
    pub fn state_file(&self) -> PathBuf {
        self.directory().join("terraform.tfstate")
    }

    /// Another program in Terraform's place: its directory, its environment.
    pub fn in_its_place(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory());
        for (name, value) in self.command().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Terraform with its surroundings, for a test's own arguments.
    pub fn command(&self) -> Command {
        let terraform = crate::assets::terraform();
        let program = match self.user {
            Some(_) => Path::new("setpriv"),
            None => &terraform,
        };
        let mut command = match self.inside {
            Some(host) => host.command(program),
            None => Command::new(program),
        };
        if let Some(id) = self.user {
            command.args([&format!("--reuid={id}"), "--regid=65534", "--clear-groups", "--"]);
            command.arg(&terraform).env("HOME", self.directory());
        }
        command.current_dir(self.directory());
        for (name, _) in
            std::env::vars().filter(|(name, _)| name.starts_with("TF_") || name.starts_with("LABYARD_"))
        {
            command.env_remove(name);
        }
        command
            .env("TF_CLI_CONFIG_FILE", self.settings.file())
            .env("TF_IN_AUTOMATION", "1");
        // Tests that are about the journal name one of their own.
        command
            .env("CHECKPOINT_DISABLE", "1")
            .env("LABYARD_JOURNAL", "off");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

//! A provider that breaks one of Terraform's rules on purpose, whichever `FAULTY` in the environment names. The
//! tests run real Terraform against it; see `tests/suite`.
//!
//! `FAULTY_SELF_CHECK=off` lets the fault out as it is, to see what Terraform itself makes of it.
//! `FAULTY_MARK` names a file that a slow operation writes once it is under way, and `FAULTY_LOG` one that the
//! provider's life is noted in.

mod at_apply;
mod at_plan;
mod at_read;
mod fault;
mod passing;
mod reading;
mod thing;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use tfplugin::schema::{Attribute, Schema};
use tfplugin::value::{Path, Type, Value};
use tfplugin::{
    ConfigureRequest, DataSource, Diagnostics, EphemeralResource, Provider, Resource, ServeOptions,
    serve_with,
};

use fault::Fault;

fn main() -> ExitCode {
    let fault = match std::env::var("FAULTY").ok().map(|name| name.parse::<Fault>()) {
        None => Fault::None,
        Some(Ok(fault)) => fault,
        Some(Err(unknown)) => {
            eprintln!("{unknown}");
            return ExitCode::FAILURE;
        }
    };
    let options = ServeOptions::new("registry.terraform.io/labyard/faulty");
    let options = match std::env::var("FAULTY_SELF_CHECK").as_deref() {
        Ok("off") => options.without_self_check(),
        _ => options,
    };
    serve_with(&options, Faulty::new(fault))
}

struct Faulty {
    fault: Fault,
    schema: Schema,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        let schema = Schema::new([Attribute::optional("region", Type::String)]);
        Self { fault, schema }
    }
}

/// Notes one line about the provider's life.
fn note(line: &str) {
    let Some(path) = std::env::var_os("FAULTY_LOG") else {
        return;
    };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    if let Ok(mut file) = file {
        let _ = writeln!(file, "{line}");
    }
}

/// Tells the test that an operation is under way.
fn mark() {
    if let Some(path) = std::env::var_os("FAULTY_MARK") {
        let _ = std::fs::write(path, std::process::id().to_string());
    }
}

#[async_trait]
impl Provider for Faulty {
    fn version(&self) -> &str {
        "1.2.3"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        vec![Arc::new(thing::Thing::new(self.fault))]
    }

    fn data_sources(&self) -> Vec<Arc<dyn DataSource>> {
        vec![Arc::new(reading::Reading::new(self.fault))]
    }

    fn ephemeral_resources(&self) -> Vec<Arc<dyn EphemeralResource>> {
        vec![Arc::new(passing::Passing::new(self.fault))]
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        if config.field("region").as_str() == Some("nowhere") {
            diags.error(
                Some(Path::attribute("region")),
                "No such region",
                "There is no region \"nowhere\".",
            );
        }
    }

    async fn configure(&self, request: ConfigureRequest, diags: &mut Diagnostics) {
        note(&format!("configured by {}", request.terraform_version));
        match self.fault {
            Fault::ConfigureFails => diags.error(None, "No connection", "The host does not answer."),
            Fault::ConfigurePanics => panic!("configure fell over"),
            _ => {}
        }
    }

    fn stopped(&self) {
        note("stopped");
    }

    async fn shutdown(&self) {
        if self.fault == Fault::ShutdownHangs {
            std::future::pending::<()>().await;
        }
        note("shut down");
    }
}

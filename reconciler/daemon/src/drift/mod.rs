//! `labyard drift`: what a plan tells of drift, readable.
//!
//! ```sh
//! terraform plan -out=plan.bin && terraform show -json plan.bin | labyard drift --markdown drift.md
//! ```

mod compare;
mod log;
mod plan;
mod render;
mod report;
mod source;

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use plan::Plan;
use render::{Format, render};
use report::Report;
use source::Sources;

const HELP: &str = "\
The plan: terraform plan -out=plan.bin && terraform show -json plan.bin. With -refresh-only it holds only what was changed \
outside of Terraform; without, also what the configuration asks for and no apply has made yet.

Exit codes: 0 all is as configured, 1 error, 2 something differs.";

/// Reports what a plan found to differ, by object and attribute. Secret values are not shown.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// JSON of a plan [default: standard input]
    #[arg(value_name = "PLAN.json")]
    plan: Option<PathBuf>,
    /// Form of what goes to standard output.
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Also write a file for a comment on a pull request.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Also write a file of JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write a file of test results.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Also write a file for code scanning.
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Folder of the configuration, to name the place of a resource in SARIF.
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// Log of a host, to tell who changed an object: the audit log, a journal with lines of polkit or sudo, or a machine's
    /// own log (qemu/NAME.log). May be given several times.
    #[arg(long, value_name = "FILE")]
    log: Vec<PathBuf>,
    /// Count only what was changed outside of Terraform, not what the configuration asks for beyond it.
    #[arg(long)]
    only_outside: bool,
}

/// Whether anything differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// Something.
    Drift,
}

#[derive(Debug, thiserror::Error)]
enum DriftError {
    #[error("cannot read {path}")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "the plan ended with errors and does not tell of everything: mend what terraform plan says first"
    )]
    Errored,
}

/// Reads a plan and writes the reports.
pub(crate) fn run(options: &Options) -> Result<Found, Box<dyn Error>> {
    let plan = Plan::parse(&input(options.plan.as_deref())?)?;
    if plan.errored {
        return Err(DriftError::Errored.into());
    }
    let mut report = Report::of(&plan);
    if options.only_outside {
        report.objects.retain(|object| object.outside.is_some());
    }
    for path in &options.log {
        let text = String::from_utf8_lossy(&read(path)?).into_owned();
        for object in &mut report.objects {
            object.log.extend(log::entries(path, &text, &object.aliases));
        }
    }
    let sources = Sources::below(&options.root).map_err(reading(&options.root))?;
    let files = [
        (&options.markdown, Format::Markdown),
        (&options.json, Format::Json),
        (&options.junit, Format::Junit),
        (&options.sarif, Format::Sarif),
    ];
    for (path, format) in files {
        if let Some(path) = path {
            let text = render(&report, format, &sources);
            std::fs::write(path, text).map_err(|source| DriftError::Write {
                path: path.clone(),
                source,
            })?;
        }
    }
    // Where nobody reads it there is nobody to tell; the exit code says it all the same.
    drop(std::io::stdout().write_all(render(&report, options.output, &sources).as_bytes()));
    Ok(match report.objects.is_empty() {
        true => Found::Nothing,
        false => Found::Drift,
    })
}

fn input(path: Option<&Path>) -> Result<Vec<u8>, DriftError> {
    match path {
        Some(path) if path != Path::new("-") => read(path),
        _ => {
            let mut text = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut text);
            let failed = |source| DriftError::Read {
                path: "standard input".to_owned(),
                source,
            };
            read.map_err(failed).map(|_| text)
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, DriftError> {
    std::fs::read(path).map_err(reading(path))
}

fn reading(path: &Path) -> impl FnOnce(std::io::Error) -> DriftError + use<> {
    let path = path.display().to_string();
    move |source| DriftError::Read { path, source }
}

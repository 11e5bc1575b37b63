//! `labyard image`: disks of machines captured as images, through a daemon or directly.

use super::{
    Output, Table,
    asked::OnHosts,
    output::progress,
    run_on,
    vm::{Address, all_answered, over},
};
use labyard_api::{
    client::{Client, ClientError},
    image::{Capture, Captured, IN_USE, Image, PINNED, WhileRunning},
    operation::{Operation, State},
};
use std::{collections::BTreeSet, error::Error};

/// Captured images.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    asked: OnHosts,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List captured images. Exit code 1 if a host did not answer.
    List,
    /// Make the next revision of an image of a machine's disk, as labyard vm capture does.
    Capture(Wanted),
    /// Remove old revisions, but for those that pools or machines are made of.
    Gc {
        /// How many revisions of each name stay.
        #[arg(long, value_name = "COUNT", default_value_t = 1)]
        keep: u32,
    },
}

/// What is to be captured.
#[derive(clap::Args)]
pub(super) struct Wanted {
    /// The machine: HOST/NAME.
    machine: Address,
    /// The name of the image.
    #[arg(long, value_name = "NAME")]
    image: String,
    /// The disk, by its key; of a machine with one disk that one.
    #[arg(long, value_name = "KEY")]
    disk: Option<String>,
    /// Shut it down for the capture, and start it again. The image keeps its SSH host keys and its machine id then.
    #[arg(long)]
    stop: bool,
}

/// Runs the verb.
pub(crate) fn execute(options: &Options) -> Result<(), Box<dyn Error>> {
    let (output, namespace) = options.asked.for_whom();
    run_on(
        options.asked.place(),
        options.asked.config(),
        async |client| match &options.verb {
            Verb::List => {
                let found = client.images(namespace).await?;
                output.print(&found, |found| listed(&found.items))?;
                all_answered(&found.unread)
            }
            Verb::Capture(wanted) => capture(&client, (output, namespace), wanted).await,
            Verb::Gc { keep } => {
                let removed = collected(&client, namespace.unwrap_or("default"), *keep).await?;
                Ok(output.print(&removed, |removed| listed(removed))?)
            }
        },
    )
}

/// Has a machine captured, and prints what came of it.
pub(super) async fn capture(
    client: &Client,
    (output, namespace): (Output, Option<&str>),
    wanted: &Wanted,
) -> Result<(), Box<dyn Error>> {
    let asked = Capture {
        image: wanted.image.clone(),
        disk: wanted.disk.clone(),
        running: match wanted.stop {
            true => WhileRunning::Stopped,
            false => WhileRunning::Quiesced,
        },
        object: None,
        limit_s: None,
    };
    let machine = (wanted.machine.host.as_str(), wanted.machine.name.as_str());
    let begun = client.capture_vm(namespace, machine, &asked).await?;
    let ended = succeeded(over(client, begun).await?)?;
    let captured: Captured = serde_json::from_value(ended.result.unwrap_or_default())?;
    output.print(&captured, |captured| {
        let mut table = listed(std::slice::from_ref(&captured.image));
        if let Some(note) = &captured.note {
            table.row(vec![format!("It is not sealed: {note}.")]);
        }
        table
    })?;
    Ok(())
}

fn succeeded(operation: Operation) -> Result<Operation, Box<dyn Error>> {
    match operation.state {
        State::Succeeded => Ok(operation),
        _ => Err(operation.error.unwrap_or_default().into()),
    }
}

/// Removes the revisions that nobody asked to keep and nobody is made of. A host that does not answer is an error: it may
/// have the newest.
async fn collected(client: &Client, namespace: &str, keep: u32) -> Result<Vec<Image>, Box<dyn Error>> {
    let found = client.images(Some(namespace)).await?;
    all_answered(&found.unread)?;
    let mut removed = Vec::new();
    for image in old(&found.items, keep) {
        match client.delete_image(image).await {
            Ok(begun) => {
                succeeded(over(client, begun).await?)?;
                removed.push(image.clone());
            }
            Err(ClientError::Refused(problem)) if matches!(problem.kind(), IN_USE | PINNED) => {
                let why = problem.detail.as_deref().unwrap_or(&problem.title);
                progress(&format!("{}@{} stays. {why}", image.name, image.revision));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(removed)
}

/// The revisions but for the newest ones of each name; pure.
fn old(images: &[Image], keep: u32) -> impl Iterator<Item = &Image> {
    images.iter().filter(move |image| {
        let of_it = images
            .iter()
            .filter(|other| (&other.namespace, &other.name) == (&image.namespace, &image.name));
        let newer: BTreeSet<u32> = of_it
            .map(|other| other.revision)
            .filter(|revision| *revision > image.revision)
            .collect();
        newer.len() >= keep as usize
    })
}

fn listed(images: &[Image]) -> Table {
    let heads = ["NAMESPACE", "NAME", "REVISION", "HOST", "STORAGE POOL", "SHA256"];
    Table::of(&heads, images, |image| {
        vec![
            image.namespace.clone(),
            image.name.clone(),
            image.revision.to_string(),
            image.host.clone(),
            image.storage_pool.clone(),
            image.sha256.chars().take(12).collect(),
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, revision: u32, host: &str) -> Image {
        Image {
            namespace: "default".into(),
            name: name.into(),
            revision,
            host: host.into(),
            storage_pool: "default".into(),
            sha256: "ab".repeat(32),
        }
    }

    /// One revision is one image, on however many hosts it is.
    #[test]
    fn the_newest_revisions_of_each_name_stay() {
        let images = [
            image("a", 1, "lab1"),
            image("a", 2, "lab1"),
            image("a", 3, "lab1"),
            image("a", 3, "lab2"),
            image("b", 1, "lab1"),
        ];
        let gone = |keep| -> Vec<_> {
            old(&images, keep)
                .map(|image| (image.name.as_str(), image.revision))
                .collect()
        };
        assert_eq!(gone(1), [("a", 1), ("a", 2)]);
        assert_eq!(gone(2), [("a", 1)]);
        assert!(gone(3).is_empty());
        assert_eq!(gone(0).len(), 5);
    }
}

//! `labyard events`: what happened, and what happens.

use super::{
    Output, Where,
    output::{Reader, at, tell},
    run,
};
use labyard_api::{
    client::{Client, ClientError, Events},
    event::Event,
};
use std::{error::Error, time::Duration};

/// How long after a lost connection it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What happened, and what happens.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Where,
    /// For whom it is printed: a line an event.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Of this namespace alone.
    #[arg(long)]
    namespace: Option<String>,
    /// After the event of this number; left out: from the beginning, or with --follow from now on.
    #[arg(long, value_name = "NUMBER")]
    after: Option<i64>,
    /// Go on with what happens, until Ctrl-C; a lost connection is taken up again where it was.
    #[arg(short, long)]
    follow: bool,
}

/// Prints events.
pub(crate) fn execute(options: &Options) -> Result<(), Box<dyn Error>> {
    run(&options.place, async |client| {
        let namespace = options.namespace.as_deref();
        if !options.follow {
            let mut events = client
                .events_until_now(namespace, options.after.unwrap_or_default())
                .await?;
            let mut last = None;
            printed(&mut events, options.output, &mut last).await?;
            return Ok(());
        }
        followed(&client, options).await
    })
}

async fn followed(client: &Client, options: &Options) -> Result<(), Box<dyn Error>> {
    let (mut last, mut begun) = (options.after, false);
    loop {
        let ended = match client.events(options.namespace.as_deref(), last).await {
            Ok(mut events) => {
                begun = true;
                printed(&mut events, options.output, &mut last).await
            }
            Err(error) => Err(error),
        };
        match ended {
            // Where it was never reached, that is told at once.
            Err(error) if !begun || !error.is_retryable() => return Err(error.into()),
            Ok(Reader::Gone) => return Ok(()),
            _ => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// Prints what comes, until it ends or nobody reads it any more.
async fn printed(events: &mut Events, output: Output, last: &mut Option<i64>) -> Result<Reader, ClientError> {
    while let Some(event) = events.next().await {
        let event = event?;
        *last = Some(event.id);
        let line = match output {
            Output::Json => serde_json::to_string(&event).unwrap_or_default(),
            Output::Table => told(&event),
        };
        // What cannot be written is read by nobody.
        if tell(&(line + "\n")).unwrap_or(Reader::Gone) == Reader::Gone {
            return Ok(Reader::Gone);
        }
    }
    Ok(Reader::There)
}

fn told(event: &Event) -> String {
    let detail: Vec<String> = event
        .detail
        .iter()
        .map(|(name, value)| match value.as_str() {
            Some(text) => format!("{name}={text}"),
            None => format!("{name}={value}"),
        })
        .collect();
    let namespace = if event.namespace.is_empty() {
        "-"
    } else {
        &event.namespace
    };
    format!(
        "{:>6}  {}  {namespace}  {}  {}  {}  {}",
        event.id,
        at(event.at),
        event.actor,
        event.action,
        event.subject,
        detail.join(" ")
    )
    .trim_end()
    .to_owned()
}

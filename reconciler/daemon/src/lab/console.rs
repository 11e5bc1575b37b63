//! `labyard vm console`: a terminal at a machine's serial console, or what it says alone.

use super::{
    output::progress,
    terminal::{Keys, Terminal},
    vm::Address,
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use labyard_api::{
    client::{
        Call, Client, ClientError,
        console::{Former, Hearing, Said, Typing},
    },
    console::End,
    routes::Op,
};
use std::{error::Error, io::Write as _, time::Duration};

/// Ctrl-], which ends it, as in other programs of this kind.
const ESCAPE: u8 = 0x1d;
/// How long the other end may take to agree that it is over.
const FAREWELL: Duration = Duration::from_secs(2);

/// Of which namespace, and which machine.
type Which<'a> = (Option<&'a str>, &'a Address);

/// Prints what a machine says, as it comes.
pub(super) async fn followed(client: &Client, (namespace, machine): Which<'_>) -> Result<(), Box<dyn Error>> {
    let call = Call::of(&[&machine.host, &machine.name]).query("namespace", namespace);
    let mut body = client.send(Op::FollowConsole, call).await?.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| error.to_string())?;
        if let Ok(bytes) = frame.into_data()
            && printed(&bytes)? == Reader::Gone
        {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether anybody reads what is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    There,
    Gone,
}

fn printed(bytes: &[u8]) -> std::io::Result<Reader> {
    let mut out = std::io::stdout();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        written => written.map(|()| Reader::There),
    }
}

/// Types into a machine until the escape, the end of the input, a signal, or the console's own end. The terminal is then as
/// it was before.
pub(super) async fn typed(
    client: &Client,
    terminal: Terminal,
    (namespace, machine): Which<'_>,
    former: Former,
) -> Result<(), Box<dyn Error>> {
    let named = (machine.host.as_str(), machine.name.as_str());
    let opened = client.console(namespace, named, former).await;
    let (mut typing, mut hearing) = opened.map_err(with_way_out)?;
    progress(&format!(
        "connected to {}/{}: what you type goes there; Ctrl-] ends it",
        machine.host, machine.name
    ));
    let ended = {
        let mut keys = terminal.raw()?;
        tokio::select! {
            ended = types(&mut keys, &mut typing) => ended,
            ended = hears(&mut hearing) => ended,
        }
    };
    // Below what the machine said last; nobody may read it.
    drop(printed(b"\n"));
    match ended? {
        Ended::Here => {
            let agreed = async {
                typing.close().await?;
                while !matches!(hearing.next().await?, Said::Over(_)) {}
                Ok::<_, ClientError>(())
            };
            // Whether the other end heard of it or not: it is over here.
            drop(tokio::time::timeout(FAREWELL, agreed).await);
            Ok(())
        }
        Ended::There(Some(End::Machine)) => {
            progress(End::Machine.told());
            Ok(())
        }
        Ended::There(Some(end)) => Err(end.told().into()),
        Ended::There(None) => Err("the connection was closed: ask again".into()),
    }
}

/// Where it ended.
enum Ended {
    Here,
    There(Option<End>),
}

async fn types(keys: &mut Keys, typing: &mut Typing) -> Result<Ended, Box<dyn Error>> {
    while let Some(bytes) = keys.next().await {
        let (typed, escape) = before_escape(&bytes);
        if !typed.is_empty() {
            typing.press(Bytes::copy_from_slice(typed)).await?;
        }
        if escape == Escape::Pressed {
            break;
        }
    }
    Ok(Ended::Here)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    Pressed,
    NotYet,
}

/// What was typed before the escape.
fn before_escape(bytes: &[u8]) -> (&[u8], Escape) {
    match bytes.iter().position(|byte| *byte == ESCAPE) {
        Some(at) => (&bytes[..at], Escape::Pressed),
        None => (bytes, Escape::NotYet),
    }
}

async fn hears(hearing: &mut Hearing) -> Result<Ended, Box<dyn Error>> {
    loop {
        match hearing.next().await? {
            Said::Bytes(bytes) => {
                if printed(&bytes)? == Reader::Gone {
                    return Ok(Ended::Here);
                }
            }
            Said::Over(end) => return Ok(Ended::There(end)),
        }
    }
}

/// What a server says of the way out names what the API calls it.
fn with_way_out(error: ClientError) -> Box<dyn Error> {
    match &error {
        ClientError::Refused(problem) if problem.kind() == "console-taken" => {
            format!("{error} Take it over with --force, or read along after it with --read-only.").into()
        }
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_before_the_escape_goes_and_nothing_behind_it() {
        assert_eq!(before_escape(b"ls\r"), (&b"ls\r"[..], Escape::NotYet));
        assert_eq!(before_escape(b"ls\x1drm"), (&b"ls"[..], Escape::Pressed));
        assert_eq!(before_escape(b"\x1d"), (&b""[..], Escape::Pressed));
    }
}

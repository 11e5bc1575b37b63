//! One client's connection: call after call, each answered once its effect is in the file.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use labyard_driver::ids::{Bytes, PoolName, VolumeName};
use labyard_driver::{DriverError, HostEvent, UploadStream};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::broadcast::error::RecvError;

use super::Shared;
use crate::passage::Caller;
use crate::request::Reply;
use crate::wire::{self, Answer, Hello, Message, PROTOCOL};

pub(super) async fn serve(shared: &Shared, stream: UnixStream) -> io::Result<()> {
    let (mut from, mut to) = stream.into_split();
    let Some(hello) = wire::read::<Hello>(&mut from).await? else {
        return Ok(());
    };
    if hello.labyard_sim != PROTOCOL {
        let error = DriverError::Unsupported {
            what: format!("protocol {} of the simulator", hello.labyard_sim),
            message: format!("this server speaks {PROTOCOL}; use one release of labyard on both ends"),
        };
        return wire::write(&mut to, &Answer::Error(error.into())).await;
    }
    let caller = shared.caller(hello.caller);
    while let Some(message) = wire::read(&mut from).await? {
        let answer = match message {
            Message::Upload {
                pool,
                name,
                length,
                deadline_ms,
            } => {
                let upload = Upload {
                    target: (pool, name),
                    length,
                    deadline: Duration::from_millis(deadline_ms),
                };
                // What is left of an upload that ended early is not read: the connection ends with it.
                let result = receive(shared, &caller, from, upload).await;
                shared.everything_kept().await;
                return wire::write(&mut to, &answer(result.map(|()| Answer::Reply(Reply::Done)))).await;
            }
            Message::Subscribe => return send_events(shared, &caller, from, to).await,
            message => {
                // A client that goes away takes its call with it only where nothing has happened yet.
                let result = carry_out(shared, &caller, message).await;
                shared.everything_kept().await;
                answer(result)
            }
        };
        wire::write(&mut to, &answer).await?;
    }
    Ok(())
}

fn answer(result: Result<Answer, DriverError>) -> Answer {
    result.unwrap_or_else(|error| Answer::Error(error.into()))
}

async fn carry_out(shared: &Shared, caller: &Caller, message: Message) -> Result<Answer, DriverError> {
    let host = &shared.host;
    let done = Answer::Reply(Reply::Done);
    match message {
        Message::Call(request) => host.call(caller, &request).await.map(Answer::Reply),
        Message::ReadConsole { seat, position } => {
            let step = host.read_console(&seat, position)?;
            Ok(Answer::Reply(Reply::ConsoleStep(step)))
        }
        Message::PressKeys { seat, keys } => host.press_keys(&seat, &keys).map(|()| done),
        Message::LeaveConsole(seat) => {
            host.leave_console(&seat);
            Ok(done)
        }
        Message::OtherHand(hand) => host.by_other_hand(&hand).map(|()| done),
        Message::Order(fault) => {
            host.order(fault);
            Ok(done)
        }
        Message::ClearFaults => {
            host.clear_faults();
            Ok(done)
        }
        Message::Operations => Ok(Answer::Operations(host.operations())),
        Message::Look => Ok(Answer::Look(Box::new(host.look()))),
        Message::Upload { .. } | Message::Subscribe => Err(DriverError::Unsupported {
            what: "a stream within a call".to_owned(),
            message: "the simulator does not know it".to_owned(),
        }),
    }
}

struct Upload {
    target: (PoolName, VolumeName),
    length: Bytes,
    deadline: Duration,
}

async fn receive(
    shared: &Shared,
    caller: &Caller,
    from: OwnedReadHalf,
    upload: Upload,
) -> Result<(), DriverError> {
    let chunks = futures::stream::try_unfold(from, |mut from| async move {
        match wire::read_bytes(&mut from).await? {
            Some(chunk) if chunk.is_empty() => Ok(None),
            Some(chunk) => Ok(Some((bytes::Bytes::from(chunk), from))),
            None => Err("the client went away".into()),
        }
    });
    let chunks: UploadStream = chunks.boxed();
    let Upload {
        target,
        length,
        deadline,
    } = upload;
    shared.host.upload(caller, target, length, chunks, deadline).await
}

async fn send_events(
    shared: &Shared,
    caller: &Arc<Caller>,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
) -> io::Result<()> {
    let mut events = match shared.host.subscribe(caller).await {
        Ok(events) => events,
        Err(error) => return wire::write(&mut to, &Answer::Error(error.into())).await,
    };
    wire::write(&mut to, &Answer::Reply(Reply::Done)).await?;
    let mut nothing = [0];
    loop {
        let event = tokio::select! {
            // Clients say nothing more: whatever comes is the end.
            _ = from.read(&mut nothing) => return Ok(()),
            event = events.recv() => event,
        };
        let event = match event {
            Ok(event) => event,
            Err(RecvError::Lagged(_)) => HostEvent::Lost,
            Err(RecvError::Closed) => return Ok(()),
        };
        wire::write(&mut to, &Answer::Event(event)).await?;
    }
}

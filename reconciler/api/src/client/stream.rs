//! Server-sent events as they come.

use super::{BodyError, ClientError, Got};
use crate::event::Event;
use bytes::Bytes;
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use std::collections::VecDeque;

/// Events as they come.
pub struct Events {
    body: UnsyncBoxBody<Bytes, BodyError>,
    reader: Reader,
    ready: VecDeque<Event>,
}

impl Events {
    pub(super) fn new(got: Got) -> Self {
        Self {
            body: got.into_body(),
            reader: Reader::default(),
            ready: VecDeque::new(),
        }
    }

    /// The next one; none when the server has ended the stream.
    ///
    /// # Errors
    /// If the connection ends in the middle: go on from the last one that came.
    pub async fn next(&mut self) -> Option<Result<Event, ClientError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            let frame = match self.body.frame().await? {
                Ok(frame) => frame,
                Err(error) => {
                    return Some(Err(ClientError::Broken {
                        endpoint: "of these events".to_owned(),
                        why: error.to_string(),
                    }));
                }
            };
            let Ok(data) = frame.into_data() else { continue };
            match self.reader.read(&data) {
                Ok(events) => self.ready.extend(events),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Puts lines together, and events of lines.
#[derive(Default)]
struct Reader {
    rest: Vec<u8>,
    data: String,
}

impl Reader {
    fn read(&mut self, bytes: &[u8]) -> Result<Vec<Event>, ClientError> {
        self.rest.extend_from_slice(bytes);
        let mut events = Vec::new();
        let mut read = 0;
        while let Some(length) = self.rest[read..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.rest[read..read + length]);
            read += length + 1;
            let line = line.trim_end_matches(['\n', '\r']);
            if let Some(data) = line.strip_prefix("data:") {
                self.data += data.strip_prefix(' ').unwrap_or(data);
            } else if line.is_empty() && !self.data.is_empty() {
                let data = std::mem::take(&mut self.data);
                let event = serde_json::from_str(&data).map_err(|error| ClientError::Strange {
                    why: error.to_string(),
                })?;
                events.push(event);
            }
        }
        // At once: many events come together.
        self.rest.drain(..read);
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_whole_however_they_are_cut() {
        let event = |id: i64| {
            format!(
                "id: {id}\nevent: x\ndata: {{\"id\": {id}, \"at\": \"2026-11-22T00:00:00Z\", \"namespace\": \"default\", \
                 \"actor\": \"ä\", \"action\": \"x\", \"subject\": \"y\", \"detail\": {{}}}}\n\n"
            )
        };
        let text = format!(": hello\n\n{}: still there\n\n{}", event(1), event(2));
        for cut in [1, 7, 1000] {
            let mut reader = Reader::default();
            let events: Vec<_> = text
                .as_bytes()
                .chunks(cut)
                .flat_map(|chunk| reader.read(chunk).unwrap())
                .collect();
            assert_eq!(events.iter().map(|event| event.id).collect::<Vec<_>>(), [1, 2]);
            assert_eq!(events[0].actor, "ä");
        }
    }
}

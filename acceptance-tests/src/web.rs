//! A web server on the loopback that tests slow down, to be in the middle of a download.

use crate::error::{HarnessError, Result};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const PIECE: usize = 64 << 10;
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug)]
struct Shared {
    content: Vec<u8>,
    /// Bytes that may be sent of each answer.
    open: AtomicU64,
    requests: AtomicU64,
    waiting: AtomicU64,
    over: AtomicBool,
}

/// A server of one file.
#[derive(Debug)]
pub struct Web {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Web {
    /// Serves a file, but of each answer only so many bytes until it is told otherwise.
    pub fn serve(content: Vec<u8>, open: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(HarnessError::file("open a web server"))?;
        let address = listener
            .local_addr()
            .map_err(HarnessError::file("open a web server"))?;
        let shared = Arc::new(Shared {
            content,
            open: AtomicU64::new(open),
            requests: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let server = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if server.over.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), server) = (stream, server.clone()) else {
                    continue;
                };
                // A client that hangs up in the middle is what tests are about.
                std::thread::spawn(move || drop(answer(stream, &server)));
            }
        });
        Ok(Self { address, shared })
    }

    /// Where the file is.
    pub fn url(&self) -> String {
        format!("http://{}/image.qcow2", self.address)
    }

    /// From now on all of it is sent.
    pub fn open(&self) {
        self.shared.open.store(u64::MAX, Ordering::SeqCst);
    }

    /// How many downloads were begun.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// How many downloads have all they get for now.
    pub fn waiting(&self) -> u64 {
        self.shared.waiting.load(Ordering::SeqCst)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.open();
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

fn answer(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let length = shared.content.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    if first.starts_with("HEAD") {
        return Ok(());
    }
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let mut sent = 0;
    let mut held = false;
    while sent < length && !shared.over.load(Ordering::SeqCst) {
        let open = usize::try_from(shared.open.load(Ordering::SeqCst)).unwrap_or(usize::MAX);
        let end = length.min(open).min(sent + PIECE);
        if end > sent {
            stream.write_all(&shared.content[sent..end])?;
            sent = end;
        } else {
            if !std::mem::replace(&mut held, true) {
                shared.waiting.fetch_add(1, Ordering::SeqCst);
            }
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_download_waits_in_the_middle_until_it_may_go_on() {
        let web = Web::serve(vec![7; 100_000], 1000).unwrap();
        let mut stream = TcpStream::connect(web.address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        while web.waiting() == 0 {
            std::thread::sleep(PAUSE);
        }
        web.open();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        assert!(text.ends_with(&[7; 100_000]) && web.requests() == 1);
    }
}

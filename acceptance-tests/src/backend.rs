//! A remote backend for Terraform's state: HTTP on the loopback, without locks, as Terraform's `http` backend speaks it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{HarnessError, Result};

/// A server of one state.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    state: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Backend {
    /// Serves an empty state until the test ends.
    pub fn serve() -> Result<Self> {
        let failed = || HarnessError::file("open a backend");
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed())?;
        let address = listener.local_addr().map_err(failed())?;
        let state = Arc::new(Mutex::new(None));
        let served = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that was killed in the middle of a request is what tests are about.
                drop(answer(&stream, &served));
            }
        });
        Ok(Self { address, state })
    }

    /// The block of a configuration that names it.
    pub fn hcl(&self) -> String {
        format!(
            "terraform {{\n  backend \"http\" {{\n    address = \"http://{}/state\"\n  }}\n}}\n",
            self.address
        )
    }

    /// The state as it was sent last; empty if there is none.
    pub fn text(&self) -> String {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(state.as_deref().unwrap_or_default()).into_owned()
    }
}

fn answer(stream: &TcpStream, state: &Mutex<Option<Vec<u8>>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let (status, content) = match request.split(' ').next() {
        Some("GET") => match state.as_ref() {
            Some(content) => ("200 OK", content.clone()),
            None => ("404 Not Found", Vec::new()),
        },
        Some("POST") => {
            *state = Some(body);
            ("200 OK", Vec::new())
        }
        Some("DELETE") => {
            *state = None;
            ("200 OK", Vec::new())
        }
        _ => ("405 Method Not Allowed", Vec::new()),
    };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    )?;
    stream.write_all(&content)
}

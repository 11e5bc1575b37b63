//! The other end of hooks: the example's IPAM as a process of its own, and a server that answers as it is told.

use crate::processes::{self, Signal};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// `examples/hooks/ipam/ipam.py`, keeping 10.77.0.10 and on.
#[derive(Debug)]
pub struct Ipam {
    process: Child,
    address: SocketAddr,
}

impl Ipam {
    /// Starts it; what it knows lies in the directory.
    ///
    /// # Panics
    /// Where there is no `python3`.
    #[track_caller]
    pub fn start(directory: &Path, key_file: &Path) -> Self {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/hooks/ipam/ipam.py");
        let mut process = Command::new("python3")
            .arg(script)
            .args(["--listen", "127.0.0.1:0", "--network", "lab"])
            .args(["--range", "10.77.0.10-10.77.0.12", "--state"])
            .arg(directory.join("ipam.json"))
            .arg("--key-file")
            .arg(key_file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = process.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.trim().rsplit('/').next().unwrap().parse().unwrap();
        Self { process, address }
    }

    /// Where it is asked.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What was done: `acquired 10.77.0.10 web`.
    pub fn log(&self) -> Vec<String> {
        let text = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
        let line = |e: &Value| format!("{} {} {}", text(e, "what"), text(e, "address"), text(e, "name"));
        self.get("/log").as_array().unwrap().iter().map(line).collect()
    }

    /// The addresses that are given out.
    pub fn held(&self) -> Vec<String> {
        self.get("/addresses")
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    }

    fn get(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        serde_json::from_str(body).unwrap()
    }
}

impl Drop for Ipam {
    fn drop(&mut self) {
        let _ = processes::send(Signal::Kill, self.process.id());
        let _ = self.process.wait();
    }
}

/// An answer of the scripted server.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// A status line without its version, and a body.
    Say(&'static str, &'static str),
    /// A redirect.
    Away,
    /// Nothing, with the connection open.
    Hang,
}

/// What the server was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The request's line and headers.
    pub head: String,
    /// Its body.
    pub body: Value,
}

impl Asked {
    /// A header's value by its name in small letters; empty where it is not there.
    pub fn header(&self, name: &str) -> String {
        let prefix = format!("{name}: ");
        let line = self
            .head
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with(&prefix));
        line.map(|line| line[prefix.len()..].to_owned())
            .unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Shared {
    replies: Vec<Reply>,
    asked: Vec<Asked>,
    hung: Vec<TcpStream>,
}

/// A server that gives its replies in their order, the last one for ever.
#[derive(Clone, Debug)]
pub struct Scripted {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl Scripted {
    /// Starts it; it knows no reply yet.
    ///
    /// # Panics
    /// Where no port is free.
    #[track_caller]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (server, serving) = (shared.clone(), listener);
        thread::spawn(move || {
            for stream in serving.incoming().flatten() {
                let shared = server.clone();
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// Where it is asked.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What follows; what was asked before is forgotten.
    pub fn script(&self, replies: &[Reply]) {
        let mut shared = self.shared.lock().unwrap();
        shared.replies = replies.to_vec();
        shared.asked.clear();
    }

    /// What it was asked since.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.lock().unwrap().asked.clone()
    }
}

fn serve(mut stream: TcpStream, shared: &Mutex<Shared>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let asked = Asked {
        head,
        body: Value::Null,
    };
    let length: usize = asked.header("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let mut shared = shared.lock().unwrap();
    shared.asked.push(Asked { body, ..asked });
    let reply = match shared.replies.len() {
        1 => shared.replies[0],
        _ => shared.replies.remove(0),
    };
    let answer = match reply {
        Reply::Say(status, body) => format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ),
        Reply::Away => {
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                .to_owned()
        }
        Reply::Hang => return shared.hung.push(stream),
    };
    // Whoever asked may be gone by now.
    let _ = stream.write_all(answer.as_bytes());
}

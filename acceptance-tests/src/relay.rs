//! A line to a port inside of a host's namespace, from a loopback port outside: as fast as it can be, or with a delay
//! each way that leaves what is sent behind each other behind each other, or silent, or cut.

use crate::error::{HarnessError, Result};
use crate::host::Host;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// The end of a line inside: carries between a port and its own input and output, until either ends.
const INSIDE: &str = r#"
my $port = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => shift) or exit 1;
my $both = IO::Select->new(\*STDIN, $port);
while (1) {
    for my $from ($both->can_read) {
        sysread($from, my $bytes, 65536) or exit 0;
        my $to = $from == $port ? \*STDOUT : $port;
        for (my $done = 0; $done < length $bytes; ) {
            my $more = syswrite($to, $bytes, length($bytes) - $done, $done) or exit 0;
            $done += $more;
        }
    }
}
"#;

/// Whoever says nothing for so long waits for an answer.
const PAUSE: Duration = Duration::from_millis(30);

/// Listens as long as it lives; its connections end with it.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    line: Arc<Line>,
}

#[derive(Debug, Default)]
struct Line {
    /// Microseconds each way.
    delay: AtomicU64,
    /// Nothing more is taken from clients; what they send stays in the system's buffers.
    frozen: AtomicBool,
    connections: AtomicUsize,
    turns: AtomicUsize,
    open: Mutex<Vec<Open>>,
}

#[derive(Debug)]
struct Open {
    client: TcpStream,
    inside: Child,
}

impl Relay {
    /// A line to a port inside.
    pub fn to(host: &Host, port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(HarnessError::file("listen"))?;
        let own = listener
            .local_addr()
            .map_err(HarnessError::file("listen"))?
            .port();
        let line = Arc::new(Line::default());
        let (shared, directory) = (line.clone(), host.directory().to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let mut inside = crate::host::inside(&directory, "perl");
                inside.args(["-MIO::Socket::INET", "-MIO::Select", "-e", INSIDE]);
                inside.arg(port.to_string());
                inside.stdin(Stdio::piped()).stdout(Stdio::piped());
                let Ok(inside) = inside.spawn() else { continue };
                shared.pass(client, inside);
            }
        });
        Ok(Self { port: own, line })
    }

    /// Where to connect to on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on all takes so long each way.
    pub fn delay(&self, each_way: Duration) {
        let micros = u64::try_from(each_way.as_micros()).unwrap_or(u64::MAX);
        self.line.delay.store(micros, Ordering::SeqCst);
    }

    /// From now on nothing of what clients say is heard, or all of it again.
    pub fn freeze(&self, frozen: bool) {
        self.line.frozen.store(frozen, Ordering::SeqCst);
    }

    /// Resets all connections that are open.
    pub fn cut(&self) {
        self.line.cut();
    }

    /// How often clients spoke after a pause: with a delay, how often they waited for an answer before they went on.
    pub fn turns(&self) -> usize {
        self.line.turns.load(Ordering::SeqCst)
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.line.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.line.cut();
    }
}

impl Line {
    fn pass(self: &Arc<Self>, client: TcpStream, mut inside: Child) {
        let _only_slower = client.set_nodelay(true);
        let (Some(to), Some(from), Ok(reader), Ok(writer)) = (
            inside.stdin.take(),
            inside.stdout.take(),
            client.try_clone(),
            client.try_clone(),
        ) else {
            return;
        };
        // Woken now and then, to see whether it is frozen.
        let _stays_blocking = reader.set_read_timeout(Some(Duration::from_millis(20)));
        let (line, back) = (self.clone(), self.clone());
        std::thread::spawn(move || line.carry(Thawed(reader, line.clone()), to));
        std::thread::spawn(move || {
            let closing = writer.try_clone();
            back.carry(from, writer);
            let _gone_already = closing.map(|client| client.shutdown(Shutdown::Both));
        });
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push(Open { client, inside });
    }

    /// Carries bytes, each at its time.
    fn carry(&self, mut from: impl Read, mut to: impl Write + Send + 'static) {
        let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
        std::thread::spawn(move || {
            for (due, bytes) in receiver {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if to.write_all(&bytes).and_then(|()| to.flush()).is_err() {
                    return;
                }
            }
        });
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let delay = Duration::from_micros(self.delay.load(Ordering::SeqCst));
            if sender
                .send((Instant::now() + delay, buffer[..length].to_vec()))
                .is_err()
            {
                return;
            }
        }
    }

    fn cut(&self) {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for mut open in open {
            let _may_be_closed = open.client.shutdown(Shutdown::Both);
            let _may_have_ended = open.inside.kill();
            let _reaped = open.inside.wait();
        }
    }
}

/// Reads unless the line is frozen.
struct Thawed(TcpStream, Arc<Line>);

impl Read for Thawed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let waiting = Instant::now();
        loop {
            if self.1.frozen.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
                // A client that is cut off is not waited for.
                if self.0.peer_addr().is_err() {
                    return Ok(0);
                }
                continue;
            }
            match self.0.read(buffer) {
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                outcome => {
                    if waiting.elapsed() >= PAUSE {
                        self.1.turns.fetch_add(1, Ordering::SeqCst);
                    }
                    return outcome;
                }
            }
        }
    }
}

/// Accepts connections and says nothing on them.
#[derive(Debug)]
pub struct Silence {
    port: u16,
}

impl Silence {
    /// Listens as long as this process lives.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(HarnessError::file("listen"))?;
        let port = listener
            .local_addr()
            .map_err(HarnessError::file("listen"))?
            .port();
        std::thread::spawn(move || {
            let _kept: Vec<_> = listener.incoming().collect();
        });
        Ok(Self { port })
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

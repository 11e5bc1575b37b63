//! How long firmware takes to its first request, in QEMU's processor time, all its threads. Firmware polls while it waits,
//! for an answer or for a try of another kind to fail: on a host with nothing else to do this is about the time on the
//! wall, and on a busy one the same, where the wall tells of the others.

use labyard_acceptance_tests::boot_server::BootServer;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::wait::{Look, until};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds to the first request: one failed try of another kind costs a minute.
const ENOUGH: f64 = 15.0;
const LIMIT: Duration = Duration::from_secs(240);

/// A process as the kernel counts it: seconds that it computed, and that it is there.
#[derive(Clone, Copy)]
struct Spent {
    processor: f64,
    began: f64,
}

impl Spent {
    fn of(process: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // Behind the name, which may hold anything: the fields from the third on, times in hundredths of a second.
        let fields: Vec<_> = stat.rsplit(')').next()?.split_whitespace().collect();
        let seconds = |field: usize| {
            fields
                .get(field - 3)?
                .parse::<f64>()
                .ok()
                .map(|ticks| ticks / 100.0)
        };
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
        Some(Self {
            processor: seconds(14)? + seconds(15)?,
            began: now - uptime + seconds(22)?,
        })
    }
}

/// Does what starts a machine, and sees that its firmware asked the server in time.
#[track_caller]
pub(crate) fn assert_soon(host: &Host, server: &BootServer, machine: &str, start: impl FnOnce()) {
    let already = server.asked().len();
    let (at, spent) = std::thread::scope(|scope| {
        let first = scope.spawn(|| first_request(host, server, machine, already));
        start();
        first.join().unwrap()
    });
    let wall = at - spent.began;
    println!(
        "the firmware asked after {:.1} s of QEMU's processor time, {wall:.1} s after its start",
        spent.processor
    );
    assert!(spent.processor < ENOUGH, "{}", spent.processor);
}

/// When the first request came, and what QEMU had spent when it was seen, a moment later.
fn first_request(host: &Host, server: &BootServer, machine: &str, already: usize) -> (f64, Spent) {
    until("the firmware's first request", LIMIT, || {
        let asked = server.asked();
        let Some(first) = asked[already..].iter().find(|asked| asked.method != "FAILED") else {
            return Ok(Look::NotYet(format!("{asked:?}")));
        };
        let process = host.guest_process(machine)?;
        Ok(match process.and_then(Spent::of) {
            Some(spent) => Look::Holds((first.at, spent)),
            None => Look::NotYet("no process of it".to_owned()),
        })
    })
    .unwrap()
}

//! Points at which a process can be held, so that tests can end it there.
//!
//! `LABYARD_FAULT=hold@PLACE:/path` makes whoever comes to that place write `/path` and wait until that file is gone or the
//! user ends the run. With `freeze` in place of `hold` it tells of that end by a file `/path.stopped` and stays. Nothing else
//! reads the variable; unset, a place costs one look at a value read once.
//!
//! Stages are places ([`come_to`]), and so is each single call of a driver that changes its host ([`Calls`]): `call-7` is
//! before the seventh of the process, `called-7` after its answer. `list@calls:/path` writes their names down, one a line.

use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The variable that names a place.
pub const VARIABLE: &str = "LABYARD_FAULT";
/// How often a held operation looks whether it may go on.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grip {
    /// Ends when the run is stopped.
    Hold,
    /// Stays even then.
    Freeze,
    /// Writes down who comes by.
    List,
}

#[derive(Debug, PartialEq, Eq)]
struct Point {
    grip: Grip,
    place: String,
    path: PathBuf,
}

impl Point {
    fn parse(text: &str) -> Option<Self> {
        let (grip, place) = text.split_once('@')?;
        let grip = match grip {
            "hold" => Grip::Hold,
            "freeze" => Grip::Freeze,
            "list" => Grip::List,
            _ => return None,
        };
        let (place, path) = place.split_once(':')?;
        Some(Self {
            grip,
            place: place.to_owned(),
            path: path.into(),
        })
    }

    fn is_of_calls(&self) -> bool {
        self.place.starts_with("call")
    }
}

fn point() -> Option<&'static Point> {
    static POINT: OnceLock<Option<Point>> = OnceLock::new();
    POINT
        .get_or_init(|| Point::parse(&std::env::var(VARIABLE).ok()?))
        .as_ref()
}

/// Whether any place was named.
pub fn is_named() -> bool {
    point().is_some()
}

/// Passes, unless this place was named. `ended` is over when the user ends the run.
pub async fn come_to(place: &str, object: &str, ended: impl Future<Output = ()>) {
    let Some(point) = point().filter(|point| point.place == place) else {
        return;
    };
    if std::fs::write(&point.path, object).is_err() {
        // Nobody could let it go on.
        return std::future::pending().await;
    }
    tokio::select! {
        () = gone(point) => return,
        () = ended => {}
    }
    if point.grip == Grip::Freeze {
        let mut stopped = point.path.clone().into_os_string();
        stopped.push(".stopped");
        // Whoever waits for the file finds that it is missing.
        let _ = std::fs::write(stopped, object);
        gone(point).await;
    }
}

async fn gone(point: &Point) {
    while point.path.exists() {
        tokio::time::sleep(LOOK).await;
    }
}

/// The changing calls of this process to its hosts, counted from 1.
#[derive(Debug, Default)]
pub struct Calls {
    made: AtomicU64,
}

impl Calls {
    /// Where one of them was named, or their list.
    pub fn named() -> Option<&'static Self> {
        static CALLS: Calls = Calls {
            made: AtomicU64::new(0),
        };
        point().filter(|point| point.is_of_calls()).map(|_| &CALLS)
    }

    /// A call is about to be made; its number.
    pub async fn before(&self, name: &str) -> u64 {
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(point) = point().filter(|point| point.grip == Grip::List) {
            write_down(point, name);
        }
        come_to(&format!("call-{number}"), name, std::future::pending()).await;
        number
    }

    /// It was answered.
    pub async fn after(&self, number: u64, name: &str) {
        come_to(&format!("called-{number}"), name, std::future::pending()).await;
    }
}

fn write_down(point: &Point, name: &str) {
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&point.path);
    // Whoever reads the list finds that it is short.
    let _ = file.and_then(|mut file| writeln!(file, "{name}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_grip_a_place_and_a_file() {
        let point = |grip, place: &str, path: &str| Point {
            grip,
            place: place.into(),
            path: path.into(),
        };
        assert_eq!(
            Point::parse("hold@disks:/a:b"),
            Some(point(Grip::Hold, "disks", "/a:b"))
        );
        assert_eq!(
            Point::parse("freeze@seed:/x"),
            Some(point(Grip::Freeze, "seed", "/x"))
        );
        assert_eq!(
            Point::parse("list@calls:/x"),
            Some(point(Grip::List, "calls", "/x"))
        );
        assert_eq!(Point::parse("hold@disks"), None);
        assert_eq!(Point::parse("melt@disks:/x"), None);
    }
}

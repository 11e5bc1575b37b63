//! The terminal of who types: each key as it is pressed, until it is put back as it was, however that comes.

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::{io::Read as _, thread};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

/// The most keys at once: more than somebody pastes between two looks.
const AT_ONCE: usize = 4096;

/// A terminal that is typed at.
pub(super) struct Terminal(());

impl Terminal {
    /// The one of the input; none where the input is something else.
    pub(super) fn of_input() -> Option<Self> {
        isatty(std::io::stdin()).then_some(Self(()))
    }

    /// Each key as it is pressed from now on, also those that mean something to terminals. Dropping them puts it back.
    pub(super) fn raw(self) -> std::io::Result<Keys> {
        // Before the terminal is another: what ends the program must not leave it so.
        let ends = [
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::quit())?,
        ];
        let before = Before::raw()?;
        Ok(Keys {
            pressed: pressed(),
            ends,
            _before: before,
        })
    }
}

/// How the terminal was.
struct Before(Termios);

impl Before {
    fn raw() -> std::io::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        // A terminal that is gone by now needs nothing.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// What is pressed.
pub(super) struct Keys {
    pressed: mpsc::Receiver<Vec<u8>>,
    ends: [Signal; 4],
    _before: Before,
}

impl Keys {
    /// The next keys; none when the input is at its end, or a signal ends the program.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        let [terminated, hung_up, interrupted, quit] = &mut self.ends;
        tokio::select! {
            pressed = self.pressed.recv() => pressed,
            _ = terminated.recv() => None,
            _ = hung_up.recv() => None,
            _ = interrupted.recv() => None,
            _ = quit.recv() => None,
        }
    }
}

/// Reads the input in a thread of its own: nothing waits for that to end, as the runtime would for one of its own.
fn pressed() -> mpsc::Receiver<Vec<u8>> {
    let (to, from) = mpsc::channel(1);
    thread::spawn(move || {
        let mut keys = [0; AT_ONCE];
        let mut input = std::io::stdin().lock();
        while let Ok(count @ 1..) = input.read(&mut keys) {
            if to.blocking_send(keys[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    from
}

//! The loop: look at the pairs, step, write, apply.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use getrandom::SysRng;
use labyard_exchange::guest::Seen;
use labyard_exchange::rand_core::UnwrapErr;
use labyard_exchange::{Action, Configuration, Guest, Outcome, Progress, Report, Stage};

use crate::ledger::Ledger;
use crate::pairs::{Look, NoPairs, Pairs};
use crate::redact::{redact, shorten};

/// How often is looked while an exchange is under way, and while none is.
const SOON: Duration = Duration::from_millis(200);
const LATER: Duration = Duration::from_secs(1);

/// When the loop ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// When one exchange is over.
    OneIsOver,
    /// Not by itself.
    Killed,
}

/// What can be made as a configuration says.
pub(crate) trait System {
    /// Makes it so, and tells how far it is. What it is already stays.
    ///
    /// # Errors
    /// What failed, and why. The message may hold a secret only as a program's own words; they are taken out later.
    fn apply(&mut self, configuration: &Configuration, tell: &mut dyn FnMut(Progress)) -> Result<(), Failed>;

    /// Does what can only be done once the result is written: a restart.
    fn afterwards(&mut self) {}
}

/// What failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// At what.
    pub(crate) stage: Stage,
    /// Why.
    pub(crate) why: String,
}

/// Says something to whoever reads the system's log.
pub(crate) fn say(text: &str) {
    eprintln!("labyard-guest: {text}");
}

/// Runs the loop.
pub(crate) fn run(
    pairs: &mut dyn Pairs,
    system: &mut dyn System,
    ledger: Ledger,
    until: Until,
) -> Result<ExitCode, String> {
    let mut daemon = Daemon {
        guest: Some(Guest::new(ledger.over())),
        ledger,
        said: BTreeSet::new(),
        last: None,
    };
    say("waiting for a request");
    loop {
        match daemon.turn(pairs, system) {
            Ok(()) => daemon.said.retain(|said| !said.starts_with("cannot")),
            Err(error) => daemon.say_once(&format!("cannot look at the pairs: {error}")),
        }
        let busy = daemon.guest.as_ref().is_some_and(Guest::is_busy);
        if let (false, Until::OneIsOver, Some(outcome)) = (busy, until, daemon.last) {
            return Ok(match outcome {
                Outcome::Ok => ExitCode::SUCCESS,
                Outcome::Error => ExitCode::FAILURE,
            });
        }
        thread::sleep(if busy { SOON } else { LATER });
    }
}

struct Daemon {
    guest: Option<Guest>,
    ledger: Ledger,
    /// What was said already, so that a refusal that stays is said once.
    said: BTreeSet<String>,
    /// How the last exchange ended.
    last: Option<Outcome>,
}

impl Daemon {
    fn turn(&mut self, pairs: &mut dyn Pairs, system: &mut dyn System) -> Result<(), NoPairs> {
        let Look { host, own, machine } = pairs.look()?;
        let seen = Seen {
            host: &host,
            own: &own,
            machine,
        };
        let guest = self
            .guest
            .take()
            .unwrap_or_else(|| Guest::new(self.ledger.over()));
        // The system's randomness does not fail once it has answered, and a guest without it must not go on.
        let (guest, actions) = guest.step(&seen, &mut UnwrapErr(SysRng));
        self.last = guest.outcome().or(self.last);
        self.guest = Some(guest);
        self.write(pairs, &actions)?;
        for action in actions {
            match action {
                Action::Apply(configuration) => self.apply(&configuration, pairs, system)?,
                Action::Refused(illegal) => self.say_once(&format!("refused: {illegal}")),
                Action::Put(_) | Action::Remove(_) | Action::Remember(_) => {}
            }
        }
        Ok(())
    }

    fn write(&mut self, pairs: &mut dyn Pairs, actions: &[Action]) -> Result<(), NoPairs> {
        pairs.write(actions)?;
        for action in actions {
            if let Action::Remember(session) = action
                && let Err(error) = self.ledger.remember(*session)
            {
                // It would be done again after a restart, if it were asked again: no reason to fail now.
                self.say_once(&error.to_string());
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        configuration: &Configuration,
        pairs: &mut dyn Pairs,
        system: &mut dyn System,
    ) -> Result<(), NoPairs> {
        let Some(guest) = self.guest.take() else {
            return Ok(());
        };
        say("a configuration came; applying it");
        let outcome = system.apply(configuration, &mut |progress| {
            say(&format!("{:?}, {} %", progress.stage, progress.percent));
            // That nobody hears how far it is does not stop the work.
            if let Err(error) = pairs.write(&guest.progress(progress)) {
                say(&format!("cannot tell how far it is: {error}"));
            }
        });
        let report = match outcome {
            Ok(()) => Report {
                outcome: Outcome::Ok,
                stage: None,
                message: String::new(),
            },
            Err(Failed { stage, why }) => Report {
                outcome: Outcome::Error,
                stage: Some(stage),
                message: shorten(&redact(&why, configuration)),
            },
        };
        match report.outcome {
            Outcome::Ok => say("done"),
            Outcome::Error => say(&format!("failed: {}", report.message)),
        }
        let (guest, actions) = guest.finish(&report);
        self.guest = Some(guest);
        self.last = Some(report.outcome);
        // Without the result the host waits in vain: this is tried for as long as the files can be had at all.
        let mut written = self.write(pairs, &actions);
        for _ in 0..50 {
            if written.is_ok() {
                break;
            }
            thread::sleep(SOON);
            written = self.write(pairs, &actions);
        }
        written?;
        system.afterwards();
        Ok(())
    }

    fn say_once(&mut self, text: &str) {
        // What is refused comes from outside, so that there may be any number of different texts.
        if self.said.len() > 1000 {
            self.said.clear();
        }
        if self.said.insert(text.to_owned()) {
            say(text);
        }
    }
}

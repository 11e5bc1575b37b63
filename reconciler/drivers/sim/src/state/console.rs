//! The console of a machine on the host: opened, read, typed into, let go.

use labyard_driver::ids::ObjectId;
use labyard_driver::{DriverError, Entry};
use serde::{Deserialize, Serialize};

use super::guest::Run;
use super::{Machine, State, busy, refused};
use crate::clock::Millis;

/// Who has a console: of which run of which machine, and as whom there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seat {
    pub(crate) id: ObjectId,
    pub(crate) run: u64,
    pub(crate) holder: u64,
}

/// What a reader of a console gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ConsoleStep {
    /// Text, and where to read on.
    Text { text: String, position: usize },
    /// Nothing yet.
    Quiet,
    /// The machine has ended.
    Ended,
    /// Somebody else has it.
    TakenOver,
}

impl State {
    /// Opens a console: who has it now, and where he reads on.
    pub(crate) fn open_console(
        &mut self,
        id: &ObjectId,
        entry: Entry,
        now: Millis,
    ) -> Result<(Seat, usize), DriverError> {
        let machine = self.machine_mut(id)?;
        let doing = format!("opening the console of machine {}", machine.host_name);
        let Some(run) = machine.run_mut() else {
            return Err(refused(doing, "the machine is not running"));
        };
        let Some(holder) = run.desk.sit(entry, now) else {
            return Err(busy(doing, "somebody else has it"));
        };
        let seat = Seat {
            id: id.clone(),
            run: run.number,
            holder,
        };
        Ok((seat, run.written_by(0, now).1))
    }

    pub(crate) fn read_console(&mut self, seat: &Seat, position: usize, now: Millis) -> ConsoleStep {
        let Some(run) = self.run_at(seat) else {
            return ConsoleStep::Ended;
        };
        if !run.desk.is_of(seat.holder, now) {
            return ConsoleStep::TakenOver;
        }
        match run.written_by(position, now) {
            (text, _) if text.is_empty() => ConsoleStep::Quiet,
            (text, position) => ConsoleStep::Text { text, position },
        }
    }

    /// Keys that come from a place that is another's by now, or at a run that has ended, reach nothing: who reads is told.
    pub(crate) fn press_keys(&mut self, seat: &Seat, keys: &[u8], now: Millis) {
        if let Some(run) = self.run_at(seat)
            && run.desk.is_of(seat.holder, now)
        {
            run.press(keys, now);
        }
    }

    pub(crate) fn leave_console(&mut self, seat: &Seat) {
        if let Some(run) = self.run_at(seat) {
            run.desk.leave(seat.holder);
        }
    }

    fn run_at(&mut self, seat: &Seat) -> Option<&mut Run> {
        let run = self.machines.get_mut(&seat.id).and_then(Machine::run_mut);
        run.filter(|run| run.number == seat.run)
    }
}

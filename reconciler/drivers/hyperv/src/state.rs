//! What a machine does, by Hyper-V's numbers, and what it is asked for.

use labyard_driver::observed::Power;

/// What [`crate::classes::Machine::enabled_state`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It is off.
    Off,
    /// Its processors stand still.
    Paused,
    /// It is off, its memory kept.
    Saved,
    /// On its way from one to the other.
    Changing,
    /// Something that it does not get out of by itself: a disk that is gone, a host without room. Never "off".
    Critical,
}

impl State {
    /// By the number. 32768 and 32769 are those of older hosts; 32781 and above tell of what is critical.
    pub fn of(number: u16) -> Self {
        match number {
            2 => Self::Running,
            3 => Self::Off,
            9 | 32768 => Self::Paused,
            6 | 32769 => Self::Saved,
            // 1 is "other", with words for the way it is on.
            1 | 4 | 10 | 32770..=32780 => Self::Changing,
            _ => Self::Critical,
        }
    }

    /// As all hosts' states are told. What changes still has what it had: it runs, or its memory.
    pub fn power(self) -> Power {
        match self {
            Self::Running | Self::Changing => Power::Running,
            Self::Off => Power::Stopped,
            Self::Paused => Power::Paused,
            Self::Saved => Power::Saved,
            Self::Critical => Power::Crashed,
        }
    }
}

/// What a machine is asked for by `RequestStateChange`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// To run: from off, saved or paused.
    Running,
    /// To be off at once. A saved one loses its memory.
    Off,
    /// To stand still.
    Paused,
    /// To be off with its memory kept.
    Saved,
}

impl Wanted {
    /// `RequestedState`.
    pub fn number(self) -> u16 {
        match self {
            Self::Running => 2,
            Self::Off => 3,
            Self::Paused => 9,
            Self::Saved => 6,
        }
    }

    /// The state that is waited for.
    pub fn state(self) -> State {
        match self {
            Self::Running => State::Running,
            Self::Off => State::Off,
            Self::Paused => State::Paused,
            Self::Saved => State::Saved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_what_is_seen() {
        for wanted in [Wanted::Running, Wanted::Off, Wanted::Paused, Wanted::Saved] {
            assert_eq!(State::of(wanted.number()), wanted.state());
        }
    }

    #[test]
    fn no_unknown_number_is_off() {
        let off: Vec<u16> = (0..=u16::MAX)
            .filter(|number| State::of(*number) == State::Off)
            .collect();
        assert_eq!(off, [3]);
        assert_eq!(State::of(32785), State::Critical);
        assert_eq!(State::of(32773), State::Changing, "it saves its memory");
    }
}

//! How a console that was typed into ends: by which code of a WebSocket's close that is told.

/// Why a console has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The machine has ended, and its console with it.
    Machine,
    /// The server ends.
    Server,
    /// The host, or the way to it, broke off.
    Broken,
    /// Somebody else has the console now.
    TakenOver,
    /// The token is not valid any more.
    NotAllowed,
    /// The machine is a pool's, and is another's or nobody's by now.
    MovedOn,
    /// The machine takes no keys.
    Stuck,
}

impl End {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Machine,
        Self::Server,
        Self::Broken,
        Self::TakenOver,
        Self::NotAllowed,
        Self::MovedOn,
        Self::Stuck,
    ];

    /// Its code: the standard's own where it has one (RFC 6455, 7.4.1).
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Machine => 1000,
            Self::Server => 1001,
            Self::Broken => 1011,
            Self::TakenOver => 4001,
            Self::NotAllowed => 4002,
            Self::MovedOn => 4003,
            Self::Stuck => 4004,
        }
    }

    /// The end of that code.
    #[must_use]
    pub fn of_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|end| end.code() == code)
    }

    /// The same for people.
    #[must_use]
    pub fn told(self) -> &'static str {
        match self {
            Self::Machine => "the machine has ended",
            Self::Server => "the server ends: ask again",
            Self::Broken => "the console broke off: ask again",
            Self::TakenOver => "somebody else has taken the console over",
            Self::NotAllowed => "the token is not valid any more",
            Self::MovedOn => "the machine's claim is over",
            Self::Stuck => "the machine takes no keys",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_known_by_its_code() {
        for end in End::ALL {
            assert_eq!(End::of_code(end.code()), Some(end));
            // A close frame has so much room.
            assert!(end.told().len() <= 123);
        }
        assert_eq!(End::of_code(4999), None);
    }
}

//! What can be done to a system: the words that plans are made of. A plan leaves its execution no choice.

use std::path::PathBuf;

use labyard_exchange::{Secret, Stage};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Write a file of the system, owned by root; directories above it are made.
    Write(File),
    /// Take a file of the system away; it is no error if it is gone.
    Remove(PathBuf),
    /// Have these keys, and no others that were written here before, let a user in.
    Keys {
        /// The user; it is there by then.
        user: String,
        /// The keys.
        keys: Vec<String>,
    },
    /// Run a program.
    Run(Program),
}

/// A file of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// Where, seen from the guest.
    pub(crate) path: PathBuf,
    /// All of it.
    pub(crate) text: String,
    /// Who may read it.
    pub(crate) mode: u32,
}

/// A program that is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// Its name; it is looked for where the system's programs are.
    pub(crate) name: &'static str,
    /// Its arguments. Everybody on the system can read them.
    pub(crate) arguments: Vec<String>,
    /// What it reads. Where it gets a secret, it gets it here.
    pub(crate) input: Option<Secret>,
    /// What it works on.
    pub(crate) reach: Reach,
    /// Whether it has to succeed.
    pub(crate) need: Need,
}

/// What a program works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Files: it is run for a tree, too.
    Tree,
    /// The running system: it is left out for a tree.
    Live,
}

/// Whether a program has to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Yes.
    Must,
    /// No: what it does may have been done, or be done by the next start.
    May,
}

/// Something to do, and at what part of the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The part.
    pub(crate) stage: Stage,
    /// What.
    pub(crate) act: Act,
}

impl Program {
    /// A program that works on files and has to succeed.
    pub(crate) fn new(name: &'static str, arguments: &[&str]) -> Self {
        Self {
            name,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            input: None,
            reach: Reach::Tree,
            need: Need::Must,
        }
    }

    /// For the running system only.
    pub(crate) fn live(mut self) -> Self {
        self.reach = Reach::Live;
        self
    }

    /// May fail.
    pub(crate) fn may_fail(mut self) -> Self {
        self.need = Need::May;
        self
    }

    /// Reads this.
    pub(crate) fn reading(mut self, input: Secret) -> Self {
        self.input = Some(input);
        self
    }
}

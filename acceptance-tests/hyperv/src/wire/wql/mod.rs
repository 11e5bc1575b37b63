//! Queries in WQL, as far as clients of Hyper-V use it: `SELECT` with projections and conditions, `ASSOCIATORS OF`.

mod eval;
mod parse;

pub(crate) use eval::{Object, holds};
pub(crate) use parse::parse;

/// A query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Query {
    Select(Select),
    Associators(Associators),
}

/// `SELECT columns FROM class WHERE condition`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Select {
    /// None for `*`.
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) class: String,
    pub(crate) condition: Option<Condition>,
}

/// `ASSOCIATORS OF {path} WHERE AssocClass = … ResultClass = …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Associators {
    /// The class of the object that it starts at.
    pub(crate) class: String,
    /// Its keys.
    pub(crate) keys: Vec<(String, String)>,
    pub(crate) association: Option<String>,
    pub(crate) result: Option<String>,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    Compare(Operand, Comparison, Operand),
    Like(Operand, String),
    /// `IS NULL`; of `IS NOT NULL` the negation.
    IsNull(Operand),
    /// `property ISA "class"`; of the object itself with `__this`.
    IsA(Operand, String),
}

/// How two are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    /// A property, one of a property's instance (`PrivateProperties.VmID`), or one of the system's (`__SERVER`).
    Property(Vec<String>),
    Text(String),
    /// As it was written.
    Number(String),
    Truth(bool),
    Null,
}

/// A query that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadQuery(pub(crate) String);

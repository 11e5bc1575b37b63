//! Both sides against each other, with a bus in memory between them.

mod alterations;
mod both_sides;
mod bus;

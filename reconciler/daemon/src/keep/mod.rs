//! What the daemon keeps in the store beside pools, codes and claims: tokens and operations. Each change is one
//! transaction with its event.

pub(crate) mod operations;
pub(crate) mod runs;
pub(crate) mod tokens;

use labyard_store::{StoreError, event::Moment};

/// A moment as the API says it.
pub(crate) fn time(at: Moment) -> jiff::Timestamp {
    let bounds = jiff::Timestamp::MIN.as_millisecond()..=jiff::Timestamp::MAX.as_millisecond();
    let millis = at.0.clamp(*bounds.start(), *bounds.end());
    jiff::Timestamp::from_millisecond(millis).unwrap_or_default()
}

/// A column that may be empty, as the API says it.
pub(crate) fn time_in(row: &labyard_store::Row, column: &str) -> Result<Option<jiff::Timestamp>, StoreError> {
    Ok(row.get::<Option<i64>>(column)?.map(|at| time(Moment(at))))
}

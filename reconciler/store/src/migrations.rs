//! The tables, version by version. Each step is SQL that SQLite and PostgreSQL both understand: BIGINT, TEXT and
//! BYTEA are all there is, `$1` are parameters. A step that has been released is never changed.
//!
//! A store says its version in `labyard_meta`; one that is newer than this program is refused, one that is older is
//! brought up to date in one transaction.

/// One step: the version it leads to, and its statements, divided by semicolons.
pub(crate) struct Migration {
    pub(crate) version: i64,
    pub(crate) statements: &'static str,
}

pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    statements: include_str!("../migrations/0001_labs.sql"),
}];

/// The newest version this program knows.
#[must_use]
pub fn known() -> i64 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

/// The single statements of a step.
pub(crate) fn statements(text: &str) -> impl Iterator<Item = String> + '_ {
    let without_comments: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect::<Vec<_>>()
        .join("\n");
    without_comments
        .split(';')
        .map(|statement| statement.trim().to_owned())
        .filter(|statement| !statement.is_empty())
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_up_without_holes() {
        for (at, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version, i64::try_from(at).unwrap() + 1);
            assert!(statements(migration.statements).count() > 0);
        }
    }

    #[test]
    fn only_the_types_of_the_common_dialect_are_used() {
        for migration in MIGRATIONS {
            for statement in statements(migration.statements) {
                for word in [
                    "INTEGER",
                    "SERIAL",
                    "BOOLEAN",
                    "TIMESTAMP",
                    "BLOB",
                    "AUTOINCREMENT",
                    "JSON",
                ] {
                    assert!(!statement.to_uppercase().contains(word), "{word} in {statement}");
                }
            }
        }
    }
}

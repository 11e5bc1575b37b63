//! What is printed: tables for people, JSON for programs.

use serde::Serialize;
use std::{
    io::{self, IsTerminal as _, Write as _},
    path::Path,
};

/// For whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

impl Output {
    /// Prints an answer: as it is, or as the table made of it.
    pub(crate) fn print<T: Serialize>(self, answer: &T, table: impl FnOnce(&T) -> Table) -> io::Result<()> {
        let text = match self {
            Self::Json => serde_json::to_string_pretty(answer)? + "\n",
            Self::Table => table(answer).text(),
        };
        say(&text)
    }
}

/// Who reads what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Somebody.
    There,
    /// Nobody any more.
    Gone,
}

/// Prints a text; that nobody reads it to its end is no error.
pub(crate) fn say(text: &str) -> io::Result<()> {
    tell(text).map(drop)
}

/// The same, and says whether anybody reads.
pub(crate) fn tell(text: &str) -> io::Result<Reader> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        done => done.map(|()| Reader::There),
    }
}

/// Writes a text into a new file for its owner alone.
pub(crate) fn secret_file(path: &Path, text: &str) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A line about what goes on, for people alone.
pub(crate) fn progress(line: &str) {
    if io::stderr().is_terminal() {
        eprintln!("{line}");
    }
}

/// Columns with their heads.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads.
    pub(crate) fn new(heads: &[&str]) -> Self {
        Self {
            rows: vec![heads.iter().map(|head| (*head).to_owned()).collect()],
        }
    }

    /// With one more row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// With what stands in a list.
    pub(crate) fn of<T>(heads: &[&str], items: &[T], cells: impl Fn(&T) -> Vec<String>) -> Self {
        let mut table = Self::new(heads);
        items.iter().for_each(|item| table.row(cells(item)));
        table
    }

    fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let padded = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            let line = padded.collect::<Vec<_>>().join("  ");
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// A value that may not be there.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A time, to the second.
pub(crate) fn at(time: jiff::Timestamp) -> String {
    jiff::Timestamp::from_second(time.as_second())
        .unwrap_or(time)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_their_heads() {
        let table = Table::of(&["NAME", "N"], &[("k8s", 1), ("windows", 20)], |(name, n)| {
            vec![(*name).to_owned(), n.to_string()]
        });
        assert_eq!(table.text(), "NAME     N\nk8s      1\nwindows  20\n");
    }
}

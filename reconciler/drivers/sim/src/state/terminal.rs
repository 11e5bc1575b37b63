//! A guest's terminal on its serial port: somebody logs in by any name, and a shell that knows `echo` and `exit` answers.
//! What is typed is echoed as a terminal echoes it.

use serde::{Deserialize, Serialize};

use crate::clock::Millis;

/// What a guest asks for who it is.
pub(super) const LOGIN: &str = "sim login: ";
const PROMPT: &str = "$ ";

/// What was typed into a run, and what came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Terminal {
    /// What it said and when, counted from the start of its run.
    said: Vec<(Millis, String)>,
    /// The line that is being typed.
    line: String,
    user: Option<String>,
}

impl Terminal {
    /// What it has said by itself, in order.
    pub(super) fn said(&self) -> &[(Millis, String)] {
        &self.said
    }

    /// Keys are pressed.
    pub(super) fn press(&mut self, keys: &[u8], at: Millis) {
        let mut said = String::new();
        for key in String::from_utf8_lossy(keys).chars() {
            self.key(key, &mut said);
        }
        if !said.is_empty() {
            self.said.push((at, said));
        }
    }

    fn key(&mut self, key: char, said: &mut String) {
        match key {
            '\r' | '\n' => {
                *said += "\r\n";
                let line = std::mem::take(&mut self.line);
                said.push_str(&self.answer(line.trim()));
            }
            // Backspace, as terminals send it.
            '\u{8}' | '\u{7f}' => {
                if self.line.pop().is_some() {
                    *said += "\u{8} \u{8}";
                }
            }
            // Ctrl-C gives the line up.
            '\u{3}' => {
                self.line.clear();
                *said += "^C\r\n";
                *said += self.prompt();
            }
            key if key.is_control() => {}
            key => {
                self.line.push(key);
                said.push(key);
            }
        }
    }

    fn prompt(&self) -> &'static str {
        match self.user {
            None => LOGIN,
            Some(_) => PROMPT,
        }
    }

    fn answer(&mut self, line: &str) -> String {
        let told = match (&self.user, line.split_once(' ').unwrap_or((line, ""))) {
            (_, ("", _)) => String::new(),
            (None, (name, _)) => {
                self.user = Some(name.to_owned());
                format!("Welcome, {name}\r\n")
            }
            (Some(_), ("echo", words)) => format!("{words}\r\n"),
            (Some(_), ("exit", _)) => {
                self.user = None;
                "\r\n".to_owned()
            }
            (Some(_), (command, _)) => format!("sh: {command}: not found\r\n"),
        };
        told + self.prompt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(keys: &[&str]) -> String {
        let mut terminal = Terminal::default();
        for (at, keys) in (0..).zip(keys) {
            terminal.press(keys.as_bytes(), at);
        }
        terminal.said().iter().map(|(_, said)| said.as_str()).collect()
    }

    #[test]
    fn who_logs_in_is_echoed_and_answered_until_he_leaves() {
        assert_eq!(after(&["a", "da\r"]), "ada\r\nWelcome, ada\r\n$ ");
        assert_eq!(
            after(&["ada\recho so it is\r"]),
            "ada\r\nWelcome, ada\r\n$ echo so it is\r\nso it is\r\n$ "
        );
        assert!(after(&["ada\rls\r"]).ends_with("sh: ls: not found\r\n$ "));
        assert!(after(&["ada\rexit\r"]).ends_with(LOGIN));
    }

    #[test]
    fn a_line_is_mended_and_given_up_by_keys() {
        assert!(after(&["ada\rechoo\u{7f} x\r"]).ends_with("\r\nx\r\n$ "));
        assert!(after(&["ada\recho x\u{3}"]).ends_with("^C\r\n$ "));
        assert_eq!(after(&["\u{7f}"]), "");
    }
}

//! Queries in WQL, with what users name in one place only: [`literal`].

use std::fmt::Write;

/// A text as WQL has it, in quotation marks. A backslash and a quotation mark have a backslash before them; double
/// marks as well, since some readers look for those alone.
///
/// ```
/// assert_eq!(wsman::wql::literal(r#"it's "a\b""#), r#"'it\'s \"a\\b\"'"#);
/// ```
pub fn literal(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 2);
    written.push('\'');
    for character in text.chars() {
        if matches!(character, '\\' | '\'' | '"') {
            written.push('\\');
        }
        written.push(character);
    }
    written.push('\'');
    written
}

/// A query for objects of a class.
///
/// ```
/// # use wsman::wql::Select;
/// let query = Select::of("Msvm_ComputerSystem").columns(&["Name", "EnabledState"]).equal("ElementName", "it's");
/// assert_eq!(query.to_string(), r"SELECT Name,EnabledState FROM Msvm_ComputerSystem WHERE ElementName = 'it\'s'");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    class: String,
    columns: Vec<String>,
    conditions: Vec<String>,
}

impl Select {
    /// All of them, whole.
    pub fn of(class: &str) -> Self {
        Self {
            class: class.to_owned(),
            columns: Vec::new(),
            conditions: Vec::new(),
        }
    }

    /// Only these properties; what comes back then says nothing of its class.
    #[must_use]
    pub fn columns(mut self, names: &[&str]) -> Self {
        self.columns.extend(names.iter().map(|name| (*name).to_owned()));
        self
    }

    /// Those whose property is this text, letter for letter or not: WMI compares text without case.
    #[must_use]
    pub fn equal(mut self, property: &str, text: &str) -> Self {
        self.conditions.push(format!("{property} = {}", literal(text)));
        self
    }

    /// Those whose property begins with this text, without case. What the text has of LIKE's own signs means itself.
    ///
    /// ```
    /// # use wsman::wql::Select;
    /// let query = Select::of("Msvm_MemorySettingData").starting("InstanceID", r"Microsoft:5E_0\x");
    /// assert_eq!(
    ///     query.to_string(),
    ///     r"SELECT * FROM Msvm_MemorySettingData WHERE InstanceID LIKE 'Microsoft:5E[_]0\\x%'"
    /// );
    /// ```
    #[must_use]
    pub fn starting(mut self, property: &str, text: &str) -> Self {
        let mut pattern = String::with_capacity(text.len() + 1);
        for character in text.chars() {
            match character {
                '%' | '_' | '[' => pattern.extend(['[', character, ']']),
                other => pattern.push(other),
            }
        }
        pattern.push('%');
        self.conditions
            .push(format!("{property} LIKE {}", literal(&pattern)));
        self
    }

    /// Those whose property is this number or truth.
    #[must_use]
    pub fn is(mut self, property: &str, value: impl Into<Plain>) -> Self {
        self.conditions.push(format!("{property} = {}", value.into().0));
        self
    }
}

/// What WQL writes without quotation marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain(String);

impl From<u64> for Plain {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

impl From<bool> for Plain {
    fn from(truth: bool) -> Self {
        Self(if truth { "TRUE" } else { "FALSE" }.to_owned())
    }
}

impl std::fmt::Display for Select {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SELECT ")?;
        match &self.columns[..] {
            [] => f.write_char('*')?,
            columns => f.write_str(&columns.join(","))?,
        }
        write!(f, " FROM {}", self.class)?;
        for (nth, condition) in self.conditions.iter().enumerate() {
            write!(f, " {} {condition}", if nth == 0 { "WHERE" } else { "AND" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_ends_its_literal(text in "(?s).*") {
            let literal = literal(&text);
            let inner = literal.strip_prefix('\'').unwrap().strip_suffix('\'').unwrap();
            let mut characters = inner.chars();
            let mut read = String::new();
            while let Some(character) = characters.next() {
                match character {
                    '\\' => read.push(characters.next().unwrap()),
                    other => {
                        prop_assert!(other != '\'' && other != '"');
                        read.push(other);
                    }
                }
            }
            prop_assert_eq!(read, text);
        }
    }
}

//! Reads queries.

use super::{Associators, BadQuery, Comparison, Condition, Operand, Query, Select};

/// How deep conditions may stand in each other.
const DEEPEST: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A name or a keyword, perhaps with dots.
    Word(String),
    Text(String),
    Number(String),
    Sign(&'static str),
    /// What stands in braces.
    Path(String),
}

/// Reads a query.
pub(crate) fn parse(text: &str) -> Result<Query, BadQuery> {
    let mut reader = Reader {
        tokens: tokens(text)?,
        at: 0,
    };
    let query = if reader.takes("SELECT") {
        Query::Select(reader.select()?)
    } else if reader.takes("ASSOCIATORS") {
        Query::Associators(reader.associators()?)
    } else {
        return Err(BadQuery(
            "a query begins with SELECT or ASSOCIATORS OF".to_owned(),
        ));
    };
    match reader.tokens.get(reader.at) {
        None => Ok(query),
        Some(more) => Err(BadQuery(format!("{more:?} follows the end of the query"))),
    }
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
}

impl Reader {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    /// Whether the next is that keyword, and then past it.
    fn takes(&mut self, keyword: &str) -> bool {
        let is =
            matches!(self.tokens.get(self.at), Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(is);
        is
    }

    fn takes_sign(&mut self, sign: &'static str) -> bool {
        let is = self.tokens.get(self.at) == Some(&Token::Sign(sign));
        self.at += usize::from(is);
        is
    }

    fn expects(&mut self, keyword: &str) -> Result<(), BadQuery> {
        let found = self.takes(keyword);
        found
            .then_some(())
            .ok_or_else(|| BadQuery(format!("{keyword} is missing")))
    }

    fn word(&mut self, what: &str) -> Result<String, BadQuery> {
        match self.next() {
            Some(Token::Word(word)) => Ok(word),
            other => Err(BadQuery(format!("{other:?} where {what} belongs"))),
        }
    }

    fn select(&mut self) -> Result<Select, BadQuery> {
        let columns = if self.takes_sign("*") {
            None
        } else {
            let mut columns = vec![self.word("a property")?];
            while self.takes_sign(",") {
                columns.push(self.word("a property")?);
            }
            Some(columns)
        };
        self.expects("FROM")?;
        let class = self.word("a class")?;
        let condition = if self.takes("WHERE") {
            Some(self.any(0)?)
        } else {
            None
        };
        Ok(Select {
            columns,
            class,
            condition,
        })
    }

    fn any(&mut self, depth: usize) -> Result<Condition, BadQuery> {
        let mut condition = self.all(depth)?;
        while self.takes("OR") {
            condition = Condition::Or(Box::new(condition), Box::new(self.all(depth)?));
        }
        Ok(condition)
    }

    fn all(&mut self, depth: usize) -> Result<Condition, BadQuery> {
        let mut condition = self.not(depth)?;
        while self.takes("AND") {
            condition = Condition::And(Box::new(condition), Box::new(self.not(depth)?));
        }
        Ok(condition)
    }

    fn not(&mut self, depth: usize) -> Result<Condition, BadQuery> {
        if depth > DEEPEST {
            return Err(BadQuery("conditions stand too deep in each other".to_owned()));
        }
        if self.takes("NOT") {
            return Ok(Condition::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.takes_sign("(") {
            let inner = self.any(depth + 1)?;
            return match self.takes_sign(")") {
                true => Ok(inner),
                false => Err(BadQuery("a parenthesis is not closed".to_owned())),
            };
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Condition, BadQuery> {
        let left = self.operand()?;
        if self.takes("LIKE") {
            return match self.next() {
                Some(Token::Text(pattern)) => Ok(Condition::Like(left, pattern)),
                other => Err(BadQuery(format!("LIKE {other:?}"))),
            };
        }
        if self.takes("ISA") {
            return match self.next() {
                Some(Token::Text(class)) => Ok(Condition::IsA(left, class)),
                other => Err(BadQuery(format!("ISA {other:?}"))),
            };
        }
        if self.takes("IS") {
            let not = self.takes("NOT");
            self.expects("NULL")?;
            let is = Condition::IsNull(left);
            return Ok(if not { Condition::Not(Box::new(is)) } else { is });
        }
        let comparison = match self.next() {
            Some(Token::Sign("=")) => Comparison::Equal,
            Some(Token::Sign("!=" | "<>")) => Comparison::Unequal,
            Some(Token::Sign("<")) => Comparison::Less,
            Some(Token::Sign("<=")) => Comparison::LessOrEqual,
            Some(Token::Sign(">")) => Comparison::Greater,
            Some(Token::Sign(">=")) => Comparison::GreaterOrEqual,
            other => return Err(BadQuery(format!("{other:?} where a comparison belongs"))),
        };
        let right = self.operand()?;
        Ok(Condition::Compare(left, comparison, right))
    }

    fn operand(&mut self) -> Result<Operand, BadQuery> {
        match self.next() {
            Some(Token::Text(text)) => Ok(Operand::Text(text)),
            Some(Token::Number(number)) => Ok(Operand::Number(number)),
            Some(Token::Word(word)) => Ok(match word.to_ascii_uppercase().as_str() {
                "TRUE" => Operand::Truth(true),
                "FALSE" => Operand::Truth(false),
                "NULL" => Operand::Null,
                _ => Operand::Property(word.split('.').map(str::to_owned).collect()),
            }),
            other => Err(BadQuery(format!("{other:?} where a value belongs"))),
        }
    }

    fn associators(&mut self) -> Result<Associators, BadQuery> {
        self.expects("OF")?;
        let Some(Token::Path(path)) = self.next() else {
            return Err(BadQuery(
                "ASSOCIATORS OF is followed by a path in braces".to_owned(),
            ));
        };
        let (class, keys) = object_path(&path)?;
        let mut read = Associators {
            class,
            keys,
            association: None,
            result: None,
        };
        if self.takes("WHERE") {
            while let Some(Token::Word(name)) = self.tokens.get(self.at).cloned() {
                self.at += 1;
                if !self.takes_sign("=") {
                    return Err(BadQuery(format!("{name} has no value")));
                }
                let value = Some(self.word("a class")?);
                match name.to_ascii_lowercase().as_str() {
                    "assocclass" => read.association = value,
                    "resultclass" => read.result = value,
                    _ => return Err(BadQuery(format!("{name} is not known"))),
                }
            }
        }
        Ok(read)
    }
}

/// A path that is relative, or one with a namespace before its class.
fn object_path(path: &str) -> Result<(String, Vec<(String, String)>), BadQuery> {
    let bad = || BadQuery(format!("{path:?} is no path"));
    let head = path.find(['"', '\'']).map_or(path, |at| &path[..at]);
    let start = head.find(':').map_or(0, |at| at + 1);
    let (class, rest) = path[start..].trim().split_once('.').ok_or_else(bad)?;
    let mut tokens = tokens(rest)?.into_iter();
    let mut keys = Vec::new();
    loop {
        let (Some(Token::Word(key)), Some(Token::Sign("=")), Some(value)) =
            (tokens.next(), tokens.next(), tokens.next())
        else {
            return Err(bad());
        };
        match value {
            Token::Text(text) | Token::Number(text) => keys.push((key, text)),
            _ => return Err(bad()),
        }
        match tokens.next() {
            None => break,
            Some(Token::Sign(",")) => {}
            Some(_) => return Err(bad()),
        }
    }
    Ok((class.trim().to_owned(), keys))
}

const SIGNS: [&str; 11] = ["<=", ">=", "<>", "!=", "=", "<", ">", "(", ")", ",", "*"];

fn tokens(text: &str) -> Result<Vec<Token>, BadQuery> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '\'' | '"' => quoted(rest, first)?,
            '{' => braced(rest)?,
            '-' | '0'..='9' => {
                let end = rest[1..]
                    .find(|c: char| !c.is_ascii_digit() && c != '.')
                    .map_or(rest.len(), |at| at + 1);
                (Token::Number(rest[..end].to_owned()), &rest[end..])
            }
            _ if first.is_alphabetic() || first == '_' => {
                let name = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
                let end = rest.find(|c| !name(c)).unwrap_or(rest.len());
                (Token::Word(rest[..end].to_owned()), &rest[end..])
            }
            _ => {
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
                let sign = sign.ok_or_else(|| BadQuery(format!("{first:?} has no place in a query")))?;
                (Token::Sign(sign), &rest[sign.len()..])
            }
        };
        tokens.push(token);
        rest = after.trim_start();
    }
    Ok(tokens)
}

/// A literal: a backslash makes the next character plain.
fn quoted(text: &str, quote: char) -> Result<(Token, &str), BadQuery> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, next)| next)),
            _ if character == quote => return Ok((Token::Text(value), &text[at + character.len_utf8()..])),
            _ => value.push(character),
        }
    }
    Err(BadQuery("a literal is not closed".to_owned()))
}

/// A path in braces; a brace in one of its literals does not end it.
fn braced(text: &str) -> Result<(Token, &str), BadQuery> {
    let mut within = None;
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match (within, character) {
            (Some(_), '\\') => {
                characters.next();
            }
            (Some(quote), _) if character == quote => within = None,
            (None, '\'' | '"') => within = Some(character),
            (None, '}') => return Ok((Token::Path(text[1..at].to_owned()), &text[at + 1..])),
            _ => {}
        }
    }
    Err(BadQuery("a brace is not closed".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(text: &str) -> Select {
        match parse(text) {
            Ok(Query::Select(select)) => select,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn projections_and_conditions_are_read() {
        let read = select("select Name, ElementName from Msvm_ComputerSystem");
        assert_eq!(read.columns, Some(vec!["Name".into(), "ElementName".into()]));
        assert_eq!(
            (read.class.as_str(), read.condition),
            ("Msvm_ComputerSystem", None)
        );
        let read = select("SELECT * FROM C WHERE Name='it\\'s \"x\" \\\\' AND (A = 0 or NOT B != __SERVER)");
        let Some(Condition::And(name, other)) = read.condition else {
            panic!("{read:?}");
        };
        let property = |name: &str| Operand::Property(vec![name.to_owned()]);
        let literal = Operand::Text("it's \"x\" \\".into());
        assert_eq!(
            *name,
            Condition::Compare(property("Name"), Comparison::Equal, literal)
        );
        assert!(matches!(*other, Condition::Or(_, right) if matches!(*right, Condition::Not(_))));
    }

    #[test]
    fn associators_are_read() {
        let read = parse(
            "ASSOCIATORS OF {Msvm_VirtualSystemSettingData.InstanceID=\"Microsoft:A\\\\B}\"} WHERE \
             AssocClass = Msvm_X ResultClass = Msvm_Y",
        );
        let Ok(Query::Associators(read)) = read else {
            panic!("{read:?}");
        };
        assert_eq!(read.class, "Msvm_VirtualSystemSettingData");
        assert_eq!(
            read.keys,
            [("InstanceID".to_owned(), "Microsoft:A\\B}".to_owned())]
        );
        assert_eq!(
            (read.association.as_deref(), read.result.as_deref()),
            (Some("Msvm_X"), Some("Msvm_Y"))
        );
        let read = parse("associators of {C.A='1',B='2'}");
        assert!(matches!(read, Ok(Query::Associators(read)) if read.keys.len() == 2));
    }

    #[test]
    fn what_is_no_query_is_refused() {
        for text in [
            "",
            "DELETE FROM C",
            "SELECT FROM C",
            "SELECT * FROM C WHERE",
            "SELECT * FROM C WHERE A = 'x",
            "SELECT * FROM C WHERE (A = 1",
            "SELECT * FROM C WHERE A = 1 B = 2",
            "SELECT * FROM C; DROP",
            "ASSOCIATORS OF {C} WHERE AssocClass = X",
            "ASSOCIATORS OF {C.A='1'} WHERE Colour = X",
            "REFERENCES OF {C.A='1'}",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&format!("SELECT * FROM C WHERE {}A=1", "(".repeat(10_000))).is_err());
        assert!(parse(&format!("SELECT * FROM C WHERE {}A=1", "NOT ".repeat(10_000))).is_err());
    }
}

//! Holds objects against conditions. Texts are compared without case, as WMI does, and GUIDs with them.

use std::cmp::Ordering;

use crate::cim::{Instance, Value};
use crate::schema::{Class, Namespace, plain_text};

use super::super::object::{path_of, wmi_path};
use super::{BadQuery, Comparison, Condition, Operand};

/// An object with what a condition may ask beside its properties.
pub(crate) struct Object<'a> {
    /// The name of the host.
    pub(crate) server: &'a str,
    pub(crate) namespace: &'a Namespace,
    pub(crate) class: &'a Class,
    pub(crate) instance: &'a Instance,
}

/// Whether a condition holds for an object.
///
/// # Errors
/// If it asks for a property that the class does not have, or compares what cannot be compared.
pub(crate) fn holds(condition: &Condition, object: &Object<'_>) -> Result<bool, BadQuery> {
    Ok(match condition {
        Condition::And(left, right) => {
            // Both sides are looked at: a property that is unknown is an error whatever the others say.
            let (left, right) = (holds(left, object)?, holds(right, object)?);
            left && right
        }
        Condition::Or(left, right) => {
            let (left, right) = (holds(left, object)?, holds(right, object)?);
            left || right
        }
        Condition::Not(inner) => !holds(inner, object)?,
        Condition::Compare(left, how, right) => {
            let (left, right) = (value(left, object)?, value(right, object)?);
            compared(&left, *how, &right)?
        }
        Condition::Like(left, pattern) => match scalar(value(left, object)?)? {
            Value::Null => false,
            value => {
                let text = plain_text(&value).unwrap_or_default().to_lowercase();
                let text: Vec<char> = text.chars().collect();
                like(&text, &pattern.to_lowercase().chars().collect::<Vec<_>>())
            }
        },
        Condition::IsNull(left) => value(left, object)?.is_null(),
        Condition::IsA(Operand::Property(path), class)
            if path.len() == 1 && path[0].eq_ignore_ascii_case("__this") =>
        {
            object.class.is_a(class)
        }
        Condition::IsA(left, class) => match value(left, object)? {
            Value::Instance(inner) => {
                let of = object.namespace.class(&inner.class);
                of.is_some_and(|of| of.is_a(class))
            }
            _ => false,
        },
    })
}

fn scalar(value: Value) -> Result<Value, BadQuery> {
    match value {
        Value::Array(_) => Err(BadQuery("arrays cannot be compared".to_owned())),
        other => Ok(other),
    }
}

fn value(operand: &Operand, object: &Object<'_>) -> Result<Value, BadQuery> {
    Ok(match operand {
        Operand::Text(text) => Value::text(text),
        Operand::Number(number) => match (number.parse(), number.parse(), number.parse()) {
            (Ok(number), ..) => Value::Unsigned(number),
            (_, Ok(number), _) => Value::Signed(number),
            (_, _, Ok(number)) => Value::Real(number),
            _ => return Err(BadQuery(format!("{number} is no number"))),
        },
        Operand::Truth(truth) => Value::Boolean(*truth),
        Operand::Null => Value::Null,
        Operand::Property(path) => property(path, object)?,
    })
}

fn property(path: &[String], object: &Object<'_>) -> Result<Value, BadQuery> {
    let Some((first, rest)) = path.split_first() else {
        return Err(BadQuery("a property without a name".to_owned()));
    };
    if first.starts_with("__") {
        return system(first, object).ok_or_else(|| BadQuery(format!("{first} is not known")));
    }
    let unknown = || BadQuery(format!("{} has no property {first}", object.class.name));
    object.class.property(first).ok_or_else(unknown)?;
    let mut value = object.instance.get(first).clone();
    for name in rest {
        value = match value {
            Value::Instance(inner) => inner.get(name).clone(),
            _ => Value::Null,
        };
    }
    Ok(value)
}

/// Properties that every object has.
fn system(name: &str, object: &Object<'_>) -> Option<Value> {
    let path = || wmi_path(&path_of(object.class, object.instance));
    Some(Value::text(match name.to_ascii_uppercase().as_str() {
        "__CLASS" => object.class.name.clone(),
        "__SUPERCLASS" => object.class.parents.first().cloned().unwrap_or_default(),
        "__DYNASTY" => object.class.parents.last().unwrap_or(&object.class.name).clone(),
        "__SERVER" => object.server.to_owned(),
        "__NAMESPACE" => object.namespace.name.replace('/', "\\"),
        "__RELPATH" => path().split_once(':').map(|(_, path)| path.to_owned())?,
        "__PATH" => {
            let (_, relative) = path()
                .split_once(':')
                .map(|(space, path)| (space.to_owned(), path.to_owned()))?;
            format!(
                "\\\\{}\\{}:{relative}",
                object.server,
                object.namespace.name.replace('/', "\\")
            )
        }
        _ => return None,
    }))
}

fn compared(left: &Value, how: Comparison, right: &Value) -> Result<bool, BadQuery> {
    let (left, right) = (scalar(left.clone())?, scalar(right.clone())?);
    if left.is_null() || right.is_null() {
        let both = left.is_null() && right.is_null();
        return Ok(match how {
            Comparison::Equal => both,
            Comparison::Unequal => !both,
            _ => false,
        });
    }
    let order =
        order(&left, &right).ok_or_else(|| BadQuery(format!("{left:?} and {right:?} cannot be compared")))?;
    Ok(match how {
        Comparison::Equal => order == Ordering::Equal,
        Comparison::Unequal => order != Ordering::Equal,
        Comparison::Less => order == Ordering::Less,
        Comparison::LessOrEqual => order != Ordering::Greater,
        Comparison::Greater => order == Ordering::Greater,
        Comparison::GreaterOrEqual => order != Ordering::Less,
    })
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    if let (Some(left), Some(right)) = (whole(left), whole(right)) {
        return Some(left.cmp(&right));
    }
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => Some(left.to_lowercase().cmp(&right.to_lowercase())),
        (Value::Boolean(left), Value::Boolean(right)) => Some(left.cmp(right)),
        (Value::Real(left), Value::Real(right)) => left.partial_cmp(right),
        (Value::Reference(left), Value::Text(right)) => {
            Some(wmi_path(left).to_lowercase().cmp(&right.to_lowercase()))
        }
        // Numbers may be written as literals.
        (number, Value::Text(text)) | (Value::Text(text), number) => {
            let other = whole(number)?;
            Some(other.cmp(&text.trim().parse().ok()?))
        }
        (Value::Real(left), right) => left.partial_cmp(&(whole(right)? as f64)),
        (left, Value::Real(right)) => (whole(left)? as f64).partial_cmp(right),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Unsigned(number) => Some((*number).into()),
        Value::Signed(number) => Some((*number).into()),
        _ => None,
    }
}

/// `%` any characters, `_` one, `[a-f]` and `[^abc]` one of a set.
fn like(text: &[char], pattern: &[char]) -> bool {
    // Where to go on if what follows the last `%` does not fit.
    let (mut at, mut of, mut back) = (0, 0, None);
    loop {
        if pattern.get(of) == Some(&'%') {
            back = Some((of, at));
            of += 1;
            continue;
        }
        if at == text.len() && of == pattern.len() {
            return true;
        }
        let fits = at < text.len() && of < pattern.len();
        match fits.then(|| one(text[at], &pattern[of..])).flatten() {
            Some(length) => (at, of) = (at + 1, of + length),
            None => match &mut back {
                Some((percent, from)) if *from < text.len() => {
                    *from += 1;
                    (at, of) = (*from, *percent + 1);
                }
                _ => return false,
            },
        }
    }
}

/// How much of a pattern a character fits.
fn one(character: char, pattern: &[char]) -> Option<usize> {
    match pattern.first()? {
        '_' => Some(1),
        '[' => {
            let end = pattern.iter().position(|c| *c == ']')?;
            let set = &pattern[1..end];
            let (set, wanted) = match set.first() {
                Some('^') => (&set[1..], false),
                _ => (set, true),
            };
            let mut found = set.contains(&character) && character != '-';
            found |= set
                .windows(3)
                .any(|range| range[1] == '-' && (range[0]..=range[2]).contains(&character));
            (found == wanted).then_some(end + 1)
        }
        plain => (*plain == character).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Build, Schema};
    use crate::wire::wql::{Query, parse};

    fn asked(condition: &str) -> Result<bool, BadQuery> {
        let namespace = Schema::of(Build::Server2019)
            .namespace("root/virtualization/v2")
            .unwrap();
        let class = namespace.class("Msvm_ComputerSystem").unwrap();
        let mut instance = Instance::of(&namespace.name, &class.name);
        instance
            .set("Name", Value::text("5E0C11AA-0000-4000-8000-000000000001"))
            .set("CreationClassName", Value::text("Msvm_ComputerSystem"))
            .set("ElementName", Value::text("it's \"web\" 50%"))
            .set("EnabledState", Value::Unsigned(2))
            .set("OperationalStatus", Value::Array(vec![Value::Unsigned(2)]));
        let object = Object {
            server: "HV7",
            namespace,
            class,
            instance: &instance,
        };
        match parse(&format!("SELECT * FROM Msvm_ComputerSystem WHERE {condition}"))? {
            Query::Select(select) => holds(&select.condition.unwrap(), &object),
            Query::Associators(_) => unreachable!("a select"),
        }
    }

    #[test]
    fn conditions_hold_or_do_not() {
        for (condition, wanted) in [
            ("Name = '5e0c11aa-0000-4000-8000-000000000001'", true),
            ("Name != __SERVER", true),
            ("__SERVER = 'hv7'", true),
            ("ElementName = 'it\\'s \\\"web\\\" 50%'", true),
            ("EnabledState = 0 or EnabledState = 2", true),
            ("NOT (EnabledState = 2)", false),
            ("EnabledState > 1 AND EnabledState <= 2", true),
            ("EnabledState = '2'", true),
            ("Caption IS NULL AND Caption = NULL", true),
            ("ElementName IS NOT NULL", true),
            ("Name LIKE '5e0c%1'", true),
            ("Name LIKE '5E0C11A_-%'", true),
            ("Name LIKE '%9'", false),
            ("Name LIKE '[0-9]E0C%' AND NOT Name LIKE '[^0-9]%'", true),
            (
                "__CLASS = 'Msvm_ComputerSystem' AND __this ISA 'CIM_System'",
                true,
            ),
            ("__this ISA 'CIM_Job'", false),
            (
                "__PATH = '\\\\\\\\HV7\\\\root\\\\virtualization\\\\v2:Msvm_ComputerSystem.CreationClassName=\"Msvm_ComputerSystem\",\
                 Name=\"5E0C11AA-0000-4000-8000-000000000001\"'",
                true,
            ),
        ] {
            assert_eq!(asked(condition), Ok(wanted), "{condition}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_an_error() {
        for condition in [
            "Colour = 1",
            "EnabledState = 2 OR Colour = 1",
            "OperationalStatus = 2",
            "ElementName = 5",
        ] {
            assert!(asked(condition).is_err(), "{condition}");
        }
    }

    #[test]
    fn patterns_do_not_run_away() {
        let text = vec!['a'; 5000];
        let pattern: Vec<char> = "%a%a%a%a%a%a%a%b".chars().collect();
        assert!(!like(&text, &pattern));
    }
}

//! Whether a value has the shape that a type demands.

use super::path::Step;
use super::{Path, Type, Value};

/// The first place where a value is not what its type demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Where.
    pub path: Path,
    /// What is wrong there.
    pub problem: String,
}

/// Checks a value against a type. Null and unknown conform to every type.
pub fn conform(value: &Value, ty: &Type) -> Result<(), Mismatch> {
    let mut steps = Vec::new();
    check(value, ty, &mut steps).map_err(|problem| {
        steps.reverse();
        Mismatch {
            path: Path(steps),
            problem,
        }
    })
}

/// On a mismatch, `steps` holds the way to it, innermost first.
fn check(value: &Value, ty: &Type, steps: &mut Vec<Step>) -> Result<(), String> {
    match (value, ty) {
        (Value::Null | Value::Unknown, _)
        | (Value::Bool(_), Type::Bool)
        | (Value::Number(_), Type::Number)
        | (Value::String(_), Type::String) => Ok(()),
        (Value::Dynamic(_, _), Type::Dynamic) => check_dynamic(value, steps),
        (Value::Sequence(items), Type::List(element) | Type::Set(element)) => items
            .iter()
            .enumerate()
            .try_for_each(|(i, item)| at(steps, || Step::index(i), item, element)),
        (Value::Sequence(items), Type::Tuple(types)) => {
            if items.len() != types.len() {
                return Err(format!("{} elements where {} belong", items.len(), types.len()));
            }
            let mut pairs = items.iter().zip(types).enumerate();
            pairs.try_for_each(|(i, (item, ty))| at(steps, || Step::index(i), item, ty))
        }
        (Value::Keyed(entries), Type::Map(element)) => entries
            .iter()
            .try_for_each(|(key, item)| at(steps, || Step::Key(key.clone()), item, element)),
        (Value::Keyed(entries), Type::Object(types)) => {
            if let Some(extra) = entries.keys().find(|key| !types.contains_key(*key)) {
                return Err(format!("there is no attribute {extra}"));
            }
            for (key, ty) in types {
                let item = entries
                    .get(key)
                    .ok_or_else(|| format!("attribute {key} is missing"))?;
                at(steps, || Step::Attribute(key.clone()), item, ty)?;
            }
            Ok(())
        }
        (value, ty) => Err(format!("{} where {ty} belongs", kind(value))),
    }
}

fn check_dynamic(value: &Value, steps: &mut Vec<Step>) -> Result<(), String> {
    match value {
        Value::Dynamic(ty, inner) if **ty != Type::Dynamic => check(inner, ty, steps),
        _ => Err("a dynamic value without a type of its own".to_owned()),
    }
}

fn at(steps: &mut Vec<Step>, step: impl FnOnce() -> Step, value: &Value, ty: &Type) -> Result<(), String> {
    check(value, ty, steps).inspect_err(|_| steps.push(step()))
}

/// What a value is, for messages.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Unknown => "an unknown value",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Sequence(_) => "a list",
        Value::Keyed(_) => "an object",
        Value::Dynamic(..) => "a dynamic value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_names_the_place_and_the_problem() {
        let ty = Type::object([("disks", Type::map(Type::object([("size", Type::Number)])))]);
        let wrong = Value::object([(
            "disks",
            Value::object([("root", Value::object([("size", Value::from("x"))]))]),
        )]);
        let mismatch = conform(&wrong, &ty).unwrap_err();
        assert_eq!(mismatch.path.to_string(), r#"disks["root"].size"#);
        assert_eq!(mismatch.problem, "a string where number belongs");
    }

    #[test]
    fn an_object_has_exactly_the_attributes_of_its_type() {
        let ty = Type::object([("a", Type::Bool)]);
        assert_eq!(
            conform(&Value::object::<&str>([]), &ty).unwrap_err().problem,
            "attribute a is missing"
        );
        let extra = Value::object([("a", Value::Null), ("b", Value::Null)]);
        assert_eq!(
            conform(&extra, &ty).unwrap_err().problem,
            "there is no attribute b"
        );
        assert_eq!(conform(&Value::object([("a", Value::Unknown)]), &ty), Ok(()));
    }

    #[test]
    fn a_tuple_has_exactly_its_length() {
        let ty = Type::Tuple(vec![Type::Bool, Type::String]);
        assert!(conform(&Value::list([Value::from(true)]), &ty).is_err());
        assert!(conform(&Value::list([Value::from(true), Value::from("x")]), &ty).is_ok());
    }

    #[test]
    fn a_dynamic_value_carries_its_type() {
        assert!(conform(&Value::from("x").into_dynamic(), &Type::Dynamic).is_ok());
        assert!(conform(&Value::from("x"), &Type::Dynamic).is_err());
        let lie = Value::Dynamic(Box::new(Type::Bool), Box::new(Value::from("x")));
        assert!(conform(&lie, &Type::Dynamic).is_err());
        assert!(conform(&Value::Null, &Type::Dynamic).is_ok());
    }
}

//! Equality as Terraform means it: by type, so that the order of a set says nothing.

use super::{Type, Value};

/// Whether two values of one type are equal. Unknown equals unknown.
#[must_use]
pub fn same(a: &Value, b: &Value, ty: &Type) -> bool {
    match (a, b, ty) {
        (Value::Dynamic(type_a, a), Value::Dynamic(type_b, b), _) => type_a == type_b && same(a, b, type_a),
        (Value::Sequence(a), Value::Sequence(b), Type::Set(element)) => same_set(a, b, element),
        (Value::Sequence(a), Value::Sequence(b), Type::List(element)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b, element))
        }
        (Value::Sequence(a), Value::Sequence(b), Type::Tuple(types)) => {
            a.len() == b.len() && a.iter().zip(b).zip(types).all(|((a, b), ty)| same(a, b, ty))
        }
        (Value::Keyed(a), Value::Keyed(b), Type::Map(element)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|((ka, va), (kb, vb))| ka == kb && same(va, vb, element))
        }
        (Value::Keyed(a), Value::Keyed(b), Type::Object(types)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|((key_a, value_a), (key_b, value_b))| {
                    key_a == key_b
                        && types
                            .get(key_a)
                            .map_or(value_a == value_b, |ty| same(value_a, value_b, ty))
                })
        }
        (a, b, _) => a == b,
    }
}

fn same_set(a: &[Value], b: &[Value], element: &Type) -> bool {
    if a.len() != b.len() {
        return false;
    }
    // Decoded sets are sorted already, so that this is nearly always enough.
    if a.iter().zip(b).all(|(a, b)| same(a, b, element)) {
        return true;
    }
    sorted(a, element) == sorted(b, element)
}

fn sorted(items: &[Value], element: &Type) -> Vec<Value> {
    let mut items = items.to_vec();
    for item in &mut items {
        sort_sets(item, element);
    }
    items.sort_unstable();
    items
}

/// Brings every set inside a value into one fixed order.
pub fn sort_sets(value: &mut Value, ty: &Type) {
    match (value, ty) {
        (Value::Dynamic(ty, inner), _) => sort_sets(inner, ty),
        (Value::Sequence(items), Type::Set(element)) => {
            items.iter_mut().for_each(|item| sort_sets(item, element));
            items.sort_unstable();
        }
        (Value::Sequence(items), Type::List(element)) => {
            items.iter_mut().for_each(|item| sort_sets(item, element));
        }
        (Value::Sequence(items), Type::Tuple(types)) => {
            items
                .iter_mut()
                .zip(types)
                .for_each(|(item, ty)| sort_sets(item, ty));
        }
        (Value::Keyed(entries), Type::Map(element)) => {
            entries.values_mut().for_each(|item| sort_sets(item, element));
        }
        (Value::Keyed(entries), Type::Object(types)) => {
            for (key, item) in entries {
                if let Some(ty) = types.get(key) {
                    sort_sets(item, ty);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_a_set_says_nothing_and_that_of_a_list_does() {
        let (a, b) = (Value::from(vec!["x", "y"]), Value::from(vec!["y", "x"]));
        assert!(same(&a, &b, &Type::set(Type::String)));
        assert!(!same(&a, &b, &Type::list(Type::String)));
        assert!(!same(&a, &Value::from(vec!["y"]), &Type::set(Type::String)));
    }

    #[test]
    fn sets_inside_sets_and_objects_are_compared_as_sets() {
        let ty = Type::object([("groups", Type::set(Type::set(Type::Number)))]);
        let value = |groups: Vec<Vec<i64>>| Value::object([("groups", Value::from(groups))]);
        assert!(same(
            &value(vec![vec![1, 2], vec![3]]),
            &value(vec![vec![3], vec![2, 1]]),
            &ty
        ));
        assert!(!same(
            &value(vec![vec![1, 2], vec![3]]),
            &value(vec![vec![3], vec![2, 2]]),
            &ty
        ));
    }

    #[test]
    fn dynamic_values_of_different_types_differ() {
        let list = Value::Dynamic(Box::new(Type::list(Type::String)), Box::new(Value::list([])));
        let set = Value::Dynamic(Box::new(Type::set(Type::String)), Box::new(Value::list([])));
        assert!(same(&list, &list, &Type::Dynamic));
        assert!(!same(&list, &set, &Type::Dynamic));
    }
}

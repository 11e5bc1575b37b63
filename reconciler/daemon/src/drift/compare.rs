//! Two values of an object, leaf by leaf.

use serde_json::Value;

/// A value at a leaf, as far as it may be shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shown {
    /// It is not there, or null.
    Absent,
    /// It may be shown.
    Value(Value),
    /// It is secret.
    Sensitive,
    /// It is known after an apply only.
    Unknown,
}

/// A leaf that differs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    /// `disks.root.size_gib`
    pub(crate) path: String,
    /// Before.
    pub(crate) from: Shown,
    /// After.
    pub(crate) to: Shown,
}

/// A value with its marks: `true` for the whole, or by member.
#[derive(Clone, Copy)]
pub(crate) struct Marked<'a> {
    /// The value.
    pub(crate) value: &'a Value,
    /// Where it is secret.
    pub(crate) sensitive: &'a Value,
    /// Where it is unknown.
    pub(crate) unknown: &'a Value,
}

impl<'a> Marked<'a> {
    fn member(self, key: &str) -> Self {
        let of = |value: &'a Value| {
            value.get(key).unwrap_or(if value == &Value::Bool(true) {
                value
            } else {
                &Value::Null
            })
        };
        self.each(of, self.value.get(key).unwrap_or(&Value::Null))
    }

    fn element(self, index: usize) -> Self {
        let of = |value: &'a Value| {
            value.get(index).unwrap_or(if value == &Value::Bool(true) {
                value
            } else {
                &Value::Null
            })
        };
        self.each(of, self.value.get(index).unwrap_or(&Value::Null))
    }

    fn each(self, mark: impl Fn(&'a Value) -> &'a Value, value: &'a Value) -> Self {
        Self {
            value,
            sensitive: mark(self.sensitive),
            unknown: mark(self.unknown),
        }
    }

    /// What may be shown of it.
    fn shown(self, secrecy: Secrecy) -> Shown {
        if self.unknown == &Value::Bool(true) {
            Shown::Unknown
        } else if self.value.is_null() {
            Shown::Absent
        } else if secrecy == Secrecy::Secret {
            Shown::Sensitive
        } else {
            Shown::Value(self.value.clone())
        }
    }

    fn is_leaf(self) -> bool {
        self.unknown == &Value::Bool(true) || self.sensitive == &Value::Bool(true)
    }

    fn has_content(self) -> bool {
        !self.value.is_null() || any_true(self.unknown)
    }

    fn keys(self) -> impl Iterator<Item = &'a String> {
        // What is unknown within an object is not among its values.
        let of = |value: &'a Value| value.as_object().into_iter().flat_map(serde_json::Map::keys);
        of(self.value).chain(of(self.unknown))
    }
}

/// Whether a difference is secret: both of its sides are, where either is marked. A value that becomes secret is one
/// already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    Open,
    Secret,
}

impl Secrecy {
    fn of(before: Marked<'_>, after: Marked<'_>) -> Self {
        if any_true(before.sensitive) || any_true(after.sensitive) {
            Self::Secret
        } else {
            Self::Open
        }
    }
}

fn any_true(mark: &Value) -> bool {
    match mark {
        Value::Bool(mark) => *mark,
        Value::Array(marks) => marks.iter().any(any_true),
        Value::Object(marks) => marks.values().any(any_true),
        Value::Null | Value::Number(_) | Value::String(_) => false,
    }
}

/// All leaves that differ, in the order of their paths. Two objects are compared by member; an object against nothing
/// is one difference.
pub(crate) fn differences(before: Marked<'_>, after: Marked<'_>) -> Vec<Difference> {
    let mut found = Vec::new();
    walk("", before, after, &mut found);
    found
}

fn walk(path: &str, before: Marked<'_>, after: Marked<'_>, found: &mut Vec<Difference>) {
    let same = before.value == after.value && !any_true(after.unknown);
    if same {
        return;
    }
    let both = before.has_content() && after.has_content();
    let open = !before.is_leaf() && !after.is_leaf();
    match (before.value, after.value) {
        (Value::Object(_), Value::Object(_)) if open && both => {
            let keys: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
            for key in keys {
                walk(&joined(path, key), before.member(key), after.member(key), found);
            }
        }
        (Value::Array(from), Value::Array(to)) if open && both => {
            for index in 0..from.len().max(to.len()) {
                walk(
                    &format!("{path}[{index}]"),
                    before.element(index),
                    after.element(index),
                    found,
                );
            }
        }
        _ => {
            let secrecy = Secrecy::of(before, after);
            found.push(Difference {
                path: path.to_owned(),
                from: before.shown(secrecy),
                to: after.shown(secrecy),
            });
        }
    }
}

fn joined(path: &str, key: &str) -> String {
    let plain = !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match (path.is_empty(), plain) {
        (true, _) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (false, false) => format!("{path}[{key:?}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NONE: Value = Value::Null;

    fn between(before: &Value, after: &Value) -> Vec<String> {
        let plain = |value| Marked {
            value,
            sensitive: &NONE,
            unknown: &NONE,
        };
        differences(plain(before), plain(after))
            .into_iter()
            .map(|d| d.path)
            .collect()
    }

    #[test]
    fn only_leaves_that_differ_are_told_with_their_path() {
        let before = json!({"power": "running", "disks": {"root": {"size_gib": 1}, "a b": {"size_gib": 1}}, "l": [1, 2]});
        let after = json!({"power": "stopped", "disks": {"root": {"size_gib": 2}, "a b": {"size_gib": 3}}, "l": [1, 3, 4]});
        assert_eq!(
            between(&before, &after),
            [
                "disks[\"a b\"].size_gib",
                "disks.root.size_gib",
                "l[1]",
                "l[2]",
                "power"
            ]
        );
        assert_eq!(between(&before, &before), Vec::<String>::new());
    }

    #[test]
    fn a_whole_object_that_comes_or_goes_is_one_difference() {
        assert_eq!(
            between(&json!({"nics": {"lan": {"mac": "x"}}}), &json!({"nics": {}})),
            ["nics.lan"]
        );
        assert_eq!(
            between(
                &json!({"cloud_init": null}),
                &json!({"cloud_init": {"user_data": "x"}})
            ),
            ["cloud_init"]
        );
    }

    #[test]
    fn a_secret_is_not_shown_at_any_depth_nor_inside_of_what_comes_or_goes() {
        let (before, after) = (
            json!({"a": {"p": "old"}}),
            json!({"a": {"p": "new"}, "b": {"p": "new"}}),
        );
        let secret = json!({"a": {"p": true}, "b": {"p": true}});
        let found = differences(
            Marked {
                value: &before,
                sensitive: &secret,
                unknown: &NONE,
            },
            Marked {
                value: &after,
                sensitive: &secret,
                unknown: &NONE,
            },
        );
        let shown: Vec<_> = found.iter().map(|d| (d.path.as_str(), &d.from, &d.to)).collect();
        assert_eq!(
            shown,
            [
                ("a.p", &Shown::Sensitive, &Shown::Sensitive),
                ("b", &Shown::Absent, &Shown::Sensitive)
            ]
        );
    }

    #[test]
    fn a_value_that_becomes_secret_is_not_shown_as_it_was() {
        let (before, after, secret) = (json!({"p": "old"}), json!({"p": "new"}), json!({"p": true}));
        for (was, is) in [(&NONE, &secret), (&secret, &NONE)] {
            let found = differences(
                Marked {
                    value: &before,
                    sensitive: was,
                    unknown: &NONE,
                },
                Marked {
                    value: &after,
                    sensitive: is,
                    unknown: &NONE,
                },
            );
            assert_eq!(
                (&found[0].from, &found[0].to),
                (&Shown::Sensitive, &Shown::Sensitive)
            );
        }
    }

    #[test]
    fn what_is_known_after_an_apply_only_is_told_as_such() {
        let (before, after, unknown) = (json!({"id": null, "n": 1}), json!({"n": 1}), json!({"id": true}));
        let found = differences(
            Marked {
                value: &before,
                sensitive: &NONE,
                unknown: &NONE,
            },
            Marked {
                value: &after,
                sensitive: &NONE,
                unknown: &unknown,
            },
        );
        assert_eq!(
            found,
            [Difference {
                path: "id".into(),
                from: Shown::Absent,
                to: Shown::Unknown
            }]
        );
    }
}

//! Faults on demand, and the log of what was asked.
//!
//! ```
//! use labyard_hyperv_double::wire::{Nth, Rule, Trouble};
//!
//! let rule: Rule = serde_json::from_str(r#"{"on": {"method": "DefineSystem"}, "does": "drop-after"}"#).unwrap();
//! assert_eq!((rule.nth, rule.does), (Nth::Only(1), Trouble::DropAfter));
//! ```

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

/// What goes wrong, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// With which requests.
    #[serde(default)]
    pub on: Matching,
    /// With which of them, counted from when the rule was given.
    #[serde(default)]
    pub nth: Nth,
    /// What happens.
    pub does: Trouble,
}

impl Rule {
    /// With the first request of that verb and, if one is named, of that method.
    pub fn first(verb: &str, method: Option<&str>, does: Trouble) -> Self {
        Self {
            on: Matching {
                verb: Some(verb.to_owned()),
                method: method.map(str::to_owned),
                ..Matching::default()
            },
            nth: Nth::default(),
            does,
        }
    }
}

/// Which requests; what is not said is of no weight, and names have no case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matching {
    /// `Enumerate`, `Pull`, `Release`, `Get`, `Put`, `Create`, `Delete`, `Invoke`, `Identify`.
    pub verb: Option<String>,
    /// The class; of a query, that which it asks for.
    pub class: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// Who asks.
    pub user: Option<String>,
}

/// Which of the requests that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nth {
    /// This one, the first is 1.
    Only(u64),
    /// This one and all after it.
    From(u64),
}

impl Default for Nth {
    fn default() -> Self {
        Self::Only(1)
    }
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// The answer takes so many milliseconds more; longer than the operation may take, it is a time-out.
    Delay(u64),
    /// The connection ends, nothing was done.
    DropBefore,
    /// It is done, and the connection ends without an answer.
    DropAfter,
    /// It is done, and the connection ends within the answer.
    DropWithin,
    /// The login is forgotten: 401, nothing was done.
    Unauthorized,
    /// The service starts anew, nothing was done: every connection ends, every enumeration is forgotten.
    RestartBefore,
    /// It is done, and the service starts anew without an answer.
    RestartAfter,
    /// Access denied.
    Deny,
    /// An enumeration finds nothing; all else is denied.
    Empty,
    /// A quota is used up.
    Quota,
    /// The operation took too long; of a method, after it was done.
    TimeOut,
    /// A fault of WMI, by its number.
    Wmi(u32),
    /// An HTTP status with nothing else.
    Status(u16),
}

/// A request, as rules see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) verb: &'static str,
    pub(crate) namespace: String,
    pub(crate) class: String,
    pub(crate) method: String,
    /// The names of objects, or the query.
    pub(crate) about: String,
}

/// A request that was answered, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Which connection it came on.
    pub connection: u64,
    /// Who asked.
    pub user: String,
    /// What was asked.
    pub verb: &'static str,
    /// Of which namespace.
    pub namespace: String,
    /// Of which class.
    pub class: String,
    /// Which method, of an Invoke.
    pub method: String,
    /// Of which objects: selectors, references among the parameters, or the query.
    pub about: String,
    /// Bytes of the body as it came.
    pub bytes_in: usize,
    /// Bytes of the body as it went.
    pub bytes_out: usize,
    /// The HTTP status; 0 where the connection ended.
    pub status: u16,
    /// The number of the fault; 0 where it was none.
    pub fault: u32,
    /// Why it was refused, where it was; Windows says less.
    pub why: String,
}

/// Rules and log of a server.
#[derive(Debug, Default)]
pub(crate) struct Control {
    rules: Mutex<Vec<(Rule, u64)>>,
    log: Mutex<Vec<Entry>>,
    /// What the model said that the schema does not have.
    complaints: Mutex<Vec<String>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Control {
    pub(crate) fn add(&self, rule: Rule) {
        locked(&self.rules).push((rule, 0));
    }

    pub(crate) fn clear(&self) {
        locked(&self.rules).clear();
    }

    /// What happens to this request, in the order of the rules.
    pub(crate) fn troubles(&self, request: &Described, user: &str) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        for (rule, count) in locked(&self.rules).iter_mut() {
            let fits = |wanted: &Option<String>, is: &str| {
                wanted
                    .as_ref()
                    .is_none_or(|wanted| wanted.eq_ignore_ascii_case(is))
            };
            let on = &rule.on;
            if fits(&on.verb, request.verb)
                && fits(&on.class, &request.class)
                && fits(&on.method, &request.method)
                && fits(&on.user, user)
            {
                *count += 1;
                let now = match rule.nth {
                    Nth::Only(nth) => *count == nth,
                    Nth::From(first) => *count >= first,
                };
                troubles.extend(now.then_some(rule.does));
            }
        }
        troubles
    }

    pub(crate) fn note(&self, entry: Entry) {
        locked(&self.log).push(entry);
    }

    pub(crate) fn log(&self) -> Vec<Entry> {
        locked(&self.log).clone()
    }

    pub(crate) fn forget(&self) {
        locked(&self.log).clear();
    }

    pub(crate) fn complain(&self, what: String) {
        eprintln!("hyperv-double: the model does not keep to the schema: {what}");
        locked(&self.complaints).push(what);
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        locked(&self.complaints).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_counts_what_it_matches() {
        let control = Control::default();
        let rule = r#"{"on": {"verb": "pull", "class": "MSVM_X"}, "nth": {"only": 2}, "does": {"delay": 5}}"#;
        control.add(serde_json::from_str(rule).unwrap());
        let pull = |class: &str| Described {
            verb: "Pull",
            class: class.to_owned(),
            ..Described::default()
        };
        assert_eq!(control.troubles(&pull("Msvm_X"), "op"), []);
        assert_eq!(control.troubles(&pull("Msvm_Y"), "op"), []);
        assert_eq!(control.troubles(&pull("Msvm_X"), "op"), [Trouble::Delay(5)]);
        assert_eq!(control.troubles(&pull("Msvm_X"), "op"), []);
    }

    #[test]
    fn a_rule_with_a_misspelt_condition_is_none() {
        assert!(serde_json::from_str::<Rule>(r#"{"on": {"klass": "x"}, "does": "deny"}"#).is_err());
    }
}

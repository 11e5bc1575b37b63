//! A finished plan against Terraform's rules.

use super::pairs::pair;
use crate::check::{Rule, Violation, Walk};
use crate::schema::{Attribute, Kind, Presence, Schema};
use crate::traits::Plan;
use crate::value::{Path, Step, Value, conform, same};

/// Checks a plan that the resource has refined.
pub fn finish(schema: &Schema, plan: &Plan) -> Result<(), Vec<Violation>> {
    let mut walk = Walk::default();
    if let Err(mismatch) = conform(&plan.planned, &schema.implied_type()) {
        walk.report_shape(mismatch);
    } else if plan.config.is_null() {
        if !plan.planned.is_null() {
            walk.report(Rule::StillThere);
        }
    } else if plan.planned.is_null() {
        walk.report(Rule::Gone);
    } else if plan.planned.is_unknown() {
        walk.report(Rule::Unknown);
    } else {
        check_object(
            &schema.attributes,
            &plan.prior,
            &plan.config,
            &plan.planned,
            &mut walk,
        );
        check_replace(schema, plan, &mut walk);
    }
    let found = walk.finish();
    if found.is_empty() { Ok(()) } else { Err(found) }
}

fn check_object(attributes: &[Attribute], prior: &Value, config: &Value, planned: &Value, walk: &mut Walk) {
    for attribute in attributes {
        let name = &attribute.name;
        let values = Values {
            prior: prior.field(name),
            config: config.field(name),
            planned: planned.field(name),
        };
        walk.attribute(attribute, |walk| check_attribute(attribute, values, walk));
    }
}

/// One attribute's values.
#[derive(Clone, Copy)]
struct Values<'v> {
    prior: &'v Value,
    config: &'v Value,
    planned: &'v Value,
}

fn check_attribute(attribute: &Attribute, values: Values<'_>, walk: &mut Walk) {
    let Values { config, planned, .. } = values;
    if attribute.write_only {
        if !planned.is_null() {
            walk.report(Rule::WriteOnly);
        }
        return;
    }
    if !config.is_null() {
        return check_configured(attribute, values, walk);
    }
    match &attribute.presence {
        Presence::Required | Presence::Optional => {
            if !planned.is_null() {
                let planned = walk.show(attribute, planned);
                walk.report(Rule::NotComputed(planned));
            }
        }
        Presence::Computed | Presence::OptionalComputed => {}
        Presence::Default(default) => {
            if !same(default, planned, &attribute.implied_type()) {
                let (default, planned) = (walk.show(attribute, default), walk.show(attribute, planned));
                walk.report(Rule::NotDefault { default, planned });
            }
        }
    }
}

fn check_configured(attribute: &Attribute, values: Values<'_>, walk: &mut Walk) {
    let Values {
        prior,
        config,
        planned,
    } = values;
    let ty = || attribute.implied_type();
    match &attribute.kind {
        Kind::Plain(ty) => {
            // The prior spelling may be kept where it means what is configured.
            let kept = || !prior.is_null() && same(planned, prior, ty);
            if !same(planned, config, ty) && !kept() {
                report_differs(attribute, config, planned, walk);
            }
        }
        Kind::Single(nested) if is_object(config) && is_object(planned) => {
            check_object(nested, prior, config, planned, walk);
        }
        Kind::Map(nested) => match (config, planned) {
            (Value::Keyed(config), Value::Keyed(planned)) if config.keys().eq(planned.keys()) => {
                for (key, config) in config {
                    let Some(planned) = planned.get(key) else { continue };
                    let values = Values {
                        prior: prior.field(key),
                        config,
                        planned,
                    };
                    walk.step(Step::Key(key.clone()), |walk| {
                        check_element(attribute, nested, values, walk);
                    });
                }
            }
            _ => report_unless_same(attribute, config, planned, walk),
        },
        Kind::List(nested) => match (config, planned) {
            (Value::Sequence(config), Value::Sequence(planned)) if config.len() == planned.len() => {
                for (i, (config, planned)) in config.iter().zip(planned).enumerate() {
                    let prior = prior
                        .as_sequence()
                        .and_then(|prior| prior.get(i))
                        .unwrap_or(&Value::Null);
                    let values = Values {
                        prior,
                        config,
                        planned,
                    };
                    walk.step(Step::index(i), |walk| {
                        check_element(attribute, nested, values, walk);
                    });
                }
            }
            _ => report_unless_same(attribute, config, planned, walk),
        },
        Kind::Set(nested) => match (config, planned) {
            (Value::Sequence(config), Value::Sequence(planned)) if config.len() == planned.len() => {
                check_set(attribute, nested, config, planned, walk);
            }
            _ => report_unless_same(attribute, config, planned, walk),
        },
        Kind::Single(_) if same(config, planned, &ty()) => {}
        Kind::Single(_) => report_differs(attribute, config, planned, walk),
    }
}

fn check_element(attribute: &Attribute, nested: &[Attribute], values: Values<'_>, walk: &mut Walk) {
    let Values {
        prior,
        config,
        planned,
    } = values;
    if is_object(config) && is_object(planned) {
        check_object(nested, prior, config, planned, walk);
    } else if config != planned {
        report_differs(attribute, config, planned, walk);
    }
}

/// Each planned element is what some configured one makes, each configured one is used once.
fn check_set(
    attribute: &Attribute,
    nested: &[Attribute],
    config: &[Value],
    planned: &[Value],
    walk: &mut Walk,
) {
    let fits = |planned_at: usize, config_at: usize| {
        let (config, planned) = (&config[config_at], &planned[planned_at]);
        let values = Values {
            prior: &Value::Null,
            config,
            planned,
        };
        let mut trial = Walk::default();
        check_element(attribute, nested, values, &mut trial);
        trial.finish().is_empty()
    };
    if pair(planned.len(), config.len(), fits).contains(&None) {
        walk.report(Rule::Elements);
    }
}

fn is_object(value: &Value) -> bool {
    matches!(value, Value::Keyed(_))
}

fn report_unless_same(attribute: &Attribute, config: &Value, planned: &Value, walk: &mut Walk) {
    if !same(config, planned, &attribute.implied_type()) {
        report_differs(attribute, config, planned, walk);
    }
}

fn report_differs(attribute: &Attribute, config: &Value, planned: &Value, walk: &mut Walk) {
    let (configured, planned) = (walk.show(attribute, config), walk.show(attribute, planned));
    walk.report(Rule::NotAsConfigured { configured, planned });
}

fn check_replace(schema: &Schema, plan: &Plan, walk: &mut Walk) {
    for (i, path) in plan.requires_replace.iter().enumerate() {
        let (prior, planned) = (plan.prior.get(path), plan.planned.get(path));
        let attribute = schema.find(path);
        let rule = if attribute.is_none() || (prior.is_none() && planned.is_none()) {
            Rule::ReplaceNowhere
        } else if plan.requires_replace[..i].contains(path) {
            Rule::ReplaceTwice
        } else if prior == planned || is_same(attribute, path, prior, planned) {
            Rule::ReplaceUnchanged
        } else {
            continue;
        };
        walk.report_at(path.clone(), rule);
    }
}

/// Equality by the attribute's type, where the path names an attribute as a whole.
fn is_same(
    attribute: Option<&Attribute>,
    path: &Path,
    prior: Option<&Value>,
    planned: Option<&Value>,
) -> bool {
    match (attribute, path.0.last(), prior, planned) {
        (Some(attribute), Some(Step::Attribute(_)), Some(prior), Some(planned)) => {
            same(prior, planned, &attribute.implied_type())
        }
        _ => false,
    }
}

#[cfg(test)]
#[path = "finish_tests.rs"]
mod tests;

//! What holds of planning for every schema and every configuration.

use proptest::prelude::*;

use super::{finish, propose};
use crate::check;
use crate::schema::arbitrary::{any_config, any_schema};
use crate::schema::{Attribute, Kind, Schema};
use crate::traits::Plan;
use crate::value::arbitrary::Unknowns;
use crate::value::{Type, Value, conform, same};

fn any_case(unknowns: Unknowns) -> impl Strategy<Value = (Schema, Value, Value)> {
    any_schema().prop_flat_map(move |schema| {
        let configs = (any_config(&schema, Unknowns::None), any_config(&schema, unknowns));
        configs.prop_map(move |(first, second)| (schema.clone(), first, second))
    })
}

fn plan(schema: &Schema, prior: &Value, config: &Value) -> Plan {
    let proposal = propose(schema, prior, config, config);
    Plan {
        prior: prior.clone(),
        prior_private: Vec::new(),
        config: config.clone(),
        planned: proposal.planned,
        planned_private: Vec::new(),
        requires_replace: proposal.requires_replace,
    }
}

/// The plan with a value for everything unknown: what a simple provider would make of it.
fn apply(attributes: &[Attribute], planned: &Value) -> Value {
    let Value::Keyed(entries) = planned else {
        return planned.clone();
    };
    let settled = attributes.iter().map(|attribute| {
        let value = entries.get(&attribute.name).unwrap_or(&Value::Null);
        let settled = match (&attribute.kind, value) {
            (kind, Value::Unknown) => some_value(&kind.implied_type()),
            (Kind::Plain(_), value) => value.clone(),
            (Kind::Single(nested), value) => apply(nested, value),
            (Kind::List(nested) | Kind::Set(nested), Value::Sequence(items)) => {
                Value::list(items.iter().map(|item| apply(nested, item)))
            }
            (Kind::Map(nested), Value::Keyed(entries)) => {
                Value::object(entries.iter().map(|(key, item)| (key, apply(nested, item))))
            }
            (_, value) => value.clone(),
        };
        (&attribute.name, settled)
    });
    Value::object(settled)
}

fn some_value(ty: &Type) -> Value {
    match ty {
        Type::Bool => Value::from(true),
        Type::Number => Value::from(7),
        Type::String => Value::from("made"),
        Type::Dynamic => Value::from("made").into_dynamic(),
        Type::List(element) | Type::Set(element) => Value::list([some_value(element)]),
        Type::Map(element) => Value::object([("key", some_value(element))]),
        Type::Tuple(types) => Value::list(types.iter().map(some_value)),
        Type::Object(types) => Value::object(types.iter().map(|(name, ty)| (name, some_value(ty)))),
    }
}

proptest! {
    #[test]
    fn generated_schemas_are_sound(schema in any_schema()) {
        prop_assert_eq!(schema.faults(), vec![]);
    }

    #[test]
    fn a_create_planned_by_the_schema_breaks_no_rule((schema, _, config) in any_case(Unknowns::Some)) {
        let plan = plan(&schema, &Value::Null, &config);
        prop_assert_eq!(finish(&schema, &plan), Ok(()));
        prop_assert_eq!(plan.requires_replace, vec![]);
        prop_assert!(conform(&plan.planned, &schema.implied_type()).is_ok());
    }

    #[test]
    fn an_update_planned_by_the_schema_breaks_no_rule((schema, before, config) in any_case(Unknowns::Some)) {
        let prior = apply(&schema.attributes, &plan(&schema, &Value::Null, &before).planned);
        let update = plan(&schema, &prior, &config);
        prop_assert_eq!(finish(&schema, &update), Ok(()));
        let again = plan(&schema, &prior, &config);
        prop_assert_eq!((again.planned, again.requires_replace), (update.planned, update.requires_replace));
    }

    #[test]
    fn an_apply_that_keeps_its_plan_passes_unchanged((schema, _, config) in any_case(Unknowns::None)) {
        let planned = plan(&schema, &Value::Null, &config).planned;
        let made = apply(&schema.attributes, &planned);
        let mut answered = made.clone();
        prop_assert_eq!(check::applied(&schema, &planned, &mut answered), vec![]);
        prop_assert_eq!(&answered, &made);
        prop_assert_eq!(check::state(&schema, &made), vec![]);
        prop_assert_eq!(check::config(&schema, &config), vec![]);
    }

    #[test]
    fn nothing_is_planned_after_an_apply_of_the_same_configuration((schema, _, config) in any_case(Unknowns::None)) {
        let state = apply(&schema.attributes, &plan(&schema, &Value::Null, &config).planned);
        let second = plan(&schema, &state, &config);
        prop_assert!(same(&second.planned, &state, &schema.implied_type()), "{} became {}", state, second.planned);
        prop_assert_eq!(second.requires_replace, vec![]);
    }

    #[test]
    fn whatever_an_apply_answers_a_state_can_be_stored((schema, other, config) in any_case(Unknowns::None)) {
        let planned = plan(&schema, &Value::Null, &config).planned;
        // Another configuration stands for an answer that has little to do with the plan.
        let mut answered = other;
        check::applied(&schema, &planned, &mut answered);
        prop_assert_eq!(check::state(&schema, &answered), vec![]);
    }
}

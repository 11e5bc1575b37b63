//! What a plan of a pool says: whether its hosts can carry its machines, what rolls, what shrinks, who goes on filling it.

use labyard_driver::ids::{DiskKey, HostName, PoolName};
use labyard_driver::observed::{Ability, HostFacts};
use labyard_foreman::written::Found;
use labyard_labs::member::State;
use labyard_labs::pool::OnDestroy;
use labyard_reconciler::moment;
use labyard_schema::vm_pool::VmPool;
use tfplugin::value::{Path, Step, Value};
use tfplugin::{Diagnostics, Plan};

use crate::lab::{Keeper, PoolView};
use crate::private::Private;
use crate::provider::Context;
use crate::vm::{advise, asks_offers, check_files, check_host};
use crate::{errors, values};

/// The template of a plan as the plan of a machine, which is checked as one.
fn as_machine(plan: &Plan) -> Plan {
    let machine = |pool: &Value| match pool.field("template") {
        Value::Keyed(fields) => {
            let mut machine = Value::Keyed(fields.clone());
            values::put(&mut machine, "name", pool.field("name").clone());
            machine
        }
        other => other.clone(),
    };
    Plan {
        prior: Value::Null,
        prior_private: Vec::new(),
        config: machine(&plan.config),
        planned: machine(&plan.planned),
        planned_private: Vec::new(),
        requires_replace: Vec::new(),
    }
}

/// Checks the template as a machine is checked, on each host that it may be on. It is refused where none can carry it.
pub async fn check_template(
    plan: &Plan,
    (pool, view): (&VmPool, Option<&PoolView>),
    context: &Context,
    diags: &mut Diagnostics,
) {
    let machine = as_machine(plan);
    let mut of_template = Diagnostics::default();
    advise(&machine, &mut of_template);
    let hosts = hosts(pool, context, diags);
    if hosts.is_empty() {
        return;
    }
    let mut refused = Vec::new();
    for host in &hosts {
        let mut on_host = Diagnostics::default();
        check_on(&machine, pool, host, context, &mut on_host).await;
        if !on_host.has_errors() {
            refused.clear();
            break;
        }
        refused.push(on_host);
    }
    if refused.is_empty() {
        super::room::check(pool, view, &hosts, context, diags).await;
    }
    of_template.0.extend(refused.into_iter().flat_map(|one| one.0));
    diags.0.extend(of_template.0.into_iter().map(|mut said| {
        if let Some(path) = &mut said.attribute
            && !matches!(path.0.first(), Some(Step::Attribute(name)) if name == "recycle")
        {
            path.0.insert(0, Step::Attribute("template".to_owned()));
        }
        said
    }));
}

async fn check_on(
    machine: &Plan,
    pool: &VmPool,
    host: &HostName,
    context: &Context,
    diags: &mut Diagnostics,
) {
    let facts = match context.engine.facts(host).await {
        Ok(facts) => facts,
        Err(error) => return errors::report(&error, "Host not readable", diags),
    };
    let resets = pool.recycle == "reset";
    let offers = match asks_offers(machine) || resets {
        true => match context.engine.offers(host).await {
            Ok(offers) => Some(offers),
            Err(error) => return errors::report(&error, "Host not readable", diags),
        },
        false => None,
    };
    check_host(machine, &facts, offers.as_ref(), diags);
    if resets
        && let Some(offers) = &offers
        && !offers.abilities.contains(&Ability::Moments)
    {
        let detail = format!(
            "Host {host} cannot put machines back to what they were: set recycle = \"recreate\", or choose other hosts."
        );
        diags.error(Some(Path::attribute("recycle")), "Reset not available", detail);
    }
    if resets && let Some(why) = obstacle_to_reset(pool, &facts) {
        let detail = format!("Machines on host {host} could not be put back to what they were: {why}.");
        diags.error(Some(Path::attribute("recycle")), "Reset not available", detail);
    }
    check_files(host, machine, context, diags).await;
}

fn obstacle_to_reset(pool: &VmPool, facts: &HostFacts) -> Option<String> {
    let disks: Vec<(DiskKey, Option<PoolName>)> = pool
        .template
        .as_machine()
        .disks
        .iter()
        .flatten()
        .map(|(key, disk)| (DiskKey(key.clone()), disk.storage_pool.clone().map(PoolName)))
        .collect();
    moment::obstacle(facts, disks.iter().map(|(key, pool)| (key, pool.as_ref())))
}

/// The hosts that machines of the pool may be on; an error for each that is not there.
fn hosts(pool: &VmPool, context: &Context, diags: &mut Diagnostics) -> Vec<HostName> {
    let all = context.engine.hosts();
    let Some(named) = &pool.hosts else { return all };
    let names: Vec<_> = all.iter().map(ToString::to_string).collect();
    let known = |name: &String| {
        let host = HostName(name.clone());
        if all.contains(&host) {
            return Some(host);
        }
        let detail = format!(
            "Host {name:?} is not in the provider's hosts, which are {}.",
            names.join(", ")
        );
        diags.error(Some(Path::attribute("hosts")), "Unknown host", detail);
        None
    };
    named.iter().filter_map(known).collect()
}

/// Says of machines that are put back without a look whether anybody in them answers.
pub fn say_what_reset_needs(pool: &VmPool, diags: &mut Diagnostics) {
    let ready = pool.template.as_machine().ready.as_ref();
    let Some(wait) = ready
        .map(|ready| ready.wait.as_str())
        .filter(|wait| *wait == "none")
    else {
        return;
    };
    if pool.recycle == "reset" {
        let detail = format!(
            "recycle = \"reset\" keeps a machine as it is when it is first ready, and needs the agent in its guest then. With \
             ready.wait = {wait:?} nothing waits for that: set it to \"agent\", or recycle to \"recreate\"."
        );
        let at = Path::attribute("template").then_attribute("ready");
        diags.warning(Some(at), "Reset may find no agent", detail);
    }
}

/// Says that nothing fills the pool when Terraform has ended, where that is so.
pub fn say_who_fills(pool: &VmPool, keeper: Keeper, diags: &mut Diagnostics) {
    if keeper == Keeper::Daemon {
        return;
    }
    let detail = "The apply fills the pool once. Nothing refills it afterwards, brings used machines back, or ends leases, \
                  while no daemon works on its store: run labyard serve there, or apply again.";
    let summary = format!("Nothing keeps {} filled", pool.name);
    diags.warning(None, summary, detail);
}

/// Plans what the last apply left short of what was asked for once more, though nothing of it is written otherwise.
pub fn see_to_it_again(plan: &mut Plan, diags: &mut Diagnostics) {
    let changes = !plan.prior.is_null() && !plan.planned.is_null() && plan.requires_replace.is_empty();
    if !changes || !Private::parse(&plan.prior_private).unsettled {
        return;
    }
    // A plan that changes nothing is not applied; the identity comes back as it is.
    values::put(&mut plan.planned, "id", Value::Unknown);
    let name = plan.prior.field("name").as_str().unwrap_or_default();
    let detail = "An apply ended before the pool was what it was asked to be, and it has not been seen so since; or its machines \
                  were given up. This apply asks for it again: they are tried anew, and waited for.";
    diags.warning(None, format!("{name} is seen to again"), detail);
}

/// Says of a pool that was made and not filled what Terraform makes of that, and how it is kept.
pub fn say_that_it_is_tainted(name: &str, keeper: Keeper, diags: &mut Diagnostics) {
    let meanwhile = match keeper {
        Keeper::Daemon => " The daemon fills it meanwhile.",
        Keeper::Nobody => "",
    };
    let detail = format!(
        "The pool is there, and Terraform calls what fails while it is made tainted: the next apply destroys it and makes \
         it anew.{meanwhile} To keep it as it is: terraform untaint ADDRESS; the next apply then waits until it is filled."
    );
    diags.warning(None, format!("{name} is tainted"), detail);
}

/// Says what a change does to machines that are there.
pub fn say_what_changes(plan: &Plan, pool: &VmPool, view: &PoolView, diags: &mut Diagnostics) {
    let machines = &view.machines;
    let count = |state: State| machines.iter().filter(|machine| machine.state == state).count();
    let (free, claimed) = (count(State::Free), count(State::Claimed));
    if plan.prior.field("template") != plan.planned.field("template") {
        let mut said = vec![format!(
            "Machines of the new template come first where max lets them, and an old one goes for each: {free} free ones."
        )];
        if claimed > 0 {
            said.push(format!(
                "{claimed} that claims have stay as they are until they come back; then new ones take their places."
            ));
        }
        let summary = format!("{} rolls to a new template", pool.name);
        diags.warning(Some(Path::attribute("template")), summary, said.join(" "));
    }
    let ready = usize::try_from(pool.ready).unwrap_or(usize::MAX);
    let kept = match pool.strategy.as_str() {
        "on_demand" => 0,
        _ => ready,
    };
    if free > kept && (pool.ready < view.found.pool.spec.ready || pool.strategy == "on_demand") {
        let detail = format!("{} of {free} free machines are destroyed.", free - kept);
        let at = Path::attribute("ready");
        diags.warning(Some(at), format!("{} shrinks", pool.name), detail);
    }
    let max = usize::try_from(pool.max).unwrap_or(usize::MAX);
    if machines.len() > max && claimed > max {
        let detail = format!(
            "{claimed} machines are with claims, more than max = {max}: they stay until they come back, and no new ones \
             are made before."
        );
        diags.warning(Some(Path::attribute("max")), "More than max for a while", detail);
    }
}

/// Says what claims mean for the pool's end; where they stand against it, that is an error before anything is done.
pub fn say_what_ends(found: &Found, diags: &mut Diagnostics) {
    if found.claims == 0 {
        return;
    }
    let (name, claims) = (&found.pool.name, found.claims);
    let at = Some(Path::attribute("on_destroy"));
    match found.pool.spec.on_destroy {
        OnDestroy::Refuse => {
            let detail = format!(
                "{claims} claims have machines of pool {name} or wait for them, and on_destroy is \"refuse\": release \
                 them, or set on_destroy to \"drain\" (wait for them) or \"force\" (end them), and apply that first."
            );
            diags.error(at, "Pool in use", detail);
        }
        OnDestroy::Drain => {
            let detail = format!(
                "The destroy waits for {claims} claims, for timeouts.delete at most: on_destroy is \"drain\"."
            );
            diags.warning(at, format!("{name} is in use"), detail);
        }
        OnDestroy::Force => {
            let detail = format!("{claims} claims end, and their machines go: on_destroy is \"force\".");
            diags.warning(at, format!("{name} is in use"), detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(private: &Private, planned: Value) -> (Value, usize) {
        let mut plan = Plan {
            prior: pool(),
            prior_private: private.to_bytes(),
            config: planned.clone(),
            planned,
            planned_private: private.to_bytes(),
            requires_replace: Vec::new(),
        };
        let mut diags = Diagnostics::default();
        see_to_it_again(&mut plan, &mut diags);
        (plan.planned.field("id").clone(), diags.0.len())
    }

    fn pool() -> Value {
        Value::object([("name", Value::from("k8s")), ("id", Value::from("7"))])
    }

    #[test]
    fn a_pool_that_was_left_short_is_planned_again_and_one_that_was_reached_is_not() {
        let reached = Private::in_store("s");
        assert_eq!(planned(&reached, pool()), (Value::from("7"), 0));
        let short = reached.left_short();
        assert_eq!(planned(&short, pool()), (Value::Unknown, 1));
        assert_eq!(planned(&short, Value::Null), (Value::Null, 0), "a destroy");
    }
}

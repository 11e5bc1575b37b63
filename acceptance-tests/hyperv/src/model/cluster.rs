//! A failover cluster: roles of machines, the node that each is on, and machines that go to another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cim::{Instance, Path, Value};
use crate::contract::{Parameters, WmiFault};

use super::codes::{Input, Stop, fault};
use super::machine::{Machine, Power};
use super::paths::{CLUSTER, key};
use super::row::Row;
use super::setup::Rights;
use super::snapshots::Snapshot;
use super::state::State;

/// A role: a machine that the cluster looks after.
#[derive(Clone, Debug)]
struct Group {
    name: String,
    id: String,
    machine: String,
    owner: String,
    /// 0 online, 1 offline, 2 failed.
    state: u64,
    properties: BTreeMap<String, Value>,
}

#[derive(Debug)]
struct Held {
    name: String,
    nodes: Vec<String>,
    groups: Vec<Group>,
    travellers: Vec<Traveller>,
}

/// A machine between two nodes.
#[derive(Debug)]
struct Traveller {
    from: String,
    to: String,
    machine: Machine,
    rows: Vec<Instance>,
    snapshots: Vec<(String, Snapshot)>,
}

/// A cluster, of which several hosts are nodes.
#[derive(Clone, Debug)]
pub struct Cluster(Arc<Mutex<Held>>);

/// A host's place in a cluster.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The cluster.
    pub cluster: Cluster,
    /// The name of the node that the host is.
    pub node: String,
}

impl Cluster {
    /// A cluster of these nodes.
    #[must_use]
    pub fn new(name: &str, nodes: &[&str]) -> Self {
        let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
        Self(Arc::new(Mutex::new(Held {
            name: name.to_owned(),
            nodes,
            groups: Vec::new(),
            travellers: Vec::new(),
        })))
    }

    /// A host's place in it.
    #[must_use]
    pub fn node(&self, node: &str) -> Membership {
        Membership {
            cluster: self.clone(),
            node: node.to_owned(),
        }
    }

    /// The roles: name, machine, node.
    #[must_use]
    pub fn roles(&self) -> Vec<(String, String, String)> {
        let held = self.held();
        held.groups
            .iter()
            .map(|group| (group.name.clone(), group.machine.clone(), group.owner.clone()))
            .collect()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the cluster's properties are for a new role.
fn defaults() -> BTreeMap<String, Value> {
    [
        ("FailoverThreshold", 4_294_967_295),
        ("FailoverPeriod", 6),
        ("AutoFailbackType", 0),
        ("Priority", 2000),
        ("Flags", 0),
        ("Characteristics", 0),
    ]
    .into_iter()
    .map(|(name, number)| (name.to_owned(), Value::Unsigned(number)))
    .chain([("PersistentState".to_owned(), Value::Boolean(true))])
    .collect()
}

/// Properties of a role that are changed by Put.
const CHANGEABLE: [&str; 8] = [
    "PersistentState",
    "FailoverThreshold",
    "FailoverPeriod",
    "AutoFailbackType",
    "FailbackWindowStart",
    "FailbackWindowEnd",
    "Priority",
    "AntiAffinityClassNames",
];

impl State {
    /// The cluster, if this host is in one and the caller may see it.
    pub(crate) fn cluster(&self) -> Result<(Cluster, String), Stop> {
        let Some(membership) = &self.setup.cluster else {
            return fault(WmiFault::INVALID_NAMESPACE, "this host is in no cluster");
        };
        if self.rights != Rights::Administrator {
            return fault(WmiFault::ACCESS_DENIED, "the cluster needs an administrator");
        }
        Ok((membership.cluster.clone(), membership.node.clone()))
    }

    /// A machine has gone: a role that it still had has failed.
    pub(crate) fn cluster_lost(&mut self, machine: &str) {
        if let Some(membership) = &self.setup.cluster {
            let mut held = membership.cluster.held();
            for group in held
                .groups
                .iter_mut()
                .filter(|group| group.machine.eq_ignore_ascii_case(machine))
            {
                group.state = 2;
            }
        }
    }

    /// The rows of a class of the cluster.
    pub(crate) fn cluster_rows(&self, class: &str) -> Result<Vec<Instance>, Stop> {
        let (cluster, node) = self.cluster()?;
        let mut held = cluster.held();
        for group in held
            .groups
            .iter_mut()
            .filter(|group| group.owner.eq_ignore_ascii_case(&node))
        {
            if let Some(machine) = self.machine(&group.machine) {
                group.state = u64::from(machine.power != Power::Running);
            }
        }
        let rows = match class.to_ascii_lowercase().as_str() {
            "mscluster_cluster" => {
                vec![
                    Row::elsewhere(CLUSTER, "MSCluster_Cluster")
                        .text("Name", &held.name)
                        .done(),
                ]
            }
            "mscluster_node" => held
                .nodes
                .iter()
                .map(|node| {
                    Row::elsewhere(CLUSTER, "MSCluster_Node")
                        .text("Name", node)
                        .number("State", 0)
                        .done()
                })
                .collect(),
            "mscluster_resourcegroup" => held.groups.iter().map(group_row).collect(),
            "mscluster_resource" => held.groups.iter().flat_map(resource_rows).collect(),
            _ => return fault(WmiFault::INVALID_CLASS, format!("no class {class} here")),
        };
        Ok(rows)
    }

    /// MSCluster_Cluster.AddVirtualMachine.
    pub(crate) fn add_role(&mut self, input: &Input<'_>) -> Result<Parameters, Stop> {
        let (cluster, node) = self.cluster()?;
        let name = input.get("VirtualMachine").as_text().unwrap_or_default();
        let ids: Vec<String> = self
            .machines
            .values()
            .filter(|machine| self.name_of(&machine.id).eq_ignore_ascii_case(name))
            .map(|machine| machine.id.clone())
            .collect();
        let [machine] = ids.as_slice() else {
            return fault(
                WmiFault::FAILED,
                format!("{} machines of this node are called {name:?}", ids.len()),
            );
        };
        let id = self.setup.ids.next_guid().to_lowercase();
        let mut held = cluster.held();
        if held
            .groups
            .iter()
            .any(|group| group.name.eq_ignore_ascii_case(name) || group.machine == *machine)
        {
            return fault(WmiFault::FAILED, format!("a role {name} exists already"));
        }
        held.groups.push(Group {
            name: name.to_owned(),
            id,
            machine: machine.clone(),
            owner: node,
            state: 1,
            properties: defaults(),
        });
        Ok(Parameters::new())
    }

    /// A method of a role or of one of its resources.
    pub(crate) fn of_role(
        &mut self,
        object: &Path,
        method: &str,
        input: &Input<'_>,
    ) -> Result<Parameters, Stop> {
        let (cluster, own) = self.cluster()?;
        let name = key(object, "Name").unwrap_or_default();
        let group = object.class.eq_ignore_ascii_case("MSCluster_ResourceGroup");
        let mut held = cluster.held();
        let nodes = held.nodes.clone();
        let found = held.groups.iter().position(|there| {
            let resource = name
                .strip_prefix("Virtual Machine Configuration ")
                .or(name.strip_prefix("Virtual Machine "));
            let wanted = if group { Some(name) } else { resource };
            wanted.is_some_and(|wanted| there.name.eq_ignore_ascii_case(wanted))
        });
        let Some(at) = found else {
            return fault(WmiFault::NOT_FOUND, format!("no role {name:?}"));
        };
        match (group, method.to_ascii_lowercase().as_str()) {
            (true, "destroygroup") => {
                if input.get("Options").as_unsigned() != Some(1) {
                    return fault(WmiFault::FAILED, "the role holds resources: Options is 1");
                }
                held.groups.remove(at);
            }
            (true, "movetonewnode") => {
                let to = input.get("NodeName").as_text().unwrap_or_default();
                let Some(node) = nodes.into_iter().find(|node| node.eq_ignore_ascii_case(to)) else {
                    return fault(WmiFault::NOT_FOUND, format!("no node {to:?}"));
                };
                let machine = held.groups[at].machine.clone();
                let here = held.groups[at].owner.eq_ignore_ascii_case(&own);
                drop(held);
                if !here || self.free(&machine).is_err() {
                    return fault(
                        WmiFault::FAILED,
                        "the machine is on another node, or something works on it",
                    );
                }
                self.send(&machine, &node);
            }
            (false, "updatevirtualmachine") => {}
            (_, other) => return fault(WmiFault::NOT_SUPPORTED, format!("{other} is beyond this model")),
        }
        Ok(Parameters::new())
    }

    /// Put on a role.
    pub(crate) fn change_role(&mut self, object: &Path, changes: &Instance) -> Result<Instance, Stop> {
        let (cluster, _) = self.cluster()?;
        if !object.class.eq_ignore_ascii_case("MSCluster_ResourceGroup") {
            return fault(
                WmiFault::NOT_SUPPORTED,
                format!("{} is not changed so", object.class),
            );
        }
        let name = key(object, "Name").unwrap_or_default();
        let mut held = cluster.held();
        let Some(group) = held
            .groups
            .iter_mut()
            .find(|group| group.name.eq_ignore_ascii_case(name))
        else {
            return fault(WmiFault::NOT_FOUND, format!("no role {name:?}"));
        };
        for (name, value) in changes.properties() {
            if let Some(known) = CHANGEABLE.iter().find(|known| known.eq_ignore_ascii_case(name)) {
                group.properties.insert((*known).to_owned(), value.clone());
            }
        }
        Ok(group_row(group))
    }

    /// A machine goes to another node, with its settings and checkpoints: here nothing of it is left.
    pub(crate) fn send(&mut self, id: &str, node: &str) {
        let Some(membership) = self.setup.cluster.clone() else {
            return;
        };
        let Some(machine) = self.machines.remove(&id.to_uppercase()) else {
            return;
        };
        let mut rows = Vec::new();
        let mut snapshots = Vec::new();
        for snapshot in super::snapshots::of(self, id) {
            rows.extend(
                self.store
                    .owned(&format!("Microsoft:{snapshot}"))
                    .into_iter()
                    .cloned(),
            );
            self.store.remove_owned(&format!("Microsoft:{snapshot}"));
            snapshots.extend(self.snapshots.remove_entry(&snapshot));
        }
        rows.extend(self.store.owned(&format!("Microsoft:{id}")).into_iter().cloned());
        self.store.remove_owned(&format!("Microsoft:{id}"));
        let mut held = membership.cluster.held();
        for group in held
            .groups
            .iter_mut()
            .filter(|group| group.machine.eq_ignore_ascii_case(id))
        {
            node.clone_into(&mut group.owner);
        }
        let from = self.setup.computer.clone();
        held.travellers.push(Traveller {
            from,
            to: node.to_owned(),
            machine,
            rows,
            snapshots,
        });
    }

    /// Takes in the machines that have come from other nodes.
    pub(crate) fn take_in(&mut self) {
        let Some(membership) = self.setup.cluster.clone() else {
            return;
        };
        let arrived: Vec<Traveller> = {
            let mut held = membership.cluster.held();
            let (arrived, others) = std::mem::take(&mut held.travellers)
                .into_iter()
                .partition(|traveller| traveller.to.eq_ignore_ascii_case(&membership.node));
            held.travellers = others;
            arrived
        };
        for traveller in arrived {
            let from = format!(r"\\{}\", traveller.from);
            let to = format!(r"\\{}\", self.computer());
            for row in traveller.rows {
                self.store.put(resettled(&row, &from, &to));
            }
            self.snapshots.extend(traveller.snapshots);
            self.machines
                .insert(traveller.machine.id.to_uppercase(), traveller.machine);
        }
    }
}

/// A row with its paths as another host writes them.
fn resettled(row: &Instance, from: &str, to: &str) -> Instance {
    let one = |value: &Value| match value {
        Value::Text(text) if text.starts_with(from) => Value::Text(text.replacen(from, to, 1)),
        other => other.clone(),
    };
    let mut new = row.clone();
    for (name, value) in row.properties() {
        let value = match value {
            Value::Array(all) => Value::Array(all.iter().map(one).collect()),
            other => one(other),
        };
        new.set(name, value);
    }
    new
}

fn group_row(group: &Group) -> Instance {
    let mut row = Row::elsewhere(CLUSTER, "MSCluster_ResourceGroup")
        .text("Name", &group.name)
        .text("Id", &group.id)
        .number("GroupType", 111)
        .number("State", group.state)
        .text("OwnerNode", &group.owner)
        .done();
    for (name, value) in &group.properties {
        row.set(name, value.clone());
    }
    row
}

fn resource_rows(group: &Group) -> Vec<Instance> {
    ["Virtual Machine", "Virtual Machine Configuration"]
        .into_iter()
        .map(|kind| {
            let private = Row::elsewhere(CLUSTER, "MSCluster_Property")
                .text("VmID", group.machine.to_lowercase())
                .done();
            Row::elsewhere(CLUSTER, "MSCluster_Resource")
                .text("Name", format!("{kind} {}", group.name))
                .text("Type", kind)
                .text("OwnerGroup", &group.name)
                .text("OwnerNode", &group.owner)
                .number("State", if group.state == 0 { 2 } else { 3 })
                .value("PrivateProperties", Value::Instance(Box::new(private)))
                .done()
        })
        .collect()
}

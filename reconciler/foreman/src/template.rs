//! A machine of a pool, of its template: pure.

use labyard_driver::{
    ids::{HostName, Namespace},
    mark::{Mark, MemberMark},
    observed::HostFacts,
};
use labyard_labs::{
    member::Member,
    pool::{Isolation, Pool},
};
use labyard_reconciler::{
    derived::Taken,
    desired::{DesiredMachine, Unusable},
    engine::Want,
    want::desired_on,
};
use labyard_schema::{
    vm::{Shutdown, Vm},
    vm_pool::{Secrets, Template},
};
use std::collections::BTreeSet;

/// What a machine of a pool is made of.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// The machine as a user would have written it.
    pub(crate) vm: Vm,
    namespace: Namespace,
    member: MemberMark,
    isolation: Isolation,
}

impl Made {
    /// Of the template of its generation.
    ///
    /// # Errors
    /// If the template cannot be read.
    pub(crate) fn of(
        template: serde_json::Value,
        secrets: &Secrets,
        isolation: Isolation,
        member: &Member,
    ) -> Result<Self, serde_json::Error> {
        let template: Template = serde_json::from_value(template)?;
        let number = u64::try_from(member.number).unwrap_or_default();
        Ok(Self {
            vm: template.with_secrets(secrets).machine(&member.name, number),
            namespace: Namespace(member.namespace.to_string()),
            member: mark_of(member),
            isolation,
        })
    }

    /// Of a machine whose template nobody knows any more: enough to take it away, which goes by its mark.
    pub(crate) fn stray(mark: &Mark) -> Self {
        let vm = Vm {
            name: mark.name.to_string(),
            shutdown: Some(Shutdown {
                mode: "force".to_owned(),
                timeout: None,
            }),
            ..Vm::default()
        };
        Self {
            vm,
            namespace: mark.namespace.clone(),
            isolation: Isolation::Open,
            member: mark.member.clone().unwrap_or(MemberMark {
                pool: String::new(),
                id: String::new(),
                number: 0,
                generation: 0,
            }),
        }
    }

    /// The user whose password its template knows.
    pub(crate) fn known_password(&self) -> Option<String> {
        let guest = self.vm.guest.as_ref()?;
        guest.admin_password_wo.as_ref()?;
        Some(crate::credentials::user(&self.vm))
    }

    /// What it wants of the host where it is placed.
    pub(crate) fn want(&self, host: &HostName) -> Want {
        Want::of(&self.namespace, &self.vm, Some([host.clone()].into()))
    }

    /// What is desired of it there.
    pub(crate) fn desired(&self, on: (&HostFacts, &Taken)) -> Result<DesiredMachine, Unusable> {
        let desired = DesiredMachine {
            member: Some(self.member.clone()),
            ..desired_on(&self.namespace, &self.vm, on)?
        };
        Ok(match self.isolation {
            Isolation::Apart => desired.apart(),
            Isolation::Open => desired,
        })
    }

    /// Storage pools that its disks name.
    pub(crate) fn storage_pools(&self) -> BTreeSet<labyard_driver::ids::PoolName> {
        let disks = self.vm.disks.iter().flatten();
        disks
            .filter_map(|(_, disk)| disk.storage_pool.clone())
            .map(labyard_driver::ids::PoolName)
            .collect()
    }
}

/// What the mark of a machine says of its place in its pool.
pub(crate) fn mark_of(member: &Member) -> MemberMark {
    MemberMark {
        pool: member.pool.to_string(),
        id: member.id.to_string(),
        number: member.number,
        generation: member.generation,
    }
}

/// Who is let into the machines of this pool; `None` where its template cannot be read.
#[must_use]
pub fn user_of(pool: &Pool) -> Option<String> {
    let template: Template = serde_json::from_value(pool.spec.template.clone()).ok()?;
    Some(crate::credentials::user(template.as_machine()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use labyard_driver::{ids::Mib, spec::Isolation::Apart};
    use labyard_labs::member::{State, Touch};
    use labyard_store::event::Moment;

    #[test]
    fn a_machine_has_its_name_number_place_and_secrets_and_all_else_of_the_template() {
        let member = Member {
            id: "m".into(),
            namespace: "team".into(),
            pool: "k8s".into(),
            number: 7,
            name: "k8s-7".into(),
            host: None,
            state: State::Building,
            generation: 3,
            claim: None,
            since: Moment(0),
            touch: Touch::Untouched,
            identity: None,
            addresses: Vec::new(),
            trouble: None,
        };
        let template = serde_json::json!({
            "memory_mib": 512, "nics": {"lan": {"network": "lab", "model": "virtio"}},
            "guest": {"hostname": "{name}"}, "cloud_init": {"user_data": "seat {index}"}
        });
        let secrets = [("guest.admin_password_wo".to_owned(), "hush".to_owned())].into();
        let made = Made::of(template, &secrets, Isolation::Apart, &member).unwrap();
        let guest = made.vm.guest.as_ref().unwrap();
        assert_eq!(guest.hostname.as_deref(), Some("k8s-7"));
        assert_eq!(guest.admin_password_wo.as_ref().unwrap().reveal(), "hush");
        let facts = HostFacts {
            uuid: "u".into(),
            accelerators: vec![],
            pool: None,
            pool_fault: None,
            pools: vec![],
            cpus: 1,
            memory: Mib(1024),
        };
        let desired = made.desired((&facts, &Taken::default())).unwrap();
        assert_eq!(
            (desired.name.as_str(), desired.namespace.as_str()),
            ("k8s-7", "team")
        );
        assert_eq!(desired.nics.len(), 1);
        assert!(desired.nics.values().all(|nic| nic.isolation == Apart));
        assert_eq!(desired.member, Some(mark_of(&member)));
        let host = HostName::from("lab1");
        assert_eq!(made.want(&host).hosts, Some([host].into()));
    }
}

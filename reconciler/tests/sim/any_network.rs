//! From any network to any other, with a machine on it, through faults: passes converge, one more does nothing, and nothing
//! is left after a destroy.

use std::collections::BTreeMap;
use std::time::Duration;

use labyard_driver::observed::Power;
use labyard_driver_sim::Fault;
use labyard_reconciler::desired::DesiredNetwork;
use labyard_reconciler::diff::network::diff;
use labyard_reconciler::engine::{Engine, ObjectRef, Reading};
use labyard_reconciler::view::NetworkView;
use labyard_schema::{network, vm};
use proptest::prelude::*;
use tokio::time::timeout;

use crate::any_machine::{host, troubles};
use crate::cases::check;
use crate::rig::{Rig, Table, bounds, config, inventory, wish};

const PATIENCE: Duration = Duration::from_secs(4 * 3600);
const PASSES: usize = 3;

fn network() -> impl Strategy<Value = network::Network> {
    let text = |values: &'static [&'static str]| prop::option::of(prop::sample::select(values));
    let range = prop::option::of((100..120_u32, 150..200_u32));
    let options = prop::collection::btree_map("4[2-4]", "10[.]77[.]0[.][5-9]", 0..3);
    let records = prop::collection::btree_map("[a-c]", prop::collection::btree_set(5..9_u32, 1..3), 0..3);
    let names = (
        text(&["lab.test", "other.test"]),
        text(&["192.0.2.53", "192.0.2.54"]),
        records,
    );
    let boot = text(&["https://10.77.0.1/a.efi", "https://10.77.0.1/b.efi"]);
    let wide = (
        text(&["fd00:77::/64", "fd00:78::/64"]),
        prop::option::of(1300..1500_u32),
        any::<bool>(),
    );
    let mode = prop::sample::select(&["nat", "routed", "isolated"][..]);
    let labels = prop::collection::btree_map("[a-c]", "[x-z]", 0..3);
    (mode, range, options, names, boot, wide, labels).prop_map(
        |(mode, range, options, (domain, forwarder, records), boot, (ipv6, mtu, autostart), labels)| {
            let dhcp = range.map(|(start, end)| network::DhcpRange {
                start: format!("10.77.0.{start}"),
                end: format!("10.77.0.{end}"),
                options: (!options.is_empty()).then_some(options),
            });
            let records: BTreeMap<_, Vec<_>> = records
                .into_iter()
                .map(|(name, hosts)| (name, hosts.into_iter().map(|n| format!("10.77.0.{n}")).collect()))
                .collect();
            network::Network {
                name: "lab".into(),
                mode: mode.into(),
                boot: boot.filter(|_| dhcp.is_some()).map(|url| network::NetworkBoot {
                    url: url.into(),
                    vendor_class: "HTTPClient".into(),
                }),
                ipv4: Some(network::Ipv4 {
                    cidr: "10.77.0.0/24".into(),
                    dhcp,
                }),
                ipv6: ipv6.map(|cidr| network::Ipv6 {
                    cidr: cidr.into(),
                    dhcp: None,
                }),
                dns: Some(network::Dns {
                    domain: domain.map(str::to_owned),
                    forwarders: forwarder.map(|address| vec![address.to_owned()]),
                    records: (!records.is_empty()).then_some(records),
                }),
                mtu,
                autostart,
                labels: (!labels.is_empty()).then_some(labels),
                ..network::Network::default()
            }
        },
    )
}

type Life = (
    bool,
    network::Network,
    Vec<Fault>,
    Vec<(network::Network, Vec<Fault>)>,
    Vec<Fault>,
);

fn life() -> impl Strategy<Value = Life> {
    let steps = prop::collection::vec((network(), troubles()), 1..4);
    (any::<bool>(), network(), troubles(), steps, troubles())
}

pub fn desired(network: &network::Network) -> DesiredNetwork {
    DesiredNetwork::from_config(&"default".into(), network).unwrap()
}

pub fn object(rig: &Rig, view: &NetworkView) -> ObjectRef {
    ObjectRef {
        host: rig.host.clone(),
        namespace: "default".into(),
        name: view.name.clone(),
        identity: view.identity().cloned(),
        id: Some(view.id.clone()),
        pools: Default::default(),
    }
}

async fn live((slow, first, made_through, steps, ended_through): Life) {
    let (sim, table) = (host(slow), Table::default());
    let empty = inventory(&sim);
    let order = |faults: &[Fault]| faults.iter().for_each(|fault| sim.order(fault.clone()));
    let quiet = |rig: Rig| {
        sim.clear_faults();
        rig.kill();
        Rig::start(&sim, &table)
    };
    let mut rig = Rig::start(&sim, &table);
    order(&made_through);
    let mut made = None;
    for pass in 1.. {
        let wanted = desired(&first);
        let told = rig.engine.create_network(&rig.host, &wanted, bounds());
        match timeout(PATIENCE, told).await {
            Ok(Ok(view)) => {
                made = Some(view);
                break;
            }
            told => assert!(pass < PASSES, "not made: {told:?}"),
        }
        rig = quiet(rig);
    }
    let view = made.unwrap();
    sim.clear_faults();
    // Somebody is on it.
    let guest = wish(&vm::Vm {
        ready: Some(vm::Ready {
            wait: "none".into(),
            timeout: None,
        }),
        ..config("web")
    });
    let (machine, identity) = rig.create(&guest).await;
    machine.unwrap();
    rig.end().await;
    for (config, faults) in steps {
        let wanted = desired(&config);
        let mut rig = Rig::start(&sim, &table);
        order(&faults);
        for pass in 1.. {
            let object = object(&rig, &view);
            let told = rig.engine.update_network(&object, &wanted, bounds());
            match timeout(PATIENCE, told).await {
                Ok(Ok(_)) => break,
                told => assert!(pass < PASSES, "not changed: {told:?}"),
            }
            rig = quiet(rig);
        }
        sim.clear_faults();
        let rig = quiet(rig);
        let Reading::Present(now) = rig.engine.read_network(&object(&rig, &view)).await.unwrap() else {
            panic!("it is gone")
        };
        assert_eq!(diff(&wanted, &now), []);
        assert_eq!(now.wishes.labels, config.labels);
        let before = format!(
            "{:?}",
            (sim.look().networks, sim.look().machines[0].detail.clone())
        );
        let again = rig
            .engine
            .update_network(&object(&rig, &view), &wanted, bounds())
            .await;
        again.unwrap();
        let after = format!(
            "{:?}",
            (sim.look().networks, sim.look().machines[0].detail.clone())
        );
        assert_eq!(after, before, "one more pass changed something");
        let power = sim.look().machines[0].power;
        assert_eq!(power, Power::Running);
        rig.end().await;
    }
    let rig = Rig::start(&sim, &table);
    rig.destroy(&identity.unwrap(), &guest).await.unwrap();
    order(&ended_through);
    let mut rig = rig;
    for pass in 1.. {
        match timeout(
            PATIENCE,
            rig.engine.destroy_network(&object(&rig, &view), bounds()),
        )
        .await
        {
            Ok(Ok(())) => break,
            told => assert!(pass < PASSES, "not destroyed: {told:?}"),
        }
        rig = quiet(rig);
    }
    sim.clear_faults();
    rig.end().await;
    assert_eq!(inventory(&sim), empty);
}

#[test]
fn any_network_becomes_any_other_through_any_fault_and_leaves_nothing() {
    check("networks through faults", 120, &life(), live);
}

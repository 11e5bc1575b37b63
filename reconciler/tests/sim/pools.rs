//! Disks in several pools of a simulated host, block devices among them.

use std::collections::BTreeMap;

use labyard_driver::ids::{Bytes, PoolName};
use labyard_driver::observed::PoolKind;
use labyard_driver_sim::{ForeignHand, PoolSettings, Settings, SimHost};
use labyard_reconciler::engine::{Engine, Reading};
use labyard_reconciler::identity::Identity;

use crate::rig::{Rig, Table, bounds, config, inventory, wish};

fn host() -> SimHost {
    let of = |kind| PoolSettings {
        capacity: Bytes::from_gib(64),
        kind,
    };
    SimHost::new(Settings {
        other_pools: BTreeMap::from([
            ("fast".into(), of(PoolKind::Directory)),
            ("vg".into(), of(PoolKind::Logical)),
        ]),
        ..Settings::default()
    })
}

fn in_pools(root: &str, data: &str) -> labyard_schema::vm::Vm {
    let mut vm = config("web");
    let disks = vm.disks.as_mut().unwrap();
    disks.get_mut("root").unwrap().storage_pool = Some(root.to_owned());
    disks.get_mut("data").unwrap().storage_pool = Some(data.to_owned());
    vm
}

fn volumes(sim: &SimHost, pool: &str) -> Vec<String> {
    let snapshot = sim.look();
    let of = snapshot.volumes.iter().filter(|v| v.pool.as_str() == pool);
    of.map(|v| v.name.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_machine_has_its_disks_where_they_are_asked_for_and_loses_none() {
    for (root, data) in [("fast", "default"), ("vg", "vg")] {
        let (sim, table) = (host(), Table::default());
        let rig = Rig::start(&sim, &table);
        rig.network().await.unwrap();
        let wish = wish(&in_pools(root, data));
        let view = rig.create(&wish).await.0.unwrap();
        assert_eq!(
            view.disks[&"root".into()].pool,
            Some(PoolName::from(root)),
            "{root}"
        );
        assert!(
            volumes(&sim, root)
                .iter()
                .any(|name| name.starts_with("web.root."))
        );
        assert!(
            volumes(&sim, data)
                .iter()
                .any(|name| name.starts_with("web.data."))
        );
        let image = if root == "vg" { "default" } else { root };
        assert!(
            volumes(&sim, image)
                .iter()
                .any(|name| name.starts_with("labyard-image.")),
            "an image lies among files"
        );

        // A stopped pool: nobody knows, and nothing is called gone.
        let object = rig.object(&wish, view.identity());
        let stopped = ForeignHand::StopPool(root.into());
        sim.by_other_hand(&stopped).unwrap();
        let unknown = rig.engine.read_machine(&object).await.unwrap_err();
        assert!(unknown.to_string().contains(root), "{unknown}");
        sim.by_other_hand(&ForeignHand::StartPool(root.into())).unwrap();

        // Its definition gone, its disks are found in every pool.
        sim.by_other_hand(&ForeignHand::Undefine(view.id.clone()))
            .unwrap();
        // A run of its own: what the one before has read holds for a while.
        let rig = Rig::start(&sim, &table);
        let mut object = object;
        object.pools = [PoolName::from(root)].into();
        assert!(matches!(
            rig.engine.read_machine(&object).await.unwrap(),
            Reading::DisksOnly
        ));
        sim.by_other_hand(&stopped).unwrap();
        let rig = Rig::start(&sim, &table);
        assert!(
            rig.engine.read_machine(&object).await.is_err(),
            "what nobody sees is not gone"
        );
        sim.by_other_hand(&ForeignHand::StartPool(root.into())).unwrap();
        // A run of its own: what this one has read holds for a while.
        let rig = Rig::start(&sim, &table);
        rig.engine
            .destroy_machine(&object, &wish, bounds())
            .await
            .unwrap();
        for pool in ["default", "fast", "vg"] {
            assert_eq!(volumes(&sim, pool), Vec::<String>::new(), "{pool}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_names_the_token_of_anothers_disks_gets_none_of_them() {
    let (sim, table) = (host(), Table::default());
    let rig = Rig::start(&sim, &table);
    rig.network().await.unwrap();
    let wish = wish(&in_pools("fast", "default"));
    let view = rig.create(&wish).await.0.unwrap();
    let before = inventory(&sim);
    let theirs = Identity {
        token: "another".into(),
        id: "0c7f1f2e-0000-4000-8000-000000000001".into(),
        ..view.identity().unwrap().clone()
    };
    let mut object = rig.object(&wish, Some(&theirs));
    object.id = Some(theirs.id.clone());
    object.pools = [PoolName::from("fast")].into();
    assert!(matches!(
        rig.engine.read_machine(&object).await.unwrap(),
        Reading::Gone
    ));
    rig.engine
        .destroy_machine(&object, &wish, bounds())
        .await
        .unwrap();
    assert_eq!(inventory(&sim), before);

    // Nor does one of another namespace where the definition is gone, and only the names tell whose they are.
    sim.by_other_hand(&ForeignHand::Undefine(view.id.clone()))
        .unwrap();
    let rig = Rig::start(&sim, &table);
    let before = inventory(&sim);
    object.namespace = "physics".into();
    assert!(matches!(
        rig.engine.read_machine(&object).await.unwrap(),
        Reading::Gone
    ));
    rig.engine
        .destroy_machine(&object, &wish, bounds())
        .await
        .unwrap();
    assert_eq!(inventory(&sim), before);
}

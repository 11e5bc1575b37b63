//! The variables of a UEFI machine's firmware: a volume of its own from its first start, exchanged where another kind is
//! asked for, gone with the machine.

use labyard_driver::spec::SecureBoot;
use labyard_driver_sim::{Settings, SimHost};
use labyard_schema::vm;

use crate::rig::{Rig, Table, config, inventory, wish};

fn uefi(secure_boot: bool) -> vm::Vm {
    vm::Vm {
        firmware: Some(vm::Firmware {
            r#type: "uefi".into(),
            secure_boot,
            tpm: false,
        }),
        ..config("web")
    }
}

/// The kind of variables that the mark names, in the file that the definition names.
fn variables(sim: &SimHost) -> (String, SecureBoot) {
    let snapshot = sim.look();
    let machine = &snapshot.machines[0];
    let named = machine.mark.ours().unwrap().nvram.clone().unwrap();
    let used = machine.detail.known().unwrap().nvram.clone().unwrap();
    assert_eq!(
        used.volume.as_ref(),
        Some(&named.volume),
        "not the one that is used"
    );
    (named.volume.to_string(), named.secure_boot)
}

#[tokio::test(start_paused = true)]
async fn a_machine_with_uefi_has_variables_of_its_own_which_follow_secure_boot_and_go_with_it() {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let rig = Rig::start(&sim, &table);
    rig.network().await.unwrap();
    let empty = inventory(&sim);
    let (plain, guarded) = (wish(&uefi(false)), wish(&uefi(true)));
    let (made, identity) = rig.create(&plain).await;
    made.unwrap();
    let identity = identity.unwrap();
    let (first, kind) = variables(&sim);
    assert_eq!(kind, SecureBoot::Off);
    rig.update(&identity, &plain, &guarded).await.unwrap();
    let (second, kind) = variables(&sim);
    assert_eq!(kind, SecureBoot::Microsoft);
    assert_ne!(first, second);
    let volumes = inventory(&sim);
    assert!(!volumes.contains(&format!("volume {first}")), "{volumes:?}");
    rig.destroy(&identity, &guarded).await.unwrap();
    assert_eq!(inventory(&sim), empty);
}

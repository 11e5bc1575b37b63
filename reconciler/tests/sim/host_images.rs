//! Images that lie on the simulated host: copied once, pinned, and never touched.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use labyard_driver_sim::{ForeignHand, Settings, SimHost};
use labyard_reconciler::EngineError;
use labyard_reconciler::desired::DesiredMachine;

use crate::rig::{Rig, Table, config, inventory, wish};

const PATH: &str = "/srv/images/base.img";

fn put(sim: &SimHost, content: &[u8]) {
    let (path, content) = (PATH.to_owned(), content.to_vec());
    sim.by_other_hand(&ForeignHand::PutFile { path, content })
        .unwrap();
}

fn of_the_host(name: &str, sha256: Option<&str>) -> DesiredMachine {
    let mut vm = config(name);
    vm.nics = None;
    let disks = vm.disks.get_or_insert_with(BTreeMap::new);
    let image = disks.get_mut("root").unwrap().image.as_mut().unwrap();
    image.source = format!("host:{PATH}");
    image.sha256 = sha256.map(str::to_owned);
    wish(&vm)
}

fn images(sim: &SimHost) -> usize {
    let all = inventory(sim);
    all.iter()
        .filter(|line| line.starts_with("volume labyard-image."))
        .count()
}

#[tokio::test(start_paused = true)]
async fn machines_of_one_file_share_one_copy_of_it() {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    put(&sim, &[7; 70_000]);
    let rig = Arc::new(Rig::start(&sim, &table));
    let wishes = ["a", "b", "c"].map(|name| of_the_host(name, None));
    let made = join_all(wishes.iter().map(|wish| rig.create(wish))).await;
    let digests = made
        .iter()
        .map(|(view, _)| view.as_ref().unwrap().disks[&"root".into()].clone());
    let digests: Vec<_> = digests
        .map(|disk| disk.image.and_then(|image| image.digest))
        .collect();
    assert!(
        digests[0].is_some() && digests.iter().all(|digest| *digest == digests[0]),
        "{digests:?}"
    );
    assert_eq!(images(&sim), 2, "one image and its marker: {:?}", inventory(&sim));
    for ((_, identity), wish) in made.iter().zip(&wishes) {
        rig.destroy(identity.as_ref().unwrap(), wish).await.unwrap();
    }
    assert_eq!(inventory(&sim), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_not_the_wanted_one_or_not_there_is_an_error_of_the_attribute_and_leaves_no_image() {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let rig = Rig::start(&sim, &table);
    let gone = rig.create(&of_the_host("web", None)).await.0.unwrap_err();
    assert_eq!(gone.attribute(), Some("disks[\"root\"].image.source"), "{gone}");
    assert!(gone.to_string().contains(PATH), "{gone}");

    put(&sim, &[8; 70_000]);
    let wrong = "0".repeat(64);
    let (result, identity) = rig.create(&of_the_host("other", Some(&wrong))).await;
    let error = result.unwrap_err();
    assert!(matches!(error.root(), EngineError::Image { .. }), "{error}");
    assert_eq!(images(&sim), 0, "{:?}", inventory(&sim));
    rig.destroy(&identity.unwrap(), &of_the_host("other", Some(&wrong)))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_image_on_a_file_below_it_is_refused() {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let mut header = vec![0; 70_000];
    header[..8].copy_from_slice(b"QFI\xfb\0\0\0\x02");
    header[8..16].copy_from_slice(&104_u64.to_be_bytes());
    header[16..20].copy_from_slice(&9_u32.to_be_bytes());
    header[20..24].copy_from_slice(&16_u32.to_be_bytes());
    header[24..32].copy_from_slice(&(1_u64 << 20).to_be_bytes());
    header[104..113].copy_from_slice(b"/etc/pass");
    put(&sim, &header);
    let rig = Rig::start(&sim, &table);
    let error = rig.create(&of_the_host("web", None)).await.0.unwrap_err();
    assert!(error.to_string().contains("backing"), "{error}");
    assert_eq!(images(&sim), 0, "{:?}", inventory(&sim));
}

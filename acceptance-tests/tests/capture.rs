//! Machines captured on a real host: off, or while they run; what is made of their images has what was written, and is a
//! system of its own; an image stays while it is used, and goes when nobody needs it.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::{Guest, Host, Terraform, hcl};
use labyard_driver::Driver;
use labyard_driver::copy::{Copying, DiskCopy};
use labyard_driver::ids::{HostName, ObjectId};
use labyard_driver_libvirt::{AcceleratorChoice, LibvirtConfig, LibvirtDriver};
use labyard_reconciler::engine::{
    Bounds, Capture, Captured, Deps, Embedded, Engine, Fence, ObjectRef, Seal, WhileRunning,
};
use tokio::sync::Notify;

const SOON: Duration = Duration::from_secs(60);

fn lab1() -> HostName {
    HostName::from("lab1")
}

fn driver(uri: &str) -> Arc<dyn Driver> {
    let config = LibvirtConfig {
        uri: uri.to_owned(),
        storage_pool: None,
        accelerator: AcceleratorChoice::Qemu,
    };
    Arc::new(LibvirtDriver::new(config).unwrap())
}

fn engine(uri: &str) -> Embedded {
    let driver = || driver(uri);
    let host = labyard_reconciler::host::Host::new(lab1(), driver(), driver());
    Embedded::new([host], Deps::default())
}

fn bounds() -> Bounds {
    Bounds {
        cancel: Default::default(),
        limit: Duration::from_secs(300),
        reserve: Default::default(),
        fence: Default::default(),
    }
}

fn golden(running: WhileRunning) -> Capture {
    Capture {
        disk: None,
        name: "golden".parse().unwrap(),
        running,
    }
}

/// Lets a capture come as far as its disk is copied, and no further: asked right before each change, it never answers
/// from then on.
struct UntilCopying {
    driver: Arc<dyn Driver>,
    id: ObjectId,
    there: Notify,
}

impl UntilCopying {
    async fn copies(&self) -> bool {
        let machine = self.driver.machine(&self.id).await.unwrap();
        let mark = machine.mark.ours().unwrap();
        let Some(capture) = &mark.capture else {
            return false;
        };
        let copy = DiskCopy {
            pool: capture.pool.clone(),
            disk: mark.disks.values().next().unwrap().volume.clone(),
            into: capture.volume.clone(),
        };
        let seen = self.driver.copying(&self.id, &copy).await;
        seen.is_ok_and(|seen| !matches!(seen, Copying::Ended(_)))
    }
}

impl std::fmt::Debug for UntilCopying {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UntilCopying({})", self.id)
    }
}

impl Fence for UntilCopying {
    fn holds<'a, 'f>(&'a self) -> Pin<Box<dyn Future<Output = bool> + Send + 'f>>
    where
        'a: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            if self.copies().await {
                self.there.notify_one();
                pending::<()>().await;
            }
            true
        })
    }
}

/// A host with a network, whose machines keep what a system keeps on their first disk.
struct Lab {
    host: Host,
    key: KeyPair,
    terraform: Terraform<'static>,
}

impl Lab {
    fn new() -> Self {
        Self {
            host: Host::start().unwrap(),
            key: KeyPair::generate().unwrap(),
            terraform: Terraform::new().unwrap(),
        }
    }

    fn machine(&self, name: &str, image: &str) -> String {
        let body = format!(
            "memory_mib = 128\n  disks = {{ root = {{ image = {image} }} }}\n  nics = {{ lan = {{ network =              labyard_network.lab.name }} }}\n  {}\n  cloud_init = {{ user_data = \"{}\" }}\n  ready = {{ wait = \"agent\"              }}\n  shutdown = {{ mode = \"force\" }}",
            hcl::boot("guest.keep=vda"),
            hcl::user_data(&self.key.public)
        );
        hcl::machine(name, body)
    }

    fn apply(&self, machines: &[&str]) {
        let config = hcl::on(&self.host) + &hcl::network("lab", 92) + &machines.concat();
        self.terraform.applied(&config);
    }

    /// A machine's guest, entered as root.
    fn guest(&self, name: &str) -> Guest<'_> {
        let state = self.terraform.resource(&format!("labyard_vm.{name}"));
        let mac = state["macs"]["lan"].as_str().unwrap();
        let guest = Guest::by_lease(&self.host, "lab", mac, &self.key, SOON).unwrap();
        guest.wait_for_ssh(SOON).unwrap();
        guest
    }

    async fn object(&self, engine: &Embedded, name: &str) -> ObjectRef {
        let (view, _) = engine
            .find_machine(&lab1(), &"default".into(), name)
            .await
            .unwrap();
        let identity = view.identity().unwrap().clone();
        ObjectRef {
            host: lab1(),
            namespace: "default".into(),
            name: name.into(),
            id: Some(identity.id.clone()),
            identity: Some(identity),
            pools: Default::default(),
        }
    }

    async fn capture(&self, engine: &Embedded, name: &str, running: WhileRunning) -> Captured {
        let (object, capture) = (self.object(engine, name).await, golden(running));
        engine
            .capture_machine(&object, &capture, bounds(), &|_| {})
            .await
            .unwrap()
    }
}

/// What makes a guest one system: its host keys, its machine id.
fn own(guest: &Guest<'_>) -> (String, String) {
    // The keys are made for whoever asks first.
    guest.run("true").unwrap();
    (
        guest
            .run("sha256sum /etc/dropbear/dropbear_ed25519_host_key")
            .unwrap(),
        guest.run("cat /etc/machine-id").unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_made_of_a_captured_one_have_its_files_and_each_is_a_system_of_its_own() {
    let lab = Lab::new();
    let empty = lab.host.inventory().unwrap();
    let golden = lab.machine("golden", &hcl::image());
    lab.apply(&[&golden]);
    let guest = lab.guest("golden");
    guest.run("echo kept >/keep/work").unwrap();
    let (keys, id) = own(&guest);
    let boot = guest.boot_id().unwrap();

    // It runs on, the same as before.
    let engine = engine(&lab.host.uri());
    let first = lab.capture(&engine, "golden", WhileRunning::Quiesced).await;
    assert_eq!((first.image.image.revision.0, &first.seal), (1, &Seal::Sealed));
    assert_eq!(guest.boot_id().unwrap(), boot);
    assert_eq!(own(&guest), (keys.clone(), id.clone()));
    guest.run("echo more >>/keep/work && sync").unwrap();
    lab.terraform.assert_settled();

    let of = |name: &str, source: &str| lab.machine(name, &format!("{{ source = \"{source}\" }}"));
    let one = of("one", "image:golden@1");
    lab.apply(&[&golden, &one]);
    let made = lab.guest("one");
    assert_eq!(made.run("cat /keep/work").unwrap().trim(), "kept");
    let (its_keys, its_id) = own(&made);
    assert!(
        its_keys != keys && its_id != id && its_id.trim().len() == 32,
        "{its_keys} {its_id}"
    );

    // Off for a moment, and on again.
    let second = lab.capture(&engine, "golden", WhileRunning::Stopped).await;
    assert_eq!(second.image.image.revision.0, 2);
    assert!(matches!(second.seal, Seal::Open(_)), "{second:?}");
    guest.wait_for_ssh(SOON).unwrap();
    assert_ne!(guest.boot_id().unwrap(), boot);
    let two = of("two", "image:golden");
    lab.apply(&[&two]);
    let made = lab.guest("two");
    assert_eq!(made.run("cat /keep/work").unwrap(), "kept\nmore\n");

    // Of both revisions one is used.
    for image in engine.images(&lab1()).await.unwrap() {
        engine.forget_image(&lab1(), &image).await.unwrap();
    }
    let volumes = lab.host.observer().unwrap().volumes("default").unwrap();
    let has = |digest: &str| volumes.iter().any(|volume| volume.name.contains(digest));
    assert!(
        !has(first.image.image.digest.as_str()),
        "an image that nobody needs"
    );
    assert!(has(second.image.image.digest.as_str()), "an image that is used");
    lab.terraform.destroyed();
    assert_eq!(lab.host.inventory().unwrap(), empty);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_that_is_ended_while_the_disk_is_copied_and_the_guest_stands_still_is_finished_by_the_next()
{
    let lab = Lab::new();
    let empty = lab.host.inventory().unwrap();
    let machine = lab.machine("golden", &hcl::image());
    lab.apply(&[&machine]);
    let guest = lab.guest("golden");
    guest.run("echo kept >/keep/work && sync").unwrap();
    let before = (own(&guest), guest.boot_id().unwrap());

    let ended = engine(&lab.host.uri());
    let object = lab.object(&ended, "golden").await;
    let fence = Arc::new(UntilCopying {
        driver: driver(&lab.host.uri()),
        id: object.id.clone().unwrap(),
        there: Notify::new(),
    });
    let until_copying = Bounds {
        fence: Some(fence.clone()),
        ..bounds()
    };
    let wanted = golden(WhileRunning::Quiesced);
    tokio::select! {
        captured = ended.capture_machine(&object, &wanted, until_copying, &|_| {}) => panic!("{captured:?}"),
        () = fence.there.notified() => {}
    }
    drop(ended);
    let status = r#"{"execute": "guest-fsfreeze-status"}"#;
    let status = lab.host.virsh(&["qemu-agent-command", "golden", status]).unwrap();
    assert!(status.contains("frozen"), "{status}");

    let next = engine(&lab.host.uri());
    let captured = lab.capture(&next, "golden", WhileRunning::Quiesced).await;
    assert_eq!(
        (captured.image.image.revision.0, &captured.seal),
        (1, &Seal::Sealed)
    );
    assert_eq!((own(&guest), guest.boot_id().unwrap()), before);
    let one = lab.machine("one", "{ source = \"image:golden@1\" }");
    lab.apply(&[&machine, &one]);
    assert_eq!(lab.guest("one").run("cat /keep/work").unwrap().trim(), "kept");

    for image in next.images(&lab1()).await.unwrap() {
        next.forget_image(&lab1(), &image).await.unwrap();
    }
    lab.terraform.destroyed();
    assert_eq!(lab.host.inventory().unwrap(), empty);
}

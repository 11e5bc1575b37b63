//! Images between hosts of one engine: what another host has is read from there once, and the network is not asked; what
//! that host cannot give, or gives wrongly, the source gives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use labyard_driver::Driver;
use labyard_driver::ids::{Bytes, Digest, HostName, PoolName};
use labyard_driver::spec::{VolumeContent, VolumeSpec};
use labyard_driver_sim::{Edge, Failure, Fault, FaultKind, Settings, SimDriver, SimHost, Verb};
use labyard_reconciler::EngineError;
use labyard_reconciler::engine::{Capture, Deps, Embedded, Engine, ObjectRef, WhileRunning};
use labyard_reconciler::host::Host;
use labyard_reconciler::image::{Fetcher, Options, Proxies, Sha256Digest};
use labyard_reconciler::view::MachineView;
use labyard_schema::vm;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::rig::{Table, bounds, config, deps, wish};

/// A server of one image, which counts how often it was asked for.
struct Source {
    url: String,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Source {
    async fn of(image: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/image", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((mut line, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = line.read_u8().await else { break };
                    head.push(byte);
                }
                count.fetch_add(1, Ordering::SeqCst);
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    image.len()
                );
                // Who asked may be gone.
                drop(line.write_all(&[answer.as_bytes(), &image].concat()).await);
            }
        });
        Self { url, asked, task }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Hosts of one engine.
struct Lab {
    sims: Vec<SimHost>,
    engine: Embedded,
}

impl Lab {
    fn of(count: u64) -> Self {
        let sims: Vec<_> = (1..=count)
            .map(|seed| {
                SimHost::new(Settings {
                    seed,
                    ..Settings::default()
                })
            })
            .collect();
        let hosts = sims.iter().enumerate().map(|(n, sim)| {
            let driver = || Arc::new(SimDriver::in_memory(sim)) as Arc<dyn Driver>;
            Host::new(lab(n), driver(), driver())
        });
        let deps = Deps {
            fetcher: Fetcher::new(Options {
                proxies: Proxies::Off,
                ..Options::default()
            }),
            ..deps(&Table::default())
        };
        let engine = Embedded::new(hosts.collect::<Vec<_>>(), deps);
        Self { sims, engine }
    }

    async fn create(&self, on: usize, config: &vm::Vm) -> Result<MachineView, EngineError> {
        self.engine
            .create_machine(&lab(on), &wish(config), bounds(), &|_| {})
            .await
    }

    /// How often volumes of a host were read.
    fn reads(&self, of: usize) -> usize {
        self.sims[of].count(Verb::ReadVolume)
    }
}

fn lab(n: usize) -> HostName {
    HostName(format!("lab{n}"))
}

/// A stopped machine with one disk of that image.
fn machine(name: &str, source: &str, sha256: Option<String>) -> vm::Vm {
    let root = vm::Disk {
        image: Some(vm::Image {
            source: source.to_owned(),
            sha256,
        }),
        size_gib: Some(1),
        ..vm::Disk::default()
    };
    vm::Vm {
        power: "stopped".into(),
        nics: None,
        cloud_init: None,
        disks: Some(BTreeMap::from([("root".to_owned(), root)])),
        ..config(name)
    }
}

fn made_of(view: &MachineView) -> Option<Digest> {
    view.disks[&"root".into()].image.clone()?.digest
}

fn image() -> (Vec<u8>, String) {
    let bytes = vec![3_u8; 40 << 10];
    let digest = Sha256Digest::of(&bytes).to_string();
    (bytes, digest)
}

#[tokio::test]
async fn an_image_that_another_host_has_is_read_from_there_once_and_its_source_is_not_asked() {
    let (bytes, digest) = image();
    let source = Source::of(bytes).await;
    let lab = Lab::of(3);
    for (on, reads) in [(0, 0), (1, 1)] {
        let made = lab
            .create(on, &machine("web", &source.url, Some(digest.clone())))
            .await
            .unwrap();
        assert_eq!(made_of(&made), Some(Digest(digest.clone())));
        assert_eq!((source.asked(), lab.reads(0)), (1, reads));
    }
    // A second machine there has it from its own host.
    lab.create(1, &machine("db", &source.url, Some(digest.clone())))
        .await
        .unwrap();
    assert_eq!((source.asked(), lab.reads(0), lab.reads(1)), (1, 1, 0));
    // Who had it from a peer is a peer.
    lab.create(2, &machine("web", &source.url, Some(digest)))
        .await
        .unwrap();
    assert_eq!((source.asked(), lab.reads(0) + lab.reads(1)), (1, 2));
}

#[tokio::test]
async fn an_image_of_which_no_digest_is_known_comes_from_its_source() {
    let source = Source::of(image().0).await;
    let lab = Lab::of(2);
    for on in [0, 1] {
        lab.create(on, &machine("web", &source.url, None)).await.unwrap();
    }
    assert_eq!((source.asked(), lab.reads(0)), (2, 0));
}

#[tokio::test]
async fn a_captured_image_is_had_by_its_name_from_the_host_that_has_it() {
    let lab = Lab::of(2);
    let file = format!("file:{}", crate::rig::image().display());
    let made = lab.create(0, &machine("web", &file, None)).await.unwrap();
    let identity = made.identity().unwrap().clone();
    let object = ObjectRef {
        host: self::lab(0),
        namespace: "default".into(),
        name: "web".into(),
        id: Some(identity.id.clone()),
        identity: Some(identity),
        pools: Default::default(),
    };
    let capture = Capture {
        disk: None,
        name: "golden".parse().unwrap(),
        running: WhileRunning::default(),
    };
    let captured = lab
        .engine
        .capture_machine(&object, &capture, bounds(), &|_| {})
        .await
        .unwrap();
    let digest = captured.image.image.digest;
    let before = lab.reads(0);
    for (name, source) in [("one", "image:golden"), ("two", "image:golden@1")] {
        let copy = lab.create(1, &machine(name, source, None)).await.unwrap();
        assert_eq!(made_of(&copy), Some(digest.clone()), "{source}");
        assert_eq!(lab.reads(0) - before, 1, "{source}");
    }
    // The name stays where the machine was captured.
    assert!(lab.engine.images(&self::lab(1)).await.unwrap().is_empty());
    let none = lab.create(1, &machine("three", "image:golden@2", None)).await;
    let error = none.unwrap_err();
    assert_eq!(error.attribute(), Some("disks[\"root\"].image.source"), "{error}");
}

#[tokio::test]
async fn where_the_other_host_cannot_give_the_image_its_source_does() {
    let (bytes, digest) = image();
    let source = Source::of(bytes).await;
    let lab = Lab::of(2);
    lab.create(0, &machine("web", &source.url, Some(digest.clone())))
        .await
        .unwrap();
    let refused = FaultKind::Fail(Edge::Before, Failure::Refused);
    lab.sims[0].order(Fault::nth(Verb::ReadVolume, 1, refused));
    let made = lab
        .create(1, &machine("web", &source.url, Some(digest.clone())))
        .await
        .unwrap();
    assert_eq!(made_of(&made), Some(Digest(digest)));
    assert_eq!(source.asked(), 2);
}

/// Puts a volume with these bytes where an image is looked for.
async fn planted(sim: &SimHost, name: &str, bytes: &[u8]) {
    let driver = SimDriver::in_memory(sim);
    let pool = PoolName::from("default");
    let length = Bytes(bytes.len() as u64);
    let spec = VolumeSpec {
        pool: pool.clone(),
        name: name.into(),
        content: VolumeContent::Upload { length },
    };
    driver.create_volume(&spec).await.unwrap();
    if bytes.is_empty() {
        return;
    }
    let stream = futures::stream::iter([Ok(bytes.to_vec().into())]).boxed();
    driver
        .upload(&pool, &spec.name, length, stream, Duration::from_secs(9))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_image_that_is_not_what_the_other_host_calls_it_is_not_taken() {
    let (bytes, digest) = image();
    let source = Source::of(bytes).await;
    let lab = Lab::of(2);
    let upload = "ab".repeat(16);
    let (data, marker) = (
        format!("labyard-image.{upload}"),
        format!("labyard-image.{digest}.{upload}.raw.4096"),
    );
    planted(&lab.sims[0], &data, &[9; 4096]).await;
    planted(&lab.sims[0], &marker, &[]).await;
    let made = lab
        .create(1, &machine("web", &source.url, Some(digest.clone())))
        .await
        .unwrap();
    assert_eq!(made_of(&made), Some(Digest(digest)));
    assert_eq!((lab.reads(0), source.asked()), (1, 1));
    let left: Vec<_> = lab.sims[1].look().volumes;
    let images = left
        .iter()
        .filter(|volume| volume.name.as_str().starts_with("labyard-image."));
    assert_eq!(
        images.count(),
        2,
        "the image and its marker, and nothing of the other"
    );
}

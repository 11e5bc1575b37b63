//! A host and a driver of it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::samba::Samba;
use labyard_driver::conformance::sample;
use labyard_driver::spec::{Firmware, MachineSpec};
use labyard_driver_hyperv::host::Host;
use labyard_driver_hyperv::places::Directory;
use labyard_hyperv_double::model::{self, Setup};
use labyard_hyperv_double::wire::{Config, Server, User};
use tempfile::TempDir;
use wsman::Client;
use wsman::http::{Account, Http, Login, Settings, Trust};

const USER: &str = "op";
const ROOT: &str = r"D:\labyard";
const PASSWORD: &str = "sésame \"77\"";

/// A host with the drive `D:` in a directory of its own.
pub(crate) struct Rig {
    pub(crate) server: Server,
    pub(crate) model: model::Host,
    pub(crate) host: Arc<Host>,
    _samba: Samba,
    drive: TempDir,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(adjust: impl FnOnce(&mut Setup)) -> Self {
        let drive = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(drive.path().join("labyard/machines")).unwrap();
        let mut setup = Setup::server(drive.path());
        adjust(&mut setup);
        let model = model::Host::new(setup);
        let mut config = Config::new(vec![User::administrator(USER, PASSWORD)]);
        config.offers.basic = true;
        let server = Server::start(config, Box::new(model.clone())).await.unwrap();
        let samba = Samba::start(drive.path());
        let files = Arc::new(samba.files(ROOT));
        let host = Host::new(client(&server), files, Directory::new(ROOT));
        Self {
            server,
            model,
            host: Arc::new(host),
            _samba: samba,
            drive,
        }
    }

    /// A file of the host's, where it really lies.
    pub(crate) fn real(&self, file: &str) -> PathBuf {
        let below = file.strip_prefix(r"D:\").expect("a file on drive D:");
        self.drive.path().join(below.replace('\\', "/"))
    }
}

pub(crate) fn client(server: &Server) -> Client {
    let endpoint = format!("https://localhost:{}", server.https().unwrap().port());
    let login = Login::Basic(Account::new(USER, PASSWORD));
    let mut settings = Settings::new(endpoint.parse().unwrap(), login);
    settings.tls.trust = Trust::Authority(server.certificate().unwrap().as_bytes().to_vec());
    Client::new(Arc::new(Http::new(settings).unwrap()), wsman::Settings::default())
}

/// A machine of generation 2.
pub(crate) fn machine(name: &str) -> MachineSpec {
    MachineSpec {
        firmware: Firmware::Uefi,
        ..sample::machine(name)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let complaints = self.server.complaints();
        if !std::thread::panicking() {
            assert!(
                complaints.is_empty(),
                "what the host itself said is not in the schema: {complaints:?}"
            );
        }
    }
}

//! A simulated host of a test's own, as `labyard sim` serves it: for what needs many machines and no guests.
//!
//! ```no_run
//! use labyard_acceptance_tests::simulated::Simulated;
//! let host = Simulated::start();
//! println!("{}: {:?}", host.hosts(), host.machines());
//! ```

use labyard_driver_sim::{ServeOptions, Server, Settings, SimHost};
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::sync::oneshot;

/// A simulated host, which ends with its value.
pub struct Simulated {
    directory: TempDir,
    host: SimHost,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Simulated {
    /// Starts one.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start() -> Self {
        let directory = TempDir::new().expect("a directory");
        let socket = directory.path().join("sim");
        let (told, heard) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let server = Server::bind(ServeOptions {
                    socket,
                    state: None,
                    settings: Settings::default(),
                })
                .expect("a simulated host");
                told.send(server.host().clone()).expect("who waits for it");
                let stop = async { drop(stopped.await) };
                server.run(stop).await.expect("an orderly end");
            });
        });
        Self {
            directory,
            host: heard.recv().expect("a simulated host"),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("sim")
    }

    /// The `hosts` of a provider block that knows it alone, as `lab1`.
    pub fn hosts(&self) -> String {
        format!(
            "hosts = {{ lab1 = {{ sim = {{ socket = {:?} }} }} }}",
            self.socket().display().to_string()
        )
    }

    /// The names of its machines, sorted.
    pub fn machines(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .host
            .look()
            .machines
            .into_iter()
            .map(|machine| machine.host_name)
            .collect();
        names.sort();
        names
    }

    /// The host itself.
    pub fn host(&self) -> &SimHost {
        &self.host
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        // One that has ended already does not hear it.
        let _ = self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

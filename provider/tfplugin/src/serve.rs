//! The life of a provider's process: arguments, handshake, serving, the orderly end.

mod args;
mod orphan;
mod signals;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::connection::{self, Services, Visitors};
use crate::handshake::{HandshakeError, Parent, PortRange, SocketWish};
use crate::life::{End, Life};
use crate::listener::Listener;
use crate::panic;
use crate::rpc::{SelfCheck, Server};
use crate::tls::{self, TlsSetupError};
use crate::traits::Provider;
use args::Mode;
use signals::OnInterrupt;

/// The parent kills what still runs two seconds after it said goodbye.
const SHUTDOWN: Duration = Duration::from_millis(1800);
/// What connections get to send their last words.
const GOODBYE: Duration = Duration::from_millis(100);
/// What operations get to come to rest once nobody waits for them any more.
const ABANDONED: Duration = Duration::from_secs(10);

/// Runs a provider as Terraform's plugin until Terraform is done with it. `address` is the provider's whole
/// source address, `registry.terraform.io/labyard/labyard`.
///
/// `--debug` serves without a parent and prints how to attach Terraform; `--version` prints the version.
pub fn serve(address: &str, provider: impl Provider) -> ExitCode {
    serve_with(&ServeOptions::new(address), provider)
}

/// How [`serve`] serves.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    address: String,
    self_check: SelfCheck,
}

impl ServeOptions {
    /// What [`serve`] takes.
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            self_check: SelfCheck::On,
        }
    }

    /// Lets faulty answers out, to see what Terraform makes of them. Of use in this crate's own tests alone.
    #[doc(hidden)]
    pub fn without_self_check(mut self) -> Self {
        self.self_check = SelfCheck::Off;
        self
    }

    /// The last part of the address, `labyard`.
    fn name(&self) -> &str {
        self.address.rsplit('/').next().unwrap_or_default()
    }
}

/// [`serve`] with options.
#[doc(hidden)]
pub fn serve_with(options: &ServeOptions, provider: impl Provider) -> ExitCode {
    let outcome = match args::mode(std::env::args().skip(1)) {
        Mode::Plugin => run_plugin(options, provider),
        Mode::Debug => run_debug(options, provider),
        Mode::Version => {
            println!("terraform-provider-{} {}", options.name(), provider.version());
            return ExitCode::SUCCESS;
        }
        Mode::Help { unknown } => {
            eprintln!("{}", args::usage(&options.address, unknown.as_deref()));
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(ServeError::Handshake(HandshakeError::NotAPlugin)) => {
            eprintln!("{}", args::usage(&options.address, None));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("The provider could not be started: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Why a provider did not serve.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("the parent's handshake is unusable")]
    Handshake(#[from] HandshakeError),
    #[error("TLS could not be set up")]
    Tls(#[from] TlsSetupError),
    #[error("the runtime could not be started")]
    Runtime(#[source] io::Error),
    #[error("no socket could be opened")]
    Listen(#[source] io::Error),
    #[error("the address could not be told on standard output")]
    Announce(#[source] io::Error),
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn run_plugin(options: &ServeOptions, provider: impl Provider) -> Result<(), ServeError> {
    let parent = Parent::from_env(variable)?;
    panic::install_hook();
    let identity = parent.client_cert.as_deref().map(tls::identity).transpose()?;
    in_runtime(async {
        let running = Running::new(options, provider);
        signals::watch(OnInterrupt::Ignore, running.life.clone());
        let listener = Listener::bind(&parent.socket, parent.ports).map_err(ServeError::Listen)?;
        let certificate = identity.as_ref().map(|identity| identity.certificate.as_ref());
        announce(&parent.line(listener.address(), certificate))?;
        crate::log::install(options.name(), variable);
        orphan::watch(running.life.clone(), running.visitors.clone());
        running
            .serve(listener, identity.map(|identity| identity.config))
            .await;
        Ok(())
    })
}

fn run_debug(options: &ServeOptions, provider: impl Provider) -> Result<(), ServeError> {
    panic::install_hook();
    in_runtime(async {
        let running = Running::new(options, provider);
        signals::watch(OnInterrupt::End, running.life.clone());
        let listener =
            Listener::bind(&SocketWish::default(), PortRange::default()).map_err(ServeError::Listen)?;
        crate::log::install(options.name(), variable);
        announce(&crate::debug::instructions(
            &options.address,
            std::process::id(),
            listener.address(),
        ))?;
        running.serve(listener, None).await;
        Ok(())
    })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn in_runtime(work: impl Future<Output = Result<(), ServeError>>) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(ServeError::Runtime)?;
    let outcome = runtime.block_on(work);
    // An operation that would not come to rest must not hold the process either.
    runtime.shutdown_background();
    outcome
}

fn announce(line: &str) -> Result<(), ServeError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(ServeError::Announce)
}

/// A provider that serves.
struct Running {
    server: Arc<Server>,
    life: Arc<Life>,
    visitors: Arc<Visitors>,
}

impl Running {
    fn new(options: &ServeOptions, provider: impl Provider) -> Self {
        let life = Arc::new(Life::default());
        let server = Arc::new(Server::new(Arc::new(provider), life.clone(), options.self_check));
        Self {
            server,
            life,
            visitors: Arc::default(),
        }
    }

    async fn serve(self, listener: Listener, tls: Option<Arc<rustls::ServerConfig>>) {
        let services = Services::new(self.server.clone(), &self.life);
        let serving = connection::serve(listener, tls, services, &self.life, &self.visitors);
        let ending = async {
            match self.life.ended().await {
                End::Asked => self.take_leave().await,
                End::Abandoned => self.come_to_rest().await,
            }
        };
        let (open, ()) = tokio::join!(serving, ending);
        let _ = tokio::time::timeout(GOODBYE, open.wait()).await;
    }

    /// Terraform has all answers: the provider finishes what it keeps for this moment.
    async fn take_leave(&self) {
        self.life.cancel_operations();
        let shutdown = panic::caught(self.server.provider().shutdown());
        match tokio::time::timeout(SHUTDOWN, shutdown).await {
            Ok(Ok(())) => {}
            Ok(Err(panicked)) => tracing::error!(message = panicked.message, "shutdown panicked"),
            Err(_) => tracing::warn!("shutdown took too long and was left unfinished"),
        }
    }

    /// Nobody may be left to receive an answer: operations end where they can be taken up again, and what the
    /// provider does only when all answers arrived is left out.
    async fn come_to_rest(&self) {
        self.server.stop();
        self.life.running.close();
        let _ = tokio::time::timeout(ABANDONED, self.life.running.wait()).await;
    }
}

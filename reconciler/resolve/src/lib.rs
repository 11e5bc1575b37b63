//! Names to addresses without NSS.
//!
//! The released executable is static, and a static glibc cannot load NSS modules: `getaddrinfo` fails there or
//! crashes. So on Linux names are looked up in /etc/hosts and by DNS as /etc/resolv.conf says, in every build
//! alike, and what is tested is what is shipped. Elsewhere the system's resolver knows things (per-link DNS,
//! VPNs) that no file tells, and the executable is not static.
//!
//! [`connect`] goes on from there: to the first of the addresses that answers.

mod connect;

use std::net::SocketAddr;

pub use connect::{connect, place};

#[cfg(target_os = "linux")]
pub use dns::Resolver;
#[cfg(not(target_os = "linux"))]
pub use system::Resolver;

#[cfg(target_os = "linux")]
mod dns {
    use std::net::IpAddr;
    use std::sync::OnceLock;

    use hickory_resolver::TokioResolver;
    use hickory_resolver::config::{NameServerConfig, ResolverConfig};
    use hickory_resolver::net::NetError;
    use hickory_resolver::net::runtime::TokioRuntimeProvider;

    use super::SocketAddr;

    /// Reads its configuration at the first name.
    #[derive(Default)]
    pub struct Resolver(OnceLock<Result<TokioResolver, String>>);

    impl Resolver {
        /// The addresses of a host, or of an address in writing.
        pub async fn lookup(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
            if let Ok(address) = host.parse::<IpAddr>() {
                return Ok(vec![SocketAddr::new(address, port)]);
            }
            let resolver = self.0.get_or_init(|| build().map_err(|error| error.to_string()));
            let resolver = resolver.as_ref().map_err(Clone::clone)?;
            let found = resolver
                .lookup_ip(host)
                .await
                .map_err(|error| explained(&error))?;
            Ok(found.iter().map(|ip| SocketAddr::new(ip, port)).collect())
        }
    }

    fn explained(error: &NetError) -> String {
        if error.is_no_records_found() || error.is_nx_domain() {
            return "neither /etc/hosts nor the DNS servers of /etc/resolv.conf know this name".to_owned();
        }
        error.to_string()
    }

    fn build() -> Result<TokioResolver, NetError> {
        match TokioResolver::builder_tokio() {
            Ok(builder) => builder.build(),
            // No or no usable resolv.conf: then, as resolv.conf(5) has it, the server on this computer.
            Err(_) => {
                let here = NameServerConfig::udp_and_tcp(IpAddr::from([127, 0, 0, 1]));
                let config = ResolverConfig::from_name_servers(vec![here]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build()
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::SocketAddr;

    /// The system's own.
    #[derive(Default)]
    pub struct Resolver;

    impl Resolver {
        /// The addresses of a host, or of an address in writing.
        pub async fn lookup(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
            let found = tokio::net::lookup_host((host, port))
                .await
                .map_err(|error| error.to_string())?;
            Ok(found.collect())
        }
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_is_found_without_asking_anybody() {
        let found = Resolver::default().lookup("localhost", 80).await.unwrap();
        assert!(
            !found.is_empty() && found.iter().all(|address| address.ip().is_loopback()),
            "{found:?}"
        );
    }
}

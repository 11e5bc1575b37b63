//! What may be read and called for an image, where its source is named by somebody else than who runs the engine: files
//! below certain directories, and servers that everybody reaches or whose network is named.
//!
//! It is the address that is connected to that counts, and the file that is opened: names may lead elsewhere at the second
//! look, redirects anywhere, and a link out of its directory.

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use url::Url;

use super::digest::Sha256Digest;
use super::error::Fault;

/// What may be read and called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Everything: who names the sources runs the engine.
    #[default]
    Everything,
    /// What everybody reaches, and what is said here.
    Bounded {
        /// Directories of the engine's computer, with all below.
        directories: Vec<PathBuf>,
        /// Networks that are not everybody's.
        networks: Vec<IpNet>,
        /// Where files lie that whoever names a source has sent, each under its digest.
        uploads: Option<PathBuf>,
    },
}

impl Reach {
    /// Whether a server's address may be called, by the name that it was looked up by.
    pub(crate) fn allows_address(&self, host: &str, address: IpAddr) -> Result<(), Fault> {
        self.judged(host, address).map_err(Fault::OutOfReach)
    }

    fn judged(&self, host: &str, address: IpAddr) -> Result<(), String> {
        let Self::Bounded { networks, .. } = self else {
            return Ok(());
        };
        let address = meant(address);
        if is_everybodys(address) || networks.iter().any(|network| network.contains(&address)) {
            return Ok(());
        }
        Err(format!(
            "{host} has the address {address}, which is of a private or special network: such are called only where \
             image_networks names them in the server's configuration"
        ))
    }

    /// Whether a URL may be called as far as it says itself; where its name leads is seen when it is.
    ///
    /// # Errors
    /// Why not.
    pub fn allows_url(&self, url: &Url) -> Result<(), String> {
        let address = match url.host() {
            Some(url::Host::Ipv4(address)) => IpAddr::V4(address),
            Some(url::Host::Ipv6(address)) => IpAddr::V6(address),
            Some(url::Host::Domain(_)) | None => return Ok(()),
        };
        self.judged(url.host_str().unwrap_or_default(), address)
    }

    /// The file that is meant by a path, with all links followed, if it may be read. One that is to have a digest under
    /// which a file was sent is that file, wherever it lay for whoever sent it.
    pub(crate) async fn allowed_file(
        &self,
        path: &Path,
        expected: Option<Sha256Digest>,
    ) -> Result<PathBuf, Fault> {
        let Self::Bounded {
            directories, uploads, ..
        } = self
        else {
            return Ok(path.to_owned());
        };
        if let (Some(uploads), Some(expected)) = (uploads, expected) {
            let sent = uploads.join(expected.to_string());
            if tokio::fs::symlink_metadata(&sent)
                .await
                .is_ok_and(|file| file.is_file())
            {
                return Ok(sent);
            }
        }
        let out_of_reach = || {
            Fault::OutOfReach(
                "files of the server's computer are images only below what image_directories says in its configuration"
                    .to_owned(),
            )
        };
        // What is not there and what may not be read are told alike, or the answer would tell what files there are.
        let real = tokio::fs::canonicalize(path).await.map_err(|_| out_of_reach())?;
        for directory in directories {
            if let Ok(directory) = tokio::fs::canonicalize(directory).await
                && real.starts_with(&directory)
            {
                return Ok(real);
            }
        }
        Err(out_of_reach())
    }
}

/// The address that is reached: IPv4 within IPv6 is IPv4.
fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return IpAddr::V4(v4);
    }
    let segments = v6.segments();
    let v4_of = |high: u16, low: u16| IpAddr::V4((u32::from(high) << 16 | u32::from(low)).into());
    match segments {
        // NAT64 (RFC 6052) and 6to4 (RFC 3056).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4_of(high, low),
        [0x2002, high, low, ..] => v4_of(high, low),
        _ => address,
    }
}

/// Whether an address is one of the public internet (IANA's registries of special-purpose addresses).
fn is_everybodys(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let special = v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_documentation()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (b == 18 || b == 19));
            !special
        }
        // All that is global is in 2000::/3.
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            let documentation = first == 0x2001 && v6.segments()[1] == 0xdb8;
            let teredo = first == 0x2001 && v6.segments()[1] == 0;
            (first & 0xe000) == 0x2000 && !documentation && !teredo && v6 != Ipv6Addr::UNSPECIFIED
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_everybody_and_of_named_networks_are_called() {
        let reach = Reach::Bounded {
            directories: Vec::new(),
            networks: vec!["10.1.0.0/16".parse().unwrap(), "fd00:1::/32".parse().unwrap()],
            uploads: None,
        };
        let may = |text: &str| reach.allows_address("x", text.parse().unwrap()).is_ok();
        for address in [
            "8.8.8.8",
            "2606:4700::1",
            "10.1.2.3",
            "fd00:1::5",
            "::ffff:10.1.2.3",
            "64:ff9b::808:808",
        ] {
            assert!(may(address), "{address}");
        }
        for address in [
            "127.0.0.1",
            "0.0.0.0",
            "10.2.0.1",
            "172.16.5.4",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00:2::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            assert!(!may(address), "{address}");
        }
        assert!(
            Reach::Everything
                .allows_address("x", "127.0.0.1".parse().unwrap())
                .is_ok()
        );
    }

    #[tokio::test]
    async fn a_link_out_of_its_directory_is_not_followed() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let secret = outside.path().join("shadow");
        std::fs::write(&secret, "root").unwrap();
        let (link, own) = (inside.path().join("link"), inside.path().join("own"));
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        std::fs::write(&own, "image").unwrap();
        let reach = Reach::Bounded {
            directories: vec![inside.path().to_owned()],
            networks: Vec::new(),
            uploads: Some(inside.path().to_owned()),
        };
        let digest = Sha256Digest::of(b"sent");
        let sent = inside.path().join(digest.to_string());
        std::fs::write(&sent, "sent").unwrap();
        let runners = Path::new("/home/runner/image.qcow2");
        assert_eq!(reach.allowed_file(runners, Some(digest)).await.unwrap(), sent);
        assert!(reach.allowed_file(&own, None).await.is_ok());
        for path in [&link, &secret, &inside.path().join("none")] {
            let refused = reach.allowed_file(path, None).await.unwrap_err();
            assert!(refused.to_string().contains("image_directories"), "{refused}");
        }
    }
}

//! What users may name as a source. An API's user is not who configures the server: what he names must not make the server
//! read its own files, nor call addresses that only it reaches, nor hand out files of the hosts, unless the configuration
//! says so.
//!
//! Here what a configuration says at once is refused, with the attribute and the key of the server's configuration. What
//! only shows when an image is fetched (where a name leads, where a redirect does, what a link points at) is refused there,
//! by `labyard_reconciler::image::Reach`, by the address that is connected to and the file that is opened.

use super::handlers::invalid;
use crate::{config::Config, failure::Failure};
use ipnet::IpNet;
use labyard_api::attributes::pointed;
use labyard_reconciler::{
    desired::{DesiredImage, DesiredMachine},
    identity,
    image::{ImageSource, Reach, StreamedSource},
    want,
};
use labyard_schema::vm::Vm;
use std::path::{Component, Path, PathBuf};

/// What users may name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// Directories of the server's own computer.
    directories: Vec<PathBuf>,
    /// Directories of the hosts.
    host_directories: Vec<PathBuf>,
    /// Networks that are not everybody's.
    networks: Vec<IpNet>,
    /// Where images lie that callers have sent.
    uploads: Option<PathBuf>,
}

impl Sources {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            directories: config.image_directories.clone(),
            host_directories: config.host_directories.clone(),
            networks: config.image_networks.clone(),
            uploads: config.uploads.as_ref().map(|uploads| uploads.directory.clone()),
        }
    }

    /// Whether a caller has sent an image of that digest.
    fn has(&self, digest: Option<&str>) -> bool {
        let is_digest = |text: &&str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match (&self.uploads, digest.filter(is_digest)) {
            (Some(uploads), Some(digest)) => uploads.join(digest).is_file(),
            _ => false,
        }
    }

    /// What is fetched may come from there alone.
    pub(crate) fn reach(&self) -> Reach {
        Reach::Bounded {
            directories: self.directories.clone(),
            networks: self.networks.clone(),
            uploads: self.uploads.clone(),
        }
    }
}

/// Whether a path lies below one of these, without leaving it on the way.
fn below(path: &str, directories: &[PathBuf]) -> bool {
    let path = Path::new(path);
    let straight = path.components().all(|part| part != Component::ParentDir);
    straight && directories.iter().any(|directory| path.starts_with(directory))
}

/// Whether a file of a host may be named.
pub(crate) fn on_host(sources: &Sources, path: &str) -> Result<(), String> {
    let name = path.rsplit('/').next().unwrap_or_default();
    if identity::names_a_volume(name) {
        return Err(format!(
            "{path} is a volume that labyard made, of somebody's machine: name an image beside the storage pools"
        ));
    }
    match below(path, &sources.host_directories) {
        true => Ok(()),
        false => Err(format!(
            "{path} is a file of the host: such are named only below what host_directories says in the server's \
             configuration"
        )),
    }
}

/// Whether a source of an image may be named.
fn image(sources: &Sources, source: &str, digest: Option<&str>) -> Result<(), String> {
    if let Some(path) = want::on_host(source) {
        return on_host(sources, path);
    }
    let parsed: ImageSource = source.parse().map_err(|error| format!("{error}"))?;
    match parsed {
        ImageSource::Streamed(StreamedSource::File(_)) if sources.has(digest) => Ok(()),
        ImageSource::Streamed(StreamedSource::File(path)) => {
            match below(&path.to_string_lossy(), &sources.directories) {
                true => Ok(()),
                false => Err(
                    "files of the server's computer are images only below what image_directories says in its \
                     configuration: give a URL, a file there, or the sha256 of a file that was sent (PUT /v1/uploads)"
                        .to_owned(),
                ),
            }
        }
        ImageSource::Streamed(StreamedSource::Web(url)) => sources.reach().allows_url(&url),
        ImageSource::OnHost(_) | ImageSource::Kept(_) => Ok(()),
    }
}

/// What a machine names.
struct Named<'a> {
    at: String,
    source: Source<'a>,
}

enum Source<'a> {
    Image(&'a str, Option<&'a str>),
    HostFile(&'a str),
}

fn refused<'a>(sources: &Sources, named: impl Iterator<Item = Named<'a>>) -> Result<(), Failure> {
    let mut problem = invalid();
    for Named { at, source } in named {
        let judged = match source {
            Source::Image(source, digest) => image(sources, source, digest),
            Source::HostFile(path) => on_host(sources, path),
        };
        if let Err(why) = judged {
            problem = problem.wrong(at, why);
        }
    }
    match problem.errors.is_empty() {
        true => Ok(()),
        false => Err(problem.into()),
    }
}

/// Whether a machine, as it is written, names only what it may.
pub(crate) fn of_vm(sources: &Sources, vm: &Vm, at: &str) -> Result<(), Failure> {
    let disks = vm.disks.iter().flatten().filter_map(|(key, disk)| {
        let image = disk.image.as_ref()?;
        Some(("disks", key, &image.source, image.sha256.as_deref()))
    });
    let media = vm.media.iter().flatten().filter_map(|(key, drive)| {
        let image = drive.image.as_ref()?;
        Some(("media", key, &image.source, image.sha256.as_deref()))
    });
    let images = disks.chain(media).map(|(kind, key, source, digest)| Named {
        at: format!("{at}/{kind}/{}/image/source", pointed(key)),
        source: Source::Image(source, digest),
    });
    let boot = vm.boot.as_ref();
    let files = [
        ("kernel", boot.and_then(|boot| boot.kernel.as_deref())),
        ("initrd", boot.and_then(|boot| boot.initrd.as_deref())),
    ];
    let files = files.into_iter().filter_map(|(name, path)| {
        Some(Named {
            at: format!("{at}/boot/{name}"),
            source: Source::HostFile(path?),
        })
    });
    refused(sources, images.chain(files))
}

/// Whether a machine, as an engine has decided it, names only what it may. Files that the machine was made of already were
/// judged then, may be gone since, and are judged again should they be read.
pub(crate) fn of_desired(
    sources: &Sources,
    desired: &DesiredMachine,
    known: Option<&DesiredMachine>,
) -> Result<(), Failure> {
    let file = |image: &DesiredImage| {
        let source = image.source.parse::<ImageSource>();
        matches!(source, Ok(ImageSource::Streamed(StreamedSource::File(_))))
    };
    let made_of = |image: &DesiredImage| {
        let mut before = known.into_iter().flat_map(|known| {
            let disks = known.disks.values().filter_map(|disk| disk.image.as_ref());
            disks.chain(known.media.values().filter_map(|drive| drive.image.as_ref()))
        });
        file(image) && before.any(|before| before == image)
    };
    let disks = desired
        .disks
        .iter()
        .filter_map(|(key, disk)| Some(("disks", key.as_str(), disk.image.as_ref()?)));
    let media = desired
        .media
        .iter()
        .filter_map(|(key, drive)| Some(("media", key.as_str(), drive.image.as_ref()?)));
    let judged = disks.chain(media).filter(|&(_, _, image)| !made_of(image));
    let images = judged.map(|(kind, key, image)| Named {
        at: format!("/desired/{kind}/{}/image/source", pointed(key)),
        source: Source::Image(&image.source, image.digest.as_ref().map(|digest| digest.as_str())),
    });
    let boot = desired.direct_boot.as_ref();
    let kernel = boot.map(|boot| ("kernel", boot.kernel.as_str()));
    let initrd = boot.and_then(|boot| Some(("initrd", boot.initrd.as_deref()?)));
    let files = kernel.into_iter().chain(initrd).map(|(name, path)| Named {
        at: format!("/desired/boot/{name}"),
        source: Source::HostFile(path),
    });
    refused(sources, images.chain(files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_names_only_what_the_configuration_allows_and_is_told_the_key() {
        let sources = Sources {
            directories: vec!["/srv/images".into()],
            host_directories: vec!["/var/lib/images".into()],
            networks: vec!["10.1.0.0/16".parse().unwrap()],
            uploads: None,
        };
        for (source, key) in [
            ("file:/srv/images/a.qcow2", ""),
            ("file:/srv/images/../../etc/shadow", "image_directories"),
            ("file:/etc/shadow", "image_directories"),
            ("host:/var/lib/images/a.qcow2", ""),
            ("host:/etc/shadow", "host_directories"),
            (
                "host:/var/lib/images/web.root.0123456789abcdef0123456789abcdef",
                "storage pools",
            ),
            ("host:///etc/shadow", "host_directories"),
            ("https://images.example/a.qcow2", ""),
            ("http://127.0.0.1:7443/metrics", "image_networks"),
            ("http://[::1]/x", "image_networks"),
            (
                "http://[::ffff:169.254.169.254]/latest/meta-data",
                "image_networks",
            ),
            ("http://2130706433/x", "image_networks"),
            ("http://10.1.2.3/a.qcow2", ""),
            ("http://10.2.2.3/a.qcow2", "image_networks"),
        ] {
            match image(&sources, source, None) {
                Ok(()) => assert_eq!(key, "", "{source}"),
                Err(why) => assert!(!key.is_empty() && why.contains(key), "{source}: {why}"),
            }
        }
        let boot = labyard_schema::vm::Boot {
            kernel: Some("/etc/shadow".into()),
            ..Default::default()
        };
        let vm = Vm {
            boot: Some(boot),
            ..Vm::default()
        };
        let refused = of_vm(&sources, &vm, "/attributes").unwrap_err();
        assert_eq!(refused.0.errors[0].at, "/attributes/boot/kernel");
    }
}

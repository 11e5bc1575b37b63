//! Images on their way to a host: by HTTPS from an authority of one's own, verified, once however many ask, into a
//! pool that has room; and whatever goes wrong leaves the daemon alive and the pool as it was.

use labyard_acceptance_tests::assets::GuestFiles;
use labyard_acceptance_tests::command::output_of;
use labyard_acceptance_tests::host::{Host, HostOptions};
use labyard_acceptance_tests::terraform::Run;
use labyard_acceptance_tests::web::Web;
use labyard_acceptance_tests::whole::write_image;
use labyard_acceptance_tests::{Terraform, hcl};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

fn config(host: &Host, names: &[&str], source: &str, sha256: Option<&str>) -> String {
    let sha256 = sha256
        .map(|digest| format!(", sha256 = {digest:?}"))
        .unwrap_or_default();
    let body = format!(
        "memory_mib = 64\n  power = \"stopped\"\n  disks = {{ root = {{ image = {{ source = {source:?}{sha256} }} }} }}"
    );
    let machines: String = names.iter().map(|name| hcl::machine(name, &body)).collect();
    hcl::on(host) + &machines
}

fn sha256_of(path: &Path) -> String {
    let line = output_of(Command::new("sha256sum").arg(path)).unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

fn volumes(host: &Host, pool: &str) -> Vec<String> {
    let all = host.observer().unwrap().volumes(pool).unwrap();
    all.into_iter().map(|volume| volume.name).collect()
}

fn daemon(host: &Host) -> u32 {
    let all = host.processes().unwrap();
    all.iter().find(|process| process.kind == "libvirtd").unwrap().id
}

#[track_caller]
fn assert_told(run: &Run, words: &[&str]) {
    let said: String = run.errors().iter().map(|error| error.text() + "\n").collect();
    for word in words {
        assert!(said.contains(word), "no {word:?} in:\n{said}");
    }
}

/// A web server with TLS that is not ours: `openssl s_server`, with a certificate of an authority made for the test.
struct Https {
    files: TempDir,
    server: Child,
    address: String,
}

impl Https {
    /// Serves what is put into its directory.
    fn start() -> Self {
        let files = TempDir::new().unwrap();
        let openssl = |arguments: &str| {
            let mut command = Command::new("openssl");
            command.current_dir(files.path()).args(arguments.split(' '));
            output_of(&mut command).unwrap();
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(&format!(
            "req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=authority -days 2"
        ));
        openssl(&format!(
            "req {key} -keyout key.pem -out request.pem -subj /CN=server"
        ));
        std::fs::write(
            files.path().join("names"),
            "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n",
        )
        .unwrap();
        openssl(
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names -out cert.pem -days 2",
        );
        let mut server = Command::new("openssl")
            .current_dir(files.path())
            .args([
                "s_server",
                "-accept",
                "127.0.0.1:0",
                "-WWW",
                "-cert",
                "cert.pem",
                "-key",
                "key.pem",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(server.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("ACCEPT ") {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "no word of an address");
        }
        // Read on, lest a full pipe hold it up.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let address = line["ACCEPT ".len()..].trim().to_owned();
        Self {
            files,
            server,
            address,
        }
    }

    fn url(&self, file: &str) -> String {
        format!("https://{}/{file}", self.address)
    }

    fn authority(&self) -> String {
        self.files.path().join("ca.pem").display().to_string()
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn an_image_comes_by_https_from_an_authority_of_ones_own_and_is_verified() {
    let host = &Host::start().unwrap();
    let web = Https::start();
    let image = web.files.path().join("image.qcow2");
    std::fs::copy(GuestFiles::get().disk(), &image).unwrap();
    let (digest, url) = (sha256_of(&image), web.url("image.qcow2"));
    let mut terraform = Terraform::new().unwrap();

    terraform
        .write("main.tf", &config(host, &["web"], &url, None))
        .unwrap();
    assert_told(&terraform.apply(&[]).unwrap().expect_failure(), &["certificate"]);
    terraform.env("SSL_CERT_FILE", &web.authority());

    let wrong = "0".repeat(64);
    terraform
        .write("main.tf", &config(host, &["web"], &url, Some(&wrong)))
        .unwrap();
    let run = terraform.apply(&[]).unwrap().expect_failure();
    assert_told(&run, &[&wrong, &digest]);
    assert_eq!(
        volumes(host, "default"),
        [""; 0],
        "nothing of a wrong image is kept"
    );

    for sha256 in [None, Some(digest.as_str())] {
        terraform
            .write("main.tf", &config(host, &["web"], &url, sha256))
            .unwrap();
        terraform.apply(&[]).unwrap().expect_success();
        terraform.plan(&[]).unwrap().expect_empty();
        let digests = &terraform.attributes("labyard_vm.web").unwrap().unwrap()["image_digests"];
        assert_eq!(digests["root"], digest.as_str());
        terraform.destroy(&[]).unwrap().expect_success();
        assert_eq!(volumes(host, "default"), [""; 0]);
    }
}

#[test]
fn ten_machines_that_ask_at_once_share_one_upload() {
    let host = &Host::start().unwrap();
    let content = std::fs::read(GuestFiles::get().disk()).unwrap();
    let web = Web::serve(content, u64::MAX).unwrap();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let terraform = Terraform::new().unwrap();
    terraform
        .write("main.tf", &config(host, &names, &web.url(), None))
        .unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    assert_eq!(web.requests(), 1);
    let all = host.observer().unwrap().volumes("default").unwrap();
    let backed = all
        .iter()
        .filter(|volume| volume.xml.contains("<backingStore>"))
        .count();
    // The image itself and the empty volume that says it is whole.
    assert_eq!((all.len(), backed), (12, 10), "{:?}", volumes(host, "default"));
    terraform.plan(&[]).unwrap().expect_empty();
    terraform.destroy(&[]).unwrap().expect_success();
    assert_eq!(volumes(host, "default"), [""; 0]);
}

#[test]
fn an_image_without_room_in_its_pool_is_refused_and_the_daemon_lives() {
    let pools = vec![("tiny".to_owned(), "8M".to_owned())];
    let host = &Host::start_with(&HostOptions {
        tmpfs_pools: pools,
        ..HostOptions::default()
    })
    .unwrap();
    let files = TempDir::new().unwrap();
    let image = write_image(&files.path().join("large.qcow2"), 12 << 20).unwrap();
    let before = daemon(host);
    let terraform = Terraform::new().unwrap();
    let good = config(host, &["web"], &image, None);
    terraform
        .write(
            "main.tf",
            &good.replace("accelerator =", "storage_pool = \"tiny\", accelerator ="),
        )
        .unwrap();
    let run = terraform.apply(&[]).unwrap().expect_failure();
    assert_told(&run, &["room", "storage_pool"]);
    assert_eq!(daemon(host), before, "the same libvirtd");
    assert_eq!(volumes(host, "tiny"), [""; 0]);
    terraform.destroy(&[]).unwrap().expect_success();
    // The same image where there is room.
    terraform.write("main.tf", &good).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    terraform.destroy(&[]).unwrap().expect_success();
}

/// Promises a length and sends one byte more.
fn one_byte_more(content: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut asked = [0; 4096];
            if stream.read(&mut asked).is_err() {
                continue;
            }
            let promised = content.len() - 1;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {promised}\r\nConnection: close\r\n\r\n");
            // The client may hang up as soon as it sees too much; that is what it should do.
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&content));
        }
    });
    format!("http://{address}/image.qcow2")
}

#[test]
fn a_server_that_sends_a_byte_too_many_is_refused_and_the_daemon_lives() {
    let host = &Host::start().unwrap();
    let files = TempDir::new().unwrap();
    write_image(&files.path().join("image.qcow2"), 200_000).unwrap();
    let content = std::fs::read(files.path().join("image.qcow2")).unwrap();
    let before = daemon(host);
    let terraform = Terraform::new().unwrap();
    let url = one_byte_more(content);
    terraform
        .write("main.tf", &config(host, &["web"], &url, None))
        .unwrap();
    let run = terraform.apply(&[]).unwrap().expect_failure();
    assert_told(&run, &["promised"]);
    assert_eq!(daemon(host), before, "the same libvirtd");
    assert_eq!(volumes(host, "default"), [""; 0]);
    terraform.destroy(&[]).unwrap().expect_success();
    assert!(host.observer().unwrap().domains().unwrap().is_empty());
}

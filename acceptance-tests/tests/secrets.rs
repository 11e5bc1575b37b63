//! Secrets pass through: what is given write-only is in the guest's seed, readable by root alone, and nowhere else, nor
//! is a digest of it: not in states, plan files, logs at their most talkative, process lists, errors, definitions,
//! marks, or any other file of the host.

use labyard_acceptance_tests::command::output_of;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::nocloud::SeedFiles;
use labyard_acceptance_tests::observer::Description;
use labyard_acceptance_tests::terraform::Run;
use labyard_acceptance_tests::{Terraform, hcl};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// By the variable that carries it. Words that stand nowhere else, short enough for Windows.
const SECRETS: [(&str, &str); 4] = [
    ("user_data", "sentinel-Q7-userdata"),
    ("linux_password", "sentinel-W3-linux-pw"),
    ("windows_password", "sentinel-E9-win-pwd"),
    ("join_password", "sentinel-R1-join-pwd"),
];

/// Text that tells a secret: itself, in base64 or hexadecimal, or one of its digests in either.
fn tells() -> BTreeMap<String, String> {
    const DIGESTS: &str = "import base64, hashlib, sys
for secret in sys.argv[1:]:
    for value in (secret, secret + '\\n', '#cloud-config\\n# ' + secret + '\\n'):
        raw = value.encode()
        forms = [('itself', raw)] + [(name, hashlib.new(name, raw).digest()) for name in ('md5', 'sha1', 'sha256', 'sha512')]
        for name, form in forms:
            # A run of base64 depends on where it begins: the middle of each of the three is told by itself.
            hidden = [base64.b64encode(b'x' * n + form)[4 if n else 0:-4] for n in range(3)]
            plain = [form] if name == 'itself' else []
            for told in plain + [form.hex().encode(), base64.urlsafe_b64encode(form).rstrip(b'=')] + hidden:
                print(secret, name, told.decode().replace('\\n', '').strip(), sep='\\t')";
    let mut python = Command::new("/usr/bin/python3");
    python
        .args(["-c", DIGESTS])
        .args(SECRETS.map(|(_, secret)| secret));
    let said = output_of(&mut python).unwrap();
    said.lines()
        .filter_map(|line| {
            let [secret, how, told] = line.split('\t').collect::<Vec<_>>().try_into().ok()?;
            (told.len() >= 12).then(|| (told.to_owned(), format!("{secret} ({how})")))
        })
        .collect()
}

/// Ends the test where any of the texts tells a secret.
#[track_caller]
fn assert_silent(tells: &BTreeMap<String, String>, place: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let found: Vec<_> = tells
        .iter()
        .filter(|(told, _)| text.contains(told.as_str()))
        .collect();
    assert!(found.is_empty(), "{place} tells {found:?}");
}

fn config(host: &Host, version: u32, more: &str) -> String {
    let variables: String = SECRETS
        .iter()
        .map(|(name, _)| format!("variable \"{name}\" {{\n  type = string\n  ephemeral = true\n}}\n"))
        .collect();
    let stopped = "memory_mib = 64\n  power = \"stopped\"";
    let linux = format!(
        "{stopped}\n  guest = {{ admin_username = \"ops\", admin_password_wo = var.linux_password, \
         admin_password_wo_version = {version} }}
  cloud_init = {{ user_data_wo = \"#cloud-config\\n# ${{var.user_data}}\\n\", user_data_wo_version = {version} }}\n  {more}"
    );
    let windows = format!(
        "{stopped}\n  guest = {{
    os_family = \"windows\", admin_username = \"ops\", admin_password_wo = var.windows_password
    admin_password_wo_version = {version}
    domain_join = {{
      domain = \"corp.test\", username = \"joiner\", password_wo = var.join_password, password_wo_version = {version}
    }}
  }}"
    );
    hcl::on(host) + &variables + &hcl::machine("linux", linux) + &hcl::machine("windows", windows)
}

/// Everything that is said of processes while something runs.
struct Watch<'a> {
    tells: &'a BTreeMap<String, String>,
    over: AtomicBool,
}

impl Watch<'_> {
    /// Arguments of every process. (Of environments only Terraform's own has the secrets: the test put them there.)
    fn look_until_over(&self) -> usize {
        let mut looks = 0;
        while !self.over.load(Ordering::Relaxed) {
            for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
                let Ok(arguments) = std::fs::read(entry.path().join("cmdline")) else {
                    continue;
                };
                assert_silent(
                    self.tells,
                    &format!("the arguments of {:?}", entry.path()),
                    &arguments,
                );
            }
            looks += 1;
            std::thread::park_timeout(Duration::from_millis(50));
        }
        looks
    }
}

fn watched(tells: &BTreeMap<String, String>, run: impl FnOnce() -> Run) -> Run {
    let watch = Watch {
        tells,
        over: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| watch.look_until_over());
        let ended = run();
        watch.over.store(true, Ordering::Relaxed);
        match looking.join() {
            Ok(looks) => assert!(looks > 0, "nobody looked"),
            Err(told) => std::panic::resume_unwind(told),
        }
        ended
    })
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_below(&entry.path()),
            Ok(kind) if kind.is_file() => vec![entry.path()],
            _ => Vec::new(),
        })
        .collect()
}

/// States, plans (also unpacked) and logs below Terraform's directory; definitions, marks, logs and every other file
/// of the host, its seeds excepted.
fn assert_nowhere(tells: &BTreeMap<String, String>, terraform: &Terraform<'_>, host: &Host, logs: &Path) {
    for plan in files_below(terraform.directory())
        .iter()
        .filter(|f| f.ends_with("plan.bin"))
    {
        let unpacked = Command::new("unzip")
            .arg("-p")
            .arg(plan)
            .stderr(Stdio::null())
            .output()
            .unwrap();
        assert!(unpacked.stdout.len() > 1000, "a plan file has parts");
        assert_silent(tells, "the unpacked plan", &unpacked.stdout);
    }
    let observer = host.observer().unwrap();
    let seeds: Vec<_> = observer
        .volumes("default")
        .unwrap()
        .into_iter()
        .filter(|volume| volume.name.contains(".seed."))
        .map(|volume| PathBuf::from(volume.path))
        .collect();
    let mut looked = 0;
    for directory in [terraform.directory(), logs, host.directory()] {
        for file in files_below(directory) {
            // Sockets' logs may go in mid-look.
            let Ok(bytes) = std::fs::read(&file) else { continue };
            if !seeds.iter().any(|seed| seed.file_name() == file.file_name()) {
                assert_silent(tells, &file.display().to_string(), &bytes);
                looked += 1;
            }
        }
    }
    assert!(looked > 10, "only {looked} files were there");
    for domain in observer.domains().unwrap() {
        let xml = observer
            .domain_xml(&domain.name, Description::Persistent)
            .unwrap();
        assert_silent(tells, &domain.name, xml.as_bytes());
    }
}

#[test]
fn what_is_given_write_only_is_in_the_seed_and_nowhere_else() {
    let host = &Host::start().unwrap();
    let tells = &tells();
    let logs = tempfile::tempdir().unwrap();
    let mut terraform = Terraform::new().unwrap();
    for (name, secret) in SECRETS {
        terraform.env(&format!("TF_VAR_{name}"), secret);
    }
    terraform.env("TF_LOG", "TRACE");
    terraform.env(
        "TF_LOG_PATH",
        &logs.path().join("terraform.log").display().to_string(),
    );
    let terraform = &terraform;
    let said = |run: &Run| assert_silent(tells, "what Terraform said", run.text().as_bytes());

    terraform.write("main.tf", &config(host, 1, "")).unwrap();
    let planned = terraform.plan(&[]).unwrap().expect_success();
    said(planned.run());
    assert_silent(tells, "the plan as JSON", planned.json().to_string().as_bytes());
    said(&watched(tells, || terraform.apply(&["plan.bin"]).unwrap()).expect_success());
    assert_in_seeds(host);
    assert_nowhere(tells, terraform, host, logs.path());

    // Renewed, refused and failing runs tell as little.
    terraform.write("main.tf", &config(host, 2, "")).unwrap();
    said(&watched(tells, || terraform.apply(&[]).unwrap()).expect_success());
    assert_in_seeds(host);
    terraform
        .write(
            "main.tf",
            &config(host, 3, "nics = { lan = { network = \"nowhere\" } }"),
        )
        .unwrap();
    said(&watched(tells, || terraform.apply(&[]).unwrap()).expect_failure());
    terraform
        .write(
            "main.tf",
            &config(host, 3, "").replace("\"windows\", admin", "\"linux\", admin"),
        )
        .unwrap();
    said(&terraform.apply(&[]).unwrap().expect_failure());
    terraform
        .write(
            "main.tf",
            &config(host, 3, "").replace("var.linux_password,", "\"${var.linux_password}\\n\","),
        )
        .unwrap();
    said(&terraform.apply(&[]).unwrap().expect_failure());
    assert_nowhere(tells, terraform, host, logs.path());

    terraform.write("main.tf", &config(host, 3, "")).unwrap();
    said(&terraform.destroy(&[]).unwrap().expect_success());
    let left = host.observer().unwrap().volumes("default").unwrap();
    assert!(left.is_empty(), "{left:?}");
    assert_nowhere(tells, terraform, host, logs.path());
    for file in files_below(&host.pool_directory()) {
        assert_silent(tells, &file.display().to_string(), &std::fs::read(&file).unwrap());
    }
}

#[track_caller]
fn assert_in_seeds(host: &Host) {
    let linux = SeedFiles::of(host, "linux").unwrap();
    assert!(linux.text("user-data").unwrap().contains(SECRETS[0].1));
    let told = linux.text("vendor-data").unwrap();
    assert!(told.contains("$6$rounds=") && !told.contains(SECRETS[1].1));
    let windows = SeedFiles::of(host, "windows").unwrap();
    assert!(windows.text("user-data").unwrap().contains("multipart/mixed"));
    for seed in [linux, windows] {
        assert_eq!(seed.mode(), 0o600, "{}", seed.volume().display());
    }
}

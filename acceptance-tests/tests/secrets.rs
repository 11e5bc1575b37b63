//! Secrets pass through: what is given write-only is in the guest's seed, readable by root alone, and nowhere else, nor
//! is a digest of it: not in states, plan files, logs at their most talkative, process lists, errors, definitions,
//! marks, or any other file of the host; nor in what a hook is asked, the journal, files that a run needs for a while, or
//! what a running guest is started with and says. The key that a hook's requests are signed with is nowhere at all.

use labyard_acceptance_tests::command::output_of;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::nocloud::SeedFiles;
use labyard_acceptance_tests::observer::Description;
use labyard_acceptance_tests::receiver::{Reply, Scripted};
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::terraform::Run;
use labyard_acceptance_tests::{Guest, Terraform, hcl};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// By the variable that carries it. Words that stand nowhere else, short enough for Windows.
const SECRETS: [(&str, &str); 5] = [
    ("user_data", "sentinel-Q7-userdata"),
    ("linux_password", "sentinel-W3-linux-pw"),
    ("windows_password", "sentinel-E9-win-pwd"),
    ("join_password", "sentinel-R1-join-pwd"),
    ("hook_secret", "sentinel-T6-hook-key"),
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

/// What a run has beside its directory, each thing in one of its own.
struct Surroundings {
    logs: TempDir,
    journal: TempDir,
    scratch: TempDir,
    hooks: Scripted,
    key: KeyPair,
}

impl Surroundings {
    fn of(terraform: &mut Terraform<'_>) -> Self {
        let directory = || tempfile::tempdir().unwrap();
        let all = Self {
            logs: directory(),
            journal: directory(),
            scratch: directory(),
            hooks: Scripted::start(),
            key: KeyPair::generate().unwrap(),
        };
        let mut env = |name: &str, path: &Path| terraform.env(name, &path.display().to_string());
        env("TF_LOG_PATH", &all.logs.path().join("terraform.log"));
        env("LABYARD_JOURNAL", all.journal.path());
        env("TMPDIR", all.scratch.path());
        all.hooks.script(&[Reply::Say("200 OK", "{}")]);
        all
    }

    /// The hook is asked in earnest, at the moment when most is known.
    fn provider(&self, host: &Host) -> String {
        let hook = format!(
            "{{ url = {:?}, secret = var.hook_secret, retries = 0 }}",
            self.hooks.url()
        );
        let hooks = ["before:define", "after:finished"].map(|moment| {
            format!(
                "    {moment:?} = {}\n",
                hook.replace("retries", "on_update = true, retries")
            )
        });
        hcl::provider_of(
            &format!("  hooks = {{\n{}  }}\n", hooks.concat()),
            &[("lab1", &host.uri())],
        )
    }

    /// A guest that runs, told its secret by its seed.
    fn running(&self, version: u32) -> String {
        let body = format!(
            "memory_mib = 128\n  {}\n  nics = {{ lan = {{ network = labyard_network.lab.name }} }}
  cloud_init = {{
    user_data_wo = \"#cloud-config\\n# ${{var.user_data}}\\nssh_authorized_keys:\\n  - {}\\n\"
    user_data_wo_version = {version}
  }}
  shutdown = {{ mode = \"force\" }}",
            hcl::boot(""),
            self.key.public
        );
        hcl::network("lab", 77) + &hcl::machine("awake", body)
    }

    /// What the hook was asked: signed each time, and nothing in it.
    #[track_caller]
    fn assert_asked_in_silence(&self, tells: &BTreeMap<String, String>) {
        let asked = self.hooks.asked();
        assert!(!asked.is_empty(), "nobody asked the hook");
        for one in asked {
            assert!(one.header("labyard-signature").contains("v1="), "{}", one.head);
            let whole = format!("{}{}", one.head, one.body);
            assert_silent(tells, "what a hook is asked", whole.as_bytes());
        }
    }

    /// What a guest was started with and wrote of itself, beside the seed, which it keeps to itself.
    #[track_caller]
    fn assert_guest_silent(&self, tells: &BTreeMap<String, String>, terraform: &Terraform<'_>, host: &Host) {
        let mac = terraform.resource("labyard_vm.awake")["macs"]["lan"].clone();
        let guest = Guest::by_lease(host, "lab", mac.as_str().unwrap(), &self.key, SOON).unwrap();
        guest.wait_for_ssh(SOON).unwrap();
        let told = guest.run("cat /run/seed/user-data").unwrap();
        assert!(told.contains(SECRETS[0].1), "the guest was told: {told}");
        let said = guest
            .run("dmesg; cat /proc/cmdline /proc/[0-9]*/cmdline /sys/class/dmi/id/* /var/log/* 2>/dev/null; true")
            .unwrap();
        assert!(said.contains("console=ttyS0"), "{said}");
        assert_silent(tells, "the guest's log", said.as_bytes());
        let live = host
            .observer()
            .unwrap()
            .domain_xml("awake", Description::Live)
            .unwrap();
        assert_silent(tells, "awake as it runs", live.as_bytes());
        let log = std::fs::read(host.directory().join("log/qemu/awake.log")).unwrap();
        assert!(log.len() > 1000, "QEMU's arguments stand in its log");
        assert_silent(tells, "QEMU's log", &log);
    }
}

const SOON: Duration = Duration::from_secs(60);

fn config(around: &Surroundings, host: &Host, version: u32, more: &str) -> String {
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
    around.provider(host)
        + &variables
        + &around.running(version)
        + &hcl::machine("linux", linux)
        + &hcl::machine("windows", windows)
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
fn assert_nowhere(
    tells: &BTreeMap<String, String>,
    terraform: &Terraform<'_>,
    host: &Host,
    around: &Surroundings,
) {
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
    assert!(
        !files_below(around.journal.path()).is_empty(),
        "a journal was kept"
    );
    for directory in [
        terraform.directory(),
        around.logs.path(),
        around.journal.path(),
        around.scratch.path(),
        host.directory(),
    ] {
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
    let mut terraform = Terraform::new().unwrap();
    let around = &Surroundings::of(&mut terraform);
    for (name, secret) in SECRETS {
        terraform.env(&format!("TF_VAR_{name}"), secret);
    }
    terraform.env("TF_LOG", "TRACE");
    let terraform = &terraform;
    let said = |run: &Run| assert_silent(tells, "what Terraform said", run.text().as_bytes());

    terraform.write("main.tf", &config(around, host, 1, "")).unwrap();
    let planned = terraform.plan(&[]).unwrap().expect_success();
    said(planned.run());
    assert_silent(tells, "the plan as JSON", planned.json().to_string().as_bytes());
    said(&watched(tells, || terraform.apply(&["plan.bin"]).unwrap()).expect_success());
    assert_in_seeds(host);
    assert_nowhere(tells, terraform, host, around);
    around.assert_asked_in_silence(tells);
    around.assert_guest_silent(tells, terraform, host);

    // Renewed, refused and failing runs tell as little.
    terraform.write("main.tf", &config(around, host, 2, "")).unwrap();
    said(&watched(tells, || terraform.apply(&[]).unwrap()).expect_success());
    assert_in_seeds(host);
    terraform
        .write(
            "main.tf",
            &config(around, host, 3, "nics = { lan = { network = \"nowhere\" } }"),
        )
        .unwrap();
    said(&watched(tells, || terraform.apply(&[]).unwrap()).expect_failure());
    terraform
        .write(
            "main.tf",
            &config(around, host, 3, "").replace("\"windows\", admin", "\"linux\", admin"),
        )
        .unwrap();
    said(&terraform.apply(&[]).unwrap().expect_failure());
    terraform
        .write(
            "main.tf",
            &config(around, host, 3, "").replace("var.linux_password,", "\"${var.linux_password}\\n\","),
        )
        .unwrap();
    said(&terraform.apply(&[]).unwrap().expect_failure());

    // A hook that fails is told with what it said, which is nothing of what it was asked or signed with.
    around.hooks.script(&[Reply::Say("403 Forbidden", "not you")]);
    terraform
        .write("main.tf", &config(around, host, 3, "cpus = 2"))
        .unwrap();
    let refused = watched(tells, || terraform.apply(&[]).unwrap()).expect_failure();
    assert!(refused.text().contains("403 (not you)"), "{}", refused.text());
    said(&refused);
    around.assert_asked_in_silence(tells);
    around.hooks.script(&[Reply::Say("200 OK", "{}")]);
    assert_nowhere(tells, terraform, host, around);

    terraform.write("main.tf", &config(around, host, 3, "")).unwrap();
    said(&watched(tells, || terraform.destroy(&[]).unwrap()).expect_success());
    let left = host.observer().unwrap().volumes("default").unwrap();
    assert!(left.is_empty(), "{left:?}");
    assert_nowhere(tells, terraform, host, around);
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

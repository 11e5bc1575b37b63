//! An identity provider of the test's own: glewlwyd as Debian packages it, on a port of this computer, with its SQLite file, and a
//! browser that is curl.

use crate::daemon::until;
use serde_json::{Value, json};
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const TABLES: &str = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3";
const CONFIGURATION: &str = "/etc/glewlwyd/glewlwyd.conf";

/// Whether it is here; where it is not, that is said.
pub(crate) fn is_installed() -> bool {
    let there = Path::new(TABLES).exists() && Path::new(CONFIGURATION).exists();
    if !there {
        eprintln!("SKIPPED: glewlwyd is not installed (Debian: glewlwyd), nobody signed in");
    }
    there
}

/// The provider.
pub(crate) struct Glewlwyd {
    child: Child,
    directory: tempfile::TempDir,
    pub(crate) url: String,
}

impl Glewlwyd {
    /// One that knows this client with its secret, and the people ada (`lab-admins`), ben (`physics`) and eve (neither).
    pub(crate) fn start(redirect_url: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let url = format!("http://127.0.0.1:{port}");
        let tables = std::fs::read_to_string(TABLES).unwrap();
        let file = directory.path().join("glewlwyd.db");
        labyard_store::testing::Database::at(&file).sql(&tables);
        let mut child = Command::new("glewlwyd")
            .arg(format!(
                "--config-file={}",
                configured(directory.path(), &file, port).display()
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("the identity provider answers", || {
            assert!(child.try_wait().unwrap().is_none(), "glewlwyd has ended");
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        let made = Self {
            child,
            directory,
            url,
        };
        made.signs_in("admin", "password");
        made.key_is_new("POST");
        made.sent("admin", "POST", "client/", &json!({
            "client_id": "labyard", "name": "labyard", "enabled": true, "confidential": true, "password": "geheim",
            "client_secret": "geheim", "redirect_uri": [redirect_url], "authorization_type": ["code"],
            "token_endpoint_auth_method": ["client_secret_basic"],
        }));
        for (name, groups) in [("ada", "lab-admins"), ("ben", "physics"), ("eve", "others")] {
            let password = format!("{name}-password");
            made.sent(
                "admin",
                "POST",
                "user/",
                &json!({
                    "username": name, "name": name, "password": password, "email": groups, "enabled": true,
                    "scope": ["openid", "g_profile"],
                }),
            );
            made.signs_in(name, &password);
            made.sent(name, "PUT", "auth/grant/labyard", &json!({"scope": "openid"}));
        }
        made
    }

    /// What the configuration of a server says of it.
    pub(crate) fn issuer(&self) -> String {
        format!("{}/api/oidc", self.url)
    }

    /// It signs with another key from now on, and shows no other.
    pub(crate) fn changes_its_key(&self) {
        self.key_is_new("PUT");
        self.sent("admin", "PUT", "mod/plugin/oidc/reset", &json!({}));
    }

    fn key_is_new(&self, method: &str) {
        let pair = rcgen::KeyPair::generate().unwrap();
        let parameters = json!({
            "iss": self.issuer(), "jwt-type": "ecdsa", "jwt-key-size": "256", "key": pair.serialize_pem(),
            "cert": pair.public_key_pem(), "access-token-duration": 3600, "refresh-token-duration": 3600,
            "code-duration": 600, "allow-non-oidc": false, "auth-type-code-enabled": true,
            "auth-type-id-token-enabled": true, "auth-type-token-enabled": false, "auth-type-none-enabled": false,
            "auth-type-password-enabled": false, "auth-type-client-enabled": false, "auth-type-refresh-enabled": false,
            "scope": [], "additional-parameters": [], "jwks-show": true, "jwks-x5c": [], "subject-type": "public",
            "pkce-allowed": true, "pkce-required": true, "pkce-method-plain-allowed": false,
            "claims": [
                {"name": "preferred_username", "user-property": "username", "type": "string", "mandatory": true},
                {"name": "groups", "user-property": "email", "type": "string", "mandatory": true},
            ],
        });
        let plugin =
            json!({"module": "oidc", "name": "oidc", "display_name": "OIDC", "parameters": parameters});
        let path = if method == "POST" {
            "mod/plugin/"
        } else {
            "mod/plugin/oidc"
        };
        self.sent("admin", method, path, &plugin);
    }

    fn jar(&self, who: &str) -> PathBuf {
        self.directory.path().join(format!("{who}.jar"))
    }

    fn signs_in(&self, who: &str, password: &str) {
        self.sent(
            who,
            "POST",
            "auth/",
            &json!({"username": who, "password": password}),
        );
    }

    fn sent(&self, who: &str, method: &str, path: &str, body: &Value) {
        let jar = self.jar(who);
        let out = Command::new("curl")
            .args([
                "-sS",
                "--noproxy",
                "*",
                "-X",
                method,
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "-b",
            ])
            .arg(&jar)
            .arg("-c")
            .arg(&jar)
            .args(["-H", "Content-Type: application/json", "-d", &body.to_string()])
            .arg(format!("{}/api/{path}", self.url))
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&out.stdout),
            "200",
            "{method} {path}: {out:?}"
        );
    }

    /// Where the provider sends a person back to who is sent to it.
    pub(crate) fn sends_back(&self, who: &str, to: &str) -> String {
        // As its own page does when somebody has signed in there.
        let answer = browse(&self.jar(who), &format!("{to}&g_continue"));
        answer
            .location
            .unwrap_or_else(|| panic!("{who} is not sent back: {}", answer.body))
    }
}

impl Drop for Glewlwyd {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn configured(directory: &Path, file: &Path, port: u16) -> PathBuf {
    let mut text = String::new();
    for line in std::fs::read_to_string(CONFIGURATION).unwrap().lines() {
        let name = line.split('=').next().unwrap_or_default().trim();
        text += &match name {
            "port" => format!("port={port}\nbind_address=\"127.0.0.1\""),
            "external_url" => format!("external_url=\"http://127.0.0.1:{port}/\""),
            "log_mode" => "log_mode=\"console\"".to_owned(),
            _ if line.starts_with("@include") => {
                format!(
                    "database = {{ type = \"sqlite3\"; path = \"{}\"; }};",
                    file.display()
                )
            }
            _ => line.to_owned(),
        };
        text.push('\n');
    }
    let path = directory.join("glewlwyd.conf");
    std::fs::write(&path, text).unwrap();
    path
}

/// What a browser is answered.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) body: String,
}

/// A browser with its cookies goes there, and no further.
pub(crate) fn browse(jar: &Path, url: &str) -> Page {
    let out = Command::new("curl")
        .args(["-sS", "-i", "--noproxy", "*", "--max-time", "30", "-b"])
        .arg(jar)
        .arg("-c")
        .arg(jar)
        .arg(url)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{url}: {out:?}"));
    let location = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("location")
            .then(|| value.trim().to_owned())
    });
    Page {
        status: head.split_whitespace().nth(1).unwrap().parse().unwrap(),
        location,
        body: body.to_owned(),
    }
}

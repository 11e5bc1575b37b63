//! People sign in at a real identity provider: from a terminal and in a browser, and what is not right is refused.

use crate::{
    daemon::{Daemon, lab, labyard, socket, until},
    provider::{Glewlwyd, Page, browse, is_installed},
};
use labyard_store::testing::Database;
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, Stdio},
};

/// A daemon at an address that its provider knows.
struct Lab {
    provider: Glewlwyd,
    url: String,
    daemon: Daemon,
    serving: Child,
}

impl Lab {
    fn new(more: &str) -> Option<Self> {
        if !is_installed() {
            return None;
        }
        let database = Database::sqlite();
        lab(&database, 1);
        let (socket, address) = socket();
        let url = format!("http://{address}");
        let redirect = format!("{url}/v1/login/callback");
        let provider = Glewlwyd::start(&redirect);
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        std::fs::write(&secret, "geheim\n").unwrap();
        let lines = format!(
            "[oidc]\nissuer = \"{}\"\nclient_id = \"labyard\"\nclient_secret_file = \"{}\"\nredirect_url = \"{redirect}\"\n\
             scopes = [\"openid\"]\nuser_claim = \"preferred_username\"\nsession = \"10m\"\n{more}\n\
             [[oidc.grants]]\nclaim = \"groups\"\nvalue = \"lab-admins\"\nrole = \"admin\"\n\
             [[oidc.grants]]\nclaim = \"groups\"\nvalue = \"physics\"\nrole = \"viewer\"\nnamespaces = [\"physics\"]\n",
            provider.issuer(),
            secret.display()
        );
        let daemon = Daemon::keeping(database, directory, &lines);
        let (serving, _) = daemon.on_socket(&socket);
        Some(Self {
            provider,
            url,
            daemon,
            serving,
        })
    }

    fn browser(&self, who: &str) -> PathBuf {
        self.daemon.directory.path().join(format!("{who}.jar"))
    }

    /// A person signs in, as far as back to the daemon; says with which address.
    fn comes_back(&self, who: &str, begins_at: &str) -> String {
        let begun = browse(&self.browser(who), begins_at);
        assert_eq!(begun.status, 303, "{begun:?}");
        self.provider.sends_back(who, &begun.location.unwrap())
    }

    fn signs_in(&self, who: &str) -> Page {
        let back = self.comes_back(who, &format!("{}/v1/login", self.url));
        browse(&self.browser(who), &back)
    }

    fn told(&self, method: &str, path: &str, bearer: &str, more: &[&str]) -> crate::daemon::Answer {
        crate::daemon::curl(&self.url, method, path, bearer, more)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.serving.kill());
        drop(self.serving.wait());
    }
}

/// The token on a page.
fn token(page: &Page) -> String {
    assert_eq!(page.status, 200, "{page:?}");
    let text = page.body.split("<pre>").nth(1).unwrap();
    text.split("</pre>").next().unwrap().to_owned()
}

fn problem(page: &Page) -> (u16, String) {
    let body: Value = serde_json::from_str(&page.body).unwrap_or_default();
    let kind = body["type"].as_str().unwrap_or_default();
    (
        page.status,
        kind.rsplit(':').next().unwrap_or_default().to_owned(),
    )
}

#[test]
fn people_sign_in_at_their_provider_and_may_what_it_says_of_them() {
    let Some(lab) = Lab::new("") else { return };
    let ada = token(&lab.signs_in("ada"));
    assert_eq!(lab.told("GET", "/v1/tokens", &ada, &[]).status, 200);
    let body = "{\"name\": \"by-ada\", \"role\": \"viewer\"}";
    let made = lab.told(
        "POST",
        "/v1/tokens",
        &ada,
        &["-H", "Content-Type: application/json", "-d", body],
    );
    assert_eq!(made.status, 201, "{made:?}");
    // Who it was stands in the log, by the person's name.
    let events = lab.daemon.cli(&lab.daemon.admin, &["events"]);
    let events = String::from_utf8_lossy(&events.stdout).into_owned();
    assert!(events.contains("login:ada  token.made  token/by-ada"), "{events}");
    assert!(!events.contains(&ada));

    let ben = token(&lab.signs_in("ben"));
    assert_eq!(
        lab.told("GET", "/v1/pools", &ben, &[]).body["items"],
        serde_json::json!([])
    );
    assert_eq!(
        lab.told("GET", "/v1/pools?namespace=physics", &ben, &[]).status,
        200
    );
    assert_eq!(lab.told("GET", "/v1/tokens", &ben, &[]).status, 403);
    assert_eq!(problem(&lab.signs_in("eve")), (403, "no-role".to_owned()));

    // The provider changes its keys, and shows no other from then on.
    lab.provider.changes_its_key();
    until("the keys are asked for again", || {
        let page = lab.signs_in("ada");
        (page.status == 200).then_some(())
    });
}

#[test]
fn a_way_back_that_is_not_ones_own_or_comes_twice_is_refused() {
    let Some(lab) = Lab::new("") else { return };
    let at = format!("{}/v1/login", lab.url);
    // Another browser: what one began, another does not finish.
    let back = lab.comes_back("ada", &at);
    assert_eq!(
        problem(&browse(&lab.browser("ben"), &back)),
        (400, "login-state".to_owned())
    );
    // Another state, with the right code.
    let (before, after) = back.split_once("state=").unwrap();
    let rest = after.split_once('&').map_or("", |(_, rest)| rest);
    let forged = format!("{before}state=0000&{rest}");
    assert_eq!(
        problem(&browse(&lab.browser("ada"), &forged)),
        (400, "login-state".to_owned())
    );
    // The right one, and then again, with the same cookie as a thief would have it.
    let stolen = lab.daemon.directory.path().join("stolen.jar");
    std::fs::copy(lab.browser("ada"), &stolen).unwrap();
    assert_eq!(browse(&lab.browser("ada"), &back).status, 200);
    assert_eq!(
        problem(&browse(&stolen, &back)),
        (401, "login-refused".to_owned())
    );
    // A code that the provider never gave.
    let back = lab.comes_back("ada", &at);
    let code = back.split("code=").nth(1).unwrap().split('&').next().unwrap();
    let made_up = back.replace(code, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(
        problem(&browse(&lab.browser("ada"), &made_up)),
        (401, "login-refused".to_owned())
    );
    // The provider says no.
    let begun = browse(&lab.browser("ada"), &at).location.unwrap();
    let state = begun.split("state=").nth(1).unwrap().split('&').next().unwrap();
    let denied = format!("{at}/callback?error=access_denied&state={state}");
    assert_eq!(
        problem(&browse(&lab.browser("ada"), &denied)),
        (401, "login-refused".to_owned())
    );
    let of_another = format!("{at}/callback?code=x&iss=https://evil.example&state={state}");
    assert_eq!(
        problem(&browse(&lab.browser("ada"), &of_another)),
        (400, "login-state".to_owned())
    );
}

#[test]
fn a_terminal_gets_the_token_of_who_signs_in_in_the_browser() {
    let Some(lab) = Lab::new("") else { return };
    let mut login = labyard()
        .arg("login")
        .env("LABYARD_ENDPOINT", &lab.url)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(login.stderr.take().unwrap()).lines();
    let begins_at = said
        .find_map(|line| line.ok().filter(|line| line.starts_with("http")))
        .unwrap();
    let back = lab.comes_back("ada", &begins_at);
    let sent = browse(&lab.browser("ada"), &back);
    assert_eq!(sent.status, 200, "{sent:?}");
    // Who was lured into it sees where the token would go.
    let to_terminal = sent.body.split("href=\"").nth(1).unwrap();
    let to_terminal = to_terminal.split('"').next().unwrap().to_owned();
    let port = to_terminal.strip_prefix("http://127.0.0.1:").unwrap();
    let port = port.split('/').next().unwrap();
    assert!(begins_at.contains(&format!("port={port}&")), "{begins_at}");
    assert!(sent.body.contains(&format!("at port {port}, waits")), "{sent:?}");
    // Who saw the ticket on its way has not the secret that goes with it.
    let ticket = to_terminal.split("ticket=").nth(1).unwrap();
    let body = format!(
        "{{\"ticket\": \"{ticket}\", \"verifier\": \"{}\"}}",
        "0".repeat(64)
    );
    let thief = lab.told(
        "POST",
        "/v1/login/token",
        "",
        &["-H", "Content-Type: application/json", "-d", &body],
    );
    assert_eq!((thief.status, thief.problem()), (400, "login-state"));
    assert_eq!(browse(&lab.browser("ada"), &to_terminal).status, 200);
    let mut token = String::new();
    login.stdout.take().unwrap().read_to_string(&mut token).unwrap();
    assert!(login.wait().unwrap().success());
    assert_eq!(lab.told("GET", "/v1/tokens", token.trim(), &[]).status, 200);
}

#[test]
fn where_no_provider_is_configured_nobody_signs_in() {
    let database = Database::sqlite();
    let daemon = Daemon::start(&database, "");
    let answer = daemon.ask("GET", "/v1/login", "", &[]);
    assert_eq!((answer.status, answer.problem()), (404, "no-login"));
}

#[test]
fn a_provider_that_is_silent_or_calls_itself_otherwise_is_named() {
    let database = Database::sqlite();
    let (socket, address) = socket();
    drop(socket);
    let lines = format!(
        "[oidc]\nissuer = \"http://{address}\"\nclient_id = \"labyard\"\nredirect_url = \"http://127.0.0.1/v1/login/callback\"\n\
         grants = [{{ claim = \"sub\", value = \"x\", role = \"viewer\" }}]\n"
    );
    let daemon = Daemon::start(&database, &lines);
    let answer = daemon.ask("GET", "/v1/login", "", &[]);
    assert_eq!(
        (answer.status, answer.problem()),
        (503, "provider-silent"),
        "{answer:?}"
    );
    assert_eq!(answer.body["retryable"], true);
}

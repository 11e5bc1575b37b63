//! The provider as a process: arguments, signals, log lines, debug mode.

use std::io::{BufRead as _, BufReader, Read as _};
use std::time::Duration;

use serde_json::Value;

use crate::support::client::ClientCertificate;
use crate::support::plugin::{Plugin, faulty};
use crate::support::terraform::Terraform;
use crate::support::{Scratch, eventually, is_alive, signal};

fn run(args: &[&str]) -> (i32, String, String) {
    let scratch = Scratch::new();
    let output = faulty(&scratch).args(args).output().expect("the provider");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn started_by_a_person_it_explains_itself() {
    let (code, out, err) = run(&[]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.contains("started by Terraform") && err.contains("--debug"),
        "{err}"
    );
}

#[test]
fn the_version_is_printed_and_an_unknown_argument_refused() {
    assert_eq!(run(&["--version"]).1, "terraform-provider-faulty 1.2.3\n");
    let (code, _, err) = run(&["--port=1"]);
    assert_eq!(code, 2);
    assert!(err.contains("--port=1"), "{err}");
}

#[test]
fn a_certificate_that_is_none_is_an_error_that_says_so() {
    let parent = ClientCertificate::p521();
    let nonsense = [("PLUGIN_CLIENT_CERT", "-----BEGIN CERTIFICATE-----\n???\n")];
    let mut plugin = Plugin::start(Some(&parent), &nonsense);
    assert_eq!(plugin.handshake, [""]);
    assert_eq!(plugin.ends_within(Duration::from_secs(5)).code(), Some(1));
    assert!(plugin.stderr().contains("PLUGIN_CLIENT_CERT"));
}

#[test]
fn the_parents_directory_takes_the_socket_and_multiplexing_is_declined() {
    let scratch = Scratch::new();
    let dir = scratch.path().display().to_string();
    let env = [
        ("PLUGIN_UNIX_SOCKET_DIR", dir.as_str()),
        ("PLUGIN_MULTIPLEX_GRPC", "true"),
    ];
    let plugin = Plugin::start(None, &env);
    assert_eq!(plugin.socket().parent(), Some(scratch.path()));
    assert_eq!(plugin.handshake.get(6).map(String::as_str), Some("false"));
}

#[test]
fn ctrl_c_is_left_to_the_parent() {
    let plugin = Plugin::start(None, &[]);
    for _ in 0..3 {
        plugin.signal("-INT");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(is_alive(plugin.id()));
}

#[test]
fn terminated_it_leaves_no_socket_and_confirms_nothing() {
    let mut plugin = Plugin::start(None, &[]);
    plugin.signal("-TERM");
    assert!(plugin.ends_within(Duration::from_secs(2)).success());
    assert_eq!(plugin.scratch.leftovers(), Vec::<String>::new());
    assert_eq!(plugin.log(), ["stopped"]);
}

#[tokio::test]
async fn log_lines_are_hclogs_and_nothing_else_is_written() {
    let parent = ClientCertificate::p521();
    let mut plugin = Plugin::start(Some(&parent), &[("TF_LOG", "TRACE")]);
    let client = plugin.connect(Some(&parent)).await;
    let stop = tfplugin::proto::tfplugin6::stop_provider::Request {};
    let _: tfplugin::proto::tfplugin6::stop_provider::Response = client
        .call("/tfplugin6.Provider/StopProvider", stop)
        .await
        .expect("an answer");
    plugin.signal("-TERM");
    plugin.ends_within(Duration::from_secs(2));
    let stderr = plugin.stderr();
    assert!(stderr.contains("operations under way are cancelled"), "{stderr}");
    for line in stderr.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        for key in ["@level", "@message", "@module", "@timestamp"] {
            assert!(line[key].is_string(), "{key} of {line}");
        }
    }
    let stopped = stderr
        .lines()
        .find(|line| line.contains("Terraform asks to stop"))
        .expect("the line");
    let stopped: Value = serde_json::from_str(stopped).expect("JSON");
    assert_eq!(stopped["@module"], "faulty");
    assert_eq!(
        stopped["rpc"], "stop_provider",
        "the span's field stands in the line"
    );
}

#[test]
fn without_a_wish_for_logs_nothing_is_written() {
    let mut plugin = Plugin::start(None, &[]);
    plugin.signal("-TERM");
    plugin.ends_within(Duration::from_secs(2));
    assert_eq!(plugin.stderr(), "");
}

#[test]
fn in_debug_mode_terraform_attaches_and_ctrl_c_ends_it() {
    let scratch = Scratch::new();
    let mut child = faulty(&scratch).arg("--debug").spawn().expect("the provider");
    let mut out = BufReader::new(child.stdout.take().expect("its output"));
    let mut text = String::new();
    while !text.contains("TF_REATTACH_PROVIDERS='") {
        assert_ne!(out.read_line(&mut text).expect("a line"), 0, "{text}");
    }
    let value = text.split('\'').nth(1).expect("the value").to_owned();

    let terraform = Terraform::with_thing("name = \"a\"");
    for args in [
        &["apply", "-auto-approve", "-no-color"][..],
        &["plan", "-no-color", "-detailed-exitcode"],
    ] {
        let seen = terraform.run(args, &[("TF_REATTACH_PROVIDERS", &value)]);
        assert_eq!(seen.code, 0, "{}", seen.text);
        assert!(is_alive(child.id()), "it serves on after Terraform is done");
    }

    signal("-INT", &child.id().to_string());
    eventually("it ended", Duration::from_secs(3), || {
        child.try_wait().is_ok_and(|status| status.is_some())
    });
    assert_eq!(scratch.leftovers(), Vec::<String>::new());
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("the rest");
}

#[test]
fn terraform_without_tls_is_served_in_plaintext() {
    let terraform = Terraform::with_thing("name = \"a\"");
    let seen = terraform.run(
        &["apply", "-auto-approve", "-no-color"],
        &[("TF_DISABLE_PLUGIN_TLS", "1")],
    );
    assert_eq!(seen.code, 0, "{}", seen.text);
}

#[test]
fn terraform_reads_the_log_lines_as_the_providers() {
    let terraform = Terraform::with_thing("name = \"a\"");
    let seen = terraform.run(&["plan", "-no-color"], &[("TF_LOG", "TRACE")]);
    assert_eq!(seen.code, 0, "{}", seen.text);
    assert!(
        seen.text.contains("provider.terraform-provider-faulty"),
        "{}",
        seen.text
    );
    assert!(
        !seen.text.contains("unexpected data"),
        "a line that was not hclog's"
    );
}

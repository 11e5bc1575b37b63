//! Ephemeral resources: opened, handed on, closed, and stored nowhere.

use tfplugin::codec::msgpack;
use tfplugin::proto::tfplugin6 as proto;
use tfplugin::value::{Type, Value};

use crate::support::client::{Client, ClientCertificate};
use crate::support::plugin::Plugin;
use crate::support::terraform::Terraform;

const CONFIG: &str = "ephemeral \"faulty_passing\" \"p\" {\n name = \"ada\"\n}\n\
    resource \"faulty_thing\" \"a\" {\n name = \"a\"\n secret_wo = ephemeral.faulty_passing.p.secret\n}\n";

#[test]
fn a_value_is_handed_on_and_stands_neither_in_plan_nor_in_state() {
    let terraform = Terraform::with_config(CONFIG);
    let log = terraform.path("log");
    let env = [("FAULTY_LOG", log.as_str())];
    let planned = terraform.run(&["plan", "-no-color", "-out=plan.bin"], &env);
    assert_eq!(planned.code, 0, "{}", planned.text);
    let applied = terraform.run(&["apply", "-no-color", "plan.bin"], &env);
    assert_eq!(applied.code, 0, "{}", applied.text);
    let state = terraform.read("terraform.tfstate").expect("a state");
    assert!(
        state.contains("faulty_thing") && !state.contains("hush-ada"),
        "{state}"
    );
    let shown = terraform.run(&["show", "-json", "plan.bin"], &env);
    assert!(!shown.text.contains("hush-ada"), "{}", shown.text);
    let life = std::fs::read_to_string(&log).expect("the log");
    let count = |line: &str| life.lines().filter(|found| *found == line).count();
    assert_eq!((count("opened ada"), count("closed ada once")), (2, 2), "{life}");
}

#[test]
fn faults_of_ephemeral_resources_are_errors() {
    for (fault, said) in [
        ("ephemeral_opens_nothing", "Error: Nothing opened"),
        ("ephemeral_leaves_unknown", "unknown"),
        ("ephemeral_fails", "Error: No connection"),
        ("ephemeral_panics", "opening fell over"),
        ("ephemeral_is_not_closed", "Error: Not closed"),
    ] {
        let terraform = Terraform::with_config(CONFIG);
        let seen = terraform.run(&["plan", "-no-color"], &[("FAULTY", fault)]);
        assert!(
            seen.code == 1 && seen.text.contains(said),
            "{fault}: {}",
            seen.text
        );
    }
    let terraform = Terraform::with_config(&CONFIG.replace("\"ada\"", "\"\""));
    let seen = terraform.run(&["validate", "-no-color"], &[]);
    assert!(seen.text.contains("Error: Nobody"), "{}", seen.text);
}

#[tokio::test]
async fn a_renewal_says_when_the_next_is_due_and_what_the_close_is_handed() {
    let parent = ClientCertificate::p521();
    let plugin = Plugin::start(Some(&parent), &[]);
    let client: Client = plugin.connect(Some(&parent)).await;
    let ty = Type::object([("name", Type::String), ("secret", Type::String)]);
    let config = Value::object([("name", Value::from("ada")), ("secret", Value::Null)]);
    let request = proto::open_ephemeral_resource::Request {
        type_name: "faulty_passing".to_owned(),
        config: Some(proto::DynamicValue {
            msgpack: msgpack::encode(&config, &ty).expect("a value").into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let opened: proto::open_ephemeral_resource::Response = client
        .call("/tfplugin6.Provider/OpenEphemeralResource", request)
        .await
        .expect("an answer");
    assert!(opened.diagnostics.is_empty(), "{opened:?}");
    assert!(opened.renew_at.is_some_and(|at| at.seconds > 1_700_000_000));
    let request = proto::renew_ephemeral_resource::Request {
        type_name: "faulty_passing".to_owned(),
        private: opened.private,
    };
    let renewed: proto::renew_ephemeral_resource::Response = client
        .call("/tfplugin6.Provider/RenewEphemeralResource", request)
        .await
        .expect("an answer");
    assert_eq!(
        (renewed.renew_at, renewed.private.as_deref()),
        (None, Some(&b"twice"[..]))
    );
    assert_eq!(plugin.log(), ["opened ada", "renewed ada once"]);
}

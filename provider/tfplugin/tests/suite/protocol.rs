//! The protocol as a client of our own sees it.

use std::time::{Duration, Instant};

use tfplugin::codec::msgpack;
use tfplugin::proto::{goplugin, health, tfplugin6 as proto};
use tfplugin::schema::{Attribute, Kind, Schema};
use tfplugin::value::{Type, Value};
use tonic::Code;

use crate::support::client::{Client, ClientCertificate};
use crate::support::eventually;
use crate::support::plugin::Plugin;

const PLAN: &str = "/tfplugin6.Provider/PlanResourceChange";
const APPLY: &str = "/tfplugin6.Provider/ApplyResourceChange";
const STOP: &str = "/tfplugin6.Provider/StopProvider";
const SCHEMA: &str = "/tfplugin6.Provider/GetProviderSchema";
const SHUTDOWN: &str = "/plugin.GRPCController/Shutdown";

/// The type of `faulty_thing`.
fn thing() -> Schema {
    let disk = [
        Attribute::required("size_gib", Type::Number),
        Attribute::defaulted("bus", Type::String, "virtio"),
    ];
    Schema::new([
        Attribute::required("name", Type::String),
        Attribute::optional("size", Type::Number),
        Attribute::defaulted("mode", Type::String, "auto"),
        Attribute::optional("zone", Type::String),
        Attribute::optional("secret_wo", Type::String),
        Attribute::optional("tags", Type::set(Type::String)),
        Attribute::optional("hosts", Type::list(Type::String)),
        Attribute::optional("disks", Kind::map(disk)),
        Attribute::computed("id", Type::String),
    ])
}

fn configured(name: &str) -> Value {
    let mut value = thing().empty_value();
    let entries = value.as_keyed_mut().expect("an object");
    entries.insert("name".to_owned(), Value::from(name));
    value
}

fn dynamic(value: &Value) -> Option<proto::DynamicValue> {
    let msgpack = msgpack::encode(value, &thing().implied_type())
        .expect("a value of the schema")
        .into();
    Some(proto::DynamicValue {
        msgpack,
        ..Default::default()
    })
}

fn decoded(value: Option<&proto::DynamicValue>) -> Value {
    msgpack::decode(&value.expect("a value").msgpack, &thing().implied_type()).expect("a value of the schema")
}

fn create_plan(name: &str) -> proto::plan_resource_change::Request {
    proto::plan_resource_change::Request {
        type_name: "faulty_thing".to_owned(),
        prior_state: dynamic(&Value::Null),
        proposed_new_state: dynamic(&configured(name)),
        config: dynamic(&configured(name)),
        ..Default::default()
    }
}

async fn plan(client: &Client, name: &str) -> proto::plan_resource_change::Response {
    client.call(PLAN, create_plan(name)).await.expect("an answer")
}

async fn apply(client: &Client, name: &str) -> Result<proto::apply_resource_change::Response, tonic::Status> {
    let planned = plan(client, name).await;
    let request = proto::apply_resource_change::Request {
        type_name: "faulty_thing".to_owned(),
        prior_state: dynamic(&Value::Null),
        planned_state: planned.planned_state,
        config: dynamic(&configured(name)),
        ..Default::default()
    };
    client.call(APPLY, request).await
}

async fn schema(client: &Client) -> Result<proto::get_provider_schema::Response, tonic::Status> {
    client.call(SCHEMA, proto::get_provider_schema::Request {}).await
}

/// A provider and its parent's connection.
async fn started(env: &[(&str, &str)]) -> (Plugin, Client) {
    let parent = ClientCertificate::p521();
    let plugin = Plugin::start(Some(&parent), env);
    let client = plugin.connect(Some(&parent)).await;
    (plugin, client)
}

async fn is_refused(plugin: &Plugin, with: Option<&ClientCertificate>) {
    // In TLS 1.3 the client learns of its refusal only with the first answer.
    let refused = match Client::connect(&plugin.socket(), plugin.certificate(), with).await {
        Err(_) => true,
        Ok(client) => schema(&client).await.is_err(),
    };
    assert!(refused, "{with:?} was let in");
}

#[tokio::test]
async fn the_parents_p521_certificate_is_let_in_though_it_is_marked_as_an_authority() {
    let (plugin, client) = started(&[]).await;
    assert_eq!(plugin.handshake[..3], ["1", "6", "unix"]);
    assert_eq!(plugin.handshake[4], "grpc");
    let schema = schema(&client).await.expect("an answer");
    assert!(schema.resource_schemas.contains_key("faulty_thing"));
}

#[tokio::test]
async fn anybody_else_is_refused() {
    let (plugin, client) = started(&[]).await;
    is_refused(&plugin, Some(&ClientCertificate::intruder())).await;
    is_refused(&plugin, Some(&ClientCertificate::stolen())).await;
    is_refused(&plugin, None).await;
    // Also one that does not speak TLS at all.
    let plain = Client::connect(&plugin.socket(), None, None).await;
    if let Ok(plain) = plain {
        assert!(schema(&plain).await.is_err());
    }
    assert!(schema(&client).await.is_ok(), "the parent is still served");
}

#[tokio::test]
async fn without_a_parents_certificate_it_is_plaintext() {
    let plugin = Plugin::start(None, &[]);
    assert_eq!(plugin.certificate(), None);
    let client = plugin.connect(None).await;
    assert!(schema(&client).await.is_ok());
}

#[tokio::test]
async fn messages_far_above_grpcs_usual_limit_pass_both_ways() {
    let (_plugin, client) = started(&[]).await;
    let name = "x".repeat(40 << 20);
    let answer = plan(&client, &name).await;
    assert_eq!(answer.diagnostics, []);
    assert_eq!(
        decoded(answer.planned_state.as_ref())
            .field("name")
            .as_str()
            .map(str::len),
        Some(40 << 20)
    );
}

#[tokio::test]
async fn many_calls_at_once_are_answered() {
    let (_plugin, client) = started(&[]).await;
    let calls = (0..200).map(|i| {
        let client = client.clone();
        tokio::spawn(async move { plan(&client, &i.to_string()).await })
    });
    for (i, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
        let answer = call.await.expect("a task");
        assert_eq!(
            decoded(answer.planned_state.as_ref()).field("name"),
            &Value::from(i.to_string())
        );
    }
}

#[tokio::test]
async fn the_schema_is_the_same_each_time_and_says_what_the_server_can() {
    let (_plugin, client) = started(&[]).await;
    let first = schema(&client).await.expect("an answer");
    assert_eq!(first, schema(&client).await.expect("an answer"));
    let can = first.server_capabilities.expect("capabilities");
    assert!(can.plan_destroy && can.get_provider_schema_optional);
    let metadata: proto::get_metadata::Response = client
        .call("/tfplugin6.Provider/GetMetadata", proto::get_metadata::Request {})
        .await
        .expect("an answer");
    assert_eq!(metadata.server_capabilities, Some(can));
    assert_eq!(metadata.resources[0].type_name, "faulty_thing");
    assert_eq!(metadata.data_sources[0].type_name, "faulty_reading");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_cancels_what_is_under_way_and_the_provider_serves_on() {
    let (plugin, client) = started(&[("FAULTY", "apply_slow")]).await;
    for round in 0..2 {
        let slow = {
            let client = client.clone();
            tokio::spawn(async move { apply(&client, "a").await })
        };
        eventually("the operation is under way", Duration::from_secs(10), || {
            plugin.is_marked()
        });
        assert!(
            !slow.is_finished(),
            "round {round}: cancelled by the stop before it began"
        );
        let answer: proto::stop_provider::Response = client
            .call(STOP, proto::stop_provider::Request {})
            .await
            .expect("an answer");
        assert_eq!(answer.error, "");
        let answer = slow.await.expect("a task").expect("an answer");
        assert_eq!(answer.diagnostics[0].summary, "Cancelled");
        assert_eq!(
            decoded(answer.new_state.as_ref()).field("id"),
            &Value::from("id-1")
        );
        assert_eq!(answer.private, &b"made"[..]);
        plugin.forget_mark();
    }
    assert!(schema(&client).await.is_ok());
    assert_eq!(plugin.log(), ["stopped", "cancelled", "stopped", "cancelled"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_outlives_the_connection_that_asked_for_it() {
    let parent = ClientCertificate::p521();
    let plugin = Plugin::start(Some(&parent), &[("FAULTY", "apply_slow")]);
    let client = plugin.connect(Some(&parent)).await;
    let slow = tokio::spawn(async move { apply(&client, "a").await });
    eventually("the operation is under way", Duration::from_secs(10), || {
        plugin.is_marked()
    });
    slow.abort();
    assert!(slow.await.is_err());
    let second = plugin.connect(Some(&parent)).await;
    let _: proto::stop_provider::Response = second
        .call(STOP, proto::stop_provider::Request {})
        .await
        .expect("an answer");
    // Only an operation that still runs can see the cancellation.
    eventually("it was cancelled", Duration::from_secs(5), || {
        plugin.log().contains(&"cancelled".to_owned())
    });
}

#[tokio::test]
async fn shutdown_ends_open_streams_and_the_process_and_leaves_no_socket() {
    let (mut plugin, client) = started(&[]).await;
    let mut stdio = client
        .stream::<(), goplugin::StdioData>("/plugin.GRPCStdio/StreamStdio", ())
        .await
        .expect("a stream");
    let mut broker = client
        .stream::<goplugin::ConnInfo, goplugin::ConnInfo>(
            "/plugin.GRPCBroker/StartStream",
            Default::default(),
        )
        .await
        .expect("a stream");
    let start = Instant::now();
    let _: goplugin::Empty = client
        .call(SHUTDOWN, goplugin::Empty {})
        .await
        .expect("an answer");
    assert_eq!(stdio.message().await.expect("an orderly end"), None);
    assert_eq!(broker.message().await.expect("an orderly end"), None);
    assert!(plugin.ends_within(Duration::from_secs(2)).success());
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "nothing is to be waited for"
    );
    assert_eq!(plugin.scratch.leftovers(), Vec::<String>::new());
    assert_eq!(plugin.log(), ["shut down"]);
}

#[tokio::test]
async fn a_provider_that_hangs_at_shutdown_still_ends_before_it_is_killed() {
    let (mut plugin, client) = started(&[("FAULTY", "shutdown_hangs")]).await;
    let start = Instant::now();
    let _: goplugin::Empty = client
        .call(SHUTDOWN, goplugin::Empty {})
        .await
        .expect("an answer");
    assert!(plugin.ends_within(Duration::from_secs(3)).success());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(plugin.scratch.leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn health_is_told_of_the_plugin_and_of_nothing_else() {
    let (_plugin, client) = started(&[]).await;
    let check = |service: &str| {
        let request = health::HealthCheckRequest {
            service: service.to_owned(),
        };
        client.call::<_, health::HealthCheckResponse>("/grpc.health.v1.Health/Check", request)
    };
    let serving = i32::from(health::health_check_response::ServingStatus::Serving);
    assert_eq!(check("plugin").await.expect("an answer").status, serving);
    assert_eq!(check("").await.expect("an answer").status, serving);
    assert_eq!(check("other").await.expect_err("unknown").code(), Code::NotFound);
}

#[tokio::test]
async fn an_unknown_service_or_method_is_unimplemented() {
    let (_plugin, client) = started(&[]).await;
    for path in ["/tfplugin5.Provider/GetSchema", "/tfplugin6.Provider/NoSuchCall"] {
        let error = client.call::<(), ()>(path, ()).await.expect_err("there is none");
        assert_eq!(error.code(), Code::Unimplemented, "{path}");
    }
}

#[tokio::test]
async fn values_that_are_none_are_an_error_in_the_answer() {
    let (_plugin, client) = started(&[]).await;
    for garbage in [&b"\xc1"[..], b"\xdf\xff\xff\xff\xff", b"\x81\xa4name", b"\xa1x"] {
        let value = proto::DynamicValue {
            msgpack: garbage.to_vec().into(),
            ..Default::default()
        };
        let request = proto::plan_resource_change::Request {
            config: Some(value),
            ..create_plan("a")
        };
        let answer: proto::plan_resource_change::Response =
            client.call(PLAN, request).await.expect("an answer");
        assert_eq!(answer.diagnostics.len(), 1, "{garbage:?}");
    }
    let unknown = proto::plan_resource_change::Request {
        type_name: "faulty_other".to_owned(),
        ..create_plan("a")
    };
    let answer: proto::plan_resource_change::Response = client.call(PLAN, unknown).await.expect("an answer");
    assert_eq!(answer.diagnostics[0].summary, "Unknown resource type");
}

#[tokio::test]
async fn a_panic_is_a_diagnostic_with_what_was_saved_before() {
    let (_plugin, client) = started(&[("FAULTY", "apply_panics_halfway")]).await;
    let answer = apply(&client, "a").await.expect("an answer");
    assert_eq!(answer.diagnostics[0].summary, "The provider panicked");
    assert_eq!(
        decoded(answer.new_state.as_ref()).field("id"),
        &Value::from("id-1")
    );
    assert!(schema(&client).await.is_ok(), "the process lives");
}

/// Calls for what there is none of, each answered with one error.
#[tokio::test]
async fn what_is_not_offered_is_refused_in_the_answer() {
    let (_plugin, client) = started(&[]).await;
    macro_rules! refused {
        ($($path:literal $module:ident $field:ident;)*) => {$(
            let answer: proto::$module::Response = client
                .call(concat!("/tfplugin6.Provider/", $path), proto::$module::Request::default())
                .await
                .expect($path);
            assert!(!answer.$field.is_empty(), $path);
        )*};
    }
    refused! {
        "UpgradeResourceIdentity" upgrade_resource_identity diagnostics;
        "MoveResourceState" move_resource_state diagnostics;
        "GenerateResourceConfig" generate_resource_config diagnostics;
        "ValidateEphemeralResourceConfig" validate_ephemeral_resource_config diagnostics;
        "OpenEphemeralResource" open_ephemeral_resource diagnostics;
        "RenewEphemeralResource" renew_ephemeral_resource diagnostics;
        "CloseEphemeralResource" close_ephemeral_resource diagnostics;
        "ValidateListResourceConfig" validate_list_resource_config diagnostics;
        "ValidateStateStoreConfig" validate_state_store diagnostics;
        "ConfigureStateStore" configure_state_store diagnostics;
        "LockState" lock_state diagnostics;
        "UnlockState" unlock_state diagnostics;
        "GetStates" get_states diagnostics;
        "DeleteState" delete_state diagnostics;
        "ValidateActionConfig" validate_action_config diagnostics;
        "PlanAction" plan_action diagnostics;
    }
    let called: proto::call_function::Response = client
        .call(
            "/tfplugin6.Provider/CallFunction",
            proto::call_function::Request::default(),
        )
        .await
        .expect("an answer");
    assert!(called.error.is_some());
}

#[tokio::test]
async fn streams_of_what_is_not_offered_end_with_an_error_in_the_answer() {
    let (_plugin, client) = started(&[]).await;
    let mut listed = client
        .stream::<_, proto::list_resource::Event>(
            "/tfplugin6.Provider/ListResource",
            proto::list_resource::Request::default(),
        )
        .await
        .expect("a stream");
    assert_eq!(
        listed
            .message()
            .await
            .expect("an event")
            .expect("one")
            .diagnostic
            .len(),
        1
    );
    assert_eq!(listed.message().await.expect("the end"), None);
    let mut read = client
        .stream::<_, proto::read_state_bytes::Response>(
            "/tfplugin6.Provider/ReadStateBytes",
            proto::read_state_bytes::Request::default(),
        )
        .await
        .expect("a stream");
    assert_eq!(
        read.message()
            .await
            .expect("an event")
            .expect("one")
            .diagnostics
            .len(),
        1
    );
    let mut invoked = client
        .stream::<_, proto::invoke_action::Event>(
            "/tfplugin6.Provider/InvokeAction",
            proto::invoke_action::Request::default(),
        )
        .await
        .expect("a stream");
    let event = invoked
        .message()
        .await
        .expect("an event")
        .expect("one")
        .r#type
        .expect("a kind");
    assert!(
        matches!(event, proto::invoke_action::event::Type::Completed(done) if done.diagnostics.len() == 1)
    );
}

#[tokio::test]
async fn lists_of_what_is_not_offered_are_empty() {
    let (_plugin, client) = started(&[]).await;
    let functions: proto::get_functions::Response = client
        .call(
            "/tfplugin6.Provider/GetFunctions",
            proto::get_functions::Request {},
        )
        .await
        .expect("an answer");
    assert_eq!(functions, proto::get_functions::Response::default());
    let identities: proto::get_resource_identity_schemas::Response = client
        .call(
            "/tfplugin6.Provider/GetResourceIdentitySchemas",
            proto::get_resource_identity_schemas::Request {},
        )
        .await
        .expect("an answer");
    assert_eq!(
        identities,
        proto::get_resource_identity_schemas::Response::default()
    );
}

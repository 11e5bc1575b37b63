//! That nobody goes round a quota: what is held is by what is on the hosts, whatever was asked for by whichever name.

use crate::{
    daemon::Daemon,
    machines::{WEB, desired, get, made, view},
    working::{Sim, over, put},
};
use labyard_store::testing::Database;
use serde_json::{Value, json};

fn used(daemon: &Daemon) -> (Value, Value) {
    let of = |name: &str| get(daemon, "/v1/quotas").body["items"][0][name]["used"].clone();
    (of("machines"), of("memory_mib"))
}

fn destroy(daemon: &Daemon, known: &Value) -> Value {
    let body = json!({"known": desired(128), "object": known}).to_string();
    let more = ["-H", "Content-Type: application/json", "-d", &body];
    let begun = daemon.ask("POST", &format!("{WEB}/destroy"), &daemon.admin, &more);
    assert_eq!(begun.status, 202, "{begun:?}");
    over(daemon, &begun.body)
}

#[test]
fn nobody_gets_room_by_taking_away_what_is_not_there_or_by_failing() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let quotas = "[quotas.default]\nmachines = 1\nmemory_mib = 256\n";
    let daemon = Daemon::start(&database, &format!("{}{quotas}", sim.lines()));
    let web = view(&made(&daemon, WEB, &json!({"desired": desired(128)})));
    let known = json!({"identity": web.identity(), "id": web.id});
    let confirm = format!("{WEB}/confirm?object={}", crate::machines::escaped(&known));
    assert_eq!(daemon.ask("POST", &confirm, &daemon.admin, &[]).status, 200);

    let mut bogus = known.clone();
    bogus["identity"]["token"] = "0123456789abcdef0123456789abcdef".into();
    bogus["identity"]["origin"] = "0123456789abcdef0123456789abcdef".into();
    bogus["identity"]["id"] = "0c7f1f2e-0000-4000-8000-000000000001".into();
    bogus["id"] = Value::Null;
    assert_eq!(
        destroy(&daemon, &bogus)["state"],
        "succeeded",
        "there is no such machine"
    );
    assert_eq!(used(&daemon), (json!(1), json!(128)));

    let again = put(&daemon, WEB, &json!({"desired": desired(64)}), &[]);
    assert_eq!(over(&daemon, &again.body)["state"], "failed", "it is a state's");
    assert_eq!(used(&daemon), (json!(1), json!(128)));

    // Under another name it is still the same machine.
    let mut renamed = desired(128);
    renamed.name = "db".into();
    let update = json!({"desired": renamed, "known": desired(128), "object": known});
    made(&daemon, WEB, &update);
    assert_eq!(used(&daemon), (json!(1), json!(128)));
    let more = put(&daemon, WEB, &json!({"desired": desired(64)}), &[]);
    assert_eq!(more.problem(), "over-quota", "{more:?}");

    assert_eq!(destroy(&daemon, &known)["state"], "succeeded");
    assert_eq!(used(&daemon), (json!(0), json!(0)));
}

#[test]
fn a_machine_that_an_engine_asks_for_has_the_name_that_the_request_is_about() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    let other = put(&daemon, "/v1/vms/lab1/db", &json!({"desired": desired(128)}), &[]);
    assert_eq!((other.status, other.problem()), (422, "invalid"), "{other:?}");
    assert_eq!(other.body["errors"][0]["at"], "/desired/name");

    let web = view(&made(&daemon, WEB, &json!({"desired": desired(128)})));
    let known = json!({"identity": web.identity(), "id": web.id});
    let mut wished = desired(64);
    wished.name = "db".into();
    let asked = json!({"desired": wished, "known": wished, "object": known});
    let stray = put(&daemon, "/v1/vms/lab1/db", &asked, &[]);
    assert_eq!((stray.status, stray.problem()), (422, "invalid"), "{stray:?}");
    let endless = json!({"desired": desired(128), "limit_s": u64::MAX});
    let endless = put(&daemon, WEB, &endless, &[]);
    assert_eq!(endless.body["errors"][0]["at"], "/limit_s", "{endless:?}");
}

//! Every route by every role, as the table of routes says, on a daemon that runs.

use crate::daemon::{CODE, Daemon, curl, lab};
use labyard_api::{
    routes::{Access, routes},
    token::Role,
};
use labyard_store::testing::Database;

/// Invariant 5 of access: what the table says is what is enforced, for each route and each role, without a token, with a
/// token that is not known, and with the secret of another claim.
#[test]
fn every_route_lets_in_whom_the_table_names_and_nobody_else() {
    let database = Database::sqlite();
    lab(&database, 9);
    let daemon = Daemon::start(&database, "[limits]\nfailures_per_source = 1000\n");
    let got = daemon.redeem("ada", "key", CODE, &[]);
    let secret = got.body["secret"].as_str().unwrap();
    let tokens = Role::ALL.map(|role| (role, daemon.token(role.word(), role.word(), &[])));
    let mut asked = 0;
    for route in routes() {
        let values = vec!["nothing"; route.path.matches('{').count()];
        let mut path = route.filled(&values);
        if path == "/v1/events" {
            path += "?until=now";
        }
        let method = route.method.word();
        let ask = |bearer: &str| curl(&daemon.url, method, &path, bearer, &[]);
        let refused = |status: u16| matches!(status, 401 | 403);
        for (role, token) in &tokens {
            let answer = ask(token);
            assert_eq!(
                answer.status != 403,
                route.access.admits(*role),
                "{method} {path} as {role}: {answer:?}"
            );
            assert!(
                answer.status < 500 && answer.status != 401,
                "{method} {path} as {role}: {answer:?}"
            );
            asked += 1;
        }
        let open = route.access == Access::Everybody;
        for nobody in ["", "lyt_00000000000000000000000000000000"] {
            let answer = ask(nobody);
            assert_eq!(
                !refused(answer.status),
                open,
                "{method} {path} without a token: {answer:?}"
            );
        }
        // The secret of one claim opens no other claim's routes, and no others at all.
        let holder = ask(secret);
        match route.access {
            Access::Everybody => assert!(!refused(holder.status)),
            Access::HolderOr(_) => assert!(matches!(holder.status, 404 | 415), "{method} {path}: {holder:?}"),
            _ => assert_eq!(holder.status, 401, "{method} {path}: {holder:?}"),
        }
    }
    assert_eq!(asked, routes().len() * Role::ALL.len());
}

#[test]
fn a_revoked_token_is_of_no_use_at_once_and_who_revoked_it_is_told() {
    let database = Database::sqlite();
    let daemon = Daemon::start(&database, "");
    let viewer = daemon.token("eve", "viewer", &[]);
    assert_eq!(daemon.ask("GET", "/v1/pools", &viewer, &[]).status, 200);
    assert_eq!(
        daemon.ask("DELETE", "/v1/tokens/eve", &daemon.admin, &[]).status,
        200
    );
    assert_eq!(daemon.ask("GET", "/v1/pools", &viewer, &[]).status, 401);
    let events = daemon.cli(&daemon.admin, &["events"]);
    let events = String::from_utf8_lossy(&events.stdout).into_owned();
    assert!(events.contains("root  token.revoked  token/eve"), "{events}");
    assert!(!events.contains(&viewer) && !events.contains(&daemon.admin));
}

#[test]
fn what_the_description_names_is_routed_and_what_it_does_not_name_is_not() {
    let database = Database::sqlite();
    let daemon = Daemon::start(&database, "");
    let document = daemon.ask("GET", "/openapi.json", "", &[]).body;
    assert_eq!(document["openapi"], "3.1.0");
    let methods = ["GET", "POST", "PUT", "DELETE", "PATCH"];
    for (path, of_path) in document["paths"].as_object().unwrap() {
        let target = ["{id}", "{name}", "{host}", "{sha256}", "{revision}"]
            .iter()
            .fold(path.clone(), |path, name| path.replace(name, "nothing"));
        for method in methods {
            let named = of_path.get(method.to_lowercase()).is_some();
            let target = if target == "/v1/events" {
                "/v1/events?until=now"
            } else {
                &target
            };
            let answer = daemon.ask(method, target, &daemon.admin, &[]);
            assert_eq!(answer.status != 405, named, "{method} {path}: {answer:?}");
            assert_ne!(answer.problem(), "no-route", "{method} {path}");
        }
    }
    let nowhere = daemon.ask("GET", "/v1/nowhere", &daemon.admin, &[]);
    assert_eq!((nowhere.status, nowhere.problem()), (404, "no-route"));
}

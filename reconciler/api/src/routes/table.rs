//! The table.

use super::{Access, Answer, Body, Method, Op, Parameter, Place, Route, Tagged, machines};
use crate::{
    List, attributes, claim, code, event, host, maker, operation, pool, quota, server, token, token::Role,
};
use std::sync::LazyLock;

/// All routes.
#[must_use]
pub fn routes() -> &'static [Route] {
    static ALL: LazyLock<Vec<Route>> = LazyLock::new(|| [ROUTES, machines::ROUTES].concat());
    &ALL
}

/// The route of an operation.
///
/// # Panics
/// If the table has none, which a test looks after.
#[must_use]
pub fn route(op: Op) -> &'static Route {
    routes()
        .iter()
        .find(|route| route.op == op)
        .expect("every operation has a route")
}

pub(super) const fn json(
    status: u16,
    means: &'static str,
    schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
) -> Answer {
    Answer {
        status,
        means,
        body: Body::Json(schema),
        tagged: Tagged::No,
    }
}

pub(super) const fn tagged(answer: Answer) -> Answer {
    Answer {
        tagged: Tagged::Yes,
        ..answer
    }
}

pub(super) const fn text(means: &'static str, media_type: &'static str) -> Answer {
    Answer {
        status: 200,
        means,
        body: Body::Text(media_type),
        tagged: Tagged::No,
    }
}

pub(super) const fn path(name: &'static str, means: &'static str) -> Parameter {
    Parameter {
        name,
        place: Place::Path,
        means,
        schema: r#"{"type": "string", "minLength": 1, "maxLength": 128}"#,
    }
}

pub(super) const NAMESPACE: Parameter = Parameter {
    name: "namespace",
    place: Place::Query,
    means: "The namespace; left out: `default`.",
    schema: r#"{"type": "string", "minLength": 1, "maxLength": 63}"#,
};
pub(super) const IN_NAMESPACE: Parameter = Parameter {
    name: "namespace",
    place: Place::Query,
    means: "Only this namespace; left out: all that the token has.",
    schema: r#"{"type": "string", "minLength": 1, "maxLength": 63}"#,
};
const LIMIT: Parameter = Parameter {
    name: "limit",
    place: Place::Query,
    means: "How many at most; left out: 100.",
    schema: r#"{"type": "integer", "minimum": 1, "maximum": 1000}"#,
};
const AFTER: Parameter = Parameter {
    name: "after",
    place: Place::Query,
    means: "Go on where a list ended: the value of its `next`.",
    schema: r#"{"type": "integer", "minimum": 0, "maximum": 9223372036854775807}"#,
};
pub(super) const IF_MATCH: Parameter = Parameter {
    name: "If-Match",
    place: Place::Header,
    means: "Only if the object is still this version of it; `*` says any.",
    schema: r#"{"type": "string", "maxLength": 256}"#,
};
pub(super) const IF_NONE_MATCH: Parameter = Parameter {
    name: "If-None-Match",
    place: Place::Header,
    means: "`*` says: only if there is none yet.",
    schema: r#"{"type": "string", "enum": ["*"]}"#,
};
const MAKER: Parameter = Parameter {
    name: "maker",
    place: Place::Query,
    means: "Who makes it, in words of the caller's own: only if there is none yet. It stands there until the caller says that it has written the object down.",
    schema: WORDS,
};
const LEFT_BY: Parameter = Parameter {
    name: "left_by",
    place: Place::Query,
    means: "With `maker`: takes over what this maker left, if it is still its; the object gets another identity.",
    schema: WORDS,
};
const WORDS: &str = r#"{"type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^[ -~]+$"}"#;
const CLAIM: Parameter = path("id", "The claim.");
const POOL: Parameter = path("name", "The pool.");
const CODE: Parameter = path("name", "The code.");
const OPERATION: Parameter = path("id", "The operation.");

const CLAIM_SHOWN: Answer = json(200, "The claim.", |g| g.subschema_for::<claim::Claim>());
pub(super) const ACCEPTED: Answer = json(202, "The operation that does it.", |g| {
    g.subschema_for::<operation::Operation>()
});

const ELSEWHERE: Answer = Answer {
    status: 303,
    means: "It is elsewhere: see `Location`.",
    body: Body::Empty,
    tagged: Tagged::No,
};

const fn said_by_provider(name: &'static str, means: &'static str) -> Parameter {
    Parameter {
        name,
        place: Place::Query,
        means,
        // Providers' codes are of any length.
        schema: r#"{"type": "string"}"#,
    }
}

const fn claim_verb(op: Op, path: &'static str, summary: &'static str) -> Route {
    Route {
        op,
        method: Method::Post,
        path,
        access: Access::HolderOr(Role::Operator),
        summary,
        parameters: &[CLAIM],
        takes: None,
        answers: &[CLAIM_SHOWN],
    }
}

pub(super) const fn get(
    op: Op,
    path: &'static str,
    access: Access,
    summary: &'static str,
    parameters: &'static [Parameter],
    answers: &'static [Answer],
) -> Route {
    Route {
        op,
        method: Method::Get,
        path,
        access,
        summary,
        parameters,
        takes: None,
        answers,
    }
}

const fn making(op: Op, path: &'static str, parameters: &'static [Parameter]) -> Route {
    Route {
        op,
        method: Method::Put,
        path,
        access: Access::AtLeast(Role::Admin),
        summary: "Says that its maker lives, or that who asked for it has written down that it is there. True already is success.",
        parameters,
        takes: Some(|g| g.subschema_for::<maker::Making>()),
        answers: MADE_SO,
    }
}

const MADE_SO: &[Answer] = &[json(
    200,
    "It is so.",
    |_| schemars::json_schema!({"type": "null"}),
)];

const ROUTES: &[Route] = &[
    get(
        Op::Health,
        "/healthz",
        Access::Everybody,
        "Whether the server lives.",
        &[],
        &[text("It does.", "text/plain")],
    ),
    get(
        Op::Readiness,
        "/readyz",
        Access::Everybody,
        "Whether the server can serve: its store answers.",
        &[],
        &[text("It can.", "text/plain")],
    ),
    get(
        Op::Metrics,
        "/metrics",
        Access::AtLeast(Role::Viewer),
        "Numbers for Prometheus.",
        &[],
        &[text("The numbers.", "text/plain; version=0.0.4")],
    ),
    get(
        Op::OpenApi,
        "/openapi.json",
        Access::Everybody,
        "This description.",
        &[],
        &[json(
            200,
            "The description, OpenAPI 3.1.",
            |_| schemars::json_schema!({"type": "object"}),
        )],
    ),
    get(
        Op::ShowServer,
        "/v1/server",
        Access::AtLeast(Role::Viewer),
        "What the server is: its release, the number of its API, its store.",
        &[],
        &[json(200, "The server.", |g| g.subschema_for::<server::Server>())],
    ),
    get(
        Op::Login,
        "/v1/login",
        Access::Everybody,
        "Sends a person to the identity provider to sign in.",
        &[
            Parameter {
                name: "port",
                place: Place::Query,
                means: "A terminal waits at this port of the person's own computer; the ticket is brought there.",
                schema: r#"{"type": "integer", "minimum": 1024, "maximum": 65535}"#,
            },
            Parameter {
                name: "challenge",
                place: Place::Query,
                means: "The SHA-256 of the terminal's secret, in Base64 for URLs; goes with `port`.",
                schema: r#"{"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"}"#,
            },
        ],
        &[ELSEWHERE],
    ),
    get(
        Op::LoginBack,
        "/v1/login/callback",
        Access::Everybody,
        "A person comes back from the identity provider: shows a token for a while, or asks whether the terminal may have it.",
        &[
            said_by_provider("state", "What the sign-in was begun with."),
            said_by_provider("code", "What the provider gave."),
            said_by_provider("iss", "Which provider it was."),
            said_by_provider("error", "Why it gave nothing."),
        ],
        &[text(
            "The token, or the way to the terminal, as a page for people.",
            "text/html; charset=utf-8",
        )],
    ),
    Route {
        op: Op::LoginToken,
        method: Method::Post,
        path: "/v1/login/token",
        access: Access::Everybody,
        summary: "The terminal of a person who signed in gets the token for its ticket.",
        parameters: &[],
        takes: Some(|g| g.subschema_for::<token::Ticket>()),
        answers: &[json(201, "The token; its text is shown this once.", |g| {
            g.subschema_for::<token::MadeToken>()
        })],
    },
    Route {
        op: Op::Redeem,
        method: Method::Post,
        path: "/v1/claims",
        access: Access::Redeemer,
        summary: "Redeems a code: all the machines it grants, or a place in the queue, or neither.",
        parameters: &[Parameter {
            name: claim::IDEMPOTENCY_KEY,
            place: Place::NeededHeader,
            means: "A text of the caller's own. The same one is the same request: it is answered with the same claim.",
            schema: r#"{"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"}"#,
        }],
        takes: Some(|g| g.subschema_for::<claim::Redeem>()),
        answers: &[
            json(201, "The claim has its machines.", |g| {
                g.subschema_for::<claim::Redeemed>()
            }),
            json(202, "The claim waits in the queue.", |g| {
                g.subschema_for::<claim::Redeemed>()
            }),
        ],
    },
    get(
        Op::ListClaims,
        "/v1/claims",
        Access::AtLeast(Role::Viewer),
        "Claims, the newest first.",
        &[
            IN_NAMESPACE,
            LIMIT,
            AFTER,
            Parameter {
                name: "phase",
                place: Place::Query,
                means: "Only claims of this phase.",
                schema: r##"{"$ref": "#/components/schemas/Phase"}"##,
            },
        ],
        &[json(200, "The claims.", |g| {
            g.subschema_for::<List<claim::Claim>>()
        })],
    ),
    get(
        Op::ShowClaim,
        "/v1/claims/{id}",
        Access::HolderOr(Role::Viewer),
        "A claim.",
        &[CLAIM],
        &[CLAIM_SHOWN],
    ),
    claim_verb(
        Op::KeepClaim,
        "/v1/claims/{id}/keepalive",
        "Somebody was seen: the idle time begins anew.",
    ),
    claim_verb(
        Op::PauseClaim,
        "/v1/claims/{id}/pause",
        "The clock of the claim stops, as long as its pool allows.",
    ),
    claim_verb(Op::ResumeClaim, "/v1/claims/{id}/resume", "The clock goes on."),
    Route {
        takes: Some(|g| g.subschema_for::<claim::Extend>()),
        ..claim_verb(
            Op::ExtendClaim,
            "/v1/claims/{id}/extend",
            "The lease ends later, at its latest end at most.",
        )
    },
    Route {
        method: Method::Delete,
        ..claim_verb(
            Op::ReleaseClaim,
            "/v1/claims/{id}",
            "The claim is given back; of one that is over that is true already.",
        )
    },
    get(
        Op::ListPools,
        "/v1/pools",
        Access::AtLeast(Role::Viewer),
        "Pools by namespace and name.",
        &[IN_NAMESPACE],
        &[json(200, "The pools.", |g| g.subschema_for::<List<pool::Pool>>())],
    ),
    get(
        Op::ShowPool,
        "/v1/pools/{name}",
        Access::AtLeast(Role::Viewer),
        "A pool.",
        &[POOL, NAMESPACE],
        &[tagged(json(200, "The pool.", |g| {
            g.subschema_for::<pool::Pool>()
        }))],
    ),
    get(
        Op::ListMembers,
        "/v1/pools/{name}/machines",
        Access::AtLeast(Role::Viewer),
        "The machines of a pool by number.",
        &[POOL, NAMESPACE],
        &[json(200, "The machines.", |g| {
            g.subschema_for::<List<pool::Member>>()
        })],
    ),
    Route {
        op: Op::PutPool,
        method: Method::Put,
        path: "/v1/pools/{name}",
        access: Access::AtLeast(Role::Admin),
        summary: "Makes a pool, or changes the one that is there. The operation ends when as many machines as asked for are free.",
        parameters: &[POOL, NAMESPACE, IF_MATCH, IF_NONE_MATCH, MAKER, LEFT_BY],
        takes: Some(attributes::pool),
        answers: &[tagged(ACCEPTED)],
    },
    making(Op::MakePool, "/v1/pools/{name}/maker", &[POOL, NAMESPACE]),
    Route {
        op: Op::DeletePool,
        method: Method::Delete,
        path: "/v1/pools/{name}",
        access: Access::AtLeast(Role::Admin),
        summary: "Removes a pool, as its `on_destroy` says. The operation ends when its last machine is gone.",
        parameters: &[POOL, NAMESPACE, IF_MATCH],
        takes: None,
        answers: &[ACCEPTED],
    },
    get(
        Op::ListCodes,
        "/v1/codes",
        Access::AtLeast(Role::Viewer),
        "Codes by namespace and name, without their values.",
        &[IN_NAMESPACE],
        &[json(200, "The codes.", |g| g.subschema_for::<List<code::Code>>())],
    ),
    get(
        Op::ShowCode,
        "/v1/codes/{name}",
        Access::AtLeast(Role::Viewer),
        "A code, without its values.",
        &[CODE, NAMESPACE],
        &[tagged(json(200, "The code.", |g| {
            g.subschema_for::<code::Code>()
        }))],
    ),
    get(
        Op::ShowValues,
        "/v1/codes/{name}/values",
        Access::AtLeast(Role::Admin),
        "What is typed to redeem a code: for the sheet that is printed.",
        &[CODE, NAMESPACE],
        &[json(200, "The values.", |g| g.subschema_for::<code::Values>())],
    ),
    Route {
        op: Op::PutCode,
        method: Method::Put,
        path: "/v1/codes/{name}",
        access: Access::AtLeast(Role::Admin),
        summary: "Makes a code, or changes the one that is there. A batch is grown without touching the values that were handed out.",
        parameters: &[CODE, NAMESPACE, IF_MATCH, IF_NONE_MATCH, MAKER, LEFT_BY],
        takes: Some(attributes::code),
        answers: &[tagged(ACCEPTED)],
    },
    making(Op::MakeCode, "/v1/codes/{name}/maker", &[CODE, NAMESPACE]),
    Route {
        op: Op::DeleteCode,
        method: Method::Delete,
        path: "/v1/codes/{name}",
        access: Access::AtLeast(Role::Admin),
        summary: "Takes a code away: none of its values is taken from now on, who waits by it waits no longer, and claims go on or end as its `on_destroy` says.",
        parameters: &[CODE, NAMESPACE, IF_MATCH],
        takes: None,
        answers: &[ACCEPTED],
    },
    Route {
        op: Op::RevokeCode,
        method: Method::Post,
        path: "/v1/codes/{name}/revoke",
        access: Access::AtLeast(Role::Operator),
        summary: "None of a code's values is taken from now on, and who waits by it waits no longer. It stays, and is shown.",
        parameters: &[
            CODE,
            NAMESPACE,
            Parameter {
                name: "running",
                place: Place::Query,
                means: "What it means for claims that have machines: they go on (`go_on`, the default), or end (`end`).",
                schema: r#"{"type": "string", "enum": ["go_on", "end"]}"#,
            },
        ],
        takes: None,
        answers: &[json(200, "The code.", |g| g.subschema_for::<code::Code>())],
    },
    get(
        Op::ListOperations,
        "/v1/operations",
        Access::AtLeast(Role::Viewer),
        "Operations, the newest first.",
        &[
            IN_NAMESPACE,
            LIMIT,
            AFTER,
            Parameter {
                name: "state",
                place: Place::Query,
                means: "Only operations in this state.",
                schema: r##"{"$ref": "#/components/schemas/State"}"##,
            },
        ],
        &[json(200, "The operations.", |g| {
            g.subschema_for::<List<operation::Operation>>()
        })],
    ),
    get(
        Op::ShowOperation,
        "/v1/operations/{id}",
        Access::AtLeast(Role::Viewer),
        "An operation with its log.",
        &[OPERATION],
        &[json(200, "The operation.", |g| {
            g.subschema_for::<operation::Operation>()
        })],
    ),
    Route {
        op: Op::CancelOperation,
        method: Method::Post,
        path: "/v1/operations/{id}/cancel",
        access: Access::AtLeast(Role::Operator),
        summary: "Ends an operation where it is. What it asked for stays asked for; what it did is not undone.",
        parameters: &[OPERATION],
        takes: None,
        answers: &[json(200, "The operation.", |g| {
            g.subschema_for::<operation::Operation>()
        })],
    },
    get(
        Op::Events,
        "/v1/events",
        Access::AtLeast(Role::Viewer),
        "What happens, as server-sent events: from the one after `Last-Event-ID` on, else from now on.",
        &[
            IN_NAMESPACE,
            Parameter {
                name: event::LAST_EVENT_ID,
                place: Place::Header,
                means: "The number of the last event that was seen.",
                schema: r#"{"type": "integer", "minimum": 0, "maximum": 9223372036854775807}"#,
            },
            Parameter {
                name: "after",
                place: Place::Query,
                means: "The same, for clients that cannot set the header; 0 begins at the beginning.",
                schema: r#"{"type": "integer", "minimum": 0, "maximum": 9223372036854775807}"#,
            },
            Parameter {
                name: "until",
                place: Place::Query,
                means: "`now` ends with the events that there are, instead of waiting for more.",
                schema: r#"{"type": "string", "enum": ["now"]}"#,
            },
        ],
        &[text("The events.", "text/event-stream")],
    ),
    get(
        Op::ListHosts,
        "/v1/hosts",
        Access::AtLeast(Role::Viewer),
        "Hosts by name.",
        &[],
        &[json(200, "The hosts.", |g| g.subschema_for::<List<host::Host>>())],
    ),
    Route {
        op: Op::WishHost,
        method: Method::Put,
        path: "/v1/hosts/{name}/wish",
        access: Access::AtLeast(Role::Operator),
        summary: "Opens, cordons or drains a host.",
        parameters: &[path("name", "The host.")],
        takes: Some(|g| g.subschema_for::<host::Wished>()),
        answers: &[json(200, "The host.", |g| g.subschema_for::<host::Host>())],
    },
    get(
        Op::ListQuotas,
        "/v1/quotas",
        Access::AtLeast(Role::Viewer),
        "What namespaces may have, and hold of it.",
        &[IN_NAMESPACE],
        &[json(200, "The quotas.", |g| {
            g.subschema_for::<List<quota::Quota>>()
        })],
    ),
    get(
        Op::ListTokens,
        "/v1/tokens",
        Access::AtLeast(Role::Admin),
        "Tokens by name, without their texts.",
        &[],
        &[json(200, "The tokens.", |g| {
            g.subschema_for::<List<token::Token>>()
        })],
    ),
    Route {
        op: Op::MakeToken,
        method: Method::Post,
        path: "/v1/tokens",
        access: Access::AtLeast(Role::Admin),
        summary: "Makes a token. Its text is in this answer, and nowhere else.",
        parameters: &[],
        takes: Some(|g| g.subschema_for::<token::NewToken>()),
        answers: &[json(201, "The token.", |g| g.subschema_for::<token::MadeToken>())],
    },
    Route {
        op: Op::RevokeToken,
        method: Method::Delete,
        path: "/v1/tokens/{name}",
        access: Access::AtLeast(Role::Admin),
        summary: "Revokes a token, at once.",
        parameters: &[path("name", "The token.")],
        takes: None,
        answers: &[json(200, "The token.", |g| g.subschema_for::<token::Token>())],
    },
];

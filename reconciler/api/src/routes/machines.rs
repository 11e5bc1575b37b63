//! The routes of machines, networks and what is on hosts: for people, and for an engine that works through a server.

use super::table::{
    ACCEPTED, IF_MATCH, IF_NONE_MATCH, IN_NAMESPACE, NAMESPACE, get, json, path, tagged, text,
};
use super::{Access, Answer, Body, Method, Op, Parameter, Place, Route, Tagged};
use crate::{claim, image, network, token::Role, upload, vm};

const IDEMPOTENCY: Parameter = Parameter {
    name: claim::IDEMPOTENCY_KEY,
    place: Place::Header,
    means: "A text of the caller's own. The same one is the same request: it is answered with the same operation.",
    schema: r#"{"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"}"#,
};
const OBJECT: Parameter = Parameter {
    name: "object",
    place: Place::Query,
    means: "By an engine: by what its state knows the object again, as JSON.",
    schema: r#"{"type": "string", "maxLength": 4096}"#,
};
const ON: Parameter = path("host", "The host.");
const VM: Parameter = path("name", "The machine.");
const NETWORK: Parameter = path("name", "The network.");
const BY_ANY_NAME: Parameter = path(
    "id",
    "Its name, of this namespace first, then the host's; or the host's id.",
);
const ADOPT: Parameter = Parameter {
    name: "adopt",
    place: Place::Query,
    means: "Whether a machine of that name that others made is taken over.",
    schema: r#"{"type": "boolean"}"#,
};
const FORCE: Parameter = Parameter {
    name: "force",
    place: Place::Query,
    means: "Whether who has the console already loses it to the caller, and is told. Without it who only reads takes it over, and a WebSocket is refused.",
    schema: r#"{"type": "boolean"}"#,
};
const SHA256: Parameter = path(
    "sha256",
    "The SHA-256 of what is sent: 64 digits, 0 to 9 and a to f.",
);
/// What engines write is explained nowhere here.
const ENGINES: fn(&mut schemars::SchemaGenerator) -> schemars::Schema = |_| schemars::json_schema!({});

pub(super) const ROUTES: &[Route] = &[
    get(
        Op::ListVms,
        "/v1/vms",
        Access::AtLeast(Role::Viewer),
        "Machines by host and name. Those that are not labyard's are shown to tokens for all namespaces.",
        &[IN_NAMESPACE],
        &[json(200, "The machines.", |g| g.subschema_for::<vm::Vms>())],
    ),
    Route {
        op: Op::PlaceVm,
        method: Method::Post,
        path: "/v1/vms",
        access: Access::AtLeast(Role::Admin),
        summary: "Makes a machine on the host that has most room for it.",
        parameters: &[NAMESPACE, IDEMPOTENCY],
        takes: Some(vm::put),
        answers: &[ACCEPTED],
    },
    get(
        Op::ShowVm,
        "/v1/vms/{host}/{name}",
        Access::AtLeast(Role::Viewer),
        "A machine.",
        &[ON, VM, NAMESPACE, OBJECT],
        &[tagged(json(200, "The machine.", |g| g.subschema_for::<vm::Vm>()))],
    ),
    Route {
        op: Op::PutVm,
        method: Method::Put,
        path: "/v1/vms/{host}/{name}",
        access: Access::AtLeast(Role::Admin),
        summary: "Makes a machine, or changes the one that is there. The operation ends when it is so, and the machine is ready.",
        parameters: &[ON, VM, NAMESPACE, IDEMPOTENCY, IF_MATCH, IF_NONE_MATCH, ADOPT],
        takes: Some(vm::put),
        answers: &[ACCEPTED],
    },
    Route {
        op: Op::DeleteVm,
        method: Method::Delete,
        path: "/v1/vms/{host}/{name}",
        access: Access::AtLeast(Role::Admin),
        summary: "Removes a machine with its disks.",
        parameters: &[ON, VM, NAMESPACE, IDEMPOTENCY, IF_MATCH],
        takes: None,
        answers: &[ACCEPTED],
    },
    Route {
        op: Op::DestroyVm,
        method: Method::Post,
        path: "/v1/vms/{host}/{name}/destroy",
        access: Access::AtLeast(Role::Admin),
        summary: "Removes a machine as an engine asks for it that keeps a state of it: what is left of one whose definition is gone, too.",
        parameters: &[ON, VM, NAMESPACE, IDEMPOTENCY],
        takes: Some(|g| g.subschema_for::<vm::Destroy>()),
        answers: &[ACCEPTED],
    },
    Route {
        op: Op::ConfirmVm,
        method: Method::Post,
        path: "/v1/vms/{host}/{name}/confirm",
        access: Access::AtLeast(Role::Admin),
        summary: "Says that a state has the machine: no later create takes it up any more. True already is success.",
        parameters: &[ON, VM, NAMESPACE, OBJECT],
        takes: None,
        answers: &[json(200, "It is so.", ENGINES)],
    },
    get(
        Op::FollowConsole,
        "/v1/vms/{host}/{name}/console",
        Access::AtLeast(Role::Operator),
        "What a machine says on its serial console from now on, until it ends or the caller does; as a WebSocket, which is asked for by Upgrade, what is sent is typed into it. One has a console at a time.",
        &[ON, VM, NAMESPACE, FORCE],
        &[
            text("What it says.", "application/octet-stream"),
            Answer {
                status: 101,
                means: "A WebSocket: what the machine says comes in binary messages, and what is sent is typed. The code of its close says why it ended: 1000 the machine has ended, 1001 the server ends, 1011 the host broke off, 4001 taken over, 4002 the token is not valid any more, 4003 the claim of a pool's machine is over, 4004 the machine takes no keys.",
                body: Body::Empty,
                tagged: Tagged::No,
            },
        ],
    ),
    get(
        Op::ShowRoom,
        "/v1/vms/{host}/{name}/room",
        Access::AtLeast(Role::Viewer),
        "What a machine can take without a restart, as engines write it; null where it does not run.",
        &[ON, VM, NAMESPACE, OBJECT],
        &[json(200, "The room.", ENGINES)],
    ),
    Route {
        op: Op::CaptureVm,
        method: Method::Post,
        path: "/v1/vms/{host}/{name}/capture",
        access: Access::AtLeast(Role::Admin),
        summary: "Makes the next revision of an image of a machine's disk. The operation's result has its name, its revision, and whether it is sealed.",
        parameters: &[ON, VM, NAMESPACE, IDEMPOTENCY],
        takes: Some(|g| g.subschema_for::<image::Capture>()),
        answers: &[ACCEPTED],
    },
    get(
        Op::ListImages,
        "/v1/images",
        Access::AtLeast(Role::Viewer),
        "Captured images by namespace, name and revision.",
        &[
            IN_NAMESPACE,
            Parameter {
                name: "host",
                place: Place::Query,
                means: "Only those of this host.",
                schema: r#"{"type": "string", "minLength": 1, "maxLength": 128}"#,
            },
        ],
        &[json(200, "The images.", |g| g.subschema_for::<image::Images>())],
    ),
    Route {
        op: Op::DeleteImage,
        method: Method::Delete,
        path: "/v1/images/{host}/{name}/{revision}",
        access: Access::AtLeast(Role::Admin),
        summary: "Removes a revision of an image that no machine of the host and no pool is made of.",
        parameters: &[
            ON,
            path("name", "The image."),
            Parameter {
                name: "revision",
                place: Place::Path,
                means: "Its number.",
                schema: r#"{"type": "integer", "minimum": 1, "maximum": 4294967295}"#,
            },
            NAMESPACE,
            IDEMPOTENCY,
        ],
        takes: None,
        answers: &[ACCEPTED],
    },
    Route {
        op: Op::Upload,
        method: Method::Put,
        path: "/v1/uploads/{sha256}",
        access: Access::AtLeast(Role::Admin),
        summary: "Takes an image of the caller's own computer, for a machine that names a `file:` with this digest.",
        parameters: &[SHA256],
        takes: None,
        answers: &[json(200, "It is there.", |g| g.subschema_for::<upload::Upload>())],
    },
    get(
        Op::ShowUpload,
        "/v1/uploads/{sha256}",
        Access::AtLeast(Role::Admin),
        "Whether an image was sent and is kept; it counts as sent now.",
        &[SHA256],
        &[json(200, "It is there.", |g| g.subschema_for::<upload::Upload>())],
    ),
    get(
        Op::ListNetworks,
        "/v1/networks",
        Access::AtLeast(Role::Viewer),
        "Networks by host and name. Those that are not labyard's are shown to tokens for all namespaces.",
        &[IN_NAMESPACE],
        &[json(200, "The networks.", |g| {
            g.subschema_for::<network::Networks>()
        })],
    ),
    get(
        Op::ShowNetwork,
        "/v1/networks/{host}/{name}",
        Access::AtLeast(Role::Viewer),
        "A network.",
        &[ON, NETWORK, NAMESPACE, OBJECT],
        &[tagged(json(200, "The network.", |g| {
            g.subschema_for::<network::Network>()
        }))],
    ),
    Route {
        op: Op::PutNetwork,
        method: Method::Put,
        path: "/v1/networks/{host}/{name}",
        access: Access::AtLeast(Role::Admin),
        summary: "Makes a network, or changes the one that is there.",
        parameters: &[ON, NETWORK, NAMESPACE, IDEMPOTENCY, IF_MATCH, IF_NONE_MATCH],
        takes: Some(vm::put_network),
        answers: &[ACCEPTED],
    },
    Route {
        op: Op::DeleteNetwork,
        method: Method::Delete,
        path: "/v1/networks/{host}/{name}",
        access: Access::AtLeast(Role::Admin),
        summary: "Removes a network that no machine is on.",
        parameters: &[ON, NETWORK, NAMESPACE, OBJECT, IDEMPOTENCY, IF_MATCH],
        takes: None,
        answers: &[ACCEPTED],
    },
    get(
        Op::HostFacts,
        "/v1/hosts/{host}/facts",
        Access::AtLeast(Role::Viewer),
        "What a host has, as engines write it.",
        &[ON],
        &[json(200, "The facts.", ENGINES)],
    ),
    get(
        Op::HostOffers,
        "/v1/hosts/{host}/offers",
        Access::AtLeast(Role::Viewer),
        "What a host can give a machine, as engines write it.",
        &[ON],
        &[json(200, "The offers.", ENGINES)],
    ),
    get(
        Op::HostCapacity,
        "/v1/hosts/{host}/capacity",
        Access::AtLeast(Role::Viewer),
        "What a host has and what is taken of it, as engines write it.",
        &[
            ON,
            Parameter {
                name: "now",
                place: Place::Query,
                means: "Look now, and measure the room of these pools, with commas between them. Left out: as the last look was.",
                schema: r#"{"type": "string", "maxLength": 4096}"#,
            },
        ],
        &[json(200, "The capacity.", ENGINES)],
    ),
    get(
        Op::HostSnapshot,
        "/v1/hosts/{host}/snapshot",
        Access::AtLeast(Role::Viewer),
        "All that is on a host, as engines write it; of other namespaces than the token's without what makes an object one's own.",
        &[ON],
        &[json(200, "The snapshot.", ENGINES)],
    ),
    get(
        Op::HostTaken,
        "/v1/hosts/{host}/taken",
        Access::AtLeast(Role::Viewer),
        "What machines of other names have that would be derived of this one's, as engines write it.",
        &[
            ON,
            NAMESPACE,
            Parameter {
                name: "name",
                place: Place::Query,
                means: "The machine.",
                schema: r#"{"type": "string", "minLength": 1, "maxLength": 128}"#,
            },
        ],
        &[json(200, "What is taken.", ENGINES)],
    ),
    get(
        Op::HostFile,
        "/v1/hosts/{host}/file",
        Access::AtLeast(Role::Admin),
        "How long a file of a host is, as engines write it; null where that cannot be told. Only of files that machines may be made from.",
        &[
            ON,
            Parameter {
                name: "path",
                place: Place::Query,
                means: "Where it is on the host.",
                schema: r#"{"type": "string", "minLength": 1, "maxLength": 4096}"#,
            },
        ],
        &[json(200, "The file.", ENGINES)],
    ),
    get(
        Op::FindVm,
        "/v1/hosts/{host}/vms/{id}",
        Access::AtLeast(Role::Viewer),
        "A machine of a host that is labyard's or not, for who takes it over.",
        &[ON, BY_ANY_NAME, NAMESPACE],
        &[json(200, "The machine.", |g| g.subschema_for::<vm::Found>())],
    ),
    get(
        Op::ShowSeed,
        "/v1/hosts/{host}/vms/{id}/seed",
        Access::AtLeast(Role::Admin),
        "What the seed of a machine was made of, as far as it is no secret.",
        &[ON, BY_ANY_NAME, NAMESPACE],
        &[json(200, "The contents; null where there are none.", ENGINES)],
    ),
    get(
        Op::ShowAddresses,
        "/v1/hosts/{host}/vms/{id}/addresses",
        Access::AtLeast(Role::Viewer),
        "Addresses of a running machine that no lease shows, as engines write them.",
        &[ON, BY_ANY_NAME, NAMESPACE],
        &[json(200, "The addresses.", ENGINES)],
    ),
    get(
        Op::FindNetwork,
        "/v1/hosts/{host}/networks/{id}",
        Access::AtLeast(Role::Viewer),
        "A network of a host that is labyard's or not, for who takes it over.",
        &[ON, BY_ANY_NAME, NAMESPACE],
        &[json(200, "The network.", |g| g.subschema_for::<vm::Found>())],
    ),
    get(
        Op::ShowLeases,
        "/v1/hosts/{host}/networks/{id}/leases",
        Access::AtLeast(Role::Viewer),
        "The leases of a network, read now, as engines write them.",
        &[ON, BY_ANY_NAME, NAMESPACE],
        &[json(200, "The leases.", ENGINES)],
    ),
];

//! All routes in one table: what each is called, who may use it, what it takes and answers. The server builds its router
//! of this table and enforces [`Access`] by it; [`crate::openapi`] is generated from it; the client takes its paths from
//! it.
//!
//! ```
//! use labyard_api::routes::{Method, Op, route};
//! let release = route(Op::ReleaseClaim);
//! assert_eq!((release.method, release.path), (Method::Delete, "/v1/claims/{id}"));
//! assert_eq!(release.filled(&["7f3a"]), "/v1/claims/7f3a");
//! ```

mod machines;
mod table;

pub use table::{route, routes};

use crate::token::Role;
use schemars::{Schema, SchemaGenerator};

/// Each thing that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Whether the server lives.
    Health,
    /// Whether it can serve.
    Readiness,
    /// Its numbers, for Prometheus.
    Metrics,
    /// What this API is.
    OpenApi,
    /// What the server is.
    ShowServer,
    /// A person is sent to sign in.
    Login,
    /// A person comes back from there.
    LoginBack,
    /// The terminal of a person who signed in gets the token.
    LoginToken,
    /// A code is redeemed.
    Redeem,
    /// All claims.
    ListClaims,
    /// One claim.
    ShowClaim,
    /// Somebody was seen.
    KeepClaim,
    /// The clock of a claim stops.
    PauseClaim,
    /// It goes on.
    ResumeClaim,
    /// A claim ends later.
    ExtendClaim,
    /// A claim is given back.
    ReleaseClaim,
    /// All pools.
    ListPools,
    /// One pool.
    ShowPool,
    /// Its machines.
    ListMembers,
    /// A pool is made or changed.
    PutPool,
    /// Somebody makes a pool, or has written it down.
    MakePool,
    /// A pool is removed.
    DeletePool,
    /// All codes.
    ListCodes,
    /// One code.
    ShowCode,
    /// Its values.
    ShowValues,
    /// A code is made or changed.
    PutCode,
    /// Somebody makes a code, or has written it down.
    MakeCode,
    /// A code is taken away.
    DeleteCode,
    /// A code is revoked.
    RevokeCode,
    /// All operations.
    ListOperations,
    /// One operation.
    ShowOperation,
    /// An operation is ended.
    CancelOperation,
    /// What happens.
    Events,
    /// All machines.
    ListVms,
    /// A machine is made where there is room.
    PlaceVm,
    /// One machine.
    ShowVm,
    /// A machine is made or changed.
    PutVm,
    /// A machine is removed.
    DeleteVm,
    /// A machine of a state is removed.
    DestroyVm,
    /// A machine is its state's for good.
    ConfirmVm,
    /// What a machine says on its serial console.
    FollowConsole,
    /// What a machine can take without a restart.
    ShowRoom,
    /// A machine's disk becomes an image.
    CaptureVm,
    /// All captured images.
    ListImages,
    /// A revision of one is removed.
    DeleteImage,
    /// An image is sent.
    Upload,
    /// Whether it was.
    ShowUpload,
    /// All networks.
    ListNetworks,
    /// One network.
    ShowNetwork,
    /// A network is made or changed.
    PutNetwork,
    /// A network is removed.
    DeleteNetwork,
    /// What a host has.
    HostFacts,
    /// What it can give.
    HostOffers,
    /// What is taken of it.
    HostCapacity,
    /// All that is on it.
    HostSnapshot,
    /// What other machines have that would be derived.
    HostTaken,
    /// A file of it.
    HostFile,
    /// A machine of it by any name.
    FindVm,
    /// What its seed was made of.
    ShowSeed,
    /// Addresses that no lease shows.
    ShowAddresses,
    /// A network of it by any name.
    FindNetwork,
    /// The leases of a network.
    ShowLeases,
    /// All hosts.
    ListHosts,
    /// A host is opened, cordoned or drained.
    WishHost,
    /// What namespaces may have.
    ListQuotas,
    /// All tokens.
    ListTokens,
    /// A token is made.
    MakeToken,
    /// A token is revoked.
    RevokeToken,
}

/// A method of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reads.
    Get,
    /// Does.
    Post,
    /// Makes or changes.
    Put,
    /// Removes.
    Delete,
}

impl Method {
    /// Its word in a request.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, without a token.
    Everybody,
    /// Who has a token that redeems: of the role `redeem`, `operator` or `admin`.
    Redeemer,
    /// The holder of the claim by its secret, or a token of at least this role.
    HolderOr(Role),
    /// A token of at least this role.
    AtLeast(Role),
}

impl Access {
    /// Whether a token of this role may.
    #[must_use]
    pub fn admits(self, role: Role) -> bool {
        match self {
            Self::Everybody => true,
            Self::Redeemer => role == Role::Redeem || role.is_at_least(Role::Operator),
            Self::HolderOr(least) | Self::AtLeast(least) => role.is_at_least(least),
        }
    }

    /// Who that is, for people.
    #[must_use]
    pub fn told(self) -> String {
        match self {
            Self::Everybody => "Everybody, without a token.".to_owned(),
            Self::Redeemer => "A token of the role redeem, operator or admin.".to_owned(),
            Self::HolderOr(role) => format!("The claim's secret, or a token of the role {role} or more."),
            Self::AtLeast(role) => format!("A token of the role {role} or more."),
        }
    }
}

/// How an answer without an error looks.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    /// Nothing.
    Empty,
    /// JSON of that schema.
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// Text of that media type.
    Text(&'static str),
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// What it says.
    pub means: &'static str,
    /// What comes with it.
    pub body: Body,
    /// Whether it has an `ETag`.
    pub tagged: Tagged,
}

/// Whether an answer says which version of an object it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tagged {
    /// By an `ETag`.
    Yes,
    /// It does not.
    No,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the path; needed.
    Path,
    /// In the query.
    Query,
    /// In a header.
    Header,
    /// In a header, and needed.
    NeededHeader,
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// What it means.
    pub means: &'static str,
    /// Its schema, as JSON.
    pub schema: &'static str,
}

/// A route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// What it does.
    pub op: Op,
    /// By which method.
    pub method: Method,
    /// At which path, with parameters in braces.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// What is sent with it.
    pub takes: Option<fn(&mut SchemaGenerator) -> Schema>,
    /// What it answers.
    pub answers: &'static [Answer],
}

impl Route {
    /// Its path with values for its parameters, escaped.
    ///
    /// # Panics
    /// If they are not as many as the path has.
    #[must_use]
    pub fn filled(&self, values: &[&str]) -> String {
        let mut values = values.iter();
        let parts = self.path.split('/').map(|part| match part.starts_with('{') {
            true => escaped(values.next().expect("a value for each parameter of the path")),
            false => part.to_owned(),
        });
        parts.collect::<Vec<_>>().join("/")
    }
}

/// A text as one part of a path, or as a value of a query.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_routes_do_the_same_or_are_reached_the_same_way() {
        let ops: HashSet<_> = routes().iter().map(|route| route.op).collect();
        let ways: HashSet<_> = routes().iter().map(|route| (route.method, route.path)).collect();
        assert_eq!((ops.len(), ways.len()), (routes().len(), routes().len()));
    }

    #[test]
    fn every_parameter_of_a_path_is_described_and_conversely() {
        for route in routes() {
            let in_path: HashSet<_> = route
                .path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            let described: HashSet<_> = route
                .parameters
                .iter()
                .filter(|parameter| parameter.place == Place::Path)
                .map(|parameter| parameter.name)
                .collect();
            assert_eq!(in_path, described, "{:?}", route.op);
        }
    }

    /// A token that redeems sees nothing: it gets no further than the code that it was given.
    #[test]
    fn a_token_that_redeems_may_redeem_and_nothing_else() {
        for route in routes() {
            let may = route.access.admits(Role::Redeem);
            let open = matches!(route.access, Access::Everybody | Access::Redeemer);
            assert_eq!(may, open, "{:?}", route.op);
            // Who signs in has no token yet, and brings what the sign-in gave.
            assert!(
                route.method == Method::Get
                    || route.access != Access::Everybody
                    || route.op == Op::LoginToken,
                "{:?}",
                route.op
            );
        }
    }

    #[test]
    fn values_in_paths_are_escaped() {
        assert_eq!(route(Op::ShowPool).filled(&["a/b c"]), "/v1/pools/a%2Fb%20c");
    }
}

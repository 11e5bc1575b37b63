//! The service about itself: Identify, and its settings.

use crate::schema::Build;

use super::super::config::{Hardening, Rights, Unencrypted, User};
use super::super::envelope::{Request, Verb};
use super::super::fault::{Fault, Kind};
use super::super::names::{CONFIG, IDENTITY, WSMAN};
use super::super::xml::leaf;
use super::{Reply, Service, answer_to};

impl Service {
    /// To whom logged in; strangers are told zeros.
    pub(super) fn identify(&self) -> Reply {
        let build = match self.config.build {
            Build::Server2019 => "10.0.17763",
            Build::Server23h2 => "10.0.25398",
        };
        identity(build)
    }

    /// The settings, which an administrator may read.
    pub(super) fn settings(&self, user: &User, request: &Request) -> Result<Reply, Fault> {
        if user.rights != Rights::Administrator {
            return Err(Fault::new(Kind::AccessDenied, "Access is denied."));
        }
        if request.verb != Verb::Get {
            return Err(Fault::new(
                Kind::UnsupportedFeature,
                "the settings can be read, and nothing else",
            ));
        }
        let config = &self.config;
        let limits = &config.limits;
        let truth = |truth: bool| if truth { "true" } else { "false" };
        let hardening = match config.hardening {
            Hardening::None => "None",
            Hardening::Relaxed => "Relaxed",
            Hardening::Strict => "Strict",
        };
        let auth = [
            leaf("cfg:Basic", truth(config.offers.basic)),
            leaf("cfg:Kerberos", "false"),
            leaf("cfg:Negotiate", truth(config.offers.negotiate)),
            leaf("cfg:Certificate", truth(config.offers.certificate)),
            leaf("cfg:CredSSP", "false"),
            leaf("cfg:CbtHardeningLevel", hardening),
        ]
        .concat();
        let service = [
            leaf("cfg:MaxConcurrentOperations", "4294967295"),
            leaf(
                "cfg:MaxConcurrentOperationsPerUser",
                &limits.operations.to_string(),
            ),
            leaf(
                "cfg:EnumerationTimeoutms",
                &limits.enumeration.as_millis().to_string(),
            ),
            leaf("cfg:MaxConnections", &limits.connections.to_string()),
            leaf("cfg:MaxPacketRetrievalTimeSeconds", "120"),
            leaf(
                "cfg:AllowUnencrypted",
                truth(config.unencrypted == Unencrypted::Allowed),
            ),
            format!("<cfg:Auth>{auth}</cfg:Auth>"),
        ]
        .concat();
        let body = [
            leaf("cfg:MaxEnvelopeSizekb", &limits.envelope_kib.to_string()),
            leaf("cfg:MaxTimeoutms", &limits.timeout.as_millis().to_string()),
            leaf("cfg:MaxBatchItems", &limits.batch.to_string()),
            leaf("cfg:MaxProviderRequests", "4294967295"),
            format!("<cfg:Service>{service}</cfg:Service>"),
        ]
        .concat();
        Ok(Reply::new(
            answer_to(&Verb::Get, "", ""),
            format!("<cfg:Config xmlns:cfg=\"{CONFIG}\" xml:lang=\"en-US\">{body}</cfg:Config>"),
        ))
    }
}

/// Who is there.
pub(crate) fn identity(build: &str) -> Reply {
    let said = [
        leaf("wsmid:ProtocolVersion", WSMAN),
        leaf("wsmid:ProductVendor", "Microsoft Corporation"),
        leaf("wsmid:ProductVersion", &format!("OS: {build} SP: 0.0 Stack: 3.0")),
    ]
    .concat();
    Reply::new(
        answer_to(&Verb::Identify, "", ""),
        format!("<wsmid:IdentifyResponse xmlns:wsmid=\"{IDENTITY}\">{said}</wsmid:IdentifyResponse>"),
    )
}

//! Who logs in to an SMB server, and the tokens of that login: NTLM in SPNEGO.

use sspi::ntlm::NtlmConfig;
use sspi::{
    AuthIdentity, BufferType, ClientRequestFlags, CredentialUse, Credentials, CredentialsBuffers,
    DataRepresentation, Error, ErrorKind, Negotiate, NegotiateConfig, SecurityBuffer, SecurityStatus, Sspi,
    SspiImpl, Username,
};
use zeroize::Zeroizing;

/// A user of the host or of its domain.
#[derive(Clone)]
pub struct Account {
    /// The name: `NAME` of a user of the host, `DOMAIN\NAME` of one of a domain.
    pub user: String,
    password: Zeroizing<String>,
}

impl Account {
    /// A user with a password.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            password: Zeroizing::new(password.into()),
        }
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A login under way.
pub(super) struct Login {
    context: Negotiate,
    credentials: Option<CredentialsBuffers>,
    target: String,
    reached: bool,
}

impl Login {
    pub(super) fn begin(account: &Account, host: &str) -> Result<Self, Error> {
        // What a host notes down of who came; it is no secret and proves nothing.
        let here = "labyard".to_owned();
        let packages = "ntlm,!kerberos,!pku2u".to_owned();
        let ntlm = Box::new(NtlmConfig::new(here.clone()));
        let mut context = Negotiate::new_client(NegotiateConfig::new(ntlm, Some(packages), here))?;
        let username = Username::parse(&account.user)
            .map_err(|error| Error::new(ErrorKind::InvalidParameter, error.to_string()))?;
        let identity = Credentials::AuthIdentity(AuthIdentity {
            username,
            password: account.password.to_string().into(),
        });
        let acquired = context
            .acquire_credentials_handle()
            .with_credential_use(CredentialUse::Outbound)
            .with_auth_data(&identity)
            .execute(&mut context)?;
        Ok(Self {
            context,
            credentials: acquired.credentials_handle,
            target: format!("cifs/{host}"),
            reached: false,
        })
    }

    /// Whether this side has nothing more to say or to hear.
    pub(super) fn reached(&self) -> bool {
        self.reached
    }

    /// What is sent next, after this came; nothing has come yet at the first step.
    pub(super) fn step(&mut self, token: Vec<u8>) -> Result<Vec<u8>, Error> {
        let mut input = [SecurityBuffer::new(token, BufferType::Token)];
        let mut output = [SecurityBuffer::new(Vec::new(), BufferType::Token)];
        let mut builder = self
            .context
            .initialize_security_context()
            .with_credentials_handle(&mut self.credentials)
            .with_context_requirements(
                ClientRequestFlags::MUTUAL_AUTH
                    | ClientRequestFlags::INTEGRITY
                    | ClientRequestFlags::CONFIDENTIALITY
                    | ClientRequestFlags::SEQUENCE_DETECT
                    | ClientRequestFlags::REPLAY_DETECT,
            )
            .with_target_data_representation(DataRepresentation::Native)
            .with_target_name(&self.target)
            .with_input(&mut input)
            .with_output(&mut output);
        let result = self
            .context
            .initialize_security_context_impl(&mut builder)?
            .resolve_to_result()?;
        if matches!(
            result.status,
            SecurityStatus::CompleteAndContinue | SecurityStatus::CompleteNeeded
        ) {
            self.context.complete_auth_token(&mut output)?;
        }
        self.reached = !matches!(
            result.status,
            SecurityStatus::ContinueNeeded | SecurityStatus::CompleteAndContinue
        );
        let [token] = output;
        Ok(token.buffer)
    }

    /// What both sides have come to know. \[MS-SMB2\] 3.2.5.3: sixteen bytes of it.
    pub(super) fn session_key(&self) -> Result<Zeroizing<[u8; 16]>, Error> {
        let keys = self.context.query_context_session_key()?;
        let whole = keys.session_key.as_ref();
        let first = whole
            .first_chunk::<16>()
            .ok_or_else(|| Error::new(ErrorKind::InternalError, "the login gives no key"))?;
        Ok(Zeroizing::new(*first))
    }
}

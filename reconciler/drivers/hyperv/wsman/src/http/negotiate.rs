//! The scheme Negotiate: a login by NTLM, in SPNEGO, that belongs to one connection, and that seals what goes over it
//! where TLS does not. \[MS-WSMV\] 2.2.9.1; RFC 4559.

use sspi::ntlm::NtlmConfig;
use sspi::{
    AuthIdentity, BufferType, ClientRequestFlags, CredentialUse, Credentials, CredentialsBuffers,
    DataRepresentation, EncryptionFlags, Error, ErrorKind, Negotiate, NegotiateConfig, SecurityBuffer,
    SecurityBufferRef, SecurityStatus, Sspi, SspiImpl, Username,
};

use super::login::Account;
use super::sealed::Sealed;
use super::session::End;

/// A login on one connection.
pub(super) struct Session {
    context: Negotiate,
    credentials: Option<CredentialsBuffers>,
    /// Whose login it is.
    target: String,
    binding: Option<Vec<u8>>,
}

type Result<T> = std::result::Result<T, Error>;

impl Session {
    /// For a service on a host, bound to the channel of TLS that it is made over, where there is one.
    pub(super) fn begin(account: &Account, host: &str, binding: Option<&[u8]>) -> Result<Self> {
        // What a host notes down of who came; it is no secret and proves nothing.
        let here = "labyard".to_owned();
        let ntlm = NtlmConfig::new(here.clone());
        let packages = "ntlm,!kerberos,!pku2u".to_owned();
        let config = NegotiateConfig::new(Box::new(ntlm), Some(packages), here);
        let mut context = Negotiate::new_client(config)?;
        let username = Username::parse(&account.user)
            .map_err(|error| Error::new(ErrorKind::InvalidParameter, error.to_string()))?;
        let identity = Credentials::AuthIdentity(AuthIdentity {
            username,
            password: account.password().to_owned().into(),
        });
        let acquired = context
            .acquire_credentials_handle()
            .with_credential_use(CredentialUse::Outbound)
            .with_auth_data(&identity)
            .execute(&mut context)?;
        Ok(Self {
            context,
            credentials: acquired.credentials_handle,
            target: format!("HTTP/{host}"),
            binding: binding.map(as_structure),
        })
    }

    /// What is sent next, after this came; nothing has come yet at the first step.
    pub(super) fn step(&mut self, token: Vec<u8>) -> Result<(Vec<u8>, End)> {
        let Self {
            context,
            credentials,
            target,
            binding,
        } = self;
        let mut input = vec![SecurityBuffer::new(token, BufferType::Token)];
        if let Some(binding) = binding {
            input.push(SecurityBuffer::new(binding.clone(), BufferType::ChannelBindings));
        }
        let mut output = vec![SecurityBuffer::new(Vec::new(), BufferType::Token)];
        let mut builder = context
            .initialize_security_context()
            .with_credentials_handle(credentials)
            .with_context_requirements(
                ClientRequestFlags::MUTUAL_AUTH
                    | ClientRequestFlags::INTEGRITY
                    | ClientRequestFlags::CONFIDENTIALITY
                    | ClientRequestFlags::SEQUENCE_DETECT
                    | ClientRequestFlags::REPLAY_DETECT,
            )
            .with_target_data_representation(DataRepresentation::Native)
            .with_target_name(target)
            .with_input(&mut input)
            .with_output(&mut output);
        let result = context
            .initialize_security_context_impl(&mut builder)?
            .resolve_to_result()?;
        if matches!(
            result.status,
            SecurityStatus::CompleteAndContinue | SecurityStatus::CompleteNeeded
        ) {
            context.complete_auth_token(&mut output)?;
        }
        let end = match result.status {
            SecurityStatus::ContinueNeeded | SecurityStatus::CompleteAndContinue => End::NotYet,
            _ => End::Reached,
        };
        Ok((output.swap_remove(0).buffer, end))
    }

    pub(super) fn seal(&mut self, plain: &[u8]) -> Result<Sealed> {
        let trailer = self.context.query_context_sizes()?.security_trailer;
        let mut header = vec![0; usize::try_from(trailer)?];
        let mut bytes = plain.to_vec();
        let mut message = [
            SecurityBufferRef::token_buf(&mut header),
            SecurityBufferRef::data_buf(&mut bytes),
        ];
        self.context
            .encrypt_message(EncryptionFlags::empty(), &mut message)?;
        Ok(Sealed {
            header: message[0].data().to_vec(),
            bytes: message[1].data().to_vec(),
            plain: plain.len(),
        })
    }

    pub(super) fn open(&mut self, sealed: Sealed) -> Result<Vec<u8>> {
        let mut whole = [sealed.header, sealed.bytes].concat();
        let mut message = [
            SecurityBufferRef::stream_buf(&mut whole),
            SecurityBufferRef::data_buf(&mut []),
        ];
        self.context.decrypt_message(&mut message)?;
        Ok(message[1].data().to_vec())
    }
}

/// `SEC_CHANNEL_BINDINGS`: no addresses, and the application's data behind the eight numbers that say so.
fn as_structure(data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let numbers = [0, 0, 0, 0, 0, 0, length, 32];
    let mut structure: Vec<u8> = numbers.into_iter().flat_map(u32::to_le_bytes).collect();
    structure.extend_from_slice(data);
    structure
}

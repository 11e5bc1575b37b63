//! Passwords for Linux: SHA-512 crypt, which every Linux takes.

use labyard_schema::text::Secret;
use sha_crypt::{Algorithm, Params, PasswordHasher, ShaCrypt};

use super::GuestConfigError;

/// Sixteen random bytes, of which a hash takes as many as it can hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 16]);

/// Ten times the usual number: a guess costs so much more, a login still a fraction of a second.
const ROUNDS: u32 = 50_000;

/// Twelve bytes are the sixteen characters that crypt's salt may have.
const SALT_BYTES: usize = 12;

/// `$6$rounds=…$salt$hash`.
pub(super) fn sha512_crypt(password: &Secret, salt: Salt) -> Result<String, GuestConfigError> {
    let params = Params::new(ROUNDS).map_err(|_| GuestConfigError::Hash)?;
    ShaCrypt::new(Algorithm::Sha512Crypt, params)
        .hash_password_with_salt(password.reveal().as_bytes(), &salt.0[..SALT_BYTES])
        .map(|hash| hash.as_str().to_owned())
        .map_err(|_| GuestConfigError::Hash)
}

//! What is made for a claim: a key, where the user has none; passwords, for guests that want one. Chance is an argument.

use labyard_labs::{claim::admit::Made, ids::MemberId};
use labyard_schema::vm::{OsFamily, Vm};
use ssh_key::{LineEnding, PrivateKey, private::Ed25519Keypair};

/// Letters and digits of a password, none of which is taken for another; a password of them has 5.8 bits a character.
const LETTERS: &[u8; 57] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// Windows takes 20 at most.
const LENGTH: usize = 18;

/// How a guest lets somebody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// By a key.
    Key,
    /// By a password.
    Password,
}

/// How the guest of a machine lets somebody in.
pub(crate) fn entrance(vm: &Vm) -> Entrance {
    match vm.os_family() {
        OsFamily::Linux => Entrance::Key,
        OsFamily::Windows => Entrance::Password,
    }
}

/// The user that is let into a machine: the one that its template names, else the one that every guest of its family has.
#[must_use]
pub fn user(vm: &Vm) -> String {
    let named = vm.guest.as_ref().and_then(|guest| guest.admin_username.clone());
    named.unwrap_or_else(|| match entrance(vm) {
        Entrance::Key => "root".to_owned(),
        Entrance::Password => "Administrator".to_owned(),
    })
}

/// What machines need that let somebody in this way; `None` where that is nothing.
///
/// # Errors
/// What failed: chance, or the key's text.
pub(crate) fn make(
    machines: &[(MemberId, Entrance)],
    own_key: Option<&str>,
    random: &dyn Fn(&mut [u8]) -> Result<(), String>,
) -> Result<Option<Made>, String> {
    let mut made = Made::default();
    let by_key = machines.iter().any(|(_, entrance)| *entrance == Entrance::Key);
    if by_key && own_key.is_none() {
        let mut seed = [0; 32];
        random(&mut seed)?;
        let failed = |error: ssh_key::Error| format!("a key cannot be made: {error}");
        let key =
            PrivateKey::new(Ed25519Keypair::from_seed(&seed).into(), "labyard claim").map_err(failed)?;
        made.public_key = Some(key.public_key().to_openssh().map_err(failed)?);
        made.private_key = Some(key.to_openssh(LineEnding::LF).map_err(failed)?.to_string());
    }
    for (machine, _) in machines
        .iter()
        .filter(|(_, entrance)| *entrance == Entrance::Password)
    {
        made.passwords.insert(machine.clone(), password(random)?);
    }
    Ok((made != Made::default()).then_some(made))
}

/// A random one, with a capital, a small letter and a digit, as Windows asks for.
fn password(random: &dyn Fn(&mut [u8]) -> Result<(), String>) -> Result<String, String> {
    loop {
        let mut bytes = [0; 64];
        random(&mut bytes)?;
        // Bytes beyond the last whole multiple would make some letters likelier.
        let fair = bytes
            .iter()
            .filter(|byte| usize::from(**byte) < LETTERS.len() * 4);
        let text: String = fair
            .take(LENGTH)
            .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
            .collect();
        let has = |is: fn(&char) -> bool| text.chars().any(|letter| is(&letter));
        let mixed =
            has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && has(char::is_ascii_digit);
        if text.len() == LENGTH && mixed {
            return Ok(text);
        }
    }
}

/// The system's chance.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), String> {
    labyard_store::seal::random(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_for_who_has_none_and_a_password_for_a_guest_that_wants_one() {
        let machines = [
            (MemberId::from("a"), Entrance::Key),
            (MemberId::from("b"), Entrance::Password),
        ];
        let made = make(&machines, None, &random).unwrap().unwrap();
        let private = PrivateKey::from_openssh(made.private_key.as_ref().unwrap()).unwrap();
        assert_eq!(
            private.public_key().to_openssh().unwrap(),
            *made.public_key.as_ref().unwrap()
        );
        assert_eq!(made.passwords.len(), 1);
        assert_eq!(made.passwords[&MemberId::from("b")].len(), LENGTH);
        let other = make(&machines, None, &random).unwrap().unwrap();
        assert_ne!(other.public_key, made.public_key);
        assert_ne!(other.passwords, made.passwords);
    }

    #[test]
    fn who_brings_a_key_of_his_own_gets_none() {
        let machine = [(MemberId::from("a"), Entrance::Key)];
        assert_eq!(
            make(&machine, Some("ssh-ed25519 AAAA ada"), &random).unwrap(),
            None
        );
    }
}

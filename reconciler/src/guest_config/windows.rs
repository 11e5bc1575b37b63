//! User-data for cloudbase-init, after its documents and its source; not tried on a running Windows.
//!
//! Its NoCloud service knows host name, public keys and network of the meta-data, and neither a user's name nor a
//! password: these go into a `#cloud-config`, plain, since Windows has no form of a hashed password to set.

use serde_json::{Map, Value, json};

use super::mime::{self, Part};
use super::{Card, GuestConfig, GuestConfigError, Rights, called, powershell};

const CLOUD_CONFIG: &str = "text/cloud-config";
const SCRIPT: &str = "text/x-shellscript";
const ADMINISTRATORS: &str = "Administrators";
/// By this name the user's part is found again.
const USERS_PART: &str = "user-data";

/// The file's text: the user's alone where nothing is to be added.
pub(super) fn user_data(
    guest: &GuestConfig,
    cards: &[Card],
    written: Option<&str>,
) -> Result<Option<String>, GuestConfigError> {
    let users = users(guest).map(|users| format!("#cloud-config\n{:#}\n", json!({"users": users})));
    let script = powershell::script(guest, cards);
    let users = users.as_deref().map(|content| Part {
        content_type: CLOUD_CONFIG,
        file_name: "labyard-users.cfg",
        content,
    });
    let script = script.as_deref().map(|content| Part {
        content_type: SCRIPT,
        file_name: "labyard-guest.ps1",
        content,
    });
    // A join restarts the guest, and with that everything runs again: what the user wrote finds the domain joined.
    let mut parts: Vec<_> = users.into_iter().chain(script).collect();
    if parts.is_empty() {
        return Ok(written.map(str::to_owned));
    }
    if let Some(content) = written.filter(|text| !text.trim().is_empty()) {
        parts.push(Part {
            content_type: content_type(content)?,
            file_name: USERS_PART,
            content,
        });
    }
    Ok(Some(mime::write(&parts)))
}

/// What the user wrote, of a message of ours; nothing where the text is none of ours.
pub fn users_part(user_data: &str) -> Option<Option<String>> {
    let ours = ["labyard-users.cfg", "labyard-guest.ps1"]
        .iter()
        .any(|name| mime::part(user_data, name).is_some());
    ours.then(|| mime::part(user_data, USERS_PART))
}

/// The type under which cloudbase-init takes user-data as a part of a message.
pub(super) fn content_type(user_data: &str) -> Result<&'static str, GuestConfigError> {
    const SCRIPTS: [&str; 3] = ["#ps1", "rem cmd", "#!"];
    let begins = |with: &str| user_data.starts_with(with);
    let archive = begins("#cloud-config-archive") || begins("#cloud-config-jsonp");
    if begins("#cloud-config") && !archive {
        return Ok(CLOUD_CONFIG);
    }
    let tagged = ["<script>", "<powershell>"]
        .iter()
        .any(|tag| user_data.contains(tag));
    if user_data.trim().is_empty() || SCRIPTS.iter().any(|with| begins(with)) || tagged {
        return Ok(SCRIPT);
    }
    Err(GuestConfigError::CannotCombine(called(user_data)))
}

fn users(guest: &GuestConfig) -> Option<Vec<Value>> {
    let admin = guest.admin.name.as_ref().map(|name| {
        let password = guest.admin.password.as_ref().map(|password| password.reveal());
        user(name, &guest.admin.keys, Rights::Admin, password)
    });
    let others = guest
        .users
        .iter()
        .map(|(name, other)| user(name, &other.keys, other.rights, None));
    let users: Vec<_> = admin.into_iter().chain(others).collect();
    (!users.is_empty()).then_some(users)
}

fn user(name: &str, keys: &[String], rights: Rights, password: Option<&str>) -> Value {
    let mut entry = Map::new();
    entry.insert("name".to_owned(), json!(name));
    if let Some(password) = password {
        entry.insert("passwd".to_owned(), json!(password));
    }
    if rights == Rights::Admin {
        entry.insert("groups".to_owned(), json!([ADMINISTRATORS]));
    }
    if !keys.is_empty() {
        entry.insert("ssh_authorized_keys".to_owned(), json!(keys));
    }
    Value::Object(entry)
}

//! Vendor-data for cloud-init.
//!
//! JSON is YAML: what is written here needs no writer of YAML and cannot be broken out of. Keys that user-data have
//! too are theirs as a whole (cloud-init merges dictionaries, and lists not at all).

use serde_json::{Map, Value, json};

use super::crypt::{self, Salt};
use super::{GuestConfig, GuestConfigError, Rights, User};

const SUDO: &str = "ALL=(ALL) NOPASSWD:ALL";

/// The file's text.
pub(super) fn vendor_data(guest: &GuestConfig, salt: Salt) -> Result<String, GuestConfigError> {
    let config = cloud_config(guest, salt)?;
    Ok(format!("#cloud-config\n{:#}\n", Value::Object(config)))
}

fn cloud_config(guest: &GuestConfig, salt: Salt) -> Result<Map<String, Value>, GuestConfigError> {
    let mut config = Map::new();
    let mut put = |key: &str, value: Value| {
        config.insert(key.to_owned(), value);
    };
    put("hostname", json!(guest.hostname));
    if let Some(suffix) = &guest.dns_suffix {
        put("fqdn", json!(format!("{}.{suffix}", guest.hostname)));
    }
    put("manage_etc_hosts", json!("localhost"));
    let password = guest.admin.password.as_ref();
    let hash = password
        .map(|password| crypt::sha512_crypt(password, salt))
        .transpose()?;
    let named = guest.admin.name.as_ref();
    let mut users: Vec<Value> = Vec::new();
    match named {
        Some(name) => {
            let admin = User {
                keys: guest.admin.keys.clone(),
                rights: Rights::Admin,
            };
            users.push(user(name, &admin, hash.as_deref()));
        }
        None => {
            // The image's own user stays, and these are that user's.
            users.push(json!("default"));
            if !guest.admin.keys.is_empty() {
                put("ssh_authorized_keys", json!(guest.admin.keys));
            }
            if let Some(hash) = hash {
                put("password", json!(hash));
                put("chpasswd", json!({"expire": false}));
            }
        }
    }
    users.extend(guest.users.iter().map(|(name, other)| user(name, other, None)));
    if named.is_some() || users.len() > 1 {
        put("users", Value::Array(users));
    }
    Ok(config)
}

fn user(name: &str, user: &User, hash: Option<&str>) -> Value {
    let mut entry = Map::new();
    entry.insert("name".to_owned(), json!(name));
    entry.insert("shell".to_owned(), json!("/bin/bash"));
    entry.insert("lock_passwd".to_owned(), json!(hash.is_none()));
    if let Some(hash) = hash {
        entry.insert("hashed_passwd".to_owned(), json!(hash));
    }
    if user.rights == Rights::Admin {
        entry.insert("sudo".to_owned(), json!(SUDO));
    }
    if !user.keys.is_empty() {
        entry.insert("ssh_authorized_keys".to_owned(), json!(user.keys));
    }
    Value::Object(entry)
}

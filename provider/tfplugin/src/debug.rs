//! Debug mode: a person (or a debugger) starts the provider, and Terraform is told by a variable where it runs.

use serde_json::json;

use crate::handshake::{Address, PROTOCOL};

/// The variable's value for a provider of this address in this process.
fn reattach(provider: &str, process: u32, address: &Address) -> String {
    let mut value = serde_json::Map::new();
    let entry = json!({
        "Protocol": "grpc",
        "ProtocolVersion": PROTOCOL,
        "Pid": process,
        // A parent that tests does not kill the process when it is done.
        "Test": true,
        "Addr": { "Network": address.network(), "String": address.to_string() },
    });
    value.insert(provider.to_owned(), entry);
    serde_json::Value::Object(value).to_string()
}

/// What a person who started the provider reads.
pub(crate) fn instructions(provider: &str, process: u32, address: &Address) -> String {
    let value = reattach(provider, process, address);
    format!(
        "Provider started. To attach Terraform, set this in the environment of its command:\n\n\
         \tTF_REATTACH_PROVIDERS='{value}'\n\nCtrl-C ends the provider.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_names_provider_process_and_socket() {
        let text = reattach("registry.terraform.io/a/b", 42, &Address::Unix("/tmp/s".into()));
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let entry = &value["registry.terraform.io/a/b"];
        assert_eq!(entry["ProtocolVersion"], 6);
        assert_eq!(entry["Pid"], 42);
        assert_eq!(entry["Addr"]["Network"], "unix");
        assert_eq!(entry["Addr"]["String"], "/tmp/s");
    }
}

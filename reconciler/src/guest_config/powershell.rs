//! The script for Windows: what cloudbase-init's own keys cannot say, DNS and the domain.
//!
//! Every value stands in it as base64: PowerShell knows more kinds of quotes than can be escaped with confidence.
//! Secrets are in the script's text alone, which cloudbase-init writes to a file, runs by `-File` and deletes; no
//! argument of a process has them.

use base64ct::{Base64, Encoding};

use super::{Card, DomainJoin, GuestConfig};

/// Ends the script for cloudbase-init: start again, then run user-data once more.
const RESTART_AND_COME_BACK: u32 = 1003;

/// The script, where there is something to say.
pub(super) fn script(guest: &GuestConfig, cards: &[Card]) -> Option<String> {
    let mut lines = vec![
        "#ps1_sysnative".to_owned(),
        "$ErrorActionPreference = 'Stop'".to_owned(),
        "function Text($encoded) { [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($encoded)) }"
            .to_owned(),
    ];
    let preamble = lines.len();
    lines.extend(dns(guest, cards));
    if let Some(suffix) = &guest.dns_suffix {
        lines.push(format!(
            "Set-DnsClientGlobalSetting -SuffixSearchList @({})",
            text(suffix)
        ));
    }
    if let Some(join) = &guest.domain_join {
        lines.extend(joined(join));
    }
    (lines.len() > preamble).then(|| lines.join("\r\n") + "\r\n")
}

fn dns(guest: &GuestConfig, cards: &[Card]) -> Vec<String> {
    if guest.dns_servers.is_empty() || cards.is_empty() {
        return Vec::new();
    }
    let macs = cards
        .iter()
        .map(|card| format!("'{}'", card.mac.to_string().to_uppercase().replace(':', "-")));
    let servers = guest.dns_servers.iter().map(|server| format!("'{server}'"));
    vec![
        format!("$macs = @({})", macs.collect::<Vec<_>>().join(", ")),
        "$cards = Get-NetAdapter | Where-Object { $macs -contains $_.MacAddress }".to_owned(),
        format!(
            "$cards | Set-DnsClientServerAddress -ServerAddresses @({})",
            servers.collect::<Vec<_>>().join(", ")
        ),
    ]
}

fn joined(join: &DomainJoin) -> Vec<String> {
    let ou = join
        .ou
        .as_ref()
        .map(|ou| format!("$join['OUPath'] = {}", text(ou)));
    let before = [
        format!("$domain = {}", text(&join.domain)),
        "$computer = Get-CimInstance Win32_ComputerSystem".to_owned(),
        "if (-not ($computer.PartOfDomain -and $computer.Domain -eq $domain)) {".to_owned(),
        format!(
            "$password = ConvertTo-SecureString {} -AsPlainText -Force",
            text(join.password.reveal())
        ),
        format!(
            "$credential = New-Object Management.Automation.PSCredential({}, $password)",
            text(&join.username)
        ),
        "$join = @{ DomainName = $domain; Credential = $credential; Force = $true }".to_owned(),
    ];
    let after = [
        "Add-Computer @join".to_owned(),
        format!("exit {RESTART_AND_COME_BACK}"),
        "}".to_owned(),
    ];
    before.into_iter().chain(ou).chain(after).collect()
}

fn text(value: &str) -> String {
    format!("(Text '{}')", Base64::encode_string(value.as_bytes()))
}

//! What UEFI firmware says on the console when it boots from a network, and what that really means: it never names a
//! certificate, nor a cipher. Pure.

/// How far firmware has come, as far as its console tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// It says nothing of it.
    Silent,
    /// It looks for something to boot.
    Looking,
    /// It has started something.
    Started,
    /// It found nothing and looks no further.
    GivenUp,
}

/// Whom firmware trusts in HTTPS boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The certificates that it was given.
    Given,
    /// Nobody.
    Nobody,
}

const LOADING: &str = "BdsDxe: loading ";
const STARTING: &str = "BdsDxe: starting ";
const HTTP: &str = ">>Start HTTP Boot";
const NO_SIZE: &str = "Could not retrieve NBP file size";
const SHELL: [&str; 2] = ["EFI Internal Shell", "UEFI Interactive Shell"];
const NOTHING: &str = "No bootable option or device was found";

/// How far it has come: what it said last counts.
pub fn course(console: &str) -> Course {
    let mut course = Course::Silent;
    for line in console.lines() {
        if line.contains(NOTHING) || SHELL.iter().any(|shell| line.contains(shell)) {
            course = Course::GivenUp;
        } else if line.contains(STARTING) {
            course = Course::Started;
        } else if line.contains(LOADING) || line.contains(HTTP) {
            course = Course::Looking;
        }
    }
    course
}

/// The probable cause of the last failure that it tells of, with what to do.
pub fn explain(console: &str, trust: Trust) -> Option<String> {
    console.lines().rev().find_map(|line| cause(line, console, trust))
}

fn cause(line: &str, console: &str, trust: Trust) -> Option<String> {
    let says = |words: &str| line.contains(words);
    if says("Access Denied") || says("Security Violation") {
        return Some(
            "secure boot refused the file: it is not signed by a key that the firmware knows. Sign it, or set \
             firmware.secure_boot = false"
                .to_owned(),
        );
    }
    if says("Client Error: ") || says("Server Error: ") {
        let from = line
            .find("Error: ")
            .map_or("", |at| &line[at + "Error: ".len()..]);
        let answer = from.trim();
        return Some(format!(
            "the server answered {answer:?}: look whether the file of the network's boot.url is there, with its name \
             exactly as written"
        ));
    }
    if says("Server response timeout") {
        return Some(
            "the name in the network's boot.url was not resolved, or nobody answers there: give the network a record \
             of it (dns), or write the server's IP address in the URL and in its certificate"
                .to_owned(),
        );
    }
    if says("Unexpected network error") {
        if let Some(answer) = last_answer(console) {
            return Some(answer);
        }
        if !last_try(console).contains(NO_SIZE) {
            return Some(
                "the server was asked for the file and the download broke off: it must keep the connection between HEAD \
                 and GET (HTTP/1.1) and send a Content-Length"
                    .to_owned(),
            );
        }
        return Some(match trust {
            Trust::Given => "the firmware does not trust the server's certificate: it is signed by none of those in \
                             boot.ca_certificate, or it is not for the host in the network's boot.url (a name must be \
                             in its alternative names as DNS:, an address as IP:)"
                .to_owned(),
            Trust::Nobody => "the connection to the server broke off: look into the server's log".to_owned(),
        });
    }
    says("Remote boot cancelled").then(|| match trust {
        Trust::Nobody => "the firmware trusts no server for HTTPS: put the certificate of the server's authority into \
                          boot.ca_certificate; or nobody listens at the network's boot.url"
            .to_owned(),
        Trust::Given => "nobody listens at the network's boot.url, or the server has no cipher in common with the \
                         firmware, which speaks TLS 1.2 with an RSA certificate and AES256-GCM-SHA384 (static RSA key \
                         exchange) and nothing newer"
            .to_owned(),
    })
}

/// An answer in numbers comes before the words that follow every failure.
fn last_answer(console: &str) -> Option<String> {
    let answered = |line: &&str| line.contains("Client Error: ") || line.contains("Server Error: ");
    let line = last_try(console).lines().rfind(answered)?;
    cause(line, "", Trust::Nobody)
}

/// What was said since the last try began.
fn last_try(console: &str) -> &str {
    &console[console.rfind(HTTP).unwrap_or(0)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: &str = "  Error: Could not retrieve NBP file size from HTTP server.\n";

    fn console(second: &str) -> String {
        format!(
            "BdsDxe: loading Boot0001 \"UEFI HTTPv4 (MAC:525400EDB001)\" from PciRoot(0x0)\n\n>>Start HTTP Boot over \
             IPv4....\n  Station IP address is 10.98.0.123\n\n  URI: https://boot.edge.test/boot.efi\n\n{SIZE}\n{second}"
        )
    }

    #[test]
    fn each_failure_is_put_down_to_its_cause() {
        let rows = [
            (
                "  Error: Unexpected network error.\n",
                Trust::Given,
                "does not trust the server's certificate",
            ),
            ("  Error: Unexpected network error.\n", Trust::Nobody, "broke off"),
            (
                "  Error: Remote boot cancelled.\n",
                Trust::Nobody,
                "boot.ca_certificate",
            ),
            (
                "  Error: Remote boot cancelled.\n",
                Trust::Given,
                "AES256-GCM-SHA384",
            ),
            (
                "  Client Error: 404 Not Found\n\n  Error: Unexpected network error.\n",
                Trust::Given,
                "404 Not Found",
            ),
            ("  Server Error: 503 Service Unavailable\n", Trust::Given, "503"),
            (
                "  Error: Server response timeout.\n",
                Trust::Given,
                "not resolved",
            ),
            (
                "BdsDxe: failed to load Boot0001 \"UEFI HTTPv4\" from PciRoot(0x0): Access Denied\n",
                Trust::Given,
                "secure boot refused",
            ),
        ];
        for (second, trust, cause) in rows {
            let told = explain(&console(second), trust).unwrap();
            assert!(told.contains(cause), "{second}: {told}");
        }
        assert_eq!(explain(&console(""), Trust::Given), None);
    }

    #[test]
    fn a_download_that_breaks_off_is_told_from_a_certificate_that_is_not_trusted() {
        let text = console("  Error: Unexpected network error.\n").replace(SIZE, "");
        assert!(explain(&text, Trust::Given).unwrap().contains("broke off"));
    }

    #[test]
    fn the_last_failure_counts_and_an_earlier_answer_does_not() {
        let twice =
            console("  Client Error: 404 Not Found\n") + &console("  Error: Unexpected network error.\n");
        assert!(explain(&twice, Trust::Given).unwrap().contains("does not trust"));
    }

    #[test]
    fn firmware_has_given_up_when_it_starts_its_shell_or_says_so() {
        assert_eq!(course(""), Course::Silent);
        assert_eq!(course(&console("")), Course::Looking);
        let started = "BdsDxe: starting Boot0001 \"UEFI HTTPv4 (MAC:525400EDB001)\" from PciRoot(0x0)\n";
        assert_eq!(course(&console(started)), Course::Started);
        let shell = "BdsDxe: starting Boot0002 \"EFI Internal Shell\" from Fv(7CB8BDC9)\n";
        assert_eq!(course(&console(shell)), Course::GivenUp);
        assert_eq!(
            course("BdsDxe: No bootable option or device was found.\n"),
            Course::GivenUp
        );
    }
}

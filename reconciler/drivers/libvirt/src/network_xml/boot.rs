//! What guests that boot from a network load, as options of dnsmasq.
//!
//! libvirt's own element for it says nothing of the answer's vendor class, without which UEFI waits for ever. So three
//! options say it, known again by a tag of ours: whom it is for, the class of the answer, the file.

use labyard_driver::spec::NetworkBoot;

use super::options;
use crate::xml::Element;

const CLASS: &str = "dhcp-vendorclass=set:labyard-boot,";
const ANSWER: &str = "dhcp-option-force=tag:labyard-boot,60,";
const FILE: &str = "dhcp-boot=tag:labyard-boot,";

/// What a network says; `None` where it says not all of it.
pub(super) fn read(network: &Element) -> Option<NetworkBoot> {
    let said = |begin: &str| {
        let mut values = options::lines(network);
        values
            .find_map(|value| value.strip_prefix(begin))
            .map(str::to_owned)
    };
    let (class, answer) = (said(CLASS)?, said(ANSWER)?);
    let url = said(FILE)?.trim_matches('"').to_owned();
    (class == answer).then_some(NetworkBoot {
        url,
        vendor_class: class,
    })
}

/// Brings a network to say it; options of others are left.
pub(super) fn set(network: &mut Element, boot: Option<&NetworkBoot>) {
    let said = boot.map(|NetworkBoot { url, vendor_class }| {
        [
            format!("{CLASS}{vendor_class}"),
            format!("{ANSWER}{vendor_class}"),
            format!("{FILE}\"{url}\""),
        ]
    });
    let ours = |line: &str| [CLASS, ANSWER, FILE].iter().any(|begin| line.starts_with(begin));
    options::set(network, ours, said.as_ref().map_or(&[][..], |lines| lines));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(url: &str) -> NetworkBoot {
        NetworkBoot {
            url: url.to_owned(),
            vendor_class: "HTTPClient".to_owned(),
        }
    }

    #[test]
    fn a_boot_file_is_read_as_it_was_set_and_options_of_others_stay() {
        let text = "<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'><name>n</name><dnsmasq:options><dnsmasq:option value='no-ping'/>\
            </dnsmasq:options></network>";
        let mut network = Element::parse(text).unwrap();
        for url in ["https://a/b.efi", "http://c/d?e=f&g"] {
            set(&mut network, Some(&boot(url)));
            let again = Element::parse(&network.to_string()).unwrap();
            assert_eq!(read(&again), Some(boot(url)));
            assert_eq!(options::lines(&again).count(), 4);
        }
        set(&mut network, None);
        assert_eq!(network.to_string(), text);
    }

    #[test]
    fn an_answer_of_another_class_or_a_missing_option_is_not_what_was_asked_for() {
        let mut network = Element::new("network");
        set(&mut network, Some(&boot("https://a/b.efi")));
        let text = network.to_string();
        let changed = text.replace("60,HTTPClient", "60,PXEClient");
        assert_eq!(read(&Element::parse(&changed).unwrap()), None);
        let foreign = text.replace("labyard-boot", "efi-http");
        assert_eq!(read(&Element::parse(&foreign).unwrap()), None);
    }
}

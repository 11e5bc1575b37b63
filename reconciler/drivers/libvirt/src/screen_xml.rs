//! Screens as libvirt's filters of network traffic. Pure.
//!
//! All rules are of the host's bridge (`ebtables`), which sees everything that goes to a card, whether it comes from
//! another machine, from the host or through its routing. Such rules know no connections. So what comes back is told by
//! its ports: from one below [`EPHEMERAL`], where services are, to one from there on, where whoever asks is. ICMP passes:
//! without it paths and neighbours are not found.

use std::collections::BTreeSet;
use std::net::IpAddr;

use labyard_driver::screen::{Callers, Screen};

use crate::xml::Element;

/// The first of the ports that systems take for connections of their own making.
const EPHEMERAL: &str = "32768";
const BELOW_EPHEMERAL: &str = "32767";
/// How the names of all screens begin.
const OURS: &str = "labyard-";

/// The filter of a screen. Its UUID is its machine's: a filter carries no mark by which it could be known.
pub(crate) fn filter(screen: &Screen, callers: &Callers) -> Element {
    let filter = Element::new("filter")
        .with("name", screen.name.as_str())
        .with("chain", "root")
        .holding(Element::new("uuid").saying(screen.of.as_str()));
    match callers {
        Callers::Anybody => filter,
        Callers::Only(these) => rules(these).into_iter().fold(filter, Element::holding),
    }
}

fn rules(callers: &BTreeSet<IpAddr>) -> Vec<Element> {
    let mut rules = vec![accept(Element::new("mac").with("protocolid", "arp"))];
    for (family, icmp, (server, client)) in [("ip", "icmp", ("67", "68")), ("ipv6", "icmpv6", ("547", "546"))]
    {
        let of = |protocol| Element::new(family).with("protocol", protocol);
        rules.push(accept(of(icmp)));
        let dhcp = of("udp")
            .with("srcportstart", server)
            .with("dstportstart", client);
        rules.push(accept(dhcp));
        rules.extend(["tcp", "udp"].map(|protocol| accept(answers(of(protocol)))));
    }
    rules.extend(callers.iter().map(|caller| {
        let family = match caller {
            IpAddr::V4(_) => "ip",
            IpAddr::V6(_) => "ipv6",
        };
        accept(Element::new(family).with("srcipaddr", &caller.to_string()))
    }));
    rules.push(rule("drop", "1000"));
    rules
}

fn answers(of_protocol: Element) -> Element {
    of_protocol
        .with("srcportstart", "1")
        .with("srcportend", BELOW_EPHEMERAL)
        .with("dstportstart", EPHEMERAL)
        .with("dstportend", "65535")
}

fn accept(what: Element) -> Element {
    rule("accept", "500").holding(what)
}

fn rule(action: &str, priority: &str) -> Element {
    Element::new("rule")
        .with("action", action)
        .with("direction", "in")
        .with("priority", priority)
}

/// Whom a filter lets in; `None` where it is not as [`filter`] makes one.
pub(crate) fn callers(filter: &Element) -> Option<Callers> {
    let found: Vec<_> = filter.named("rule").collect();
    if found.is_empty() && filter.child("filterref").is_none() {
        return Some(Callers::Anybody);
    }
    let these: BTreeSet<IpAddr> = found
        .iter()
        .flat_map(|rule| rule.elements())
        .filter_map(|what| what.attribute("srcipaddr")?.parse().ok())
        .collect();
    let drops = |rule: &&Element| {
        let is = |name, value| rule.attribute(name) == Some(value);
        is("action", "drop") && is("direction", "in") && rule.elements().next().is_none()
    };
    let masked = found
        .iter()
        .flat_map(|rule| rule.elements())
        .any(|what| what.attribute("srcipmask").is_some());
    let whole = found.iter().any(drops) && found.len() == rules(&these).len() && !masked;
    whole.then_some(Callers::Only(these))
}

/// What a card stands behind.
pub(crate) fn behind(nic: &Element) -> Option<&str> {
    nic.attribute_at(&["filterref"], "filter")
}

/// Puts a card behind a screen.
pub(crate) fn put_behind(nic: &mut Element, screen: &Screen) {
    nic.ensure("filterref")
        .set_attribute("filter", screen.name.as_str());
}

/// Takes a card from behind a screen of ours; a filter of somebody else's stays.
pub(crate) fn take_from_behind(nic: &mut Element) {
    if behind(nic).is_some_and(|filter| filter.starts_with(OURS)) {
        nic.remove_named("filterref");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen() -> Screen {
        Screen {
            of: "2c4a7d1e-0000-4000-8000-000000000002".into(),
            name: "labyard-0123".into(),
            nics: BTreeSet::new(),
        }
    }

    fn only(callers: &[&str]) -> Callers {
        Callers::only(callers.iter().map(|caller| caller.parse().unwrap()))
    }

    #[test]
    fn whom_a_filter_lets_in_is_read_from_it() {
        for wanted in [
            Callers::Anybody,
            Callers::nobody(),
            only(&["192.0.2.7"]),
            only(&["192.0.2.7", "2001:db8::7"]),
        ] {
            let text = filter(&screen(), &wanted).to_string();
            assert_eq!(callers(&Element::parse(&text).unwrap()), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_not_asked_for_and_comes_from_elsewhere_is_dropped() {
        let text = filter(&screen(), &only(&["192.0.2.7"])).to_string();
        for part in [
            "<filter name='labyard-0123' chain='root'><uuid>2c4a7d1e-0000-4000-8000-000000000002</uuid>",
            "<rule action='accept' direction='in' priority='500'><mac protocolid='arp'/></rule>",
            "<rule action='accept' direction='in' priority='500'><ip srcipaddr='192.0.2.7'/></rule>",
            "<ip protocol='tcp' srcportstart='1' srcportend='32767' dstportstart='32768' dstportend='65535'/>",
            "<rule action='drop' direction='in' priority='1000'/></filter>",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(
            !text.contains("direction='out'"),
            "the machine itself may ask for anything"
        );
    }

    #[test]
    fn a_filter_that_somebody_changed_is_not_taken_for_what_it_was() {
        let whole = filter(&screen(), &only(&["192.0.2.7"])).to_string();
        let drop = "<rule action='drop' direction='in' priority='1000'/>";
        for changed in [
            whole.replace(drop, ""),
            whole.replace(
                drop,
                &format!("<rule action='accept' direction='in'><ip/></rule>{drop}"),
            ),
            whole.replace("srcipaddr='192.0.2.7'", "srcipaddr='192.0.2.0' srcipmask='24'"),
        ] {
            assert_eq!(callers(&Element::parse(&changed).unwrap()), None, "{changed}");
        }
    }

    #[test]
    fn a_card_is_put_behind_a_screen_and_keeps_the_rest() {
        let mut nic =
            Element::parse("<interface type='network'><mac address='52:54:00:00:00:01'/></interface>")
                .unwrap();
        assert_eq!(behind(&nic), None);
        put_behind(&mut nic, &screen());
        assert_eq!(behind(&nic), Some("labyard-0123"));
        assert!(nic.to_string().contains("52:54:00:00:00:01"));
    }
}

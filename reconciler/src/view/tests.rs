use super::*;

fn shown(texts: &[&str]) -> Vec<String> {
    let addresses: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
    presentable(&addresses).iter().map(ToString::to_string).collect()
}

#[test]
fn ipv4_comes_before_what_the_router_gave_in_whatever_order_they_came() {
    let both = ["10.0.0.5", "2001:db8::1"];
    assert_eq!(shown(&["2001:db8::1", "10.0.0.5"]), both);
    assert_eq!(shown(&["10.0.0.5", "fe80::1", "2001:db8::1", "10.0.0.5"]), both);
}

#[test]
fn a_machine_with_ipv6_alone_shows_that_and_one_with_link_local_addresses_none() {
    assert_eq!(shown(&["fe80::1", "fd00::7"]), ["fd00::7"]);
    let none: [&str; 0] = [];
    assert_eq!(
        shown(&["fe80::5054:ff:fe00:1", "169.254.3.4", "127.0.0.1", "::1"]),
        none
    );
}

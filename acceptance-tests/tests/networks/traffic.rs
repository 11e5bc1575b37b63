//! Networks by their traffic: a host outside of the lab's that guests reach, or that reaches them; and a client that is
//! given an address by DHCPv6.

use labyard_acceptance_tests::guest::Guest;
use labyard_acceptance_tests::host::Host;

use super::{Lab, PATIENCE, assert_all_in, run};

/// Where somebody outside is; 198.51.100.1 is the lab's host for it.
const OUTSIDE: &str = "198.51.100.2";

/// A namespace of the host's that is another system.
struct System<'h> {
    host: &'h Host,
    name: &'static str,
}

impl<'h> System<'h> {
    /// One that a wire leads to: its end here is called as it with a 0, the one there with a 1.
    fn wired(host: &'h Host, name: &'static str) -> Self {
        let system = Self { host, name };
        let (here, there) = (format!("{name}0"), format!("{name}1"));
        system.ip(&["netns", "add", name]);
        system.ip(&["link", "add", &here, "type", "veth", "peer", "name", &there]);
        system.ip(&["link", "set", &there, "netns", name]);
        system.ip(&["link", "set", &here, "up"]);
        system.ip(&["-n", name, "link", "set", &there, "up"]);
        system
    }

    #[track_caller]
    fn ip(&self, arguments: &[&str]) {
        run(self.host, "ip", arguments);
    }

    #[track_caller]
    fn run(&self, command: &[&str]) -> String {
        run(
            self.host,
            "ip",
            &[&["netns", "exec", self.name], command].concat(),
        )
    }

    fn reaches(&self, address: &str) -> bool {
        let ping = ["netns", "exec", self.name, "ping", "-c", "1", "-W", "5", address];
        let mut ip = self.host.command("ip");
        ip.args(ping).output().unwrap().status.success()
    }
}

impl Drop for System<'_> {
    fn drop(&mut self) {
        let mut ip = self.host.command("ip");
        // Its end of the wire goes with it, and ours with that one.
        drop(ip.args(["netns", "delete", self.name]).output());
    }
}

/// Somebody outside of the lab.
pub(super) struct Outside<'h>(System<'h>);

impl<'h> Outside<'h> {
    pub(super) fn of(host: &'h Host) -> Self {
        let system = System::wired(host, "outside");
        system.ip(&["address", "add", "198.51.100.1/24", "dev", "outside0"]);
        let theirs = format!("{OUTSIDE}/24");
        system.ip(&["-n", "outside", "address", "add", &theirs, "dev", "outside1"]);
        Self(system)
    }

    /// The guest comes out by the host's address: nobody there knows a way to its own. With one, nobody comes in.
    #[track_caller]
    pub(super) fn assert_translated(&self, guest: &Guest<'_>, net: &str) {
        guest.run(&format!("ping -c 1 -W 10 {OUTSIDE}")).unwrap();
        self.0
            .ip(&["-n", "outside", "route", "add", net, "via", "198.51.100.1"]);
        assert!(!self.0.reaches(guest.address()), "{} is reached", guest.address());
    }

    /// It is reached where a way to it is known, and comes out as itself.
    #[track_caller]
    pub(super) fn assert_routed(&self, guest: &Guest<'_>, net: &str) {
        assert!(
            self.0.reaches(guest.address()),
            "{} is not reached",
            guest.address()
        );
        guest.run(&format!("ping -c 1 -W 10 {OUTSIDE}")).unwrap();
        self.0.ip(&["-n", "outside", "route", "delete", net]);
        guest.run(&format!("! ping -c 1 -W 2 {OUTSIDE}")).unwrap();
    }
}

/// Asks with the option of RFC 8415 that makes one question do, and prints the address.
const DHCPV6: &str = r"
import socket, sys
interface, mac, rounds = sys.argv[1], bytes.fromhex(sys.argv[2].replace(':', '')), int(sys.argv[3])
option = lambda code, data: code.to_bytes(2, 'big') + len(data).to_bytes(2, 'big') + data
client, address, rapid, elapsed = option(1, b'\0\3\0\1' + mac), option(3, bytes(11) + b'\1'), option(14, b''), option(8, b'\0\0')
index = socket.if_nametoindex(interface)
asking = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
asking.bind(('fe80::2', 546, 0, index))
asking.settimeout(1)
for _ in range(rounds):
    asking.sendto(b'\1\1\2\3' + client + address + rapid + elapsed, ('ff02::1:2', 547, 0, index))
    try:
        answer = asking.recv(4096)
    except TimeoutError:
        continue
    if answer[0] == 7 and b'\0\5\0\x18' in answer:
        at = answer.index(b'\0\5\0\x18') + 4
        print(socket.inet_ntop(socket.AF_INET6, answer[at:at + 16]))
        break
else:
    sys.exit('nobody answered')
";

/// A client on the network is given an address of its range, and the host knows whom it gave it to.
#[track_caller]
pub(super) fn assert_leased_by_dhcpv6(lab: &Lab, network: &str, range: &str) {
    let client = System::wired(&lab.host, "client");
    let bridge = lab.attributes(&format!("labyard_network.{network}"))["bridge_name"].clone();
    client.ip(&["link", "set", "client0", "master", bridge.as_str().unwrap()]);
    let own = ["fe80::2/64", "dev", "client1", "nodad"];
    client.ip(&[&["-n", "client", "address", "add"][..], &own].concat());
    let mac = "52:54:00:00:00:81";
    let rounds = PATIENCE.as_secs().to_string();
    let address = client.run(&["python3", "-c", DHCPV6, "client1", mac, &rounds]);
    assert!(address.starts_with(range), "{address} is not of {range}");
    let leases = lab.host.virsh(&["net-dhcp-leases", network]).unwrap();
    assert_all_in(&leases, &["ipv6", address.trim()]);
}

//! Who is connected to a Linux guest, by its kernel's own tables (`/proc/net/tcp`, `/proc/net/tcp6`). Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ESTABLISHED: u8 = 0x01;
const LISTENING: u8 = 0x0a;

struct Socket {
    port: u16,
    peer: IpAddr,
    state: u8,
}

/// The peers of connections that others have opened: to ports that something listens on. Its own to itself do not
/// count.
pub fn inbound(tables: &[&str]) -> Vec<IpAddr> {
    let sockets: Vec<Socket> = tables
        .iter()
        .flat_map(|table| table.lines().skip(1).filter_map(socket))
        .collect();
    let listening = sockets.iter().filter(|socket| socket.state == LISTENING);
    let ports: BTreeSet<u16> = listening.map(|socket| socket.port).collect();
    let is_inbound = |socket: &&Socket| {
        socket.state == ESTABLISHED && ports.contains(&socket.port) && !socket.peer.is_loopback()
    };
    sockets
        .iter()
        .filter(is_inbound)
        .map(|socket| socket.peer)
        .collect()
}

/// A line: number, local address, peer, state, and what is of no interest here.
fn socket(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (_, port) = fields.next()?.rsplit_once(':')?;
    let (peer, _) = fields.next()?.rsplit_once(':')?;
    Some(Socket {
        port: u16::from_str_radix(port, 16).ok()?,
        peer: address(peer)?,
        state: u8::from_str_radix(fields.next()?, 16).ok()?,
    })
}

/// The kernel writes each 32 bits of an address as a number of the machine's byte order: of all that labyard runs guests
/// on, the lowest first.
fn address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = text.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(word, 16).ok()?.to_le_bytes())
    };
    match text.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.1 wrote them: a server on port 22 with one session, a connection of its own to port 443, one to itself.
    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
        \x20  0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n\
        \x20  1: 6F004D0A:0016 01004D0A:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1\n\
        \x20  2: 6F004D0A:9C41 0800A8C0:01BB 01 00000000:00000000 00:00000000 00000000     0        0 3 1\n\
        \x20  3: 0100007F:0016 0100007F:9C42 01 00000000:00000000 00:00000000 00000000     0        0 4 1\n\
        \x20  4: 6F004D0A:0016 02004D0A:9C40 06 00000000:00000000 00:00000000 00000000     0        0 5 1\n";

    #[test]
    fn a_session_from_outside_counts_and_nothing_else_does() {
        assert_eq!(inbound(&[TCP]), [IpAddr::from([10, 77, 0, 1])]);
        assert!(inbound(&["", "nonsense\nmore nonsense"]).is_empty());
    }

    #[test]
    fn a_dual_stack_server_tells_of_ipv4_peers_in_the_other_table() {
        let tcp6 = "  sl  local_address                         remote_address                        st\n\
            \x20  0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A\n\
            \x20  1: 0000000000000000FFFF00006F004D0A:0016 0000000000000000FFFF000001004D0A:9C40 01\n\
            \x20  2: 000000FD000000000000000001000000:0016 000000FD000000000000000002000000:9C40 01\n";
        let six: IpAddr = "fd00::2".parse().unwrap();
        assert_eq!(inbound(&["", tcp6]), [IpAddr::from([10, 77, 0, 1]), six]);
    }
}

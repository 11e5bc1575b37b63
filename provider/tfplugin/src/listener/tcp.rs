//! A port of the loopback interface, for systems without Unix sockets.

use std::io;

use crate::handshake::PortRange;

/// The first free port of the range on the loopback interface.
pub(super) fn bind_port(ports: PortRange) -> io::Result<std::net::TcpListener> {
    let mut last = io::Error::new(
        io::ErrorKind::InvalidInput,
        "PLUGIN_MIN_PORT is above PLUGIN_MAX_PORT",
    );
    for port in ports.min..=ports.max {
        match std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_passed_over() {
        let first = bind_port(PortRange::default()).expect("a port");
        let taken = first.local_addr().expect("an address").port();
        let error = bind_port(PortRange {
            min: taken,
            max: taken,
        })
        .expect_err("it is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(bind_port(PortRange { min: 2, max: 1 }).is_err());
    }
}

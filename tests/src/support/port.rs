//! Ports that belong to one test, across all test processes of the machine, for as long as the test wants.
//!
//! Binding port 0, reading the number and letting go is a race, and a program that is killed and started again must find its port still its
//! own. So a port is reserved by listening on the *same number of another loopback address*: the kernel lets one process have it and takes
//! it back when that process is gone, and the program itself binds 127.0.0.1 freely.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Linux routes all of 127.0.0.0/8 to the loopback interface.
const RESERVATIONS: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 1);

/// Below the ports that the kernel gives to outgoing connections (from 32768 unless configured).
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// A port on 127.0.0.1 that nobody else uses while this lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _reservation: TcpListener,
}

impl Port {
    pub fn reserve() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        for _ in 0..COUNT {
            // Test processes start far apart, so that they seldom try the same number.
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let offset = process::id().wrapping_mul(101).wrapping_add(step) % COUNT;
            let number = u16::try_from(FIRST + offset).expect("the range ends below 65536");
            let Ok(reservation) = TcpListener::bind((RESERVATIONS, number)) else { continue };
            // Something that reserves nothing may listen here.
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Self { number, _reservation: reservation };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT)
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_given_once_and_can_be_bound() {
        let ports: Vec<Port> = (0..50).map(|_| Port::reserve()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), ports.len());
        for port in &ports {
            TcpListener::bind(port.address()).expect("a reserved port is free on 127.0.0.1");
            TcpListener::bind((RESERVATIONS, port.number())).expect_err("a reserved port is held");
        }
    }
}

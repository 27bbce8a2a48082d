//! Network namespaces: a program with a cable of its own, to be pulled, and packets to be lost.
//!
//! ```text
//! this host                    the cable                 the namespace
//! mbt<n> 198.18.x.y  <veth>  host -[bridge]- port  <veth>  eth0 198.18.x.y+1
//! ```
//!
//! The cable is a namespace itself, so that pulling it is what it is in a rack: both ends lose the carrier and keep their addresses and
//! routes, and nobody is told anything. Addresses are of 198.18.0.0/15, set aside for tests of networks (RFC 2544). The name of the link on
//! this host says which subnet is taken, and the kernel gives a name to one only: that is the reservation, across all test processes.
//!
//! Dropping a namespace removes it. What a test process that was killed has left, the [`watchdog`] removes: it knows them by their names.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::process::{self, Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, ensure};

use crate::support::{program, watchdog};

/// 198.18.0.0/15 in parts of four addresses, of which the middle two can be used.
const FIRST: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const SUBNETS: u32 = 1 << 15;

/// A namespace for one program, or several.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    cable: String,
    gateway: Ipv4Addr,
}

/// What becomes of packets, as seen by the programs in a namespace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// What they send gets lost.
    Mute,
    /// What is sent to them gets lost.
    Deaf,
    /// Every TCP connection is reset at the next packet, and every new one.
    Reset,
    /// This share of all packets gets lost, each way: 0 to 1.
    Loss(f64),
    /// What they send to this port gets lost.
    Unreachable(u16),
}

impl Namespace {
    /// A new one, with its cable plugged in.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let root = watchdog::root().file_name().expect("the directory of a test process has a name");
        let name = format!("{}-{}", root.to_string_lossy(), COUNT.fetch_add(1, Ordering::Relaxed));
        let cable = format!("{name}-cable");
        ip(&format!("netns add {name}"));
        ip(&format!("netns add {cable}"));
        let (link, subnet) = take_link(&cable);
        let (gateway, address) = (Ipv4Addr::from(subnet + 1), Ipv4Addr::from(subnet + 2));
        let new = Self { name, cable, gateway };
        let (name, cable) = (&new.name, &new.cable);
        ip(&format!("link add port netns {cable} type veth peer name eth0 netns {name}"));
        ip(&format!("-n {cable} link add bridge type bridge"));
        for end in ["host", "port"] {
            ip(&format!("-n {cable} link set {end} master bridge"));
        }
        for end in ["bridge", "host", "port"] {
            ip(&format!("-n {cable} link set {end} up"));
        }
        ip(&format!("addr add {gateway}/30 dev {link}"));
        ip(&format!("link set {link} up"));
        ip(&format!("-n {name} addr add {address}/30 dev eth0"));
        for end in ["lo", "eth0"] {
            ip(&format!("-n {name} link set {end} up"));
        }
        ip(&format!("-n {name} route add default via {gateway}"));
        // Counts, before any other rule sees the packet.
        new.iptables("-t mangle -A OUTPUT -o eth0 -p tcp --syn");
        new
    }

    /// How programs in it reach this host.
    pub fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// How this host reaches programs in it.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.gateway) + 1)
    }

    /// The program and arguments through which another program is started in it. Unlike `ip netns exec` it changes no mounts.
    pub fn launcher(&self) -> Vec<OsString> {
        vec![program::installed("nsenter").into(), format!("--net=/run/netns/{}", self.name).into()]
    }

    /// Pulls the cable: no packet passes, and no end is told.
    pub fn unplug(&self) {
        for end in ["host", "port"] {
            ip(&format!("-n {} link set {end} down", self.cable));
        }
    }

    /// Puts it back.
    pub fn plug(&self) {
        for end in ["host", "port"] {
            ip(&format!("-n {} link set {end} up", self.cable));
        }
    }

    /// Adds to what befalls packets, until [`heal`](Self::heal).
    pub fn suffer(&self, fault: Fault) {
        let both = ["INPUT -i eth0", "OUTPUT -o eth0"];
        let rules = match fault {
            Fault::Mute => vec!["OUTPUT -o eth0 -j DROP".to_owned()],
            Fault::Deaf => vec!["INPUT -i eth0 -j DROP".to_owned()],
            Fault::Reset => {
                // Not the resets themselves.
                let reset = |way| {
                    format!("{way} -p tcp -m tcp ! --tcp-flags RST RST -j REJECT --reject-with tcp-reset")
                };
                both.map(reset).into()
            }
            Fault::Loss(share) => {
                let lose = |way| format!("{way} -m statistic --mode random --probability {share} -j DROP");
                both.map(lose).into()
            }
            Fault::Unreachable(port) => vec![format!("OUTPUT -p tcp --dport {port} -j DROP")],
        };
        for rule in rules {
            self.iptables(&format!("-A {rule}"));
        }
    }

    /// Every packet passes again, and the cable is plugged in.
    pub fn heal(&self) {
        self.iptables("-F");
        self.plug();
    }

    /// How often programs in it have tried to connect over TCP.
    pub fn connects(&self) -> u64 {
        let listed = self.iptables("-t mangle -L OUTPUT -v -x -n");
        let text = String::from_utf8_lossy(&listed.stdout);
        let counted = text.lines().nth(2).and_then(|rule| rule.split_whitespace().next()?.parse().ok());
        counted.expect("its first rule counts them")
    }

    fn iptables(&self, arguments: &str) -> Output {
        let mut command = Command::new(program::installed("nsenter"));
        command.arg(format!("--net=/run/netns/{}", self.name)).arg(program::installed("iptables"));
        // Another may be changing the same table: wait.
        command.args(["-w", "10"]).args(arguments.split(' '));
        run(command).unwrap_or_else(|error| panic!("{error:#}"))
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        for name in [&self.cable, &self.name] {
            if let Err(error) = try_ip(&format!("netns del {name}")) {
                eprintln!("{error:#}");
            }
        }
    }
}

/// Makes the link between this host and the cable, and gives its name and its subnet.
fn take_link(cable: &str) -> (String, u32) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..SUBNETS {
        // Test processes start far apart, so that they seldom try the same subnet.
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let number = process::id().wrapping_mul(101).wrapping_add(step) % SUBNETS;
        let link = format!("mbt{number}");
        match try_ip(&format!("link add {link} type veth peer name host netns {cable}")) {
            Ok(_) => return (link, FIRST + 4 * number),
            Err(error) if format!("{error:#}").contains("File exists") => {}
            Err(error) => panic!("{error:#}"),
        }
    }
    panic!("every subnet of 198.18.0.0/15 is taken; `ip link` shows by whom")
}

fn ip(arguments: &str) {
    try_ip(arguments).unwrap_or_else(|error| panic!("{error:#}; namespaces need root, on Linux"));
}

fn try_ip(arguments: &str) -> anyhow::Result<Output> {
    let mut command = Command::new(program::installed("ip"));
    command.args(arguments.split(' '));
    run(command)
}

fn run(mut command: Command) -> anyhow::Result<Output> {
    let output = command.output().with_context(|| format!("failed to start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    Ok(output)
}

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use marabunta_tests::faults::network::{Fault, Namespace};
use marabunta_tests::support::eventually;
use marabunta_tests::support::port::Port;
use marabunta_tests::support::process::{Process, through};
use marabunta_tests::support::scratch::Scratch;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Longer than a packet takes, shorter than TCP's first retransmissions add up to.
const A_MOMENT: Duration = Duration::from_millis(300);

/// A program in a namespace that has called this host, and the connection.
struct Call {
    namespace: Namespace,
    stream: TcpStream,
    caller: Process,
    _scratch: Scratch,
}

impl Call {
    /// What comes over the connection is written to the log; a line `word` is sent each tenth of a second.
    async fn start() -> Self {
        let (namespace, scratch) = (Namespace::new(), Scratch::new("call"));
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let script =
            "exec 3<>/dev/tcp/$0/$1 || exit 7; cat <&3 & while echo word >&3; do sleep 0.1; done; exit 8";
        let mut command = Command::new("bash");
        command.args(["-c", script, &namespace.gateway().to_string(), &port.to_string()]);
        let caller =
            Process::service("caller", &through(&namespace.launcher(), command), &scratch.join("log"));
        let (mut stream, from) = listener.accept().await.unwrap();
        assert_eq!(from.ip(), namespace.address());
        stream.read_exact(&mut [0; 5]).await.unwrap();
        Self { namespace, stream, caller, _scratch: scratch }
    }

    /// Whether something comes from the namespace, leaving aside what is there already.
    async fn hears(&mut self) -> bool {
        let mut buffer = [0; 4096];
        while self.stream.try_read(&mut buffer).is_ok() {}
        timeout(A_MOMENT, self.stream.read(&mut buffer))
            .await
            .is_ok_and(|read| read.is_ok_and(|read| read > 0))
    }

    /// Whether what is said comes into the namespace.
    async fn is_heard(&mut self) -> bool {
        let before = self.caller.stdout().len();
        self.stream.write_all(b"answer\n").await.unwrap();
        let end = Instant::now() + A_MOMENT;
        while Instant::now() < end {
            if self.caller.stdout().len() > before {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    async fn until_it_talks(&mut self) {
        let mut buffer = [0; 4096];
        while self.stream.try_read(&mut buffer).is_ok() {}
        // TCP's next retransmission may be seconds away.
        timeout(Duration::from_secs(30), self.stream.read(&mut buffer)).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_pulled_cable_passes_nothing_and_tells_nobody_until_it_is_plugged_in() {
    let mut call = Call::start().await;
    assert!(call.hears().await && call.is_heard().await);
    call.namespace.unplug();
    assert!(!call.hears().await && !call.is_heard().await);
    assert!(call.caller.exited().is_none(), "no end is told");
    call.namespace.plug();
    call.until_it_talks().await;
}

#[tokio::test]
async fn a_namespace_can_be_mute_or_deaf() {
    for (fault, hears, is_heard) in [(Fault::Mute, false, false), (Fault::Deaf, false, false)] {
        let mut call = Call::start().await;
        call.namespace.suffer(fault);
        // Without acknowledgements TCP comes to a stand after what was under way.
        eventually("it comes to a stand", async || {
            let (hears_now, heard_now) = (call.hears().await, call.is_heard().await);
            ensure!(
                hears_now == hears || heard_now == is_heard,
                "{fault:?}: hears {hears_now}, is heard {heard_now}"
            );
            Ok(())
        })
        .await;
        call.namespace.heal();
        call.until_it_talks().await;
    }
}

#[tokio::test]
async fn connections_of_a_namespace_are_reset_and_new_ones_too_until_it_heals() {
    let call = Call::start().await;
    call.namespace.suffer(Fault::Reset);
    assert_ne!(call.caller.exit().await, 0, "its connection is gone");
    let listener = listen_in(&call.namespace).await;
    let refused = TcpStream::connect(listener.1).await;
    assert!(refused.is_err(), "{refused:?}");
    call.namespace.heal();
    eventually("it can be reached again", async || Ok(TcpStream::connect(listener.1).await?)).await;
}

#[tokio::test]
async fn a_port_becomes_unreachable_while_others_are_not() {
    let call = Call::start().await;
    let port = call.stream.local_addr().unwrap().port();
    call.namespace.suffer(Fault::Unreachable(port));
    let mut call = call;
    eventually("nothing comes", async || {
        ensure!(!call.hears().await);
        Ok(())
    })
    .await;
    let listener = listen_in(&call.namespace).await;
    eventually("its other ports answer", async || Ok(TcpStream::connect(listener.1).await?)).await;
}

#[tokio::test]
async fn with_loss_everything_comes_and_some_of_it_later() {
    let mut call = Call::start().await;
    call.namespace.suffer(Fault::Loss(0.3));
    for _ in 0..3 {
        call.until_it_talks().await;
    }
}

#[tokio::test]
async fn namespaces_have_addresses_of_their_own_and_are_removed() {
    let namespaces: Vec<Namespace> = (0..4).map(|_| Namespace::new()).collect();
    let mut addresses: Vec<_> = namespaces.iter().flat_map(|one| [one.gateway(), one.address()]).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 8);
    let mut paths: Vec<_> = namespaces.iter().map(|one| one.launcher()[1].clone()).collect();
    let paths: Vec<_> = paths
        .iter_mut()
        .map(|one| one.to_str().unwrap().strip_prefix("--net=").unwrap().to_owned())
        .collect();
    assert!(paths.iter().all(|path| std::path::Path::new(path).exists()));
    let links = links();
    drop(namespaces);
    assert!(paths.iter().all(|path| !std::path::Path::new(path).exists()));
    eventually("their links are gone", async || {
        ensure!(addresses.iter().all(|address| !self::links().contains(&address.to_string())), "{links}");
        Ok(())
    })
    .await;
}

fn links() -> String {
    String::from_utf8(Command::new("ip").args(["-4", "addr"]).output().unwrap().stdout).unwrap()
}

/// Something in the namespace to connect to.
async fn listen_in(namespace: &Namespace) -> (Process, SocketAddr, Scratch, Port) {
    let (port, scratch) = (Port::reserve(), Scratch::new("listener"));
    let mut command = Command::new(marabunta_tests::support::program::installed("redis-server"));
    command.args(["--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--dir"]).arg(scratch.path());
    command.args(["--port", &port.number().to_string()]);
    let process =
        Process::service("listener", &through(&namespace.launcher(), command), &scratch.join("log"));
    process
        .until_ready(async || {
            let log = String::from_utf8(process.stdout())?;
            ensure!(log.contains("Ready to accept connections"), "{log}");
            Ok(())
        })
        .await;
    (process, (namespace.address(), port.number()).into(), scratch, port)
}

//! A payload that reaches for the machine: the builder's secrets, its servers and processes, and
//! calls that lead out.

use super::Case;
use crate::support::{Bench, payload, shell, stack};
use sandbox::Step;
use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

pub const CASES: &[Case] = &[
    ("the_builders_secrets_stay_hidden", secrets),
    ("no_server_of_the_machine_answers", servers),
    ("no_process_of_the_machine_is_touched", victims),
    ("its_parent_cannot_be_looked_into", parent),
    ("calls_that_lead_out_are_refused", calls),
];

/// What the payload printed, run in the image with these words.
fn outside(bench: &Bench, words: &str) -> Option<String> {
    if !payload::put(bench, payload::OUTSIDE) {
        return None;
    }
    // Its exit code says nothing: what matters is what it reached.
    let outcome = bench.script(&format!("payload {words} 2>&1 || true"));
    let output = outcome.output.clone();
    outcome.captured();
    Some(output)
}

/// The environment of the suite's own process holds a secret and an agent's socket; see `main`.
fn secrets(bench: &Bench) {
    let (Ok(secret), Ok(socket)) = (std::env::var(crate::SECRET), std::env::var("SSH_AUTH_SOCK")) else {
        panic!("the suite sets its own environment");
    };
    let _ = fs::remove_file(&socket);
    let agent = UnixListener::bind(&socket).unwrap();
    agent.set_nonblocking(true).unwrap();
    let home = bench.path("home-of-the-builder");
    fs::create_dir_all(home.join(".ssh")).unwrap();
    fs::write(home.join(".ssh/id_ed25519"), &secret).unwrap();
    // Nothing that is printed holds the words of the command itself.
    let text = format!(
        "exec 2>/dev/null; set +e; env; cat /proc/*/environ /proc/*/task/*/environ | tr '\\0' '\\n'
         for root in '' /proc/*/root /proc/*/cwd; do cat $root{home}/.ssh/id_ed25519; ls -a $root{home}; ls $root{socket}; done
         grep -rl {secret} /home /root /var /tmp /run /etc; ls -l /proc/*/fd; true",
        home = home.display()
    );
    let directory = bench.path("spec");
    fs::create_dir(&directory).unwrap();
    let command = shell(&text);
    let mut steps = vec![stack(&[bench.busybox()]), Step::Run(command.clone())];
    // One rung has no build side.
    if bench.rung != sandbox::Rung::Root {
        steps.push(Step::RunOnHost { command, directory });
    }
    let outcome = bench.run(steps);
    assert!(outcome.output.contains("PATH="), "{}", outcome.output);
    for word in [secret.as_str(), crate::SECRET, "id_ed25519", "SSH_AUTH_SOCK", "sandbox-test-agent"] {
        assert!(!outcome.output.contains(word), "{word} in {}", outcome.output);
    }
    outcome.captured();
    if let Some(output) = outside(bench, &format!("unix {socket}")) {
        assert_eq!(output, "");
    }
    assert_eq!(agent.accept().map(drop).unwrap_err().kind(), ErrorKind::WouldBlock);
    fs::remove_file(socket).unwrap();
}

fn servers(bench: &Bench) {
    let here = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: this only asks which of the machine's addresses faces the world.
    let address = here.connect("192.0.2.1:9").and_then(|()| here.local_addr()).map(|address| address.ip());
    let mut addresses: Vec<std::net::IpAddr> = vec!["127.0.0.1".parse().unwrap(), "127.1.2.3".parse().unwrap()];
    addresses.extend(address);
    addresses.push("::1".parse().unwrap());
    for address in addresses {
        let Ok(stream) = TcpListener::bind((address, 0)) else { continue };
        let port = stream.local_addr().unwrap().port();
        let datagram = UdpSocket::bind((address, port));
        stream.set_nonblocking(true).unwrap();
        let Some(output) = outside(bench, &format!("inet {address} {port}")) else { return };
        assert_eq!(output, "", "{address}");
        assert_eq!(stream.accept().map(drop).unwrap_err().kind(), ErrorKind::WouldBlock, "{address}");
        if let Ok(datagram) = datagram {
            datagram.set_nonblocking(true).unwrap();
            assert_eq!(datagram.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock, "{address}");
        }
    }
    let name = format!("sandbox-test-{}", std::process::id());
    let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
    let stream = UnixListener::bind_addr(&abstract_name).unwrap();
    stream.set_nonblocking(true).unwrap();
    assert_eq!(outside(bench, &format!("unix @{name}")).unwrap(), "");
    assert_eq!(stream.accept().map(drop).unwrap_err().kind(), ErrorKind::WouldBlock);
    let other = format!("{name}-datagram");
    let _datagram = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&other).unwrap()).unwrap();
    assert_eq!(outside(bench, &format!("unix @{other}")).unwrap(), "");
    assert_eq!(outside(bench, "families").unwrap(), "");
}

/// A process of the same user, in a session of its own; ended when the test ends.
struct Victim(std::process::Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn victims(bench: &Bench) {
    let mut victim = Victim(std::process::Command::new("setsid").args(["sleep", "1000"]).spawn().unwrap());
    std::thread::sleep(std::time::Duration::from_millis(100));
    let pid = victim.0.id();
    let facts = || {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let stat = read("stat");
        let fields: Vec<&str> = stat.split(' ').collect();
        // Group, session, priority, nice value, policy (proc(5)).
        let numbers: Vec<String> = [4, 5, 17, 18, 40].map(|at| fields.get(at).unwrap_or(&"").to_string()).into();
        let status = read("status");
        let rows = status.lines().filter(|line| line.starts_with("Cpus_allowed:") || line.starts_with("TracerPid:"));
        (numbers, rows.map(str::to_owned).collect::<Vec<_>>(), read("limits"))
    };
    let before = facts();
    let Some(output) = outside(bench, &format!("process {pid}")) else { return };
    assert_eq!(output, "");
    assert_eq!(facts(), before);
    assert!(victim.0.try_wait().unwrap().is_none(), "the process is alive");
}

fn parent(bench: &Bench) {
    let Some(output) = outside(bench, "parent") else { return };
    // With "exec" the shell's place, and so its parent, is the payload's.
    assert!(output.lines().all(|line| line.contains("the parent")), "{output}");
    let outcome = bench.script("exec payload parent");
    assert_eq!(outcome.output, "");
    outcome.captured();
}

fn calls(bench: &Bench) {
    let Some(output) = outside(bench, "calls") else { return };
    assert_eq!(output, "");
}

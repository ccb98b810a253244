//! A real registry, and clients for it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use registry::{Anonymous, Client, Credentials, DockerConfig, NoHelpers, Options, Progress, Repository, Silent};
use tempfile::TempDir;

/// Whether all tools are there; says so when not, and fails where nothing may be skipped.
pub fn have(tools: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for tool in tools {
        if !std::env::split_paths(&path).any(|directory| directory.join(tool).is_file()) {
            assert!(std::env::var_os("CI").is_none(), "{tool} is needed under CI");
            println!("skipped: {tool} is not installed");
            return false;
        }
    }
    true
}

/// Runs a tool; its output when it succeeds.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// How a registry is to be started.
#[derive(Default)]
pub struct Setup<'a> {
    /// User and password.
    pub login: Option<(&'a str, &'a str)>,
    pub tls: bool,
}

/// Debian's docker-registry on loopback; it ends with the test.
pub struct RealRegistry {
    child: Child,
    pub port: u16,
    pub directory: TempDir,
}

impl RealRegistry {
    pub fn start(setup: &Setup) -> Self {
        let directory = TempDir::new().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mut more = String::new();
        if setup.tls {
            make_certificates(directory.path());
            let (certificate, key) = (at("leaf.pem"), at("leaf.key"));
            more += &format!("  tls:\n    certificate: {}\n    key: {}\n", certificate.display(), key.display());
        }
        if let Some((user, password)) = setup.login {
            let line = run(Command::new("htpasswd").args(["-nbBC", "4", user, password])).unwrap();
            std::fs::write(at("htpasswd"), line).unwrap();
            more += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", at("htpasswd").display());
        }
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let config = format!(
                "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n  secret: test\n{more}",
                at("data").display()
            );
            std::fs::write(at("config.yml"), config).unwrap();
            let log = std::fs::File::create(at("log")).unwrap();
            let mut child = Command::new("docker-registry")
                .arg("serve")
                .arg(at("config.yml"))
                .env_remove("HTTP_PROXY")
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap();
            let until = Instant::now() + Duration::from_secs(20);
            while Instant::now() < until && child.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { child, port, directory };
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            // Somebody else may have taken the port.
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("docker-registry does not start: {}", std::fs::read_to_string(at("log")).unwrap_or_default());
    }

    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Where the registry keeps a blob.
    pub fn blob_path(&self, hex: &str) -> PathBuf {
        let base = self.directory.path().join("data/docker/registry/v2/blobs/sha256");
        base.join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn make_certificates(directory: &Path) {
    let openssl = |line: &str| {
        run(Command::new("openssl").args(line.split(' ')).current_dir(directory)).unwrap();
    };
    std::fs::write(directory.join("ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -subj /CN=authority -days 2",
    );
    openssl(
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout leaf.key -out leaf.csr -subj /CN=localhost",
    );
    openssl("x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out leaf.pem");
}

/// Options under which failures do not take long.
pub fn quick() -> Options {
    Options {
        first_wait: Duration::from_millis(10),
        longest_wait: Duration::from_millis(40),
        retries: 3,
        patience: Duration::from_secs(10),
        stall: Duration::from_secs(2),
        answer: Duration::from_secs(5),
        chunk: 1 << 20,
        ..Options::default()
    }
}

/// Quick options for a server that speaks plain http.
pub fn plain(host: &str) -> Options {
    Options { insecure: [host.parse().unwrap()].into(), ..quick() }
}

/// Keeps count of what is told.
#[derive(Default)]
pub struct Count {
    /// Where each transfer is, and its size.
    positions: Mutex<BTreeMap<String, (u64, u64)>>,
    /// All bytes that moved, also those that moved twice.
    pub moved: AtomicU64,
    pub retries: AtomicU64,
}

impl Count {
    fn change(&self, what: &str, change: impl FnOnce(&mut (u64, u64))) {
        change(self.positions.lock().unwrap().entry(what.to_owned()).or_default());
    }

    /// How far a transfer has come, and its size.
    pub fn position(&self, digest: &layers::Sha256) -> (u64, u64) {
        self.positions.lock().unwrap()[&format!("sha256:{digest}")]
    }
}

impl Progress for Count {
    fn started(&self, what: &str, size: u64) {
        self.change(what, |position| *position = (0, size));
    }
    fn advanced(&self, what: &str, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::SeqCst);
        self.change(what, |position| position.0 += bytes);
    }
    fn rewound(&self, what: &str, to: u64) {
        self.change(what, |position| position.0 = to);
    }
    fn retried(&self, _: &str, _: &str) {
        self.retries.fetch_add(1, Ordering::SeqCst);
    }
    fn finished(&self, _: &str) {}
}

/// A client, and what it tells.
pub fn counting_client(options: Options) -> (Client, Arc<Count>) {
    let count = Arc::new(Count::default());
    (Client::new(options, Arc::new(Anonymous), count.clone()).unwrap(), count)
}

pub fn client(options: Options) -> Client {
    Client::new(options, Arc::new(Anonymous), Arc::new(Silent)).unwrap()
}

pub fn client_as(options: Options, user: &str, password: &str, host: &str) -> Client {
    Client::new(options, login(host, user, password), Arc::new(Silent)).unwrap()
}

/// Credentials by way of docker's configuration.
pub fn login(host: &str, user: &str, password: &str) -> Arc<dyn Credentials> {
    let text = format!(r#"{{"auths":{{"{host}":{{"username":"{user}","password":"{password}"}}}}}}"#);
    Arc::new(DockerConfig::parse(text.as_bytes(), "config.json", Box::new(NoHelpers)).unwrap())
}

pub fn repository(client: &Client, host: &str, name: &str) -> Repository {
    client.repository(&host.parse().unwrap(), &name.parse().unwrap())
}

/// Bytes that do not repeat, other ones for each seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Passes connections on to a port, and cuts the first so many of them after so many bytes in one
/// direction.
pub fn cutting_proxy(to: u16, cuts: usize, after: usize, upward: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let left = Arc::new(std::sync::atomic::AtomicUsize::new(cuts));
        for stream in listener.incoming() {
            let (Ok(near), Ok(far)) = (stream, TcpStream::connect(("127.0.0.1", to))) else { return };
            for (mut from, mut into, counts) in [
                (near.try_clone().unwrap(), far.try_clone().unwrap(), upward),
                (far.try_clone().unwrap(), near.try_clone().unwrap(), !upward),
            ] {
                let left = left.clone();
                std::thread::spawn(move || {
                    let mut block = vec![0u8; 16 << 10];
                    let mut passed = 0;
                    while let Ok(count @ 1..) = from.read(&mut block) {
                        passed += count;
                        use std::sync::atomic::Ordering::SeqCst;
                        if counts && passed > after && left.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok() {
                            break;
                        }
                        if into.write_all(&block[..count]).is_err() {
                            break;
                        }
                    }
                    let _ = from.shutdown(std::net::Shutdown::Both);
                    let _ = into.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    port
}

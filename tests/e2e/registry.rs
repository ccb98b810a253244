//! Debian's docker-registry on loopback, for a test.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::must;

/// How a registry is started.
#[derive(Clone, Copy, Default)]
pub struct Setup<'a> {
    /// User and password.
    pub login: Option<(&'a str, &'a str)>,
    pub tls: bool,
}

/// A registry; it ends with the test.
pub struct Registry {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Registry {
    pub fn start(setup: Setup<'_>) -> Self {
        let directory = TempDir::new().unwrap();
        must(Command::new("chmod").arg("755").arg(directory.path()));
        let at = |name: &str| directory.path().join(name);
        let mut more = String::new();
        if setup.tls {
            certificates(directory.path());
            let (certificate, key) = (at("leaf.pem"), at("leaf.key"));
            more += &format!("  tls:\n    certificate: {}\n    key: {}\n", certificate.display(), key.display());
        }
        if let Some((user, password)) = setup.login {
            let line = must(Command::new("htpasswd").args(["-nbBC", "4", user, password]));
            fs::write(at("htpasswd"), line).unwrap();
            more += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", at("htpasswd").display());
        }
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let config = format!(
                "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n  \
                 secret: test\n{more}",
                at("data").display()
            );
            fs::write(at("config.yml"), config).unwrap();
            let log = fs::File::create(at("log")).unwrap();
            let mut child = Command::new("docker-registry")
                .arg("serve")
                .arg(at("config.yml"))
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
        panic!("docker-registry does not start: {}", fs::read_to_string(at("log")).unwrap_or_default());
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// The certificate of the authority that vouches for it.
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Where it keeps a blob.
    pub fn blob(&self, hex: &str) -> PathBuf {
        let base = self.directory.path().join("data/docker/registry/v2/blobs/sha256");
        base.join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn certificates(directory: &Path) {
    let openssl = |line: &str| must(Command::new("openssl").args(line.split(' ')).current_dir(directory));
    fs::write(directory.join("ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=authority -days 2"));
    openssl(&format!("req {key} -keyout leaf.key -out leaf.csr -subj /CN=localhost"));
    openssl("x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out leaf.pem");
    must(Command::new("chmod").args(["644", "ca.pem"]).current_dir(directory));
}

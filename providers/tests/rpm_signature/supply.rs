//! Keys and packages of the tests, and packages taken apart and put together again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use layers::Sha256;
use providers::rpm::file::Error;
use providers::rpm::{Unverified, Verified, verify};
use providers::trust::{Keyring, UnixTime};

use crate::package_files::made_up::{self, Values};
use crate::package_files::{self, Gpg, build, run, spec, tools};

const NEEDED: &[&str] = &["rpmbuild", "rpmsign", "rpmkeys", "gpg"];

/// Keys and packages that all tests share, made once.
pub struct Supply {
    _scratch: tempfile::TempDir,
    pub gpg: Gpg,
    /// RSA, for a year.
    pub rsa: String,
    /// Ed25519, with a signing subkey.
    pub ed25519: String,
    /// RSA too, of somebody else.
    pub other: String,
    pub unsigned: PathBuf,
    /// Signed by `rsa`.
    pub signed: PathBuf,
}

pub fn supply() -> Option<&'static Supply> {
    static SUPPLY: OnceLock<Option<Supply>> = OnceLock::new();
    let made = || {
        if !tools(NEEDED) {
            return None;
        }
        let scratch = tempfile::tempdir().unwrap();
        let install = "mkdir -p %{buildroot}/usr/bin\nseq 1 9999 > %{buildroot}/usr/bin/numbers";
        let [package] = &build(scratch.path(), &spec("signed", "", install, "/usr/bin/numbers"), &[])[..] else {
            panic!()
        };
        let gpg = Gpg::new(&scratch.path().join("gpg"));
        let rsa = gpg.key("rsa@example.org", "rsa2048", "sign", "1y");
        let ed25519 = gpg.key("ed25519@example.org", "ed25519", "cert", "never");
        run(gpg.command().args(["--quick-add-key", &ed25519, "ed25519", "sign", "never"]));
        let other = gpg.key("other@example.org", "rsa2048", "sign", "never");
        let signed = scratch.path().join("signed.rpm");
        std::fs::copy(package, &signed).unwrap();
        gpg.sign_packages(&rsa, &[&signed], &[]);
        Some(Supply { gpg, rsa, ed25519, other, unsigned: package.clone(), signed, _scratch: scratch })
    };
    SUPPLY.get_or_init(made).as_ref()
}

pub fn now() -> UnixTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UnixTime(since.as_secs().try_into().unwrap())
}

impl Supply {
    pub fn keyring(&self, keys: &[&str]) -> Keyring {
        Keyring::parse(&keys.iter().flat_map(|key| self.gpg.public(key)).collect::<Vec<_>>()).unwrap()
    }

    /// What real rpm says of a package, with one key in its database.
    pub fn rpm_agrees(&self, package: &Path, key: &str) -> bool {
        let scratch = tempfile::tempdir().unwrap();
        let (file, database) = (scratch.path().join("key"), scratch.path().join("db"));
        let armored = run(self.gpg.command().args(["--armor", "--export", key])).stdout;
        std::fs::write(&file, armored).unwrap();
        let keys = |more: &[&str]| {
            let mut command = Command::new("rpmkeys");
            command.arg("--dbpath").arg(&database).args(["--define", "_pkgverify_level all"]).args(more);
            command
        };
        run(keys(&["--import"]).arg(&file));
        let output = keys(&["-v", "--checksig"]).arg(package).output().unwrap();
        println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        output.status.success()
    }
}

/// The parts of a package.
pub struct Parts {
    pub signature: Values,
    pub main: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Parts {
    pub fn of(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let package = Unverified::open(path).unwrap().accept(Sha256::of(&bytes)).unwrap();
        let main = [&[0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0], package.header().raw()].concat();
        let start = bytes.windows(main.len()).position(|window| window == main).unwrap();
        let payload = bytes[start + main.len()..].to_vec();
        Self { signature: Values::of(package.signature_header()), main, payload }
    }

    pub fn write(&self, directory: &Path) -> PathBuf {
        made_up::write(directory, &made_up::package(&self.signature, &self.main, &self.payload))
    }

    /// Header digest and sizes as they have to be.
    pub fn mended(mut self) -> Self {
        let fresh = made_up::signature_header(&self.main, &self.payload);
        self.signature =
            fresh.0.iter().fold(self.signature.without(&[269, 1004]), |all, (tag, value)| all.set(*tag, value.clone()));
        self
    }

    pub fn judged(&self, keyring: &Keyring) -> Result<Verified, Error> {
        let scratch = tempfile::tempdir().unwrap();
        verify(&self.write(scratch.path()), keyring, now())
    }
}

pub fn reason(error: Error) -> String {
    use std::error::Error as _;
    format!("{error}: {}", error.source().map(ToString::to_string).unwrap_or_default())
}

pub fn encoded(supply: &Supply, bytes: &[u8]) -> String {
    let mut file = tempfile::NamedTempFile::new_in(&supply.gpg.home).unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    package_files::text(&run(Command::new("base64").arg("-w0").arg(file.path())))
}

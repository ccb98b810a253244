//! Packages for tests: real ones, made by rpmbuild and signed by rpmsign, and made-up ones.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod made_up;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use providers::rpm::{Unverified, Verified};

/// Files of every kind that rpmbuild lets a package have, but fifos, on which rpm 4.18 hangs.
pub const CORNERS_INSTALL: &str = r#"
mkdir -p %{buildroot}/usr/bin %{buildroot}/bin %{buildroot}/etc/corner %{buildroot}/var/lib/corner/deep/er
mkdir -p %{buildroot}/usr/share/doc/corner %{buildroot}/usr/lib/corner/links %{buildroot}/dev
seq 1 60000 > %{buildroot}/usr/bin/large
echo literal > %{buildroot}/bin/literal
echo setuid > %{buildroot}/usr/bin/setuid
echo capable > %{buildroot}/usr/bin/capable
echo two > %{buildroot}/usr/bin/capable-two
echo games > %{buildroot}/usr/bin/games
echo stranger > %{buildroot}/usr/bin/stranger
: > %{buildroot}/usr/lib/corner/empty
for each in b a c; do echo linked >> %{buildroot}/usr/lib/corner/links/one; done
ln %{buildroot}/usr/lib/corner/links/one %{buildroot}/usr/lib/corner/links/zero
ln %{buildroot}/usr/lib/corner/links/one %{buildroot}/usr/lib/corner/0-far
: > %{buildroot}/usr/lib/corner/links/empty-1
ln %{buildroot}/usr/lib/corner/links/empty-1 %{buildroot}/usr/lib/corner/links/empty-2
chmod 755 %{buildroot}/usr/bin/*  %{buildroot}/bin/*
ln -s ../lib/corner/empty %{buildroot}/usr/bin/relative
ln -s /nowhere/at/all %{buildroot}/usr/bin/dangling
echo conf > %{buildroot}/etc/corner/conf
echo keep > %{buildroot}/etc/corner/keep
echo ghost > %{buildroot}/etc/corner/ghost
echo "a name" > "%{buildroot}/usr/lib/corner/a name with blanks"
echo umlaut > %{buildroot}/usr/lib/corner/ü
touch -d @1000000000 %{buildroot}/usr/bin/setuid %{buildroot}/etc/corner/conf
touch -h -d @1100000000 %{buildroot}/usr/bin/relative
"#;

/// The list that goes with them.
pub const CORNERS: &str = r#"
/usr/bin/large
/usr/bin/relative
/usr/bin/dangling
/bin/literal
%attr(4755, root, root) /usr/bin/setuid
%caps(cap_net_raw=ep) /usr/bin/capable
%caps(cap_net_admin,cap_net_raw=p) /usr/bin/capable-two
%attr(2755, root, games) /usr/bin/games
%attr(6750, strange-user, strange-group) /usr/bin/stranger
%dir %attr(0711, mail, root) /usr/lib/corner
/usr/lib/corner/*
%dir %attr(1777, root, root) /var/lib/corner
%attr(0600, daemon, daemon) %dir /var/lib/corner/deep/er
%config /etc/corner/conf
%config(noreplace) %attr(0640, root, mail) /etc/corner/keep
%ghost /etc/corner/ghost
%dev(c, 1, 3) %attr(0666, root, root) /dev/corner
%doc /usr/share/doc/corner
"#;

/// Whether tools are there. Without them a test is skipped with a line, or fails where CI is set.
pub fn tools(names: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing = names.iter().find(|name| !std::env::split_paths(&path).any(|path| path.join(name).exists()));
    if let Some(name) = missing {
        assert!(std::env::var_os("CI").is_none(), "{name} is needed for this test");
        println!("skipped: {name} is not installed");
    }
    missing.is_none()
}

/// Whether the tests run as root, as real rpm must to set owners.
pub fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert!(std::env::var_os("CI").is_none(), "root is needed for this test");
        println!("skipped: rpm sets owners only as root");
    }
    root
}

#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let output = command.env("LC_ALL", "C").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {told}{}", String::from_utf8_lossy(&output.stdout));
    output
}

pub fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Builds the binary packages of a spec, below `top`, and gives them sorted.
#[track_caller]
pub fn build(top: &Path, spec: &str, defines: &[(&str, &str)]) -> Vec<PathBuf> {
    std::fs::create_dir_all(top).unwrap();
    let file = top.join("package.spec");
    std::fs::write(&file, spec).unwrap();
    let mut command = Command::new("rpmbuild");
    command.args(["-bb", "--nodeps", "--quiet", "--define"]).arg(format!("_topdir {}", top.display()));
    let defaults = [
        ("_buildshell", "/bin/bash"),
        ("_dbpath", "%{_topdir}/db"),
        ("_rpmdir", "%{_topdir}/out"),
        ("_build_name_fmt", "%%{NAME}.rpm"),
        ("debug_package", "%{nil}"),
        ("__os_install_post", "%{nil}"),
        ("_build_id_links", "none"),
        ("_binary_payload", "w1.zstdio"),
        ("_buildhost", "build"),
    ];
    for (name, value) in defaults.iter().chain(defines) {
        command.arg("--define").arg(format!("{name} {value}"));
    }
    run(command.arg(&file).env("HOME", top));
    packages(&top.join("out"))
}

fn packages(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|suffix| suffix == "rpm"));
    found.sort();
    found
}

/// A spec of one package with these files; `install` makes them.
pub fn spec(name: &str, more: &str, install: &str, files: &str) -> String {
    format!(
        "Name: {name}\nVersion: 1.2\nRelease: 3\nSummary: A package\nLicense: MIT\n{more}\n%description\nA package.\n\
         %install\nset -e\n{install}\n%files\n%defattr(-,root,root)\n{files}\n"
    )
}

/// A home of gpg with its keys.
pub struct Gpg {
    pub home: PathBuf,
}

impl Gpg {
    pub fn new(home: &Path) -> Self {
        std::fs::create_dir_all(home).unwrap();
        std::fs::set_permissions(home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        Self { home: home.into() }
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""]);
        command.arg("--homedir").arg(&self.home);
        command
    }

    /// Makes a key for a name; `expires` as gpg has it (`never`, `1y`).
    pub fn key(&self, name: &str, algorithm: &str, usage: &str, expires: &str) -> String {
        run(self.command().args(["--quick-generate-key", name, algorithm, usage, expires]));
        let listed = text(&run(self.command().args(["--with-colons", "--list-keys", name])));
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    pub fn public(&self, key: &str) -> Vec<u8> {
        run(self.command().args(["--export", key])).stdout
    }

    /// A detached signature of bytes.
    pub fn sign(&self, key: &str, bytes: &[u8], more: &[&str]) -> Vec<u8> {
        let mut file = tempfile::NamedTempFile::new_in(&self.home).unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        let mut command = self.command();
        run(command.args(more).args(["--local-user", key, "--output", "-", "--detach-sign"]).arg(file.path())).stdout
    }

    /// Signs packages in place.
    pub fn sign_packages(&self, key: &str, packages: &[&Path], more: &[&str]) {
        let mut command = Command::new("rpmsign");
        command.arg("--addsign").args(more).env("HOME", &self.home);
        for define in [
            format!("_gpg_name {key}"),
            format!("_gpg_path {}", self.home.display()),
            "__gpg /usr/bin/gpg".to_owned(),
            "_gpg_sign_cmd_extra_args --batch --pinentry-mode loopback --passphrase ''".to_owned(),
        ] {
            command.arg("--define").arg(define);
        }
        run(command.args(packages));
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(&self.home).args(["--kill", "all"]).output();
    }
}

/// A package that trusted metadata vouch for.
pub fn accepted(path: &Path) -> Verified {
    let digest = layers::Sha256::of(&std::fs::read(path).unwrap());
    Unverified::open(path).unwrap().accept(digest).unwrap()
}

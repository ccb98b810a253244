//! The repository around the packages: keys, signatures, metadata, and where each file lies.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::spec::{EPOCH, tool};
use crate::support::must;

/// The keys: of the distribution, of somebody whom nobody trusts, and one of the distribution's
/// that was good for a day of the year 2020.
pub const OURS: &str = "packages";
pub const THEIRS: &str = "strangers";
pub const EXPIRED: &str = "expired";

/// When that one was made, in gpg's form.
const LONG_AGO: &str = "20200101T000000";

/// gpg with the suite's own keys.
pub fn gpg(home: &Path) -> Command {
    let mut command = Command::new("gpg");
    command.arg("--homedir").arg(home.join("gnupg")).args(["--batch", "--quiet", "--yes", "--no-tty"]);
    command
}

/// Makes the keys and gives the distribution's in its armor.
pub fn make_keys(home: &Path) -> String {
    let place = home.join("gnupg");
    fs::create_dir_all(&place).unwrap();
    must(Command::new("chmod").arg("700").arg(&place));
    for (name, kind) in [(OURS, "rsa4096"), (THEIRS, "rsa2048")] {
        let user = format!("{name} <a@b.c>");
        must(gpg(home).args(["--passphrase", "", "--quick-gen-key", &user, kind, "sign", "never"]));
    }
    must(gpg(home).args(["--faked-system-time", LONG_AGO, "--passphrase", ""]).args([
        "--quick-gen-key",
        &format!("{EXPIRED} <a@b.c>"),
        "rsa2048",
        "sign",
        "1d",
    ]));
    key(home, OURS)
}

/// A public key in its armor.
pub fn key(home: &Path, name: &str) -> String {
    must(gpg(home).args(["--armor", "--export", name]))
}

/// Signs a package file anew with another key. The file becomes one of its own.
pub fn resign(home: &Path, package: &Path, key: &str) {
    let copy = package.with_extension("copy");
    fs::copy(package, &copy).unwrap();
    fs::rename(copy, package).unwrap();
    let mut rpmsign = tool("rpmsign", home);
    rpmsign.arg("--define").arg(format!("_gpg_name {key}"));
    if key == EXPIRED {
        rpmsign.arg("--define").arg(format!("_gpg_sign_cmd_extra_args --faked-system-time {LONG_AGO}"));
    }
    must(rpmsign.arg("--resign").arg(package));
    stop_agent(home);
}

/// gpg starts an agent for each home that would outlive the suite.
pub fn stop_agent(home: &Path) {
    let _ = Command::new("gpgconf").arg("--homedir").arg(home.join("gnupg")).args(["--kill", "gpg-agent"]).output();
}

/// Signs the packages of a directory.
pub fn sign_packages(home: &Path, directory: &Path) {
    let packages: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    // Two at once: gpg takes most of the time.
    std::thread::scope(|scope| {
        for half in packages.chunks(packages.len().div_ceil(2)) {
            scope.spawn(move || must(tool("rpmsign", home).arg("--addsign").args(half)));
        }
    });
    // A signature over header and payload besides, as packages had them before.
    let old = packages.iter().filter(|path| path.to_string_lossy().contains("/corner-payload-gzip-"));
    must(tool("rpmsign", home).args(["--resign", "--rpmv3"]).args(old));
}

/// Lays the packages where a repository has them and writes the metadata.
pub fn publish(home: &Path, packages: &Path, repository: &Path) {
    for entry in fs::read_dir(packages).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let place = repository.join("Packages").join(&name[..1].to_lowercase());
        fs::create_dir_all(&place).unwrap();
        fs::rename(entry.path(), place.join(name)).unwrap();
    }
    fs::write(home.join("comps.xml"), COMPS).unwrap();
    fs::write(home.join("updateinfo.xml"), UPDATEINFO).unwrap();
    index(home, repository, "gz");
}

/// Writes and signs the metadata of a repository as its packages are now, compressed as
/// createrepo_c names it: `gz`, `xz`, `bz2`.
pub fn index(home: &Path, repository: &Path, compression: &str) {
    must(
        tool("createrepo_c", home)
            .args(["--quiet", "--no-database", "--checksum=sha256", "--workers=2"])
            .arg(format!("--general-compress-type={compression}"))
            .args(["--revision", EPOCH, "--set-timestamp-to-revision", "--groupfile"])
            .arg(home.join("comps.xml"))
            .arg(repository),
    );
    let repodata = repository.join("repodata");
    let compress = format!("--compress-type={compression}");
    must(
        tool("modifyrepo_c", home)
            .args(["--checksum=sha256", &compress])
            .arg(home.join("updateinfo.xml"))
            .arg(&repodata),
    );
    sign_metadata(home, repository, OURS);
    fs::write(repodata.join("repomd.xml.key"), key(home, OURS)).unwrap();
}

/// Signs `repomd.xml` with a key.
pub fn sign_metadata(home: &Path, repository: &Path, key: &str) {
    let repomd = repository.join("repodata/repomd.xml");
    let signature = repository.join("repodata/repomd.xml.asc");
    let mut gpg = gpg(home);
    if key == EXPIRED {
        gpg.args(["--faked-system-time", LONG_AGO]);
    }
    must(gpg.args(["--local-user", key, "--detach-sign", "--armor", "--output"]).arg(signature).arg(repomd));
    stop_agent(home);
}

const COMPS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE comps PUBLIC "-//Red Hat, Inc.//DTD Comps info//EN" "comps.dtd">
<comps>
  <group>
    <id>corner-group</id>
    <name>Corner group</name>
    <description>A group of packages</description>
    <default>true</default>
    <uservisible>true</uservisible>
    <packagelist>
      <packagereq type="mandatory">corner-epoch</packagereq>
      <packagereq type="default">corner-caret</packagereq>
      <packagereq type="optional">corner-large</packagereq>
      <packagereq type="conditional" requires="bash">corner-empty</packagereq>
    </packagelist>
  </group>
  <environment>
    <id>corner-environment</id>
    <name>Corner environment</name>
    <description>A group of groups</description>
    <display_order>1</display_order>
    <grouplist><groupid>corner-group</groupid></grouplist>
  </environment>
</comps>
"#;

const UPDATEINFO: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<updates>
  <update from="a@b.c" status="stable" type="security" version="1">
    <id>CORNER-2024-1</id>
    <title>corner-tilde 2.0</title>
    <issued date="2024-01-01 00:00:00"/>
    <severity>Important</severity>
    <references><reference href="https://a.b/1" id="CVE-2024-0001" type="cve" title="CVE-2024-0001"/></references>
    <pkglist>
      <collection short="c">
        <name>c</name>
        <package name="corner-tilde" version="2.0" release="1.azl3" epoch="0" arch="noarch" src="corner-tilde-2.0-1.azl3.src.rpm">
          <filename>corner-tilde-2.0-1.azl3.noarch.rpm</filename>
        </package>
      </collection>
    </pkglist>
  </update>
</updates>
"#;

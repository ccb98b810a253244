//! apt as the referee: what it accepts we accept, what it refuses we refuse.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use providers::fetch::{Fetcher, Silent};
use providers::repository::update;

use crate::archive::{Archive, Says, amd64};
use crate::downloads::options;
use crate::referee::{Gpg, have, now};

fn tools() -> bool {
    ["gpg", "dpkg-deb", "xz", "apt-get", "apt-ftparchive"].iter().all(|tool| have(tool))
}

/// Whether `apt-get update` takes the archive, in a root of its own.
fn apt_accepts(archive: &Archive) -> bool {
    let root = tempfile::tempdir().unwrap();
    for directory in ["state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d", "log"] {
        std::fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    let key = root.path().join("key.asc");
    std::fs::write(&key, archive.gpg.export(&["archive"])).unwrap();
    let source = format!("deb [arch=amd64 signed-by={}] {} test main\n", key.display(), archive.file_url());
    std::fs::write(root.path().join("sources.list"), source).unwrap();
    std::fs::write(root.path().join("state/status"), "").unwrap();
    // An own configuration file: the machine's may turn off the very checks that are asked for here.
    let config = root.path().join("apt.conf");
    let place = |name: &str| root.path().join(name).display().to_string();
    let lines = [
        ("Dir::Etc", place("etc")),
        ("Dir::Etc::Parts", place("etc/apt.conf.d")),
        ("Dir::Etc::SourceList", place("sources.list")),
        ("Dir::Etc::SourceParts", "/dev/null".into()),
        ("Dir::State", place("state")),
        ("Dir::State::Status", place("state/status")),
        ("Dir::Cache", place("cache")),
        ("Dir::Log", place("log")),
        ("Acquire::Languages", "none".into()),
        ("Acquire::Check-Valid-Until", "true".into()),
        ("Acquire::Check-Date", "true".into()),
        ("APT::Architecture", "amd64".into()),
        ("APT::Sandbox::User", "root".into()),
        ("APT::Update::Error-Mode", "any".into()),
    ];
    let text: String = lines.iter().map(|(name, value)| format!("{name} \"{value}\";\n")).collect();
    std::fs::write(&config, text).unwrap();
    readable(archive.path());
    let output = Command::new("apt-get")
        .env("APT_CONFIG", &config)
        .env("LC_ALL", "C")
        .args(["update", "-o", "Dir::Etc::Trusted=/dev/null", "-o", "Dir::Etc::TrustedParts=/dev/null"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let fine = output.status.success() && !said.lines().any(|line| line.starts_with("W:") || line.starts_with("E:"));
    println!("apt {}:\n{said}", if fine { "accepts" } else { "refuses" });
    fine
}

/// apt's methods may run as a user of their own.
fn readable(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn we_accept(archive: &Archive) -> bool {
    let fetcher = Fetcher::new(options(), Arc::new(Silent)).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let repository = archive.repository(&archive.file_url());
    match update(&repository, &amd64(), &fetcher, &providers::CacheDir::new(cache.path()), now()) {
        Ok(_) => true,
        Err(error) => {
            println!("we refuse: {error}");
            false
        }
    }
}

fn verdict(archive: &Archive, expected: bool, what: &str) {
    assert_eq!(apt_accepts(archive), expected, "apt on {what}");
    assert_eq!(we_accept(archive), expected, "we on {what}");
}

/// A date in the form of release files.
fn dated(offset: i64) -> String {
    let output = Command::new("date").args(["-R", "-u", "-d", &format!("@{}", now().0 + offset)]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn says(offset: i64) -> Says {
    Says { date: dated(offset), ..Says::default() }
}

#[test]
fn apt_and_we_agree() {
    if !tools() {
        return;
    }
    let archive = Archive::signing_now();
    archive.release(&says(-3600), &[".xz"]);
    verdict(&archive, true, "a good archive");
    let release = archive.path().join("dists/test/InRelease");
    let genuine = std::fs::read_to_string(&release).unwrap();
    std::fs::write(&release, genuine.replace("Origin: Test", "Origin: Tesd")).unwrap();
    verdict(&archive, false, "an altered release");
    let mallory = Gpg::new();
    mallory.key("mallory", "ed25519", "1y", &[]);
    let text = std::fs::read_to_string(archive.path().join("dists/test/Release")).unwrap();
    std::fs::write(&release, mallory.clearsign("mallory", &text, &[])).unwrap();
    verdict(&archive, false, "a stranger's release");
    archive.release(&Says { valid_until: Some(dated(-1800)), ..says(-3600) }, &[".xz"]);
    verdict(&archive, false, "an expired release");
    archive.release(&says(7200), &[".xz"]);
    verdict(&archive, false, "a release from the future");
    let index = archive.index();
    let mut altered = index.clone();
    altered[9] ^= 1;
    archive.release_index(&says(-3600), &[".xz"], &index, &altered);
    verdict(&archive, false, "an index that is not the stated one");
    archive.release(&Says { suite: "other".into(), ..says(-3600) }, &[".xz"]);
    verdict(&archive, false, "another suite's release");
}

#[test]
fn a_repository_made_by_apt_ftparchive() {
    if !tools() {
        return;
    }
    let archive = Archive::signing_now();
    let run = |args: &[&str]| {
        let output = Command::new("apt-ftparchive").current_dir(archive.path()).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let binary = archive.path().join("dists/test/main/binary-amd64");
    std::fs::create_dir_all(&binary).unwrap();
    let index = run(&["packages", "pool"]);
    std::fs::write(binary.join("Packages"), &index).unwrap();
    std::fs::write(binary.join("Packages.gz"), crate::archive::compress(".gz", &index)).unwrap();
    let option = |name: &str, value: &str| format!("APT::FTPArchive::Release::{name}={value}");
    let options = [option("Suite", "test"), option("Architectures", "amd64"), option("Components", "main")];
    let mut args = vec!["release"];
    for option in &options {
        args.extend(["-o", option]);
    }
    args.push("dists/test");
    let text = String::from_utf8(run(&args)).unwrap();
    archive.sign("dists/test", &text, "archive");
    verdict(&archive, true, "an archive made by apt-ftparchive");
}

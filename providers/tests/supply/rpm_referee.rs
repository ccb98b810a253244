//! dnf's verdict on the same repositories.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use providers::Keyring;
use providers::fetch::{Fetcher, Silent};
use providers::repository::Trust;
use providers::rpm::repository::update_all;

use crate::downloads::options;
use crate::referee::{have, now};
use crate::rpm_archive::{Document, RpmArchive, compress, tools};

/// Whether dnf takes the metadata of the repository.
fn dnf_accepts(archive: &RpmArchive, signer: &str) -> bool {
    let work = tempfile::tempdir().unwrap();
    let key = work.path().join("key.asc");
    std::fs::write(&key, archive.gpg.export(&[signer])).unwrap();
    let at = |name: &str| work.path().join(name).display().to_string();
    std::fs::create_dir(work.path().join("root")).unwrap();
    let config = format!(
        "[main]\ncachedir={}\nlogdir={}\npersistdir={}\nreposdir={none}\nvarsdir={none}\nplugins=0\ninstallroot={}\nretries=1\n[test]\nname=test\nbaseurl={}\ngpgcheck=1\nrepo_gpgcheck=1\ngpgkey=file://{}\nskip_if_unavailable=0\n",
        at("cache"),
        at("log"),
        at("lib"),
        at("root"),
        archive.file_url(),
        key.display(),
        none = at("none"),
    );
    let file = work.path().join("dnf.conf");
    std::fs::write(&file, config).unwrap();
    // It keeps what it has learned of keys in its home.
    dnf(&file, work.path())
}

fn dnf(config: &Path, home: &Path) -> bool {
    let output = Command::new("dnf")
        .env("HOME", home)
        .env("LC_ALL", "C")
        .arg("-y")
        .arg("-c")
        .arg(config)
        .args(["--releasever", "1", "makecache"])
        .output()
        .unwrap();
    output.status.success()
}

fn ours_accepts(archive: &RpmArchive, signer: &str) -> bool {
    let mut repository = archive.repository(&archive.file_url());
    repository.trust = Trust::Keys(Keyring::parse(&archive.gpg.export(&[signer])).unwrap());
    let fetcher = Fetcher::new(options(), Arc::new(Silent)).unwrap();
    let _ = std::fs::remove_dir_all(archive.cache.root());
    update_all(&[repository], &fetcher, &archive.cache, now()).is_ok()
}

#[test]
fn dnf_takes_what_we_take_and_refuses_what_we_refuse() {
    if !tools() || !have("dnf") {
        return;
    }
    let archive = RpmArchive::signing_now();
    let judge = |case: &str, good: bool| {
        assert_eq!(ours_accepts(&archive, "archive"), good, "{case}, by us");
        assert_eq!(dnf_accepts(&archive, "archive"), good, "{case}, by dnf");
    };
    // Now, because dnf cannot be told another time, and we refuse what is from the future.
    let made = now().0 - 60;
    archive.release(made, &[]);
    judge("as it should be", true);
    archive.release(made, &["--repomd-checksum", "sha512"]);
    judge("with SHA-512", true);
    std::fs::remove_file(archive.repodata("repomd.xml.asc")).unwrap();
    judge("unsigned", false);
    archive.release(made, &[]);
    let text = std::fs::read_to_string(archive.repodata("repomd.xml")).unwrap();
    std::fs::write(archive.repodata("repomd.xml"), text.replacen("<revision>1", "<revision>2", 1)).unwrap();
    judge("one byte changed", false);
    archive.release(made, &[]);
    archive.gpg.key("mallory", "ed25519", "2y", &[]);
    archive.sign("mallory", &[]);
    judge("by another key", false);
    // Born, and gone, some days ago.
    let then = |days: i64| (now().0 - days * 86_400).to_string();
    archive.gpg.key("brief", "ed25519", "1d", &["--faked-system-time", &then(5)]);
    archive.sign("brief", &["--faked-system-time", &then(5)]);
    assert!(!ours_accepts(&archive, "brief"), "by a key that has expired, by us");
    assert!(!dnf_accepts(&archive, "brief"), "by a key that has expired, by dnf");
    archive.release(made, &[]);
    let primary = archive.file("primary.xml.gz");
    let bytes = std::fs::read(&primary).unwrap();
    std::fs::write(&primary, &bytes[..bytes.len() - 5]).unwrap();
    judge("primary.xml cut short", false);
    std::fs::write(&primary, compress(".gz", b"<metadata/>")).unwrap();
    judge("another primary.xml", false);
    std::fs::remove_file(&primary).unwrap();
    judge("no primary.xml", false);
    let document = |text: &[u8]| Document {
        kind: "primary",
        path: "repodata/p.xml.gz".into(),
        bytes: compress(".gz", text),
        open: Some(text.to_vec()),
    };
    archive.release(made, &[]);
    let good = archive.primary();
    archive.hand(made, &[document(&good)]);
    assert!(ours_accepts(&archive, "archive"), "primary.xml alone, by us");
    archive.hand(made, &[document(&good[..good.len() / 2])]);
    assert!(!ours_accepts(&archive, "archive"), "half a primary.xml, by us");
}

//! rpm repositories in every way in which they should not be, each beside one that is good.

use providers::repository::Trust;
use providers::rpm::repository::{Error, update_all};
use providers::trust::{self, UnixTime, Unusable};

use crate::rpm_archive::{Document, MADE, RpmArchive, compress, tools};
use crate::rpm_repositories::{NAMES, NOON, fetcher, names, online, refused, run};
use crate::server::Way;

#[test]
fn unsigned_metadata_needs_signed_packages_or_the_users_word() {
    if !tools() {
        return;
    }
    let archive = RpmArchive::new();
    std::fs::remove_file(archive.repodata("repomd.xml.asc")).unwrap();
    let mut repository = archive.repository(&archive.file_url());
    let (error, _) = refused(&archive, &repository);
    assert!(matches!(error, Error::NotSigned { .. }));
    assert!(error.hint().unwrap().contains("`trusted: true`"));
    repository.repo_gpgcheck = false;
    let metadata = online(&archive, &repository).unwrap();
    assert!(metadata.repomd.signers.is_empty() && repository.package_keys().is_some());
    repository.gpgcheck = false;
    let (error, _) = refused(&archive, &repository);
    assert!(matches!(error, Error::Unprotected { .. }));
    assert!(error.hint().unwrap().contains("`trusted: true`"));
    repository.trust = Trust::Anyone;
    assert_eq!(names(&online(&archive, &repository).unwrap()), NAMES);
    assert!(repository.package_keys().is_none());
    assert!(repository.describe().ends_with(" (unsigned)"));
}

fn signature(error: Error) -> trust::Error {
    match error {
        Error::Untrusted { source, .. } => source,
        other => panic!("unexpected: {other}"),
    }
}

#[test]
fn signatures_that_do_not_hold() {
    if !tools() {
        return;
    }
    let archive = RpmArchive::new();
    let repository = archive.repository(&archive.file_url());
    let good = std::fs::read(archive.repodata("repomd.xml")).unwrap();
    let signed = std::fs::read(archive.repodata("repomd.xml.asc")).unwrap();
    // One changed byte.
    let altered = String::from_utf8(good.clone()).unwrap().replacen("<revision>1", "<revision>2", 1);
    std::fs::write(archive.repodata("repomd.xml"), altered).unwrap();
    assert!(matches!(signature(refused(&archive, &repository).0), trust::Error::Bad { .. }));
    // Truncated.
    std::fs::write(archive.repodata("repomd.xml"), &good[..good.len() - 20]).unwrap();
    assert!(matches!(signature(refused(&archive, &repository).0), trust::Error::Bad { .. }));
    std::fs::write(archive.repodata("repomd.xml"), &good).unwrap();
    // No signature at all.
    for bytes in [&b""[..], b"-----BEGIN PGP SIGNATURE-----\n", &signed[..signed.len() / 2]] {
        std::fs::write(archive.repodata("repomd.xml.asc"), bytes).unwrap();
        assert!(matches!(refused(&archive, &repository).0, Error::Untrusted { .. }));
    }
    // By another key.
    archive.gpg.key("mallory", "ed25519", "2y", &["--faked-system-time", "20261101T000000"]);
    archive.sign("mallory", &["--faked-system-time", "20261121T081000"]);
    assert!(matches!(signature(refused(&archive, &repository).0), trust::Error::UnknownSigner { .. }));
    // By a key that has expired since.
    archive.gpg.key("brief", "ed25519", "1d", &["--faked-system-time", "20261119T120000"]);
    archive.sign("brief", &["--faked-system-time", "20261119T130000"]);
    let mut brief = repository.clone();
    brief.trust = Trust::Keys(providers::Keyring::parse(&archive.gpg.export(&["brief"])).unwrap());
    match signature(refused(&archive, &brief).0) {
        trust::Error::Unusable { reasons } => assert!(matches!(reasons[0].1, Unusable::KeyExpired(_)), "{reasons:?}"),
        other => panic!("unexpected: {other}"),
    }
    // The control: all of this was the repository that is good.
    archive.sign("archive", &["--faked-system-time", "20261121T081000"]);
    assert_eq!(names(&online(&archive, &repository).unwrap()), NAMES);
}

#[test]
fn documents_that_are_not_the_stated_ones() {
    if !tools() {
        return;
    }
    let archive = RpmArchive::new();
    let server = archive.serve();
    let repository = archive.repository(&server.url());
    let path = archive.href("primary.xml.gz");
    let good = std::fs::read(archive.file("primary.xml.gz")).unwrap();
    let mut altered = good.clone();
    *altered.last_mut().unwrap() ^= 1;
    // Another repository's primary.xml, genuine there.
    let other = RpmArchive::new();
    std::fs::remove_file(other.path().join("noarch/hello-1.0-1.noarch.rpm")).unwrap();
    other.release(MADE, &[]);
    let swapped = std::fs::read(other.file("primary.xml.gz")).unwrap();
    let longer = [good.as_slice(), &[0; 4096]].concat();
    let ways = [
        Way::Good(altered),
        Way::Good(swapped),
        Way::Good(good[..good.len() - 5].to_vec()),
        Way::Good(longer),
        Way::Good(Vec::new()),
        Way::Status(404),
        Way::Status(500),
    ];
    for (number, way) in ways.into_iter().enumerate() {
        server.put(&path, &[way]);
        let (error, text) = refused(&archive, &repository);
        assert!(matches!(error, Error::Fetch { .. }), "{number}: {text}");
    }
    let kept = std::fs::read_dir(archive.cache.root().join("indexes/sha256")).unwrap().count();
    assert_eq!(kept, 0);
    assert!(!archive.cache.root().join("releases").exists(), "what failed is not remembered");
    server.put(&path, &[Way::Good(good)]);
    assert_eq!(names(&online(&archive, &repository).unwrap()), NAMES);
}

#[test]
fn documents_that_lie_about_what_they_hold() {
    if !tools() {
        return;
    }
    let archive = RpmArchive::new();
    let repository = archive.repository(&archive.file_url());
    let text = archive.primary();
    let one = |bytes: Vec<u8>, open: Option<Vec<u8>>| {
        [Document { kind: "primary", path: "repodata/p.xml.gz".into(), bytes, open }]
    };
    let mut other = text.clone();
    let at = other.windows(5).position(|bytes| bytes == b"hello").unwrap();
    other[at] = b'j';
    let endless =
        [&b"<metadata><package type=\"rpm\"><name>"[..], &vec![b'a'; 20_000_000], b"</name></package></metadata>"]
            .concat();
    let deep = [&b"<metadata>"[..], &b"<a>".repeat(100_000)].concat();
    let cases = [
        (one(compress(".gz", &other), Some(text.clone())), "decompressed, it is sha256:"),
        (one(compress(".gz", &text), Some([text.as_slice(), b"\n"].concat())), "bytes, repomd.xml says"),
        (one(compress(".gz", &vec![b'a'; 50_000_000]), Some(text.clone())), "more than"),
        (one(text.clone(), Some(text.clone())), "cannot be decompressed"),
        (one(compress(".gz", &text)[..200].to_vec(), Some(text.clone())), "cannot be decompressed"),
        (one(compress(".gz", &endless), None), "more than 2097152 bytes"),
        (one(compress(".gz", &deep), None), "nested more than"),
        (one(compress(".gz", b"<metadata><package>"), None), "it ends in the middle"),
        (one(compress(".gz", b"<filelists/>"), None), "not with <metadata>"),
        (one(Vec::new(), None), "cannot be decompressed"),
    ];
    for (number, (documents, expected)) in cases.iter().enumerate() {
        archive.hand(MADE + 10 + i64::try_from(number).unwrap(), documents);
        let (_, text) = refused(&archive, &repository);
        assert!(text.contains(expected), "{number}: {text}");
    }
    archive.hand(MADE + 100, &one(compress(".gz", &text), Some(text.clone())));
    assert_eq!(names(&online(&archive, &repository).unwrap()), NAMES);
}

#[test]
fn repomds_that_a_careless_owner_signs() {
    if !tools() {
        return;
    }
    let archive = RpmArchive::new();
    let repository = archive.repository(&archive.file_url());
    for (from, to, expected) in [
        ("href=\"repodata/", "href=\"../repodata/", "not below the repository"),
        ("href=\"repodata/", "href=\"/etc/", "not below the repository"),
        ("<location href", "<location xml:base=\"https://example.org/\" href", "lies elsewhere"),
        ("type=\"sha256\"", "type=\"sha\"", "which proves nothing"),
        ("open-checksum type=\"sha256\"", "open-checksum type=\"md5\"", "which proves nothing"),
        ("type=\"primary\"", "type=\"primary_db\"", "find 'primary'"),
        ("type=\"primary\"", "type=\"primary_zck\"", "as zchunk only"),
        ("type=\"filelists\"", "type=\"primary\"", "'primary' twice"),
        ("<size>", "<size>99999999999", "more than the"),
        ("<size>", "<taille>0</taille><size>1", "bytes"),
        ("<?xml", "<!DOCTYPE x [<!ENTITY a 'b'>]><?xml", "repomd.xml"),
        ("</repomd>", "", "ends in the middle"),
    ] {
        archive.release(MADE, &[]);
        archive.edit(from, to);
        let (_, text) = refused(&archive, &repository);
        assert!(text.contains(expected), "{to}: {text}");
    }
    archive.release(MADE, &["--checksum", "sha1", "--repomd-checksum", "sha256"]);
    assert!(refused(&archive, &repository).1.contains("too weak"));
    archive.release(MADE, &["--repomd-checksum", "sha1"]);
    assert!(refused(&archive, &repository).1.contains("proves nothing"));
    archive.release(MADE, &["--repomd-checksum", "sha512"]);
    assert_eq!(names(&online(&archive, &repository).unwrap()), NAMES);
    assert_eq!(names(&run(&archive, &repository, true, NOON).unwrap()), NAMES);
}

#[test]
fn older_states_are_refused_where_the_newer_was_signed() {
    if !tools() {
        return;
    }
    let archive = RpmArchive::new();
    let repository = archive.repository(&archive.file_url());
    let keep = |name: &str| std::fs::read(archive.repodata(name)).unwrap();
    let old = ["repomd.xml", "repomd.xml.asc"].map(keep);
    archive.release(MADE + 600, &[]);
    online(&archive, &repository).unwrap();
    // The same date, other bytes.
    archive.edit("</repomd>", "<!-- other --></repomd>");
    let (error, _) = refused(&archive, &repository);
    assert!(matches!(error, Error::Changed { .. }), "{error}");
    // Yesterday's, genuine.
    for (name, bytes) in ["repomd.xml", "repomd.xml.asc"].iter().zip(&old) {
        std::fs::write(archive.repodata(name), bytes).unwrap();
    }
    let (error, _) = refused(&archive, &repository);
    let Error::Rollback { memory, seen, .. } = &error else { panic!("{error}") };
    assert_eq!(*seen, UnixTime(MADE + 600));
    assert!(error.hint().unwrap().contains(&memory.display().to_string()));
    // Who reads unsigned metadata has no protection to lose, and does none for others.
    let mut unsigned = repository.clone();
    unsigned.repo_gpgcheck = false;
    assert!(online(&archive, &unsigned).unwrap().repomd.signers.is_empty());
    assert!(matches!(online(&archive, &repository), Err(Error::Rollback { .. })));
    // It is meant.
    std::fs::remove_file(memory).unwrap();
    online(&archive, &repository).unwrap();
    // Newer, but not yet.
    archive.release(NOON.0 + 7 * 86_400, &[]);
    assert!(matches!(refused(&archive, &repository).0, Error::FromTheFuture { .. }));
    // An unsigned state from the future is remembered by nobody.
    assert!(matches!(online(&archive, &unsigned), Err(Error::FromTheFuture { .. })));
}

#[test]
fn a_mirror_that_lags_or_lies_is_passed_over() {
    if !tools() {
        return;
    }
    let archive = RpmArchive::new();
    let stale = archive.serve();
    archive.release(MADE + 600, &[]);
    let fresh = archive.serve();
    let mut repository = archive.repository(&fresh.url());
    online(&archive, &repository).unwrap();
    let mut only = |server: &crate::server::Server, more: Option<&crate::server::Server>| {
        let urls = std::iter::once(server).chain(more);
        repository.mirrors = urls.map(|server| providers::fetch::BaseUrl::parse(&server.url()).unwrap()).collect();
        online(&archive, &repository)
    };
    assert!(matches!(only(&stale, None), Err(Error::Rollback { .. })));
    let from = only(&stale, Some(&fresh)).unwrap().repomd.from.unwrap();
    assert!(from.starts_with(&fresh.url()), "{from}");
    // One without the signature, and one with another's.
    let signature = std::fs::read(archive.repodata("repomd.xml.asc")).unwrap();
    std::fs::remove_file(archive.repodata("repomd.xml.asc")).unwrap();
    let bare = archive.serve();
    assert!(matches!(only(&bare, None), Err(Error::NotSigned { .. })));
    only(&bare, Some(&fresh)).unwrap();
    std::fs::write(archive.repodata("repomd.xml.asc"), &signature).unwrap();
    archive.edit("</repomd>", "<!-- other --></repomd>");
    std::fs::write(archive.repodata("repomd.xml.asc"), signature).unwrap();
    let forged = archive.serve();
    assert!(matches!(only(&forged, None), Err(Error::Untrusted { .. })));
    only(&forged, Some(&fresh)).unwrap();
    // All of them: what is worst is told.
    assert!(matches!(only(&bare, Some(&forged)), Err(Error::NotSigned { .. })));
}

#[test]
fn a_failing_repository_is_never_left_out() {
    if !tools() {
        return;
    }
    let archive = RpmArchive::new();
    let good = archive.repository(&archive.file_url());
    let mut bad = good.clone();
    bad.id = "security".parse().unwrap();
    bad.url = providers::fetch::BaseUrl::parse(&format!("{}/none", archive.file_url())).unwrap();
    let error = update_all(&[good, bad], &fetcher(false), &archive.cache, NOON).unwrap_err();
    assert!(error.to_string().contains("'security'") && matches!(error, Error::NoRepomd { .. }), "{error}");
}

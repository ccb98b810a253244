//! Repositories as they should be, and in every way in which they should not.

use std::sync::Arc;

use providers::fetch::{Fetcher, Options, Silent};
use providers::repository::{Error, Repository, Trust, Update, update};
use providers::trust::UnixTime;

use crate::archive::{Archive, Says, amd64};
use crate::downloads::options;
use crate::referee::{Gpg, have};
use crate::server::Way;

/// Noon of 21 November 2026, two hours after the archives of these tests are released.
const NOON: UnixTime = UnixTime(1_795_262_400);
const DAY: i64 = 86_400;

fn tools() -> bool {
    ["gpg", "dpkg-deb", "xz", "gzip", "zstd"].iter().all(|tool| have(tool))
}

fn run(archive: &Archive, repository: &Repository, offline: bool, now: UnixTime) -> Result<Update, Error> {
    let fetcher = Fetcher::new(Options { offline, ..options() }, Arc::new(Silent)).unwrap();
    update(repository, &amd64(), &fetcher, &archive.cache, now)
}

fn online(archive: &Archive, repository: &Repository) -> Result<Update, Error> {
    run(archive, repository, false, NOON)
}

fn refused(archive: &Archive, repository: &Repository) -> Error {
    let error = online(archive, repository).unwrap_err();
    assert!(error.hint().is_some(), "{error} has a hint");
    error
}

#[test]
fn a_good_repository_in_every_form() {
    if !tools() {
        return;
    }
    let archive = Archive::new();
    for forms in [&[".xz", ".gz"][..], &[".gz"], &[".zst"], &[".xz"], &[""]] {
        for (by_hash, list_plain) in [(true, true), (false, true), (true, false)] {
            archive.release(&Says { by_hash, list_plain, ..Says::default() }, forms);
            let server = archive.serve();
            let update = online(&archive, &archive.repository(&server.url())).unwrap();
            assert_eq!(update.indexes[0].text, archive.index());
            assert_eq!(update.indexes[0].component, "main");
            assert_eq!(update.epoch(), Some(UnixTime(NOON.0 - 7200)));
            assert_eq!(update.releases[0].signers.len(), 1);
            let _ = std::fs::remove_dir_all(archive.cache.root());
        }
    }
}

#[test]
fn the_second_run_asks_for_the_release_only_and_offline_for_nothing() {
    if !tools() {
        return;
    }
    let archive = Archive::new();
    archive.release(&Says::default(), &[".xz", ".gz"]);
    let server = archive.serve();
    let repository = archive.repository(&server.url());
    online(&archive, &repository).unwrap();
    let first = server.log().len();
    online(&archive, &repository).unwrap();
    assert_eq!(server.log().len(), first + 1);
    let update = run(&archive, &repository, true, NOON).unwrap();
    assert_eq!(update.indexes[0].text, archive.index());
    assert_eq!(server.log().len(), first + 1);
    // Nothing was ever seen of this one.
    let mut other = repository.clone();
    other.suites = vec!["another".into()];
    assert!(run(&archive, &other, true, NOON).unwrap_err().hint().unwrap().contains("--offline"));
    // Whoever built it and whatever they used, the release is the same text.
    let inline = update.releases[0].sha256;
    assert_eq!(inline, layers::Sha256::of(&std::fs::read(archive.path().join("dists/test/Release")).unwrap()));
}

#[test]
fn a_damaged_index_in_the_cache_is_fetched_again() {
    if !tools() {
        return;
    }
    let archive = Archive::new();
    archive.release(&Says::default(), &[".xz"]);
    let server = archive.serve();
    let repository = archive.repository(&server.url());
    online(&archive, &repository).unwrap();
    let kept = std::fs::read_dir(archive.cache.root().join("indexes/sha256")).unwrap().next().unwrap().unwrap().path();
    for damage in [&b"Package: evil\n"[..], b"", &archive.index()[1..]] {
        std::fs::write(&kept, damage).unwrap();
        assert_eq!(online(&archive, &repository).unwrap().indexes[0].text, archive.index());
    }
    // A memory of the release that makes no sense is no memory.
    let memory = std::fs::read_dir(archive.cache.root().join("releases")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&memory, b"{\"date\":").unwrap();
    online(&archive, &repository).unwrap();
    // Nor is one that someone has put words into believed offline.
    let text = std::fs::read_to_string(&memory).unwrap().replace("Origin: Test", "Origin: Tesd");
    std::fs::write(&memory, text).unwrap();
    assert!(matches!(run(&archive, &repository, true, NOON).unwrap_err(), Error::Untrusted { .. }));
}

#[test]
fn release_and_signature_apart() {
    if !tools() {
        return;
    }
    let archive = Archive::new();
    archive.release(&Says::default(), &[".xz"]);
    std::fs::remove_file(archive.path().join("dists/test/InRelease")).unwrap();
    let server = archive.serve();
    let repository = archive.repository(&server.url());
    online(&archive, &repository).unwrap();
    run(&archive, &repository, true, NOON).unwrap();
    server.put("dists/test/Release.gpg", &[Way::Status(404)]);
    assert!(matches!(refused(&archive, &repository), Error::NotSigned { .. }));
    server.put("dists/test/Release", &[Way::Status(404)]);
    assert!(matches!(refused(&archive, &repository), Error::NoRelease { .. }));
}

#[test]
fn a_forged_release_is_refused() {
    if !tools() {
        return;
    }
    let archive = Archive::new();
    archive.release(&Says::default(), &[".xz"]);
    let server = archive.serve();
    let repository = archive.repository(&server.url());
    let genuine = std::fs::read(archive.path().join("dists/test/InRelease")).unwrap();
    online(&archive, &repository).unwrap();
    // Altered after signing.
    let altered = String::from_utf8(genuine.clone()).unwrap().replace("main/binary", "mane/binary");
    server.put("dists/test/InRelease", &[Way::Good(altered.into_bytes())]);
    assert!(matches!(refused(&archive, &repository), Error::Untrusted { .. }));
    // Signed by someone else, who is named.
    let mallory = Gpg::new();
    let key = mallory.key("mallory", "ed25519", "1y", &[]);
    let text = std::fs::read_to_string(archive.path().join("dists/test/Release")).unwrap();
    server.put("dists/test/InRelease", &[Way::Good(mallory.clearsign("mallory", &text, &[]))]);
    let error = refused(&archive, &repository);
    let chain = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(chain.contains("'test'") && chain.contains(&key), "{chain}");
    // Not signed at all.
    server.put("dists/test/InRelease", &[Way::Good(text.into_bytes())]);
    assert!(matches!(refused(&archive, &repository), Error::Untrusted { .. }));
    // A login page.
    server.put("dists/test/InRelease", &[Way::Good(b"<html>welcome</html>".to_vec())]);
    assert!(matches!(refused(&archive, &repository), Error::Untrusted { .. }));
    // Cut short.
    server.put("dists/test/InRelease", &[Way::Good(genuine[..genuine.len() - 40].to_vec())]);
    assert!(matches!(refused(&archive, &repository), Error::Untrusted { .. }));
}

#[test]
fn an_expired_release_is_refused_unless_the_user_knows() {
    if !tools() {
        return;
    }
    let archive = Archive::new();
    let until = Some("Sat, 28 Nov 2026 10:00:00 UTC".into());
    archive.release(&Says { valid_until: until, ..Says::default() }, &[".xz"]);
    let mut repository = archive.repository(&archive.file_url());
    online(&archive, &repository).unwrap();
    let later = UnixTime(NOON.0 + 8 * DAY);
    let error = run(&archive, &repository, false, later).unwrap_err();
    assert!(error.to_string().contains("it was valid until 2026-11-28 10:00 UTC"), "{error}");
    assert!(matches!(run(&archive, &repository, true, later), Err(Error::Expired { .. })));
    repository.check_valid_until = false;
    run(&archive, &repository, false, later).unwrap();
}

#[test]
fn a_release_from_the_future_is_refused() {
    if !tools() {
        return;
    }
    let archive = Archive::new();
    archive.release(&Says { date: "Sun, 22 Nov 2026 10:00:00 UTC".into(), ..Says::default() }, &[".xz"]);
    // Signed at this very moment, which is later than the time given: that comes first.
    let repository = archive.repository(&archive.file_url());
    let past = run(&archive, &repository, false, UnixTime(NOON.0 - 5 * 365 * DAY)).unwrap_err();
    assert!(matches!(past, Error::Untrusted { .. }), "{past}");
    let mut unsigned = repository;
    unsigned.trust = Trust::Anyone;
    assert!(matches!(refused(&archive, &unsigned), Error::FromTheFuture { .. }));
}

#[test]
fn a_mirror_set_back_is_noticed() {
    if !tools() {
        return;
    }
    let archive = Archive::new();
    archive.release(&Says { date: "Fri, 20 Nov 2026 10:00:00 UTC".into(), ..Says::default() }, &[".xz"]);
    let old = archive.serve();
    archive.package("hello", "1.1");
    archive.release(&Says::default(), &[".xz"]);
    let new = archive.serve();
    let mut repository = archive.repository(&old.url());
    online(&archive, &repository).unwrap();
    repository.mirrors = vec![providers::fetch::BaseUrl::parse(&new.url()).unwrap()];
    online(&archive, &repository).unwrap();
    repository.mirrors.clear();
    let error = refused(&archive, &repository);
    let Error::Rollback { memory, .. } = &error else { panic!("unexpected: {error}") };
    assert!(error.hint().unwrap().contains(&memory.display().to_string()));
    std::fs::remove_file(memory).unwrap();
    online(&archive, &repository).unwrap();
}

#[test]
fn a_release_of_another_suite_is_refused() {
    if !tools() {
        return;
    }
    let archive = Archive::new();
    archive.release(&Says { suite: "stable-old".into(), ..Says::default() }, &[".xz"]);
    let error = refused(&archive, &archive.repository(&archive.file_url()));
    assert!(error.to_string().contains("it says that it is 'stable-old'"), "{error}");
}

#[test]
fn an_index_that_is_not_the_stated_one_is_refused() {
    if !tools() {
        return;
    }
    let archive = Archive::new();
    let genuine = archive.index();
    let mut altered = genuine.clone();
    let at = altered.len() - 10;
    altered[at] ^= 1;
    // The signed release states the plain digest of one text and the compressed one of another.
    archive.release_index(&Says::default(), &[".xz"], &genuine, &altered);
    let repository = archive.repository(&archive.file_url());
    let error = refused(&archive, &repository);
    assert!(error.to_string().contains("the release says"), "{error}");
    // A bomb: more than stated comes out.
    archive.release_index(&Says::default(), &[".xz"], &genuine, &vec![b'a'; 50_000_000]);
    let error = refused(&archive, &repository);
    assert!(error.to_string().contains("more than the"), "{error}");
    // In flight: the mirror serves other bytes under the digest's name, and under the usual one.
    archive.release(&Says::default(), &[".xz"]);
    let server = archive.serve();
    for (path, _) in server_paths(&archive) {
        server.put(&path, &[Way::Good(b"other bytes".to_vec())]);
    }
    let error = refused(&archive, &archive.repository(&server.url()));
    assert!(matches!(error, Error::Fetch { .. }), "{error}");
    // And nothing of all this was kept.
    let kept = std::fs::read_dir(archive.cache.root().join("indexes/sha256")).unwrap().count();
    assert_eq!(kept, 0);
}

fn server_paths(archive: &Archive) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut stack = vec![archive.path().join("dists/test/main")];
    while let Some(next) = stack.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                stack.push(path);
            } else {
                let name = path.strip_prefix(archive.path()).unwrap().to_str().unwrap().to_owned();
                found.push((name, std::fs::read(path).unwrap()));
            }
        }
    }
    found
}

#[test]
fn an_index_updated_between_two_requests_does_no_harm() {
    if !tools() {
        return;
    }
    let archive = Archive::new();
    archive.release(&Says::default(), &[".xz"]);
    let server = archive.serve();
    let old = archive.index();
    archive.package("hello", "2.0");
    archive.release(&Says::default(), &[".xz"]);
    // The usual names already have the new bytes; by digest the old ones are still there.
    for (path, bytes) in server_paths(&archive) {
        server.put(&path, &[Way::Good(bytes)]);
    }
    assert_eq!(online(&archive, &archive.repository(&server.url())).unwrap().indexes[0].text, old);
}

#[test]
fn a_missing_component_is_named_with_those_there_are() {
    if !tools() {
        return;
    }
    let archive = Archive::new();
    archive.release(&Says::default(), &[".xz"]);
    let mut repository = archive.repository(&archive.file_url());
    repository.components.push("contrib".into());
    let error = refused(&archive, &repository);
    assert!(matches!(error, Error::NoIndex { .. }));
    assert_eq!(error.hint().unwrap(), "it has main, amd64");
}

#[test]
fn a_failing_repository_is_never_left_out() {
    if !tools() {
        return;
    }
    let archive = Archive::new();
    archive.release(&Says::default(), &[".xz"]);
    let good = archive.repository(&archive.file_url());
    let mut bad = good.clone();
    bad.id = "security".parse().unwrap();
    bad.suites = vec!["test-security".into()];
    let fetcher = Fetcher::new(options(), Arc::new(Silent)).unwrap();
    let error = providers::repository::update_all(&[good, bad], &amd64(), &fetcher, &archive.cache, NOON).unwrap_err();
    assert!(error.to_string().contains("'security'"), "{error}");
}

#[test]
fn unsigned_repositories_need_the_users_word() {
    if !tools() {
        return;
    }
    let archive = Archive::new();
    archive.release(&Says::default(), &[".xz"]);
    for name in ["InRelease", "Release.gpg"] {
        std::fs::remove_file(archive.path().join("dists/test").join(name)).unwrap();
    }
    let mut repository = archive.repository(&archive.file_url());
    let error = refused(&archive, &repository);
    assert!(matches!(error, Error::NotSigned { .. }));
    assert!(error.hint().unwrap().contains("`trusted: true`"));
    repository.trust = Trust::Anyone;
    let update = online(&archive, &repository).unwrap();
    assert!(update.releases[0].signers.is_empty());
    assert!(repository.describe().ends_with("test main (unsigned)"));
}

#[test]
fn flat_repositories() {
    if !tools() {
        return;
    }
    let archive = Archive::new();
    let index = archive.index();
    let compressed = crate::archive::compress(".gz", &index);
    std::fs::write(archive.path().join("Packages.gz"), &compressed).unwrap();
    let text = format!(
        "Date: Sat, 21 Nov 2026 10:00:00 UTC\nSHA256:\n {} {} ./Packages.gz\n",
        layers::Sha256::of(&compressed),
        compressed.len()
    );
    archive.sign("", &text, "archive");
    let mut repository = archive.repository(&archive.file_url());
    repository.suites = vec!["./".into()];
    repository.components.clear();
    let update = online(&archive, &repository).unwrap();
    assert_eq!(update.indexes[0].text, index);
    assert_eq!(update.indexes[0].component, "");
    std::fs::write(archive.path().join("Packages.gz"), b"other").unwrap();
    let _ = std::fs::remove_dir_all(archive.cache.root());
    assert!(matches!(refused(&archive, &repository), Error::Fetch { .. }));
}

#[test]
fn packages_of_all_are_fetched_where_they_stand_apart() {
    if !tools() {
        return;
    }
    let archive = Archive::new();
    let index = archive.index();
    let (native, all) = (compress(&index), compress(b"Package: words\n\n"));
    let directory = archive.path().join("dists/test/main");
    for (name, bytes) in [("binary-amd64", &native), ("binary-all", &all)] {
        std::fs::create_dir_all(directory.join(name)).unwrap();
        std::fs::write(directory.join(name).join("Packages.xz"), bytes).unwrap();
    }
    for (line, expected) in [("", 2), ("No-Support-for-Architecture-all: Packages\n", 1)] {
        let text = format!(
            "Suite: test\nDate: Sat, 21 Nov 2026 10:00:00 UTC\nArchitectures: all amd64\n{line}SHA256:\n {} {} main/binary-amd64/Packages.xz\n {} {} main/binary-all/Packages.xz\n",
            layers::Sha256::of(&native),
            native.len(),
            layers::Sha256::of(&all),
            all.len()
        );
        archive.sign("dists/test", &text, "archive");
        let update = online(&archive, &archive.repository(&archive.file_url())).unwrap();
        assert_eq!(update.indexes.len(), expected);
    }
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    crate::archive::compress(".xz", bytes)
}

//! rpm repositories as they should be, and in every way in which they should not.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;

use providers::fetch::{DocumentUrl, Fetcher, Options, Silent};
use providers::repository::Trust;
use providers::rpm::metadata::WantedFiles;
use providers::rpm::repository::{Error, Metadata, MirrorList, Repository, Update, update_all};
use providers::trust::{self, UnixTime, Unusable};

use crate::downloads::options;
use crate::rpm_archive::{Document, MADE, RpmArchive, compress, tools};
use crate::server::Way;

/// Noon of the day on which the repositories of these tests are made.
const NOON: UnixTime = UnixTime(MADE + 4 * 3600);

fn fetcher(offline: bool) -> Fetcher {
    Fetcher::new(Options { offline, ..options() }, Arc::new(Silent)).unwrap()
}

fn run(archive: &RpmArchive, repository: &Repository, offline: bool, now: UnixTime) -> Result<Metadata, Error> {
    update_all(std::slice::from_ref(repository), &fetcher(offline), &archive.cache, now)
        .map(|mut update| update.repositories.pop().unwrap())
}

fn online(archive: &RpmArchive, repository: &Repository) -> Result<Metadata, Error> {
    run(archive, repository, false, NOON)
}

/// What is wrong with the repository, all causes in one sentence; it has a hint.
fn refused(archive: &RpmArchive, repository: &Repository) -> (Error, String) {
    let error = online(archive, repository).expect_err("it is refused");
    assert!(error.hint().is_some(), "{error} has a hint");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    (error, text)
}

fn names(metadata: &Metadata) -> Vec<String> {
    let mut names: Vec<String> = metadata
        .packages
        .iter()
        .map(|package| format!("{}-{}.{}", package.name, package.evr, package.architecture))
        .collect();
    names.sort();
    names
}

const NAMES: [&str; 2] = ["hello-1:1.0-1.noarch", "lib++x-1:2.0~rc1^git-3.noarch"];

fn primary(archive: &RpmArchive, form: &str) -> Document {
    let text = archive.primary();
    let path = format!("repodata/primary.xml{form}");
    Document { kind: "primary", path, bytes: compress(form, &text), open: Some(text) }
}

#[test]
fn a_good_repository_in_every_form() {
    if !tools() {
        return;
    }
    let archive = RpmArchive::new();
    let forms = [&[][..], &["--xz"], &["--general-compress-type", "bz2"], &["--simple-md-filenames"], &["--zck"]];
    for args in forms {
        // Some builds of createrepo_c have no zchunk.
        if args == ["--zck"] && Command::new("zck").arg("--version").output().is_err() {
            continue;
        }
        archive.release(MADE, args);
        let _ = std::fs::remove_dir_all(archive.cache.root());
        let server = archive.serve();
        let metadata = online(&archive, &archive.repository(&server.url())).unwrap();
        assert_eq!(names(&metadata), NAMES, "{args:?}");
        assert_eq!((metadata.repomd.date, metadata.repomd.signers.len()), (UnixTime(MADE), 1));
    }
    archive.release(MADE, &[]);
    for form in ["", ".gz", ".xz", ".zst", ".bz2"] {
        let primary = primary(&archive, form);
        archive.hand(MADE, &[primary]);
        let _ = std::fs::remove_dir_all(archive.cache.root());
        assert_eq!(names(&online(&archive, &archive.repository(&archive.file_url())).unwrap()), NAMES, "{form}");
        archive.release(MADE, &[]);
    }
}

#[test]
fn packages_are_fetched_by_what_the_metadata_says() {
    if !tools() {
        return;
    }
    let archive = RpmArchive::new();
    let server = archive.serve();
    let metadata = online(&archive, &archive.repository(&server.url())).unwrap();
    let requests: Vec<_> = metadata.packages.iter().map(|package| metadata.request(package).unwrap()).collect();
    let paths = fetcher(false).files(&requests, &archive.cache).unwrap();
    for (path, package) in paths.iter().zip(&metadata.packages) {
        assert_eq!(std::fs::metadata(path).unwrap().len(), package.size);
    }
    // A base of one's own server is followed, another's is not.
    let mut package = metadata.packages[0].clone();
    package.location.base = Some("../other/".into());
    assert_eq!(metadata.request(&package).unwrap().mirrors[0].to_string(), format!("{}/other", server.url()));
    package.location.base = Some("https://example.org/packages".into());
    let error = metadata.request(&package).unwrap_err();
    assert!(matches!(error, Error::Elsewhere { .. }) && error.hint().is_some(), "{error}");
    package.location.base = Some("media://1".into());
    assert!(matches!(metadata.request(&package), Err(Error::Elsewhere { .. })));
}

#[test]
fn the_second_run_asks_for_repomd_only_and_offline_for_nothing() {
    if !tools() {
        return;
    }
    let archive = RpmArchive::new();
    let server = archive.serve();
    let repository = archive.repository(&server.url());
    online(&archive, &repository).unwrap();
    let first = server.log().len();
    online(&archive, &repository).unwrap();
    let asked: Vec<String> = server.log().into_iter().skip(first).map(|(path, _)| path).collect();
    assert_eq!(asked, ["/repodata/repomd.xml", "/repodata/repomd.xml.asc"]);
    let metadata = run(&archive, &repository, true, NOON).unwrap();
    assert_eq!((names(&metadata), metadata.repomd.from), (NAMES.map(str::to_owned).to_vec(), None));
    assert_eq!(server.log().len(), first + 2);
    // A key that is no longer believed makes the memory worthless.
    let other = RpmArchive::new();
    let mut stranger = repository.clone();
    stranger.trust = Trust::Keys(other.keyring());
    assert!(matches!(run(&archive, &stranger, true, NOON), Err(Error::Untrusted { .. })));
    // Nothing was ever seen of this one.
    let mut unseen = repository.clone();
    unseen.url = providers::fetch::BaseUrl::parse("http://127.0.0.1:9/unseen").unwrap();
    assert!(run(&archive, &unseen, true, NOON).unwrap_err().hint().unwrap().contains("--offline"));
    // What the cache holds is hashed again.
    let kept = archive.cache.root().join("indexes/sha256");
    for entry in std::fs::read_dir(&kept).unwrap() {
        std::fs::write(entry.unwrap().path(), b"altered").unwrap();
    }
    assert!(run(&archive, &repository, true, NOON).is_err());
    assert_eq!(names(&online(&archive, &repository).unwrap()), NAMES);
}

#[test]
fn file_lists_are_fetched_when_they_are_wanted() {
    if !tools() {
        return;
    }
    let archive = RpmArchive::new();
    let server = archive.serve();
    let mut metadata = online(&archive, &archive.repository(&server.url())).unwrap();
    assert!(!server.log().iter().any(|(path, _)| path.contains("filelists")));
    let count = |metadata: &Metadata| metadata.packages.iter().map(|package| package.files.len()).sum::<usize>();
    assert_eq!(count(&metadata), 2);
    let wanted = WantedFiles::Paths(["/usr/share/hello/words".into(), "/nowhere".into()].into());
    assert_eq!(metadata.complete_files(&wanted, &fetcher(false), &archive.cache).unwrap(), 1);
    assert_eq!(count(&metadata), 3);
    let all = WantedFiles::Of(metadata.packages.iter().map(|package| package.sha256).collect());
    assert_eq!(metadata.complete_files(&all, &fetcher(true), &archive.cache).unwrap(), 3);
    // One that ends early changes nothing.
    let none = WantedFiles::Paths(BTreeSet::new());
    assert_eq!(metadata.complete_files(&none, &fetcher(true), &archive.cache).unwrap(), 0);
    let text = "<filelists><package pkgid=\"00\"/></filelists>".as_bytes().to_vec();
    let lists = Document { kind: "filelists", path: "repodata/f.xml".into(), bytes: text.clone(), open: Some(text) };
    archive.hand(MADE + 1, &[primary(&archive, ".gz"), lists]);
    let mut metadata = online(&archive, &archive.repository(&archive.file_url())).unwrap();
    assert!(metadata.complete_files(&all, &fetcher(false), &archive.cache).is_err());
    assert_eq!(count(&metadata), 2);
}

#[test]
fn groups_modules_and_advisories() {
    if !tools() {
        return;
    }
    let archive = RpmArchive::new();
    let comps = archive.path().join("comps.xml");
    std::fs::write(&comps, "<comps><group><id>core</id><name>Core</name><packagelist><packagereq type=\"mandatory\">hello</packagereq></packagelist></group></comps>").unwrap();
    archive.createrepo(MADE, &["-g", "comps.xml"]);
    let modules = "---\ndocument: modulemd\nversion: 2\ndata:\n  name: m\n  stream: '1'\n  artifacts:\n    rpms: [hello-1:1.0-1.noarch]\n...\n";
    let updates = "<updates><update type=\"security\"><id>A-1</id></update></updates>";
    for (name, text) in [("modules.yaml", modules), ("updateinfo.xml", updates)] {
        let path = archive.path().join(name);
        std::fs::write(&path, text).unwrap();
        let status = Command::new("modifyrepo_c")
            .arg("--no-compress")
            .arg(&path)
            .arg(archive.path().join("repodata"))
            .output()
            .unwrap();
        assert!(status.status.success());
    }
    archive.edit("<revision>", "<!-- signed again --><revision>");
    // modifyrepo_c writes the time of now.
    let now = UnixTime(crate::referee::now().0.max(NOON.0));
    let repository = archive.repository(&archive.file_url());
    let update: Update = update_all(&[repository], &fetcher(false), &archive.cache, now).unwrap();
    assert!(update.epoch().unwrap() >= UnixTime(MADE));
    let groups = update.groups(&fetcher(false), &archive.cache).unwrap();
    assert_eq!(groups.expand("@core").unwrap().mandatory, [Box::from("hello")].into());
    let metadata = &update.repositories[0];
    assert_eq!(&*metadata.advisories(&fetcher(false), &archive.cache).unwrap()[0].id, "A-1");
    let filter = update.filter(&BTreeMap::new());
    let hidden: Vec<&str> =
        metadata.packages.iter().filter(|package| filter.hides(package)).map(|package| &*package.name).collect();
    assert_eq!(hidden, ["hello"]);
}

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
    archive.gpg.key("mallory", "rsa2048", "2y", &["--faked-system-time", "20261101T000000"]);
    archive.sign("mallory", &["--faked-system-time", "20261121T081000"]);
    assert!(matches!(signature(refused(&archive, &repository).0), trust::Error::UnknownSigner { .. }));
    // By a key that has expired since.
    archive.gpg.key("brief", "rsa2048", "1d", &["--faked-system-time", "20261119T120000"]);
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
        (one(compress(".gz", &endless), None), "more than 8388608 bytes"),
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

#[test]
fn mirrors_are_found_and_held_to_the_metalink() {
    if !tools() {
        return;
    }
    let archive = RpmArchive::new();
    let stale = archive.serve();
    archive.release(MADE + 60, &[]);
    let fresh = archive.serve();
    let lists = crate::server::Server::start();
    let digest = layers::Sha256::of(&std::fs::read(archive.repodata("repomd.xml")).unwrap()).to_string();
    let metalink = |digest: &str| {
        format!(
            "<metalink version=\"3.0\"><files><file name=\"repomd.xml\"><verification><hash type=\"sha256\">{digest}</hash></verification><resources><url preference=\"100\">{}/repodata/repomd.xml</url><url preference=\"90\">{}/repodata/repomd.xml</url></resources></file></files></metalink>",
            stale.url(),
            fresh.url()
        )
    };
    // Nothing is at the canonical URL.
    let mut repository = archive.repository(&format!("{}/none", lists.url()));
    let url = DocumentUrl::parse(&format!("{}/list?repo=test&arch=x86_64", lists.url())).unwrap();
    repository.list = Some(MirrorList::Metalink(url.clone()));
    let put = |text: String| lists.put("list?repo=test&arch=x86_64", &[Way::Good(text.into_bytes())]);
    put(metalink(&digest));
    let metadata = online(&archive, &repository).unwrap();
    assert_eq!(metadata.repomd.from.clone().unwrap(), format!("{}/repodata/repomd.xml", fresh.url()));
    assert_eq!(metadata.request(&metadata.packages[0]).unwrap().mirrors[0].to_string(), fresh.url());
    assert_eq!(names(&run(&archive, &repository, true, NOON).unwrap()), NAMES);
    put(metalink(&"00".repeat(32)));
    assert!(matches!(refused(&archive, &repository).0, Error::NotInMetalink { .. } | Error::NoRepomd { .. }));
    put("<html>log in</html>".into());
    assert!(matches!(refused(&archive, &repository).0, Error::Mirrors { .. }));
    repository.list = Some(MirrorList::Plain(url));
    put(format!("# mirrors\n{}/\n", fresh.url()));
    assert_eq!(names(&online(&archive, &repository).unwrap()), NAMES);
    put("ftp://example.org/\n".into());
    assert!(matches!(refused(&archive, &repository).0, Error::Mirrors { .. }));
}

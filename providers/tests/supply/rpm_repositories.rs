//! rpm repositories as they should be.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;

use providers::fetch::{DocumentUrl, Fetcher, Options, Silent};
use providers::repository::Trust;
use providers::rpm::metadata::WantedFiles;
use providers::rpm::repository::{Error, Metadata, MirrorList, Repository, Update, update_all};
use providers::trust::UnixTime;

use crate::downloads::options;
use crate::rpm_archive::{Document, MADE, RpmArchive, compress, tools};
use crate::server::Way;

/// Noon of the day on which the repositories of these tests are made.
pub const NOON: UnixTime = UnixTime(MADE + 4 * 3600);

pub fn fetcher(offline: bool) -> Fetcher {
    Fetcher::new(Options { offline, ..options() }, Arc::new(Silent)).unwrap()
}

pub fn run(archive: &RpmArchive, repository: &Repository, offline: bool, now: UnixTime) -> Result<Metadata, Error> {
    update_all(std::slice::from_ref(repository), &fetcher(offline), &archive.cache, now)
        .map(|mut update| update.repositories.pop().unwrap())
}

pub fn online(archive: &RpmArchive, repository: &Repository) -> Result<Metadata, Error> {
    run(archive, repository, false, NOON)
}

/// What is wrong with the repository, all causes in one sentence; it has a hint.
pub fn refused(archive: &RpmArchive, repository: &Repository) -> (Error, String) {
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

pub fn names(metadata: &Metadata) -> Vec<String> {
    let mut names: Vec<String> = metadata
        .packages
        .iter()
        .map(|package| format!("{}-{}.{}", package.name, package.evr, package.architecture))
        .collect();
    names.sort();
    names
}

pub const NAMES: [&str; 2] = ["hello-1:1.0-1.noarch", "lib++x-1:2.0~rc1^git-3.noarch"];

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

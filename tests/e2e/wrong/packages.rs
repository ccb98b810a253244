//! Packages that cannot be had, and those that are not what was signed.

use super::archive::{SUITE, archive};
use super::case::{Case, names};
use super::server::{Fault, Server};
use crate::support::User;

#[test]
fn a_package_that_does_not_exist_is_told_with_the_nearest_names() {
    let Some(case) = Case::new("not-found") else { return };
    case.spec(&["tiny-hello", "tiny-helo"], "");
    case.build(&[]).with(4, &["Package not found: 'tiny-helo'", "did you mean 'tiny-hello'"]);
    case.nothing_is_there();
    case.spec(&["tiny-hello"], "");
    case.fetch().with(0, &[]);
    assert_eq!(case.output(), ["small.lock"]);
}

#[test]
fn a_set_that_does_not_exist_is_explained() {
    let Some(case) = Case::new("unsatisfiable") else { return };
    case.spec(&["tiny-ghostly"], "");
    case.build(&[]).with(
        4,
        &["Failed to resolve dependencies", "tiny-ghostly needs tiny-ghost (>= 2)", "which no repository has"],
    );
    case.nothing_is_there();
    case.write(
        "small.yml",
        &std::fs::read_to_string(case.directory.join("small.yml")).unwrap().replace("-ghostly", "-hello"),
    );
    case.fetch().with(0, &[]);
}

#[test]
fn an_expired_index_is_refused() {
    let (Some(case), Some(archive)) = (Case::new("expired"), archive()) else { return };
    let stale = archive.variant("expired", "ours", |text| {
        let lines = text.lines().filter(|line| !line.starts_with("Date:") && !line.starts_with("Valid-Until:"));
        let lines: Vec<&str> = lines.collect();
        format!(
            "Date: Mon, 06 Jan 2020 00:00:00 UTC\nValid-Until: Mon, 13 Jan 2020 00:00:00 UTC\n{}\n",
            lines.join("\n")
        )
    });
    case.configure(&format!("file:{}", stale.display()));
    case.build(&[]).with(4, &["it was valid until 2020-01-13"]);
    case.nothing_is_there();
    case.reconfigure();
    case.fetch().with(0, &[]);
}

#[test]
fn an_index_that_nobody_trusted_has_signed_is_refused() {
    let (Some(case), Some(archive)) = (Case::new("forged"), archive()) else { return };
    let forged = archive.variant("forged", "theirs", |text| text);
    case.configure(&format!("file:{}", forged.display()));
    case.build(&[]).with(4, &["trust the release of 'tiny'"]);
    // Signed by the right key, then changed.
    let release = forged.join(format!("dists/{SUITE}/InRelease"));
    let text = std::fs::read_to_string(archive.root.join(format!("dists/{SUITE}/InRelease"))).unwrap();
    std::fs::write(&release, text.replacen("Suite: tiny", "Suite: tidy", 1)).unwrap();
    case.build(&[]).with(4, &["trust the release of 'tiny'"]);
    // The right release, and an index that is not the one it names.
    std::fs::write(&release, text).unwrap();
    let index = names(&forged.join(format!("dists/{SUITE}/main"))).remove(0);
    let index = forged.join(format!("dists/{SUITE}/main/{index}/Packages"));
    let packages = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, packages.replacen("Version: 1.0", "Version: 1.1", 1)).unwrap();
    case.build(&[]).with(4, &["SHA-256", "the signed index says"]);
    case.nothing_is_there();
    case.reconfigure();
    case.fetch().with(0, &[]);
}

#[test]
fn a_package_that_is_altered_or_cut_short_on_its_way_is_refused() {
    let Some(archive) = archive() else { return };
    let server = Server::start(&archive.root);
    let Some(case) = Case::at(User::WithoutRange, "in-flight", &server.url) else { return };
    case.spec(&["tiny-hello"], "");
    server.set(Some(("tiny-hello.deb", Fault::Altered)));
    case.fetch().with(4, &["tiny-hello 1.0", "SHA-256", "the signed index says", "another mirror"]);
    case.nothing_is_there();
    // A connection that breaks is tried again for some time; the build's own limit ends that.
    server.set(Some(("tiny-hello.deb", Fault::Truncated)));
    let ended = case.build(&["--stage", "packages", "--timeout", "4s"]);
    ended.with(4, &["--timeout"]);
    case.nothing_is_there();
    server.set(None);
    case.fetch().with(0, &[]);
    assert_eq!(names(&case.directory.join("cache/packages/partial")), Vec::<String>::new());
}

#[test]
fn a_mirror_that_hangs_is_not_waited_for_beyond_the_limit() {
    let Some(archive) = archive() else { return };
    let server = Server::start(&archive.root);
    let Some(case) = Case::at(User::WithoutRange, "hangs", &server.url) else { return };
    case.spec(&["tiny-hello"], "");
    for path in ["InRelease", "tiny-hello.deb"] {
        server.set(Some((path, Fault::Hangs)));
        let ended = case.build(&["--timeout", "2s"]);
        ended.with(4, &["failed to finish in time", "--timeout"]);
        assert!(ended.took.as_secs() < 20, "{:?}", ended.took);
        case.nothing_is_there().nobody_is_alive();
    }
    server.set(None);
    case.fetch().with(0, &[]);
}

#[test]
fn a_package_that_is_altered_in_the_cache_is_fetched_again() {
    let Some(case) = Case::new("altered-cache") else { return };
    case.spec(&["tiny-hello"], "");
    case.fetch().with(0, &[]);
    let packages = case.directory.join("cache/packages/sha256");
    let kept = names(&packages);
    assert_eq!(kept.len(), 2);
    for name in &kept {
        let path = packages.join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let half = bytes.len() / 2;
        bytes[half] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    // Offline there is nothing to put in its place.
    case.build(&["--stage", "packages", "--force", "--offline", "--locked"]).with(4, &["small.lock"]);
    case.build(&[]).with(4, &["it exists already"]);
    case.build(&["--force"]).with(0, &[]);
    case.all_is_there();
    case.nothing_is_left();
}

#[test]
fn offline_without_a_cache_says_what_is_missing() {
    let Some(archive) = archive() else { return };
    let server = Server::start(&archive.root);
    let Some(case) = Case::at(User::WithoutRange, "offline", &server.url) else { return };
    case.build(&["--offline"]).with(4, &["find offline", "without --offline"]);
    case.nothing_is_there();
    case.build(&[]).with(0, &[]);
    case.all_is_there();
    case.build(&["--offline", "--force", "--no-image-cache"]).with(0, &[]);
    case.all_is_there();
    // Indexes at hand, a package not.
    case.spec(&["tiny-hello"], "");
    case.build(&["--offline", "--force"]).with(4, &["find offline: tiny-hello 1.0"]);
}

#[test]
fn a_lock_of_another_spec_is_refused() {
    let Some(case) = Case::new("locked") else { return };
    case.build(&["--locked"]).with(4, &["small.lock", "image-composer lock small.yml"]);
    case.run(&["lock", "small.yml"]).with(0, &[]);
    case.spec(&["tiny-hello"], "");
    case.build(&["--locked"]).with(4, &["failed to use the lock", "the spec has changed since the lock was written"]);
    case.write("small.lock", "{ \"format\": 1");
    case.build(&["--locked"]).with(4, &["small.lock"]);
    case.nothing_is_there();
    case.run(&["lock", "small.yml"]).with(0, &[]);
    case.build(&["--locked"]).with(0, &[]);
    case.all_is_there();
}

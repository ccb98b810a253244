//! What people read when no set of packages fulfils their request; and small cases of choosing.

use providers::deb::solve::{Index, Options, Origin, Solution, solve};
use providers::deb::{RepositoryRef, Request, Universe, Variant, Wish};

/// An index from lines of `name version; Field: value; …`.
fn text(packages: &str) -> Vec<u8> {
    let mut text = String::new();
    for line in packages.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut parts = line.split(';');
        let (name, version) = parts.next().unwrap().trim().split_once(' ').unwrap();
        text.push_str(&format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\n"));
        for field in parts {
            text.push_str(&format!("{}\n", field.trim()));
        }
        text.push('\n');
    }
    text.into_bytes()
}

fn universe(packages: &str) -> Universe {
    let index = Index { repository: RepositoryRef::new("test"), text: text(packages) };
    Universe::from_indexes(vec![index], "amd64", &Options::default()).unwrap()
}

fn request(install: &[&str], remove: &[&str]) -> Request {
    Request {
        variant: Variant::Essential,
        install: install.iter().map(|text| Wish::parse(text, Origin::Requested).unwrap()).collect(),
        remove: remove.iter().map(|&name| name.to_owned()).collect(),
        recommends: true,
    }
}

fn message(packages: &str, install: &[&str], remove: &[&str]) -> String {
    match solve(&universe(packages), &request(install, remove)) {
        Ok(solution) => panic!("{solution:?}"),
        Err(unsolvable) => unsolvable.to_string(),
    }
}

fn names(packages: &str, install: &[&str], remove: &[&str]) -> String {
    let universe = universe(packages);
    let solution: Solution = solve(&universe, &request(install, remove)).unwrap_or_else(|error| panic!("{error}"));
    solution.packages.iter().map(|chosen| universe.name(chosen.package)).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_package_that_does_not_exist() {
    let there = "nginx 1.22\n vim 2\n vim-tiny 2\n vim-nox 2";
    assert_eq!(message(there, &["ngnix"], &[]), "package not found: 'ngnix'; did you mean 'nginx'?");
    assert_eq!(message(there, &["vim-nix"], &[]), "package not found: 'vim-nix'; did you mean 'vim-nox'?");
    assert_eq!(message(there, &["zzzzzz"], &[]), "package not found: 'zzzzzz'");
    assert_eq!(
        message(there, &["ngnix", "emacs", "vim=3"], &[]),
        "package not found: 'ngnix'; did you mean 'nginx'?; package not found: 'emacs'; 'vim' has no version 3; there is 2",
    );
}

#[test]
fn a_name_that_several_packages_provide() {
    let there = "exim4 1; Provides: mta\n postfix 1; Provides: mta\n mawk 1; Provides: awk";
    assert_eq!(
        message(there, &["mta"], &[]),
        "'mta' is no package of its own, name one that provides it: exim4, postfix"
    );
    assert_eq!(names(there, &["awk"], &[]), "mawk");
}

#[test]
fn an_architecture_that_is_not_the_images() {
    assert_eq!(message("a 1", &["a:i386"], &[]), "'a' is wanted for i386, which is not the image's architecture");
    assert_eq!(names("a 1", &["a:amd64"], &[]), "a");
}

#[test]
fn a_need_that_nothing_answers() {
    let there = "app 1; Depends: lib (>= 2)\n lib 1\n top 1; Depends: middle\n middle 1; Depends: app";
    assert_eq!(message(there, &["app"], &[]), "app needs lib (>= 2), but there is only lib 1");
    assert_eq!(
        message(there, &["top"], &[]),
        "app (needed by middle, needed by top) needs lib (>= 2), but there is only lib 1",
    );
    assert_eq!(message("a 1; Depends: b | c", &["a"], &[]), "a needs b | c, which no repository has");
}

#[test]
fn a_package_that_must_not_be_there() {
    let there = "app 1; Depends: helper\n helper 1; Depends: lib\n lib 1\n base 1; Essential: yes";
    assert_eq!(message(there, &["app"], &["lib"]), "'lib' cannot be removed: helper (needed by app) needs it");
    assert_eq!(message(there, &["app"], &["app"]), "'app' is to be both installed and removed");
    assert_eq!(message(there, &["app"], &["base"]), "'base' cannot be removed: every system needs it");
    assert_eq!(names("a 1; Depends: b | c\n b 1\n c 1", &["a"], &["b"]), "a c");
    assert_eq!(names("a 1; Recommends: b\n b 1", &["a"], &["b"]), "a");
}

#[test]
fn packages_that_exclude_each_other() {
    let there = "a 1; Depends: x\n b 1; Depends: y\n x 1; Conflicts: y\n y 1";
    assert_eq!(message(there, &["a", "b"], &[]), "x (needed by a) cannot be beside y (needed by b): it excludes y",);
    let there = "a 1; Breaks: b (<< 2)\n b 1";
    assert_eq!(message(there, &["a", "b"], &[]), "a cannot be beside b: it excludes b (<< 2)");
}

#[test]
fn two_versions_of_one_package() {
    let there = "a 1; Depends: lib (= 1)\n b 1; Depends: lib (= 2)\n lib 1\n lib 2";
    let text = message(there, &["a", "b"], &[]);
    assert!(text.contains("lib"), "{text}");
    assert_eq!(names(there, &["a"], &[]), "a lib");
    assert_eq!(names("a 1; Depends: lib\n lib 1; Depends: gone\n lib 2", &["a"], &[]), "a lib");
}

#[test]
fn the_first_alternative_and_the_real_package_are_preferred() {
    let there = "a 1; Depends: x | y\n x 1\n y 1\n z 1; Provides: x\n v 1; Provides: virtual; Priority: optional\n \
                 w 1; Provides: virtual; Priority: important\n b 1; Depends: virtual\n c 1; Depends: p (>= 2)\n \
                 q 1; Provides: p (= 2)\n r 1; Provides: p";
    assert_eq!(names(there, &["a"], &[]), "a x");
    assert_eq!(names(there, &["a", "y"], &[]), "a y");
    assert_eq!(names(there, &["b"], &[]), "b w");
    assert_eq!(names(there, &["c"], &[]), "c q");
}

#[test]
fn where_marking_fails_the_solver_finds_another_way() {
    // Marking takes m first, which excludes what the second wish needs.
    let there = "a 1; Depends: m | n\n m 1; Conflicts: k\n n 1\n b 1; Depends: l\n l 1; Depends: k\n k 1";
    assert_eq!(names(there, &["a", "b"], &[]), "a b k l n");
}

#[test]
fn multi_arch_decides_who_may_answer() {
    let there =
        "a 1; Depends: py:any\n py 1; Multi-Arch: allowed\n b 1; Depends: no:any\n no 1\n c 1; Depends: py:arm64";
    assert_eq!(names(there, &["a"], &[]), "a py");
    assert_eq!(message(there, &["b"], &[]), "b needs no:any, but there is only no 1");
    assert_eq!(message(there, &["c"], &[]), "c needs py:arm64, but there is only py 1");
}

/// As `solve`, on a system that has packages already.
fn beside(installed: &str, packages: &str, install: &[&str], remove: &[&str]) -> Result<String, String> {
    let options = Options { installed: text(installed), ..Options::default() };
    let index = Index { repository: RepositoryRef::new("test"), text: text(packages) };
    let universe = Universe::from_indexes(vec![index], "amd64", &options).unwrap();
    let request = Request { variant: Variant::Custom, ..request(install, remove) };
    let solution = solve(&universe, &request).map_err(|error| error.to_string())?;
    let names = solution.packages.iter().map(|chosen| universe.name(chosen.package));
    Ok(names.collect::<Vec<_>>().join(" "))
}

#[test]
fn what_is_installed_stays_and_answers() {
    let packages = "libc 2\napp 1; Depends: libc, tool | other; Recommends: extra\ntool 2\nother 1\nextra 1\nmail-a 1; Provides: mail\n";
    // Its version stays, its own wants are nobody's, and an alternative that is there will do.
    let found = beside("libc 1; Recommends: tool\nother 1; Depends: gone\n", packages, &["app", "libc"], &[]);
    assert_eq!(found.as_deref(), Ok("app extra"));
    assert_eq!(beside("libc 1\n", packages, &[], &[]).as_deref(), Ok(""));
    // A package that it excludes is not the way, if there is another.
    let found = beside("libc 1; Breaks: tool (<< 3)\n", packages, &["app"], &[]);
    assert_eq!(found.as_deref(), Ok("app extra other"));
    let found = beside(
        "mail-b 1; Provides: mail; Conflicts: mail\n",
        "app 1; Depends: mail-a | mail\nmail-a 1; Provides: mail; Conflicts: mail\n",
        &["app"],
        &[],
    );
    assert_eq!(found.as_deref(), Ok("app"));
}

#[test]
fn upgrades_and_removals_of_what_is_installed_are_explained() {
    for (installed, packages, install, remove, expected) in [
        (
            "libc 1\n",
            "libc 2\napp 1; Depends: libc (>= 2)\n",
            "app",
            "",
            "app needs libc (>= 2), but there is only libc 1 of the base image",
        ),
        (
            "old 1\n",
            "app 1; Conflicts: old\n",
            "app",
            "",
            "app cannot be beside old 1 of the base image: it excludes old",
        ),
        ("old 1; Breaks: app\n", "app 1\n", "app", "", "old 1 of the base image cannot be beside app: it excludes app"),
        ("old 1\n", "old 1\n", "", "old", "'old' cannot be removed: the base image has it, in version 1"),
        ("old 1\n", "old 2\n", "old=2", "", "'old' has no version 2; there is 1 of the base image"),
    ] {
        let list = |text: &'static str| if text.is_empty() { Vec::new() } else { vec![text] };
        assert_eq!(beside(installed, packages, &list(install), &list(remove)).unwrap_err(), expected);
    }
}

//! What people read when no set of packages fulfils their request; and what a wish means.

mod rpm_support;

use std::collections::BTreeSet;

use providers::lock::Why;
use providers::rpm::solve::{
    Origin, PackageId, RepositoryRef, Request, Solution, Source, Universe, Wish, solve, wanted_paths,
};
use rpm_support::packages;

fn universe(text: &str) -> Universe {
    Universe::new(vec![Source::new(RepositoryRef::new("test"), packages(text))], "x86_64")
}

fn request(install: &[&str], remove: &[&str]) -> Request {
    Request {
        install: install.iter().map(|text| Wish::parse(text, Origin::Requested).unwrap()).collect(),
        remove: remove.iter().map(|&name| name.to_owned()).collect(),
        recommends: true,
    }
}

fn message(text: &str, install: &[&str], remove: &[&str]) -> String {
    match solve(&universe(text), &request(install, remove)) {
        Ok(solution) => panic!("{solution:?}"),
        Err(unsolvable) => unsolvable.to_string(),
    }
}

fn solved(universe: &Universe, request: &Request) -> Solution {
    solve(universe, request).unwrap_or_else(|error| panic!("{error}"))
}

fn names(text: &str, install: &[&str], remove: &[&str]) -> String {
    let universe = universe(text);
    let solution = solved(&universe, &request(install, remove));
    let name = |package: PackageId| format!("{}-{}", universe.name(package), universe.evr(package));
    solution.packages.iter().map(|chosen| name(chosen.package)).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_package_that_does_not_exist() {
    let there = "nginx 1.22\n vim 2\n vim-tiny 2\n vim-nox 2";
    assert_eq!(message(there, &["ngnix"], &[]), "package not found: 'ngnix'; did you mean 'nginx'?");
    assert_eq!(message(there, &["vim-nix"], &[]), "package not found: 'vim-nix'; did you mean 'vim-nox'?");
    assert_eq!(message(there, &["zzzzzz"], &[]), "package not found: 'zzzzzz'");
    assert_eq!(message(there, &["emacs-*"], &[]), "package not found: 'emacs-*'");
    assert_eq!(message(there, &["/usr/bin/nothing"], &[]), "package not found: '/usr/bin/nothing'");
    assert_eq!(
        message(there, &["ngnix", "emacs", "vim=3"], &[]),
        "package not found: 'ngnix'; did you mean 'nginx'?; package not found: 'emacs'; \
         'vim' has no version 3; there is 2-1",
    );
}

#[test]
fn a_version_that_does_not_exist() {
    let there = "vim 8.1\n vim 9.0\n lib-a 1";
    assert_eq!(message(there, &["vim-7.4"], &[]), "'vim' has no version 7.4; there is 9.0-1, 8.1-1");
    assert_eq!(message(there, &["vim-9.0-2"], &[]), "'vim' has no version 9.0-2; there is 9.0-1, 8.1-1");
    assert_eq!(message(there, &["vim >= 10"], &[]), "'vim' has no version 10; there is 9.0-1, 8.1-1");
    assert_eq!(message(there, &["lib-b"], &[]), "package not found: 'lib-b'; did you mean 'lib-a'?");
    assert_eq!(names(there, &["vim=8.1"], &[]), "vim-8.1-1");
    assert_eq!(names(there, &["vim=8.1-1"], &[]), "vim-8.1-1");
    assert_eq!(names(there, &["vim-8*"], &[]), "vim-8.1-1");
}

#[test]
fn an_architecture_that_is_not_the_images() {
    let there = "a 1\n b 1 i686";
    assert_eq!(message(there, &["a.i686"], &[]), "'a' is wanted for i686, which is not the image's architecture");
    assert_eq!(names(there, &["a.x86_64"], &[]), "a-1-1");
    assert_eq!(message(there, &["b"], &[]), "package not found: 'b'; did you mean 'a'?");
}

#[test]
fn a_need_that_nothing_answers() {
    let there = "app 1; Requires: lib >= 2\n lib 1\n top 1; Requires: middle\n middle 1; Requires: app";
    assert_eq!(message(there, &["app"], &[]), "app needs lib >= 2, but there is only lib 1-1");
    assert_eq!(
        message(there, &["top"], &[]),
        "app (needed by middle, needed by top) needs lib >= 2, but there is only lib 1-1",
    );
    let there = "a 1; Requires: (b or c)\n d 1; Requires: libx.so.1()(64bit)\n e 1; Requires: /usr/share/x";
    assert_eq!(message(there, &["a"], &[]), "a needs (b or c), which no repository has");
    assert_eq!(message(there, &["d"], &[]), "d needs libx.so.1()(64bit), which no repository has");
    assert_eq!(message(there, &["e"], &[]), "e needs /usr/share/x, which no repository has");
}

#[test]
fn a_package_that_must_not_be_there() {
    let there = "app 1; Requires: helper\n helper 1; Requires: lib\n lib 1";
    assert_eq!(message(there, &["app"], &["lib"]), "'lib' cannot be removed: helper (needed by app) needs it");
    assert_eq!(message(there, &["app"], &["app"]), "'app' is to be both installed and removed");
    assert_eq!(message(there, &["app"], &["li*"]), "'lib' cannot be removed: helper (needed by app) needs it");
    assert_eq!(names("a 1; Requires: (b or c)\n b 1\n c 1", &["a"], &["b"]), "a-1-1 c-1-1");
    assert_eq!(names("a 1; Recommends: b\n b 1", &["a"], &["b"]), "a-1-1");
    assert_eq!(names("a-1 1\n a-2 1", &["a-*"], &["a-1"]), "a-2-1-1");
}

#[test]
fn packages_that_exclude_each_other() {
    let there = "a 1; Requires: x\n b 1; Requires: y\n x 1; Conflicts: y\n y 1";
    assert_eq!(message(there, &["a", "b"], &[]), "x (needed by a) cannot be beside y (needed by b): it excludes y");
    let there = "a 1; Conflicts: b < 2\n b 1";
    assert_eq!(message(there, &["a", "b"], &[]), "a cannot be beside b: it excludes b < 2");
    let there = "a 1; Requires: new\n b 1; Requires: old = 1\n new 1; Obsoletes: old < 2\n old 1";
    assert_eq!(
        message(there, &["a", "b"], &[]),
        "new (needed by a) cannot be beside old (needed by b): it excludes old < 2",
    );
}

#[test]
fn two_versions_of_one_package() {
    let there = "a 1; Requires: lib = 1\n b 1; Requires: lib = 2\n lib 1\n lib 2";
    assert_eq!(
        message(there, &["a", "b"], &[]),
        "lib (needed by b) cannot be beside lib (needed by a): it excludes every other version of lib",
    );
    assert_eq!(names(there, &["a"], &[]), "a-1-1 lib-1-1");
}

#[test]
fn what_is_entangled_is_told_one_after_the_other() {
    let there = "a 1; Requires: (p or q)\n p 1\n q 1\n x 1; Conflicts: (p or q)";
    assert_eq!(
        message(there, &["a", "x"], &[]),
        "no set of packages fits together: a is asked for, x is asked for, x excludes (p or q), a needs (p or q)",
    );
    let there = "a 1; Requires: (gone if b)\n b 1";
    assert_eq!(
        message(there, &["a", "b"], &[]),
        "no set of packages fits together: a is asked for, b is asked for, a needs (gone if b)",
    );
    let there = "a 1; Requires: (p or q)\n p 1; Requires: lib = 1\n q 1; Requires: lib < 2\n lib 1\n lib 2\n \
                 b 1; Requires: (r or s)\n r 1; Requires: lib = 2\n s 1; Requires: lib > 1";
    assert_eq!(
        message(there, &["a", "b"], &[]),
        "no set of packages fits together: a is asked for, b is asked for, s needs lib > 1, r needs lib = 2, \
         b needs (r or s), q needs lib < 2, p needs lib = 1, a needs (p or q), only one version of lib can be there",
    );
}

#[test]
fn everything_says_why_it_is_there() {
    let universe = universe(
        "a 1; Requires: b; Recommends: c\n b 1\n c 1; Requires: d\n d 1\n lang 1; Supplements: b\n e 1\n \
         f 1; Requires: (g if b)\n g 1",
    );
    let mut request = request(&["a", "f"], &[]);
    request.install.push(Wish::parse("e", Origin::Default).unwrap());
    request.install.push(Wish::parse("a", Origin::Default).unwrap());
    let why: Vec<String> = solved(&universe, &request)
        .packages
        .iter()
        .map(|chosen| format!("{} {}: {}", universe.name(chosen.package), chosen.automatic, chosen.why))
        .collect();
    assert_eq!(
        why,
        [
            "a false: the spec asks for it",
            "b true: a depends on b",
            "c true: a recommends it",
            "d true: c depends on d",
            "e false: the default packages include it",
            "f false: the spec asks for it",
            "g true: f depends on (g if b)",
            "lang true: it supplements b",
        ]
    );
    let written = serde_json::to_string(&Why::Supplements { of: "b".into() }).unwrap();
    assert_eq!(written, r#"{"supplements":{"of":"b"}}"#);
}

#[test]
fn exclusions_are_a_repositorys_own() {
    let source = |id: &str, excluded: &[&str], included: &[&str]| Source {
        excluded: excluded.iter().map(|&text| text.to_owned()).collect(),
        included: included.iter().map(|&text| text.to_owned()).collect(),
        ..Source::new(RepositoryRef::new(id), packages("kernel 6\n kernel-devel 6\n a 1\n a 2\n b 1 noarch"))
    };
    let shown = |source: Source| -> BTreeSet<String> {
        let universe = Universe::new(vec![source], "x86_64");
        universe.ids().map(|id| format!("{}-{}", universe.name(id), universe.evr(id))).collect()
    };
    let set = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|&name| name.to_owned()).collect() };
    assert_eq!(shown(source("x", &["kernel*"], &[])), set(&["a-1-1", "a-2-1", "b-1-1"]));
    assert_eq!(shown(source("x", &["a-2-1.x86_64", "*.noarch", "kernel"], &[])), set(&["a-1-1", "kernel-devel-6-1"]));
    assert_eq!(shown(source("x", &["a-0:2-1"], &["a", "b"])), set(&["a-1-1", "b-1-1"]));
    let both = vec![source("x", &["a"], &[]), source("y", &[], &[])];
    let universe = Universe::new(both, "x86_64");
    assert_eq!(universe.packages_named("a").len(), 2);
    assert!(universe.packages_named("a").iter().all(|&id| universe.repository(id).id == "y"));
}

#[test]
fn only_paths_that_the_file_lists_alone_know_are_wanted() {
    let text = "a 1; Requires: /usr/share/x, /bin/sh, /etc/y; Recommends: (/opt/r or b)\n \
                b 1; Requires: /usr/libexec/z\n c 1; Requires: /opt/c\n sh 1; Files: /bin/sh, /etc/y";
    let wanted = |install: &[&str], recommends: bool| {
        let request = Request { recommends, ..request(install, &[]) };
        wanted_paths(&universe(text), &request).into_iter().map(String::from).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(wanted(&["a"], true), "/opt/r /usr/libexec/z /usr/share/x");
    assert_eq!(wanted(&["a"], false), "/usr/share/x");
    assert_eq!(wanted(&["sh"], true), "");
    assert_eq!(
        wanted(&["/usr/lib/os-release", "/usr/bin/vim", "/usr/bin/v*"], true),
        "/usr/bin/v* /usr/lib/os-release"
    );
}

#[test]
fn wishes_that_cannot_name_anything_are_refused() {
    let refused = |text: &str| Wish::parse(text, Origin::Requested).unwrap_err().reason;
    assert_eq!(refused(""), "a package's name is missing");
    assert_eq!(refused("a\0b"), "a name cannot have this character");
    assert_eq!(refused("a >="), "the version after the operator is missing");
    assert_eq!(refused("a b"), "an operator such as '>=' is expected here");
    assert_eq!(refused(&"a".repeat(2000)), "it is too long for a package's name");
}

#[test]
fn hostile_relations_end() {
    // Or over ands multiplies: 4 to the 20th clauses.
    let mut many = String::from("a 1; Requires: (");
    for at in 0..20 {
        let or = if at == 0 { "" } else { " or " };
        many.push_str(&format!("{or}(b{at} and c{at} and d{at} and e{at})"));
    }
    many.push_str(")\n");
    for at in 0..20 {
        many.push_str(&format!("b{at} 1\n c{at} 1\n d{at} 1\n e{at} 1\n"));
    }
    assert!(message(&many, &["a"], &[]).starts_with("a needs ("));
    // Pigeons: nine that each need another one of eight holes has no short proof.
    let mut pigeons = String::new();
    for pigeon in 0..9 {
        let holes: Vec<String> = (0..8).map(|hole| format!("p{pigeon}h{hole}")).collect();
        pigeons.push_str(&format!("p{pigeon} 1; Requires: ({})\n", holes.join(" or ")));
        for hole in 0..8 {
            let others: Vec<String> = (0..pigeon).map(|other| format!("p{other}h{hole}")).collect();
            let conflicts =
                if others.is_empty() { String::new() } else { format!("; Conflicts: {}", others.join(", ")) };
            pigeons.push_str(&format!("p{pigeon}h{hole} 1{conflicts}\n"));
        }
    }
    let wishes: Vec<String> = (0..9).map(|pigeon| format!("p{pigeon}")).collect();
    let wishes: Vec<&str> = wishes.iter().map(String::as_str).collect();
    assert!(message(&pigeons, &wishes, &[]).starts_with("no set of packages fits together: "));
}

/// A universe of packages that are installed already, and others.
fn beside(installed: &str, text: &str) -> Universe {
    let sources = [Source::installed(packages(installed)), Source::new(RepositoryRef::new("test"), packages(text))];
    Universe::new(sources.into(), "x86_64")
}

/// What is added to what is installed, with the reasons; or why nothing can be.
fn added(installed: &str, text: &str, install: &[&str], remove: &[&str]) -> String {
    let universe = beside(installed, text);
    match solve(&universe, &request(install, remove)) {
        Ok(solution) => {
            let shown = solution.packages.iter().map(|chosen| {
                let package = universe.package(chosen.package);
                format!("{}-{} ({})", package.name, package.evr, chosen.why)
            });
            shown.collect::<Vec<_>>().join("; ")
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_installed_stays_and_answers() {
    let there = "base 1; Requires: gone; Provides: cap = 1; Files: /usr/lib/base/x; Recommends: extra\n lib 1 i686\n kernel 1\n kernel 2";
    let more = "base 2\n extra 1\n app 1; Requires: base, cap, /usr/lib/base/x, lib, side\n side 1; Requires: kernel > 1\n \
                fits 1; Supplements: base\n both 1; Supplements: (base and app)\n gone 1";
    assert_eq!(
        added(there, more, &["app"], &[]),
        "app-1-1 (the spec asks for it); both-1-1 (it supplements base); side-1-1 (app depends on side)"
    );
    assert_eq!(added(there, more, &["base", "kernel", "/usr/lib/base/x"], &[]), "");
    assert_eq!(added(there, more, &["side", "kernel"], &[]), "side-1-1 (the spec asks for it)");
}

#[test]
fn what_would_change_what_is_installed_is_an_error() {
    let there = "base 1\n lib 1; Provides: lib.so.1\n rich 1; Requires: (more if plugin)\n hostile 1; Conflicts: enemy\n heir 1; Obsoletes: elder";
    let more = "base 2\n lib 2; Provides: lib.so.2\n app 1; Requires: lib.so.2\n newer 1; Requires: base >= 2\n \
                rival 1; Conflicts: base\n after 1; Obsoletes: base\n plugin 1\n more 1\n enemy 1\n elder 1\n top 1; Requires: rival";
    let said = |install: &[&str], remove: &[&str]| added(there, more, install, remove);
    assert_eq!(said(&["base=2"], &[]), "'base' has no version 2; there is 1-1 of the base image");
    assert_eq!(said(&["base-2"], &[]), "'base' has no version 2; there is 1-1 of the base image");
    assert_eq!(said(&["newer"], &[]), "newer needs base >= 2, but there is only base 1-1 of the base image");
    assert_eq!(said(&["app"], &[]), "app needs lib.so.2, but there is only lib 2-1 in place of 1-1 of the base image");
    assert_eq!(said(&[], &["base"]), "'base' cannot be removed: the base image has it, in version 1-1");
    assert_eq!(
        said(&["top"], &[]),
        "rival (needed by top) cannot be beside base 1-1 of the base image: it excludes base"
    );
    assert_eq!(said(&["after"], &[]), "after cannot be beside base 1-1 of the base image: it excludes base");
    assert_eq!(said(&["enemy"], &[]), "hostile 1-1 of the base image cannot be beside enemy: it excludes enemy");
    // Who asks for what has an heir has it.
    assert_eq!(said(&["elder"], &[]), "");
    assert_eq!(said(&["elder=1"], &[]), "heir 1-1 of the base image cannot be beside elder: it excludes elder");
    // What is there may need something beside a new package; it was settled without it.
    assert_eq!(
        said(&["plugin"], &[]),
        "more-1-1 (rich depends on (more if plugin)); plugin-1-1 (the spec asks for it)"
    );
    let neither = said(&["plugin"], &["more"]);
    assert_eq!(
        neither,
        "no set of packages fits together: plugin is asked for, rich 1-1 of the base image needs (more if plugin), \
         more must not be there"
    );
}

#[test]
fn what_was_settled_badly_stays_so() {
    let there = "one 1; Conflicts: two\n two 1\n three 1; Requires: (four if two); Obsoletes: two";
    assert_eq!(added(there, "four 1\n app 1; Requires: two", &["app"], &[]), "app-1-1 (the spec asks for it)");
}

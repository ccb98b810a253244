//! Whether packages can be installed together: our answer against rpm's own, and metadata that lies
//! against the headers.

mod package_files;
mod rpm_referee;
mod rpm_support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use package_files::made_up::{Value, Values, string, strings, words};
use providers::rpm::check::{Error, check, check_beside};
use providers::rpm::database::{Database, Installed};
use providers::rpm::installed::check_size;
use providers::rpm::solve::solve;
use providers::rpm::{Comparison, Dependency, Header, Package, Relation};
use rpm_referee::{Workshop, headers, run, text, tool};
use rpm_support::{Question, packages};

/// Packages, one a line, as headers have them; the referee builds the same ones.
const PACKAGES: &str = "
    needs 1; Requires: thing >= 2
    thing-one 1; Provides: thing = 1-1
    thing-two 1; Provides: thing = 2-1
    file 1; Requires: /usr/lib/t/a
    owner 1; Files: /usr/lib/t/a, /usr/lib/t/b
    named-so 1; Provides: /usr/lib/t/a
    other-owner 1; Files: /usr/lib/u/a
    or 1; Requires: (alpha or beta)
    and 1; Requires: (alpha and beta)
    if 1; Requires: (alpha if beta)
    if-else 1; Requires: (alpha if beta else gamma)
    and-if 1; Requires: (gamma and (alpha if beta))
    with 1; Requires: (thing >= 2 with alpha)
    without 1; Requires: (thing without alpha)
    alpha 1
    beta 1
    gamma 1
    alpha-thing 1; Provides: alpha, thing = 3-1
    apart 1; Conflicts: thing < 2
    apart-file 1; Conflicts: /usr/lib/t/b
    apart-rich 1; Conflicts: (alpha and beta)
    apart-unless 1; Conflicts: (alpha unless beta)
    apart-unless-else 1; Conflicts: (alpha unless beta else gamma)
    alone 1; Provides: sole; Conflicts: sole
    alone-too 1; Provides: sole; Conflicts: sole
    own 1; Conflicts: (own and alpha)
    self 1; Obsoletes: self < 1
    succeeds 2; Obsoletes: alpha < 2
    succeeds-later 2; Obsoletes: beta < 1
    succeeds-capability 2; Obsoletes: thing
    epoch 1; Requires: new = 2:1
    new 2:1
    pre 1; Requires(pre): beta
";

/// Sets, and whether they can be installed.
const SETS: &[(&str, bool)] = &[
    ("alpha beta gamma", true),
    ("needs", false),
    ("needs thing-one", false),
    ("needs thing-two", true),
    ("needs thing-one thing-two", true),
    ("file", false),
    ("file owner", true),
    ("file named-so", true),
    ("file other-owner", false),
    ("or", false),
    ("or beta", true),
    ("and beta", false),
    ("and alpha beta", true),
    ("if", true),
    ("if beta", false),
    ("if alpha beta", true),
    ("if-else", false),
    ("if-else gamma", true),
    ("if-else beta gamma", false),
    ("if-else alpha beta", true),
    ("and-if", false),
    ("and-if gamma", true),
    ("and-if beta gamma", false),
    ("and-if alpha beta gamma", true),
    ("with alpha thing-two", false),
    ("with alpha-thing", true),
    ("without alpha-thing", false),
    ("without thing-one", true),
    ("apart thing-two", true),
    ("apart thing-one", false),
    ("apart-file", true),
    ("apart-file owner", false),
    ("apart-rich alpha", true),
    ("apart-rich alpha beta", false),
    ("apart-unless alpha", false),
    ("apart-unless alpha beta", true),
    ("apart-unless-else alpha", false),
    ("apart-unless-else gamma", true),
    ("apart-unless-else alpha beta", true),
    ("apart-unless-else beta gamma", false),
    ("alone", true),
    ("alone alone-too", false),
    ("own", true),
    ("own alpha", false),
    ("self", true),
    ("succeeds", true),
    ("succeeds alpha", false),
    ("succeeds-later beta", true),
    ("succeeds-capability thing-one", true),
    ("epoch new", true),
    ("epoch", false),
    ("pre", false),
    ("pre beta", true),
];

/// A set of which rpm installs one part and leaves out the other without a word.
const OBSOLETE: &str = "succeeds alpha";

/// The header that a package of a repository has.
fn header(package: &Package) -> Header {
    let lists = |relations: &[Relation]| -> [Value; 3] {
        let parts = relations.iter().map(|relation| match relation {
            Relation::Simple(Dependency { name, versions: None }) => (name.to_string(), 0, String::new()),
            Relation::Simple(Dependency { name, versions: Some((comparison, evr)) }) => {
                let flags = match comparison {
                    Comparison::Less => 2,
                    Comparison::LessOrEqual => 10,
                    Comparison::Equal => 8,
                    Comparison::GreaterOrEqual => 12,
                    Comparison::Greater => 4,
                };
                (name.to_string(), flags, evr.to_string())
            }
            Relation::Rich(text) => (text.to_string(), 0, String::new()),
        });
        let parts: Vec<(String, u32, String)> = parts.collect();
        [
            words(&parts.iter().map(|part| part.1).collect::<Vec<_>>()),
            strings(&parts.iter().map(|part| &part.0).collect::<Vec<_>>()),
            strings(&parts.iter().map(|part| &part.2).collect::<Vec<_>>()),
        ]
    };
    let simple = |list: &[Dependency]| -> Vec<Relation> { list.iter().cloned().map(Relation::Simple).collect() };
    let requires: Vec<Relation> = package.requires.iter().map(|needed| needed.relation.clone()).collect();
    let mut values = Values::default()
        .set(1000, string(&package.name))
        .set(1001, string(&package.evr.version))
        .set(1002, string(package.evr.release.as_deref().unwrap()))
        .set(1022, string(&package.architecture));
    if package.evr.epoch() != 0 {
        values = values.set(1003, words(&[package.evr.epoch()]));
    }
    for (tags, relations) in [
        ([1112, 1047, 1113], simple(&package.provides)),
        ([1048, 1049, 1050], requires),
        ([1053, 1054, 1055], package.conflicts.clone()),
        ([1114, 1090, 1115], simple(&package.obsoletes)),
    ] {
        if !relations.is_empty() {
            for (tag, value) in tags.into_iter().zip(lists(&relations)) {
                values = values.set(tag, value);
            }
        }
    }
    if !package.files.is_empty() {
        let split: Vec<(&str, &str)> = package.files.iter().map(|path| path.rsplit_once('/').unwrap()).collect();
        values = values
            .set(1116, words(&(0..u32::try_from(split.len()).unwrap()).collect::<Vec<_>>()))
            .set(1117, strings(&split.iter().map(|(_, name)| *name).collect::<Vec<_>>()))
            .set(1118, strings(&split.iter().map(|(directory, _)| format!("{directory}/")).collect::<Vec<_>>()));
    }
    Header::parse(&values.bytes(63)).unwrap()
}

fn made_up(text: &str) -> BTreeMap<String, Header> {
    packages(text).iter().map(|package| (package.name.to_string(), header(package))).collect()
}

fn of_set(all: &BTreeMap<String, Header>, set: &str) -> Vec<Header> {
    set.split(' ').map(|name| all[name].clone()).collect()
}

fn refusal(text: &str) -> String {
    let headers: Vec<Header> = packages(text).iter().map(header).collect();
    check(&headers).unwrap_err().to_string()
}

#[test]
fn sets_hold_or_do_not() {
    let all = made_up(PACKAGES);
    for (set, holds) in SETS {
        let answer = check(&of_set(&all, set));
        assert_eq!(answer.is_ok(), *holds, "{set}: {answer:?}");
    }
}

#[test]
fn rpm_says_the_same() {
    if !["rpm", "rpmbuild"].into_iter().all(tool) {
        return;
    }
    let workshop = Workshop::new();
    let built: BTreeMap<String, PathBuf> = workshop.build("sets", &spec()).into_iter().collect();
    let all = built.iter().map(|(name, path)| (name.clone(), headers(path).1)).collect();
    let root = workshop.path("root");
    std::fs::create_dir_all(&root).unwrap();
    for (set, holds) in SETS {
        let files = set.split(' ').map(|name| &built[name]);
        let mut command = workshop.rpm(&root);
        let output = command.args(["-U", "--test", "--nosignature", "--nodigest"]).args(files).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        if *set == OBSOLETE {
            continue;
        }
        assert_eq!(output.status.success(), *holds, "{set}: {complaint}");
        assert!(*holds || complaint.contains("Failed dependencies"), "{set}: {complaint}");
        let ours = check(&of_set(&all, set));
        assert_eq!(ours.is_ok(), *holds, "{set}: {ours:?}");
    }
    run(workshop
        .rpm(&root)
        .args(["-U", "--justdb", "--nosignature", "--nodigest"])
        .args(OBSOLETE.split(' ').map(|name| &built[name])));
    let installed = text(&run(workshop.rpm(&root).args(["-qa", "--queryformat", "%{NAME}"])));
    assert_eq!(installed, "succeeds");
}

/// A spec of all packages, as parts of one.
fn spec() -> String {
    let mut spec =
        "Name: sets\nVersion: 1\nRelease: 1\nSummary: sets\nLicense: none\nBuildArch: noarch\n%description\n\
                    sets\n"
            .to_owned();
    let mut install = "%install\n".to_owned();
    let mut files = String::new();
    for (package, line) in packages(PACKAGES).iter().zip(PACKAGES.lines().filter(|line| !line.trim().is_empty())) {
        let (name, evr) = (&package.name, &package.evr);
        spec += &format!("%package -n {name}\nSummary: {name}\n");
        spec += &format!("Version: {}\n", evr.version);
        if evr.epoch() != 0 {
            spec += &format!("Epoch: {}\n", evr.epoch());
        }
        for field in line.split(';').skip(1).filter(|field| !field.trim().starts_with("Files:")) {
            // Commas are not for paths.
            let (field, values) = field.split_once(':').unwrap();
            spec.extend(values.split(',').map(|value| format!("{}: {}\n", field.trim(), value.trim())));
        }
        spec += &format!("%description -n {name}\n{name}\n");
        files += &format!("%files -n {name}\n");
        for path in &package.files {
            install += &format!("install -D /dev/null %{{buildroot}}{path}\n");
            files += &format!("{path}\n");
        }
    }
    spec + &install + &files
}

#[test]
fn errors_name_the_package_and_the_relation() {
    assert_eq!(
        refusal("a 1; Requires: b >= 2\nb 1"),
        "install a-1-1.x86_64: it requires b >= 2, which nothing among the packages provides"
    );
    assert_eq!(refusal("a 1; Conflicts: b\nb 1"), "install a-1-1.x86_64: it conflicts with b, which is b-1-1.x86_64");
    assert_eq!(refusal("a 1; Conflicts: (b and c)\nb 1\nc 1"), "install a-1-1.x86_64: it conflicts with (b and c)");
    assert_eq!(refusal("a 1; Obsoletes: b\nb 1"), "install a-1-1.x86_64: it obsoletes b, which is b-1-1.x86_64");
    let headers: Vec<Header> = packages("a 1; Requires: b").iter().map(header).collect();
    assert!(check(&headers).unwrap_err().hint().unwrap().contains("make the lock anew"));
}

#[test]
fn packages_that_are_installed_answer_and_exclude() {
    let beside = |installed: &str, new: &str| {
        let installed: Vec<Header> = packages(installed).iter().map(header).collect();
        let new: Vec<Header> = packages(new).iter().map(header).collect();
        check_beside(&installed.iter().collect::<Vec<_>>(), &new)
            .map_or_else(|error| error.to_string(), |()| "fine".into())
    };
    let there = "base 1; Provides: cap = 1; Files: /usr/lib/base/x; Requires: gone\n one 1; Conflicts: two\n two 1";
    assert_eq!(beside(there, "a 1; Requires: cap >= 1\nb 1; Requires: /usr/lib/base/x"), "fine");
    assert_eq!(
        beside(there, "a 1; Requires: cap >= 2"),
        "install a-1-1.x86_64: it requires cap >= 2, which nothing among the packages provides"
    );
    assert_eq!(
        beside(there, "a 1; Conflicts: base"),
        "install a-1-1.x86_64: it conflicts with base, which is base-1-1.x86_64"
    );
    assert_eq!(beside("a 1; Conflicts: b", "b 1"), "install a-1-1.x86_64: it conflicts with b, which is b-1-1.x86_64");
    assert_eq!(
        beside("a 1; Obsoletes: b < 2", "b 1"),
        "install a-1-1.x86_64: it obsoletes b < 2, which is b-1-1.x86_64"
    );
    assert_eq!(beside("a 1; Obsoletes: b < 2", "b 2"), "fine");
    let rich = "a 1; Requires: (b if c); Conflicts: (d and e)";
    assert_eq!(
        beside(rich, "c 1"),
        "install a-1-1.x86_64: it requires (b if c), which nothing among the packages provides"
    );
    assert_eq!(beside(rich, "c 1\nb 1\nd 1"), "fine");
    assert_eq!(beside(rich, "d 1\ne 1"), "install a-1-1.x86_64: it conflicts with (d and e)");
    // Settled badly before.
    assert_eq!(beside(&format!("{rich}\nc 1\nd 1\ne 1"), "f 1"), "fine");
}

#[test]
fn features_of_rpm_are_known_or_refused() {
    for text in ["rpmlib(FileDigests) <= 4.6.0-1", "rpmlib(PayloadIsZstd) <= 5.4.18-1", "rpmlib(CaretInVersions)"] {
        let headers: Vec<Header> = packages(&format!("a 1; Requires: {text}")).iter().map(header).collect();
        check(&headers).unwrap_or_else(|error| panic!("{error}"));
    }
    for text in ["rpmlib(FileDigests) <= 4.5-1", "rpmlib(Telepathy) <= 9.0-1", "rpmlib(FileDigests"] {
        let refused = refusal(&format!("a 1; Requires: {text}"));
        assert_eq!(refused, format!("install a-1-1.x86_64: it requires {text}, which is a feature of a later rpm"));
    }
}

#[test]
fn hostile_headers_are_refused_in_time() {
    let deep = format!("{}a{}", "(b and ".repeat(2000), ")".repeat(2000));
    let started = Instant::now();
    for text in ["(a or".to_owned(), "(a or b and c)".into(), "()".into(), deep] {
        let mut package = packages("a 1").remove(0);
        package.conflicts = vec![Relation::Rich(text.clone().into())];
        let error = check(&[header(&package)]).unwrap_err();
        assert!(matches!(error, Error::Unreadable { .. }), "{text}: {error}");
    }
    // Everybody provides the same and asks for what is just not it.
    let lines: String = (0..500).map(|at| format!("p{at} 1; Provides: x = {at}; Requires: x = 1000\n")).collect();
    assert!(refusal(&lines).contains("requires x = 1000"));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

/// A database that an image brings along is no reason to run out of memory.
#[test]
fn more_than_any_system_has_is_refused() {
    let database = |header: &Header| {
        let signature = Values::default().set(273, string(&"0".repeat(64))).bytes(62);
        let signature = Header::parse_signature(&signature).unwrap();
        let mut database = Database::new();
        let installed = Installed { header, signature: &signature, time: 1, transaction: 1, color: 0, states: &[] };
        database.install(&installed).unwrap();
        database
    };
    let plain = || Values::default().set(1000, string("a")).set(1001, string("1")).set(1002, string("1"));
    let said = |values: Values| check_size(&database(&Header::parse(&values.bytes(63)).unwrap()));
    let files = |count: usize, directory: &str| {
        plain().set(1116, words(&vec![0; count])).set(1117, strings(&vec!["x"; count])).set(1118, strings(&[directory]))
    };
    said(files(10_000, "/usr/lib/")).unwrap();
    let refused = |values: Values| said(values).unwrap_err().to_string();
    assert!(refused(files(1_000_001, "/")).contains("more files"));
    assert!(refused(files(100_000, &format!("/{}/", "x".repeat(4000)))).contains("longer paths"));
    assert!(refused(plain().set(1047, strings(&vec!["x"; 2_000_001]))).contains("more relations"));
    // Those of all packages count together.
    let one = Header::parse(&files(600_000, "/").bytes(63)).unwrap();
    let mut both = database(&one);
    let signature = Values::default().set(273, string(&"0".repeat(64))).bytes(62);
    let signature = Header::parse_signature(&signature).unwrap();
    let again = Installed { header: &one, signature: &signature, time: 1, transaction: 1, color: 0, states: &[] };
    check_size(&both).unwrap();
    both.install(&again).unwrap();
    assert!(check_size(&both).unwrap_err().to_string().contains("more files"));
}

/// Metadata that is not signed says what it likes; the packages do not follow it.
#[test]
fn a_choice_on_metadata_that_lies_is_found_out() {
    let honest = "
        tool 1; Requires: lib >= 2; Conflicts: rival; Files: /usr/bin/tool
        lib 1
        lib 2
        rival 1
        caller 1; Requires: /usr/bin/tool
        impostor 1
    ";
    for (what, lying, wishes, found) in [
        ("nothing", honest, "caller", ""),
        (
            "a requirement is left out",
            "tool 1; Files: /usr/bin/tool\ncaller 1; Requires: /usr/bin/tool",
            "caller",
            "requires lib >= 2",
        ),
        ("a requirement is weaker", "tool 1; Requires: lib = 1\nlib 1\nlib 2", "tool", "requires lib >= 2"),
        ("a conflict is left out", "tool 1; Requires: lib >= 2\nlib 2\nrival 1", "tool rival", "conflicts with rival"),
        (
            "a file is invented",
            "impostor 1; Files: /usr/bin/tool\ncaller 1; Requires: /usr/bin/tool",
            "caller",
            "requires /usr/bin/tool",
        ),
        (
            "a capability is invented",
            "tool 1; Requires: lib >= 2\nimpostor 1; Provides: lib = 3",
            "tool",
            "requires lib >= 2",
        ),
    ] {
        let question = Question {
            repositories: vec![(99, packages(lying))],
            install: wishes.split(' ').map(str::to_owned).collect(),
            ..Question::default()
        };
        let universe = question.universe();
        let chosen = solve(&universe, &question.request()).unwrap_or_else(|error| panic!("{what}: {error}"));
        // What is fetched under the names that were chosen are the packages as they really are.
        let honest = packages(honest);
        let fetched = chosen.packages.iter().map(|chosen| {
            let meant = universe.package(chosen.package);
            header(honest.iter().find(|package| package.name == meant.name && package.evr == meant.evr).unwrap())
        });
        let answer = check(&fetched.collect::<Vec<_>>()).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(answer.contains(found) && answer.is_empty() == found.is_empty(), "{what}: {answer}");
    }
}

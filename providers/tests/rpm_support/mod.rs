//! Packages from lines of text, and dnf as a referee of what is chosen among them.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use providers::rpm::solve::{Origin, RepositoryRef, Request, Source, Universe, Unsolvable, Wish, solve};
use providers::rpm::{Comparison, Dependency, Evr, Location, Package, Relation, Requirement};

/// Reads one package from `name evr [arch]; Field: value, value; …`.
pub fn package(line: &str) -> Package {
    let mut parts = line.split(';');
    let words: Vec<&str> = parts.next().unwrap().split_whitespace().collect();
    let mut evr = Evr::parse(words[1]).unwrap();
    evr.release.get_or_insert_with(|| "1".into());
    let mut package = Package {
        name: words[0].into(),
        evr: evr.clone(),
        architecture: words.get(2).copied().unwrap_or("x86_64").into(),
        sha256: "00".repeat(32).parse().unwrap(),
        size: 1,
        installed_size: 1,
        build_time: 1,
        location: Location { path: format!("{}.rpm", words[0]).into(), base: None },
        source: "".into(),
        provides: vec![Dependency { name: words[0].into(), versions: Some((Comparison::Equal, evr)) }],
        requires: Vec::new(),
        conflicts: Vec::new(),
        obsoletes: Vec::new(),
        recommends: Vec::new(),
        suggests: Vec::new(),
        supplements: Vec::new(),
        enhances: Vec::new(),
        files: Vec::new(),
    };
    for part in parts {
        let (field, values) = part.split_once(':').unwrap_or_else(|| panic!("{line}"));
        for value in values.split(',').map(str::trim) {
            let relation = || Relation::parse(value).unwrap_or_else(|error| panic!("{line}: {error}"));
            let simple = || Dependency::parse(value).unwrap_or_else(|error| panic!("{line}: {error}"));
            match field.trim() {
                "Requires" => package.requires.push(Requirement { relation: relation(), before: false }),
                "Requires(pre)" => package.requires.push(Requirement { relation: relation(), before: true }),
                "Provides" => package.provides.push(simple()),
                "Conflicts" => package.conflicts.push(relation()),
                "Obsoletes" => package.obsoletes.push(simple()),
                "Recommends" => package.recommends.push(relation()),
                "Suggests" => package.suggests.push(relation()),
                "Supplements" => package.supplements.push(relation()),
                "Enhances" => package.enhances.push(relation()),
                "Files" => package.files.push(value.into()),
                field => panic!("{line}: {field}"),
            }
        }
    }
    package
}

/// Reads packages, one a line.
pub fn packages(text: &str) -> Vec<Package> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(package).collect()
}

/// One question: what is chosen.
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub title: String,
    /// Priority and packages of each repository.
    pub repositories: Vec<(i32, Vec<Package>)>,
    pub install: Vec<String>,
    pub remove: Vec<String>,
    pub recommends: bool,
}

impl Question {
    pub fn universe(&self) -> Universe {
        let sources = self.repositories.iter().enumerate().map(|(at, (priority, packages))| {
            let repository = RepositoryRef { id: format!("r{at}"), priority: *priority };
            Source::new(repository, packages.clone())
        });
        Universe::new(sources.collect(), "x86_64")
    }

    pub fn request(&self) -> Request {
        Request {
            install: self.install.iter().map(|text| Wish::parse(text, Origin::Requested).unwrap()).collect(),
            remove: self.remove.clone(),
            recommends: self.recommends,
        }
    }

    /// Our choice as sorted `name-epoch:version-release.arch`, or the complaint.
    pub fn ours(&self) -> Result<BTreeSet<String>, Unsolvable> {
        let universe = self.universe();
        let solution = solve(&universe, &self.request())?;
        let shown = solution.packages.iter().map(|chosen| {
            let package = universe.package(chosen.package);
            format!("{}-{}.{}", package.name, package.evr, package.architecture)
        });
        Ok(shown.collect())
    }

    fn json(&self) -> serde_json::Value {
        let repositories = self
            .repositories
            .iter()
            .map(|(priority, packages)| serde_json::json!({"priority": priority, "primary": primary(packages)}));
        serde_json::json!({
            "repositories": repositories.collect::<Vec<_>>(),
            "install": self.install,
            "remove": self.remove,
            "recommends": self.recommends,
        })
    }
}

/// dnf's answers to questions; none where dnf is not there (an error where CI is set).
pub fn dnf(questions: &[Question]) -> Option<Vec<Result<BTreeSet<String>, String>>> {
    let python = "/usr/bin/python3";
    let probe = Command::new(python).args(["-c", "import dnf, hawkey"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "python3-dnf is needed for this test");
        println!("skipped: python3-dnf is not installed");
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rpm_support/referee.py");
    let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let input = serde_json::Value::Array(questions.iter().map(Question::json).collect()).to_string();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{output:?}");
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers = answers.lines().map(|line| {
        let answer: serde_json::Value = serde_json::from_str(line).unwrap();
        match answer["chosen"].as_array() {
            Some(chosen) => Ok(chosen.iter().map(|name| name.as_str().unwrap().to_owned()).collect()),
            None => Err(answer["error"].to_string()),
        }
    });
    let answers: Vec<_> = answers.collect();
    assert_eq!(answers.len(), questions.len());
    Some(answers)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A primary.xml (createrepo_c's form) of packages.
pub fn primary(packages: &[Package]) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{}\">\n",
        packages.len()
    );
    for (at, package) in packages.iter().enumerate() {
        let Evr { version, release, .. } = &package.evr;
        let release = release.as_deref().unwrap_or_default();
        let _ = writeln!(
            xml,
            "<package type=\"rpm\"><name>{}</name><arch>{}</arch><version epoch=\"{}\" ver=\"{version}\" \
             rel=\"{release}\"/><checksum type=\"sha256\" pkgid=\"YES\">{at:064x}</checksum><summary/><description/>\
             <packager/><url/><time file=\"1\" build=\"1\"/><size package=\"1\" installed=\"1\" archive=\"1\"/>\
             <location href=\"{at}.rpm\"/><format>",
            package.name,
            package.architecture,
            package.evr.epoch(),
        );
        let simple = |dependencies: &[Dependency]| -> Vec<(Relation, bool)> {
            dependencies.iter().map(|dependency| (Relation::Simple(dependency.clone()), false)).collect()
        };
        let plain = |relations: &[Relation]| -> Vec<(Relation, bool)> {
            relations.iter().map(|relation| (relation.clone(), false)).collect()
        };
        let requires = package.requires.iter().map(|requirement| (requirement.relation.clone(), requirement.before));
        for (field, relations) in [
            ("provides", simple(&package.provides)),
            ("requires", requires.collect()),
            ("conflicts", plain(&package.conflicts)),
            ("obsoletes", simple(&package.obsoletes)),
            ("recommends", plain(&package.recommends)),
            ("suggests", plain(&package.suggests)),
            ("supplements", plain(&package.supplements)),
            ("enhances", plain(&package.enhances)),
        ] {
            if relations.is_empty() {
                continue;
            }
            let _ = write!(xml, "<rpm:{field}>");
            for (relation, before) in relations {
                let before = if before { " pre=\"1\"" } else { "" };
                let _ = match relation {
                    Relation::Rich(text) => write!(xml, "<rpm:entry name=\"{}\"{before}/>", escaped(&text)),
                    Relation::Simple(Dependency { name, versions: None }) => {
                        write!(xml, "<rpm:entry name=\"{}\"{before}/>", escaped(&name))
                    }
                    Relation::Simple(Dependency { name, versions: Some((comparison, evr)) }) => {
                        let flags = match comparison {
                            Comparison::Less => "LT",
                            Comparison::LessOrEqual => "LE",
                            Comparison::Equal => "EQ",
                            Comparison::GreaterOrEqual => "GE",
                            Comparison::Greater => "GT",
                        };
                        let release = evr.release.as_ref().map(|release| format!(" rel=\"{release}\""));
                        let release = release.unwrap_or_default();
                        let (epoch, version) = (evr.epoch(), &evr.version);
                        write!(
                            xml,
                            "<rpm:entry name=\"{}\" flags=\"{flags}\" epoch=\"{epoch}\" ver=\"{version}\"{release}{before}/>",
                            escaped(&name)
                        )
                    }
                };
            }
            let _ = write!(xml, "</rpm:{field}>");
        }
        for file in &package.files {
            let _ = write!(xml, "<file>{}</file>", escaped(file));
        }
        xml.push_str("</format></package>\n");
    }
    xml.push_str("</metadata>\n");
    xml
}

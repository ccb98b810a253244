//! The header's word against that of real metadata, as createrepo_c writes them.

mod package_files;

use std::path::Path;
use std::process::Command;

use layers::Sha256;
use package_files::{build, run, spec, text, tools};
use providers::rpm::{Comparison, Dependency, Evr, Location, Package, Relation, Requirement, Unverified};

/// What stands between two pieces of text.
fn between<'t>(text: &'t str, start: &str, end: &str) -> Option<&'t str> {
    Some(text.split_once(start)?.1.split_once(end)?.0)
}

fn plain(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// The entries of one list, each with whether it comes before the scriptlets.
fn list(xml: &str, name: &str) -> Vec<(Relation, bool)> {
    let Some(section) = between(xml, &format!("<rpm:{name}>"), &format!("</rpm:{name}>")) else { return Vec::new() };
    let entries = section.lines().filter(|line| line.contains("<rpm:entry"));
    entries
        .map(|line| {
            let field = |name: &str| between(line, &format!(" {name}=\""), "\"").map(plain);
            let comparison = field("flags").map(|flags| match flags.as_str() {
                "LT" => Comparison::Less,
                "LE" => Comparison::LessOrEqual,
                "EQ" => Comparison::Equal,
                "GE" => Comparison::GreaterOrEqual,
                _ => Comparison::Greater,
            });
            let evr = Evr {
                epoch: field("epoch").map(|epoch| epoch.parse().unwrap()),
                version: field("ver").unwrap_or_default().into(),
                release: field("rel").map(Into::into),
            };
            let name = field("name").unwrap();
            let relation = match name.starts_with('(') {
                true => Relation::Rich(name.into()),
                false => {
                    Relation::Simple(Dependency { name: name.into(), versions: comparison.map(|kind| (kind, evr)) })
                }
            };
            (relation, field("pre").is_some())
        })
        .collect()
}

fn relations(xml: &str, name: &str) -> Vec<Relation> {
    list(xml, name).into_iter().map(|(relation, _)| relation).collect()
}

fn dependencies(xml: &str, name: &str) -> Vec<Dependency> {
    let simple = |relation| match relation {
        Relation::Simple(dependency) => dependency,
        Relation::Rich(text) => panic!("{text}"),
    };
    relations(xml, name).into_iter().map(simple).collect()
}

fn described(xml: &str) -> Package {
    let version = between(xml, "<version ", "/>").unwrap();
    let field = |name: &str| between(version, &format!("{name}=\""), "\"").unwrap();
    let element = |name: &str| plain(between(xml, &format!("<{name}>"), &format!("</{name}>")).unwrap_or_default());
    Package {
        name: element("name").into(),
        evr: Evr {
            epoch: Some(field("epoch").parse().unwrap()),
            version: field("ver").into(),
            release: Some(field("rel").into()),
        },
        architecture: element("arch").into(),
        sha256: between(xml, "pkgid=\"YES\">", "<").unwrap().parse().unwrap(),
        size: 0,
        installed_size: 0,
        build_time: 0,
        location: Location { path: "x.rpm".into(), base: None },
        source: element("rpm:sourcerpm").into(),
        provides: dependencies(xml, "provides"),
        requires: list(xml, "requires")
            .into_iter()
            .map(|(relation, before)| Requirement { relation, before })
            .collect(),
        conflicts: relations(xml, "conflicts"),
        obsoletes: dependencies(xml, "obsoletes"),
        recommends: relations(xml, "recommends"),
        suggests: relations(xml, "suggests"),
        supplements: relations(xml, "supplements"),
        enhances: relations(xml, "enhances"),
        files: xml
            .lines()
            .filter(|line| line.trim_start().starts_with("<file"))
            .map(|line| plain(between(line, ">", "</file>").unwrap()).into())
            .collect(),
    }
}

const RELATIONS: &str = "Epoch: 2
Requires: bash >= 5, bash < 7, coreutils
Requires(pre): shadow-utils, coreutils
Requires: /bin/sh, /usr/bin/own, /usr/share/own/data
Requires: own-capability = 7, own-capability >= 6, metadata = 2:1.2-3
Requires: libc.so.6, libc.so.6(GLIBC_2.2.5)(64bit), libc.so.6(GLIBC_2.34)(64bit), libc.so.6()(64bit)
Requires: (a or (b and c)), (d >= 1:2-3 if e else f)
Provides: own-capability = 7, other-capability = 3:1.0~rc1-2^git, bare
Conflicts: old < 2, (x and y)
Obsoletes: older, oldest <= 1:9
Recommends: (r if s), t > 1
Suggests: u
Supplements: (v and w)
Enhances: z";

const INSTALL: &str = "mkdir -p %{buildroot}/usr/bin %{buildroot}/usr/share/own %{buildroot}/etc
echo > %{buildroot}/usr/bin/own; echo > %{buildroot}/usr/share/own/data; echo > '%{buildroot}/etc/a&b'";

fn metadata(directory: &Path) -> String {
    run(Command::new("createrepo_c").args(["--quiet", "--general-compress-type=gz"]).arg(directory));
    text(&run(Command::new("sh").arg("-c").arg("zcat repodata/*primary.xml.gz").current_dir(directory)))
}

#[test]
fn real_metadata_and_headers_agree() {
    if !tools(&["rpmbuild", "createrepo_c"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let files = "/usr/bin/own\n/usr/share/own\n'/etc/a&b'".replace('\'', "\"");
    let [path] = &build(scratch.path(), &spec("metadata", RELATIONS, INSTALL, &files), &[])[..] else { panic!() };
    let described = described(&metadata(path.parent().unwrap()));
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(described.sha256, Sha256::of(&bytes));
    let package = Unverified::open(path).unwrap().accept(described.sha256).unwrap();
    package.matches(&described).unwrap();
    // createrepo_c left things out, so the tolerance is needed.
    let count = |name: &str| described.requires.iter().filter(|needed| format!("{needed:?}").contains(name)).count();
    assert_eq!((count("rpmlib"), count("/usr/bin/own"), count("libc.so.6")), (0, 0, 1));
    assert!(described.requires.len() > 8 && described.files.len() == 2);
    // And it ends where it has to.
    let refused = |what: &str, change: &dyn Fn(&mut Package)| {
        let mut lying = described.clone();
        change(&mut lying);
        let error = package.matches(&lying).expect_err(what);
        assert!(error.to_string().contains("metadata"), "{what}: {error}");
    };
    refused("name", &|lying| lying.name = "other".into());
    refused("epoch", &|lying| lying.evr.epoch = Some(1));
    refused("version", &|lying| lying.evr.version = "1.3".into());
    refused("release", &|lying| lying.evr.release = Some("4".into()));
    refused("architecture", &|lying| lying.architecture = "riscv64".into());
    for name in ["shadow", "libc.so.6", "/bin/sh", "(d >="] {
        refused(name, &|lying| lying.requires.retain(|needed| !format!("{needed:?}").contains(name)));
    }
    refused("no requirement", &|lying| lying.requires.clear());
    refused("a requirement more", &|lying| {
        let mut more = lying.requires[0].clone();
        more.relation = Relation::Rich("(evil or worse)".into());
        lying.requires.push(more);
    });
    refused("a capability less", &|lying| drop(lying.provides.pop()));
    refused("a capability more", &|lying| lying.provides.push(Dependency { name: "glibc".into(), versions: None }));
    refused("another version", &|lying| lying.provides.iter_mut().for_each(|provided| provided.versions = None));
    refused("no conflict", &|lying| lying.conflicts.clear());
    refused("no obsoletes", &|lying| lying.obsoletes.clear());
    refused("no recommends", &|lying| lying.recommends.clear());
    refused("no suggests", &|lying| lying.suggests.clear());
    refused("no supplements", &|lying| lying.supplements.clear());
    refused("no enhances", &|lying| lying.enhances.clear());
    refused("a file", &|lying| lying.files.push("/usr/bin/sudo".into()));
}

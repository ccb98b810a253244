use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;

use layers::Sha256;
use proptest::prelude::*;

use super::*;
use crate::rpm::{Comparison, Relation};
use crate::trust::UnixTime;

fn digest(byte: &str) -> String {
    byte.repeat(32)
}

fn repomd_text() -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
  <revision>1795000000</revision>
  <tags><content>binary</content></tags>
  <data type="primary">
    <checksum type="sha256">{a}</checksum>
    <open-checksum type="sha256">{b}</open-checksum>
    <location href="repodata/{a}-primary.xml.zst"/>
    <timestamp>1795000100</timestamp>
    <size>1000</size>
    <open-size>5000</open-size>
  </data>
  <data type="filelists">
    <checksum type="sha512">{c}</checksum>
    <location href="repodata/filelists.xml.gz"/>
    <timestamp>1795000099.5</timestamp>
  </data>
</repomd>
"#,
        a = digest("ab"),
        b = digest("cd"),
        c = digest("ef").repeat(2),
    )
}

#[test]
fn repomd_is_read() {
    let repomd = Repomd::parse(repomd_text().as_bytes()).unwrap();
    assert_eq!(repomd.number(), Some(1_795_000_000));
    assert_eq!(repomd.date(), Some(UnixTime(1_795_000_100)));
    let primary = &repomd.entries["primary"];
    assert_eq!((primary.size, primary.open_size), (Some(1000), Some(5000)));
    assert!(primary.location.ends_with("-primary.xml.zst"));
    assert_eq!(primary.checksum, Checksum::Sha256(Sha256([0xab; 32])));
    assert_eq!(repomd.entries["filelists"].checksum, Checksum::Sha512(Box::new([0xef; 64])));
    assert_eq!(repomd.entries["filelists"].open_checksum, None);
}

#[test]
fn a_repomd_without_times_is_dated_by_its_revision_when_that_is_a_number() {
    let text = repomd_text();
    let lines = text.lines().filter(|line| !line.contains("timestamp"));
    let text: String = lines.collect::<Vec<_>>().join("\n");
    assert_eq!(Repomd::parse(text.as_bytes()).unwrap().date(), Some(UnixTime(1_795_000_000)));
    let named = text.replace("1795000000", "2026-11");
    assert_eq!(Repomd::parse(named.as_bytes()).unwrap().date(), None);
}

#[test]
fn weak_digests_are_told_apart() {
    let text = repomd_text().replacen("type=\"sha256\"", "type=\"sha\"", 1);
    let repomd = Repomd::parse(text.as_bytes()).unwrap();
    assert_eq!(repomd.entries["primary"].checksum, Checksum::Weak("sha".into()));
}

#[test]
fn repomds_with_faults_are_refused() {
    let a = digest("ab");
    for (from, to) in [
        ("</repomd>", ""),
        ("</repomd>", "</repomd><repomd/>"),
        ("<repomd xmlns", "<metadata xmlns"),
        ("  </data>\n", ""),
        ("type=\"filelists\"", "type=\"primary\""),
        ("type=\"filelists\"", ""),
        ("repodata/filelists", "../filelists"),
        ("repodata/filelists", "/etc/filelists"),
        ("repodata/filelists", "https://example.org/filelists"),
        ("repodata/filelists", "repodata/..//filelists"),
        ("<location href=\"repodata/filelists.xml.gz\"/>", ""),
        ("href=\"repodata/filelists.xml.gz\"", "xml:base=\"https://example.org\" href=\"filelists.xml.gz\""),
        ("<size>1000</size>", "<size>-1</size>"),
        ("<size>1000</size>", "<size>99999999999999999999</size>"),
        ("<timestamp>1795000100", "<timestamp>soon"),
        (&format!("<checksum type=\"sha256\">{a}"), "<checksum type=\"sha256\">abcd"),
        (&format!("<checksum type=\"sha256\">{a}</checksum>"), ""),
        ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "<!DOCTYPE r [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>"),
        ("<revision>", "<revision>&lol;"),
    ] {
        let text = repomd_text();
        assert!(text.contains(from), "{from}");
        let error = Repomd::parse(text.replacen(from, to, 1).as_bytes()).expect_err(to);
        assert_eq!(error.document, "repomd.xml");
    }
}

const PRIMARY: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="1">
<package type="rpm">
  <name>tool</name><arch>x86_64</arch>
  <version epoch="2" ver="1.0~rc1^git" rel="3.azl3"/>
  <checksum type="sha256" pkgid="YES">aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa</checksum>
  <summary>a &amp; b</summary><description><![CDATA[<text>]]></description>
  <time file="1795000000" build="1794000000"/>
  <size package="1234" installed="5678" archive="5900"/>
  <location href="Packages/t/tool-1.0~rc1^git-3.azl3.x86_64.rpm"/>
  <format>
    <rpm:license>MIT</rpm:license><rpm:sourcerpm>tool-1.0~rc1^git-3.azl3.src.rpm</rpm:sourcerpm>
    <rpm:header-range start="4504" end="9000"/>
    <rpm:provides>
      <rpm:entry name="tool" flags="EQ" epoch="2" ver="1.0~rc1^git" rel="3.azl3"/>
      <rpm:entry name="libtool.so.1()(64bit)"/>
    </rpm:provides>
    <rpm:requires>
      <rpm:entry name="/bin/sh" pre="1"/>
      <rpm:entry name="glibc" flags="GE" epoch="0" ver="2.38"/>
      <rpm:entry name="(a &gt;= 1 if b)"/>
    </rpm:requires>
    <rpm:conflicts><rpm:entry name="old" flags="LT" epoch="0" ver="1"/></rpm:conflicts>
    <rpm:obsoletes><rpm:entry name="older" flags="LE" epoch="0" ver="1" rel="2"/></rpm:obsoletes>
    <rpm:recommends><rpm:entry name="r"/></rpm:recommends>
    <rpm:suggests><rpm:entry name="s"/></rpm:suggests>
    <rpm:supplements><rpm:entry name="(x and y)"/></rpm:supplements>
    <rpm:enhances><rpm:entry name="e"/></rpm:enhances>
    <file>/usr/bin/tool</file><file type="dir">/etc/to&#x6f;l &amp; co</file>
  </format>
</package>
</metadata>
"#;

#[test]
fn packages_are_read_with_all_their_relations() {
    let packages = read_primary(PRIMARY.as_bytes()).unwrap();
    let [package] = packages.as_slice() else { panic!("{packages:?}") };
    assert_eq!((&*package.name, &*package.architecture), ("tool", "x86_64"));
    assert_eq!(package.evr.to_string(), "2:1.0~rc1^git-3.azl3");
    assert_eq!((package.size, package.installed_size, package.build_time), (1234, 5678, 1_794_000_000));
    assert_eq!(package.sha256, Sha256([0xaa; 32]));
    assert_eq!(&*package.source, "tool-1.0~rc1^git-3.azl3.src.rpm");
    assert_eq!(&*package.location.path, "Packages/t/tool-1.0~rc1^git-3.azl3.x86_64.rpm");
    assert_eq!(package.provides.len(), 2);
    assert_eq!(&*package.provides[1].name, "libtool.so.1()(64bit)");
    assert!(package.requires[0].before && !package.requires[1].before);
    let Relation::Simple(glibc) = &package.requires[1].relation else { panic!() };
    let (comparison, evr) = glibc.versions.as_ref().unwrap();
    assert_eq!((*comparison, &*evr.version, &evr.release), (Comparison::GreaterOrEqual, "2.38", &None));
    assert_eq!(package.requires[2].relation, Relation::Rich("(a >= 1 if b)".into()));
    assert_eq!(package.supplements, [Relation::Rich("(x and y)".into())]);
    assert_eq!(package.obsoletes[0].versions.as_ref().unwrap().0, Comparison::LessOrEqual);
    assert_eq!([&package.conflicts, &package.recommends, &package.suggests, &package.enhances].map(Vec::len), [1; 4]);
    let files: Vec<&str> = package.files.iter().map(|path| &**path).collect();
    assert_eq!(files, ["/usr/bin/tool", "/etc/tool & co"]);
}

#[test]
fn primaries_with_faults_are_refused() {
    for (from, to) in [
        ("</metadata>", ""),
        ("</package>", ""),
        ("</metadata>", "</metadata>x<y/>"),
        ("<name>tool</name>", ""),
        ("<name>tool</name>", "<name>../tool</name>"),
        ("<name>tool</name>", "<name>to ol</name>"),
        ("<arch>x86_64</arch>", "<arch>x/y</arch>"),
        ("<arch>x86_64</arch>", ""),
        ("ver=\"1.0~rc1^git\" rel=\"3.azl3\"/>\n  <checksum", "ver=\"1-0\" rel=\"3\"/>\n  <checksum"),
        ("ver=\"1.0~rc1^git\" rel=\"3.azl3\"/>\n  <checksum", "ver=\"1.0\"/>\n  <checksum"),
        ("epoch=\"2\"", "epoch=\"two\""),
        ("epoch=\"2\"", "epoch=\"5000000000\""),
        ("type=\"sha256\"", "type=\"sha\""),
        ("type=\"sha256\"", "type=\"md5\""),
        ("<checksum type=\"sha256\" pkgid=\"YES\">aaaa", "<checksum type=\"sha256\" pkgid=\"YES\">"),
        ("<size package=\"1234\"", "<size"),
        ("<size package=\"1234\"", "<size package=\"-1\""),
        ("href=\"Packages/t", "href=\"../Packages/t"),
        ("href=\"Packages/t", "href=\"/Packages/t"),
        ("href=\"Packages/t", "href=\"https://example.org/t"),
        ("<location href=\"Packages/t/tool-1.0~rc1^git-3.azl3.x86_64.rpm\"/>", ""),
        ("flags=\"GE\"", "flags=\"~\""),
        ("ver=\"2.38\"", ""),
        ("name=\"glibc\"", ""),
        ("name=\"glibc\"", "name=\"glibc\" name=\"other\""),
        ("<file>/usr", "<file>usr"),
        ("&gt;", "&unknown;"),
        ("&gt;", "<"),
    ] {
        assert!(PRIMARY.contains(from), "{from}");
        assert!(read_primary(PRIMARY.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
    }
}

#[test]
fn one_identity_has_one_digest() {
    let from = PRIMARY.find("<package ").unwrap();
    let to = PRIMARY.find("</metadata>").unwrap();
    let package = &PRIMARY[from..to];
    let twice = |second: &str| PRIMARY.replace("</metadata>", &format!("{second}</metadata>"));
    assert_eq!(read_primary(twice(package).as_bytes()).unwrap().len(), 1);
    let other = package.replace("aaaa", "abab");
    let error = read_primary(twice(&other).as_bytes()).unwrap_err();
    assert!(error.to_string().contains("two different packages tool-2:1.0~rc1^git-3.azl3.x86_64"), "{error}");
    let source = other.replace("<arch>x86_64</arch>", "<arch>src</arch>");
    assert_eq!(read_primary(twice(&source).as_bytes()).unwrap().len(), 1);
}

#[test]
fn a_base_is_kept_for_whoever_fetches_the_package() {
    let text = PRIMARY.replace("<location href", "<location xml:base=\"https://example.org/x\" href");
    let packages = read_primary(text.as_bytes()).unwrap();
    assert_eq!(packages[0].location.base.as_deref(), Some("https://example.org/x"));
}

/// Input without an end.
struct Endless(&'static [u8]);

impl std::io::Read for Endless {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        for (at, byte) in into.iter_mut().enumerate() {
            *byte = self.0[at % self.0.len()];
        }
        Ok(into.len() - into.len() % self.0.len())
    }
}

fn endless(head: &'static [u8], tail: &'static [u8]) -> impl std::io::BufRead {
    use std::io::Read as _;
    BufReader::new(head.chain(Endless(tail)))
}

#[test]
fn endless_tags_texts_comments_and_nesting_come_to_an_end() {
    for (head, tail) in [
        (&b"<metadata>"[..], &b"a"[..]),
        (b"<metadata a='", b"a"),
        (b"<metadata ", b"a"),
        (b"<metadata><", b"a"),
        (b"<metadata><!-- ", b"a"),
        (b"<metadata><![CDATA[", b"a"),
        (b"<metadata><?", b"a"),
        (b"<!DOCTYPE ", b"a"),
        (b"<metadata>&", b"a"),
        (b"<metadata>", b"<a>"),
        (b"", b"a"),
        (b"<metadata><package><name>", b"&amp;"),
        (b"<metadata><package><summary>", b"<a>"),
    ] {
        let error = read_primary(endless(head, tail)).unwrap_err();
        assert!(!error.sentence.is_empty(), "{error}");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let mut bytes = PRIMARY.as_bytes().to_vec();
    let at = PRIMARY.find("/usr/bin").unwrap();
    bytes[at + 1] = 0xff;
    assert!(read_primary(bytes.as_slice()).is_err());
}

fn filelists(id: &str) -> String {
    format!(
        "<filelists packages=\"2\"><package pkgid=\"{id}\" name=\"tool\" arch=\"x86_64\"><version epoch=\"2\" ver=\"1\" rel=\"1\"/>\
         <file>/usr/bin/tool</file><file type=\"dir\">/usr/share/tool</file><file>/usr/share/tool/x</file></package>\
         <package pkgid=\"{}\" name=\"tool\" arch=\"src\"><file>/tool.spec</file></package></filelists>",
        digest("bb")
    )
}

#[test]
fn only_wanted_files_are_added() {
    let text = filelists(&digest("aa"));
    let mut packages = read_primary(PRIMARY.as_bytes()).unwrap();
    let paths: BTreeSet<Box<str>> = ["/usr/share/tool/x".into(), "/usr/bin/tool".into(), "/none".into()].into();
    assert_eq!(complete(text.as_bytes(), &mut packages, &WantedFiles::Paths(paths)).unwrap(), 1);
    assert_eq!(packages[0].files.len(), 3);
    let all = WantedFiles::Of([packages[0].sha256].into());
    assert_eq!(complete(text.as_bytes(), &mut packages, &all).unwrap(), 1);
    assert_eq!(packages[0].files.len(), 4);
    let none = WantedFiles::Of(BTreeSet::new());
    assert_eq!(complete(text.as_bytes(), &mut packages, &none).unwrap(), 0);
    for bad in
        [filelists(&digest("ac")), filelists("zz"), text.replace("</filelists>", ""), text.replace("/usr/s", "usr/s")]
    {
        assert!(complete(bad.as_bytes(), &mut packages, &all).is_err(), "{bad}");
    }
}

const COMPS: &str = r#"<?xml version="1.0"?>
<!-- groups -->
<comps>
  <group><id>core</id><name>Core</name><name xml:lang="de">Kern</name><default>false</default>
    <packagelist>
      <packagereq type="mandatory">bash</packagereq>
      <packagereq type="default">vim</packagereq>
      <packagereq type="optional">emacs</packagereq>
      <packagereq type="conditional" requires="gnome">gnome-core</packagereq>
    </packagelist></group>
  <group><id>extra</id><name>Extra Tools</name><packagelist><packagereq>strace</packagereq></packagelist></group>
  <environment><id>server</id><name>A Server</name>
    <grouplist><groupid>core</groupid><groupid>gone</groupid></grouplist>
    <optionlist><groupid default="true">extra</groupid><groupid>more</groupid></optionlist></environment>
  <category><id>base</id><name>Base</name><grouplist><groupid>core</groupid></grouplist></category>
</comps>
"#;

#[test]
fn groups_are_found_by_id_and_name_and_expand() {
    let groups = Groups::parse(COMPS.as_bytes()).unwrap();
    assert_eq!((groups.groups.len(), groups.environments.len(), groups.categories.len()), (2, 1, 1));
    assert_eq!(&*groups.groups[0].name, "Core");
    let core = groups.expand("@core").unwrap();
    assert_eq!(core.mandatory, [Box::from("bash")].into());
    assert_eq!(core.default, [Box::from("vim")].into());
    assert_eq!(core.conditional, [(Box::from("gnome-core"), Box::from("gnome"))].into());
    assert_eq!(groups.expand("extra tools"), groups.expand("@extra"));
    let server = groups.expand("@^server").unwrap();
    assert_eq!(server.mandatory, [Box::from("bash"), Box::from("strace")].into());
    assert_eq!(groups.expand("@a server"), Some(server));
    assert_eq!(groups.expand("@^core"), None);
    assert_eq!(groups.expand("@none"), None);
    let mut both = groups.clone();
    both.merge(Groups::parse(COMPS.replace("bash", "dash").as_bytes()).unwrap());
    assert_eq!(both.groups.len(), 2);
    assert_eq!(both.expand("@core").unwrap().mandatory.len(), 2);
}

#[test]
fn groups_with_faults_are_refused() {
    for (from, to) in [
        ("</comps>", ""),
        ("<id>core</id>", ""),
        ("<id>server</id>", ""),
        ("<id>base</id>", ""),
        ("type=\"default\"", "type=\"sometimes\""),
        ("vim", ""),
        ("<comps>", "<comps><!DOCTYPE comps PUBLIC \"a\" \"b\">"),
    ] {
        assert!(Groups::parse(COMPS.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
    }
}

#[test]
fn advisories_are_read() {
    let text = r#"<updates><update from="x" status="final" type="security" version="2"><id>A-1</id><title>bash</title>
      <severity>Important</severity><issued date="2026-11-01 00:00:00"/><description>long</description>
      <references><reference href="https://example.org/CVE-2026-1" id="CVE-2026-1" type="cve" title="t"/></references>
      <pkglist><collection short="c"><name>c</name><module name="m" stream="1"/>
        <package name="bash" epoch="0" version="5.2" release="2" arch="x86_64" src="bash.src.rpm"><filename>bash.rpm</filename></package>
      </collection></pkglist></update></updates>"#;
    let advisories = read_advisories(text.as_bytes()).unwrap();
    let [advisory] = advisories.as_slice() else { panic!() };
    assert_eq!((&*advisory.id, &*advisory.kind, &*advisory.severity), ("A-1", "security", "Important"));
    assert_eq!(&*advisory.references[0].id, "CVE-2026-1");
    assert_eq!(advisory.packages[0].evr.to_string(), "5.2-2");
    for (from, to) in [("<id>A-1</id>", ""), ("epoch=\"0\"", "epoch=\"x\""), ("</updates>", "")] {
        assert!(read_advisories(text.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
    }
}

const MODULES: &str = r"---
document: modulemd
version: 2
data:
  name: tool
  stream: 1.10
  version: 820
  context: abcd
  description: >-
    three dashes
    --- in a text
  artifacts:
    rpms:
    - tool-2:1.0~rc1^git-3.azl3.x86_64
    - tool-2:1.0~rc1^git-3.azl3.src
...
---
document: modulemd
version: 2
data: { name: tool, stream: '2', artifacts: { rpms: ['tool-0:2-1.x86_64'] } }
---
document: modulemd-defaults
version: 1
data: { module: tool, stream: '2', profiles: {} }
---
document: modulemd-obsoletes
version: 1
data: { module: tool }
";

#[test]
fn packages_of_streams_that_are_not_active_are_hidden() {
    let modules = Modules::parse(MODULES).unwrap();
    assert_eq!(modules.streams[0].stream, "1.10");
    let mut package = read_primary(PRIMARY.as_bytes()).unwrap().remove(0);
    // The default stream is another.
    assert!(modules.filter(&BTreeMap::new()).hides(&package));
    let enabled: BTreeMap<String, String> = [("tool".to_owned(), "1.10".to_owned())].into();
    let filter = modules.filter(&enabled);
    assert!(!filter.hides(&package));
    // A package of no stream gives way to those of an active one.
    package.evr.version = "9".into();
    assert!(filter.hides(&package));
    package.name = "other".into();
    assert!(!filter.hides(&package));
    assert!(!Modules::default().filter(&BTreeMap::new()).hides(&package));
}

#[test]
fn modules_of_unknown_versions_are_refused() {
    for (from, to) in [
        ("version: 2\n", "version: 3\n"),
        ("version: 2\n", ""),
        ("document: modulemd\n", "document: modulemd-stream\n"),
        ("version: 1\n", "version: 2\n"),
        ("stream: '2', artifacts", "artifacts"),
        ("data: {", "data: ["),
    ] {
        assert!(MODULES.contains(from), "{from}");
        let error = Modules::parse(&MODULES.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains("in its document"), "{error}");
    }
    assert_eq!(Modules::parse("# nothing\n---\n...\n").unwrap(), Modules::default());
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n";
    let bomb =
        format!("{bomb}d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n");
    assert!(Modules::parse(&bomb).is_err());
}

#[test]
fn paths_stay_below_the_repository() {
    for good in ["a", "Packages/a/a-1^2~3+4.rpm", "./a", "a b", "repodata/x:y"] {
        assert!(inner_path(good).is_some(), "{good}");
    }
    for bad in
        ["", "/", "/a", "a//b", "a/", "a/../b", "..", "./../a", "http://x/a", "C:a", "a\\b", "a?b", "a#b", "a\nb"]
    {
        assert!(inner_path(bad).is_none(), "{bad}");
    }
    assert!(inner_path(&"a/".repeat(3000)).is_none());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_primary(bytes.as_slice());
        let _ = Repomd::parse(bytes.as_slice());
    }

    #[test]
    fn altered_documents_are_read_or_refused(at in 0usize..2600, cut in 0usize..40, what in "[<>&\"'/!?\\[\\]a-z=-]{0,6}") {
        for text in [PRIMARY, COMPS, MODULES] {
            let from = at.min(text.len());
            let to = (from + cut).min(text.len());
            let altered = format!("{}{what}{}", &text[..from], &text[to..]);
            let _ = read_primary(altered.as_bytes());
            let _ = Groups::parse(altered.as_bytes());
            let _ = read_advisories(altered.as_bytes());
            let _ = Modules::parse(&altered);
        }
    }
}

//! Package files against real rpm, and against the `rpm` crate: what they say of them.

mod package_files;

use std::process::Command;

use package_files::{CORNERS, CORNERS_INSTALL, accepted, build, run, spec, text, tools};
use providers::rpm::scripts::{Event, Phase};
use providers::rpm::{Payload, Scripts, header::tag};
use providers::unpack::Aliases;

const NEEDED: &[&str] = &["rpmbuild", "rpm"];

#[test]
fn the_list_is_the_one_that_rpm_reads() {
    if !tools(NEEDED) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let [package] = &build(scratch.path(), &spec("corner", "", CORNERS_INSTALL, CORNERS), &[])[..] else { panic!() };
    let format = "[%{FILENAMES}|%{FILEMODES:octal}|%{FILESIZES}|%{FILEMTIMES}|%{FILEDIGESTS}|%{FILELINKTOS}|\
                  %{FILEUSERNAME}|%{FILEGROUPNAME}|%{FILERDEVS}|%{FILEFLAGS}|%{FILEVERIFYFLAGS}|%{FILECAPS}\\n]";
    let theirs = text(&run(Command::new("rpm").args(["-qp", "--nosignature", "--qf", format]).arg(package)));
    let files = Payload::list(&accepted(package), &Aliases::merged_usr()).unwrap();
    let mine: String = files
        .iter()
        .map(|file| {
            use providers::rpm::payload::FileType::*;
            let kind = match file.kind {
                Regular => 0o100_000,
                Directory => 0o040_000,
                Symlink => 0o120_000,
                CharDevice => 0o020_000,
                _ => panic!(),
            };
            format!(
                "{}|{:o}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}\n",
                std::str::from_utf8(&file.path).unwrap(),
                file.mode | kind,
                file.size,
                file.mtime,
                hex::encode(&file.digest),
                std::str::from_utf8(&file.target).unwrap(),
                file.user,
                file.group,
                file.device,
                file.flags.0,
                file.verify,
                file.capabilities,
            )
        })
        .collect();
    assert_eq!(mine, theirs);
    let flags = |path: &str| files.iter().find(|file| &*file.path == path.as_bytes()).unwrap().flags;
    assert!(flags("/etc/corner/ghost").is_ghost());
    assert!(flags("/etc/corner/keep").is_not_replaced() && flags("/etc/corner/conf").is_config());
    assert!(files.iter().any(|file| &*file.path == b"/bin/literal" && file.place.as_bytes() == b"usr/bin/literal"));
}

#[test]
fn tags_are_those_that_rpm_reads() {
    if !tools(NEEDED) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let more =
        "Epoch: 4\nURL: https://example.org/\nRequires: (a if b)\nRequires(pre): c >= 1:2-3\nProvides: d = 5~rc1^git";
    let [package] = &build(scratch.path(), &spec("corner", more, CORNERS_INSTALL, CORNERS), &[])[..] else { panic!() };
    let package = accepted(package);
    let header = package.header();
    let query = |format: &str| {
        text(&run(Command::new("rpm").args(["-qp", "--nosignature", "--qf", format]).arg(package.path())))
    };
    assert_eq!(query("%{NAME} %{EPOCH} %{VERSION} %{RELEASE} %{ARCH} %{URL} %{SUMMARY}"), {
        let string = |tag| header.string(tag).unwrap();
        let epoch = header.u32(tag::EPOCH).unwrap();
        let (name, version, release) = (string(tag::NAME), string(tag::VERSION), string(tag::RELEASE));
        let (arch, url, summary) = (string(tag::ARCH), string(tag::URL), string(tag::SUMMARY));
        format!("{name} {epoch} {version} {release} {arch} {url} {summary}")
    });
    for (format, tag) in [("[%{REQUIRENAME}\\n]", tag::REQUIRENAME), ("[%{REQUIREVERSION}\\n]", tag::REQUIREVERSION)] {
        assert_eq!(
            query(format),
            header.strings(tag).unwrap().iter().map(|text| format!("{text}\n")).collect::<String>()
        );
    }
    let flags = header.u32_list(tag::REQUIREFLAGS).unwrap().map(|flags| format!("{flags}\n")).collect::<String>();
    assert_eq!(query("[%{REQUIREFLAGS}\\n]"), flags);
    assert_eq!(query("%{SHA256HEADER}"), {
        layers::Sha256::of(&[&[0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0], header.raw()].concat()).to_hex()
    });
    assert_eq!(query("%{SIGMD5}"), hex::encode(package.signature_header().bin(tag::signature::MD5).unwrap()));
}

/// Another reader finds the same values under the same tags.
#[test]
fn values_are_those_that_the_rpm_crate_reads() {
    if !tools(NEEDED) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let [package] = &build(scratch.path(), &spec("corner", "Epoch: 4", CORNERS_INSTALL, CORNERS), &[])[..] else {
        panic!()
    };
    let theirs = rpm::PackageMetadata::open(package).unwrap();
    let package = accepted(package);
    let number = |count: usize| u32::try_from(count).unwrap();
    let big = |bytes: Vec<Vec<u8>>| bytes.concat();
    let text = |text: String| [text.into_bytes(), vec![0]].concat();
    for (ours, theirs) in [
        (package.header(), theirs.header.get_all_entries().unwrap()),
        (package.signature_header(), theirs.signature.get_all_entries().unwrap()),
    ] {
        use rpm::IndexData::*;
        let mut found = Vec::new();
        for (tag, data) in theirs {
            let (kind, count, bytes) = match data {
                Null => (0, 0, Vec::new()),
                Char(bytes) => (1, number(bytes.len()), bytes),
                Int8(bytes) => (2, number(bytes.len()), bytes),
                Int16(all) => (3, number(all.len()), big(all.iter().map(|one| one.to_be_bytes().into()).collect())),
                Int32(all) => (4, number(all.len()), big(all.iter().map(|one| one.to_be_bytes().into()).collect())),
                Int64(all) => (5, number(all.len()), big(all.iter().map(|one| one.to_be_bytes().into()).collect())),
                StringTag(one) => (6, 1, text(one)),
                Bin(bytes) => (7, number(bytes.len()), bytes),
                StringArray(all) => (8, number(all.len()), big(all.into_iter().map(text).collect())),
                I18NString(all) => (9, number(all.len()), big(all.into_iter().map(text).collect())),
            };
            found.push((tag, kind, count, bytes));
        }
        // The region's own entry.
        found.retain(|(tag, ..)| *tag > 99);
        found.sort();
        let mine: Vec<_> = ours
            .tags()
            .map(|(tag, kind, count)| (tag.0, kind.number(), number(count), ours.value(tag).unwrap().1.to_vec()))
            .collect();
        assert!(mine.len() > 4);
        assert_eq!(mine, found);
    }
}

const SCRIPTS: &str = r#"
%pretrans -p <lua>
posix.mkdir("/x")
%pre
echo pre
%post -p /sbin/ldconfig
%posttrans -p "/bin/bash -e -u"
echo posttrans
%preun
echo preun
%postun -q
echo %{NAME}
%triggerprein -- early
echo triggerprein
%triggerin -- bash >= 5, dash < 1:2-3
echo triggerin
%triggerun -p <lua> -- bash
print("triggerun")
%triggerpostun -- bash = 1
echo triggerpostun
%filetriggerin -P 100 -- /usr/lib /usr/share/x
cat
%filetriggerun -- /etc
cat
%filetriggerpostun -- /etc
cat
%transfiletriggerin -p <lua> -P 2000200 -- /usr/lib/modules
print("x")
%transfiletriggerun -- /usr
cat
%transfiletriggerpostun -- /usr
cat
"#;

#[test]
fn scripts_are_those_that_rpm_reads() {
    if !tools(NEEDED) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let spec = format!("{}{SCRIPTS}", spec("scripts", "BuildArch: noarch", "", ""));
    let [package] = &build(scratch.path(), &spec, &[])[..] else { panic!() };
    let package = accepted(package);
    let scripts = Scripts::read(package.header()).unwrap();
    let program = |phase| scripts.scriptlet(phase).unwrap();
    assert_eq!(scripts.scriptlets.len(), 6);
    assert!(program(Phase::PreTrans).is_lua() && !program(Phase::Pre).is_lua());
    assert_eq!(program(Phase::Pre).script.as_deref(), Some(&b"echo pre"[..]));
    assert_eq!(
        (&*program(Phase::Post).interpreter[0], program(Phase::Post).script.as_deref()),
        ("/sbin/ldconfig", None)
    );
    let interpreter: Vec<&str> = program(Phase::PostTrans).interpreter.iter().map(|word| &**word).collect();
    assert_eq!(interpreter, ["/bin/bash", "-e", "-u"]);
    assert!(program(Phase::PostUn).query && !program(Phase::PreUn).query);
    // rpm's own list of triggers, and of file triggers.
    let query = |options: &[&str]| {
        text(&run(Command::new("rpm").args(["-qp", "--nosignature"]).args(options).arg(package.path())))
    };
    let events: Vec<Event> = scripts.triggers.iter().map(|trigger| trigger.event).collect();
    assert_eq!(events, [Event::PreIn, Event::In, Event::Un, Event::PostUn]);
    let conditions: Vec<String> = scripts.triggers[1]
        .conditions
        .iter()
        .map(|condition| {
            let (comparison, evr) = condition.versions.as_ref().unwrap();
            format!("{} {comparison:?} {evr}", condition.name)
        })
        .collect();
    assert_eq!(conditions, ["bash GreaterOrEqual 5", "dash Less 1:2-3"]);
    assert!(query(&["--triggers"]).contains("bash >= 5, dash < 1:2-3"));
    let listed: Vec<_> = scripts
        .file_triggers
        .iter()
        .map(|trigger| (trigger.per_transaction, trigger.event, trigger.priority, trigger.prefixes.len()))
        .collect();
    let usual = 1_000_000;
    assert_eq!(
        listed,
        [
            (false, Event::In, 100, 2),
            (false, Event::Un, usual, 1),
            (false, Event::PostUn, usual, 1),
            (true, Event::In, 2_000_200, 1),
            (true, Event::Un, usual, 1),
            (true, Event::PostUn, usual, 1),
        ]
    );
    assert_eq!(query(&["--qf", "[%{TRANSFILETRIGGERPRIORITIES} ]"]), "2000200 1000000 1000000 ");
}

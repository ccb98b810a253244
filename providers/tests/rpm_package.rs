//! Package files against real rpm: what `rpm --install` makes of them, and what it says of them.

mod package_files;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use layers::{Kind, TreePath};
use package_files::{build, root, run, spec, text, tools};
use providers::rpm::scripts::{Event, Phase};
use providers::rpm::{Payload, Scripts, Unverified, Verified, extract, header::tag};
use providers::unpack::Aliases;

const NEEDED: &[&str] = &["rpmbuild", "rpm", "gpg", "rpmsign"];

/// Files of every kind that rpmbuild lets a package have, but fifos, on which rpm 4.18 hangs.
const INSTALL: &str = r#"
mkdir -p %{buildroot}/usr/bin %{buildroot}/bin %{buildroot}/etc/corner %{buildroot}/var/lib/corner/deep/er
mkdir -p %{buildroot}/usr/share/doc/corner %{buildroot}/usr/lib/corner/links %{buildroot}/dev
seq 1 60000 > %{buildroot}/usr/bin/large
echo literal > %{buildroot}/bin/literal
echo setuid > %{buildroot}/usr/bin/setuid
echo capable > %{buildroot}/usr/bin/capable
echo two > %{buildroot}/usr/bin/capable-two
echo games > %{buildroot}/usr/bin/games
echo stranger > %{buildroot}/usr/bin/stranger
: > %{buildroot}/usr/lib/corner/empty
for each in b a c; do echo linked >> %{buildroot}/usr/lib/corner/links/one; done
ln %{buildroot}/usr/lib/corner/links/one %{buildroot}/usr/lib/corner/links/zero
ln %{buildroot}/usr/lib/corner/links/one %{buildroot}/usr/lib/corner/0-far
: > %{buildroot}/usr/lib/corner/links/empty-1
ln %{buildroot}/usr/lib/corner/links/empty-1 %{buildroot}/usr/lib/corner/links/empty-2
chmod 755 %{buildroot}/usr/bin/*  %{buildroot}/bin/*
ln -s ../lib/corner/empty %{buildroot}/usr/bin/relative
ln -s /nowhere/at/all %{buildroot}/usr/bin/dangling
echo conf > %{buildroot}/etc/corner/conf
echo keep > %{buildroot}/etc/corner/keep
echo ghost > %{buildroot}/etc/corner/ghost
echo "a name" > "%{buildroot}/usr/lib/corner/a name with blanks"
echo umlaut > %{buildroot}/usr/lib/corner/ü
touch -d @1000000000 %{buildroot}/usr/bin/setuid %{buildroot}/etc/corner/conf
touch -h -d @1100000000 %{buildroot}/usr/bin/relative
"#;

const FILES: &str = r#"
/usr/bin/large
/usr/bin/relative
/usr/bin/dangling
/bin/literal
%attr(4755, root, root) /usr/bin/setuid
%caps(cap_net_raw=ep) /usr/bin/capable
%caps(cap_net_admin,cap_net_raw=p) /usr/bin/capable-two
%attr(2755, root, games) /usr/bin/games
%attr(6750, strange-user, strange-group) /usr/bin/stranger
%dir %attr(0711, mail, root) /usr/lib/corner
/usr/lib/corner/*
%dir %attr(1777, root, root) /var/lib/corner
%attr(0600, daemon, daemon) %dir /var/lib/corner/deep/er
%config /etc/corner/conf
%config(noreplace) %attr(0640, root, mail) /etc/corner/keep
%ghost /etc/corner/ghost
%dev(c, 1, 3) %attr(0666, root, root) /dev/corner
%doc /usr/share/doc/corner
"#;

fn accepted(path: &Path) -> Verified {
    let digest = layers::Sha256::of(&std::fs::read(path).unwrap());
    Unverified::open(path).unwrap().accept(digest).unwrap()
}

/// Users or groups by name, as a system's file has them.
fn numbers(file: &Path) -> BTreeMap<String, u32> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
        })
        .collect()
}

/// What rpm made: a line for each path.
fn installed(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut by_inode: BTreeMap<u64, String> = BTreeMap::new();
    let mut waiting = vec![root.to_path_buf()];
    let mut paths = Vec::new();
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if std::fs::symlink_metadata(&path).unwrap().is_dir() {
                waiting.push(path.clone());
            }
            paths.push(path);
        }
    }
    paths.sort_by_key(|path| TreePath::new(path.strip_prefix(root).unwrap().as_os_str().as_encoded_bytes()).unwrap());
    for path in paths {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let place = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let mut caps = [0; 64];
        let length = rustix::fs::lgetxattr(&path, "security.capability", &mut caps).unwrap_or(0);
        let caps = hex::encode(&caps[..length]);
        let what = match meta.mode() & 0o170_000 {
            0o040_000 => "directory".to_owned(),
            0o120_000 => format!("link {} {}", std::fs::read_link(&path).unwrap().display(), meta.mtime()),
            0o100_000 => {
                let first = by_inode.entry(meta.ino()).or_insert_with(|| place.clone()).clone();
                format!("file {first} {} {caps} {}", meta.mtime(), layers::Blake3::of(&std::fs::read(&path).unwrap()))
            }
            _ => {
                format!("device {}:{} {}", rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()), meta.mtime())
            }
        };
        found.insert(place, format!("{:o} {}:{} {what}", meta.mode() & 0o7777, meta.uid(), meta.gid()));
    }
    found
}

/// What we made, in the same words.
fn ours(payload: &Payload, passwd: &Path, group: &Path) -> BTreeMap<String, String> {
    let (users, groups) = (numbers(passwd), numbers(group));
    let entries: BTreeMap<&TreePath, &layers::Entry> =
        payload.entries.iter().map(|(path, entry)| (path, entry)).collect();
    let mut found = BTreeMap::new();
    for (path, entry) in &payload.entries {
        let (first, real) = match &entry.kind {
            Kind::HardLink(first) => (first, entries[first]),
            _ => (path, entry),
        };
        let owner = payload.owners.get(first);
        let number = |name: Option<&[u8]>, known: &BTreeMap<String, u32>| match name {
            None | Some(b"root") => Some(0),
            Some(name) => known.get(std::str::from_utf8(name).unwrap()).copied(),
        };
        let user = number(owner.map(|owner| &*owner.user), &users);
        let group = number(owner.map(|owner| &*owner.group), &groups);
        // rpm takes root for who is not there, and then no setuid or setgid bit.
        let mode =
            real.meta.mode & !(if user.is_none() { 0o4000 } else { 0 } | if group.is_none() { 0o2000 } else { 0 });
        let caps = real.meta.xattrs.get(&b"security.capability"[..]).map(hex::encode).unwrap_or_default();
        let mtime = real.meta.mtime.seconds;
        let what = match &real.kind {
            Kind::Directory => "directory".to_owned(),
            Kind::Symlink(target) => format!("link {} {mtime}", target.escape_ascii()),
            Kind::File(content) => {
                format!("file {} {mtime} {caps} {}", std::str::from_utf8(first.as_bytes()).unwrap(), content.digest)
            }
            Kind::CharDevice { major, minor } => format!("device {major}:{minor} {mtime}"),
            other => panic!("{other:?}"),
        };
        let place = std::str::from_utf8(path.as_bytes()).unwrap().to_owned();
        found.insert(place, format!("{mode:o} {}:{} {what}", user.unwrap_or(0), group.unwrap_or(0)));
    }
    found
}

/// A merged /usr with users, where rpm can install.
fn prepare(root: &Path) {
    for directory in ["etc", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "var/lib/rpm"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    for file in ["etc/passwd", "etc/group"] {
        std::fs::copy(Path::new("/").join(file), root.join(file)).unwrap();
    }
}

fn install_by_rpm(root: &Path, package: &Path) {
    let mut command = Command::new("rpm");
    command.arg("--install").arg("--root").arg(root).args(["--dbpath", "/var/lib/rpm", "--nodeps", "--force-debian"]);
    run(command.args(["--noscripts", "--notriggers", "--nosignature"]).arg(package));
    // The database, and what it was before.
    std::fs::remove_dir_all(root.join("var/lib/rpm")).unwrap();
}

#[test]
fn trees_are_those_that_rpm_installs() {
    if !(tools(NEEDED) && root()) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let spec = spec("corner", "", INSTALL, FILES);
    for payload in ["w1.zstdio", "w9.gzdio", "w2.xzdio", "w2.lzdio", "w9.bzdio", "w.ufdio"] {
        let top = scratch.path().join(payload);
        let [package] = &build(&top, &spec, &[("_binary_payload", payload)])[..] else { panic!() };
        let (referee, made) = (top.join("root"), top.join("made"));
        prepare(&referee);
        install_by_rpm(&referee, package);
        std::fs::create_dir(&made).unwrap();
        let found = extract(&accepted(package), &made, &Aliases::merged_usr()).unwrap();
        let mut theirs = installed(&referee);
        let mut mine = ours(&found, &referee.join("etc/passwd"), &referee.join("etc/group"));
        for path in ["bin", "sbin", "lib", "lib64", "etc/passwd", "etc/group", "usr/sbin", "usr/lib64"] {
            theirs.remove(path);
        }
        // The directory that was prepared may have another mode.
        for path in ["etc", "usr", "usr/bin", "usr/lib", "var", "var/lib", "dev"] {
            assert!(found.implied.contains(&TreePath::new(path).unwrap()), "{path}");
            theirs.remove(path);
            mine.remove(path);
        }
        assert!(mine.len() > 25);
        for path in theirs.keys().chain(mine.keys()) {
            assert_eq!(mine.get(path), theirs.get(path), "{payload}: {path}");
        }
        // The comparison sees what it is for.
        let line = |path: &str| &theirs[path];
        assert!(
            line("usr/bin/capable").contains(" 0100000200200000") && line("usr/bin/setuid").starts_with("4755 0:0")
        );
        assert!(line("usr/bin/stranger").starts_with("750 0:0") && line("usr/bin/games").starts_with("2755 0:60 "));
        assert!(line("usr/lib/corner/links/zero").contains("file usr/lib/corner/0-far 1"));
        std::fs::write(referee.join("usr/bin/literal"), "other").unwrap();
        assert_ne!(installed(&referee)["usr/bin/literal"], mine["usr/bin/literal"]);
        // What lies on the host is what the entries say, as far as a plain user may have it.
        for (path, entry) in &found.entries {
            let host = path.under(&made);
            match &entry.kind {
                Kind::File(content) => {
                    let bytes = std::fs::read(&host).unwrap();
                    assert_eq!(layers::Content::of(&bytes), *content);
                    let mode = std::fs::metadata(&host).unwrap().permissions().mode() & 0o7777;
                    assert_eq!(mode, entry.meta.mode & 0o777 | 0o600);
                }
                Kind::HardLink(first) => {
                    let inode = |path: &Path| std::fs::metadata(path).unwrap().ino();
                    assert_eq!(inode(&host), inode(&first.under(&made)));
                }
                Kind::CharDevice { .. } => assert!(!host.exists()),
                _ => assert!(host.symlink_metadata().is_ok()),
            }
        }
    }
}

#[test]
fn the_list_is_the_one_that_rpm_reads() {
    if !tools(NEEDED) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let [package] = &build(scratch.path(), &spec("corner", "", INSTALL, FILES), &[])[..] else { panic!() };
    let format = "[%{FILENAMES}|%{FILEMODES:octal}|%{FILESIZES}|%{FILEMTIMES}|%{FILEDIGESTS}|%{FILELINKTOS}|\
                  %{FILEUSERNAME}|%{FILEGROUPNAME}|%{FILERDEVS}|%{FILEFLAGS}|%{FILEVERIFYFLAGS}|%{FILECAPS}\\n]";
    let theirs = text(&run(Command::new("rpm").args(["-qp", "--nosignature", "--qf", format]).arg(package)));
    let files = Payload::files(&accepted(package), &Aliases::merged_usr()).unwrap();
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
    let [package] = &build(scratch.path(), &spec("corner", more, INSTALL, FILES), &[])[..] else { panic!() };
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

/// How long a large package takes; run with `--ignored --nocapture`, best in release.
#[test]
#[ignore = "a measurement"]
fn speed_of_extraction() {
    let scratch = tempfile::tempdir().unwrap();
    let install = "mkdir -p %{buildroot}/usr/share/large\ncd %{buildroot}/usr/share/large\n\
                   for i in $(seq 1 3000); do head -c 100000 /dev/zero | openssl enc -aes-128-ctr -pass pass:$i -nosalt \
                   2>/dev/null | base64 > $i; done";
    let [package] = &build(scratch.path(), &spec("large", "", install, "/usr/share/large"), &[])[..] else { panic!() };
    let time = |what: &str, run: &mut dyn FnMut()| {
        let start = std::time::Instant::now();
        run();
        println!("{what}: {:?}", start.elapsed());
    };
    let mut package_file: Option<Verified> = None;
    time("verify", &mut || {
        package_file = Some(accepted(package));
    });
    let made: PathBuf = scratch.path().join("made");
    std::fs::create_dir(&made).unwrap();
    time("extract", &mut || drop(extract(package_file.as_ref().unwrap(), &made, &Aliases::default()).unwrap()));
    let root = scratch.path().join("root");
    prepare(&root);
    time("rpm --install", &mut || install_by_rpm(&root, package));
}

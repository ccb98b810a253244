//! Trees that packages make, against those that `rpm --install` makes of them.

mod package_files;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use layers::{Kind, TreePath};
use package_files::{CORNERS, CORNERS_INSTALL, accepted, build, root, run, spec, tools};
use providers::rpm::{Payload, Verified, extract, header::tag};
use providers::unpack::Aliases;

const NEEDED: &[&str] = &["rpmbuild", "rpm"];

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
    let spec = spec("corner", "", CORNERS_INSTALL, CORNERS);
    // Every compressor, and every kind of digest of files (RFC 9580, section 9.5).
    let payloads = ["w1.zstdio", "w9.gzdio", "w2.xzdio", "w2.lzdio", "w9.bzdio", "w.ufdio"];
    for (payload, digest) in payloads.into_iter().zip(["8", "1", "10", "2", "9", "8"]) {
        let top = scratch.path().join(payload);
        let [package] =
            &build(&top, &spec, &[("_binary_payload", payload), ("_binary_filedigest_algorithm", digest)])[..]
        else {
            panic!()
        };
        let (referee, made) = (top.join("root"), top.join("made"));
        prepare(&referee);
        install_by_rpm(&referee, package);
        std::fs::create_dir(&made).unwrap();
        let package = accepted(package);
        assert_eq!(package.header().u32(tag::FILEDIGESTALGO).unwrap_or(1).to_string(), digest);
        let found = extract(&package, &made, &Aliases::merged_usr()).unwrap();
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

/// The package that brings the aliases, and one that has a directory under an alias.
#[test]
fn aliases_are_where_rpm_leaves_them() {
    if !(tools(NEEDED) && root()) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let aliases = "mkdir -p %{buildroot}/usr/lib %{buildroot}/etc; ln -s usr/lib %{buildroot}/lib";
    let aliases = spec("filesystem", "", aliases, "%dir %attr(0711, root, root) /usr/lib\n/lib\n%dir /etc");
    let below = "mkdir -p %{buildroot}/lib/modules/x; echo x > %{buildroot}/lib/modules/x/y";
    let below = spec("below", "", below, "%dir %attr(0700, mail, mail) /lib\n%dir /lib/modules\n/lib/modules/x");
    let referee = scratch.path().join("root");
    for directory in ["var/lib/rpm", "etc"] {
        std::fs::create_dir_all(referee.join(directory)).unwrap();
    }
    for file in ["etc/passwd", "etc/group"] {
        std::fs::copy(Path::new("/").join(file), referee.join(file)).unwrap();
    }
    let mut mine = BTreeMap::new();
    for spec in [aliases, below] {
        let top = scratch.path().join(mine.len().to_string());
        let [package] = &build(&top, &spec, &[])[..] else { panic!() };
        install_by_rpm(&referee, package);
        let made = top.join("made");
        std::fs::create_dir(&made).unwrap();
        let mut payload = extract(&accepted(package), &made, &Aliases::merged_usr()).unwrap();
        // What is made up yields to what a package says.
        payload.entries.retain(|(path, _)| !payload.implied.contains(path));
        mine.extend(ours(&payload, &referee.join("etc/passwd"), &referee.join("etc/group")));
    }
    let mut theirs = installed(&referee);
    theirs.retain(|path, _| !path.starts_with("var") && !path.starts_with("etc/"));
    // The first package of all makes its own parents.
    theirs.remove("usr");
    assert_eq!(mine, theirs);
    assert!(theirs["lib"].contains("link usr/lib") && theirs["usr/lib"].starts_with("700 8:8"));
}

/// rpm writes the payload of packages with files of 4 GiB and more in another form; run with
/// `--ignored`, takes a minute and 9 GB of disk.
#[test]
#[ignore = "takes long and needs room"]
fn files_of_more_than_4_gib() {
    if !tools(NEEDED) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let install = "mkdir -p %{buildroot}/usr/share/large; cd %{buildroot}/usr/share/large\n\
                   truncate -s 4300M large; echo small > small; ln small linked; ln -s small link";
    let [package] = &build(scratch.path(), &spec("large", "", install, "/usr/share/large"), &[])[..] else { panic!() };
    let package = accepted(package);
    assert!(package.header().has(tag::LONGFILESIZES));
    let made = scratch.path().join("made");
    std::fs::create_dir(&made).unwrap();
    let payload = extract(&package, &made, &Aliases::default()).unwrap();
    assert_eq!(payload.entries.len(), 7);
    assert_eq!(std::fs::metadata(made.join("usr/share/large/large")).unwrap().len(), 4300 << 20);
    assert_eq!(std::fs::read(made.join("usr/share/large/linked")).unwrap(), b"small\n");
}

/// How long a large package takes; run with `--ignored --nocapture`, best in release.
#[test]
#[ignore = "a measurement"]
fn speed_of_extraction() {
    let scratch = tempfile::tempdir().unwrap();
    let install = "mkdir -p %{buildroot}/usr/share/large\ncd %{buildroot}/usr/share/large\n\
                   head -c 200000000 /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 -nosalt | base64 -w99 | split -b 90000";
    let [package] = &build(scratch.path(), &spec("large", "", install, "/usr/share/large"), &[])[..] else { panic!() };
    let time = |what: &str, run: &mut dyn FnMut()| {
        let start = std::time::Instant::now();
        let spent = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let before = spent();
        run();
        let spent = spent() - before;
        println!("{what}: {:?}, {}.{:03} s of this thread", start.elapsed(), spent.tv_sec, spent.tv_nsec / 1_000_000);
    };
    let mut package_file: Option<Verified> = None;
    time("verify", &mut || {
        package_file = Some(accepted(package));
    });
    let made = scratch.path().join("made");
    std::fs::create_dir(&made).unwrap();
    time("extract", &mut || drop(extract(package_file.as_ref().unwrap(), &made, &Aliases::default()).unwrap()));
    let root = scratch.path().join("root");
    prepare(&root);
    time("rpm --install", &mut || install_by_rpm(&root, package));
}

//! One or several of Debian's packages as one rpm.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tar::EntryType;

use super::changes::{CHANGES, Change};
use super::debian::{Deb, Entry};
use super::filesystem;
use super::relations::{Names, evr, is_kernel, provides, renamed};
use super::spec::{Spec, attributes};

/// Packages that systemd needs itself: what asks for it before they are in place would go round in
/// a circle, and its own %post applies every preset.
const BELOW_SYSTEMD: &[&str] = &["dbus", "systemd", "systemd-udev", "util-linux", "e2fsprogs", "kmod"];

/// The name of the package that has one of Debian's, and its place among those that it is made of.
pub fn place(deb: &Deb) -> (String, usize) {
    let (name, _) = renamed(deb.name());
    let found = CHANGES.iter().find(|change| change.name == name);
    let number = found.and_then(|change| change.debs.iter().position(|one| *one == deb.name()));
    (name, number.unwrap_or(0))
}

/// Makes the package's spec and its build root.
pub fn convert(work: &Path, name: &str, debs: &[Deb], names: &Names) -> Spec {
    let change = CHANGES.iter().find(|change| change.name == name && change.debs[0] == debs[0].name());
    let main = &debs[0];
    let (epoch, version, release) = evr(main.field("Version"));
    let mut spec = Spec::new(work, name, &version, &release);
    spec.epoch = epoch;
    spec.noarch = debs.iter().all(|deb| deb.field("Architecture") == "all");
    spec.summary = main.field("Description").split("  ").next().unwrap().split(" .").next().unwrap().to_owned();
    spec.summary.truncate(spec.summary.char_indices().nth(70).map_or(spec.summary.len(), |(at, _)| at));
    for deb in debs {
        take(&mut spec, deb, change, names);
    }
    if is_kernel(main.name()) {
        spec = as_kernel(spec, main);
    }
    if let Some(change) = change {
        spec = apply(spec, change);
    }
    spec.tags.sort();
    spec.tags.dedup();
    generic(spec)
}

/// Takes over a package's files and dependencies.
fn take(spec: &mut Spec, deb: &Deb, change: Option<&Change>, names: &Names) {
    deb.unpack(&spec.root());
    for Entry { path, kind, mode, owner, group } in deb.entries() {
        let only = change.map_or(&[][..], |change| change.only);
        if filesystem::has(&path) || !keep(&path) || !(only.is_empty() || only.contains(&path.as_str())) {
            continue;
        }
        let attributes = attributes(mode, &owner, &group);
        let directives = match kind {
            EntryType::Directory => format!("%dir {attributes}"),
            EntryType::Symlink => String::new(),
            _ => format!("{}{attributes}", kind_of(&path, deb)),
        };
        if kind == EntryType::Regular {
            let place = spec.root().join(&path[1..]);
            let executable = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
            fs::set_permissions(place, fs::Permissions::from_mode(executable)).unwrap();
        }
        spec.list(&path, &directives);
    }
    let me = spec.name.clone();
    let mut add = |lines: Vec<String>| spec.tags.extend(lines);
    if change.is_none_or(|change| change.only.is_empty()) {
        add(names.lines("Requires(pre)", deb.field("Pre-Depends"), &me));
        add(names.lines("Requires", deb.field("Depends"), &me));
        add(names.lines("Recommends", deb.field("Recommends"), &me));
        add(names.lines("Suggests", deb.field("Suggests"), &me));
        add(names.versioned("Conflicts", deb.field("Breaks"), &me));
        add(names.versioned("Conflicts", deb.field("Conflicts"), &me));
        add(provides(deb.field("Provides")));
    }
}

/// Whether an rpm distribution would have a file.
fn keep(path: &str) -> bool {
    const NOT: &[&str] = &[
        "/etc/init.d",
        "/etc/runit",
        "/etc/sv",
        "/etc/kernel/postinst.d",
        "/etc/kernel/postrm.d",
        "/usr/share/bug",
        "/usr/share/doc-base",
        "/usr/share/initramfs-tools",
        "/usr/share/lintian",
    ];
    !NOT.iter().any(|prefix| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// How rpm marks a file: configuration, documentation, a language.
fn kind_of(path: &str, deb: &Deb) -> String {
    if deb.conffiles.iter().any(|one| one == path) {
        return "%config(noreplace) ".to_owned();
    }
    if path.starts_with("/usr/share/doc/") {
        return if path.ends_with("/copyright") { "%license " } else { "%doc " }.to_owned();
    }
    let language = path.strip_prefix("/usr/share/locale/").and_then(|rest| rest.split_once('/'));
    language.map_or(String::new(), |(language, _)| format!("%lang({language}) "))
}

/// As Azure Linux has its kernel.
fn as_kernel(spec: Spec, deb: &Deb) -> Spec {
    let release = deb.name().strip_prefix("linux-image-").unwrap();
    let image = fs::read(spec.root().join(format!("boot/vmlinuz-{release}"))).unwrap();
    // A version has one hyphen at most.
    let uname = release.replace('-', "_");
    let mut spec = spec
        .file(&format!("/lib/modules/{release}/vmlinuz"), 0o755, image)
        .tagged(&format!(
            "Provides: kernel-uname-r = {uname}\nProvides: installonlypkg(kernel)\n\
             Requires: filesystem\nRequires(post): kmod coreutils\nRequires(postun): coreutils"
        ))
        .script(&format!("%post\n/sbin/depmod -a {release}"))
        .script("%postun\n:");
    for name in ["alias", "alias.bin", "builtin.alias.bin", "builtin.bin", "dep", "dep.bin", "devname", "softdep"]
        .into_iter()
        .chain(["symbols", "symbols.bin"])
    {
        spec.list(&format!("/lib/modules/{release}/modules.{name}"), "%ghost %attr(0644, root, root)");
    }
    spec.list(&format!("/boot/initramfs-{release}.img"), "%ghost %attr(0600, root, root)");
    spec
}

fn apply(mut spec: Spec, change: &Change) -> Spec {
    for (from, to) in change.moved {
        let (old, new) = (spec.root().join(&from[1..]), spec.root().join(&to[1..]));
        fs::create_dir_all(new.parent().unwrap()).unwrap();
        fs::rename(old, new).unwrap();
        spec.unlist(from);
        spec.list(to, &attributes(0o644, "root", "root"));
    }
    for (path, old, new) in change.edits {
        let place = spec.root().join(&path[1..]);
        let text = fs::read_to_string(&place).unwrap();
        assert!(text.contains(old), "{path} does not say {old}");
        fs::write(place, text.replace(old, new)).unwrap();
    }
    for (path, mode, text) in change.files {
        let directives = if path.starts_with("/etc") { "%config(noreplace) " } else { "" };
        spec = spec.file_of(path, &format!("{directives}{}", attributes(*mode, "root", "root")), text);
    }
    for (path, target) in change.links {
        spec = spec.link(path, target);
    }
    for (path, directives) in change.directives {
        if directives.starts_with("%dir") {
            fs::create_dir_all(spec.root().join(&path[1..])).unwrap();
        }
        // The link that a ghost will be.
        if *directives == "%ghost" {
            spec = spec.link(path, "nowhere");
        }
        spec.list(path, directives);
    }
    spec = spec.tagged(change.tags);
    if !change.accounts.is_empty() {
        spec = spec.tagged("Requires(pre): shadow-utils").script(&accounts(change));
    }
    change.scripts.split("\n\n").filter(|script| !script.is_empty()).fold(spec, Spec::script)
}

fn accounts(change: &Change) -> String {
    let lines = change.accounts.iter().map(|(name, number, home)| {
        let group = format!("getent group {name} > /dev/null || groupadd -r -g {number} {name}\n");
        let user = format!(
            "getent passwd {name} > /dev/null || \\\n  useradd -r -M -d {home} -u {number} -g {name} -s /bin/false {name}\n"
        );
        if home.is_empty() { group } else { group + &user }
    });
    format!("%pre\n{}", lines.collect::<String>())
}

/// What every package does that has libraries or units, if it does nothing of its own.
fn generic(spec: Spec) -> Spec {
    if spec.scripts.iter().any(|script| script.starts_with("%post\n") || script.starts_with("%post -p")) {
        return spec;
    }
    let units: BTreeSet<String> = spec.paths().filter_map(|path| unit(&spec, path)).collect();
    if !units.is_empty() && !BELOW_SYSTEMD.contains(&spec.name.as_str()) {
        let units: Vec<String> = units.into_iter().collect();
        let post = format!("%post\nif [ $1 -eq 1 ]; then\n  systemctl --no-reload preset {} || :\nfi", units.join(" "));
        return spec.tagged("Requires(post): systemd").script(&post);
    }
    let has_library = spec.paths().any(|path| {
        let (directory, name) = path.rsplit_once('/').unwrap();
        directory.ends_with("/lib/x86_64-linux-gnu") && name.starts_with("lib") && name.contains(".so.")
    });
    match has_library {
        true => spec.script("%post -p /sbin/ldconfig").script("%postun -p /sbin/ldconfig"),
        false => spec,
    }
}

/// The name of a unit that can be enabled.
fn unit(spec: &Spec, path: &str) -> Option<String> {
    let name = path.strip_prefix("/usr").unwrap_or(path).strip_prefix("/lib/systemd/system/")?;
    let text = fs::read_to_string(spec.root().join(&path[1..])).ok()?;
    (!name.contains(['/', '@']) && text.contains("[Install]")).then(|| name.to_owned())
}

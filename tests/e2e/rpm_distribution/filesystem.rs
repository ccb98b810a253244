//! The package `filesystem` in Azure Linux's shape: it goes in first, and makes what everything
//! else lies in.

use std::path::Path;

use super::debian::Deb;
use super::spec::Spec;

/// Names of directories in /usr that the root has as links.
const MERGED: &[(&str, &str)] =
    &[("/bin", "usr/bin"), ("/lib", "usr/lib"), ("/lib64", "usr/lib64"), ("/sbin", "usr/sbin")];

const DIRECTORIES: &[(&str, u32)] = &[
    ("/boot", 0o755),
    ("/boot/efi", 0o700),
    ("/dev", 0o755),
    ("/etc", 0o755),
    ("/etc/default", 0o755),
    ("/etc/ld.so.conf.d", 0o755),
    ("/etc/opt", 0o755),
    ("/etc/pam.d", 0o755),
    ("/etc/profile.d", 0o755),
    ("/etc/skel", 0o755),
    ("/etc/sysconfig", 0o755),
    ("/home", 0o755),
    ("/media", 0o755),
    ("/mnt", 0o755),
    ("/opt", 0o755),
    ("/proc", 0o555),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/srv", 0o755),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
    ("/usr", 0o755),
    ("/usr/bin", 0o755),
    ("/usr/include", 0o755),
    ("/usr/lib", 0o755),
    ("/usr/lib/x86_64-linux-gnu", 0o755),
    ("/usr/lib64", 0o755),
    ("/usr/libexec", 0o755),
    ("/usr/local", 0o755),
    ("/usr/local/bin", 0o755),
    ("/usr/local/lib", 0o755),
    ("/usr/local/sbin", 0o755),
    ("/usr/local/share", 0o755),
    ("/usr/sbin", 0o755),
    ("/usr/share", 0o755),
    ("/usr/share/doc", 0o755),
    ("/usr/share/info", 0o755),
    ("/usr/share/locale", 0o755),
    ("/usr/share/man", 0o755),
    ("/usr/share/man/man1", 0o755),
    ("/usr/share/man/man5", 0o755),
    ("/usr/share/man/man8", 0o755),
    ("/usr/src", 0o755),
    ("/var", 0o755),
    ("/var/cache", 0o755),
    ("/var/lib", 0o755),
    ("/var/lib/misc", 0o755),
    ("/var/local", 0o755),
    ("/var/log", 0o755),
    ("/var/mail", 0o755),
    ("/var/opt", 0o755),
    ("/var/spool", 0o755),
    ("/var/tmp", 0o1777),
];

const LINKS: &[(&str, &str)] = &[
    ("/etc/localtime", "../usr/share/zoneinfo/UTC"),
    ("/etc/mtab", "../proc/self/mounts"),
    ("/var/lock", "../run/lock"),
    ("/var/run", "../run"),
    ("/var/spool/mail", "../mail"),
];

/// Configuration: path, mode, text.
const FILES: &[(&str, u32, &str)] = &[
    ("/etc/fstab", 0o644, "# Written with the image.\n"),
    ("/etc/host.conf", 0o644, "multi on\n"),
    ("/etc/hosts", 0o644, "127.0.0.1 localhost\n::1 localhost\n"),
    (
        "/etc/profile",
        0o644,
        "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin\n\
         for script in /etc/profile.d/*.sh; do\n  [ ! -r \"$script\" ] || . \"$script\"\ndone\nunset script\n",
    ),
    ("/etc/securetty", 0o600, "console\ntty1\nttyS0\n"),
];

/// Whether a path is this package's: other packages leave it out.
pub fn has(path: &str) -> bool {
    // A directory below a link is the directory that the link leads to.
    let usr = format!("/usr{path}");
    let in_list = |path: &str| DIRECTORIES.iter().any(|(one, _)| *one == path);
    MERGED.iter().any(|(one, _)| *one == path) || in_list(path) || (merged(path) && in_list(&usr))
}

fn merged(path: &str) -> bool {
    MERGED.iter().any(|(one, _)| path.strip_prefix(one).is_some_and(|rest| rest.starts_with('/')))
}

/// Makes the package; Debian's accounts are the system's.
pub fn make(work: &Path, base_passwd: &Deb) -> Spec {
    let mut spec = Spec::new(work, "filesystem", "1.1", "21").script(&pretrans());
    spec.summary = "The directories and links that everything lies in".to_owned();
    for (path, mode) in DIRECTORIES {
        spec = spec.directory(path, *mode, "root", "root");
    }
    spec = spec.directory("/var/mail", 0o2775, "root", "root");
    for (path, target) in MERGED.iter().chain(LINKS) {
        spec = spec.link(path, target);
    }
    for (path, mode, text) in FILES {
        spec = spec.file_of(path, &format!("%config(noreplace) %attr({mode:04o}, root, root)"), text);
    }
    let master = |name: &str| {
        let content = base_passwd.content(&format!("/usr/share/base-passwd/{name}.master"));
        String::from_utf8(content).unwrap().replace(":*:", ":x:")
    };
    let (passwd, group) = (master("passwd"), master("group"));
    // 2024-01-01 in days.
    let shadow: String = names(&passwd).map(|name| format!("{name}:*:19723:0:99999:7:::\n")).collect();
    let gshadow: String = names(&group).map(|name| format!("{name}:*::\n")).collect();
    for (path, mode, text) in [
        ("/etc/passwd", "0644", &passwd),
        ("/etc/group", "0644", &group),
        ("/etc/shadow", "0600", &shadow),
        ("/etc/gshadow", "0600", &gshadow),
    ] {
        let not = "%verify(not md5 size mtime) %config(noreplace)";
        spec = spec.file_of(path, &format!("{not} %attr({mode}, root, root)"), text);
    }
    spec
}

fn names(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter_map(|line| line.split(':').next())
}

/// Before anything is there, a shell neither: Lua, which rpm has in itself.
fn pretrans() -> String {
    let mut lines = vec!["%pretrans -p <lua>".to_owned()];
    for path in ["/usr", "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/sbin", "/proc", "/sys", "/dev", "/run", "/var"] {
        lines.push(format!("posix.mkdir(\"{path}\")"));
    }
    for (path, target) in MERGED {
        lines.push(format!("posix.symlink(\"{target}\", \"{path}\")"));
    }
    lines.push("posix.chmod(\"/proc\", \"0555\")\nposix.chmod(\"/sys\", \"0555\")".to_owned());
    lines.push("return 0".to_owned());
    lines.join("\n")
}

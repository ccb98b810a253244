//! Packages made for the corners of the format: each has one thing that few packages have.

use std::path::Path;

use super::spec::Spec;

/// Every corner package, the newest version of each last.
pub fn make(work: &Path) -> Vec<Spec> {
    let mut specs = files(work);
    specs.extend(owners(work));
    specs.extend(payloads(work));
    specs
}

/// A small package for every machine, with a file by its name.
pub fn small(work: &Path, name: &str, version: &str, release: &str) -> Spec {
    let text = format!("{name} {version}-{release}\n");
    Spec::new(work, name, version, release).for_all_machines().file(&format!("/usr/share/corner/{name}"), 0o644, text)
}

fn files(work: &Path) -> Vec<Spec> {
    let script = "#!/bin/sh\necho corner\n";
    let literal = small(work, "corner-literal", "1.0", "1")
        .file("/bin/corner-literal", 0o755, script)
        .file("/sbin/corner-literal-admin", 0o750, script)
        .file("/lib/corner/data", 0o644, "data\n")
        .file("/lib64/corner.so", 0o755, "not a library\n")
        .link("/bin/corner-link", "corner-literal")
        .tagged("Requires: /bin/grep /sbin/ldconfig /bin/sh\nRequires: filesystem");

    let hard = small(work, "corner-hardlinks", "1.0", "1")
        .file("/usr/libexec/corner/first", 0o755, script.repeat(100))
        .hard_link("/usr/libexec/corner/second", "/usr/libexec/corner/first")
        .hard_link("/bin/corner-third", "/usr/libexec/corner/first")
        .file_of("/usr/libexec/corner/suid-first", "%attr(4755, root, root)", "#!/bin/sh\n: of root\n")
        .hard_link("/usr/libexec/corner/suid-second", "/usr/libexec/corner/suid-first")
        .file("/usr/libexec/corner/empty-first", 0o644, "")
        .hard_link("/usr/libexec/corner/empty-second", "/usr/libexec/corner/empty-first");

    let modes = small(work, "corner-setuid", "1.0", "1")
        .file("/usr/bin/corner-setuid", 0o4755, script)
        .file_of("/usr/bin/corner-setgid", "%attr(2755, root, tty)", script)
        .file_of("/usr/bin/corner-both", "%attr(6711, daemon, mail)", script)
        .file("/usr/share/corner/none", 0o000, "nobody reads this\n")
        .directory("/var/lib/corner/sticky", 0o1777, "root", "root")
        .directory("/var/lib/corner/setgid", 0o2775, "root", "mail");

    let caps = small(work, "corner-caps", "1.0", "1")
        .file_of("/usr/bin/corner-caps", "%attr(0750, root, adm) %caps(cap_net_raw,cap_net_admin=ep)", script)
        .file_of("/usr/bin/corner-caps-inherited", "%caps(cap_sys_time=eip)", script);

    let mut ghosts = small(work, "corner-ghosts", "1.0", "1")
        .directory("/var/log/corner", 0o755, "root", "root")
        .link("/var/lib/corner/ghost-link", "nowhere")
        .script("%post\necho made > /var/log/corner/made\nchmod 640 /var/log/corner/made");
    ghosts.list("/var/log/corner/made", "%ghost %attr(0640, root, root)");
    ghosts.list("/var/log/corner/never", "%ghost %attr(0600, root, adm)");
    ghosts.list("/var/lib/corner/ghost-link", "%ghost");

    let config = small(work, "corner-config", "1.0", "1")
        .file_of("/etc/corner/plain.conf", "%config %attr(0644, root, root)", "a=1\n")
        .file_of("/etc/corner/kept.conf", "%config(noreplace) %attr(0640, root, adm)", "b=2\n")
        .file_of("/etc/corner/missing.conf", "%config(missingok) %attr(0644, root, root)", "c=3\n")
        .file_of("/usr/share/doc/corner-config/README", "%doc", "Read me.\n")
        .file_of("/usr/share/doc/corner-config/LICENSE", "%license", "A licence.\n")
        .script("%post\nrm /etc/corner/missing.conf");

    let verify = small(work, "corner-verify", "1.0", "1")
        .file_of("/var/lib/corner/grown", "%verify(not md5 size mtime) %attr(0644, root, root)", "line\n")
        .file_of("/var/lib/corner/lent", "%verify(not user group mode) %attr(0644, root, root)", "line\n")
        .script("%post\necho line >> /var/lib/corner/grown\nchown mail:mail /var/lib/corner/lent");

    let named = Spec::new(work, "corner-unicode", "1.0", "1")
        .for_all_machines()
        .file("/usr/share/corner/grüße-日本.txt", 0o644, "grüße\n")
        .file("/usr/share/corner/with space", 0o644, "space\n")
        .file("/usr/share/corner/[", 0o644, "bracket\n")
        .file("/usr/share/corner/100%", 0o644, "per cent\n")
        .file("/usr/share/corner/back\\slash", 0o644, "backslash\n")
        .file("/usr/share/corner/*", 0o644, "star\n")
        .file(&format!("/usr/share/corner/{}", "long".repeat(60)), 0o644, "long\n")
        .link("/usr/share/corner/link to nowhere", "/no/such/place");

    // Neither compresses well nor is it all alike.
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let mut content: Vec<u8> = noise.take(6 << 20).collect();
    content.extend(vec![0; 6 << 20]);
    let large = Spec::new(work, "corner-large", "1.0", "1").file("/usr/share/corner/large", 0o644, content);

    let empty = Spec::new(work, "corner-empty", "1.0", "1").for_all_machines();
    let directories = Spec::new(work, "corner-directories", "1.0", "1")
        .for_all_machines()
        .directory("/srv/corner", 0o750, "root", "adm")
        .directory("/srv/corner/empty", 0o700, "root", "root");
    vec![literal, hard, modes, caps, ghosts, config, verify, named, large, empty, directories]
}

/// Files of users that another package makes, or systemd.
fn owners(work: &Path) -> Vec<Spec> {
    let users = small(work, "corner-users", "1.0", "1")
        .tagged("Requires(pre): shadow-utils\nProvides: user(corner)\nProvides: group(corner)")
        .script(
            "%pre\ngetent group corner > /dev/null || groupadd -r -g 777 corner\n\
             getent passwd corner > /dev/null || useradd -r -M -u 777 -g corner -d /var/lib/corner -s /bin/false corner",
        )
        .file_of("/var/lib/corner/own", "%attr(0640, corner, corner)", "of the package's own user\n");
    let owned = small(work, "corner-owned", "1.0", "1")
        .tagged("Requires(pre): user(corner) group(corner)")
        .file_of("/var/lib/corner/foreign", "%attr(0600, corner, mail)", "of another package's user\n")
        .directory("/var/lib/corner/foreign.d", 0o2770, "corner", "corner")
        .file_of("/usr/bin/corner-foreign-setuid", "%attr(4750, corner, adm)", "#!/bin/sh\n");
    let sysusers = small(work, "corner-sysusers", "1.0", "1")
        .tagged("Requires: systemd")
        .file("/usr/lib/sysusers.d/corner.conf", 0o644, "u corner-sys 778 \"A corner\" /var/lib/corner-sys\n")
        .file("/usr/lib/tmpfiles.d/corner.conf", 0o644, "d /var/lib/corner-sys 0750 corner-sys corner-sys -\n")
        .file(
            "/usr/lib/systemd/system/corner.service",
            0o644,
            "[Unit]\nDescription=A corner\n[Service]\nType=oneshot\nExecStart=/bin/true\n\
             [Install]\nWantedBy=multi-user.target\n",
        )
        .file("/usr/lib/systemd/system-preset/70-corner.preset", 0o644, "enable corner.service\n")
        .script("%post\nsystemctl --no-reload preset corner.service || :");
    vec![users, owned, sysusers]
}

/// Each compression of a payload, and digests of files other than the usual.
fn payloads(work: &Path) -> Vec<Spec> {
    let with = |name: &str, definition: &str| {
        let text = format!("{name}\n").repeat(5000);
        Spec::new(work, name, "1.0", "1")
            .with_macro(definition)
            .file(&format!("/usr/share/corner/{name}"), 0o644, text)
            .directory(&format!("/usr/share/corner/{name}.d"), 0o755, "root", "root")
    };
    vec![
        with("corner-payload-bzip2", "_binary_payload w9.bzdio"),
        with("corner-payload-gzip", "_binary_payload w9.gzdio"),
        with("corner-payload-lzma", "_binary_payload w2.lzdio"),
        with("corner-payload-none", "_binary_payload w.ufdio"),
        with("corner-payload-xz", "_binary_payload w2.xzdio"),
        with("corner-payload-zstd", "_binary_payload w19.zstdio"),
        with("corner-digest-md5", "_binary_filedigest_algorithm 1"),
        with("corner-digest-sha512", "_binary_filedigest_algorithm 10"),
    ]
}

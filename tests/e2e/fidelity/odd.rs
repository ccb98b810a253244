//! Packages whose unpacking is more than laying files: each shows one thing that dpkg does.

use crate::wrong::archive::Shipped::{Directory, File, HardLink, Symlink};
use crate::wrong::archive::{Package, Shipped};

const PREINST: &str = "DEBIAN/preinst";
const POSTINST: &str = "DEBIAN/postinst";
const CONFFILES: &str = "DEBIAN/conffiles";

fn package(name: &'static str, fields: &'static str, entries: Vec<(&'static str, Shipped)>) -> Package {
    Package { name, fields, entries }
}

fn script(text: &'static str) -> Shipped {
    File(text, "755")
}

fn file(text: &'static str) -> Shipped {
    File(text, "644")
}

/// The packages that are installed together.
pub fn names() -> Vec<&'static str> {
    packages().iter().map(|package| package.name).filter(|name| !name.starts_with("odd-clash")).collect()
}

/// All of them.
pub fn packages() -> Vec<Package> {
    [diversions(), overrides(), replaced(), links(), the_rest(), clashes()].into_iter().flatten().collect()
}

fn diversions() -> Vec<Package> {
    vec![
        package(
            "odd-tool",
            "",
            vec![
                ("usr/bin/odd-tool", File("the tool\n", "4755")),
                ("usr/bin/odd-tool-2", HardLink("usr/bin/odd-tool")),
                ("etc/odd/tool.conf", file("of the tool\n")),
                (CONFFILES, file("/etc/odd/tool.conf\n")),
            ],
        ),
        // Takes the place of a file that is there, of one that comes later, and of conffiles.
        package(
            "odd-wrap",
            "Pre-Depends: odd-tool\n",
            vec![
                (
                    PREINST,
                    script(
                        "#!/bin/sh\nset -e\nfor name in /usr/bin/odd-tool /usr/bin/odd-late /etc/odd/tool.conf /etc/odd/late.conf; do\n\
                         dpkg-divert --package odd-wrap --add --rename --divert $name.distrib $name\ndone\n",
                    ),
                ),
                ("usr/bin/odd-tool", File("the wrapper\n", "755")),
                ("usr/bin/odd-late", File("the other wrapper\n", "755")),
            ],
        ),
        package(
            "odd-late",
            "Pre-Depends: odd-wrap\n",
            vec![
                ("usr/bin/odd-early-name", File("late\n", "2755")),
                ("usr/bin/odd-late", HardLink("usr/bin/odd-early-name")),
                ("usr/bin/odd-later-name", HardLink("usr/bin/odd-early-name")),
                ("etc/odd/late.conf", file("of the late one\n")),
                (CONFFILES, file("/etc/odd/late.conf\n")),
            ],
        ),
        // Diverts only while it is unpacked; what comes afterwards keeps its name.
        package(
            "odd-brief",
            "",
            vec![
                (
                    PREINST,
                    script(
                        "#!/bin/sh\nset -e\ndpkg-divert --package odd-brief --add --no-rename --divert /usr/share/odd/brief.away /usr/share/odd/brief\n",
                    ),
                ),
                (
                    POSTINST,
                    script(
                        "#!/bin/sh\nset -e\ndpkg-divert --package odd-brief --remove --no-rename /usr/share/odd/brief\n",
                    ),
                ),
                ("usr/share/odd/of-brief", file("")),
            ],
        ),
        package("odd-briefed", "Pre-Depends: odd-brief\n", vec![("usr/share/odd/brief", file("brief\n"))]),
        // A diversion that a postinst makes of a file that is there, and takes back again.
        package(
            "odd-returned",
            "",
            vec![
                ("usr/share/odd/returned", file("returned\n")),
                ("usr/share/odd/moved", file("moved\n")),
                (
                    POSTINST,
                    script(
                        "#!/bin/sh\nset -e\nfor name in returned moved; do\n\
                         dpkg-divert --local --add --rename --divert /usr/share/odd/$name.away /usr/share/odd/$name\ndone\n\
                         dpkg-divert --local --remove --rename /usr/share/odd/returned\n",
                    ),
                ),
            ],
        ),
        // Of the local system: holds for every package, and for names of a merged /usr as they are spelled.
        package(
            "odd-local",
            "",
            vec![
                (
                    PREINST,
                    script(
                        "#!/bin/sh\nset -e\nmkdir -p /usr/share/odd-local\nfor name in /usr/share/odd-local/file /lib/odd-spelled; do\n\
                         dpkg-divert --local --add --rename --divert $name.away $name\ndone\n",
                    ),
                ),
                ("usr/share/odd-local/file", file("its own\n")),
            ],
        ),
        package(
            "odd-spelled",
            "Pre-Depends: odd-local\n",
            vec![("lib/odd-spelled", file("below /lib\n")), ("usr/lib/odd-spelled-2", file("below /usr/lib\n"))],
        ),
    ]
}

fn overrides() -> Vec<Package> {
    vec![
        package(
            "odd-owner",
            "",
            vec![(
                PREINST,
                script(
                    "#!/bin/sh\nset -e\ndpkg-statoverride --add root daemon 2750 /usr/bin/odd-owned\n\
                     dpkg-statoverride --add daemon daemon 1770 /var/lib/odd-owned\n\
                     dpkg-statoverride --add daemon daemon 4700 /usr/bin/odd-owned-a\n\
                     dpkg-statoverride --add root daemon 2710 /usr/bin/odd-owned-c\n\
                     dpkg-statoverride --add '#7' '#8' 0640 /usr/share/odd/owned\n\
                     dpkg-statoverride --add daemon root 0600 /usr/share/odd/owned-later\n",
                ),
            )],
        ),
        package(
            "odd-owned",
            "Pre-Depends: odd-owner\n",
            vec![
                ("usr/bin/odd-owned", File("owned\n", "755")),
                // Of a file's names it is the archive's last that counts.
                ("usr/bin/odd-owned-a", File("owned\n", "755")),
                ("usr/bin/odd-owned-b", HardLink("usr/bin/odd-owned-a")),
                ("usr/bin/odd-owned-c", HardLink("usr/bin/odd-owned-a")),
                ("var/lib/odd-owned", Directory("755")),
                ("usr/share/odd/owned", file("owned\n")),
                ("usr/share/odd/owned-later", file("owned\n")),
                (POSTINST, script("#!/bin/sh\nset -e\ndpkg-statoverride --remove /usr/share/odd/owned-later\n")),
            ],
        ),
    ]
}

fn replaced() -> Vec<Package> {
    vec![
        package(
            "odd-old",
            "",
            vec![
                ("usr/share/odd/taken", file("of the old one\n")),
                ("usr/share/odd/left", file("left\n")),
                ("etc/odd/taken.conf", file("of the old one\n")),
                (CONFFILES, file("/etc/odd/taken.conf\n")),
            ],
        ),
        package(
            "odd-new",
            "Pre-Depends: odd-old\nReplaces: odd-old (<< 2)\n",
            vec![
                ("usr/share/odd/taken", File("of the new one\n", "755")),
                ("etc/odd/taken.conf", file("of the new one\n")),
                (CONFFILES, file("/etc/odd/taken.conf\n")),
            ],
        ),
        package("odd-first", "Replaces: odd-second\n", vec![("usr/share/odd/kept", file("of the first one\n"))]),
        package(
            "odd-second",
            "Pre-Depends: odd-first\n",
            vec![("usr/share/odd/kept", file("of the second one\n")), ("usr/share/odd/second", file("second\n"))],
        ),
    ]
}

fn links() -> Vec<Package> {
    vec![
        package(
            "odd-link",
            "",
            vec![
                ("usr/share/odd-real/of-link", file("of the link\n")),
                ("usr/share/odd-real/sub", Directory("750")),
                ("usr/share/odd-link", Symlink("odd-real")),
                ("usr/share/odd-same", Symlink("odd-real")),
            ],
        ),
        // A directory where the image has a link to one.
        package(
            "odd-through",
            "Pre-Depends: odd-link\n",
            vec![
                ("usr/share/odd-link/through", file("through\n")),
                ("usr/share/odd-link/sub/through", file("through\n")),
                ("usr/share/odd-link/new/through", File("through\n", "4711")),
                ("usr/share/odd-same", Symlink("/usr/share/odd-real")),
            ],
        ),
        // The same, with a link that a script made.
        package(
            "odd-made",
            "",
            vec![
                (PREINST, script("#!/bin/sh\nset -e\nmkdir -p /srv/odd\nln -s /srv/odd /usr/share/odd-made\n")),
                ("usr/share/odd-made/file", file("made\n")),
            ],
        ),
        // A link where the image has a directory.
        package("odd-dir", "", vec![("usr/share/odd-dir/of-dir", file("of the directory\n"))]),
        package(
            "odd-dirlink",
            "Pre-Depends: odd-dir\n",
            vec![
                ("usr/share/odd-dir", Symlink("odd-elsewhere")),
                ("usr/share/odd-elsewhere/file", file("elsewhere\n")),
            ],
        ),
    ]
}

fn the_rest() -> Vec<Package> {
    vec![
        // The first directory's owner and mode stay.
        package("odd-mode-a", "", vec![("var/lib/odd-mode", Directory("700"))]),
        package("odd-mode-b", "Pre-Depends: odd-mode-a\n", vec![("var/lib/odd-mode/file", file("mode\n"))]),
        // One file under two names of a merged /usr: to dpkg two files, of which the later wins.
        package(
            "odd-alias-a",
            "",
            vec![("lib/odd-alias", file("below /lib\n")), ("bin/odd-alias", File("bin\n", "755"))],
        ),
        package("odd-alias-b", "Pre-Depends: odd-alias-a\n", vec![("usr/lib/odd-alias", file("below /usr/lib\n"))]),
        // A preinst that needs another package configured.
        package("odd-needed", "", vec![(POSTINST, script("#!/bin/sh\nset -e\necho ready >/var/lib/odd-needed\n"))]),
        package(
            "odd-needing",
            "Pre-Depends: odd-needed\n",
            vec![
                (
                    PREINST,
                    script(
                        "#!/bin/sh\nset -e\ngrep -q ready /var/lib/odd-needed\n\
                         test \"$(dpkg-query -W -f '${db:Status-Status}' odd-needed)\" = installed\n\
                         test ! -e /usr/share/odd/needing\n",
                    ),
                ),
                ("usr/share/odd/needing", file("needing\n")),
            ],
        ),
        package(
            "odd-choice-a",
            "",
            vec![
                ("usr/bin/odd-choice-a", File("a\n", "755")),
                (
                    POSTINST,
                    script(
                        "#!/bin/sh\nset -e\nupdate-alternatives --install /usr/bin/odd-choice odd-choice /usr/bin/odd-choice-a 10\n",
                    ),
                ),
            ],
        ),
        package(
            "odd-choice-b",
            "",
            vec![
                ("usr/bin/odd-choice-b", File("b\n", "755")),
                ("usr/share/odd/choice-b.1", file("b\n")),
                (
                    POSTINST,
                    script(
                        "#!/bin/sh\nset -e\nupdate-alternatives --install /usr/bin/odd-choice odd-choice /usr/bin/odd-choice-b 20 \
                         --slave /usr/share/odd/choice.1 odd-choice.1 /usr/share/odd/choice-b.1\n",
                    ),
                ),
            ],
        ),
        package(
            "odd-same",
            "Multi-Arch: same\n",
            vec![("usr/share/odd/same", file("same\n")), (POSTINST, script("#!/bin/sh\ntrue\n"))],
        ),
    ]
}

/// Two packages with one file, and nothing said of it.
fn clashes() -> Vec<Package> {
    vec![
        package("odd-clash-a", "", vec![("usr/share/odd/clash", file("same\n"))]),
        package("odd-clash-b", "Pre-Depends: odd-clash-a\n", vec![("usr/share/odd/clash", file("same\n"))]),
        package(
            "odd-clash-c",
            "Pre-Depends: odd-old\nReplaces: odd-old (<< 1)\n",
            vec![("usr/share/odd/taken", file("c\n"))],
        ),
        package("odd-clash-d", "Pre-Depends: odd-wrap\n", vec![("usr/bin/odd-tool.distrib", file("d\n"))]),
    ]
}

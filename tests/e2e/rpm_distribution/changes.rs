//! What the distribution has otherwise than Debian: names, files, and in place of Debian's
//! maintainer scripts those that an rpm distribution of Azure Linux's kind would have.

/// Users and groups that a package makes in %pre: name, number, home.
pub type Account = (&'static str, u32, &'static str);

pub struct Change {
    pub name: &'static str,
    /// Debian's packages that it is made of; the first lends its version.
    pub debs: &'static [&'static str],
    /// Lines of the preamble.
    pub tags: &'static str,
    /// Scriptlets and triggers, with an empty line before each.
    pub scripts: &'static str,
    pub accounts: &'static [Account],
    /// Directives by path, for what Debian's scripts change or make.
    pub directives: &'static [(&'static str, &'static str)],
    /// Files that Debian's scripts would write: path, mode, text.
    pub files: &'static [(&'static str, u32, &'static str)],
    pub links: &'static [(&'static str, &'static str)],
    /// Files that are in another place: from, to.
    pub moved: &'static [(&'static str, &'static str)],
    /// What a file says and what it says here.
    pub edits: &'static [(&'static str, &'static str, &'static str)],
    /// Where not empty: no others but these.
    pub only: &'static [&'static str],
}

/// Only the name differs, or what belongs together.
const fn of(name: &'static str, debs: &'static [&'static str]) -> Change {
    Change {
        name,
        debs,
        tags: "",
        scripts: "",
        accounts: &[],
        directives: &[],
        files: &[],
        links: &[],
        moved: &[],
        edits: &[],
        only: &[],
    }
}

/// Debian's own machinery, what is made by hand here, and what only that needs.
pub const DROPPED: &[&str] = &[
    "adduser",
    "base-files",
    "base-passwd",
    "debconf",
    "gcc-12-base",
    "grub-common",
    "grub-efi-amd64-bin",
    "grub2-common",
    "init-system-helpers",
    "libdebconfclient0",
    "libfile-find-rule-perl",
    "libnumber-compare-perl",
    "libperl5.36",
    "libtext-glob-perl",
    "linux-base",
    "linux-image-cloud-amd64",
    "lsb-base",
    "mokutil",
    "perl",
    "perl-modules-5.36",
    "runit-helper",
    "sgml-base",
    "shim-helpers-amd64-signed",
    "shim-signed-common",
    "shim-unsigned",
    "ucf",
    "usrmerge",
    "xml-core",
];

const LDCONFIG: &str = "%post -p /sbin/ldconfig\n\n%postun -p /sbin/ldconfig";

pub const CHANGES: &[Change] = &[
    Change {
        only: &[
            "/usr/bin/update-alternatives",
            "/etc/alternatives/README",
            "/usr/share/man/man1/update-alternatives.1.gz",
        ],
        ..of("alternatives", &["dpkg"])
    },
    Change {
        tags: "Provides: /usr/bin/bash\nProvides: /usr/bin/sh",
        links: &[("/bin/sh", "bash")],
        scripts: "%post
known=
[ ! -e /etc/shells ] || known=$(</etc/shells)
for shell in /bin/sh /bin/bash /usr/bin/bash; do
  case \"$known\" in *\"$shell\"*) ;; *) echo \"$shell\" >> /etc/shells ;; esac
done",
        directives: &[("/etc/shells", "%ghost %config(noreplace) %attr(0644, root, root)")],
        ..of("bash", &["bash"])
    },
    Change {
        tags: "Requires(post): coreutils findutils\nRequires(posttrans): openssl",
        scripts: "%post
cd /usr/share/ca-certificates && find . -name '*.crt' | LC_ALL=C sort | sed 's,^[.]/,,' > /etc/ca-certificates.conf

%posttrans
update-ca-certificates --fresh > /dev/null",
        directives: &[
            ("/etc/ca-certificates.conf", "%ghost %config(noreplace) %attr(0644, root, root)"),
            ("/etc/ssl/certs/ca-certificates.crt", "%ghost %attr(0644, root, root)"),
        ],
        ..of("ca-certificates", &["ca-certificates"])
    },
    of("cloud-utils-growpart", &["cloud-guest-utils"]),
    Change {
        accounts: &[("crontab", 23, "")],
        directives: &[
            ("/usr/bin/crontab", "%attr(2755, root, crontab)"),
            ("/var/spool/cron/crontabs", "%dir %attr(1730, root, crontab)"),
        ],
        ..of("cronie", &["cron", "cron-daemon-common"])
    },
    Change {
        accounts: &[("messagebus", 18, "/run/dbus")],
        directives: &[("/usr/lib/dbus-1.0/dbus-daemon-launch-helper", "%attr(4754, root, messagebus)")],
        ..of("dbus", &["dbus", "dbus-daemon", "dbus-bin", "dbus-system-bus-common", "dbus-session-bus-common"])
    },
    Change {
        scripts: "%post\nupdate-alternatives --quiet --log /dev/null --install /usr/bin/which which /usr/bin/which.debianutils 0",
        tags: "Requires(post): alternatives\nProvides: /usr/bin/which\nProvides: which",
        ..of("debianutils", &["debianutils"])
    },
    Change {
        edits: &[("/usr/bin/dracut", "/boot/initrd.img-${kernel}", "/boot/initramfs-${kernel}.img")],
        files: &[("/etc/dracut.conf.d/10-image.conf", 0o644, "compress=\"gzip -n -1\"\nreproducible=yes\n")],
        ..of("dracut", &["dracut", "dracut-core"])
    },
    Change {
        tags: "Provides: rtld(GNU_HASH)\nProvides: /sbin/ldconfig\nRequires: filesystem",
        scripts: LDCONFIG,
        directives: &[("/etc/ld.so.cache", "%ghost %attr(0644, root, root)")],
        files: &[(
            "/etc/nsswitch.conf",
            0o644,
            "passwd: files systemd\ngroup: files systemd\nshadow: files\nhosts: files resolve dns\nnetworks: files\n\
             protocols: files\nservices: files\nethers: files\nrpc: files\n",
        )],
        ..of("glibc", &["libc6", "libc-bin"])
    },
    of("iproute", &["iproute2"]),
    Change {
        directives: &[("/bin/ping", "%attr(0755, root, root) %caps(cap_net_raw=ep)")],
        ..of("iputils", &["iputils-ping"])
    },
    Change {
        scripts: "%post\nupdate-alternatives --quiet --log /dev/null --install /usr/bin/awk awk /usr/bin/mawk 5",
        tags: "Requires(post): alternatives\nProvides: /usr/bin/awk\nProvides: awk",
        ..of("mawk", &["mawk"])
    },
    Change {
        accounts: &[("_ssh", 73, "")],
        directives: &[("/usr/bin/ssh-agent", "%attr(2755, root, _ssh)")],
        ..of("openssh-clients", &["openssh-client"])
    },
    Change {
        accounts: &[("sshd", 74, "/var/lib/sshd")],
        moved: &[
            ("/lib/systemd/system/ssh.service", "/lib/systemd/system/sshd.service"),
            ("/usr/share/openssh/sshd_config", "/etc/ssh/sshd_config"),
        ],
        edits: &[
            ("/lib/systemd/system/sshd.service", "Alias=sshd.service\n", ""),
            (
                "/lib/systemd/system/sshd.service",
                "auditd.service\n",
                "auditd.service sshd-keygen.service\nWants=sshd-keygen.service\n",
            ),
        ],
        directives: &[("/etc/ssh/sshd_config", "%config(noreplace) %attr(0600, root, root)")],
        files: &[(
            "/lib/systemd/system/sshd-keygen.service",
            0o644,
            "[Unit]\nDescription=Keys of the SSH server\nConditionPathExists=!/etc/ssh/ssh_host_ed25519_key\n\n\
             [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/ssh-keygen -A\n",
        )],
        ..of("openssh-server", &["openssh-server", "openssh-sftp-server"])
    },
    Change {
        scripts: LDCONFIG,
        files: &[
            (
                "/etc/pam.d/common-auth",
                0o644,
                "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n",
            ),
            (
                "/etc/pam.d/common-account",
                0o644,
                "account [success=1 new_authtok_reqd=done default=ignore] pam_unix.so\naccount requisite pam_deny.so\naccount required pam_permit.so\n",
            ),
            (
                "/etc/pam.d/common-password",
                0o644,
                "password [success=1 default=ignore] pam_unix.so obscure yescrypt\npassword requisite pam_deny.so\npassword required pam_permit.so\n",
            ),
            (
                "/etc/pam.d/common-session",
                0o644,
                "session required pam_permit.so\nsession required pam_unix.so\nsession optional pam_systemd.so\n",
            ),
            (
                "/etc/pam.d/common-session-noninteractive",
                0o644,
                "session required pam_permit.so\nsession required pam_unix.so\n",
            ),
        ],
        ..of("pam", &["libpam-modules", "libpam-modules-bin", "libpam-runtime", "libpam0g"])
    },
    Change {
        accounts: &[("polkitd", 114, "/")],
        directives: &[
            ("/etc/polkit-1/rules.d", "%dir %attr(0700, polkitd, root)"),
            ("/usr/lib/polkit-1/polkit-agent-helper-1", "%attr(4755, root, root)"),
        ],
        ..of("polkit", &["polkitd"])
    },
    of("procps-ng", &["procps"]),
    Change {
        tags: "Requires(pre): filesystem",
        scripts: "%post\n/usr/sbin/pwconv\n/usr/sbin/grpconv",
        ..of("shadow-utils", &["passwd", "login"])
    },
    Change {
        tags: "Requires(post): coreutils grep\nProvides: systemd-networkd\nProvides: systemd-libs-shared = 252",
        scripts: SYSTEMD,
        directives: &[
            ("/etc/machine-id", "%ghost %attr(0444, root, root)"),
            ("/var/lib/systemd/catalog/database", "%ghost %attr(0644, root, root)"),
        ],
        ..of("systemd", &["systemd", "systemd-sysv", "libsystemd-shared"])
    },
    of("systemd-boot", &["systemd-boot", "systemd-boot-efi"]),
    Change {
        scripts: "%post\nsystemctl --no-reload preset systemd-resolved.service || :\n\n\
                  %posttrans\n[ -e /etc/resolv.conf ] || ln -s ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf",
        tags: "Requires(post): systemd\nRequires(posttrans): coreutils",
        directives: &[("/etc/resolv.conf", "%ghost")],
        ..of("systemd-resolved", &["systemd-resolved"])
    },
    Change {
        accounts: &[("input", 104, ""), ("kvm", 105, ""), ("render", 106, ""), ("sgx", 107, "")],
        scripts: "%transfiletriggerin -P 1000700 -- /usr/lib/udev/hwdb.d /lib/udev/hwdb.d /etc/udev/hwdb.d\n\
                  systemd-hwdb update || :",
        directives: &[("/etc/udev/hwdb.bin", "%ghost %attr(0444, root, root)")],
        ..of("systemd-udev", &["udev"])
    },
    Change {
        accounts: &[("tss", 59, "/var/lib/tpm")],
        directives: &[("/var/lib/tpm", "%dir %attr(0700, tss, tss)")],
        ..of("tpm2-udev", &["tpm-udev"])
    },
    Change {
        directives: &[
            ("/var/log/btmp", "%ghost %attr(0660, root, utmp)"),
            ("/var/log/lastlog", "%ghost %attr(0664, root, utmp)"),
            ("/var/log/wtmp", "%ghost %attr(0664, root, utmp)"),
        ],
        ..of("util-linux", &["util-linux", "util-linux-extra", "bsdutils", "mount"])
    },
    of("veritysetup", &["cryptsetup-bin"]),
    Change {
        scripts: "%post\nupdate-alternatives --quiet --log /dev/null --install /usr/bin/vi vi /usr/bin/vim.tiny 15",
        tags: "Requires(post): alternatives",
        ..of("vim-minimal", &["vim-tiny", "vim-common"])
    },
    of("zlib", &["zlib1g"]),
];

const SYSTEMD: &str = "%post
systemd-machine-id-setup > /dev/null 2>&1 || :
systemd-sysusers || :
systemd-tmpfiles --create > /dev/null 2>&1 || :
systemctl --no-reload preset-all > /dev/null 2>&1 || :
systemctl --no-reload --global preset-all > /dev/null 2>&1 || :
systemctl --no-reload enable getty@tty1.service > /dev/null 2>&1 || :

%transfiletriggerin -P 1000900 -- /usr/lib/sysusers.d
systemd-sysusers || :

%transfiletriggerin -P 1000700 -- /usr/lib/systemd/catalog
journalctl --update-catalog || :

%transfiletriggerin -P 1000600 -- /usr/lib/binfmt.d
:

%transfiletriggerin -P 1000500 -- /usr/lib/tmpfiles.d
systemd-tmpfiles --create > /dev/null 2>&1 || :

%transfiletriggerin -P 900900 -- /usr/lib/systemd/system /lib/systemd/system /etc/systemd/system
systemctl daemon-reload || :";

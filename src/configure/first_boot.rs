//! What each machine must make for itself on its first boot, so that no two share it.

use layers::{Tree, TreePath};

use crate::draft::Draft;
use crate::error::{Error, ResultExt};

/// Something that packages make when they are configured and that no image keeps (the rule
/// `first-boot` of the provider's volatile paths), with the command that makes it again.
struct Secret {
    /// An image with this file needs it.
    needed_by: &'static str,
    /// The unit's name without `.service`.
    unit: &'static str,
    what: &'static str,
    /// The unit runs where nothing has this path; it may hold `*`.
    path: &'static str,
    command: &'static str,
}

const SECRETS: &[Secret] = &[
    // Debian 13's own sshd-keygen.service asks ConditionFirstBoot, which an empty /etc/machine-id does
    // not satisfy (machine-id(5)); "uninitialized" there would, and would also have systemd apply its
    // presets on first boot over what the spec enables and disables. So the unit is ours everywhere.
    Secret {
        needed_by: "usr/sbin/sshd",
        unit: "ssh-host-keys",
        what: "the ssh host keys of this machine",
        path: "/etc/ssh/ssh_host_*_key",
        command: "/usr/bin/ssh-keygen -A",
    },
    Secret {
        needed_by: "usr/sbin/make-ssl-cert",
        unit: "ssl-cert-snakeoil",
        what: "the self-signed certificate of this machine",
        path: "/etc/ssl/private/ssl-cert-snakeoil.key",
        command: "/usr/sbin/make-ssl-cert generate-default-snakeoil --force-overwrite",
    },
    // No secret, but gpg notes the time at which it takes a key. A package of Azure Linux has root's gpg
    // take the keys of its repositories, which tdnf then verifies metadata by.
    Secret {
        needed_by: "root/.gnupg",
        unit: "root-gpg-keys",
        what: "gpg's copy of the keys of package repositories",
        path: "/root/.gnupg/pubring.kbx",
        command: "/bin/sh -c 'exec gpg --homedir /root/.gnupg --batch --quiet --import /etc/pki/rpm-gpg/*'",
    },
    // No secret, but its entries hold the time of the build.
    Secret {
        needed_by: "etc/ca-certificates/update.d/jks-keystore",
        unit: "java-trust-store",
        what: "Java's trust store",
        path: "/etc/ssl/certs/java/cacerts",
        command: "/usr/sbin/update-ca-certificates --fresh",
    },
];

impl Secret {
    fn text(&self) -> String {
        let Self { what, path, command, .. } = self;
        // Before basic.target: whatever service needs it finds it.
        format!(
            "[Unit]\n\
             Description=Make {what}\n\
             DefaultDependencies=no\n\
             ConditionPathExistsGlob=!{path}\n\
             Conflicts=shutdown.target\n\
             After=local-fs.target systemd-random-seed.service systemd-sysusers.service systemd-tmpfiles-setup.service\n\
             Before=basic.target shutdown.target\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             ExecStart={command}\n\
             RemainAfterExit=yes\n\
             \n\
             [Install]\n\
             WantedBy=basic.target\n"
        )
    }
}

/// Where every version of PostgreSQL has a directory of its own (Debian's postgresql-common).
const POSTGRESQL: &str = "usr/lib/postgresql";
/// The instance of a version is what PostgreSQL's postinst does (postgresql-common's
/// maintscripts-functions, configure_version): the cluster "main", unless that version has a cluster.
///
/// An ordinary service, after basic.target: initdb takes seconds, and wants the certificate above.
/// It switches itself off, so that a cluster that is dropped stays away. pg_createcluster has
/// systemd read its units again, whereupon postgresql.service pulls in the cluster's unit; that one
/// comes before postgresql.service, which waits for us, so whatever comes after it finds the server.
const CLUSTER: &str = "\
[Unit]
Description=Make the main cluster of PostgreSQL %i
After=local-fs.target
Before=postgresql.service

[Service]
Type=oneshot
Environment=LANG=C.UTF-8
EnvironmentFile=-/etc/default/locale
ExecStart=/bin/sh -c 'ls /etc/postgresql/%i/*/postgresql.conf >/dev/null 2>&1 || exec pg_createcluster %i main'
ExecStart=/bin/systemctl --no-reload disable %n
ExecStart=-/bin/sh -c 'if systemctl --quiet is-enabled postgresql.service; then exec systemctl --no-block start postgresql.service; fi'

[Install]
WantedBy=multi-user.target
";

/// Adds what makes secrets on first boot, for the packages that the image has.
///
/// # Errors
/// Paths blocked by something else.
pub fn write(draft: &mut Draft<'_>, tree: &Tree) -> Result<(), Error> {
    for secret in SECRETS {
        let needed = TreePath::new(secret.needed_by).to("name a file of the image")?;
        if tree.get(&needed).is_some() {
            let name = format!("{}.service", secret.unit);
            draft.file(&format!("etc/systemd/system/{name}"), secret.text(), draft.root_owned(0o644))?;
            let wanted = format!("etc/systemd/system/basic.target.wants/{name}");
            draft.symlink(&wanted, format!("/etc/systemd/system/{name}"))?;
        }
    }
    for version in postgresql(tree)? {
        let unit = "/etc/systemd/system/postgresql-main-cluster@.service";
        draft.file(unit, CLUSTER, draft.root_owned(0o644))?;
        let wanted = format!("etc/systemd/system/multi-user.target.wants/postgresql-main-cluster@{version}.service");
        draft.symlink(&wanted, unit)?;
    }
    Ok(())
}

/// The versions of PostgreSQL whose server is in a tree. Others are no words of a unit's name.
fn postgresql(tree: &Tree) -> Result<Vec<String>, Error> {
    let all = TreePath::new(POSTGRESQL).to("name a directory of the image")?;
    let mut versions = Vec::new();
    for (path, _) in tree.children(&all) {
        let server = path.join("bin/postgres").to("name a file of the image")?;
        let version = String::from_utf8_lossy(path.name()).into_owned();
        if tree.get(&server).is_some() && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            versions.push(version);
        }
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use layers::{Content, Entry, Meta};

    use super::*;

    #[test]
    fn a_cluster_is_made_for_each_server_of_the_image() {
        let mut tree = Tree::default();
        assert_eq!(postgresql(&tree).unwrap(), Vec::<String>::new());
        // A client alone; a server; what is no version; a server of old.
        for path in ["15/bin/psql", "17/bin/postgres", "x y/bin/postgres", "9.6/bin/postgres"] {
            let path = TreePath::new(format!("{POSTGRESQL}/{path}")).unwrap();
            tree.create_directories(&path.parent().unwrap(), &Meta::default()).unwrap();
            tree.insert(path, Entry::file(Content::of(b"a program"), Meta::default())).unwrap();
        }
        assert_eq!(postgresql(&tree).unwrap(), ["17", "9.6"]);
    }
}

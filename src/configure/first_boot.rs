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
    Ok(())
}

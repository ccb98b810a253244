//! What each machine must make for itself on its first boot, so that no two share it.

use layers::{Tree, TreePath};

use crate::draft::Draft;
use crate::error::{Error, ResultExt};

/// The unit that makes ssh host keys where there are none.
const HOST_KEYS_UNIT: &str = "\
[Unit]
Description=Make the ssh host keys of this machine
ConditionPathExistsGlob=!/etc/ssh/ssh_host_*_key
Before=ssh.service sshd.service ssh.socket
After=systemd-random-seed.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A
RemainAfterExit=yes

[Install]
WantedBy=multi-user.target
";

const HOST_KEYS_NAME: &str = "ssh-host-keys.service";

/// Adds what makes secrets on first boot, for the packages that the image has.
///
/// # Errors
/// Paths blocked by something else.
pub fn write(draft: &mut Draft<'_>, tree: &Tree) -> Result<(), Error> {
    let has = |path: &str| TreePath::new(path).map(|path| tree.get(&path).is_some()).to("name a file of the image");
    // Debian 13's own sshd-keygen.service asks ConditionFirstBoot, which an empty /etc/machine-id does
    // not satisfy (machine-id(5)); "uninitialized" there would, and would also have systemd apply its
    // presets on first boot over what the spec enables and disables. So the unit is ours everywhere.
    if has("usr/sbin/sshd")? {
        draft.file(&format!("etc/systemd/system/{HOST_KEYS_NAME}"), HOST_KEYS_UNIT, draft.root_owned(0o644))?;
        let wanted = format!("etc/systemd/system/multi-user.target.wants/{HOST_KEYS_NAME}");
        draft.symlink(&wanted, format!("/etc/systemd/system/{HOST_KEYS_NAME}"))?;
    }
    Ok(())
}

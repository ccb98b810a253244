//! Users: made by the image's own `useradd`, so that every file it keeps is right.

use sandbox::Step;

use super::accounts::Accounts;
use crate::compose::command;
use crate::draft::Draft;
use crate::error::Error;
use crate::spec::resolved::{ResolvedSpec, Sudo, User};

/// Commands that make the users of a spec, in its order.
pub fn commands(spec: &ResolvedSpec, accounts: &Accounts, epoch: i64) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut run = |argv: Vec<String>| steps.push(Step::Run(command(&argv, epoch)));
    for user in &spec.users {
        for group in &user.groups {
            if accounts.group(group.as_str()).is_none() {
                // -f: succeeds when an earlier user's line made it already.
                run(vec!["groupadd".into(), "-f".into(), group.to_string()]);
            }
        }
        run(account_command(user, accounts));
    }
    steps
}

fn account_command(user: &User, accounts: &Accounts) -> Vec<String> {
    let exists = accounts.user(user.name.as_str()).is_some();
    let mut argv: Vec<String> = if exists { vec!["usermod".into()] } else { vec!["useradd".into()] };
    let mut option = |name: &str, value: String| argv.extend([name.to_owned(), value]);
    if let Some(uid) = user.uid {
        option("-u", uid.to_string());
    }
    if let Some(gecos) = &user.gecos {
        option("-c", gecos.clone());
    }
    if let Some(home) = &user.home {
        option("-d", home.to_string());
    }
    match &user.shell {
        Some(shell) => option("-s", shell.to_string()),
        // useradd's own default is /bin/sh, which nobody wants to log in to.
        None if !exists => option("-s", "/bin/bash".into()),
        None => {}
    }
    if let Some(hash) = &user.password_hash {
        option("-p", hash.as_str().to_owned());
    }
    if !user.groups.is_empty() {
        let groups: Vec<&str> = user.groups.iter().map(|group| group.as_str()).collect();
        option("-G", groups.join(","));
        if exists {
            argv.push("-a".into());
        }
    }
    if !exists {
        argv.extend(["-m".into(), "-U".into()]);
    }
    argv.push(user.name.to_string());
    argv
}

/// Keys and sudo rules, once the accounts are there.
///
/// # Errors
/// An account that is not there.
pub fn files(spec: &ResolvedSpec, accounts: &Accounts, draft: &mut Draft<'_>) -> Result<(), Error> {
    for user in &spec.users {
        let account = accounts
            .user(user.name.as_str())
            .ok_or_else(|| Error::build(format!("failed to find the user '{}' in the image", user.name)))?;
        if !user.ssh_keys.is_empty() {
            let home = account.home.trim_start_matches('/');
            let directory = layers::TreePath::new(format!("{home}/.ssh"))
                .map_err(|e| Error::build(format!("failed to place the keys of {}", user.name)).caused_by(e))?;
            draft.directory(&directory, draft.owned(0o700, account.uid, account.gid))?;
            let keys: String = user.ssh_keys.iter().map(|key| format!("{key}\n")).collect();
            draft.file(&format!("{home}/.ssh/authorized_keys"), keys, draft.owned(0o600, account.uid, account.gid))?;
        }
        let rule = match user.sudo {
            Sudo::No => continue,
            Sudo::Password => "ALL=(ALL:ALL) ALL",
            Sudo::NoPassword => "ALL=(ALL:ALL) NOPASSWD: ALL",
        };
        // sudoers.d ignores names with a dot (sudoers(5)); user names may have one.
        let file = user.name.as_str().replace('.', "_");
        draft.file(&format!("etc/sudoers.d/90-{file}"), format!("{} {rule}\n", user.name), draft.root_owned(0o440))?;
    }
    Ok(())
}

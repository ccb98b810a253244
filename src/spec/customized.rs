//! Resolving what is customised: users, network, repositories, files, scripts, answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use layers::TreePath;

use super::copied::{self, SourceError};
use super::decode::Located;
use super::names::FromText;
use super::problem::{Problem, Problems};
use super::resolved::{
    self, CopiedFile, DebconfAnswer, Dhcp, Interface, Network, Owner, Repository, RepositoryKey, Script, SourceEntry,
    SourceKind, Sudo, User,
};
use super::tree::Span;
use super::typed;
use super::written::SudoChoice;

/// Which interfaces the default network configuration matches (systemd's predictable names of
/// Ethernet devices; systemd.net-naming-scheme(7)).
const INTERFACES_DEFAULT: &str = "en*";
/// Smallest MTU that IPv4 works with (RFC 791, section 3.2).
const MTU_MIN: u32 = 68;
/// Largest packet of IPv4 and IPv6 without jumbograms (RFC 791, RFC 8200).
const MTU_MAX: u32 = 65_535;

/// The seeds' own words for a source that is not there.
pub(super) fn missing_file(written: &str, span: &Span, directory: &Path) -> Problem {
    Problem::error(span, format!("Missing required file '{written}' referenced in build spec"))
        .hint(format!("paths are relative to the spec's directory, {}", directory.display()))
}

fn source_problem(error: SourceError, written: &Located<String>, directory: &Path) -> Problem {
    match error {
        SourceError::Missing => missing_file(&written.value, &written.span, directory),
        other => Problem::error(&written.span, format!("failed to read '{}': {other}", written.value)),
    }
}

/// Users with their keys read.
pub fn users(written: &[Located<typed::User>], directory: &Path, problems: &mut Problems) -> Vec<User> {
    let mut names = BTreeSet::new();
    let mut ids = BTreeSet::new();
    written.iter().map(|user| one_user(&user.value, directory, &mut names, &mut ids, problems)).collect()
}

fn one_user(
    user: &typed::User,
    directory: &Path,
    names: &mut BTreeSet<super::names::UserName>,
    ids: &mut BTreeSet<u32>,
    problems: &mut Problems,
) -> User {
    if !names.insert(user.name.value.clone()) {
        problems.push(Problem::error(&user.name.span, format!("the user '{}' stands twice", user.name.value)));
    }
    let is_root = user.name.value.as_str() == "root";
    if let Some(uid) = &user.uid {
        if uid.value == 0 || uid.value > super::scalar::ID_MAX || uid.value == 65_534 || uid.value == 65_535 {
            let message = format!("the uid {} is not for a user", uid.value);
            problems.push(Problem::error(&uid.span, message).hint("people have ids from 1000 to 59999"));
        } else if !ids.insert(uid.value) {
            problems.push(Problem::error(&uid.span, format!("the uid {} stands twice", uid.value)));
        }
    }
    if is_root && (user.home.is_some() || user.sudo.is_some() || !user.groups.is_empty()) {
        let problem = Problem::error(&user.name.span, "root has its own home, groups and rights");
        problems.push(problem.hint("root may have password_hash, ssh_keys and shell"));
    }
    if let Some(gecos) = &user.gecos
        && gecos.value.chars().any(|c| c.is_control() || c == ':')
    {
        problems.push(Problem::error(&gecos.span, "a full name holds neither ':' nor control characters"));
    }
    let ssh_keys = user.ssh_keys.iter().flat_map(|key| ssh_keys(key, directory, problems)).collect::<Vec<_>>();
    if user.password_hash.is_none() && ssh_keys.is_empty() && user.sudo == Some(SudoChoice::Yes) {
        let problem = Problem::warning(&user.name.span, "sudo will ask for a password that this user does not have");
        problems.push(problem.hint("set password_hash, or write sudo: nopasswd"));
    }
    User {
        name: user.name.value.clone(),
        password_hash: user.password_hash.clone(),
        ssh_keys,
        groups: user.groups.clone(),
        shell: user.shell.as_ref().map(|path| path.0.clone()),
        home: user.home.as_ref().map(|path| path.0.clone()),
        uid: user.uid.as_ref().map(|uid| uid.value),
        gecos: user.gecos.as_ref().map(|gecos| gecos.value.clone()),
        sudo: match user.sudo {
            None | Some(SudoChoice::No) => Sudo::No,
            Some(SudoChoice::Yes) => Sudo::Password,
            Some(SudoChoice::NoPassword) => Sudo::NoPassword,
        },
    }
}

/// Whether a text looks like a line of `authorized_keys` (sshd(8)): a type that OpenSSH knows and
/// a key in base64, with options in front or not.
fn is_ssh_key(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let is_type =
        |word: &str| ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-sha2-"].iter().any(|prefix| word.starts_with(prefix));
    words.any(is_type)
        // Every key begins with the length of its type's name: three bytes of zero, thus "AAAA".
        && words.next().is_some_and(|key| key.starts_with("AAAA") && key.len() > 40)
        && !line.chars().any(char::is_control)
}

fn ssh_keys(written: &Located<String>, directory: &Path, problems: &mut Problems) -> Vec<String> {
    let text = written.value.trim();
    if is_ssh_key(text) {
        return vec![text.to_owned()];
    }
    if text.contains("PRIVATE KEY") {
        let problem = Problem::error(&written.span, "this is a private key; it must not be in an image");
        problems.push(problem.hint("write the public key: the file whose name ends in .pub"));
        return Vec::new();
    }
    if text.contains(char::is_whitespace) || text.is_empty() {
        let problem = Problem::error(&written.span, "this is neither a public ssh key nor the path of one");
        problems.push(problem.hint("a key is one line: ssh-ed25519 AAAA… name@host"));
        return Vec::new();
    }
    let bytes = match copied::read_small_file(&directory.join(text)) {
        Ok(bytes) => bytes,
        Err(error) => {
            problems.push(source_problem(error, written, directory));
            return Vec::new();
        }
    };
    let content = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> =
        content.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    if lines.is_empty() || !lines.iter().all(|line| is_ssh_key(line)) {
        let problem = Problem::error(&written.span, format!("'{text}' holds something else than public ssh keys"));
        problems.push(problem.hint("each line is one key: ssh-ed25519 AAAA… name@host"));
        return Vec::new();
    }
    lines.into_iter().map(str::to_owned).collect()
}

/// Interfaces; DHCP on all Ethernet devices (`usual` to the distribution) where the spec names none.
pub fn network(written: &typed::Network, usual: Option<&str>, problems: &mut Problems) -> Option<Network> {
    let Some(listed) = &written.interfaces else {
        let all = Interface {
            name: FromText::from_text("default").ok()?,
            match_name: Some(usual.unwrap_or(INTERFACES_DEFAULT).to_owned()),
            match_mac: None,
            dhcp: Dhcp::Yes,
            addresses: Vec::new(),
            gateways: Vec::new(),
            dns: Vec::new(),
            domains: Vec::new(),
            mtu: None,
        };
        return Some(Network { interfaces: vec![all] });
    };
    let mut names = BTreeSet::new();
    let interfaces = listed.value.iter().map(|located| {
        let written = &located.value;
        if !names.insert(written.name.value.as_str()) {
            let message = format!("the interface '{}' stands twice", written.name.value);
            problems.push(Problem::error(&written.name.span, message));
        }
        let by_name = written.r#match.as_ref().map(|pattern| pattern.value.0.clone());
        if let Some(mtu) = written.mtu.as_ref().filter(|mtu| !(MTU_MIN..=MTU_MAX).contains(&mtu.value)) {
            problems.push(Problem::error(&mtu.span, format!("an MTU is between {MTU_MIN} and {MTU_MAX} bytes")));
        }
        let addresses = |list: &[super::scalar::Address]| list.iter().map(|a| a.0).collect::<Vec<IpAddr>>();
        let dhcp_default = if written.addresses.is_empty() { Dhcp::Yes } else { Dhcp::No };
        Interface {
            match_name: match (&by_name, written.mac) {
                (None, None) => Some(written.name.value.as_str().to_owned()),
                _ => by_name,
            },
            name: written.name.value.clone(),
            match_mac: written.mac,
            dhcp: written.dhcp.unwrap_or(dhcp_default),
            addresses: written.addresses.clone(),
            gateways: addresses(&written.gateway.0),
            dns: addresses(&written.dns.0),
            domains: written.domains.0.clone(),
            mtu: written.mtu.as_ref().map(|mtu| mtu.value),
        }
    });
    Some(Network { interfaces: interfaces.collect() })
}

/// Whether a text can stand in a line of apt's sources (sources.list(5)).
fn is_source_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#' && b != b'[' && b != b']')
}

/// Repositories with their keys read.
pub fn repositories(
    written: &[Located<typed::Repository>],
    directory: &Path,
    problems: &mut Problems,
) -> Vec<Repository> {
    let mut names = BTreeSet::new();
    written
        .iter()
        .filter_map(|located| {
            let repository = &located.value;
            if !names.insert(repository.name.value.as_str()) {
                let message = format!("the repository '{}' stands twice", repository.name.value);
                problems.push(Problem::error(&repository.name.span, message));
            }
            let url = &repository.url;
            let scheme = url.value.split_once(':').map_or("", |(scheme, _)| scheme);
            if !["https", "http", "file"].contains(&scheme) || !is_source_word(&url.value) {
                let problem = Problem::error(&url.span, format!("{:?} is not the URL of a repository", url.value));
                problems.push(problem.hint("use https://…, http://… or file:/…"));
            }
            for word in repository.suites.0.iter().chain(&repository.components.0) {
                if !is_source_word(word) {
                    let message = format!("{word:?} is neither a suite nor a component");
                    problems.push(Problem::error(&located.span, message));
                }
            }
            let is_flat = repository.suites.0.iter().any(|suite| suite.ends_with('/'));
            if is_flat != repository.components.0.is_empty() && !repository.suites.0.is_empty() {
                let problem = Problem::error(&located.span, "suites and components do not fit together");
                problems.push(
                    problem.hint("a suite needs components; a flat repository's suite ends with '/' and has none"),
                );
            }
            Some(Repository {
                name: repository.name.value.clone(),
                url: url.value.clone(),
                suites: repository.suites.0.clone(),
                components: repository.components.0.clone(),
                key: repository_key(repository, directory, problems)?,
                check_valid_until: repository.check_valid_until.unwrap_or(true),
                repo_gpgcheck: repository.repo_gpgcheck.unwrap_or(true),
                gpgcheck: repository.gpgcheck.unwrap_or(true),
                exclude: repository.exclude.0.clone(),
                priority: repository.priority.map(i32::from),
            })
        })
        .collect()
}

fn repository_key(repository: &typed::Repository, directory: &Path, problems: &mut Problems) -> Option<RepositoryKey> {
    let refuse = |problems: &mut Problems, problem: Problem| {
        problems.push(problem);
        None
    };
    match (&repository.key, repository.trusted.unwrap_or(false)) {
        (Some(key), true) => {
            refuse(problems, Problem::error(&key.span, "a repository has a key, or is trusted without one, not both"))
        }
        (None, true) => {
            let message = format!("the repository '{}' is used without any signature", repository.name.value);
            problems.push(Problem::warning(&repository.name.span, message));
            Some(RepositoryKey::TrustedUnsigned)
        }
        (None, false) => refuse(
            problems,
            Problem::error(&repository.name.span, format!("the repository '{}' has no key", repository.name.value))
                .hint("set key: to the path of its public key"),
        ),
        (Some(key), false) => keyring(key, directory, problems).map(RepositoryKey::Keyring),
    }
}

/// The public keys that a `key` names: the text itself, or the file that it is the path of.
pub fn keyring(key: &Located<String>, directory: &Path, problems: &mut Problems) -> Option<Vec<u8>> {
    let problem = match key.value.trim() {
        text if text.contains("PRIVATE KEY") => Problem::error(&key.span, "this is a private key"),
        text if text.contains("BEGIN PGP PUBLIC KEY BLOCK") => return Some(key.value.clone().into_bytes()),
        path => match copied::read_small_file(&directory.join(path)) {
            Ok(bytes) => return Some(bytes),
            Err(error) => source_problem(error, key, directory),
        },
    };
    problems.push(problem);
    None
}

/// Layer caches in registries, their public keys read.
pub fn remotes(
    written: &[Located<typed::RemoteCache>],
    directory: &Path,
    problems: &mut Problems,
) -> Vec<resolved::RemoteCache> {
    written.iter().filter_map(|located| remote(&located.value, directory, problems)).collect()
}

fn remote(written: &typed::RemoteCache, directory: &Path, problems: &mut Problems) -> Option<resolved::RemoteCache> {
    let reference = written.url.value.parse::<registry::Reference>();
    let reference = reference.ok().filter(|found| found.tag.is_none() && found.digest.is_none());
    if reference.is_none() {
        let problem =
            Problem::error(&written.url.span, format!("{:?} is no repository of a registry", written.url.value));
        problems.push(problem.hint("write oci://HOST/REPOSITORY, without a tag"));
    }
    let mut keys = Vec::new();
    for key in &written.keys {
        // The text itself, or a file that has it.
        let read = || copied::read_small_file(&directory.join(key.value.trim())).ok();
        let found = key.value.parse().ok().or_else(|| String::from_utf8(read()?).ok()?.parse().ok());
        match found {
            Some(key) => keys.push(key),
            None => {
                let problem = Problem::error(&key.span, "this is neither a public key nor the file of one (Ed25519)");
                problems.push(problem.hint(
                    "openssl genpkey -algorithm ed25519 -out cache.key; openssl pkey -in cache.key -pubout -out cache.pub",
                ));
            }
        }
    }
    let push = written.push.unwrap_or(false);
    if push && !keys.is_empty() && written.signing_key.is_none() {
        let problem = Problem::error(&written.url.span, "what is pushed here would be refused: it is not signed");
        problems.push(problem.hint("name the private key in signing_key, or write push: false"));
    }
    let file = |path: &Option<Located<String>>| path.as_ref().map(|path| directory.join(&path.value));
    Some(resolved::RemoteCache {
        reference: reference?,
        push,
        packages: written.packages.unwrap_or(false),
        keys,
        signing_key: file(&written.signing_key),
        insecure: written.insecure.unwrap_or(false),
        ca_file: file(&written.ca_file),
    })
}

/// Files with their sources read.
pub fn files(written: &[Located<typed::CopiedFile>], directory: &Path, problems: &mut Problems) -> Vec<CopiedFile> {
    let mut destinations = BTreeSet::new();
    written
        .iter()
        .filter_map(|located| {
            let file = &located.value;
            if !destinations.insert(&file.destination.value.0) {
                let message = format!("another file goes to {} too; the later one wins", file.destination.value.0);
                problems.push(Problem::warning(&file.destination.span, message));
            }
            let (source, entries) = match (&file.source, &file.content) {
                (Some(source), None) => match copied::read_source(&directory.join(&source.value)) {
                    Ok(entries) => (source.value.clone(), entries),
                    Err(error) => {
                        problems.push(source_problem(error, source, directory));
                        return None;
                    }
                },
                (None, Some(text)) => {
                    let entry = SourceEntry { path: TreePath::root(), kind: SourceKind::Text(text.clone()) };
                    ("(content)".to_owned(), vec![entry])
                }
                _ => {
                    let message = "a file has either a source or a content";
                    problems.push(Problem::error(&located.span, message));
                    return None;
                }
            };
            Some(CopiedFile {
                source,
                destination: file.destination.value.0.clone(),
                permissions: file.permissions,
                owner: file.owner.clone().unwrap_or_else(Owner::root),
                entries,
            })
        })
        .collect()
}

/// Scripts with their digests.
pub fn scripts(written: &[Located<typed::Script>], directory: &Path, problems: &mut Problems) -> Vec<Script> {
    written
        .iter()
        .filter_map(|located| {
            let script = &located.value;
            let origin = directory.join(&script.path.value);
            let content = match copied::digest_file(&origin) {
                Ok(content) => content,
                Err(error) => {
                    problems.push(source_problem(error, &script.path, directory));
                    return None;
                }
            };
            if content.size == 0 {
                problems.push(Problem::warning(&script.path.span, "the script is empty"));
            }
            let environment: BTreeMap<_, _> = script.env.0.iter().cloned().collect();
            Some(Script {
                path: script.path.value.clone(),
                origin,
                content,
                args: script.args.clone(),
                run_in_chroot: script.run_in_chroot.unwrap_or(true),
                environment,
            })
        })
        .collect()
}

/// Answers to questions of packages; each is one line of debconf-set-selections(1).
pub fn debconf(written: &[typed::DebconfAnswer], problems: &mut Problems) -> Vec<DebconfAnswer> {
    for answer in written {
        if answer.question.value.is_empty()
            || answer.question.value.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            problems.push(Problem::error(&answer.question.span, "the name of a question holds no space"));
        }
        if answer.value.value.chars().any(|c| c == '\n' || c == '\r') {
            problems.push(Problem::error(&answer.value.span, "an answer is one line"));
        }
    }
    written
        .iter()
        .map(|answer| resolved::DebconfAnswer {
            package: answer.package.clone(),
            question: answer.question.value.clone(),
            kind: answer.r#type,
            value: answer.value.value.clone(),
        })
        .collect()
}

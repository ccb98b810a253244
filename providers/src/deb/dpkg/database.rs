//! Everything below `/var/lib/dpkg` for packages that were laid into a tree but not configured
//! yet, as dpkg itself would have left it.

use std::collections::{BTreeMap, BTreeSet};

use layers::TreePath;

use super::status;
use crate::deb::archive::{Control, ControlFile};
use crate::deb::control::MultiArch;
use crate::deb::payload::Payload;
use crate::deb::{Error, version};

/// Mode of plain database files.
const FILE_MODE: u32 = 0o644;

/// How far a package has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Its files are there; its postinst has not run.
    Unpacked,
    /// It is configured.
    Installed,
}

impl State {
    /// dpkg's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unpacked => "unpacked",
            Self::Installed => "installed",
        }
    }
}

/// A configuration file as the status file notes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conffile {
    /// Its path, with the leading slash, as the package spells it.
    pub path: Vec<u8>,
    /// MD5 of the file as the package ships it; `None` becomes `newconffile`, which dpkg never
    /// replaces when it finds the file in place.
    pub md5: Option<[u8; 16]>,
    /// The file goes at the next upgrade.
    pub remove_on_upgrade: bool,
}

/// One package of the database.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its control archive.
    pub control: &'a Control,
    /// Its paths, [`Payload::listed`].
    pub listed: &'a [Vec<u8>],
    /// MD5 of its conffiles, [`Payload::conffiles`].
    pub conffiles: &'a BTreeMap<Vec<u8>, [u8; 16]>,
    /// How far it has come.
    pub state: State,
}

impl<'a> Member<'a> {
    /// A package that was extracted.
    pub fn of(payload: &'a Payload, state: State) -> Self {
        Self { control: &payload.control, listed: &payload.listed, conffiles: &payload.conffiles, state }
    }

    fn conffile_lines(&self) -> Vec<Conffile> {
        let lines = self.control.conffiles().into_iter().map(|line| Conffile {
            path: line.path.to_vec(),
            md5: self.conffiles.get(line.path).copied(),
            remove_on_upgrade: line.remove_on_upgrade,
        });
        lines.collect()
    }
}

/// One interest in a trigger (deb-triggers(5)).
struct Interest<'a> {
    trigger: &'a str,
    await_it: bool,
}

/// The files of dpkg's database, by path in the tree, with their modes; directories are implied
/// (root's, 0755). The order of the members decides only the order of interests in one trigger;
/// dpkg sorts the rest.
///
/// # Errors
/// [`Error::Relation`] and [`Error::Control`] for control files that dpkg would not read either;
/// two members of one name and architecture.
pub fn database(members: &[Member<'_>], architecture: &str) -> Result<BTreeMap<TreePath, ControlFile>, Error> {
    let mut files = Files(BTreeMap::new());
    let mut sorted: BTreeMap<(String, String), Vec<u8>> = BTreeMap::new();
    let mut file_interests = String::new();
    let mut interests: BTreeMap<String, String> = BTreeMap::new();
    for member in members {
        let package = member.control.package()?;
        let stanza = status::stanza(package.stanza, member.state, &member.conffile_lines(), architecture)?;
        let key = (package.name.to_owned(), package.architecture.to_owned());
        if sorted.insert(key, stanza).is_some() {
            return Err(damaged(format!("the package {} is there twice", package.name)));
        }
        let qualified = match package.multi_arch {
            MultiArch::Same => format!("{}:{}", package.name, package.architecture),
            _ => package.name.to_owned(),
        };
        let mut list = member.listed.join(&b'\n');
        list.push(b'\n');
        files.add(&format!("info/{qualified}.list"), list, FILE_MODE)?;
        for (name, file) in &member.control.files {
            files.add(&format!("info/{qualified}.{name}"), file.bytes.clone(), file.mode)?;
        }
        for interest in triggers(member.control)? {
            let suffix = if interest.await_it { "" } else { "/noawait" };
            match interest.trigger.starts_with('/') {
                true => file_interests.push_str(&format!("{} {qualified}{suffix}\n", interest.trigger)),
                false => {
                    interests.entry(interest.trigger.into()).or_default().push_str(&format!("{qualified}{suffix}\n"))
                }
            }
        }
    }
    let mut text = Vec::new();
    for stanza in sorted.into_values() {
        text.extend_from_slice(&stanza);
        text.push(b'\n');
    }
    files.add("status", text, FILE_MODE)?;
    // Format 1: names of packages that may be there twice carry their architecture.
    files.add("info/format", b"1\n".to_vec(), FILE_MODE)?;
    for empty in ["diversions", "statoverride", "triggers/Unincorp"] {
        files.add(empty, Vec::new(), FILE_MODE)?;
    }
    // Only needed beside foreign architectures, but mmdebstrap always writes it.
    files.add("arch", format!("{architecture}\n").into_bytes(), FILE_MODE)?;
    if !file_interests.is_empty() {
        files.add("triggers/File", file_interests.into_bytes(), FILE_MODE)?;
    }
    for (trigger, packages) in interests {
        files.add(&format!("triggers/{trigger}"), packages.into_bytes(), FILE_MODE)?;
    }
    Ok(files.0)
}

struct Files(BTreeMap<TreePath, ControlFile>);

impl Files {
    fn add(&mut self, name: &str, bytes: Vec<u8>, mode: u32) -> Result<(), Error> {
        let path = TreePath::new(format!("var/lib/dpkg/{name}"));
        let path = path.map_err(|error| damaged(format!("the name {name:?} cannot be a file's: {error}")))?;
        self.0.insert(path, ControlFile { bytes, mode });
        Ok(())
    }
}

fn damaged(reason: String) -> Error {
    Error::Control { what: "package database".into(), line: 1, reason }
}

/// The triggers that a package is interested in.
fn triggers(control: &Control) -> Result<Vec<Interest<'_>>, Error> {
    let text = std::str::from_utf8(control.file("triggers").unwrap_or_default());
    let text = text.map_err(|_| damaged("a triggers file is not UTF-8".into()))?;
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or("").trim_ascii();
        let Some((directive, trigger)) = line.split_once([' ', '\t']) else { continue };
        let trigger = trigger.trim_ascii();
        let await_it = match directive {
            "interest" | "interest-await" => true,
            "interest-noawait" => false,
            // What a package activates is read by dpkg when it is unpacked and configured.
            _ => continue,
        };
        // deb-triggers(5): printable ASCII without blanks; a name may not look like a path.
        let plain = trigger.bytes().all(|byte| byte.is_ascii_graphic());
        let named = trigger.starts_with('/') || (!trigger.contains('/') && !trigger.starts_with('.'));
        let ours = ["File", "Unincorp", "Lock"].contains(&trigger);
        if trigger.is_empty() || !plain || !named || ours {
            return Err(damaged(format!("a triggers file names {trigger:?}, which is no trigger")));
        }
        found.push(Interest { trigger, await_it });
    }
    Ok(found)
}

/// apt's `/var/lib/apt/extended_states`: the packages that are there only because others want
/// them, given as name and architecture (`all` counts as the native one, as apt has it).
pub fn extended_states<'a>(automatic: impl IntoIterator<Item = (&'a str, &'a str)>, architecture: &str) -> Vec<u8> {
    let sorted: BTreeSet<(&str, &str)> =
        automatic.into_iter().map(|(name, own)| (name, if own == "all" { architecture } else { own })).collect();
    let mut text = String::new();
    for (name, architecture) in sorted {
        text.push_str(&format!("Package: {name}\nArchitecture: {architecture}\nAuto-Installed: 1\n\n"));
    }
    text.into_bytes()
}

/// The activations that unpacking a package causes: the trigger names of its `activate` lines,
/// with whether the package awaits them.
///
/// # Errors
/// [`Error::Control`] for a triggers file that is not UTF-8.
pub fn activations(control: &Control) -> Result<Vec<(String, bool)>, Error> {
    let text = std::str::from_utf8(control.file("triggers").unwrap_or_default());
    let text = text.map_err(|_| damaged("a triggers file is not UTF-8".into()))?;
    let words =
        text.lines().filter_map(|line| line.split('#').next().unwrap_or("").trim_ascii().split_once([' ', '\t']));
    let found = words.filter_map(|(directive, trigger)| match directive {
        "activate" | "activate-await" => Some((trigger.trim_ascii().to_owned(), true)),
        "activate-noawait" => Some((trigger.trim_ascii().to_owned(), false)),
        _ => None,
    });
    Ok(found.collect())
}

/// Whether a dpkg of this version reads the database as written here (format 1 came with 1.16.2).
pub fn is_read_by(dpkg_version: &str) -> bool {
    version::compare(dpkg_version, "1.16.2").is_ge()
}

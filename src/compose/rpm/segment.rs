//! A stretch of the transaction that runs in one session of the sandbox: packages are laid and
//! scriptlets run in turn, each seeing the packages before it and none after, as with rpm.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use layers::{Change, Entry, KeyBuilder, Stack, Tree, needs_materialising, plain_mode};
use providers::rpm::scripts::Phase;
use providers::rpm::transaction::{Kind, Run, Users};
use sandbox::{Command, Step};

use super::unpack::Unpacked;
use crate::compose::failure;
use crate::compose::materialise::{materialise, place};
use crate::compose::scaffold::write;
use crate::compose::{command_with, step::Work};
use crate::error::Error;

/// Where the text of a scriptlet lies while it runs (rpm, lib/rpmscript.c, `runExtScript`), with a
/// number behind it.
const TEXT: &str = "var/tmp/rpm-tmp.";

/// The function of ours that interprets Lua.
const LUA: &[u8] = b"lua";

/// What a segment does, in order.
enum Part {
    /// As many layers are mounted from here on as there are, and these entries made again on top.
    Mount { layers: usize, entries: Vec<Step>, keep: Vec<Vec<u8>> },
    /// A scriptlet runs.
    Run(Run),
}

/// A stretch of the transaction.
pub struct Segment {
    /// What was there before it.
    before: Stack,
    parts: Vec<Part>,
    /// What was laid since the last part.
    laid: Vec<Step>,
    kept: Vec<Vec<u8>>,
    is_behind: bool,
}

impl Segment {
    /// Begins with a stack.
    pub fn on(stack: &Stack) -> Self {
        Self { before: stack.clone(), parts: Vec::new(), laid: Vec::new(), kept: Vec::new(), is_behind: false }
    }

    /// Whether it runs anything.
    pub fn runs(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Run(_)))
    }

    /// A package was laid: its layer is the topmost of the stack.
    pub fn lay(&mut self, package: &Unpacked, stack: &Stack) {
        self.is_behind = true;
        let Some(layer) = stack.layers().last() else { return };
        for path in layer.layer.changes.keys() {
            let Some(entry) = stack.tree().get(path) else { continue };
            let shown = package.layer.layer.changes.get(path);
            let misshown = entry.is_directory() && is_misshown(entry, shown);
            if needs_materialising(entry) || misshown {
                self.laid.push(place(path, entry));
            }
        }
        // A configuration file that a scriptlet has made counts as the administrator's.
        self.kept.extend(package.configurations().map(|path| path.as_bytes().to_vec()));
    }

    /// A scriptlet runs.
    pub fn run(&mut self, scriptlet: Run, stack: &Stack) {
        self.catch_up(stack);
        self.parts.push(Part::Run(scriptlet));
    }

    /// Users and groups of a package are made, as rpm 4.19 does it (its scripts/sysusers.sh).
    pub fn make_users(&mut self, package: &str, users: Users, stack: &Stack) {
        let mut interpreter: Vec<Box<str>> = vec!["systemd-sysusers".into()];
        if let Some(file) = &users.file {
            interpreter.push(format!("--replace={}", String::from_utf8_lossy(file)).into());
        }
        interpreter.push("-".into());
        self.run(
            Run {
                package: package.into(),
                kind: Kind::Scriptlet(Phase::Pre),
                interpreter,
                body: None,
                expand: false,
                query: false,
                arguments: Vec::new(),
                input: users.lines,
                prefixes: Vec::new(),
                is_critical: true,
            },
            stack,
        );
    }

    /// What was laid is mounted.
    fn catch_up(&mut self, stack: &Stack) {
        if self.is_behind {
            let (entries, keep) = (std::mem::take(&mut self.laid), std::mem::take(&mut self.kept));
            self.parts.push(Part::Mount { layers: stack.layers().len(), entries, keep });
            self.is_behind = false;
        }
    }

    /// Nothing more is laid or run. What scriptlets made must not hide what was laid after them, so
    /// all is mounted at the end.
    pub fn end(&mut self, stack: &Stack) {
        self.catch_up(stack);
    }

    /// What the segment depends on, besides the layers below its end.
    pub fn enter(&self, key: KeyBuilder) -> KeyBuilder {
        let mut words: Vec<Vec<u8>> = Vec::new();
        for part in &self.parts {
            match part {
                Part::Mount { layers, .. } => words.push(format!("mount {layers}").into_bytes()),
                Part::Run(run) => {
                    words.push(run.to_string().into_bytes());
                    words.push(run.interpreter.join("\0").into_bytes());
                    words.push(run.body.as_deref().unwrap_or_default().to_vec());
                    words.push(run.arguments.iter().map(|argument| format!("{argument} ")).collect::<String>().into());
                    words.push(run.input.clone());
                    words.push(vec![u8::from(run.body.is_some()), u8::from(run.is_critical)]);
                }
            }
        }
        key.list("before", self.before.layers().iter().map(|layer| layer.id)).list("parts", words)
    }

    /// The session's steps, with a directory on top that holds the texts of scriptlets and is never
    /// part of the image.
    ///
    /// # Errors
    /// I/O errors.
    pub fn work(&self, stack: &Stack, top: &Path, epoch: i64) -> Result<Work, Error> {
        let mount = |layers: usize, keep: &[Vec<u8>]| {
            let mut lowers: Vec<PathBuf> = stack.lowest_directories(layers);
            lowers.push(top.to_path_buf());
            Step::Stack { lowers, keep: keep.to_vec() }
        };
        let mut steps = vec![mount(self.before.layers().len(), &[])];
        steps.extend(materialise(&self.before));
        let mut names = BTreeMap::new();
        for part in &self.parts {
            match part {
                Part::Mount { layers, entries, keep } => {
                    steps.push(mount(*layers, keep));
                    steps.extend(entries.iter().cloned());
                }
                Part::Run(scriptlet) => {
                    names.insert(steps.len(), scriptlet.to_string());
                    steps.push(Step::Run(scriptlet_command(scriptlet, names.len(), top, stack.tree(), epoch)?));
                }
            }
        }
        let origin = failure::Origin::Scriptlets(names);
        Ok(Work { origin, steps, hold: Vec::new(), note: None, tentative: false })
    }
}

/// Whether overlay shows a directory with another mode than the tree has, because a later layer
/// brings it so.
fn is_misshown(entry: &Entry, shown: Option<&Change>) -> bool {
    match shown {
        Some(Change::Set(shown) | Change::Replace(shown)) => plain_mode(shown) != plain_mode(entry),
        _ => false,
    }
}

/// How a scriptlet is started: its interpreter with the file of its text and its arguments.
fn scriptlet_command(scriptlet: &Run, number: usize, top: &Path, below: &Tree, epoch: i64) -> Result<Command, Error> {
    let variables = [
        // rpm's own (its macros, `_install_script_path`).
        ("PATH", "/sbin:/bin:/usr/sbin:/usr/bin".to_owned()),
        // Without it systemctl tries to reach a systemd that runs (systemd, docs/ENVIRONMENT.md).
        ("SYSTEMD_OFFLINE", "1".to_owned()),
    ];
    let mut run = command_with(&[], epoch, &variables);
    run.stdin = scriptlet.input.clone();
    if !scriptlet.is_critical {
        run.ok = (1..=255).collect();
    }
    let text = scriptlet.body.as_deref().unwrap_or_default();
    run.argv = if scriptlet.is_lua() {
        run.builtin = true;
        let mut argv = vec![LUA.to_vec(), scriptlet.to_string().into_bytes(), text.to_vec()];
        argv.extend(scriptlet.arguments.iter().map(|argument| argument.to_string().into_bytes()));
        argv
    } else {
        let path = format!("{TEXT}{number}");
        if scriptlet.body.is_some() {
            write(top, &path, text, 0o600, below)?;
        }
        scriptlet.command(&format!("/{path}")).into_iter().map(String::into_bytes).collect()
    };
    Ok(run)
}

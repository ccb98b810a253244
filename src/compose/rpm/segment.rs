//! A stretch of the transaction that runs in one session of the sandbox: packages are laid and
//! scriptlets run in turn, each seeing the packages before it and none after, as with rpm.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use layers::{Change, Layer, RecipeBuilder, Stack, Tree, needs_materialising};
use providers::rpm::transaction::{Run, Users};
use sandbox::{Command, Step};

use crate::compose::failure;
use crate::compose::materialise::{materialise, place};
use crate::compose::scaffold::write;
use crate::compose::{command_with, step::Work};
use crate::error::Error;
use crate::sysusers;

/// Where the text of a scriptlet lies while it runs (rpm, lib/rpmscript.c, `runExtScript`), with a
/// number behind it.
const TEXT: &str = "var/tmp/rpm-tmp.";

/// The function of ours that interprets Lua.
const LUA: &[u8] = b"lua";

/// What a segment does, in order.
enum Part {
    /// As many layers are mounted from here on as there are, and these entries made again on top.
    Mount { layers: usize, entries: Vec<Step> },
    /// A scriptlet runs.
    Run(Run),
    /// Users and groups of a package are made.
    Users { package: Box<str>, users: Users },
}

/// A stretch of the transaction.
pub struct Segment {
    /// What was there before it.
    before: Stack,
    parts: Vec<Part>,
    /// What was laid since the last part.
    laid: Vec<Step>,
    is_behind: bool,
}

impl Segment {
    /// Begins with a stack.
    pub fn on(stack: &Stack) -> Self {
        Self { before: stack.clone(), parts: Vec::new(), laid: Vec::new(), is_behind: false }
    }

    /// Whether it runs anything.
    pub fn runs(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Run(_) | Part::Users { .. }))
    }

    /// A package was laid, with this meaning: its layer is the topmost of the stack.
    pub fn lay(&mut self, meaning: &Layer) {
        self.is_behind = true;
        for (path, change) in &meaning.changes {
            if let Change::Set(entry) = change
                && needs_materialising(entry)
            {
                self.laid.push(place(path, entry));
            }
        }
    }

    /// A scriptlet runs.
    pub fn run(&mut self, scriptlet: Run, stack: &Stack) {
        self.catch_up(stack);
        self.parts.push(Part::Run(scriptlet));
    }

    /// Users and groups of a package are made. rpm 4.19 and later start the machine's
    /// systemd-sysusers for it; the image's is not there when the first packages are laid, so it is
    /// a function of ours.
    pub fn make_users(&mut self, package: &str, users: Users, stack: &Stack) {
        self.catch_up(stack);
        self.parts.push(Part::Users { package: package.into(), users });
    }

    /// What was laid is mounted.
    fn catch_up(&mut self, stack: &Stack) {
        if self.is_behind {
            let entries = std::mem::take(&mut self.laid);
            self.parts.push(Part::Mount { layers: stack.layers().len(), entries });
            self.is_behind = false;
        }
    }

    /// Nothing more is laid or run. What scriptlets made must not hide what was laid after them, so
    /// all is mounted at the end.
    pub fn end(&mut self, stack: &Stack) {
        self.catch_up(stack);
    }

    /// What the segment depends on, besides the layers below its end.
    pub fn enter(&self, recipe: RecipeBuilder) -> RecipeBuilder {
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
                    words.extend(run.prefixes.iter().map(|prefix| prefix.to_vec()));
                    words.push(vec![u8::from(run.body.is_some()), u8::from(run.is_critical)]);
                }
                Part::Users { package, users } => {
                    words.push(format!("users {package}").into_bytes());
                    words.push(users.file.as_deref().unwrap_or_default().to_vec());
                    words.push(users.lines.clone());
                }
            }
        }
        recipe.list("before", self.before.layers().iter().map(|layer| layer.id)).list("parts", words)
    }

    /// The session's steps, with a directory on top that holds the texts of scriptlets and is never
    /// part of the image.
    ///
    /// # Errors
    /// I/O errors.
    pub fn work(&self, stack: &Stack, top: &Path, epoch: i64) -> Result<Work, Error> {
        let mount = |layers: usize| {
            let mut lowers: Vec<PathBuf> = stack.lowest_directories(layers);
            lowers.push(top.to_path_buf());
            // Whatever a scriptlet has made, rpm would write over with what a package brings later.
            Step::Stack { lowers, keep: Vec::new() }
        };
        let mut steps = vec![mount(self.before.layers().len())];
        steps.extend(materialise(&self.before));
        let mut names = BTreeMap::new();
        for part in &self.parts {
            match part {
                Part::Mount { layers, entries } => {
                    steps.push(mount(*layers));
                    steps.extend(entries.iter().cloned());
                }
                Part::Run(scriptlet) => {
                    names.insert(steps.len(), scriptlet.to_string());
                    steps.push(Step::Run(scriptlet_command(scriptlet, names.len(), top, stack.tree(), epoch)?));
                }
                Part::Users { package, users } => {
                    names.insert(steps.len(), format!("the users and groups of {package}"));
                    steps.push(Step::Run(users_command(users, epoch)));
                }
            }
        }
        let origin = failure::Origin::Scriptlets(names);
        Ok(Work { origin, steps, hold: Vec::new(), note: None, tentative: false })
    }
}

/// How users and groups are made.
fn users_command(users: &Users, epoch: i64) -> Command {
    let mut run = command_with(&[sysusers::BUILTIN.name.to_owned()], epoch, &[]);
    run.builtin = true;
    run.argv.extend(users.file.as_ref().map(|file| file.to_vec()));
    run.stdin = users.lines.clone();
    run
}

/// How a scriptlet is started: its interpreter with the file of its text and its arguments.
fn scriptlet_command(scriptlet: &Run, number: usize, top: &Path, below: &Tree, epoch: i64) -> Result<Command, Error> {
    let mut variables = vec![
        // rpm's own (its macros, `_install_script_path`).
        ("PATH", "/sbin:/bin:/usr/sbin:/usr/bin".to_owned()),
        // Without it systemctl tries to reach a systemd that runs (systemd, docs/ENVIRONMENT.md).
        ("SYSTEMD_OFFLINE", "1".to_owned()),
    ];
    // Where a relocatable package is (rpm, lib/rpmscript.c, `doScriptExec`).
    let prefixes: Vec<(String, String)> = scriptlet
        .prefixes
        .iter()
        .enumerate()
        .map(|(number, prefix)| (format!("RPM_INSTALL_PREFIX{number}"), String::from_utf8_lossy(prefix).into_owned()))
        .collect();
    variables.extend(prefixes.first().map(|(_, first)| ("RPM_INSTALL_PREFIX", first.clone())));
    variables.extend(prefixes.iter().map(|(name, prefix)| (name.as_str(), prefix.clone())));
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

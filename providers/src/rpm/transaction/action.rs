//! What is to be done, step by step.

use std::fmt;

use super::users::Users;
use crate::rpm::scripts::{Event, Phase};

/// What made a script run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// The package's own installation.
    Scriptlet(Phase),
    /// Another package.
    Trigger(Event),
    /// Files of one package.
    FileTrigger(Event),
    /// Files of all packages of the transaction, or of the system.
    TransactionFileTrigger(Event),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, event) = match self {
            Self::Scriptlet(phase) => return f.write_str(phase.name()),
            Self::Trigger(event) => ("%trigger", event),
            Self::FileTrigger(event) => ("%filetrigger", event),
            Self::TransactionFileTrigger(event) => ("%transfiletrigger", event),
        };
        let event = match event {
            Event::PreIn => "prein",
            Event::In => "in",
            Event::Un => "un",
            Event::PostUn => "postun",
        };
        write!(f, "{prefix}{event}")
    }
}

/// One run of a script or program.
///
/// rpm runs it in `/` of the image with umask 022 and `PATH=/sbin:/bin:/usr/sbin:/usr/bin`; a
/// script is written to a file of its own below `/var/tmp`, whose path comes before the arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Whose script it is: name, version, release and architecture, as rpm prints them.
    pub package: Box<str>,
    /// What made it run.
    pub kind: Kind,
    /// The interpreter and its own arguments; `<lua>` for the one within rpm. Never empty.
    pub interpreter: Vec<Box<str>>,
    /// The script. Without one the interpreter runs alone, and gets no arguments.
    pub body: Option<Box<[u8]>>,
    /// `-e`: rpm expands macros in the script before it runs it.
    pub expand: bool,
    /// `-q`: rpm expands the script as a query of the package's header.
    pub query: bool,
    /// `$1` and `$2`: how many packages of the script's package's name are there, and how many of
    /// the name that set it off. File triggers get a 0.
    pub arguments: Vec<u32>,
    /// What it reads from its standard input: for file triggers the paths, one on a line.
    pub input: Vec<u8>,
    /// Where the package's files may be moved: `RPM_INSTALL_PREFIX0` and so on; the first is
    /// `RPM_INSTALL_PREFIX` as well.
    pub prefixes: Vec<Box<[u8]>>,
    /// Whether the package is not installed when it fails. Elsewhere a failure is a warning.
    pub is_critical: bool,
}

impl Run {
    /// Whether it is for the interpreter within rpm.
    pub fn is_lua(&self) -> bool {
        self.interpreter.first().is_some_and(|name| &**name == "<lua>")
    }

    /// The command, once the script is in a file at this path of the image.
    pub fn command(&self, script: &str) -> Vec<String> {
        let mut command: Vec<String> = self.interpreter.iter().map(|word| word.to_string()).collect();
        if self.body.is_some() {
            command.push(script.to_owned());
            command.extend(self.arguments.iter().map(u32::to_string));
        }
        command
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.kind, self.package)
    }
}

/// One step of an installation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Runs a script.
    Script(Run),
    /// Makes users and groups, before the package's files are laid. rpm 4.19 does it by
    /// `systemd-sysusers [--replace FILE] -`, and does not install the package when that fails.
    MakeUsers {
        /// Its place among the packages to install.
        package: usize,
        /// Which ones.
        users: Users,
    },
    /// Lays the files of a package, and enters it into the database.
    Lay {
        /// Its place among the packages to install.
        package: usize,
    },
}

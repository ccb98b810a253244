//! How much of a sandbox a machine allows.

use std::fmt;

/// One rung of the sandbox ladder, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// User namespaces with a subordinate range of ids: chown is real.
    Userns,
    /// User namespaces with one mapped id: a supervisor answers what that id cannot do.
    UsernsSingle,
    /// uid 0 without namespaces or mounts: chroot, a copied tree, and the same supervisor.
    Root,
}

impl Rung {
    /// Every rung, in the order in which they are tried.
    pub const ALL: [Rung; 3] = [Rung::Userns, Rung::UsernsSingle, Rung::Root];

    /// The name used on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Rung::Userns => "userns",
            Rung::UsernsSingle => "userns-single",
            Rung::Root => "root",
        }
    }

    /// The rung of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Rung> {
        Rung::ALL.into_iter().find(|rung| rung.name() == name)
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

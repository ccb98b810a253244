//! A scriptlet about to run.

/// One scriptlet or trigger of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scriptlet {
    /// What people call it, such as `%post(bash)`.
    pub name: String,
    /// Its interpreter with the interpreter's own arguments.
    pub argv: Vec<Vec<u8>>,
    /// What the interpreter is given to interpret; a scriptlet such as `-p /sbin/ldconfig` has none.
    pub text: Option<Vec<u8>>,
    /// Its own arguments: how many instances of packages there will be.
    pub arguments: Vec<Vec<u8>>,
    /// What it reads: the paths for which a file trigger fires, one a line.
    pub stdin: Vec<u8>,
    /// Whether rpm's own Lua interprets it.
    pub is_lua: bool,
    /// Whether the installation fails where it does.
    pub is_critical: bool,
}

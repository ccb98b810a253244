//! What the supervisor can be asked to do, with the places of its arguments.

/// How a call names the file it is about; numbers are argument indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    /// A path relative to the working directory.
    Path { path: u8, follow: bool },
    /// An open file.
    Fd(u8),
    /// Directory in argument 0, path in argument 1, `AT_*` flags in that argument.
    At { flags: u8 },
}

impl Where {
    /// A path whose last component is followed if it is a link.
    pub(crate) const fn path(path: u8) -> Where {
        Where::Path { path, follow: true }
    }
    /// A path whose last component is not followed.
    pub(crate) const fn link(path: u8) -> Where {
        Where::Path { path, follow: false }
    }
    /// The form of the `*at` calls.
    pub(crate) const fn at(flags: u8) -> Where {
        Where::At { flags }
    }
}

/// A call about the ids of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential {
    GetUid,
    GetEuid,
    GetGid,
    GetEgid,
    GetResuid,
    GetResgid,
    GetGroups,
    SetUid,
    SetGid,
    SetReuid,
    SetRegid,
    SetResuid,
    SetResgid,
    SetFsuid,
    SetFsgid,
    SetGroups,
}

/// What is asked; `u8` fields are argument indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// chown and its kin; `short` ids have 16 bits.
    Own { place: Where, uid: u8, gid: u8, short: bool },
    /// stat into the interface's own structure.
    Stat { place: Where, out: u8 },
    /// statx.
    Statx { place: Where, flags: u8, mask: u8, out: u8 },
    /// mknod.
    Node { dir: Option<u8>, path: u8, mode: u8, dev: u8 },
    /// mkdir.
    Mkdir { dir: Option<u8>, path: u8, mode: u8 },
    /// symlink.
    Symlink { target: u8, dir: Option<u8>, path: u8 },
    /// open with `O_CREAT`; without a flags argument it is creat.
    Open { dir: Option<u8>, path: u8, flags: Option<u8>, mode: u8 },
    /// Sets an attribute: name, value, size, flags in arguments 1 to 4.
    SetXattr(Where),
    /// Reads an attribute: name, value, size in arguments 1 to 3.
    GetXattr(Where),
    /// Lists attributes: list, size in arguments 1 and 2.
    ListXattr(Where),
    /// Removes an attribute: name in argument 1.
    RemoveXattr(Where),
    /// set*id and get*id.
    Credential { which: Credential, short: bool },
    /// execve.
    Exec(Where),
    /// capset.
    CapSet,
    /// prctl with `PR_SET_KEEPCAPS` or `PR_SET_SECUREBITS`.
    Keep,
    /// prlimit64.
    Limit,
    /// kill.
    Signal,
    /// A call about the process or thread in that argument.
    Target { pid: u8 },
    /// setpriority and its kin: what argument 1 names is said by argument 0, where this value
    /// means a process.
    Priority { process: u32 },
    /// setsid, setpgid.
    Group,
    /// pidfd_open.
    ProcessDescriptor,
    /// uname.
    Uname,
    /// readlink: path, buffer and size from that argument on.
    ReadLink { path: u8 },
    /// access.
    Access { path: u8 },
    /// chmod by path.
    Mode { path: u8, mode: u8 },
    /// utimensat.
    Times,
    /// statfs.
    FileSystem,
    /// fstatfs.
    FileSystemOf,
}

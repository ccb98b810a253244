//! Mounts an overlay, with the kernel's new interface or its old one.

use super::fault::Doing;
use super::stack::STACK;
use super::view;
use crate::error::Fault;
use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};
use std::ffi::CString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What mount(2) takes as data, for kernels before `lowerdir+` (Linux 6.7).
const PAGE: usize = 4096;

/// Mounts an overlay: `lowers` bottom first, upper and work if it is to be written.
pub(super) fn overlay(
    at: &Path,
    lowers: &[PathBuf],
    writable: Option<(&Path, &Path)>,
    links: &Path,
) -> Result<(), Fault> {
    match overlay_new(at, lowers, writable) {
        // The parameter `lowerdir+` is not known to this kernel: some say so at once, those before 6.5 take
        // any parameter and refuse when the file system is made.
        Err(Fault::System { errno, .. }) if errno == libc::EINVAL => overlay_old(at, lowers, writable, links),
        other => other,
    }
}

fn overlay_new(at: &Path, lowers: &[PathBuf], writable: Option<(&Path, &Path)>) -> Result<(), Fault> {
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).doing(STACK, || "fsopen(\"overlay\")".into())?;
    // A value may have 255 bytes, so directories are named through our open files.
    let set = |key: &str, path: &Path| -> Result<(), Fault> {
        use std::os::fd::AsRawFd;
        let call = || format!("fsconfig(\"overlay\", {key}={})", path.display());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(path, flags, Mode::empty()).doing(STACK, call)?;
        let name = format!("/proc/self/fd/{}", directory.as_raw_fd());
        fsconfig_set_string(fs.as_fd(), key, name).doing(STACK, call)
    };
    for lower in lowers.iter().rev() {
        set("lowerdir+", lower)?;
    }
    let mut flags = vec!["userxattr"];
    if let Some((upper, work)) = writable {
        set("upperdir", upper)?;
        set("workdir", work)?;
        flags.push("volatile");
    }
    for flag in flags {
        fsconfig_set_flag(fs.as_fd(), flag).doing(STACK, || format!("fsconfig(\"overlay\", {flag})"))?;
    }
    for key in ["index", "metacopy"] {
        fsconfig_set_string(fs.as_fd(), key, "off").doing(STACK, || format!("fsconfig(\"overlay\", {key}=off)"))?;
    }
    fsconfig_create(fs.as_fd())
        .doing(STACK, || format!("fsconfig(\"overlay\", create) with {} lower directories", lowers.len()))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOATIME;
    let fd = fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .doing(STACK, || "fsmount(\"overlay\")".into())?;
    view::attach(&fd, at)
}

/// With mount(2), whose data is one page: directories get short names.
fn overlay_old(at: &Path, lowers: &[PathBuf], writable: Option<(&Path, &Path)>, links: &Path) -> Result<(), Fault> {
    let call = || format!("mount(\"overlay\", {}) with {} lower directories", at.display(), lowers.len());
    for entry in fs::read_dir(links).doing(STACK, call)?.flatten() {
        let _ = fs::remove_file(entry.path());
    }
    let link = |name: &str, target: &Path| rustix::fs::symlink(target, links.join(name)).doing(STACK, call);
    let mut names = Vec::new();
    for (index, lower) in lowers.iter().enumerate().rev() {
        let name = format!("{index:x}");
        link(&name, lower)?;
        names.push(name);
    }
    let mut data = format!("lowerdir={},userxattr,index=off,metacopy=off", names.join(":"));
    if let Some((upper, work)) = writable {
        link("u", upper)?;
        link("w", work)?;
        data.push_str(",upperdir=u,workdir=w,volatile");
    }
    if data.len() >= PAGE {
        return Err(Fault::Path {
            path: at.as_os_str().as_bytes().to_vec(),
            reason: format!("{} layers are too many for a kernel before 6.7", lowers.len()),
        });
    }
    let data = CString::new(data).map_err(|_| Fault::Helper { detail: "NUL in a name".into() })?;
    rustix::process::chdir(links).doing(STACK, call)?;
    let flags = MountFlags::NODEV | MountFlags::NOATIME;
    let mounted = rustix::mount::mount("overlay", at, "overlay", flags, data.as_c_str());
    rustix::process::chdir("/").doing(STACK, call)?;
    mounted.doing(STACK, call)
}

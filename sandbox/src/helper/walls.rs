//! What a command gives up before it starts.

use super::fault::Doing;
use crate::capability;
use crate::error::Fault;
use crate::supervisor::tasks::{CARRIER, MAX_CREDENTIALS};
use crate::sys;
use caps::Capability;
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    Scope,
};
use std::path::Path;

const DOING: &str = "shut the command in";

/// Before, nothing in a tree could be moved from one directory to another (`REFER`).
const LEAST_LANDLOCK: i32 = 2;

/// From here on signals and sockets without a file are kept apart.
pub(crate) const SCOPED_LANDLOCK: i32 = 6;

/// Drops every capability that is not in the list of those kept.
pub(super) fn drop_capabilities(bare: bool) -> Result<(), Fault> {
    let failed =
        |error: caps::errors::CapsError| Fault::Helper { detail: format!("capabilities cannot be dropped: {error}") };
    for capability in caps::all() {
        // With it uid 0 walks out of the root that it has here.
        let leads_out = bare && capability == Capability::CAP_SYS_CHROOT;
        let kept = !leads_out && capability::KEPT.iter().any(|(kept, _)| *kept == capability);
        // The kernel may be older than the list.
        if !kept && caps::has_cap(None, caps::CapSet::Bounding, capability).unwrap_or(false) {
            caps::drop(None, caps::CapSet::Bounding, capability).map_err(failed)?;
        }
    }
    caps::clear(None, caps::CapSet::Ambient).map_err(failed)?;
    caps::clear(None, caps::CapSet::Inheritable).map_err(failed)
}

/// Gives up what exec would take: all of a process's capabilities that are not in its bounding set.
///
/// Where the filter asks about capset(2) it must come before the filter, which then needs
/// [`no_new_privileges`]; everywhere else it comes after, as filtering takes a capability.
pub(super) fn drop_as_exec(bare: bool) -> Result<(), Fault> {
    let failed =
        |error: caps::errors::CapsError| Fault::Helper { detail: format!("capabilities cannot be dropped: {error}") };
    let mut kept = caps::read(None, caps::CapSet::Permitted).map_err(failed)?;
    kept.retain(|capability| {
        let leads_out = bare && *capability == Capability::CAP_SYS_CHROOT;
        !leads_out && capability::KEPT.iter().any(|(kept, _)| kept == capability)
    });
    caps::set(None, caps::CapSet::Effective, &kept).map_err(failed)?;
    caps::set(None, caps::CapSet::Permitted, &kept).map_err(failed)
}

/// What the kernel wants before a filter of one without CAP_SYS_ADMIN.
pub(super) fn no_new_privileges() -> Result<(), Fault> {
    rustix::thread::set_no_new_privs(true).doing(DOING, || "prctl(PR_SET_NO_NEW_PRIVS)".into())
}

/// Sets the limit that carries a process's ids to what stands for uid 0.
pub(super) fn carrier() -> Result<(), Fault> {
    let doing = "prepare the command's ids";
    let (_, most) = sys::limit_of(0, CARRIER).doing(doing, || "prlimit(RLIMIT_RTTIME)".into())?;
    if most <= MAX_CREDENTIALS {
        let detail = format!("the hard limit on real-time CPU time is {most}, more than {MAX_CREDENTIALS} are needed");
        return Err(Fault::Helper { detail });
    }
    sys::set_limit_of(0, CARRIER, (most, most)).doing(doing, || "prlimit(RLIMIT_RTTIME)".into())
}

/// Makes `root` the root, for good: by chroot, and again by landlock where the kernel has it.
pub(super) fn shut_in(root: &Path) -> Result<(), Fault> {
    rustix::process::chroot(root).doing(DOING, || format!("chroot({})", root.display()))?;
    rustix::process::chdir("/").doing(DOING, || "chdir(/)".into())?;
    // Without CAP_SYS_ADMIN the kernel wants it before a filter; set-uid bits act on our ids anyway.
    no_new_privileges()?;
    if sys::landlock_version() < LEAST_LANDLOCK {
        return Ok(());
    }
    let failed = |error: &dyn std::fmt::Display| Fault::Helper { detail: format!("landlock: {error}") };
    let all = AccessFs::from_all(ABI::V5);
    let top = PathFd::new("/").map_err(|error| failed(&error))?;
    let scopes = Scope::from_all(ABI::V6);
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)
        .and_then(|rules| rules.scope(scopes))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rule(PathBeneath::new(top, all)))
        .and_then(|rules| rules.restrict_self())
        .map(drop)
        .map_err(|error| failed(&error))
}

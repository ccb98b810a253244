//! Which rungs the machine allows: the operations are tried, and what failed is explained.

use crate::error::Error;
use crate::helper::walls::SCOPED_LANDLOCK;
use crate::idmap;
use crate::message::{Order, Report};
use crate::rung::Rung;
use crate::runner::Helper;
use crate::wire::wire_struct;

/// One check of one rung, for `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The rung it belongs to.
    pub rung: Rung,
    /// What was tried.
    pub name: String,
    /// Whether it worked.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
    /// What would make it work, if anything is known to.
    pub hint: Option<String>,
}

wire_struct!(Check { rung, name, ok, detail, hint });

/// Tries every rung, and says of each what worked and what did not. A rung can be used if
/// all its checks are ok.
#[must_use]
pub fn probe() -> Vec<Check> {
    Rung::ALL.into_iter().flat_map(probe_rung).collect()
}

/// The best rung that this machine allows, or the forced one if it works.
///
/// # Errors
/// [`Error::Unavailable`] if the forced rung does not work, [`Error::NoRung`] if none does.
pub fn choose(forced: Option<Rung>) -> Result<Rung, Error> {
    let mut reasons = Vec::new();
    let mut hint = None;
    for rung in Rung::ALL {
        if forced.is_some_and(|forced| forced != rung) {
            continue;
        }
        let given = forced.is_some();
        let Some(failed) = probe_rung(rung).into_iter().find(|check| !check.ok && !(given && check.name == WORD))
        else {
            return Ok(rung);
        };
        let reason = format!("{}: {}", failed.name, failed.detail);
        if forced.is_some() {
            return Err(Error::Unavailable { rung, reason, hint: failed.hint });
        }
        // The last rung with a way out asks least of the machine.
        hint = failed.hint.or(hint);
        reasons.push(format!("{rung}: {reason}"));
    }
    Err(Error::NoRung { reason: reasons.join("; "), hint })
}

/// The check that the user's word outdoes.
const WORD: &str = "walls";

/// Whether everything that the other rungs promise holds without namespaces too.
fn word() -> Check {
    let version = crate::sys::landlock_version();
    let ok = version >= SCOPED_LANDLOCK;
    let detail = match version {
        0 => "no landlock: only chroot and the filter keep the payload in".to_owned(),
        _ if ok => format!("chroot, the filter, and landlock {version}"),
        _ => format!("landlock {version} does not keep sockets without a file apart (6 does, Linux 6.12)"),
    };
    let hint = (!ok).then(|| "--rung root takes it as it is; docs/rungs.md says what holds where".to_owned());
    Check { rung: Rung::Root, name: WORD.into(), ok, detail, hint }
}

fn probe_rung(rung: Rung) -> Vec<Check> {
    let check = |name: &str, ok: bool, detail: String, hint: Option<String>| Check {
        rung,
        name: name.to_owned(),
        ok,
        detail,
        hint,
    };
    let mut checks = Vec::new();
    match rung {
        Rung::Root => {
            let uid = rustix::process::geteuid();
            if !uid.is_root() {
                let detail = format!("this is uid {}", uid.as_raw());
                return vec![check("uid 0", false, detail, None)];
            }
            checks.push(check("uid 0", true, "this is uid 0".into(), None));
        }
        Rung::Userns => match idmap::available() {
            Ok(detail) => checks.push(check("subordinate ids", true, detail, None)),
            Err(missing) => {
                checks.push(check("subordinate ids", false, missing.what, Some(missing.hint)));
                return checks;
            }
        },
        Rung::UsernsSingle => {}
    }
    let (name, entered) = match rung {
        Rung::Root => ("a helper", "started"),
        _ => ("namespaces and id maps", "entered"),
    };
    let answer = Helper::start(rung).and_then(|mut helper| {
        helper.send(&Order::Probe)?;
        let report = helper.receive()?;
        helper.finish();
        Ok(report)
    });
    match answer {
        Ok(Report::Checked { checks: found }) => {
            checks.push(check(name, true, entered.into(), None));
            checks.extend(found);
            if rung == Rung::Root {
                checks.push(word());
            }
        }
        Ok(_) => checks.push(check(name, false, "the helper spoke nonsense".into(), None)),
        Err(error) => {
            let hint = error.hint().map(str::to_owned);
            checks.push(check(name, false, error.to_string(), hint));
        }
    }
    checks
}

//! The known differences between our trees and the referees', each with its reason. What packages
//! leave behind that no image keeps is not among them: the provider's table of volatile paths has
//! it, with its reasons.

use providers::distro::{Rule, VolatilePath};

use super::compare::{Aspect, Difference};

/// A known difference.
pub struct Known {
    /// Words that the difference must have, all of them.
    pub only: &'static [&'static str],
    /// A path, or everything that starts with it where it ends in `*`.
    pub path: &'static str,
    pub aspects: &'static [Aspect],
    pub why: &'static str,
}

/// Those from mmdebstrap's. Whoever adds one says why it is right.
pub const DEBIAN: &[Known] = &[
    Known {
        only: &[],
        path: "/lost+found",
        aspects: &[Aspect::OnlyOurs],
        why: "belongs to the file system, not to the tree (e2fsck(8) wants it)",
    },
    Known {
        only: &[],
        path: "/dev/*",
        aspects: &[Aspect::OnlyTheirs],
        why: "devtmpfs is mounted over it before anything runs: the nodes are for containers",
    },
    Known {
        only: &[],
        path: "/run/*",
        aspects: &[Aspect::OnlyTheirs],
        why: "a tmpfs is mounted over it before anything runs",
    },
    Known {
        only: &[],
        path: "/etc/hostname",
        aspects: &[Aspect::OnlyTheirs],
        why: "mmdebstrap copies the building machine's; ours comes from the spec, in the configuration stage",
    },
    Known {
        only: &[],
        path: "/etc/.resolv.conf.systemd-resolved.bak",
        aspects: &[Aspect::OnlyTheirs],
        why: "systemd-resolved's copy of the building machine's, which mmdebstrap had put there",
    },
    Known {
        only: &[],
        path: "/etc/fstab",
        aspects: &[Aspect::OnlyTheirs],
        why: "mmdebstrap's placeholder; ours is written in the configuration stage",
    },
    Known {
        only: &[],
        path: "/etc/apt/sources.list*",
        aspects: &[Aspect::OnlyOurs, Aspect::OnlyTheirs],
        why: "mmdebstrap writes the mirror of this machine; we write the canonical repositories, one file each",
    },
    Known {
        only: &[],
        path: "/var/lib/apt/lists/*",
        aspects: &[Aspect::OnlyTheirs, Aspect::Mode, Aspect::Owner],
        why: "made by running apt in the tree, which we do not; apt makes it again",
    },
    Known {
        only: &[],
        path: "/var/cache/apt/archives/*",
        aspects: &[Aspect::OnlyTheirs, Aspect::Mode, Aspect::Owner],
        why: "made by running apt in the tree, which we do not; apt makes it again",
    },
    Known {
        only: &["ssl-cert-snakeoil.pem"],
        path: "/etc/ssl/certs/*",
        aspects: &[Aspect::OnlyOurs, Aspect::OnlyTheirs],
        why: "named after a digest of the building machine's host name",
    },
    Known {
        only: &[],
        path: "/var/lib/ucf/hashfile.*",
        aspects: &[Aspect::Content],
        why: "ucf's copies from before each change: packages are configured in each tool's own order",
    },
    Known {
        only: &[],
        path: "/var/lib/ucf/registry.*",
        aspects: &[Aspect::Content],
        why: "ucf's copies from before each change: packages are configured in each tool's own order",
    },
];

impl Known {
    fn covers(&self, difference: &Difference) -> bool {
        let path = difference.path.to_string();
        let same = match self.path.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == self.path,
        };
        let told = difference.to_string();
        same && self.aspects.contains(&difference.aspect) && self.only.iter().all(|word| told.contains(word))
    }
}

/// What the provider's table takes away from our tree, or empties.
fn is_volatile(table: &[VolatilePath], difference: &Difference) -> bool {
    let Some(entry) = table.iter().find(|entry| match entry.rule {
        Rule::Contents => difference.path.ancestors().any(|above| entry.path.matches(above.as_bytes())),
        Rule::Delete | Rule::FirstBoot | Rule::Empty => entry.path.matches(difference.path.as_bytes()),
    }) else {
        return false;
    };
    match entry.rule {
        Rule::Delete | Rule::FirstBoot | Rule::Contents => difference.aspect == Aspect::OnlyTheirs,
        // mmdebstrap empties it too, by making it anew with a mode of its own.
        Rule::Empty => difference.aspect == Aspect::Mode,
    }
}

/// The differences that nobody knows of.
pub fn unknown(known: &[Known], table: &[VolatilePath], differences: &[Difference]) -> Vec<Difference> {
    let is_known =
        |difference: &&Difference| known.iter().any(|known| known.covers(difference)) || is_volatile(table, difference);
    differences.iter().filter(|difference| !is_known(difference)).cloned().collect()
}

/// Prints the known differences that were seen.
pub fn tell(known: &[Known], differences: &[Difference]) {
    for known in known {
        let count = differences.iter().filter(|difference| known.covers(difference)).count();
        println!("known, {count} times: {}: {}", known.path, known.why);
    }
}

//! What the choice has to know of the image that it starts from.

use layers::Sha256;
use providers::distro::Distro;
use providers::lock::{BasePackage, LockedBase};
use providers::rpm::Package;
use providers::rpm::installed::packages;

use super::version;
use crate::base::{self, Found};
use crate::compose::database_in;
use crate::context::Context;
use crate::error::Error;

/// An image, and what is installed in it.
pub struct Start {
    manifest: Sha256,
    /// When it was made, if it says so.
    pub created: Option<i64>,
    /// Its packages, but for keys.
    pub packages: Vec<Package>,
}

impl Start {
    /// Takes an image's layers into the store and reads its packages.
    ///
    /// # Errors
    /// An image of another distribution, without rpm's database, or with a damaged one.
    pub fn read(found: Found, distro: &Distro, cx: &Context) -> Result<Self, Error> {
        let (manifest, created) = (found.manifest()?, found.created(cx.now));
        let base = found.import(cx)?;
        let written = &base.found.written;
        base::check_release(written, &base.stack, distro)?;
        let present = database_in(written, &base.stack, &distro.rpm)?;
        Ok(Self { manifest, created, packages: packages(&present.database) })
    }

    /// What the lock has of it.
    pub fn locked(&self) -> LockedBase {
        let package = |package: &Package| BasePackage {
            name: package.name.to_string(),
            version: version(&package.evr),
            architecture: package.architecture.to_string(),
        };
        let mut packages: Vec<BasePackage> = self.packages.iter().map(package).collect();
        packages.sort();
        // A database may have one package twice.
        packages.dedup();
        LockedBase { manifest: self.manifest, packages }
    }
}

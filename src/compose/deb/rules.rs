//! What the image itself says, at a point of compose, of files that packages bring from then on.

use layers::{Entry, Stack, TreePath};
use providers::deb::dpkg::filters::is_configuration;
use providers::deb::dpkg::{Diversions, PathFilters, Principal, StatOverrides};

use crate::configure::{Accounts, read_bytes};
use crate::error::{Error, ResultExt};

/// Largest file of these that is read, in bytes. Real ones have some hundred lines.
const RULES_MAX: u64 = 4 << 20;

/// Prints the rules that hold at a point within a session.
pub const PRINTED: &str = "cat /var/lib/dpkg/diversions; echo //; cat /var/lib/dpkg/statoverride";
/// What stands between the two: no path that dpkg diverts, and no owner, looks so.
const BETWEEN: &[u8] = b"//\n";

/// Where the image's dpkg has its settings: those of the directory count first.
const SETTINGS: &str = "etc/dpkg/dpkg.cfg";

/// Diversions and statoverrides, with the accounts that the latter name; names that are left out.
pub struct Rules {
    /// Names that are diverted.
    pub diversions: Diversions,
    /// Names that are left out.
    pub filters: PathFilters,
    overrides: StatOverrides,
    accounts: Accounts,
}

impl Rules {
    /// Reads them from the image's own dpkg database.
    ///
    /// # Errors
    /// Files that no dpkg writes; I/O errors.
    pub fn read(stack: &Stack) -> Result<Self, Error> {
        let bytes = |path| Ok::<_, Error>(read_bytes(stack, path, RULES_MAX)?.unwrap_or_default());
        let diversions = Diversions::parse(&bytes("var/lib/dpkg/diversions")?).to("read the image's diversions")?;
        let overrides = StatOverrides::parse(&bytes("var/lib/dpkg/statoverride")?).to("read the image's overrides")?;
        Ok(Self { diversions, filters: filters(stack)?, overrides, accounts: Accounts::read(stack)? })
    }

    /// The rules as the output of [`PRINTED`] has them.
    ///
    /// # Errors
    /// As [`Rules::read`].
    pub fn printed(text: &[u8]) -> Result<Self, Error> {
        let end = text.windows(BETWEEN.len()).position(|window| window == BETWEEN).unwrap_or(text.len());
        let overrides = text.get(end.saturating_add(BETWEEN.len())..).unwrap_or_default();
        let diversions = Diversions::parse(&text[..end]).to("read the image's diversions")?;
        let overrides = StatOverrides::parse(overrides).to("read the image's overrides")?;
        // The settings of dpkg are no matter of preinsts.
        Ok(Self { diversions, filters: PathFilters::default(), overrides, accounts: Accounts::default() })
    }

    /// Every name for which the two say something else.
    pub fn changed_names<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a [u8]> {
        self.diversions.changed_names(&other.diversions).chain(self.overrides.changed_names(&other.overrides))
    }

    /// Gives an entry the owner and mode that the image wants for its name; whether it has any.
    ///
    /// # Errors
    /// An owner that the image does not have.
    pub fn dress(&self, name: &[u8], entry: &mut Entry) -> Result<bool, Error> {
        let Some(wanted) = self.overrides.of(name) else { return Ok(false) };
        let unknown = |owner: &str| {
            Error::build(format!(
                "failed to unpack {}: a statoverride gives it to '{owner}', which is no account of the image",
                name.escape_ascii()
            ))
        };
        entry.meta.uid = match &wanted.user {
            Principal::Id(id) => *id,
            Principal::Name(user) => self.accounts.user(user).ok_or_else(|| unknown(user))?.uid,
        };
        entry.meta.gid = match &wanted.group {
            Principal::Id(id) => *id,
            Principal::Name(group) => self.accounts.group(group).ok_or_else(|| unknown(group))?,
        };
        if !matches!(entry.kind, layers::Kind::Symlink(_)) {
            entry.meta.mode = wanted.mode;
        }
        Ok(true)
    }
}

fn filters(stack: &Stack) -> Result<PathFilters, Error> {
    let mut filters = PathFilters::default();
    let directory = TreePath::new(format!("{SETTINGS}.d")).to("name dpkg's settings")?;
    let parts = stack.tree().children(&directory).map(|(path, _)| path).filter(|path| is_configuration(path.name()));
    let parts = parts.map(|path| String::from_utf8_lossy(path.as_bytes()).into_owned());
    for path in parts.chain([SETTINGS.to_owned()]) {
        filters.read(&read_bytes(stack, &path, RULES_MAX)?.unwrap_or_default());
    }
    Ok(filters)
}

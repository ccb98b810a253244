//! comps.xml: groups of packages, and environments made of groups; what `@name` in a wish stands
//! for.

use std::collections::BTreeSet;
use std::io::BufRead;

use super::Error;
use super::xml::Xml;

/// The longest name, in bytes.
const MAX_WORD: usize = 1024;

/// The largest number of groups, environments, categories, and members of one: Fedora has some
/// hundreds.
const MAX_MEMBERS: usize = 100_000;

/// How a package belongs to a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Membership {
    /// Always.
    Mandatory,
    /// Unless weak parts are not wanted.
    Default,
    /// Only when asked for.
    Optional,
    /// Where this package is installed too.
    Conditional {
        /// The other package.
        with: Box<str>,
    },
}

/// A package of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPackage {
    /// Its name.
    pub name: Box<str>,
    /// How it belongs.
    pub membership: Membership,
}

/// A group of packages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// Its id, such as `core`.
    pub id: Box<str>,
    /// Its name for people, in English.
    pub name: Box<str>,
    /// Its packages.
    pub packages: Vec<GroupPackage>,
}

/// A group of groups that makes a whole system.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    /// Its id, such as `server-product-environment`.
    pub id: Box<str>,
    /// Its name for people, in English.
    pub name: Box<str>,
    /// Ids of its groups.
    pub groups: Vec<Box<str>>,
    /// Ids of groups that it offers, and whether it takes them when nobody says otherwise.
    pub options: Vec<(Box<str>, bool)>,
}

/// A heading that groups stand under.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Category {
    /// Its id.
    pub id: Box<str>,
    /// Its name for people, in English.
    pub name: Box<str>,
    /// Ids of its groups.
    pub groups: Vec<Box<str>>,
}

/// All groups of a repository, or of several.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Groups {
    /// The groups.
    pub groups: Vec<Group>,
    /// The environments.
    pub environments: Vec<Environment>,
    /// The categories.
    pub categories: Vec<Category>,
}

/// The packages that a group stands for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expansion {
    /// Those that always belong.
    pub mandatory: BTreeSet<Box<str>>,
    /// Those that belong unless weak parts are not wanted.
    pub default: BTreeSet<Box<str>>,
    /// Those that belong where another package is installed: the package, the other.
    pub conditional: BTreeSet<(Box<str>, Box<str>)>,
}

impl Groups {
    /// Reads comps.xml.
    ///
    /// # Errors
    /// Not XML, not whole, or a group without id.
    pub fn parse(input: impl BufRead) -> Result<Self, Error> {
        let mut xml = Xml::open(input, "comps.xml", "comps")?;
        let level = xml.level();
        let mut all = Self::default();
        while xml.child(level)? {
            match xml.name() {
                "group" => all.groups.push(read_group(&mut xml)?),
                "environment" => all.environments.push(read_environment(&mut xml)?),
                "category" => all.categories.push(read_category(&mut xml)?),
                _ => {}
            }
            if all.groups.len().max(all.environments.len()).max(all.categories.len()) > MAX_MEMBERS {
                return Err(xml.wrong(format!("it has more than {MAX_MEMBERS} groups")));
            }
        }
        xml.finish()?;
        Ok(all)
    }

    /// Adds the groups of another repository. A group of the same id gets the packages of both, as
    /// the add-on repositories of a distribution mean it.
    pub fn merge(&mut self, other: Self) {
        for group in other.groups {
            match self.groups.iter_mut().find(|known| known.id == group.id) {
                Some(known) => known.packages.extend(group.packages),
                None => self.groups.push(group),
            }
        }
        for environment in other.environments {
            match self.environments.iter_mut().find(|known| known.id == environment.id) {
                Some(known) => {
                    known.groups.extend(environment.groups);
                    known.options.extend(environment.options);
                }
                None => self.environments.push(environment),
            }
        }
        self.categories.extend(other.categories);
    }

    /// What a wish such as `@core` or `@^server-product-environment` stands for (the `@` is not
    /// needed): the group or environment of this id, else of this name whatever its case. `None`
    /// when there is none.
    pub fn expand(&self, wish: &str) -> Option<Expansion> {
        let wish = wish.strip_prefix('@').unwrap_or(wish);
        let (wish, only_environments) = wish.strip_prefix('^').map_or((wish, false), |rest| (rest, true));
        let mut expansion = Expansion::default();
        if !only_environments && let Some(group) = self.group(wish) {
            expansion.take(group);
            return Some(expansion);
        }
        let found = self.environments.iter().find(|environment| *environment.id == *wish);
        let environment = found.or_else(|| self.environments.iter().find(|known| is_called(&known.name, wish)))?;
        let taken = environment.options.iter().filter(|(_, default)| *default).map(|(id, _)| id);
        for id in environment.groups.iter().chain(taken) {
            // Environments name groups that only a richer variant of the distribution has.
            if let Some(group) = self.groups.iter().find(|group| group.id == *id) {
                expansion.take(group);
            }
        }
        Some(expansion)
    }

    fn group(&self, wish: &str) -> Option<&Group> {
        let found = self.groups.iter().find(|group| *group.id == *wish);
        found.or_else(|| self.groups.iter().find(|group| is_called(&group.name, wish)))
    }
}

fn is_called(name: &str, wish: &str) -> bool {
    !wish.is_empty() && name.to_lowercase() == wish.to_lowercase()
}

impl Expansion {
    fn take(&mut self, group: &Group) {
        for GroupPackage { name, membership } in &group.packages {
            match membership {
                Membership::Mandatory => {
                    self.mandatory.insert(name.clone());
                }
                Membership::Default => {
                    self.default.insert(name.clone());
                }
                Membership::Conditional { with } => {
                    self.conditional.insert((name.clone(), with.clone()));
                }
                Membership::Optional => {}
            }
        }
    }
}

/// A name in English: translations carry their language.
fn read_name<R: BufRead>(xml: &mut Xml<R>, name: &mut Box<str>) -> Result<(), Error> {
    if xml.attribute("xml:lang")?.is_none() {
        *name = xml.word("a name", MAX_WORD)?;
    }
    Ok(())
}

fn need_id<R: BufRead>(xml: &Xml<R>, id: &str, what: &str) -> Result<(), Error> {
    if id.is_empty() { Err(xml.wrong(format!("{what} has no id"))) } else { Ok(()) }
}

fn read_group<R: BufRead>(xml: &mut Xml<R>) -> Result<Group, Error> {
    let level = xml.level();
    let mut group = Group::default();
    while xml.child(level)? {
        match xml.name() {
            "id" => group.id = xml.word("an id", MAX_WORD)?,
            "name" => read_name(xml, &mut group.name)?,
            "packagelist" => {
                let level = xml.level();
                while xml.child(level)? {
                    if xml.name() == "packagereq" {
                        group.packages.push(read_package(xml)?);
                    }
                    if group.packages.len() > MAX_MEMBERS {
                        return Err(xml.wrong(format!("a group has more than {MAX_MEMBERS} packages")));
                    }
                }
            }
            _ => {}
        }
    }
    need_id(xml, &group.id, "a group")?;
    Ok(group)
}

fn read_package<R: BufRead>(xml: &mut Xml<R>) -> Result<GroupPackage, Error> {
    let (kind, with) = (xml.attribute("type")?, xml.attribute("requires")?.unwrap_or_default());
    let name = xml.word("a package's name", MAX_WORD)?;
    if name.is_empty() {
        return Err(xml.wrong("a group has a package without a name"));
    }
    let membership = match kind.as_deref() {
        // libcomps reads a missing type so.
        Some("mandatory") | None => Membership::Mandatory,
        Some("default") => Membership::Default,
        Some("optional") => Membership::Optional,
        Some("conditional") => Membership::Conditional { with: with.as_str().into() },
        Some(other) => return Err(xml.wrong(format!("the package {name} belongs to its group as {other:?}"))),
    };
    Ok(GroupPackage { name, membership })
}

fn read_environment<R: BufRead>(xml: &mut Xml<R>) -> Result<Environment, Error> {
    let level = xml.level();
    let mut environment = Environment::default();
    while xml.child(level)? {
        match xml.name() {
            "id" => environment.id = xml.word("an id", MAX_WORD)?,
            "name" => read_name(xml, &mut environment.name)?,
            "grouplist" => environment.groups = read_ids(xml)?.into_iter().map(|(id, _)| id).collect(),
            "optionlist" => environment.options = read_ids(xml)?,
            _ => {}
        }
    }
    need_id(xml, &environment.id, "an environment")?;
    Ok(environment)
}

fn read_category<R: BufRead>(xml: &mut Xml<R>) -> Result<Category, Error> {
    let level = xml.level();
    let mut category = Category::default();
    while xml.child(level)? {
        match xml.name() {
            "id" => category.id = xml.word("an id", MAX_WORD)?,
            "name" => read_name(xml, &mut category.name)?,
            "grouplist" => category.groups = read_ids(xml)?.into_iter().map(|(id, _)| id).collect(),
            _ => {}
        }
    }
    need_id(xml, &category.id, "a category")?;
    Ok(category)
}

/// A list of group ids, each with whether it is taken when nobody says otherwise.
fn read_ids<R: BufRead>(xml: &mut Xml<R>) -> Result<Vec<(Box<str>, bool)>, Error> {
    let level = xml.level();
    let mut ids = Vec::new();
    while xml.child(level)? {
        if xml.name() != "groupid" {
            continue;
        }
        let default = xml.attribute("default")?.is_some_and(|value| value == "true");
        ids.push((xml.word("an id", MAX_WORD)?, default));
        if ids.len() > MAX_MEMBERS {
            return Err(xml.wrong(format!("it lists more than {MAX_MEMBERS} groups in one place")));
        }
    }
    Ok(ids)
}

//! Relations between packages (Debian policy 7.1, deb-control(5)): fields such as
//! `Depends: a (>= 1) | b:any, c [amd64]`, read without copying.

use std::fmt;

use super::Error;
use super::version::compare;

/// Most relations in one field, and most alternatives in one relation. The largest field in
/// Debian has some 2,000 (a metapackage's Depends); beyond this a field is an attack.
const PARTS_MAX: usize = 65_536;

/// How two versions must stand to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operator {
    /// `<<`
    Less,
    /// `<=`, and the obsolete `<`
    LessOrEqual,
    /// `=`
    Equal,
    /// `>=`, and the obsolete `>`
    GreaterOrEqual,
    /// `>>`
    Greater,
}

impl Operator {
    /// As deb-control(5) spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<<",
            Self::LessOrEqual => "<=",
            Self::Equal => "=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">>",
        }
    }
}

/// An operator with the version it compares to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound<'a> {
    /// How the versions must stand.
    pub operator: Operator,
    /// The version on the right-hand side.
    pub version: &'a str,
}

impl Bound<'_> {
    /// Whether a version is within the bound.
    pub fn admits(&self, version: &str) -> bool {
        let order = compare(version, self.version);
        match self.operator {
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
            Operator::Equal => order.is_eq(),
            Operator::GreaterOrEqual => order.is_ge(),
            Operator::Greater => order.is_gt(),
        }
    }
}

/// One package name with what is asked of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alternative<'a> {
    /// The package's name.
    pub name: &'a str,
    /// The qualifier after a colon: `any`, `native` or an architecture.
    pub qualifier: Option<&'a str>,
    /// The versions asked for.
    pub bound: Option<Bound<'a>>,
}

impl<'a> Alternative<'a> {
    /// Reads one alternative for an architecture; `None` when its restriction list excludes that
    /// architecture.
    fn read(text: &'a str, architecture: &str) -> Result<Option<Self>, Error> {
        let refuse = |reason| Error::Relation { text: text.chars().take(120).collect(), reason };
        let text = text.trim_ascii();
        let end = text.find(|c: char| c.is_ascii_whitespace() || "([<".contains(c)).unwrap_or(text.len());
        let (name, mut rest) = text.split_at(end);
        let (name, qualifier) = match name.split_once(':') {
            Some((_, "")) => return Err(refuse("the architecture after the colon is missing")),
            Some((name, qualifier)) => (name, Some(qualifier)),
            None => (name, None),
        };
        if name.is_empty() {
            return Err(refuse("the package name is missing"));
        }
        let mut bound = None;
        let mut applies = true;
        loop {
            rest = rest.trim_ascii_start();
            let Some(open) = rest.chars().next() else { break };
            let close = match open {
                '(' => ')',
                '[' => ']',
                '<' => '>',
                _ => return Err(refuse("something stands between the name and the end")),
            };
            let (inner, after) = rest[1..].split_once(close).ok_or_else(|| refuse("a bracket is not closed"))?;
            rest = after;
            match open {
                '(' if bound.is_none() => {
                    bound = Some(read_bound(inner).ok_or_else(|| refuse("the version is not one"))?)
                }
                '(' => return Err(refuse("it has two versions")),
                '[' => applies &= restriction_admits(inner, architecture),
                // Build profiles: a binary package is never within one.
                _ => applies &= inner.split_ascii_whitespace().any(|profile| profile.starts_with('!')),
            }
        }
        Ok(applies.then_some(Self { name, qualifier, bound }))
    }
}

fn read_bound(text: &str) -> Option<Bound<'_>> {
    let text = text.trim_ascii();
    let end = text.find(|c: char| !"<>=".contains(c))?;
    let operator = match &text[..end] {
        "<<" => Operator::Less,
        "<=" | "<" => Operator::LessOrEqual,
        "=" => Operator::Equal,
        ">=" | ">" => Operator::GreaterOrEqual,
        ">>" => Operator::Greater,
        _ => return None,
    };
    let version = text[end..].trim_ascii();
    let one_word = !version.is_empty() && !version.contains(|c: char| c.is_ascii_whitespace());
    one_word.then_some(Bound { operator, version })
}

/// Whether a restriction list (`amd64 arm64`, `!i386`, `linux-any`) admits an architecture.
fn restriction_admits(list: &str, architecture: &str) -> bool {
    let matches = |pattern: &str| match pattern {
        "any" | "linux-any" => true,
        pattern => match pattern.strip_prefix("any-") {
            Some(cpu) => cpu == architecture,
            None => pattern == architecture || pattern.strip_prefix("linux-") == Some(architecture),
        },
    };
    let mut negative = false;
    for word in list.split_ascii_whitespace() {
        match word.strip_prefix('!') {
            Some(pattern) if matches(pattern) => return false,
            Some(_) => negative = true,
            None if matches(word) => return true,
            None => {}
        }
    }
    negative
}

impl fmt::Display for Alternative<'_> {
    /// As dpkg writes it into its status file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if let Some(qualifier) = self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        if let Some(Bound { operator, version }) = self.bound {
            write!(f, " ({} {version})", operator.as_str())?;
        }
        Ok(())
    }
}

/// One relation: alternatives of which any is enough, in the order of preference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relation<'a> {
    /// The alternatives; never empty.
    pub alternatives: Vec<Alternative<'a>>,
}

impl fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, alternative) in self.alternatives.iter().enumerate() {
            let separator = if at == 0 { "" } else { " | " };
            write!(f, "{separator}{alternative}")?;
        }
        Ok(())
    }
}

/// Reads a relation field for an architecture: relations whose every alternative is restricted to
/// other architectures are left out.
///
/// # Errors
/// [`Error::Relation`] with the part that is not as policy 7.1 says.
pub fn parse<'a>(field: &'a str, architecture: &str) -> Result<Vec<Relation<'a>>, Error> {
    let mut relations = Vec::new();
    for part in field.split(',') {
        // Policy forbids empty parts; dpkg and apt accept a trailing comma, and so do we.
        if part.trim_ascii().is_empty() {
            continue;
        }
        let mut alternatives = Vec::with_capacity(1);
        for text in part.split('|') {
            alternatives.extend(Alternative::read(text, architecture)?);
            if alternatives.len() > PARTS_MAX {
                return Err(too_many(part));
            }
        }
        if !alternatives.is_empty() {
            relations.push(Relation { alternatives });
        }
        if relations.len() > PARTS_MAX {
            return Err(too_many(field));
        }
    }
    Ok(relations)
}

fn too_many(text: &str) -> Error {
    Error::Relation { text: text.chars().take(120).collect(), reason: "it has more than 65,536 parts" }
}

/// Reads a Conflicts, Breaks, Replaces or Provides field, where each part is a single package.
///
/// # Errors
/// As [`parse`]; also alternatives where none may stand.
pub fn parse_single<'a>(field: &'a str, architecture: &str) -> Result<Vec<Alternative<'a>>, Error> {
    parse(field, architecture)?
        .into_iter()
        .map(|relation| match relation.alternatives[..] {
            [single] => Ok(single),
            _ => Err(Error::Relation {
                text: relation.to_string().chars().take(120).collect(),
                reason: "alternatives have no meaning in this field",
            }),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(field: &str) -> String {
        let relations = parse(field, "amd64").unwrap();
        relations.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn spellings_become_dpkgs() {
        assert_eq!(shown("a(>=1)|b:any ,\n c ( < 2 ),"), "a (>= 1) | b:any, c (<= 2)");
        assert_eq!(shown("a [i386], b [amd64 arm64], c [!amd64] | d, e [linux-any], f <!nocheck>"), "b, d, e, f");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn bounds_admit_as_dpkg_compares() {
        let bound = |text| parse(text, "amd64").unwrap()[0].alternatives[0].bound.unwrap();
        assert!(bound("a (<< 2)").admits("2~rc1") && !bound("a (<< 2)").admits("2"));
        assert!(bound("a (= 1.0)").admits("0:1.0-0"));
        assert!(bound("a (>> 1)").admits("1+b1") && !bound("a (>= 1)").admits("1~"));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["a (1)", "a (>= 1", "a b", "(>= 1)", "a | ", "a:", "a (>= 1) (<< 2)", "a (>= 1 2)", "a (=> 1)"] {
            assert!(parse(bad, "amd64").is_err(), "{bad}");
        }
        assert!(parse_single("a | b", "amd64").is_err());
    }
}

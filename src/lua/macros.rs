//! rpm's macros, as far as scriptlets use them at install time.
//!
//! Known are the directories of below, which the platform's macro files of every distribution of this
//! family agree on, what a script defines, and the conditional forms. Everything else stays as it is
//! written: `%(shell)`, `%{lua:...}`, `%[expressions]`, and names that nobody defined, for which rpm
//! does the same.

use std::collections::BTreeMap;

/// Names and bodies. `_lib` is that of the 64-bit platforms, the only ones images are built for.
const USUAL: &[(&str, &str)] = &[
    ("_prefix", "/usr"),
    ("_exec_prefix", "%{_prefix}"),
    ("_bindir", "%{_exec_prefix}/bin"),
    ("_sbindir", "%{_exec_prefix}/sbin"),
    ("_libexecdir", "%{_exec_prefix}/libexec"),
    ("_datarootdir", "%{_prefix}/share"),
    ("_datadir", "%{_datarootdir}"),
    ("_docdir", "%{_datadir}/doc"),
    ("_mandir", "%{_datarootdir}/man"),
    ("_infodir", "%{_datarootdir}/info"),
    ("_includedir", "%{_prefix}/include"),
    ("_sysconfdir", "/etc"),
    ("_localstatedir", "/var"),
    ("_sharedstatedir", "/var/lib"),
    ("_rundir", "/run"),
    ("_tmppath", "%{_var}/tmp"),
    ("_lib", "lib64"),
    ("_libdir", "%{_prefix}/%{_lib}"),
    ("_usr", "/usr"),
    ("_var", "/var"),
    ("_rpmconfigdir", "%{_prefix}/lib/rpm"),
    ("_os", "linux"),
    ("nil", ""),
];

/// Nested expansions, and bytes of what they give; rpm has the same bound on nesting.
const MAX_DEPTH: usize = 64;
const MAX_LENGTH: usize = 1 << 20;

/// Expansions of one text: bodies that name each other twice would double with every level.
const MAX_STEPS: usize = 10_000;

/// Macros cannot be expanded, or defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused;

/// The macros of one state.
#[derive(Debug)]
pub(super) struct Macros {
    /// The last body of a name counts; undefining it brings back the one before.
    known: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
}

impl Default for Macros {
    fn default() -> Macros {
        let known = USUAL.iter().map(|(name, body)| (name.as_bytes().to_vec(), vec![body.as_bytes().to_vec()]));
        Macros { known: known.collect() }
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

impl Macros {
    fn body(&self, name: &[u8]) -> Option<&Vec<u8>> {
        self.known.get(name)?.last()
    }

    /// Whether the name has a body.
    pub(super) fn is_defined(&self, name: &[u8]) -> bool {
        self.body(name).is_some()
    }

    /// Defines `NAME BODY`. Macros with parameters are refused.
    pub(super) fn define(&mut self, text: &[u8]) -> Result<(), Refused> {
        let text = text.trim_ascii();
        let end = text.iter().position(|byte| !is_name(*byte)).unwrap_or(text.len());
        let (name, body) = text.split_at(end);
        let first = name.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
        // rpm wants three letters, and a space before the body.
        if !first || name.len() < 3 || !body.first().is_none_or(u8::is_ascii_whitespace) {
            return Err(Refused);
        }
        let body = body.trim_ascii();
        if body.is_empty() {
            return Err(Refused);
        }
        self.known.entry(name.to_vec()).or_default().push(body.to_vec());
        Ok(())
    }

    /// Takes back the last definition of the name, if there is one.
    pub(super) fn undefine(&mut self, name: &[u8]) {
        if let Some(bodies) = self.known.get_mut(name) {
            bodies.pop();
        }
    }

    /// The text with what is known in the place of its names.
    pub(super) fn expand(&self, text: &[u8]) -> Result<Vec<u8>, Refused> {
        let mut out = Vec::new();
        self.expand_into(text, &mut out, 0, &mut 0)?;
        Ok(out)
    }

    fn expand_into(&self, mut text: &[u8], out: &mut Vec<u8>, depth: usize, steps: &mut usize) -> Result<(), Refused> {
        *steps += 1;
        if depth > MAX_DEPTH || *steps > MAX_STEPS {
            return Err(Refused);
        }
        while let Some(at) = text.iter().position(|byte| *byte == b'%') {
            let (before, rest) = text.split_at(at);
            out.extend_from_slice(before);
            text = match rest {
                [b'%', b'%', after @ ..] => {
                    out.push(b'%');
                    after
                }
                [b'%', b'{', after @ ..] => match closing(after) {
                    Some(end) => {
                        let (inner, after) = after.split_at(end);
                        let whole = rest.get(..end + 3).unwrap_or_default();
                        self.one(inner, whole, out, depth, steps)?;
                        after.get(1..).unwrap_or_default()
                    }
                    // rpm: unterminated.
                    None => return Err(Refused),
                },
                [b'%', after @ ..] => {
                    let flags = after.iter().take_while(|byte| matches!(byte, b'?' | b'!')).count();
                    let name = after.iter().skip(flags).take_while(|byte| is_name(**byte)).count();
                    let (inner, after) = after.split_at(flags + name);
                    let whole = rest.get(..1 + flags + name).unwrap_or_default();
                    if name == 0 {
                        out.extend_from_slice(whole)
                    } else {
                        self.one(inner, whole, out, depth, steps)?
                    }
                    after
                }
                _ => rest,
            };
            if out.len() > MAX_LENGTH {
                return Err(Refused);
            }
        }
        out.extend_from_slice(text);
        Ok(())
    }

    /// Expands what stands between braces: `NAME`, `?NAME`, `!?NAME`, and the latter two with `:TEXT`.
    fn one(
        &self,
        inner: &[u8],
        whole: &[u8],
        out: &mut Vec<u8>,
        depth: usize,
        steps: &mut usize,
    ) -> Result<(), Refused> {
        let flags = inner.iter().take_while(|byte| matches!(byte, b'?' | b'!')).count();
        let (flags, rest) = inner.split_at(flags);
        let name = rest.iter().take_while(|byte| is_name(**byte)).count();
        let (name, rest) = rest.split_at(name);
        let asks = flags.contains(&b'?');
        let negated = flags.iter().filter(|flag| **flag == b'!').count() % 2 == 1;
        let body = self.body(name);
        match rest {
            [] if !asks => match body {
                Some(body) => self.expand_into(body, out, depth + 1, steps),
                None => {
                    out.extend_from_slice(whole);
                    Ok(())
                }
            },
            [] => match body {
                Some(body) if !negated => self.expand_into(body, out, depth + 1, steps),
                _ => Ok(()),
            },
            [b':', text @ ..] if asks => match body.is_some() != negated {
                true => self.expand_into(text, out, depth + 1, steps),
                false => Ok(()),
            },
            _ => {
                out.extend_from_slice(whole);
                Ok(())
            }
        }
    }
}

/// Where the brace that was open before this text closes.
fn closing(text: &[u8]) -> Option<usize> {
    let mut open = 1usize;
    text.iter().position(|byte| {
        match byte {
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        open == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_conditions() {
        let mut macros = Macros::default();
        let expand = |macros: &Macros, text: &str| {
            macros.expand(text.as_bytes()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        assert_eq!(expand(&macros, "a %{_libdir}/%_lib%% b").as_deref(), Ok("a /usr/lib64/lib64% b"));
        assert_eq!(expand(&macros, "%{?no}%{!?no:x%{_os}}%{?no:y}%{no} %no %?no.").as_deref(), Ok("xlinux%{no} %no ."));
        assert_eq!(expand(&macros, "%{?_os:<%{?_var}>}%{!?_os}").as_deref(), Ok("</var>"));
        assert_eq!(expand(&macros, "%(x) %{lua:y} 5% %").as_deref(), Ok("%(x) %{lua:y} 5% %"));
        assert_eq!(macros.define(b"thing  a %{_os} "), Ok(()));
        assert_eq!(macros.define(b"thing b"), Ok(()));
        assert_eq!(expand(&macros, "%thing").as_deref(), Ok("b"));
        macros.undefine(b"thing");
        assert_eq!(expand(&macros, "%thing").as_deref(), Ok("a linux"));
        for wrong in ["", "x", "xy z", "f() x", "1ab x", "name", "na-me x"] {
            assert_eq!(macros.define(wrong.as_bytes()), Err(Refused), "{wrong}");
        }
        assert_eq!(expand(&macros, "%{open"), Err(Refused));
        macros.define(b"loop %{loop}").unwrap();
        assert_eq!(expand(&macros, "%loop"), Err(Refused));
    }
}

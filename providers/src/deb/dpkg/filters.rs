//! Files that a system's own dpkg does not lay (dpkg(1), `--path-exclude`): small images leave out
//! documentation so.

use crate::glob::matches_bytes;

/// The patterns of a system, in the order in which dpkg reads them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PathFilters(Vec<Filter>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Filter {
    pattern: Vec<u8>,
    includes: bool,
}

/// Whether dpkg reads a file of this name in `dpkg.cfg.d` (its lib/dpkg/options.c,
/// `valid_config_filename`).
pub fn is_configuration(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte))
}

impl PathFilters {
    /// Adds the patterns of a configuration file. Its other options are dpkg's own affair.
    pub fn read(&mut self, text: &[u8]) {
        for line in text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
            let end = line.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'=').unwrap_or(line.len());
            let (option, rest) = line.split_at(end);
            let value = rest.trim_ascii_start();
            let value = value.strip_prefix(b"=").unwrap_or(value).trim_ascii_start();
            let quoted = [b"\"", b"'"].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
            let includes = match option {
                b"path-include" => true,
                b"path-exclude" => false,
                _ => continue,
            };
            self.0.push(Filter { pattern: quoted.unwrap_or(value).to_vec(), includes });
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a file of this name, with its leading slash, is not laid. The last pattern that
    /// describes it counts; a directory, or a link that may lead to one, is laid all the same where
    /// something below it may be (dpkg, src/filters.c, `filter_should_skip`).
    pub fn skips(&self, name: &[u8], may_hold: bool) -> bool {
        let last = self.0.iter().rev().find(|filter| matches_bytes(&filter.pattern, name));
        if last.is_none_or(|filter| filter.includes) {
            return false;
        }
        let brings_back = |filter: &Filter| {
            let plain = filter.pattern.iter().position(|byte| b"*?[\\".contains(byte)).unwrap_or(filter.pattern.len());
            let prefix = filter.pattern.get(..plain).unwrap_or_default();
            let end = prefix.iter().rposition(|&byte| byte != b'/').map_or(0, |at| at + 1);
            name.starts_with(prefix.get(..end).unwrap_or_default())
        };
        !(may_hold && self.0.iter().filter(|filter| filter.includes).any(brings_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(text: &str) -> PathFilters {
        let mut filters = PathFilters::default();
        filters.read(text.as_bytes());
        filters
    }

    #[test]
    fn small_images_leave_out_documentation() {
        let filters = filters(
            "# as in Debian's own slim images\nforce-unsafe-io\npath-exclude /usr/share/doc/*\n\
             path-exclude=\"/usr/share/man/*\"\npath-include = /usr/share/doc/*/copyright\n",
        );
        for (name, may_hold, skipped) in [
            ("/usr/share/doc/a/changelog.gz", false, true),
            ("/usr/share/doc/a/copyright", false, false),
            ("/usr/share/doc/a", true, false),
            ("/usr/share/doc", true, false),
            ("/usr/share/man/man1", true, true),
            ("/usr/share/man", true, false),
            ("/usr/bin/a", false, false),
        ] {
            assert_eq!(filters.skips(name.as_bytes(), may_hold), skipped, "{name}");
        }
    }

    #[test]
    fn the_last_pattern_counts() {
        assert!(filters("path-include=/a\npath-exclude=/a\n").skips(b"/a", false));
        assert!(!filters("path-exclude=/a\npath-include=/a\n").skips(b"/a", false));
        assert!(filters("no-debsig\n# path-exclude=/a\npath-excluded=/a").is_empty());
        assert!(is_configuration(b"docker") && !is_configuration(b"docker.dpkg-new") && !is_configuration(b""));
    }
}

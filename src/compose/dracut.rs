//! Which of dracut's modules no ramdisk has unless somebody asks for them (dracut.modules(7)).
//!
//! A module's `check()` returns 0 where it belongs into every ramdisk, 1 where it cannot work, and 255
//! where it comes only if a configuration or another module names it. A dozen of the last kind name
//! programs that have nothing to do with starting a system: editors, `ssh`, `rsyslogd`.

use std::collections::{BTreeMap, BTreeSet};

use layers::TreePath;
use providers::distro::DracutModules;

/// The file of a module that has its functions.
const SETUP: &[u8] = b"module-setup.sh";

/// Leaves out the files of modules that come only if they are asked for, and that nobody asks for:
/// what they name is in no ramdisk.
pub fn drop_unasked(modules: &DracutModules, command: &[String], files: &mut Vec<(&TreePath, Vec<u8>)>) {
    let mut asked: BTreeSet<&[u8]> = command.iter().flat_map(|word| names(word.as_bytes())).collect();
    let mut optional: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
    for (path, text) in &*files {
        if modules.settings.iter().any(|pattern| pattern.covers(path.as_bytes())) {
            asked.extend(names(text));
        }
        if let Some((directory, SETUP)) = module(modules, path) {
            // However it is written: where it is not as dracut's own are, any word may be a name.
            let depends = b"depends".as_slice();
            let says = |text: &[u8]| text.windows(depends.len()).any(|window| window == depends);
            let whole = body(text, depends).or(says(text).then_some(text));
            let lines = text.split(|&byte| byte == b'\n').filter(|line| says(line));
            asked.extend(lines.chain(whole).flat_map(names));
            if body(text, b"check").is_some_and(comes_only_if_asked) {
                optional.insert(directory, name(directory));
            }
        }
    }
    let unasked: BTreeSet<Vec<u8>> = optional
        .into_iter()
        .filter(|(_, name)| !asked.contains(name))
        .map(|(directory, _)| directory.to_vec())
        .collect();
    files.retain(|(path, _)| module(modules, path).is_none_or(|(directory, _)| !unasked.contains(directory)));
}

/// The directory of the module that a file belongs to, and the file's path within.
fn module<'p>(modules: &DracutModules, path: &'p TreePath) -> Option<(&'p [u8], &'p [u8])> {
    let above = modules.directory.as_str().trim_matches('/').as_bytes();
    let below = path.as_bytes().strip_prefix(above)?.strip_prefix(b"/")?;
    let end = below.iter().position(|&byte| byte == b'/')?;
    Some((below.get(..end)?, below.get(end.checked_add(1)?..)?))
}

/// The name of a module: its directory's without the digits that order them.
fn name(directory: &[u8]) -> &[u8] {
    let digits = directory.iter().take_while(|byte| byte.is_ascii_digit()).count();
    directory.get(digits..).unwrap_or_default()
}

/// All that could be a module's name, outside comments.
fn names(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii_start().starts_with(b"#"));
    lines.flat_map(|line| line.split(|byte| !byte.is_ascii_alphanumeric() && !b"-_".contains(byte)))
}

/// What a function of a script does, where it is written as dracut's are: `name() {` and `}`, each at
/// the beginning of a line.
fn body<'t>(script: &'t [u8], function: &[u8]) -> Option<&'t [u8]> {
    let begin = [b"\n", function, b"() {\n"].concat();
    let start = script.windows(begin.len()).position(|window| window == begin)?.checked_add(begin.len())?;
    let rest = script.get(start..)?;
    let end = rest.windows(3).position(|window| window == b"\n}\n")?;
    rest.get(..end)
}

/// Whether a `check()` never returns 0: it ends with 255, and no other return is of anything but 1 or
/// 255. What cannot be read is taken for one that does.
fn comes_only_if_asked(check: &[u8]) -> bool {
    let lines = check.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).collect();
    let returns = lines.iter().flat_map(|line| {
        let words: Vec<&[u8]> =
            line.split(|byte| b" \t;&|(){}".contains(byte)).filter(|word| !word.is_empty()).collect();
        let mut found: Vec<Option<Vec<u8>>> =
            words.windows(2).filter(|pair| pair[0] == b"return").map(|pair| Some(pair[1].to_vec())).collect();
        if words.last() == Some(&&b"return"[..]) || words.iter().any(|word| [&b"exit"[..], b"exec"].contains(word)) {
            found.push(None);
        }
        found
    });
    let goes_on = |line: &[u8]| [&b"&&"[..], b"||", b"|", b"\\"].iter().any(|end| line.ends_with(end));
    lines.last() == Some(&&b"return 255"[..])
        && !lines
            .iter()
            .rev()
            .nth(1)
            .is_some_and(|line| goes_on(line) || line.ends_with(b"then") || line.ends_with(b"do"))
        && returns.into_iter().all(|value| value.is_some_and(|value| [&b"1"[..], b"255"].contains(&value.as_slice())))
}

#[cfg(test)]
mod tests {
    use providers::distro::PathPattern;

    use super::*;

    fn pattern(text: &str) -> PathPattern {
        PathPattern::try_from(text.to_owned()).unwrap()
    }

    /// The modules that are left of these; each: directory, `check()`, `depends()`.
    fn left(modules: &[(&str, &str, &str)], configuration: &str) -> Vec<String> {
        let facts = DracutModules {
            directory: pattern("/usr/lib/dracut/modules.d"),
            settings: vec![pattern("/etc/dracut.conf.d")],
        };
        let mut paths = vec![(TreePath::new("etc/dracut.conf.d/a.conf").unwrap(), configuration.as_bytes().to_vec())];
        for (directory, check, depends) in modules {
            let text = format!("#!/bin/bash\n\ncheck() {{\n{check}\n}}\n\ndepends() {{\n{depends}\n}}\n");
            for file in ["module-setup.sh", "hook.sh"] {
                let path = TreePath::new(format!("usr/lib/dracut/modules.d/{directory}/{file}")).unwrap();
                paths.push((path, text.clone().into_bytes()));
            }
        }
        let mut files: Vec<(&TreePath, Vec<u8>)> = paths.iter().map(|(path, text)| (path, text.clone())).collect();
        drop_unasked(&facts, &["dracut".to_owned(), "--add=rescue".to_owned()], &mut files);
        let mut left: Vec<String> = files
            .iter()
            .filter_map(|(path, _)| Some(String::from_utf8_lossy(module(&facts, path)?.0).into_owned()))
            .collect();
        left.dedup();
        left
    }

    #[test]
    fn what_nobody_asks_for_is_left_out() {
        let modules = [
            ("95debug", "    # not by default\n    return 255", "    return 0"),
            ("95ssh-client", "    require_binaries ssh || return 1\n\n    return 255", "    return 0"),
            ("99base", "    return 0", "    echo udev-rules\n    return 0"),
        ];
        assert_eq!(left(&modules, ""), ["99base"]);
        assert_eq!(left(&modules, "add_dracutmodules+=\" debug \"\n"), ["95debug", "99base"]);
        assert_eq!(left(&[("90rescue", "    return 255", "")], ""), ["90rescue"], "the command asks for it");
        assert_eq!(left(&modules, "# add_dracutmodules+=\" debug \"\n"), ["99base"]);
    }

    #[test]
    fn what_a_module_depends_on_stays() {
        let modules =
            [("01systemd", "    return 255", ""), ("01systemd-initrd", "    return 0", "    echo \"systemd\"")];
        assert_eq!(left(&modules, ""), ["01systemd", "01systemd-initrd"]);
        // However it is written.
        let modules = [
            ("90site", "    return 0\n}\ndepends() { echo 95syslog syslog; }\nother() {", ""),
            ("95syslog", "    return 255", ""),
        ];
        assert_eq!(left(&modules, ""), ["90site", "95syslog"]);
    }

    #[test]
    fn what_may_come_by_itself_stays() {
        for check in [
            "    return 0",
            "    [[ $hostonly ]] && return 255",
            "    [[ $hostonly ]] || return 0\n    return 255",
            "    [[ $mount_needs ]] && return\n    return 255",
            "    other_check\n    return $?",
            "    return \"$found\"\n    return 255",
            "    exit 0\n    return 255",
            "    [[ $hostonly ]] ||\n    return 255",
            "    [[ $hostonly ]] && \\\n    return 255",
            "    if [[ $hostonly ]]; then\n    return 255",
            "    [[ $a ]] && { return 0; }\n    return 255",
        ] {
            assert_eq!(left(&[("90some", check, "")], ""), ["90some"], "{check}");
        }
    }
}

//! The texts of a spec that have rules: each is a type that cannot hold a text that breaks them.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// Longest host name, in bytes (Linux `HOST_NAME_MAX`, limits.h).
const HOST_NAME_BYTES_MAX: usize = 64;
/// Longest label of a host name, in bytes (RFC 1035, section 2.3.4).
const HOST_LABEL_BYTES_MAX: usize = 63;
/// Longest user or group name, in bytes (utmp's `UT_NAMESIZE`, useradd(8)).
const USER_NAME_BYTES_MAX: usize = 32;
/// Longest file name, in bytes (Linux `NAME_MAX`); names that become file names keep below it
/// with room for a suffix.
const FILE_STEM_BYTES_MAX: usize = 200;

/// A scalar of a spec that is read from its text.
pub trait FromText: Sized {
    /// What the text is, after "expected": "a user name".
    const WHAT: &'static str;

    /// Reads the text.
    ///
    /// # Errors
    /// Why it is refused, as a fragment that follows the quoted text and a colon.
    fn from_text(text: &str) -> Result<Self, String>;
}

impl FromText for String {
    const WHAT: &'static str = "a text";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("it contains a NUL byte".to_owned());
        }
        Ok(text.to_owned())
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(String);

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                // What looks like a number to an editor is a text here all the same.
                json_schema!({ "type": ["string", "number"], "description": $what })
            }
        }

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromText for $name {
            const WHAT: &'static str = $what;

            fn from_text(text: &str) -> Result<Self, String> {
                let check: fn(&str) -> Result<(), String> = $check;
                check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// Names an image and the files it becomes: letters, digits, `.`, `_`, `+` and `-`.
    ImageName, "an image name", file_stem
);
name_type!(
    /// A version, kept as it was written: `24.10` is not `24.1`.
    VersionText, "a version", file_stem
);
name_type!(
    /// Names a provider: lower-case letters, digits and `-`.
    OsName, "the name of an operating system",
    |text| only(text, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-', "lower-case letters, digits and '-'")
);
name_type!(
    /// A host name (hostname(7)), with or without a domain.
    Hostname, "a host name", hostname
);
name_type!(
    /// A user's name (useradd(8), section CAVEATS).
    UserName, "a user name", user_name
);
name_type!(
    /// A group's name (groupadd(8), section CAVEATS).
    GroupName, "a group name", user_name
);
name_type!(
    /// A package's name, with an architecture after a colon where one is meant (Debian policy,
    /// section 5.6.7; rpm names are wider: `_` and capitals), and a version after `=` where one
    /// is meant.
    PackageName, "a package name", package_name
);
name_type!(
    /// A systemd unit (systemd.unit(5)); without a suffix, a service.
    UnitName, "a unit name",
    |text| only(text, |b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b), "letters, digits, ':', '-', '_', '.', '\\' and '@'")
);
name_type!(
    /// A time zone of the tz database: `UTC`, `Europe/Berlin`.
    Timezone, "a time zone", timezone
);
name_type!(
    /// A locale as glibc names it: `C.UTF-8`, `de_DE.UTF-8`, `ca_ES.UTF-8@valencia`.
    Locale, "a locale",
    |text| only(text, |b| b.is_ascii_alphanumeric() || b"_.-@".contains(&b), "letters, digits, '_', '.', '-' and '@'")
);
name_type!(
    /// Names a repository; the file of its source list is named by it.
    RepositoryName, "the name of a repository", file_stem
);
name_type!(
    /// Names a network configuration file.
    InterfaceName, "the name of an interface", file_stem
);
name_type!(
    /// A password as crypt(3) hashes it (crypt(5)): never the password itself, never empty.
    PasswordHash, "a password hash", password_hash
);
name_type!(
    /// The name of an environment variable (POSIX, XBD section 8.1).
    VariableName, "the name of a variable", variable_name
);

/// Refuses an empty text and bytes outside the set that `allowed` names.
fn only(text: &str, is_allowed: fn(u8) -> bool, allowed: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    match text.chars().find(|c| !u8::try_from(*c).is_ok_and(|b| b.is_ascii() && is_allowed(b))) {
        Some(other) => Err(format!("{other:?} is not allowed: use {allowed}")),
        None => Ok(()),
    }
}

fn file_stem(text: &str) -> Result<(), String> {
    only(text, |b| b.is_ascii_alphanumeric() || b"._+~-".contains(&b), "letters, digits, '.', '_', '+', '~' and '-'")?;
    if !text.as_bytes()[0].is_ascii_alphanumeric() {
        return Err("it must begin with a letter or digit".to_owned());
    }
    if text.len() > FILE_STEM_BYTES_MAX {
        return Err(format!("it is longer than {FILE_STEM_BYTES_MAX} bytes"));
    }
    Ok(())
}

fn hostname(text: &str) -> Result<(), String> {
    if text.len() > HOST_NAME_BYTES_MAX {
        return Err(format!("it is longer than {HOST_NAME_BYTES_MAX} bytes"));
    }
    only(text, |b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.', "letters, digits, '-' and '.'")?;
    for label in text.split('.') {
        if label.is_empty() || label.starts_with('-') || label.ends_with('-') {
            return Err("a part of it is empty, or begins or ends with '-'".to_owned());
        }
        if label.len() > HOST_LABEL_BYTES_MAX {
            return Err(format!("a part of it is longer than {HOST_LABEL_BYTES_MAX} bytes"));
        }
    }
    Ok(())
}

fn user_name(text: &str) -> Result<(), String> {
    only(
        text,
        |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-',
        "lower-case letters, digits, '_' and '-'",
    )?;
    let first = text.as_bytes()[0];
    if !(first.is_ascii_lowercase() || first == b'_') {
        return Err("it must begin with a lower-case letter or '_'".to_owned());
    }
    if text.len() > USER_NAME_BYTES_MAX {
        return Err(format!("it is longer than {USER_NAME_BYTES_MAX} bytes"));
    }
    Ok(())
}

fn package_name(text: &str) -> Result<(), String> {
    only(
        text,
        |b| b.is_ascii_alphanumeric() || b"+-._:=~".contains(&b),
        "letters, digits, '+', '-', '.', '_', with ':architecture' or '=version' after it",
    )?;
    if text.as_bytes()[0].is_ascii_alphanumeric() {
        Ok(())
    } else {
        Err("it must begin with a letter or digit".to_owned())
    }
}

fn timezone(text: &str) -> Result<(), String> {
    only(
        text,
        |b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b),
        "letters, digits, '/', '_', '+' and '-', as in Europe/Berlin",
    )?;
    if text.split('/').any(str::is_empty) {
        return Err("a part of it is empty".to_owned());
    }
    Ok(())
}

fn password_hash(text: &str) -> Result<(), String> {
    const FORM: &str = "it is not a crypt(3) hash such as '$6$salt$...' or '$y$...'";
    let Some(rest) = text.strip_prefix('$') else {
        return Err(if text.is_empty() {
            "an empty password would let anybody in".to_owned()
        } else {
            FORM.to_owned()
        });
    };
    only(text, |b| b.is_ascii_alphanumeric() || b"./$=,-_".contains(&b), "what crypt(5) allows")?;
    let mut parts = rest.split('$');
    let method = parts.next().unwrap_or_default();
    let last = parts.next_back().unwrap_or_default();
    // MD5 and the DES forms are refused: crypt(5) says that they are not safe for new hashes.
    if !["5", "6", "7", "y", "gy", "2b", "2y"].contains(&method) || last.len() < 20 {
        return Err(FORM.to_owned());
    }
    Ok(())
}

fn variable_name(text: &str) -> Result<(), String> {
    only(text, |b| b.is_ascii_alphanumeric() || b == b'_', "letters, digits and '_'")?;
    if text.as_bytes()[0].is_ascii_digit() {
        return Err("it begins with a digit".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts<T: FromText>(texts: &[&str]) {
        for text in texts {
            assert!(T::from_text(text).is_ok(), "{text:?} is refused as {}", T::WHAT);
        }
    }

    fn refuses<T: FromText>(texts: &[&str]) {
        for text in texts {
            assert!(T::from_text(text).is_err(), "{text:?} is accepted as {}", T::WHAT);
        }
    }

    #[test]
    fn names_have_rules() {
        accepts::<UserName>(&["debian", "_apt", "www-data", "a1"]);
        refuses::<UserName>(&["", "Debian", "1a", "a b", "a:b", "über", "root\n", &"a".repeat(33)]);
        accepts::<Hostname>(&["edge", "edge-1.example.org"]);
        refuses::<Hostname>(&["", "-a", "a-", "a..b", "a_b", &"a".repeat(65)]);
        accepts::<ImageName>(&["edge-device-image", "a.b_c+1~2"]);
        refuses::<ImageName>(&["", "../x", "a/b", ".hidden", "a b"]);
        accepts::<PackageName>(&["g++", "libc6:i386", "nginx=1.26.3-3", "libstdc++6"]);
        refuses::<PackageName>(&["", "a b", "-x", "a;b"]);
        accepts::<Timezone>(&["UTC", "Europe/Berlin", "Etc/GMT+1"]);
        refuses::<Timezone>(&["", "/etc/passwd", "../x", "Europe//Berlin"]);
        accepts::<UnitName>(&["ssh", "getty@tty1.service", "systemd-networkd.socket"]);
        refuses::<UnitName>(&["", "a/b", "a b"]);
    }

    #[test]
    fn plain_and_empty_passwords_are_refused() {
        accepts::<PasswordHash>(&[
            "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/",
            "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7",
        ]);
        refuses::<PasswordHash>(&["", "secret", "*", "!", "$6$", "$6$salt$short", "$1$salt$0123456789012345678901"]);
    }
}

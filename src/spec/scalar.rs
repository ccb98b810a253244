//! Scalars of a spec that are not names: sizes, modes, owners, addresses, durations.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::names::{FromText, GroupName, UserName};

/// Permission bits of a mode (chmod(1)): twelve.
const MODE_MAX: u32 = 0o7777;
/// The largest user or group id: one below the "no id" of chown(2).
pub const ID_MAX: u32 = u32::MAX - 1;

macro_rules! text_schema {
    ($name:ident, $schema:tt) => {
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ByteSize(pub u64);

text_schema!(ByteSize, {
    "type": ["string", "integer"],
    "pattern": "^[0-9]+ ?([kKMGT](iB|B)?|B)?$",
    "description": "a number of bytes with a unit: 512MiB, 4GiB (powers of 1024), 4GB (powers of 1000)"
});

impl FromText for ByteSize {
    const WHAT: &'static str = "a size";

    fn from_text(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        // M alone means MiB, as mkosi, systemd-repart and qemu-img read it.
        let factor: u64 = match unit.trim_start() {
            "" | "B" => 1,
            "K" | "k" | "KiB" => 1 << 10,
            "M" | "MiB" => 1 << 20,
            "G" | "GiB" => 1 << 30,
            "T" | "TiB" => 1 << 40,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return Err("expected a number with a unit: 512MiB, 4GiB".to_owned()),
        };
        let number: u64 = number.parse().map_err(|_| "expected a number with a unit: 512MiB, 4GiB")?;
        number.checked_mul(factor).map(Self).ok_or_else(|| "it does not fit into 64 bits".to_owned())
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// Permission bits, always octal: `0644`, `"644"` and `u=rw`'s like are written as digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode(pub u32);

text_schema!(Mode, {
    "type": ["string", "integer"],
    "pattern": "^(0o)?[0-7]{3,5}$",
    "description": "permission bits in octal: 0644"
});

impl FromText for Mode {
    const WHAT: &'static str = "permissions in octal";

    fn from_text(text: &str) -> Result<Self, String> {
        const FORM: &str = "expected three or four octal digits: 0644, 0755, 4755";
        let digits = text.strip_prefix("0o").unwrap_or(text);
        if !(3..=5).contains(&digits.len()) || !digits.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
            return Err(FORM.to_owned());
        }
        match u32::from_str_radix(digits, 8) {
            Ok(mode) if mode <= MODE_MAX => Ok(Self(mode)),
            _ => Err(FORM.to_owned()),
        }
    }
}

/// A user or group of the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Principal<N> {
    /// By name, through the image's own passwd or group.
    Name(N),
    /// By number.
    Id(u32),
}

/// Owner and group of a file in the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The owner.
    pub user: Principal<UserName>,
    /// The group; `None`: the owner's primary group (its id, for an owner given by number).
    pub group: Option<Principal<GroupName>>,
}

text_schema!(Owner, {
    "type": ["string", "integer"],
    "description": "owner, or owner:group, by name or number: root:root"
});

impl Owner {
    /// `root:root`.
    pub fn root() -> Self {
        Self { user: Principal::Id(0), group: Some(Principal::Id(0)) }
    }
}

fn principal<N: FromText>(text: &str) -> Result<Principal<N>, String> {
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        return match text.parse() {
            Ok(id) if id <= ID_MAX => Ok(Principal::Id(id)),
            _ => Err(format!("the id {text} is larger than {ID_MAX}")),
        };
    }
    N::from_text(text).map(Principal::Name)
}

impl FromText for Owner {
    const WHAT: &'static str = "an owner";

    fn from_text(text: &str) -> Result<Self, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        Ok(Self { user: principal(user)?, group: group.map(principal).transpose()? })
    }
}

/// An address with the length of its network's prefix: `192.0.2.10/24`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpPrefix {
    /// The address.
    pub address: IpAddr,
    /// Length of the prefix in bits.
    pub length: u8,
}

text_schema!(IpPrefix, { "type": "string", "description": "an address with its prefix length: 192.0.2.10/24" });

impl FromText for IpPrefix {
    const WHAT: &'static str = "an address with a prefix length";

    fn from_text(text: &str) -> Result<Self, String> {
        const FORM: &str = "expected an address and a prefix length: 192.0.2.10/24, 2001:db8::10/64";
        let (address, length) = text.split_once('/').ok_or(FORM)?;
        let address: IpAddr = address.parse().map_err(|_| FORM)?;
        if !length.bytes().all(|b| b.is_ascii_digit()) {
            return Err(FORM.to_owned());
        }
        let length: u8 = length.parse().map_err(|_| FORM)?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        if length > max {
            return Err(format!("a prefix of this family has at most {max} bits"));
        }
        Ok(Self { address, length })
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// An IP address of either family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address(pub IpAddr);

text_schema!(Address, { "type": "string", "description": "an IPv4 or IPv6 address" });

impl FromText for Address {
    const WHAT: &'static str = "an IP address";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "expected an address: 192.0.2.1, 2001:db8::1".to_owned())
    }
}

/// A link-layer (MAC) address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkAddress(pub [u8; 6]);

text_schema!(LinkAddress, { "type": "string", "pattern": "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$" });

impl FromText for LinkAddress {
    const WHAT: &'static str = "a MAC address";

    fn from_text(text: &str) -> Result<Self, String> {
        const FORM: &str = "expected six bytes: 52:54:00:12:34:56";
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or(FORM)?;
            // from_str_radix also takes a sign.
            if !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(FORM.to_owned());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| FORM)?;
        }
        parts.next().map_or(Ok(Self(bytes)), |_| Err(FORM.to_owned()))
    }
}

impl fmt::Display for LinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A length of time: `90s`, `30m`, `1h30m`, or plain seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeSpan(pub Duration);

impl FromText for TimeSpan {
    const WHAT: &'static str = "a length of time";

    fn from_text(text: &str) -> Result<Self, String> {
        const FORM: &str = "expected a length of time: 90s, 30m, 1h30m";
        let mut rest = text;
        let mut total: u64 = 0;
        // Each unit at most once and in falling order, so that a typing error is not a sum.
        let mut last_factor = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| FORM)?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let factor = match &rest[..letters] {
                "d" => 86_400,
                "h" => 3_600,
                "m" | "min" => 60,
                "s" => 1,
                "" if total == 0 && rest.is_empty() => 1,
                _ => return Err(FORM.to_owned()),
            };
            if factor >= last_factor {
                return Err(FORM.to_owned());
            }
            last_factor = factor;
            rest = &rest[letters..];
            total = number.checked_mul(factor).and_then(|part| total.checked_add(part)).ok_or(FORM)?;
        }
        if total == 0 { Err("it must be more than nothing".to_owned()) } else { Ok(Self(Duration::from_secs(total))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(ByteSize::from_text("4GiB"), Ok(ByteSize(4 << 30)));
        assert_eq!(ByteSize::from_text("512M"), Ok(ByteSize(512 << 20)));
        assert_eq!(ByteSize::from_text("4 GB"), Ok(ByteSize(4_000_000_000)));
        assert_eq!(ByteSize::from_text("1048576"), Ok(ByteSize(1 << 20)));
        for bad in ["", "GiB", "-1G", "4Gib", "1.5G", "99999999999T", "4 G i B"] {
            assert!(ByteSize::from_text(bad).is_err(), "{bad}");
        }
        assert_eq!(ByteSize(4 << 30).to_string(), "4GiB");
    }

    #[test]
    fn permissions_are_octal_however_they_are_written() {
        for text in ["0644", "644", "00644", "0o644"] {
            assert_eq!(Mode::from_text(text), Ok(Mode(0o644)), "{text}");
        }
        assert_eq!(Mode::from_text("4755"), Ok(Mode(0o4755)));
        for bad in ["", "9", "0688", "77777", "rw-r--r--", "+644", "-644"] {
            assert!(Mode::from_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn owners_are_names_or_numbers() {
        let owner = Owner::from_text("www-data:33").unwrap();
        assert_eq!(owner.group, Some(Principal::Id(33)));
        assert_eq!(Owner::from_text("1000").unwrap().group, None);
        for bad in ["", ":", "root:", "4294967295", "a:b:c"] {
            assert!(Owner::from_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths_of_time() {
        let seconds = |text| TimeSpan::from_text(text).map(|span| span.0.as_secs());
        assert_eq!(seconds("1h30m"), Ok(5_400));
        assert_eq!(seconds("30m"), Ok(1_800));
        assert_eq!(seconds("90"), Ok(90));
        for bad in ["", "m", "1x", "30m1h", "1m1m", "0s", "1h30", "99999999999999999999h", "1é"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(IpPrefix::from_text("192.0.2.10/24").unwrap().to_string(), "192.0.2.10/24");
        assert!(IpPrefix::from_text("192.0.2.10/33").is_err());
        assert!(IpPrefix::from_text("192.0.2.10").is_err());
        assert_eq!(LinkAddress::from_text("52-54-00-12-34-5F").unwrap().to_string(), "52:54:00:12:34:5f");
        assert!(LinkAddress::from_text("52:54:00:12:34:5").is_err());
        assert!(LinkAddress::from_text("52:54:00:12:34:56:78").is_err());
    }
}

//! Times as ISO 9660 keeps them; we write UTC.

use layers::Time;

const DAY: i64 = 86_400;
/// 1900-01-01 00:00:00 and 2155-12-31 23:59:59 UTC: the years of the short form are counted from
/// 1900 in one byte (ECMA-119, 9.1.5).
const SHORT_FIRST: i64 = -2_208_988_800;
const SHORT_LAST: i64 = 5_869_583_999;
/// 0001-01-01 00:00:00 and 9999-12-31 23:59:59 UTC: the long form has four digits (8.4.26.1).
const LONG_FIRST: i64 = -62_135_596_800;
const LONG_LAST: i64 = 253_402_300_799;

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar. Years are
/// counted from March here, so that the leap day is the last one.
fn date(days: i64) -> (i64, i64, i64) {
    // From 0000-03-01; 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + carry, month, day)
}

/// The days since 1970-01-01 of a date.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + 365 * year + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// The form of directory records; what it cannot say becomes the nearest time that it can.
pub(super) fn short(time: Time) -> [u8; 7] {
    let seconds = time.seconds.clamp(SHORT_FIRST, SHORT_LAST);
    let (year, month, day) = date(seconds.div_euclid(DAY));
    let second = seconds.rem_euclid(DAY);
    // Each is within a byte by the clamp.
    [year - 1900, month, day, second / 3600, second / 60 % 60, second % 60, 0].map(|part| part as u8)
}

/// The form of descriptors: digits, and a byte for the time zone.
pub(super) fn long(time: Time) -> [u8; 17] {
    let seconds = time.seconds.clamp(LONG_FIRST, LONG_LAST);
    let (year, month, day) = date(seconds.div_euclid(DAY));
    let second = seconds.rem_euclid(DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let hundredths = time.nanoseconds.min(999_999_999) / 10_000_000;
    let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}{hundredths:02}");
    let mut bytes = [0; 17];
    bytes[..16].copy_from_slice(&text.as_bytes()[..16]);
    bytes
}

/// A long form that says no time (8.4.26.1).
pub(super) const NO_TIME: [u8; 17] = *b"0000000000000000\0";

fn settle(year: i64, rest: [i64; 5], zone: u8) -> Option<Time> {
    let [month, day, hour, minute, second] = rest;
    let valid = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..61).contains(&second);
    // Quarters of an hour east of Greenwich.
    let east = i64::from(zone.cast_signed()) * 900;
    valid.then(|| Time::seconds(days(year, month, day) * DAY + hour * 3600 + minute * 60 + second - east))
}

/// Reads the short form; `None` for what is no time.
pub(super) fn from_short(bytes: &[u8]) -> Option<Time> {
    let &[year, month, day, hour, minute, second, zone] = bytes else { return None };
    settle(1900 + i64::from(year), [month, day, hour, minute, second].map(i64::from), zone)
}

/// Reads the long form; `None` for what is no time.
pub(super) fn from_long(bytes: &[u8]) -> Option<Time> {
    let (digits, zone) = (bytes.get(..16)?, *bytes.get(16)?);
    let number = |from: usize, to: usize| std::str::from_utf8(&digits[from..to]).ok()?.parse::<u16>().ok();
    let mut rest = [0; 5];
    for (part, at) in rest.iter_mut().zip((4..).step_by(2)) {
        *part = i64::from(number(at, at + 2)?);
    }
    let time = settle(i64::from(number(0, 4)?), rest, zone)?;
    Some(Time { nanoseconds: u32::from(number(14, 16)?) * 10_000_000, ..time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        // date -u -d 2024-02-29T13:37:42Z +%s
        let time = Time { seconds: 1_709_213_862, nanoseconds: 250_000_000 };
        assert_eq!(short(time), [124, 2, 29, 13, 37, 42, 0]);
        assert_eq!(&long(time), b"2024022913374225\0");
        assert_eq!(short(Time::seconds(i64::MIN)), [0, 1, 1, 0, 0, 0, 0]);
        assert_eq!(short(Time::seconds(i64::MAX)), [255, 12, 31, 23, 59, 59, 0]);
        assert_eq!(from_short(&[124, 2, 29, 14, 37, 42, 4]), Some(Time::seconds(1_709_213_862)));
        assert_eq!(from_long(b"2024022913374225\0"), Some(time));
        assert_eq!((from_long(&NO_TIME), from_short(&[1, 13, 1, 0, 0, 0, 0])), (None, None));
    }

    #[test]
    fn every_day_comes_back() {
        for seconds in (SHORT_FIRST..SHORT_LAST).step_by(86_400 + 3_601) {
            let time = Time::seconds(seconds);
            assert_eq!(from_short(&short(time)), Some(time));
            assert_eq!(from_long(&long(time)), Some(time));
        }
    }
}

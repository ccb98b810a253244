//! Times as FAT keeps them (fatgen103, "Date and Time Formats"): years from 1980, steps of two
//! seconds. We write and read them as UTC.

use layers::Time;

/// 1980-01-01 00:00 UTC, in seconds since 1970.
const FIRST: i64 = 315_532_800;
/// 2107-12-31 23:59:58 UTC, in seconds since 1970.
const LAST: i64 = 4_354_819_198;
const DAY: i64 = 86_400;
const MONTHS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// A date and a time of day, packed, and the odd second in hundredths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DosTime {
    pub date: u16,
    pub time: u16,
    pub hundredths: u8,
}

/// Within 1980 to 2107 each fourth year but 2100 is a leap year.
fn month_days(year: i64, month: usize) -> i64 {
    let leap = year % 4 == 0 && year != 2100;
    MONTHS[month] + i64::from(month == 1 && leap)
}

fn year_days(year: i64) -> i64 {
    337 + month_days(year, 1)
}

impl DosTime {
    /// The time, moved into the years that can be said.
    pub(crate) fn from_time(time: Time) -> Self {
        let seconds = time.seconds.clamp(FIRST, LAST) - FIRST;
        let (mut days, second) = (seconds / DAY, seconds % DAY);
        let mut year = 1980;
        while days >= year_days(year) {
            days -= year_days(year);
            year += 1;
        }
        let mut month = 0;
        while days >= month_days(year, month) {
            days -= month_days(year, month);
            month += 1;
        }
        // Each number is within its bits by the clamp above.
        let date = (year - 1980) << 9 | (month as i64 + 1) << 5 | (days + 1);
        let time = (second / 3600) << 11 | (second / 60 % 60) << 5 | (second % 60 / 2);
        Self { date: date as u16, time: time as u16, hundredths: (second % 2 * 100) as u8 }
    }

    /// The time; what is no date becomes 1980-01-01.
    pub(crate) fn to_time(self) -> Time {
        let (date, time) = (i64::from(self.date), i64::from(self.time));
        let (year, month, day) = (1980 + (date >> 9), (date >> 5) & 15, date & 31);
        let month = usize::try_from(month - 1).unwrap_or(12);
        if month >= 12 || day < 1 || day > month_days(year, month) {
            return Time::seconds(FIRST);
        }
        let days = (1980..year).map(year_days).sum::<i64>()
            + (0..month).map(|month| month_days(year, month)).sum::<i64>()
            + day
            - 1;
        let second = (time >> 11) * 3600 + ((time >> 5) & 63) * 60 + (time & 31) * 2;
        Time::seconds(FIRST + days * DAY + second + i64::from(self.hundredths / 100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        // date -u -d 2024-02-29T13:37:42Z +%s
        let dos = DosTime::from_time(Time::seconds(1_709_213_862));
        assert_eq!(dos.date, (44 << 9) | (2 << 5) | 29);
        assert_eq!(dos.time, (13 << 11) | (37 << 5) | 21);
        let first = DosTime::from_time(Time::seconds(-5));
        assert_eq!((first.date, first.time), ((1 << 5) | 1, 0));
        let last = DosTime::from_time(Time::seconds(i64::MAX));
        assert_eq!((last.date, last.time), ((127 << 9) | (12 << 5) | 31, (23 << 11) | (59 << 5) | 29));
    }

    #[test]
    fn every_day_comes_back() {
        for seconds in (FIRST..LAST).step_by(86_400 + 3_601) {
            let time = Time::seconds(seconds);
            assert_eq!(DosTime::from_time(time).to_time(), time);
        }
    }
}

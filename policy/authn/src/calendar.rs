//! Instants in the Gregorian calendar, in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The seconds of a day.
const DAY: u64 = 86_400;

/// The instant as RFC 3339 with milliseconds: `2026-11-22T19:20:25.123Z`. What lies before 1970
/// reads as its beginning.
pub fn rfc3339(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let of_day = seconds % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60,
        since.subsec_millis()
    )
}

/// Year, month and day of a count of days since 1970-01-01, months and days from 1. Counts in eras
/// of 400 years that begin on the first of March, so that the leap day is a year's last.
pub fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// Reads an instant in UTC between 1970 and 9999: a second, such as `2027-01-31T17:00:00Z`, or a
/// day, such as `2027-01-31`, which stands for its end.
pub fn parse_instant(text: &str) -> Option<SystemTime> {
    let (day, time) = match text.split_once('T') {
        Some((day, time)) => (day, Some(time.strip_suffix('Z')?)),
        None => (text, None),
    };
    let days = parse_day(day)?;
    let seconds = match time {
        Some(time) => {
            let (hour, rest) = time.split_once(':')?;
            let (minute, second) = rest.split_once(':')?;
            let field = |text, most| digits(text, 2).filter(|value| *value <= most);
            field(hour, 23)? * 3600 + field(minute, 59)? * 60 + field(second, 59)?
        }
        None => DAY,
    };
    UNIX_EPOCH.checked_add(Duration::from_secs(days * DAY + seconds))
}

/// The days from 1970-01-01 to a date that exists.
fn parse_day(text: &str) -> Option<u64> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let date = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
    let (year, month, _) = date;
    if year < 1970 || !(1..=12).contains(&month) {
        return None;
    }
    // Years have 146,097 days in 400; the first day of one is at most two away from that mean.
    let guess = ((year - 1970) * 146_097 / 400).saturating_sub(3);
    (guess..guess + 372).find(|days| civil(*days) == date)
}

/// A number of exactly so many digits.
fn digits(text: &str, count: usize) -> Option<u64> {
    let right = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        let at = |milliseconds| rfc3339(UNIX_EPOCH + Duration::from_millis(milliseconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_827_696_789), "2000-02-29T12:34:56.789Z");
        assert_eq!(at(1_709_251_199_000), "2024-02-29T23:59:59.000Z");
        assert_eq!(at(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn instants_are_read_as_they_are_shown() {
        for (text, shown) in [
            ("2027-01-31T17:00:05Z", "2027-01-31T17:00:05.000Z"),
            ("2027-01-31", "2027-02-01T00:00:00.000Z"),
            ("2028-02-29", "2028-03-01T00:00:00.000Z"),
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
            ("9999-12-31", "10000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(parse_instant(text).map(rfc3339).as_deref(), Some(shown));
        }
        for days in (0..2_932_896).step_by(97) {
            let (year, month, day) = civil(days);
            let text = format!("{year:04}-{month:02}-{day:02}");
            assert_eq!(parse_day(&text), Some(days), "{text}");
        }
    }

    #[test]
    fn what_is_no_instant_is_not_read() {
        for text in [
            "",
            "never",
            "2027",
            "2027-1-31",
            "2027-01-32",
            "2027-02-29",
            "2027-00-01",
            "2027-13-01",
            "1969-12-31",
            "10000-01-01",
            "2027-01-31T",
            "2027-01-31T17:00:00",
            "2027-01-31T24:00:00Z",
            "2027-01-31T17:60:00Z",
            "2027-01-31T17:00:60Z",
            "2027-01-31T17:00Z",
            "2027-01-31 17:00:00Z",
            "+027-01-31",
            "2027-01-31T17:00:00+01:00",
            "2027-01-\u{663}1",
            "2027-01-31Z",
        ] {
            assert_eq!(parse_instant(text), None, "{text}");
        }
    }
}

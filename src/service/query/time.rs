//! A moment, in any of the forms in which a query may give it.

use jiff::{SignedDuration, Timestamp};

/// What a value must be.
const WANT: &str =
    "a Unix time in seconds, an RFC 3339 time or a duration like 1h30m before now, since 1970";

/// Seconds since 1970, perhaps with a fraction; an RFC 3339 time; or how long before `now`, in hours and
/// less. 0 is no limit, as for the engine.
pub(super) fn read(value: &str, now: Timestamp) -> Result<Option<Timestamp>, &'static str> {
    let is_number = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let time = if value.bytes().all(is_number) {
        unix(value)
    } else {
        value.parse().ok().or_else(|| before(value, now))
    };
    let time = time.filter(|time| *time >= Timestamp::UNIX_EPOCH);
    let time = time.ok_or(WANT)?;
    Ok((time != Timestamp::UNIX_EPOCH).then_some(time))
}

fn unix(value: &str) -> Option<Timestamp> {
    let (seconds, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let seconds = digits(seconds)?.parse().ok()?;
    let nanos = digits(fraction).filter(|text| text.len() <= 9)?;
    Timestamp::new(seconds, format!("{nanos:0<9}").parse().ok()?).ok()
}

fn before(value: &str, now: Timestamp) -> Option<Timestamp> {
    let duration: SignedDuration = value.parse().ok()?;
    (!duration.is_negative()).then(|| now.checked_sub(duration).ok())?
}

/// `text` if it is nothing but digits; the numbers' own parsers take a sign too.
pub(super) fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form() {
        let now = Timestamp::new(1_700_000_000, 5).unwrap();
        for (value, seconds, nanos) in [
            ("1700000000", 1_700_000_000, 0),
            ("1700000000.25", 1_700_000_000, 250_000_000),
            ("0.000000001", 0, 1),
            ("2023-11-14T22:13:20Z", 1_700_000_000, 0),
            ("2023-11-14T23:13:20.000000007+01:00", 1_700_000_000, 7),
            ("10m", 1_699_999_400, 5),
            ("1h30m", 1_699_994_600, 5),
            ("90s", 1_699_999_910, 5),
            ("1.5h", 1_699_994_600, 5),
            ("PT10M", 1_699_999_400, 5),
            ("0s", 1_700_000_000, 5),
        ] {
            let time = Timestamp::new(seconds, nanos).unwrap();
            assert_eq!(read(value, now), Ok(Some(time)), "{value}");
        }
        for value in ["0", "0.0", "1970-01-01T00:00:00Z"] {
            assert_eq!(read(value, now), Ok(None), "{value}");
        }
    }

    #[test]
    fn refuses_what_is_no_moment_since_1970() {
        let now = Timestamp::new(1_700_000_000, 5).unwrap();
        for value in [
            "",
            "x",
            "yesterday",
            "-1",
            "+1",
            ".5",
            "1.",
            "1..2",
            "1e3",
            "1.0123456789",
            "99999999999999",
            "99999999999999999999",
            "2024-01-01T",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00 02:00",
            "1969-12-31T23:59:59Z",
            "10x",
            "-10m",
            "10m ago",
            "2d",
            "1000000h",
            "99999999999999999999h",
        ] {
            assert_eq!(read(value, now), Err(WANT), "{value}");
        }
    }
}

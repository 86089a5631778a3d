//! Quantities as people write them: `1%`, `20ms`, `10mbit`.

use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// A probability, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Chance(pub(crate) f64);

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

/// A speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BitsPerSecond(pub(crate) u64);

/// What was written cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum BadQuantity {
    #[error("write a share of all frames, for example 1% or 0.1%")]
    Chance,
    #[error("write a time with its unit, for example 20ms, 500us or 1s")]
    Span,
    #[error("write a speed with its unit, for example 10mbit, 1gbit or 500kbit")]
    Speed,
}

impl FromStr for Chance {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let percent = text.strip_suffix('%').ok_or(BadQuantity::Chance)?;
        let percent = number(percent).ok_or(BadQuantity::Chance)?;
        if percent > 100.0 {
            return Err(BadQuantity::Chance);
        }
        Ok(Self(percent / 100.0))
    }
}

impl FromStr for Span {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
        let seconds = with_unit(text, &units).ok_or(BadQuantity::Span)?;
        let span = Duration::try_from_secs_f64(seconds).map_err(|_| BadQuantity::Span)?;
        Ok(Self(span))
    }
}

impl FromStr for BitsPerSecond {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let units = [("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)];
        let bits = with_unit(text, &units).ok_or(BadQuantity::Speed)?;
        Ok(Self(bits as u64))
    }
}

fn with_unit(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    units.iter().find_map(|(unit, factor)| {
        let value = number(text.strip_suffix(unit)?)?;
        Some(value * factor)
    })
}

fn number(text: &str) -> Option<f64> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_people_write_them() {
        assert_eq!("1%".parse(), Ok(Chance(0.01)));
        assert_eq!("0%".parse(), Ok(Chance(0.0)));
        assert_eq!("20ms".parse(), Ok(Span(Duration::from_millis(20))));
        assert_eq!("1.5s".parse(), Ok(Span(Duration::from_millis(1500))));
        assert_eq!("500us".parse(), Ok(Span(Duration::from_micros(500))));
        assert_eq!("10mbit".parse(), Ok(BitsPerSecond(10_000_000)));
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in ["", "%", "1", "-1%", "101%", "nan%", "inf%"] {
            assert_eq!(wrong.parse::<Chance>(), Err(BadQuantity::Chance), "{wrong}");
        }
        for wrong in ["", "ms", "20", "-1ms", "1e400s", "nans", "20 min"] {
            assert_eq!(wrong.parse::<Span>(), Err(BadQuantity::Span), "{wrong}");
        }
        assert_eq!("fast".parse::<BitsPerSecond>(), Err(BadQuantity::Speed));
    }
}

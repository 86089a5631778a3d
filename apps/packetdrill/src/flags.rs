//! The flags of the library (`--so_flags`): words of the form `name=value`, separated by commas or spaces.

use std::net::IpAddr;
use std::path::PathBuf;

/// What can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flags {
    /// Our addresses, each with the length of its network's prefix.
    pub(crate) local: Vec<(IpAddr, u8)>,
    /// Largest datagram, in bytes.
    pub(crate) mtu: usize,
    /// Seed of everything random.
    pub(crate) seed: u64,
    /// Segments of several MSS leave in one piece, as from Linux with TSO or GSO.
    pub(crate) tso: bool,
    /// Where sysctls are read.
    pub(crate) sysctls: PathBuf,
}

impl Default for Flags {
    /// The addresses that packetdrill's own tests use.
    fn default() -> Self {
        Self {
            local: vec![
                (IpAddr::from([192, 168, 0, 1]), 16),
                (IpAddr::from([0xfd3d, 0x0a0b, 0x17d6, 0, 0, 0, 0, 1]), 48),
            ],
            mtu: 1500,
            seed: 1,
            tso: true,
            sysctls: PathBuf::from("/proc/sys/net"),
        }
    }
}

impl Flags {
    /// Reads flags.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut named = Vec::new();
        let words = text.split([',', ' ']).filter(|word| !word.is_empty());
        for word in words {
            let (name, value) = word
                .split_once('=')
                .ok_or_else(|| format!("{word}: name=value is expected"))?;
            let wrong = || format!("{name}: cannot read {value:?}");
            match name {
                "local" => named.push(parse_local(value).ok_or_else(wrong)?),
                "mtu" => flags.mtu = value.parse().map_err(|_| wrong())?,
                "seed" => flags.seed = value.parse().map_err(|_| wrong())?,
                "sysctls" => flags.sysctls = PathBuf::from(value),
                "tso" => flags.tso = parse_switch(value).ok_or_else(wrong)?,
                _ => return Err(format!("{name}: there is no such flag")),
            }
        }
        if !named.is_empty() {
            flags.local = named;
        }
        Ok(flags)
    }
}

fn parse_local(value: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = match value.split_once('/') {
        Some((address, length)) => (address, Some(length.parse().ok()?)),
        None => (value, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let default = if address.is_ipv4() { 16 } else { 64 };
    Some((address, length.unwrap_or(default)))
}

fn parse_switch(value: &str) -> Option<bool> {
    match value {
        "on" | "1" => Some(true),
        "off" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_sizes_are_read() {
        let flags = Flags::parse("local=10.0.0.1/8,local=fd00::1 mtu=1280,tso=off").unwrap();
        assert_eq!(
            flags.local,
            [
                ("10.0.0.1".parse().unwrap(), 8),
                ("fd00::1".parse().unwrap(), 64)
            ]
        );
        assert_eq!((flags.mtu, flags.tso, flags.seed), (1280, false, 1));
    }

    #[test]
    fn without_flags_it_is_the_host_of_packetdrills_own_tests() {
        assert_eq!(Flags::parse("").unwrap(), Flags::default());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in ["local", "local=here", "colour=red", "mtu=-1"] {
            assert!(Flags::parse(text).is_err(), "{text}");
        }
    }
}

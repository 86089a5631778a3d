//! What the kernel of this network namespace counted meanwhile: what the clients sent again, and what they
//! received again.

use std::fs;

/// Counters since the namespace was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// Segments that clients sent again.
    pub(super) sent_again: u64,
    /// Segments that clients had already (RFC 2883).
    pub(super) received_again: u64,
}

impl Counted {
    /// The counters now; zeros where there are none.
    pub(super) fn now() -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/net/{name}"));
        let text = [read("snmp"), read("netstat")].map(Result::unwrap_or_default);
        Self::parse(&text.concat())
    }

    /// What was counted since `before`.
    pub(super) const fn since(self, before: Self) -> Self {
        Self {
            sent_again: self.sent_again.saturating_sub(before.sent_again),
            received_again: self.received_again.saturating_sub(before.received_again),
        }
    }

    fn parse(text: &str) -> Self {
        Self {
            sent_again: counter(text, "Tcp:", "RetransSegs"),
            received_again: counter(text, "TcpExt:", "TCPDSACKOldSent")
                + counter(text, "TcpExt:", "TCPDSACKOfoSent"),
        }
    }
}

/// Of two lines that begin with `table`, the first has the names and the second the numbers.
fn counter(text: &str, table: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter(|line| {
        let first = line.split_ascii_whitespace().next();
        first == Some(table)
    });
    let (Some(names), Some(numbers)) = (lines.next(), lines.next()) else {
        return 0;
    };
    let columns = names.split_ascii_whitespace();
    let mut columns = columns.zip(numbers.split_ascii_whitespace());
    let found = columns.find(|(column, _)| *column == name);
    found
        .and_then(|(_, number)| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_table_and_name() {
        let text = "Tcp: RtoMin InErrs RetransSegs\nTcp: 200 3 17\n\
                    TcpExt: SyncookiesSent TCPDSACKOldSent TCPDSACKOfoSent\nTcpExt: 0 5 1\n";
        let counted = Counted::parse(text);
        assert_eq!((counted.sent_again, counted.received_again), (17, 6));
        assert_eq!(counted.since(counted), Counted::default());
        assert_eq!(Counted::parse(""), Counted::default());
    }
}

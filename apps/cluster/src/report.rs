//! What `outlive status` shows, for people and for programs.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::config::UNSAFE_PAIR_WARNING;

/// What a host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It serves.
    Primary,
    /// It has a complete copy and can take over.
    Backup,
    /// It has no complete copy (yet).
    Joining,
    /// It votes.
    Witness,
}

/// The state of a host, as its process sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The host's number.
    pub me: u8,
    /// What it does.
    pub role: Role,
    /// The newest view that it knows.
    pub epoch: u64,
    /// Who serves in that view.
    pub primary: Option<u8>,
    /// Who has a complete copy in that view.
    pub in_sync: Vec<u8>,
    /// For how long it may send without asking again, in milliseconds; none if it may not.
    pub lease_ms: Option<f64>,
    /// Who decides when the servers do not see each other.
    pub arbitration: String,
    /// False for an unsafe pair.
    pub guarantee: bool,
    /// The other hosts.
    pub peers: Vec<Peer>,
    /// What is replicated; none on the witness.
    pub replication: Option<Replication>,
    /// The last time that this host took over.
    pub last_takeover: Option<Takeover>,
    /// What happened on the links, by name.
    pub links: Vec<(String, u64)>,
}

/// Another host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its number.
    pub host: u8,
    /// Whether it is heard.
    pub up: bool,
    /// Whether the ordered channels are up; none where there are no such channels.
    pub connected: Option<bool>,
    /// Its paths.
    pub paths: Vec<Path>,
}

/// One way to a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Path {
    /// The host's address there.
    pub address: String,
    /// Whether heartbeats pass.
    pub up: bool,
}

/// What is replicated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replication {
    /// Connections that another host can continue.
    pub protected: u64,
    /// Connections that end with this host.
    pub unprotected: u64,
    /// Entries sent and not yet acknowledged.
    pub lag_entries: u64,
    /// Whatever else is known, by name.
    pub counters: Vec<(String, u64)>,
}

/// A takeover and its times, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Takeover {
    /// The epoch in which this host serves since.
    pub epoch: u64,
    /// How long ago.
    pub ago_ms: f64,
    /// From the last sign of the old primary to the decision.
    pub detection_ms: Option<f64>,
    /// From the decision to the first frame.
    pub promotion_ms: Option<f64>,
    /// Connections taken over.
    pub connections: u64,
}

impl Report {
    /// As JSON, one line.
    #[must_use]
    pub fn json(&self) -> String {
        // Every key is a string and every value a number, a string or a list of them.
        serde_json::to_string(self).expect("a report is JSON")
    }
}

fn name(host: u8) -> String {
    match host {
        2 => "witness".into(),
        n => format!("host {n}"),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Primary => "primary: serves",
            Role::Backup => "backup: can take over",
            Role::Joining => "joining: cannot take over yet",
            Role::Witness => "votes",
        };
        writeln!(f, "{:<12} {role}", name(self.me))?;
        let mut view = format!("{}", self.epoch);
        match self.primary {
            Some(primary) => {
                let in_sync: Vec<_> = self.in_sync.iter().map(|host| name(*host)).collect();
                let _ = write!(
                    view,
                    ", primary {}, in sync {}",
                    name(primary),
                    in_sync.join(" and ")
                );
            }
            None => view += ", nobody serves",
        }
        writeln!(f, "{:<12} {view}", "epoch")?;
        match self.lease_ms {
            Some(left) => writeln!(f, "{:<12} valid for {left:.1} ms", "lease")?,
            None => writeln!(f, "{:<12} none: silent on the service address", "lease")?,
        }
        writeln!(f, "{:<12} {}", "arbitration", self.arbitration)?;
        if !self.guarantee {
            writeln!(f, "{:<12} {UNSAFE_PAIR_WARNING}", "WARNING")?;
        }
        self.peers.iter().try_for_each(|peer| write!(f, "{peer}"))?;
        if let Some(replication) = &self.replication {
            write!(f, "{replication}")?;
        }
        if let Some(takeover) = &self.last_takeover {
            write!(f, "{takeover}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.up { "up" } else { "DOWN" };
        let links = match self.connected {
            Some(true) => ", connected",
            Some(false) => ", NOT CONNECTED",
            None => "",
        };
        let paths = self.paths.iter().map(|path| {
            let state = if path.up { "up" } else { "DOWN" };
            format!("{} {state}", path.address)
        });
        let paths: Vec<_> = paths.collect();
        writeln!(
            f,
            "{:<12} {state}{links} ({})",
            name(self.host),
            paths.join(", ")
        )
    }
}

impl fmt::Display for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12} {} protected, {} not; {} entries not yet acknowledged",
            "connections", self.protected, self.unprotected, self.lag_entries
        )
    }
}

impl fmt::Display for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<12} {:.1} s ago, epoch {}, {} connections",
            "took over",
            self.ago_ms / 1000.0,
            self.epoch,
            self.connections
        )?;
        if let Some(detection) = self.detection_ms {
            write!(f, "; {detection:.1} ms to notice")?;
        }
        if let Some(promotion) = self.promotion_ms {
            write!(f, ", {promotion:.1} ms to serve")?;
        }
        writeln!(f)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example() -> Report {
        Report {
            me: 0,
            role: Role::Primary,
            epoch: 4,
            primary: Some(0),
            in_sync: vec![0, 1],
            lease_ms: Some(28.5),
            arbitration: "witness".into(),
            guarantee: true,
            peers: vec![Peer {
                host: 1,
                up: true,
                connected: Some(true),
                paths: vec![Path {
                    address: "10.88.0.2:7700".into(),
                    up: false,
                }],
            }],
            replication: Some(Replication {
                protected: 3,
                unprotected: 1,
                ..Replication::default()
            }),
            last_takeover: Some(Takeover {
                epoch: 4,
                ago_ms: 1500.0,
                detection_ms: Some(31.0),
                promotion_ms: Some(2.5),
                connections: 3,
            }),
            links: vec![("link datagrams sent".into(), 7)],
        }
    }

    #[test]
    fn a_person_sees_what_matters() {
        let text = example().to_string();
        for part in [
            "primary: serves",
            "28.5 ms",
            "3 protected, 1 not",
            "10.88.0.2:7700 DOWN",
            "31.0 ms to notice",
        ] {
            assert!(text.contains(part), "\"{part}\" is not in:\n{text}");
        }
        assert!(!text.contains("WARNING"));
    }

    #[test]
    fn an_unsafe_pair_is_called_that() {
        let report = Report {
            guarantee: false,
            ..example()
        };
        assert!(report.to_string().contains("no guarantee"));
        assert!(report.json().contains("\"guarantee\":false"));
    }

    #[test]
    fn a_program_reads_the_same() {
        let report = example();
        let read: Report = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(read, report);
    }
}

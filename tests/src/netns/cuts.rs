//! Networks that are cut for one host, both ways or one: at its port of the switch, where neither end can tell.

use super::cluster::Cluster;

/// One of the two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Where the clients are.
    Service,
    /// Between the hosts.
    Replication,
}

/// Which way nothing passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// What the host sends is lost.
    FromHost,
    /// What is sent to the host is lost.
    ToHost,
    /// Both.
    Both,
}

impl Cluster<'_> {
    /// Cuts `host` from a network until [`Cluster::mend`].
    pub fn cut(&self, host: usize, network: Network, cut: Cut) {
        self.filter(&self.port(host, network), cut, "drop");
    }

    /// Undoes all that was cut.
    pub fn mend(&self) {
        self.switch()
            .shell("nft list tables netdev | while read -r _ _ name; do nft delete table netdev \"$name\"; done");
    }

    /// Loses one frame of so many hundred, at random, on the way to the clients and from them.
    pub fn lose_percent(&self, percent: u32) {
        let rule = format!("numgen random mod 100 < {percent} drop");
        self.filter("s-client", Cut::Both, &rule);
    }

    /// Loses what a rule of nft(8) is about, for example `tcp flags & fin == fin`, to the client or from it.
    pub fn lose(&self, of_client: bool, what: &str) {
        let cut = if of_client {
            Cut::FromHost
        } else {
            Cut::ToHost
        };
        self.filter("s-client", cut, &format!("{what} counter drop"));
    }

    /// How many frames [`Cluster::lose`] has lost.
    ///
    /// # Panics
    /// When nft says something else.
    #[must_use]
    pub fn frames_lost(&self) -> usize {
        let line = "nft list ruleset | sed -n 's/.*counter packets \\([0-9]*\\).*/\\1/p'";
        let text = self.switch().shell(line);
        text.lines()
            .map(|line| line.parse::<usize>().expect("a number"))
            .sum()
    }

    fn filter(&self, port: &str, cut: Cut, rule: &str) {
        super::command::require(&["nft"]);
        let table = port.replace('-', "_");
        let hook = |hook: &str| {
            format!(
                "nft 'add chain netdev {table} {hook} {{ type filter hook {hook} device {port} priority 0; }}'
                 nft 'add rule netdev {table} {hook} {rule}'\n"
            )
        };
        let mut lines = format!("nft add table netdev {table}\n");
        if cut != Cut::ToHost {
            lines += &hook("ingress");
        }
        if cut != Cut::FromHost {
            lines += &hook("egress");
        }
        self.switch().shell(&lines);
    }
}

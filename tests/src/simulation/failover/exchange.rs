//! One short connection with a pair of servers, and one disturbance in one exact turn of one host: what the
//! tests repeat for every turn.

use std::time::Duration;

use super::calling::Manner;
use super::cluster::{Cluster, Setting, WITNESS};
use super::fault::{Fault, Keep, When};
use super::script::Script;
use crate::simulation::world::Violation;

/// Virtual time in which the connection has to finish.
const LIMIT: Duration = Duration::from_secs(300);

/// A host by its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Who serves.
    Primary,
    /// Who is to take over.
    Backup,
    /// Who only votes.
    Witness,
}

/// What strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// The process ends; so much of its last output leaves.
    Kill(Part, Keep),
    /// The host loses power.
    PowerOff(Part, Keep),
    /// The process stands still for so long.
    Stop(Part, Duration),
    /// The host stands still for so long; a batch leaves when it goes on.
    Pause(Part, Duration),
    /// An operator moves the service.
    HandOver,
    /// The primary ends, comes back, and the other one ends after that as soon as both are in sync.
    KillBoth(Keep),
}

/// A connection to be disturbed.
#[derive(Clone)]
pub struct Exchange {
    /// The pair.
    pub setting: Setting,
    /// What the connection does.
    pub script: Script,
    /// How the client goes about it.
    pub manner: Manner,
}

impl Exchange {
    /// Runs it undisturbed; how many turns of its own `part` has while it lasts.
    ///
    /// # Errors
    /// When an oracle is violated.
    pub fn turns(&self, part: Part) -> Result<u64, Violation> {
        let mut cluster = self.settled()?;
        let host = number(&cluster, part);
        let begin = cluster.world.turns(host);
        self.run(&mut cluster)?;
        Ok(cluster.world.turns(host) - begin)
    }

    /// Runs it, with `blow` in the turn `turn` of `part`.
    ///
    /// # Errors
    /// When an oracle is violated.
    pub fn disturbed(&self, part: Part, turn: u64, blow: Blow) -> Result<(), Violation> {
        let mut cluster = self.settled()?;
        let host = number(&cluster, part);
        let when = When::Turn(host, cluster.world.turns(host) + turn);
        let fault = match blow {
            Blow::Kill(part, keep) => Fault::Kill(number(&cluster, part), keep),
            Blow::PowerOff(part, keep) => Fault::PowerOff(number(&cluster, part), keep),
            Blow::Stop(part, time) => Fault::Stop(number(&cluster, part), time),
            Blow::Pause(part, time) => Fault::Pause {
                host: number(&cluster, part),
                time,
                late: true,
            },
            Blow::HandOver => Fault::HandOver(number(&cluster, Part::Primary)),
            Blow::KillBoth(keep) => Fault::Kill(number(&cluster, Part::Primary), keep),
        };
        cluster.world.schedule(when, fault);
        if let Blow::KillBoth(keep) = blow {
            self.call(&mut cluster);
            let killed = number(&cluster, Part::Primary);
            let limit = Duration::from_secs(20);
            cluster
                .world
                .run_until(limit, |world| !world.is_on(killed))?;
            cluster.world.apply(Fault::Start(killed));
            cluster.settle(limit)?;
            let next = number(&cluster, Part::Primary);
            cluster.world.apply(Fault::Kill(next, keep));
            cluster.finish(LIMIT)?;
            return cluster.judge();
        }
        self.run(&mut cluster)
    }

    fn settled(&self) -> Result<Cluster, Violation> {
        let mut cluster = Cluster::pair(&self.setting);
        cluster.settle(Duration::from_secs(20))?;
        Ok(cluster)
    }

    fn call(&self, cluster: &mut Cluster) {
        cluster.call(0, self.script.clone(), self.manner.clone());
    }

    fn run(&self, cluster: &mut Cluster) -> Result<(), Violation> {
        self.call(cluster);
        cluster.finish(LIMIT)?;
        cluster.judge()
    }
}

fn number(cluster: &Cluster, part: Part) -> usize {
    let primary = cluster.owner().unwrap_or(0);
    match part {
        Part::Primary => primary,
        Part::Backup => 1 - primary,
        Part::Witness => WITNESS,
    }
}

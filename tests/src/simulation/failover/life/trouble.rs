//! One trouble: something that one host, or one part of the networks, goes through and comes back from.

use std::time::Duration;

use outlive_driver::Random;

use crate::simulation::failover::cluster::{Cluster, WITNESS};
use crate::simulation::failover::fault::{Fault, Keep, When};
use crate::simulation::world::Violation;

/// So long after a host was silent it is given up, if ever.
const NOTICED_WITHIN: Duration = Duration::from_millis(50);

/// Whom it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Primary,
    Backup,
    Witness,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The process ends and begins again later.
    Kill(Who),
    /// So does the whole host.
    PowerOff(Who),
    /// The process stands still.
    Stop(Who),
    /// So does the whole host; with true, a batch leaves when it goes on.
    Pause(Who, bool),
    /// The two cannot speak, one way or both, on one path or both.
    Apart(Who, Who, bool, bool),
    /// A host is cut off from both others.
    Alone(Who, bool),
    /// The service network is cut for a host: what it sends, what it gets.
    Unplugged(Who, bool, bool),
    /// A host has nothing at all.
    Dark(Who),
    /// A planned handover.
    HandOver,
}

impl Trouble {
    pub(super) fn draw(random: &mut Random) -> Self {
        let who = match random.below(6) {
            0 => Who::Witness,
            1 => Who::Backup,
            _ => Who::Primary,
        };
        let other = if who == Who::Witness {
            Who::Primary
        } else {
            Who::Witness
        };
        let (one, two) = (random.chance(1, 2), random.chance(1, 2));
        match random.below(14) {
            0..4 => Self::Kill(who),
            4 => Self::PowerOff(who),
            5 | 6 => Self::Stop(who),
            7 => Self::Pause(who, one),
            8 => Self::Apart(Who::Primary, Who::Backup, one, two),
            9 => Self::Apart(who, other, one, two),
            10 => Self::Alone(who, one),
            11 => Self::Unplugged(who, one, two || !one),
            12 => Self::Dark(who),
            _ => Self::HandOver,
        }
    }

    /// Has it happen and pass.
    pub(super) fn strike(
        self,
        cluster: &mut Cluster,
        random: &mut Random,
    ) -> Result<(), Violation> {
        let primary = cluster.owner().unwrap_or(0);
        let number = |who: Who| match who {
            Who::Primary => primary,
            Who::Backup => 1 - primary,
            Who::Witness => WITNESS,
        };
        let time = draw_time(random);
        let turn = When::Turn(primary, cluster.world.turns(primary) + random.below(30));
        let soon = if random.chance(1, 2) {
            turn
        } else {
            When::At(cluster.world.now())
        };
        let keep = Keep::ALL[random.below(4) as usize];
        let world = &mut cluster.world;
        match self {
            Self::Kill(who) | Self::PowerOff(who) => {
                let host = number(who);
                let fault = if matches!(self, Self::Kill(_)) {
                    Fault::Kill(host, keep)
                } else {
                    Fault::PowerOff(host, keep)
                };
                world.schedule(soon, fault);
                // It has to have happened before the host begins again.
                world.run_until(Duration::from_millis(50), |world| !world.is_on(host))?;
                world.withdraw_faults();
                world.run_for(time)?;
                world.apply(Fault::Start(host));
            }
            Self::Stop(who) => world.schedule(soon, Fault::Stop(number(who), time)),
            Self::Pause(who, late) => {
                let host = number(who);
                world.schedule(soon, Fault::Pause { host, time, late });
            }
            Self::Apart(a, b, one_way, one_path) => {
                let (a, b) = (number(a), number(b));
                cut(cluster, a, b, one_way, one_path, true);
                cluster.world.run_for(time)?;
                cut(cluster, a, b, one_way, one_path, false);
            }
            Self::Alone(who, one_way) => isolate(cluster, number(who), one_way, time)?,
            Self::Unplugged(who, up, down) => {
                let host = number(who);
                world.apply(Fault::Service { host, up, down });
                world.run_for(time)?;
                world.apply(unplugged(host, false));
            }
            Self::Dark(who) => {
                let host = number(who);
                world.apply(unplugged(host, true));
                isolate(cluster, host, false, time)?;
                cluster.world.apply(unplugged(host, false));
            }
            Self::HandOver => world.apply(Fault::HandOver(primary)),
        }
        if matches!(self, Self::Stop(_) | Self::Pause(..) | Self::HandOver) {
            cluster.world.run_for(time)?;
        }
        // Who was cut off may be given up only afterwards: another trouble at that moment would be one too many.
        cluster.world.run_for(NOTICED_WITHIN)?;
        cluster.world.withdraw_faults();
        Ok(())
    }
}

/// Short enough not to be noticed, or about as long as the detection takes, or long.
fn draw_time(random: &mut Random) -> Duration {
    Duration::from_micros(match random.below(4) {
        0 => random.below(20_000),
        1 => random.below(120_000),
        2 => random.below(1_000_000),
        _ => random.below(6_000_000),
    })
}

const fn unplugged(host: usize, cut: bool) -> Fault {
    Fault::Service {
        host,
        up: cut,
        down: cut,
    }
}

fn cut(cluster: &mut Cluster, a: usize, b: usize, one_way: bool, one_path: bool, cut: bool) {
    for path in 0..if one_path { 1 } else { 2 } {
        let fault = |from, to| Fault::Path {
            from,
            to,
            path,
            cut,
        };
        cluster.world.apply(fault(a, b));
        if !one_way {
            cluster.world.apply(fault(b, a));
        }
    }
}

fn isolate(
    cluster: &mut Cluster,
    host: usize,
    one_way: bool,
    time: Duration,
) -> Result<(), Violation> {
    for on in [true, false] {
        for other in (0..3).filter(|&other| other != host) {
            cut(cluster, host, other, one_way, false, on);
        }
        if on {
            cluster.world.run_for(time)?;
        }
    }
    Ok(())
}

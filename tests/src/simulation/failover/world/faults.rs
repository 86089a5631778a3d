//! How faults happen to a world.

use std::time::Duration;

use super::{State, World};
use crate::simulation::failover::channels::Presence;
use crate::simulation::failover::fault::{Fault, Keep, When};
use crate::simulation::failover::machine::{Input, Output};
use crate::simulation::tasks::Tasks;
use crate::simulation::world::Violation;

impl World {
    pub(super) fn faults_by_time(&mut self) {
        let now = self.now();
        while let Some(index) = self
            .faults
            .iter()
            .position(|(when, _)| matches!(when, When::At(at) if *at <= now))
        {
            let (_, fault) = self.faults.remove(index);
            self.apply(fault);
        }
    }

    /// Applies the faults that are due in this turn of `number`; what still leaves of its output.
    pub(super) fn faults_of_turn(&mut self, number: usize, out: Output) -> Output {
        let turns = self.hosts[number].turns;
        let mut out = out;
        while let Some(index) = self.faults.iter().position(
            |(when, _)| matches!(when, When::Turn(host, turn) if *host == number && *turn <= turns),
        ) {
            let (_, fault) = self.faults.remove(index);
            match fault {
                Fault::Kill(host, keep) | Fault::PowerOff(host, keep) if host == number => {
                    out = kept(out, keep);
                    // What leaves does so while its sender still exists.
                    let now = self.now();
                    for (to, lane, message) in out.messages.drain(..) {
                        self.channels.send(now, number, to, lane, message);
                    }
                }
                Fault::Pause {
                    host, late: true, ..
                } if host == number => {
                    self.hosts[number].late.frames = std::mem::take(&mut out.frames);
                }
                _ => {}
            }
            self.apply(fault);
        }
        out
    }

    /// Forgets the faults that have not happened.
    pub fn withdraw_faults(&mut self) {
        self.faults.clear();
    }

    /// Makes a fault happen now.
    pub fn apply(&mut self, fault: Fault) {
        let now = self.now();
        self.trace_line(&format!("{fault:?}"));
        self.happened.push(format!("{now:?} {fault:?}"));
        match fault {
            Fault::Kill(host, _) => self.end(host, Presence::ProcessEnded),
            Fault::PowerOff(host, _) => self.end(host, Presence::Gone),
            Fault::Start(host) => self.start(host),
            Fault::Stop(host, time) => self.stand_still(host, time, Presence::ProcessStopped),
            Fault::Pause { host, time, .. } => self.stand_still(host, time, Presence::Gone),
            Fault::Path {
                from,
                to,
                path,
                cut,
            } => self.channels.cut(from, to, path, cut),
            Fault::Service { host, up, down } => self.switch.cut(host, up, down),
            Fault::HandOver(number) => {
                self.handing_over_until = now + Duration::from_secs(5);
                let host = &mut self.hosts[number];
                let local = host.clock.local(now);
                if let (State::Running, Some(machine)) = (host.state, &mut host.machine) {
                    machine.hand_over(local);
                    host.due = Some(now);
                }
            }
        }
    }

    fn end(&mut self, number: usize, presence: Presence) {
        let host = &mut self.hosts[number];
        host.tasks.clear();
        host.machine = None;
        host.state = State::Off;
        host.input = Input::default();
        host.late = Output::default();
        host.due = None;
        if self.owner == Some(number) {
            // Should it own the address again, it will know nothing.
            self.owner = None;
        }
        self.channels
            .set_presence(self.clock.now(), number, presence);
    }

    pub(super) fn start(&mut self, number: usize) {
        let now = self.now();
        let host = &mut self.hosts[number];
        if host.state != State::Off {
            return;
        }
        host.tasks = Tasks::default();
        host.machine = Some((host.boot)(host.clock.local(now), &mut host.tasks));
        host.state = State::Running;
        host.due = Some(now);
        let channels = &mut self.channels;
        channels.set_presence(now, number, Presence::ProcessEnded);
        channels.set_presence(now, number, Presence::Works);
    }

    fn stand_still(&mut self, number: usize, time: Duration, presence: Presence) {
        let until = self.now() + time;
        let host = &mut self.hosts[number];
        if host.state == State::Running {
            host.state = State::Still(until);
            self.channels
                .set_presence(self.clock.now(), number, presence);
        }
    }

    /// Lets hosts go on whose time has come; a batch that had passed the check leaves first.
    pub(super) fn wake(&mut self) {
        let now = self.now();
        for number in 0..self.hosts.len() {
            let host = &mut self.hosts[number];
            if !matches!(host.state, State::Still(until) if until <= now) {
                continue;
            }
            host.state = State::Running;
            host.due = Some(now);
            let late = std::mem::take(&mut host.late);
            self.channels.set_presence(now, number, Presence::Works);
            if let Err(Violation(what)) = self.send(number, late, None) {
                self.oracle.blame(what);
            }
        }
    }
}

fn kept(mut out: Output, keep: Keep) -> Output {
    if !matches!(keep, Keep::Frames | Keep::All) {
        out.frames.clear();
    }
    if !matches!(keep, Keep::Messages | Keep::All) {
        out.messages.clear();
    }
    out
}

//! The service network: a bridge that learns which port an Ethernet address is behind from every frame it
//! sees, so that the service address moves when its new owner says anything at all.

use std::collections::BTreeMap;
use std::time::Duration;

use outlive_driver::impairment::Impairment;
use outlive_driver::{Instant, Random, RxFrame};

use super::wire::Wire;

type Mac = [u8; 6];

struct Port {
    /// From the host to the switch.
    up: Wire,
    /// From the switch to the host.
    down: Wire,
}

/// A learning bridge with a cable to every host.
#[derive(Default)]
pub struct Switch {
    ports: Vec<Port>,
    stations: BTreeMap<Mac, usize>,
}

impl Switch {
    /// Plugs another host in; its port has the next number.
    pub(super) fn plug(&mut self, impairment: &Impairment, random: &mut Random) {
        self.ports.push(Port {
            up: Wire::impaired(impairment, random.next_u64()),
            down: Wire::impaired(impairment, random.next_u64()),
        });
    }

    /// Plugs another host in by cables that carry large segments as they are.
    pub(super) fn plug_fused(&mut self, delay: Duration) {
        self.ports.push(Port {
            up: Wire::fused(delay),
            down: Wire::fused(delay),
        });
    }

    /// What both cables of a port do from now on.
    pub fn set_impairment(&mut self, port: usize, impairment: &Impairment) {
        self.ports[port].up.set_impairment(impairment);
        self.ports[port].down.set_impairment(impairment);
    }

    /// Cuts what a host sends, what it is sent, or neither.
    pub fn cut(&mut self, port: usize, up: bool, down: bool) {
        self.ports[port].up.set_cut(up);
        self.ports[port].down.set_cut(down);
    }

    /// The port that frames for `mac` go to.
    #[must_use]
    pub fn station(&self, mac: Mac) -> Option<usize> {
        self.stations.get(&mac).copied()
    }

    /// A host sends a frame.
    pub(super) fn send(&mut self, now: Instant, port: usize, frame: RxFrame) {
        self.ports[port].up.offer(now, frame);
    }

    /// Moves frames on; appends those that reach a host.
    pub(super) fn poll(&mut self, now: Instant, out: &mut Vec<(usize, RxFrame)>) {
        let mut frames = Vec::new();
        for port in 0..self.ports.len() {
            self.ports[port].up.poll(now, &mut frames);
            for frame in frames.drain(..) {
                self.forward(now, port, &frame);
            }
        }
        for (number, port) in self.ports.iter_mut().enumerate() {
            port.down.poll(now, &mut frames);
            out.extend(frames.drain(..).map(|frame| (number, frame)));
        }
    }

    fn forward(&mut self, now: Instant, from: usize, frame: &RxFrame) {
        let (Some(to), Some(source)) = (address(&frame.data, 0), address(&frame.data, 6)) else {
            return;
        };
        if source[0] & 1 == 0 {
            self.stations.insert(source, from);
        }
        let known = self.station(to).filter(|_| to[0] & 1 == 0);
        for (number, port) in self.ports.iter_mut().enumerate() {
            if number != from && known.is_none_or(|known| known == number) {
                port.down.offer(now, frame.clone());
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let wires = self.ports.iter().flat_map(|port| [&port.up, &port.down]);
        wires.filter_map(Wire::next_deadline).min()
    }
}

fn address(frame: &[u8], at: usize) -> Option<Mac> {
    frame.get(at..at + 6)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::ZERO;

    fn frame(to: Mac, from: Mac) -> RxFrame {
        let mut data = [to, from].concat();
        data.resize(60, 0);
        RxFrame {
            data: data.into(),
            ..RxFrame::default()
        }
    }

    fn carry(switch: &mut Switch, port: usize, frame: RxFrame) -> Vec<usize> {
        switch.send(NOW, port, frame);
        let mut out = Vec::new();
        switch.poll(NOW, &mut out);
        out.into_iter().map(|(port, _)| port).collect()
    }

    #[test]
    fn a_station_moves_with_any_frame_that_it_sends() {
        let (mut switch, mut random) = (Switch::default(), Random::from_seed(1));
        (0..4).for_each(|_| switch.plug(&Impairment::default(), &mut random));
        let (client, service) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 9]);
        assert_eq!(carry(&mut switch, 3, frame(service, client)), [0, 1, 2]);
        assert_eq!(carry(&mut switch, 0, frame(client, service)), [3]);
        assert_eq!(carry(&mut switch, 3, frame(service, client)), [0]);
        assert_eq!(carry(&mut switch, 1, frame([255; 6], service)), [0, 2, 3]);
        assert_eq!(carry(&mut switch, 3, frame(service, client)), [1]);
    }

    #[test]
    fn a_cut_port_hears_or_says_nothing() {
        let (mut switch, mut random) = (Switch::default(), Random::from_seed(1));
        (0..3).for_each(|_| switch.plug(&Impairment::default(), &mut random));
        switch.cut(1, true, false);
        assert_eq!(carry(&mut switch, 0, frame([255; 6], [2; 6])), [1, 2]);
        assert!(carry(&mut switch, 1, frame([255; 6], [4; 6])).is_empty());
        switch.cut(1, false, true);
        assert_eq!(carry(&mut switch, 0, frame([255; 6], [2; 6])), [2]);
    }
}

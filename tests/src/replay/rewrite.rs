//! Translates a captured frame for a stack that chose other sequence numbers, ports and timestamps than
//! the kernel that it replaces.

use etherparse::checksum::Sum16BitWords;

const ETHERNET: usize = 14;

/// What our stack chose in place of the recorded end.
#[derive(Clone, Copy, Debug)]
pub struct Translation {
    /// To be added to everything that counts our bytes.
    pub shift: u32,
    /// Our port.
    pub port: u16,
    /// The TSecr to be told.
    pub echo: u32,
}

/// A TCP segment of the peer, as it would have answered us.
#[must_use]
pub fn segment(frame: &[u8], translation: Translation) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let tcp = ETHERNET + usize::from(frame[ETHERNET] & 0x0F) * 4;
    let total = ETHERNET
        + usize::from(u16::from_be_bytes([
            frame[ETHERNET + 2],
            frame[ETHERNET + 3],
        ]));
    frame.truncate(total);
    frame[tcp + 2..tcp + 4].copy_from_slice(&translation.port.to_be_bytes());
    if frame[tcp + 13] & 0x10 != 0 {
        add(&mut frame, tcp + 8, translation.shift);
    }
    options(&mut frame, tcp, translation);
    frame[tcp + 16..tcp + 18].fill(0);
    let sum = Sum16BitWords::new()
        .add_slice(&frame[ETHERNET + 12..ETHERNET + 20])
        .add_2bytes([0, 6])
        .add_2bytes(((total - tcp) as u16).to_be_bytes())
        .add_slice(&frame[tcp..])
        .ones_complement();
    frame[tcp + 16..tcp + 18].copy_from_slice(&sum.to_ne_bytes());
    frame
}

/// An ICMP error about one of our segments.
#[must_use]
pub fn icmp(frame: &[u8], translation: Translation) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let icmp = ETHERNET + usize::from(frame[ETHERNET] & 0x0F) * 4;
    let quoted = icmp + 8;
    let tcp = quoted + usize::from(frame[quoted] & 0x0F) * 4;
    frame[tcp..tcp + 2].copy_from_slice(&translation.port.to_be_bytes());
    add(&mut frame, tcp + 4, translation.shift);
    frame[icmp + 2..icmp + 4].fill(0);
    let sum = Sum16BitWords::new()
        .add_slice(&frame[icmp..])
        .ones_complement();
    frame[icmp + 2..icmp + 4].copy_from_slice(&sum.to_ne_bytes());
    frame
}

fn add(frame: &mut [u8], at: usize, shift: u32) {
    let value = u32::from_be_bytes(frame[at..at + 4].try_into().expect("four bytes"));
    frame[at..at + 4].copy_from_slice(&value.wrapping_add(shift).to_be_bytes());
}

fn options(frame: &mut [u8], tcp: usize, translation: Translation) {
    let end = tcp + usize::from(frame[tcp + 12] >> 4) * 4;
    let mut at = tcp + 20;
    while at < end {
        match frame[at] {
            0 => return,
            1 => at += 1,
            kind => {
                let len = usize::from(frame[at + 1]).max(2);
                match kind {
                    5 => (at + 2..at + len)
                        .step_by(4)
                        .for_each(|edge| add(frame, edge, translation.shift)),
                    8 if frame[tcp + 13] & 0x10 != 0 => {
                        frame[at + 6..at + 10].copy_from_slice(&translation.echo.to_be_bytes());
                    }
                    _ => {}
                }
                at += len;
            }
        }
    }
}

//! A classic BPF program (`Documentation/networking/filter.rst`) that keeps the kernel from copying, and
//! from waking us for, frames that are not ours: the host's own traffic on the same interface.

/// One instruction, as the kernel reads it.
pub(super) type Instruction = libc::sock_filter;

const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_BITS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Passes frames whose destination is `mac` or a group.
pub(super) fn for_address(mac: [u8; 6]) -> [Instruction; 8] {
    let first = u32::from_be_bytes([mac[0], mac[1], mac[2], mac[3]]);
    let last = u32::from(u16::from_be_bytes([mac[4], mac[5]]));
    let op = |code, k, jt, jf| Instruction { code, jt, jf, k };
    [
        op(LOAD_BYTE, 0, 0, 0),
        op(IF_BITS, 1, 4, 0), // the group bit: pass
        op(LOAD_WORD, 0, 0, 0),
        op(IF_EQUAL, first, 0, 3), // else drop
        op(LOAD_HALF, 4, 0, 0),
        op(IF_EQUAL, last, 0, 1), // else drop
        op(RETURN, u32::MAX, 0, 0),
        op(RETURN, 0, 0, 0),
    ]
}

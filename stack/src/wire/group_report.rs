//! What reports about groups have in common in IPv4 (RFC 3376 §4.2) and IPv6 (RFC 3810 §5.2): a count of records, and
//! in each a kind and the group. Sources are not told apart.

const HEADER_LEN: usize = 8;
const RECORD_HEADER_LEN: usize = 4;

/// What a record says of a group (RFC 3376 §4.2.12, RFC 3810 §5.2.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// All sources are wanted: in answer to a query.
    IsExclude = 2,
    /// No source is wanted any more.
    ToInclude = 3,
    /// All sources are wanted from now on.
    ToExclude = 4,
}

/// Bytes of a report with so many records about groups of `group_len` bytes.
pub(super) const fn len(records: usize, group_len: usize) -> usize {
    HEADER_LEN + records * (RECORD_HEADER_LEN + group_len)
}

/// Writes a report to `out`, its checksum field zero; panics when `out` is not exactly [`len`] long.
pub(super) fn emit<const N: usize>(
    kind: u8,
    records: impl ExactSizeIterator<Item = (RecordKind, [u8; N])>,
    out: &mut [u8],
) {
    assert_eq!(out.len(), len(records.len(), N));
    let (header, rest) = out.split_at_mut(HEADER_LEN);
    let [high, low] = (records.len() as u16).to_be_bytes();
    header.copy_from_slice(&[kind, 0, 0, 0, 0, 0, high, low]);
    for ((kind, group), out) in records.zip(rest.chunks_exact_mut(RECORD_HEADER_LEN + N)) {
        out[..RECORD_HEADER_LEN].copy_from_slice(&[kind as u8, 0, 0, 0]);
        out[RECORD_HEADER_LEN..].copy_from_slice(&group);
    }
}

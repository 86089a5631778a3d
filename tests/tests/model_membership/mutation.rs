//! Rules that can be switched off, to see that the checker would notice.

/// Which rule is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// None.
    Correct,
    /// Voters and candidates do not wait for another host's lease to end.
    SkipGrantWait,
    /// A voter that restarts grants at once.
    NoWaitAfterRestart,
    /// ACKs leave before the backup has what they cover.
    AckBeforeCommit,
    /// A server promotes itself, and is voted for, whether it is in sync or not.
    PromoteOutsideInSync,
    /// A primary acts on a view without its backup before a majority has recorded it.
    SoloBeforeMajority,
    /// A primary that proposed to take its peer in acknowledges without it until that is decided.
    JoinWithoutObligation,
    /// The peer is taken in when it has a snapshot, but not what came after.
    JoinBeforeTail,
    /// A voter answers before it stores, and forgets when it restarts.
    ForgetOnRestart,
    /// A voter that lost its memory votes like any other.
    VoteWithoutMemory,
    /// A process believes to have the copy that an earlier life had.
    IgnoreLives,
}

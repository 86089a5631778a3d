//! Do the entries add up, and is a snapshot the same journal?

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::replication::entry::Reason;
use crate::tcp::gate::{Hot, Note, Pieces};

pub(crate) fn opening(log_bytes: u32, mirror: bool) -> Opening {
    Opening {
        id: FourTuple::new(
            "10.0.0.1:80".parse().unwrap(),
            "10.0.0.2:5000".parse().unwrap(),
        ),
        record: Record {
            iss: 1,
            irs: 2,
            our_mss: 1460,
            peer_mss: 1460,
            our_scale: 7,
            peer_scale: 7,
            sack: true,
            ecn: true,
            accurate_ecn: false,
            timestamps: Some(3),
            passive: true,
            first_window: 64_000,
            peer_timestamp: 4,
            peer_user_timeout: 300,
        },
        terms: Terms {
            log_bytes,
            hot: Hot::Never,
            mirror,
        },
    }
}

fn received(journal: &Journal, bytes: &[u8], fin: bool) -> Change {
    Change::Received {
        from: journal.committed,
        bytes: Pieces::from_iter([Bytes::copy_from_slice(bytes)]),
        fin,
        right_edge: journal.right_edge + 10,
    }
}

fn point(input: u64, output: u64) -> Change {
    Change::Note(Note::Point(Box::new(Point {
        input,
        output,
        ..Point::default()
    })))
}

#[test]
fn input_is_kept_from_the_last_point_on() {
    let mut journal = Journal::new(&opening(100, false));
    journal.apply(&received(&journal, b"first", false)).unwrap();
    journal
        .apply(&received(&journal, b"second", false))
        .unwrap();
    journal.apply(&point(6, 50)).unwrap();
    assert_eq!(journal.input.to_bytes(), &b"second"[..]);
    assert_eq!((journal.committed, journal.anchor), (12, 50));
    journal.apply(&received(&journal, b"", true)).unwrap();
    assert_eq!((journal.committed, journal.peer_fin), (13, Some(12)));
    assert_eq!(journal.lost, None);
}

#[test]
fn a_full_log_loses_the_connection_until_a_point_with_nothing_unread() {
    let mut journal = Journal::new(&opening(8, false));
    journal
        .apply(&received(&journal, b"123456789", false))
        .unwrap();
    assert_eq!(journal.lost, Some(Reason::LogFull));
    assert_eq!(journal.bytes(), 0);
    journal.apply(&received(&journal, b"more", false)).unwrap();
    journal.apply(&point(10, 1)).unwrap();
    assert_eq!(
        journal.lost,
        Some(Reason::LogFull),
        "four bytes are missing"
    );
    journal.apply(&point(14, 1)).unwrap();
    assert_eq!(journal.lost, None);
    journal.apply(&received(&journal, b"again", false)).unwrap();
    assert_eq!(journal.input.to_bytes(), &b"again"[..]);
}

#[test]
fn a_snapshot_has_the_state_of_a_server_that_speaks_first() {
    let state = Some(Bytes::from_static(b"greeted"));
    let greeting = Note::Output {
        from: 1,
        input: 1,
        bytes: Bytes::from_static(b"welcome"),
        state: state.clone(),
    };
    let ready = Note::Point(Box::new(Point {
        input: 1,
        output: 1,
        state: state.clone(),
        ..Point::default()
    }));
    for (mirror, note) in [(true, greeting), (false, ready)] {
        let mut journal = Journal::new(&opening(100, mirror));
        journal.apply(&Change::Note(note)).unwrap();
        assert_eq!(rebuilt(&journal).unwrap(), journal);
        assert_eq!(journal.point.state, state);
    }
}

#[test]
fn who_read_the_end_before_a_takeover_may_write_again_before_it_is_read_once_more() {
    let wrote = |from, input| {
        Change::Note(Note::Output {
            from,
            input,
            bytes: Bytes::from_static(b"word"),
            state: None,
        })
    };
    let mut journal = Journal::new(&opening(100, true));
    journal.apply(&received(&journal, b"abc", true)).unwrap();
    // With the FIN after three bytes, on this host; then on the other one, which has not read it yet.
    journal.apply(&wrote(1, 5)).unwrap();
    journal.apply(&wrote(5, 4)).unwrap();
    assert_eq!(journal.output.end(), 9);
}

#[test]
fn the_acknowledgment_of_a_fin_is_none_of_output() {
    for mirror in [false, true] {
        let mut journal = Journal::new(&opening(100, mirror));
        if mirror {
            let word = Note::Output {
                from: 1,
                input: 1,
                bytes: Bytes::from_static(b"word"),
                state: None,
            };
            journal.apply(&Change::Note(word)).unwrap();
        }
        let (fin, mark) = (5, None);
        let end = Change::Fin {
            position: fin,
            mark,
        };
        journal.apply(&end).unwrap();
        let position = fin + 1;
        journal
            .apply(&Change::Note(Note::Anchor { position, mark }))
            .unwrap();
        assert_eq!(journal.anchor, fin);
        // Whoever goes on has written all before the FIN, and not the FIN.
        assert!(!mirror || journal.output.end() == fin);
    }
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut journal = Journal::new(&opening(100, false));
    journal.apply(&received(&journal, b"abc", false)).unwrap();
    let before = journal.clone();
    let late = Change::Received {
        from: 3,
        bytes: Pieces::from_iter([Bytes::from_static(b"x")]),
        fin: false,
        right_edge: 0,
    };
    for wrong in [late, point(9, 1), Change::Open(Box::new(opening(1, false)))] {
        assert!(journal.apply(&wrong).is_err(), "{wrong:?}");
        assert_eq!(journal, before);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Receive(usize),
    PeerFin,
    Fin,
    Anchor(u64),
    Point(u64),
    Decide(usize),
    Mirror(usize),
    Lose,
    TimeWait,
    Shed,
    Patience(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0usize..40).prop_map(Step::Receive),
        1 => Just(Step::PeerFin),
        1 => Just(Step::Fin),
        2 => (0u64..100).prop_map(Step::Anchor),
        3 => (0u64..100).prop_map(Step::Point),
        2 => (0usize..20).prop_map(Step::Decide),
        3 => (0usize..50).prop_map(Step::Mirror),
        1 => Just(Step::Lose),
        1 => Just(Step::TimeWait),
        1 => Just(Step::Shed),
        1 => any::<u16>().prop_map(Step::Patience),
    ]
}

/// A change that an honest primary would send next.
fn honest(journal: &Journal, step: &Step, decided: &mut u64) -> Change {
    match *step {
        Step::Receive(len) if journal.peer_fin.is_none() => {
            received(journal, &[7; 40][..len], false)
        }
        Step::PeerFin if journal.peer_fin.is_none() => received(journal, b"last", true),
        Step::Receive(_) | Step::PeerFin => Change::Skipped {
            upto: journal.committed,
            fin: true,
            right_edge: journal.right_edge,
        },
        Step::Fin => Change::Fin {
            position: journal.anchor + 5,
            mark: None,
        },
        Step::Shed => Change::Shed,
        _ => Change::Note(honest_note(journal, step, decided)),
    }
}

/// Half of them have one, and each another.
fn state(number: u64) -> Option<Bytes> {
    (number % 2 == 1).then(|| number.to_be_bytes().to_vec().into())
}

fn honest_note(journal: &Journal, step: &Step, decided: &mut u64) -> Note {
    match *step {
        Step::Anchor(by) => Note::Anchor {
            position: (journal.anchor + by).min(if journal.terms.mirror {
                journal.output.end()
            } else {
                u64::MAX
            }),
            mark: None,
        },
        Step::Point(back) => Note::Point(Box::new(Point {
            input: journal
                .data_end()
                .saturating_sub(back)
                .max(journal.point.input),
            output: journal.anchor,
            decisions: *decided,
            state: state(back),
            ..Point::default()
        })),
        Step::Decide(len) => {
            *decided += 1;
            Note::Decision(Logged {
                seen: journal.committed,
                value: vec![1; len].into(),
            })
        }
        Step::Mirror(len) => Note::Output {
            from: journal.output.end(),
            input: journal.data_end(),
            bytes: vec![2; len].into(),
            state: state(len as u64),
        },
        Step::Lose => Note::Unprotected(Reason::MemoryFull),
        Step::Patience(said) => Note::UserTimeout(said),
        _ => Note::TimeWait,
    }
}

/// What of a journal matters.
fn essence(mut journal: Journal) -> Journal {
    journal.hot &= journal.lost.is_none() && !journal.shed && !journal.time_wait;
    if journal.shed {
        // A host that joins cannot have what is not kept any more.
        journal.shed = false;
        journal.lost = Some(Reason::LogFull);
        journal.decisions.clear();
        journal.decision_bytes = 0;
        journal.output = Stretch::new(journal.anchor);
        journal.point.state = None;
    }
    if journal.lost.is_some() || journal.time_wait {
        journal.point = Point::default();
        journal.input = Stretch::new(0);
    }
    journal
}

/// What a host that joins makes of it.
fn rebuilt(journal: &Journal) -> Result<Journal, Misfit> {
    let mut rebuilt: Option<Journal> = None;
    let mut refused = None;
    journal.rebuild(|change| match (&mut rebuilt, change) {
        (None, Change::Open(opening)) => rebuilt = Some(Journal::new(&opening)),
        (Some(journal), change) => refused = refused.or(journal.apply(&change).err()),
        (None, _) => unreachable!("opened first"),
    });
    refused.map_or_else(|| Ok(rebuilt.expect("opened")), Err)
}

proptest! {
    #[test]
    fn a_snapshot_adds_up_to_the_same_journal(
        steps in prop::collection::vec(step(), 0..40), log_bytes in 0u32..200, mirror: bool,
        hot in prop::sample::select(vec![Hot::Never, Hot::WhenFull, Hot::Always]),
    ) {
        let mut opening = opening(log_bytes, mirror);
        opening.terms.hot = hot;
        let mut journal = Journal::new(&opening);
        let mut decided = 0;
        for step in steps {
            if matches!(step, Step::Mirror(_)) && !mirror {
                continue;
            }
            let change = honest(&journal, &step, &mut decided);
            prop_assert_eq!(journal.apply(&change), Ok(()), "{:?}", change);
        }
        let rebuilt = rebuilt(&journal);
        journal.share();
        prop_assert_eq!(rebuilt.map(essence), Ok(essence(journal)));
    }
}

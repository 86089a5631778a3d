//! The codec undoes itself, and no bytes make it panic or let anything impossible through.

use super::*;
use proptest::prelude::*;

fn ballots() -> impl Strategy<Value = Ballot> {
    (1_u64.., 0_u8..2, 1_u8..4, any::<u64>(), [1_u64.., 1_u64..]).prop_map(
        |(epoch, primary, others, base, lives)| {
            let in_sync = HostSet::from_bits(others)
                .unwrap_or_default()
                .with(HostId(primary));
            let life = |host: u8| {
                let there = in_sync.contains(HostId(host));
                Incarnation(if there { lives[usize::from(host)] } else { 0 })
            };
            Ballot {
                view: View {
                    epoch: Epoch(epoch),
                    primary: HostId(primary),
                    in_sync,
                },
                base: Epoch(base % epoch),
                incarnations: [life(0), life(1)],
            }
        },
    )
}

fn newest() -> impl Strategy<Value = Ballot> {
    prop_oneof![Just(Ballot::NONE), ballots()]
}

fn instants() -> impl Strategy<Value = Instant> {
    any::<u64>().prop_map(Instant::from_nanos)
}

fn leases() -> impl Strategy<Value = Duration> {
    (1..=10_000_000_000_u64).prop_map(Duration::from_nanos)
}

fn heartbeats() -> impl Strategy<Value = Heartbeat> {
    let echoes = (instants(), any::<u64>()).prop_map(|(sent, held)| Echo {
        sent,
        held: Duration::from_nanos(held),
    });
    let sessions = prop_oneof![Just(Session::Down), Just(Session::Init), Just(Session::Up)];
    let fields = (
        instants(),
        1_u32..,
        1_u8..,
        sessions,
        prop::option::of(echoes),
    );
    fields.prop_map(|(sent, interval_us, multiplier, session, echo)| Heartbeat {
        sent,
        interval_us,
        multiplier,
        session,
        echo,
    })
}

fn bodies() -> impl Strategy<Value = Body> {
    let lives = || (1_u64..).prop_map(Incarnation);
    prop_oneof![
        heartbeats().prop_map(Body::Heartbeat),
        (ballots(), instants(), leases()).prop_map(|(ballot, sent, lease)| Body::Propose {
            ballot,
            sent,
            lease
        }),
        (instants(), leases()).prop_map(|(sent, lease)| Body::Renew { sent, lease }),
        (lives(), instants()).prop_map(|(asker, sent)| Body::Grant { asker, sent }),
        (lives(), any::<u64>(), 1_u8..=6).prop_map(|(asker, promised, reason)| Body::Refuse {
            asker,
            promised: Epoch(promised),
            reason: refusal(reason).unwrap_or(Refusal::Invalid),
        }),
        (any::<u64>(), instants(), 0_u8..2).prop_map(|(epoch, sent, to)| Body::Release {
            epoch: Epoch(epoch),
            sent,
            to: HostId(to),
        }),
    ]
}

prop_compose! {
    fn messages()(life in 1_u64.., newest in newest(), decided: bool, body in bodies()) -> Message {
        Message { incarnation: Incarnation(life), newest, decided, body }
    }
}

fn bytes_of(message: &Message) -> BytesMut {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(message in messages()) {
        prop_assert_eq!(Message::decode(&bytes_of(&message)), Ok(message));
    }

    #[test]
    fn a_cut_or_continued_message_is_refused(message in messages(), cut in any::<prop::sample::Index>()) {
        let mut bytes = bytes_of(&message);
        let kept = cut.index(bytes.len());
        prop_assert_eq!(Message::decode(&bytes[..kept]), Err(Malformed::Truncated));
        bytes.put_u8(0);
        prop_assert_eq!(Message::decode(&bytes), Err(Malformed::Trailing(1)));
    }

    /// Whatever a mutated message decodes to is a message that encodes to the same bytes: nothing is read
    /// in two ways, and nothing impossible passes.
    #[test]
    fn mutated_bytes_are_refused_or_mean_what_they_say(
        message in messages(),
        at in any::<prop::sample::Index>(),
        value: u8,
    ) {
        let mut bytes = bytes_of(&message);
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(read) = Message::decode(&bytes) {
            prop_assert!(read.newest.is_well_formed());
            prop_assert_eq!(bytes_of(&read), bytes);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::decode(&bytes);
    }
}

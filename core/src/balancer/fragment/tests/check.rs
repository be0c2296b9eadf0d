//! Faults of a fragment by itself.

use super::*;

fn checked(fragment: Fragment, fields: FragmentFields) -> Result<(), Reason> {
    let packet = Packet {
        family: Family::V4,
        l3: 14,
        l4: 34,
        end: 34 + u32::from(fields.length),
        protocol: fields.protocol,
        traffic_class: 0,
        fragment,
        source: 0,
        destination: 0,
        tcp_flags: 0,
    };
    check(&packet, &fields)
}

#[test]
fn malformed_and_tiny_fragments_are_refused() {
    use Fragment::{First, Later};
    let last = |offset, length| FragmentFields { more: false, ..fields(offset, length) };
    let tcp = |fields| FragmentFields { protocol: protocol::TCP, ..fields };
    let malformed = Err(Reason::Malformed);
    for (fragment, fields, expected) in [
        (First, fields(0, 8), Ok(())),
        (Later, fields(8, 8), Ok(())),
        (Later, last(8, 1), Ok(())),
        (First, fields(0, 12), malformed),
        (Later, fields(8, 12), malformed),
        (Later, fields(8, 0), malformed),
        (Later, last(8, 0), malformed),
        (Later, fields(0, 8), malformed),
        (Later, last(65_512, 3), Ok(())),
        (Later, last(65_512, 4), malformed),
        // RFC 3128: an offset of one unit would overwrite TCP's flags.
        (Later, tcp(fields(8, 8)), Err(Reason::Tiny)),
        (Later, tcp(fields(16, 8)), Err(Reason::Tiny)),
        (Later, tcp(fields(24, 8)), Ok(())),
        (First, tcp(fields(0, 24)), Ok(())),
    ] {
        assert_eq!(checked(fragment, fields), expected, "{fragment:?} {fields:?}");
    }
}

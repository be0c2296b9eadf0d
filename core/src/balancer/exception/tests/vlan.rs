//! Backends behind a VLAN device: what leaves has the template's tag, also fragments; replies have those that came.

use super::*;
use crate::wire::vlan;

const VLAN: u16 = 200;
const IN_A_VLAN: Setup = Setup { vlan: Some(VLAN), ..Setup::PLAIN };

/// The tags of a frame, as Ethertype and control.
fn tags(frame: &[u8]) -> Vec<(u16, u16)> {
    let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let tags = (12..).step_by(vlan::LENGTH).take_while(|&at| vlan::is_tag(word(at)));
    tags.map(|at| (word(at), word(at + 2))).collect()
}

fn received() -> [Vec<(u16, u16)>; 3] {
    [vec![], vec![(0x8100, 0x6064)], vec![(0x88a8, 7), (0x8100, 0x6064)]]
}

#[test]
fn packets_and_fragments_leave_with_the_tag() {
    for &(name, encapsulation) in Encapsulation::NAMES {
        for tags_received in received() {
            for (length, count) in [(100, 1), (1450, 2), (2800, 2)] {
                let sample = Sample { tags: tags_received.clone(), ..to_service(1, length) };
                // An l2 backend gets whole what just fits.
                if name == "l2" && length == 1450 {
                    continue;
                }
                let setup = Setup { encapsulation, ..IN_A_VLAN };
                let (sent, verdicts) = receive(setup, &sample.frame());
                assert_eq!(verdicts, [(Verdict::Forwarded, 1)], "{name}, {length}");
                assert_eq!(sent.len(), count, "{name}, {length}");
                for (port, frame) in &sent {
                    assert_eq!((*port, tags(frame)), (BACKENDS, vec![(0x8100, VLAN)]), "{name}");
                    assert!(Packet::parse(frame).unwrap().ip_length() <= 1500);
                }
            }
        }
    }
}

/// A burst that the fast path would take as a whole, if its backend had no tag.
#[test]
fn packets_of_a_known_flow_leave_with_the_tag_too() {
    let mut workers = Workers::new(IN_A_VLAN);
    for _ in 0..3 {
        let sent = workers.receive(0, CLIENTS, (0..8).map(|_| buffer(&to_service(1, 9).frame())));
        assert_eq!(sent.len(), 8);
        assert!(sent.iter().all(|(_, frame)| tags(frame) == [(0x8100, VLAN)]));
        workers.wait(10);
    }
    assert_eq!(workers.verdicts(), [(Verdict::Forwarded, 24)]);
}

#[test]
fn replies_leave_with_the_tags_of_the_packet() {
    for tags_received in received() {
        let ping = Sample { tags: tags_received.clone(), ..echo(Family::V4, 56) };
        let big = Sample { fragment: DONT_FRAGMENT, ..to_service(1, 1480) };
        let big = Sample { tags: tags_received.clone(), ..big };
        for (frame, reply) in [(ping.frame(), Reply::Echo), (big.frame(), Reply::TooBig)] {
            let (sent, verdicts) = receive(IN_A_VLAN, &frame);
            assert_eq!((sent.len(), verdicts), (1, replied(reply)));
            let (port, bytes) = &sent[0];
            assert_eq!((*port, tags(bytes)), (CLIENTS, tags_received.clone()), "{reply:?}");
        }
    }
}

#[test]
fn redirected_fragments_leave_with_the_tag() {
    let setup = Setup { clustered: true, ..IN_A_VLAN };
    let mut redirected = 0;
    for host in 1..40 {
        let mut sample = Sample::udp(&format!("198.51.100.{host}:9"), "203.0.113.10:53");
        sample.payload = vec![7; 64];
        let mut workers = Workers::new(setup.clone());
        let frames = fragments(&sample, 32);
        for (port, frame) in workers.receive(0, CLIENTS, frames.iter().map(|f| buffer(f))) {
            assert_eq!((port, tags(&frame)), (BACKENDS, vec![(0x8100, VLAN)]));
        }
        workers.finish();
        redirected += workers.verdicts().iter().filter(|(v, _)| *v == Verdict::Redirected).count();
    }
    assert!(redirected > 5, "{redirected} of 39");
}

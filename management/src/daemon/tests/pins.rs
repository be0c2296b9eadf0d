//! Pins: from the request to the tables, over reloads.

use guideway_core::balancer::backend::Route;

use super::*;

fn source(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn pin(port: u16, backend: &str) -> api::Pin {
    api::Pin { source: source(port), pool: "web".to_owned(), backend: backend.to_owned() }
}

impl Lab {
    /// Sets pins. Returns the generation and the number of pins of the answer.
    fn pin(&self, pins: &[api::Pin], removed: &[SocketAddr], only: bool) -> (u64, usize) {
        let (pins, removed) = (pins.to_vec(), removed.to_vec());
        match self.daemon.handle(Request::PinSet { pins, removed, only }) {
            Response::PinsSet { generation, pins } => (generation, pins),
            other => panic!("{other:?}"),
        }
    }

    fn pins(&self) -> Vec<api::Pin> {
        match self.daemon.handle(Request::PinList {}) {
            Response::Pins(pins) => pins,
            other => panic!("{other:?}"),
        }
    }

    /// The id and the route of the backend that packets from a port go to.
    fn way(&self, port: u16) -> Option<(BackendId, Option<Route>)> {
        let tables = self.tables.load();
        let id = tables.pins().backend(source(port))?;
        Some((id, tables.backend(id).route.clone()))
    }

    fn id_of(&self, backend: usize) -> BackendId {
        self.daemon.overview.published.load().pools[0].backends[backend].id
    }

    fn configure(&self, backends: &[(&str, u8, &str)]) {
        let request = Request::ConfigApply { text: text(backends), reason: None };
        let response = self.daemon.handle(request);
        assert!(matches!(response, Response::Applied { .. }), "{response:?}");
    }
}

#[test]
fn pins_are_in_force_when_the_answer_comes() {
    let lab = Lab::new();
    assert_eq!((lab.pins(), lab.way(7)), (vec![], None));
    assert_eq!(lab.pin(&[pin(8, "b"), pin(7, "a")], &[], false), (2, 2));
    assert_eq!(lab.daemon.overview.progress().generation, 2, "it is in force");
    assert_eq!(lab.pins(), [pin(7, "a"), pin(8, "b")], "by source");
    let (id, route) = lab.way(8).unwrap();
    assert!(id == lab.id_of(1) && route.is_some());
    // The same again makes no other tables.
    assert_eq!(lab.pin(&[pin(7, "a")], &[source(99)], false), (2, 2));
    assert_eq!(lab.pin(&[], &[source(7)], false), (3, 1));
    assert_eq!((lab.way(7), lab.way(8).is_some()), (None, true));
    assert_eq!(lab.pin(&[pin(9, "c")], &[], true), (4, 1));
    assert_eq!((lab.way(8), lab.way(9).map(|way| way.0)), (None, Some(lab.id_of(2))));
    assert_eq!(lab.pin(&[], &[], true), (5, 0));
    assert_eq!(lab.way(9), None);
}

/// The backend may be down, disabled or at its end: a probe must reach it.
#[test]
fn the_state_of_a_backend_does_not_matter() {
    let lab = Lab::new();
    lab.pin(&[pin(7, "a")], &[], false);
    for state in [api::SetState::Down, api::SetState::Disabled, api::SetState::Draining] {
        let change = api::BackendChange {
            pool: Some("web".to_owned()),
            backend: Some("a".to_owned()),
            address: None,
            set: api::BackendOrder::State(state),
            reason: None,
        };
        lab.daemon.handle(Request::BackendSet {
            changes: vec![change],
            source: api::Source::Controller,
            reason: None,
            for_seconds: None,
        });
        let (id, route) = lab.way(7).unwrap();
        assert!(id == lab.id_of(0) && route.is_some(), "{state:?}");
    }
}

#[test]
fn a_pin_follows_its_backend_over_reloads() {
    let lab = Lab::new();
    lab.pin(&[pin(7, "a"), pin(8, "nosuch")], &[], false);
    let before = lab.way(7).unwrap();
    assert_eq!(lab.way(8), None, "nobody has that name");
    lab.configure(&THREE[1..]);
    assert_eq!((lab.way(7), lab.pins().len()), (None, 2), "it is gone, and its pin waits");
    // Another address is another backend: the id differs, and the pin follows the name.
    lab.configure(&[("b", 11, ""), ("a", 13, ""), ("nosuch", 14, "")]);
    assert!(lab.way(7).unwrap().0 == lab.id_of(1) && lab.way(7) != Some(before));
    assert_eq!(lab.way(8).unwrap().0, lab.id_of(2));
}

#[test]
fn there_is_an_end_to_pins() {
    let lab = Lab::new();
    let many = |ip: u8| -> Vec<api::Pin> {
        let source = |port| SocketAddr::from(([10, 0, 0, ip], port));
        (1..=u16::MAX).map(|port| api::Pin { source: source(port), ..pin(1, "a") }).collect()
    };
    let fits = u8::try_from(crate::state::MAX_PINS / usize::from(u16::MAX)).unwrap();
    for ip in 0..fits {
        lab.pin(&many(ip), &[], false);
    }
    let before = lab.pins().len();
    let request = Request::PinSet { pins: many(fits), removed: vec![], only: false };
    let Response::Error(error) = lab.daemon.handle(request) else { panic!("they are too many") };
    assert!(error.kind == ErrorKind::Failed && error.message.contains("262144 are kept"));
    assert_eq!(lab.pins().len(), before);
    assert_eq!(lab.pin(&many(fits), &[], true).1, usize::from(u16::MAX), "in place of the others");
}

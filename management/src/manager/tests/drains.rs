//! Events of draining backends, with the flows that a test says.

use guideway_api::Happening;

use super::*;
use crate::state::Set;

/// A pool with a UDP service, whose drains end after 300 s.
const POOL: &str = "dns";

fn address() -> IpAddr {
    "10.0.0.3".parse().unwrap()
}

fn set(manager: &mut Manager, value: SetState) -> u64 {
    let mut state = manager.state().clone();
    let change = BackendChange::new(POOL, address(), BackendOrder::State(value));
    assert!(state.intent.set(&BackendChange { at: Wall::now(), ..change }));
    manager.change(&state)
}

/// What a look records when the workers run a generation and the backend has so many flows.
fn look(manager: &mut Manager, generation: u64, now: Wall, flows: u64) -> Vec<Happening> {
    let progress = Progress { generation, swept: 0 };
    let id = manager.compiled.ids.backends[1][2];
    let live = |asked: BackendId| if asked == id { flows } else { 1 << 40 };
    let mut events = Vec::new();
    manager.drains.look(progress, now, live, |happening| events.push(happening));
    events
}

fn since(manager: &Manager) -> Wall {
    manager.state().standing.pools[1].backends[2].since
}

fn later(since: Wall, seconds: u64) -> Wall {
    since.after(Duration::from_secs(seconds))
}

fn drained(seconds: u64) -> Happening {
    let (pool, backend) = (POOL.to_owned(), "c".to_owned());
    Happening::BackendDrained { pool, backend, address: address(), seconds }
}

fn timeout(then: &str, flows: u64) -> Happening {
    let (pool, backend, then) = (POOL.to_owned(), "c".to_owned(), then.to_owned());
    Happening::DrainTimeout { pool, backend, address: address(), then, flows }
}

#[test]
fn a_backend_is_drained_once_its_last_flow_is_gone() {
    let mut manager = manager();
    assert!(!manager.drains.is_watching());
    let generation = set(&mut manager, SetState::Draining);
    let begun = since(&manager);
    // By tables before the drain, the backend may still get a flow.
    assert_eq!(look(&mut manager, generation - 1, later(begun, 1), 0), []);
    assert_eq!(look(&mut manager, generation, later(begun, 2), 500), []);
    assert_eq!(look(&mut manager, generation, later(begun, 3), 1), []);
    assert!(manager.drains.is_watching());
    assert_eq!(look(&mut manager, generation, later(begun, 4), 0), [drained(4)]);
    assert!(!manager.drains.is_watching());
    assert_eq!(look(&mut manager, generation, later(begun, 400), 0), []);
    // A reload with the same backend does not begin the drain anew, and another drain does.
    let configuration = configured();
    manager.configure(configuration, String::new(), AT_ONCE).unwrap();
    assert!(!manager.drains.is_watching());
    set(&mut manager, SetState::Enabled);
    std::thread::sleep(Duration::from_millis(2));
    let generation = set(&mut manager, SetState::Draining);
    let begun = since(&manager);
    assert_eq!(look(&mut manager, generation, begun, 0), [drained(0)]);
}

#[test]
fn a_drain_that_is_cancelled_records_nothing() {
    let mut manager = manager();
    let begin = set(&mut manager, SetState::Draining);
    let begun = since(&manager);
    assert_eq!(look(&mut manager, begin, later(begun, 1), 5), []);
    let cancelled = set(&mut manager, SetState::Enabled);
    assert!(!manager.drains.is_watching());
    assert_eq!(look(&mut manager, cancelled, later(begun, 1000), 0), []);
}

#[test]
fn the_end_of_a_drain_is_recorded_once_for_each_policy() {
    let mut manager = manager();
    let mut configuration = configured();
    let service = configuration.services.iter().find(|service| service.name == "dns").unwrap();
    let mut other = service.clone();
    (other.name, other.port) = ("other".to_owned(), 54);
    other.policy.drain = Some(Duration::from_secs(600));
    other.policy.drain_then = guideway_config::DrainThen::Keep;
    configuration.services.push(other);
    manager.configure(configuration, String::new(), AT_ONCE).unwrap();
    let generation = set(&mut manager, SetState::Draining);
    let begun = since(&manager);
    assert_eq!(look(&mut manager, generation, later(begun, 299), 9), []);
    assert_eq!(look(&mut manager, generation, later(begun, 300), 8), [timeout("move", 8)]);
    assert_eq!(look(&mut manager, generation, later(begun, 301), 8), []);
    assert_eq!(look(&mut manager, generation, later(begun, 700), 7), [timeout("keep", 7)]);
    // A reload keeps in mind what has come.
    let configuration = Configuration::clone(&manager.state().intent.configuration);
    manager.configure(configuration, String::new(), AT_ONCE).unwrap();
    assert_eq!(look(&mut manager, generation, later(begun, 800), 7), []);
    assert_eq!(look(&mut manager, generation, later(begun, 801), 0), [drained(801)]);
}

/// All flows can move between two looks.
#[test]
fn the_end_of_a_drain_comes_before_its_last_flow() {
    let mut manager = manager();
    let generation = set(&mut manager, SetState::Draining);
    let end = later(since(&manager), 300);
    assert_eq!(look(&mut manager, generation, end, 0), [timeout("move", 0), drained(300)]);
}

#[test]
fn a_drain_of_an_earlier_run_goes_on() {
    let mut manager = manager();
    set(&mut manager, SetState::Draining);
    let mut state = manager.state().clone();
    let mut settings = state.intent.settings().clone();
    let begun = Wall(Wall::now().0 - 400_000);
    let mut setting = settings.get(POOL, address()).unwrap().clone();
    setting.operator.state =
        Some(Set { value: SetState::Draining, reason: None, at: begun, until: None });
    settings.put(POOL, address(), setting);
    assert_eq!(state.restore(settings, Wall::now()), []);
    let mut next = Manager::first(state, None).unwrap();
    assert_eq!(since(&next), begun);
    assert_eq!(look(&mut next, 0, later(begun, 401), 0), []);
    // Its end came before the start.
    assert_eq!(look(&mut next, 1, later(begun, 402), 0), [drained(402)]);
}

#[test]
fn many_drains_that_end_at_once_are_recorded_in_turn() {
    let mut large = configured();
    let backend = large.pools[0].backends[0].clone();
    large.pools[0].backends = (0..2500_u16)
        .map(|n| guideway_config::Backend {
            name: format!("b{n}"),
            address: IpAddr::from([10, 1, n.to_be_bytes()[0], n.to_be_bytes()[1]]),
            ..backend.clone()
        })
        .collect();
    let addresses: Vec<_> = large.pools[0].backends.iter().map(|b| b.address).collect();
    let mut manager = manager();
    manager.configure(large, String::new(), AT_ONCE).unwrap();
    let mut state = manager.state().clone();
    for address in addresses {
        let order = BackendOrder::State(SetState::Draining);
        state.intent.set(&BackendChange::new("web", address, order));
    }
    let generation = manager.change(&state);
    let progress = Progress { generation, swept: 0 };
    let mut look = || {
        let mut count = 0;
        manager.drains.look(progress, Wall::now(), |_| 0, |_| count += 1);
        count
    };
    assert_eq!([look(), look(), look(), look()], [1000, 1000, 500, 0]);
}

//! Clients that check configurations all the time.

use std::sync::atomic::AtomicUsize;

use super::*;

/// Connections that the socket for reading has at once.
const CHECKERS: usize = guideway_chassis::server::CONNECTIONS;

#[test]
fn an_apply_waits_for_the_check_under_way_and_no_other() {
    const APPLIES: usize = 5;
    let lab = Lab::new();
    // Long enough that a check takes longer than the checkers need to ask again.
    let services = (1..200).map(|n| {
        format!(
            "[[service]]\nname = \"web{n}\"\naddress = \"203.0.113.10\"\nprotocol = \"tcp\"\n\
             port = {}\npool = \"web\"\n",
            1000 + n
        )
    });
    let checked = text(THREE) + &services.collect::<String>();
    let (checks, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let checkers: Vec<_> = (0..CHECKERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut response = None;
                    while !is_over.load(Ordering::Relaxed) {
                        let request = Request::ConfigCheck { text: checked.clone() };
                        response = Some(lab.daemon.handle(request));
                        checks.fetch_add(1, Ordering::Relaxed);
                    }
                    response
                })
            })
            .collect();
        // Until all of them wait in the queue.
        while checks.load(Ordering::Relaxed) < 2 * CHECKERS {
            std::thread::sleep(Duration::from_millis(1));
        }
        let between = (0..APPLIES).map(|_| {
            let before = checks.load(Ordering::Relaxed);
            let response = lab.apply(&text(&THREE[..2]));
            (response, checks.load(Ordering::Relaxed) - before)
        });
        let between: Vec<_> = between.collect();
        is_over.store(true, Ordering::Relaxed);
        for checker in checkers {
            let response = checker.join().unwrap();
            assert!(matches!(response, Some(Response::Checked { .. })), "{response:?}");
        }
        // One that was under way, and a few while the workers load the tables. In turn it would be 63 each time.
        let passed: usize = between.iter().map(|(_, checks)| checks).sum();
        assert!(passed < APPLIES * CHECKERS / 4, "{between:?}");
        for (response, _) in between {
            assert!(matches!(response, Response::Applied { .. }), "{response:?}");
        }
    });
}

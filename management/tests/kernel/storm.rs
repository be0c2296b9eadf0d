use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use guideway_management::kernel::Options;

use crate::rig::Rig;
use crate::space::{in_namespace, ip, ip_batch, until};

const A: &str = "10.0.0.1";

#[test]
fn an_overrun_leads_to_a_new_reading() {
    in_namespace(|| {
        // The least that the kernel gives: a few messages.
        let options = Options { receive_buffer: Some(1), ..Options::default() };
        let rig = Rig::with(&[A.to_owned()], options);
        let mut overruns = 0;
        for gateway in ["192.0.2.8", "192.0.2.9"] {
            // The last of many is what nobody hears of.
            let mut lines: String = (0..5000)
                .map(|n| format!("route replace 172.16.{}.{}/32 dev lo\n", n / 250, n % 250))
                .collect();
            lines += &format!("route replace 10.0.0.0/16 via {gateway}\n");
            ip_batch(&lines);
            rig.until_hop(A, 0, gateway);
            until("an overrun is counted", || rig.view().health.overruns > overruns);
            overruns = rig.view().health.overruns;
        }
    });
}

#[test]
fn ten_thousand_messages_a_second_starve_nothing() {
    in_namespace(|| {
        let rig = Rig::new(&[A]);
        ip("route add 10.0.0.0/16 via 192.0.2.9");
        rig.until_hop(A, 0, "192.0.2.9");
        let (is_over, told) = (AtomicBool::new(false), AtomicU64::new(0));
        let lines: String = (0..2500)
            .flat_map(|n| {
                let prefix = format!("172.16.{}.{}/32", n / 250, n % 250);
                [format!("route add {prefix} dev lo\n"), format!("route delete {prefix} dev lo\n")]
            })
            .collect();
        std::thread::scope(|scope| {
            let _over = Over(&is_over);
            scope.spawn(|| {
                let begin = Instant::now();
                while !is_over.load(Ordering::Relaxed) {
                    ip_batch(&lines);
                    let sent = told.fetch_add(5000, Ordering::Relaxed) + 5000;
                    // 12,000 a second.
                    let due = begin + Duration::from_micros(sent * 1000 / 12);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                }
            });
            std::thread::sleep(Duration::from_millis(500));
            let (begin, before) = (Instant::now(), told.load(Ordering::Relaxed));
            let mut worst = Duration::ZERO;
            for n in 0..20 {
                let gateway = ["192.0.2.8", "192.0.2.9"][n % 2];
                ip(&format!("route replace 10.0.0.0/16 via {gateway}"));
                worst = worst.max(rig.until_hop(A, 0, gateway));
                std::thread::sleep(Duration::from_millis(50));
            }
            let seconds = begin.elapsed().as_secs_f64();
            let rate = (told.load(Ordering::Relaxed) - before) as f64 / seconds;
            eprintln!(
                "with {rate:.0} messages a second a route was published after at most {worst:?}"
            );
            assert!(worst < Duration::from_secs(1));
        });
        assert_eq!(rig.view().health.overruns, 0);
    });
}

/// Ends the storm when it is dropped, by a failure too.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

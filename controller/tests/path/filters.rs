//! The kernel's reverse path filter.

use std::fs;

use guideway_controller::check::strict_filters;

use crate::space::{in_namespace, ip, run};

fn set(interface: &str, value: u32) {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/rp_filter");
    fs::write(path, value.to_string()).unwrap();
}

#[test]
fn the_larger_value_of_both_holds() {
    in_namespace(|| {
        ip("link add edge0 type veth peer name edge1.7");
        let both = ["edge0".to_owned(), "edge1.7".to_owned(), "gone".to_owned()];
        for (all, own, is_strict) in [
            (0, 0, false),
            (0, 1, true),
            (0, 2, false),
            (1, 0, true),
            (1, 1, true),
            (1, 2, false),
            (2, 0, false),
            (2, 1, false),
        ] {
            set("all", all);
            set("edge0", own);
            set("edge1.7", 2);
            let found = strict_filters(&both);
            assert_eq!(found.len(), usize::from(is_strict), "all {all}, own {own}: {found:?}");
            if let Some((interface, sentence)) = found.first_key_value() {
                assert_eq!(interface, "edge0");
                // What it says to do is what helps.
                let (_, line) = sentence.split_once(": sysctl ").unwrap();
                run(&format!("sysctl {line}"));
                assert!(strict_filters(&both).is_empty());
            }
        }
        set("all", 1);
        set("edge0", 0);
        set("edge1.7", 0);
        let found = strict_filters(&both);
        assert_eq!(found.len(), 2);
        run(&format!("sysctl {}", found["edge1.7"].split_once(": sysctl ").unwrap().1));
        assert_eq!(strict_filters(&both).len(), 1, "a name with a point");
    });
}

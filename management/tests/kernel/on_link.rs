//! Virtual addresses on a device: what the kernel replies for, and what it sends from.

use std::fs;
use std::sync::{Arc, Mutex};

use guideway_management::manager::Change;
use guideway_management::on_link;
use guideway_netlink::Requests;

use crate::rig::{Rig, configuration};
use crate::space::{Space, in_namespace, ip, until};

#[test]
fn the_kernel_replies_for_a_virtual_address_without_forwarding() {
    in_namespace(|| {
        let hosts = Space::new();
        ip("link add edge0 address 02:00:00:00:00:01 type veth peer name host0");
        ip(&format!("link set host0 netns {}", hosts.id()));
        hosts.ip("link set host0 up");
        hosts.ip("address add 192.0.2.7/24 dev host0");
        hosts.ip("address add 2001:db8::7/64 dev host0 nodad");
        ip("link set edge0 up");
        fs::write("/proc/sys/net/ipv4/conf/edge0/arp_ignore", "1").unwrap();
        fs::write("/proc/sys/net/ipv4/conf/edge0/forwarding", "0").unwrap();
        let mut requests = Requests::open().unwrap();
        let index = requests.index("edge0").unwrap().unwrap();
        let vips = ["192.0.2.100", "2001:db8::100"];
        // Twice is as good as once.
        for vip in vips.iter().chain(&vips) {
            requests.add_virtual_address(index, vip.parse().unwrap()).unwrap();
        }
        ip("address add 192.0.2.1/24 dev edge0");
        ip("address add 2001:db8::1/64 dev edge0 nodad");
        for vip in vips {
            let known = || hosts.ip("neighbor show dev host0");
            hosts.ip(&format!("neighbor replace {vip} dev host0 nud none use"));
            until("a reply", || known().contains(&format!("{vip} lladdr 02:00:00:00:00:01")));
        }

        // The node's own packets have its own addresses.
        ip("route add default via 192.0.2.254");
        ip("-6 route add default via 2001:db8::fe");
        for (destination, source) in [
            ("192.0.2.8", "192.0.2.1"),
            ("198.51.100.8", "192.0.2.1"),
            ("2001:db8::8", "2001:db8::1"),
            ("2001:db8:9::8", "2001:db8::1"),
        ] {
            let route = ip(&format!("route get {destination}"));
            assert!(route.contains(&format!(" src {source} ")), "{route}");
        }
        // The addresses bring no route to a network.
        let routes = ip("route show") + &ip("-6 route show");
        assert!(!routes.contains("192.0.2.100") && !routes.contains("2001:db8::100"), "{routes}");

        for vip in vips {
            requests
                .remove_address(index, vip.parse::<std::net::IpAddr>().unwrap().into())
                .unwrap();
        }
        let left = ip("address show dev edge0");
        assert!(vips.iter().all(|vip| !left.contains(vip)), "{left}");
    });
}

impl Rig {
    /// Puts a configuration in force whose service has this address.
    fn serve(&self, address: &str, answer_on_link: bool) {
        let (mut configuration, text) = configuration(&["192.0.2.9".to_owned()]);
        configuration.services[0].address = address.parse().unwrap();
        configuration.services[0].answer_on_link = answer_on_link;
        let configuration = Box::new(configuration);
        self.manager.changes().send(Change::Configuration { configuration, text }).turn().wait();
    }
}

#[test]
fn virtual_addresses_follow_configuration_and_networks() {
    in_namespace(|| {
        let rig = Rig::new(&["192.0.2.9"]);
        let sent = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&sent);
        let thread = on_link::start(
            vec![[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]],
            Arc::clone(rig.manager.published()),
            Arc::clone(rig.kernel.as_ref().unwrap().view()),
            Box::new(move |port, frame| sink.lock().unwrap().push((port, frame))),
        )
        .unwrap();
        let is_on = |device: &str, address: &str| {
            ip(&format!("address show dev {device}")).contains(&format!("{address}/"))
        };
        rig.serve("192.0.2.100", true);
        until("the address", || is_on("edge0", "192.0.2.100"));
        until("an announcement", || !sent.lock().unwrap().is_empty());
        let (port, frame) = sent.lock().unwrap()[0].clone();
        assert_eq!(
            (port, &frame[6..12], &frame[38..42]),
            (0, &[2, 0, 0, 0, 0, 1][..], &[192, 0, 2, 100][..])
        );

        // A flush, after which another tool sets the addresses again.
        ip("address flush dev edge0");
        ip("address add 192.0.2.1/24 dev edge0");
        until("the address again", || is_on("edge0", "192.0.2.100"));

        // Another address, on another port; the first one goes.
        rig.serve("198.51.100.100", true);
        until("the other address", || is_on("edge1", "198.51.100.100"));
        until("the end of the first", || !is_on("edge0", "192.0.2.100"));
        rig.serve("198.51.100.100", false);
        until("the end of both", || !is_on("edge1", "198.51.100.100"));
        drop(thread);
    });
}

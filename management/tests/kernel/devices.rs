use guideway_netlink::{Error, Refused, Requests, Told, Watch};
use netlink_packet_route::RouteNetlinkMessage;

use crate::space::{Tap, in_namespace, ip, ip_batch};

#[test]
fn a_device_is_set_up_with_its_addresses() {
    in_namespace(|| {
        ip("tuntap add edge0 mode tap");
        let mut requests = Requests::open().unwrap();
        assert_eq!(requests.index("nosuch").unwrap(), None);
        let index = requests.index("edge0").unwrap().unwrap();
        requests.set_mac(index, [2, 0, 0, 0, 0, 9]).unwrap();
        requests.set_mtu(index, 1400).unwrap();
        requests.set_up(index, true).unwrap();
        for address in ["192.0.2.1/24", "192.0.2.1/24", "198.51.100.7/32", "2001:db8::1/64"] {
            requests.add_address(index, address.parse().unwrap()).unwrap();
        }
        let shown = ip("address show edge0");
        for text in
            ["mtu 1400", "02:00:00:00:00:09", "192.0.2.1/24 brd 192.0.2.255", "198.51.100.7/32"]
        {
            assert!(shown.contains(text), "{text}: {shown}");
        }
        assert!(shown.contains("2001:db8::1/64 scope global"), "{shown}");
        requests.remove_address(index, "192.0.2.1/24".parse().unwrap()).unwrap();
        requests.remove_address(index, "192.0.2.1/24".parse().unwrap()).unwrap();
        assert!(!ip("address show edge0").contains("192.0.2.1"));
        requests.set_up(index, false).unwrap();
        assert!(!ip("link show edge0").contains("UP"));
    });
}

#[test]
fn carrier_is_set_where_the_driver_can() {
    in_namespace(|| {
        let _tap = Tap::new("edge0");
        let mut requests = Requests::open().unwrap();
        let index = requests.index("edge0").unwrap().unwrap();
        requests.set_up(index, true).unwrap();
        for has_carrier in [true, false, true] {
            requests.set_carrier(index, has_carrier).unwrap();
            assert_eq!(!ip("link show edge0").contains("NO-CARRIER"), has_carrier);
        }
    });
}

#[test]
fn what_the_kernel_refuses_it_refuses_with_its_words() {
    in_namespace(|| {
        let mut requests = Requests::open().unwrap();
        let refused = requests.add_address(77, "192.0.2.1/24".parse().unwrap()).unwrap_err();
        let Error::Refused(Refused { errno: 19, words: _ }) = &refused else {
            panic!("{refused}");
        };
        assert!(refused.to_string().starts_with("No such device"), "{refused}");
        let index = requests.index("lo").unwrap().unwrap();
        let refused = requests.set_mtu(index, u32::MAX).unwrap_err().to_string();
        assert!(refused.contains("mtu"), "{refused}");
    });
}

#[test]
fn a_watch_tells_of_changes_and_reports_an_overrun() {
    in_namespace(|| {
        let mut watch = Watch::with_buffer(4096).unwrap();
        ip("tuntap add edge0 mode tap");
        let mut names = 0;
        assert!(
            !watch
                .receive(100, |told| {
                    names +=
                        u32::from(matches!(told, Told::Message(RouteNetlinkMessage::NewLink(_))));
                })
                .unwrap()
        );
        assert!(names > 0, "no word of the new device");
        ip("link set edge0 up");
        let routes: String = (0..1000)
            .map(|n| format!("route add 10.0.{}.{}/32 dev lo\n", n / 250, n % 250))
            .collect();
        ip_batch(&routes);
        let mut overruns = 0;
        for _ in 0..1000 {
            match watch.receive(1, |_| ()) {
                Ok(true) => (),
                Ok(false) => break,
                Err(Error::Overrun) => overruns += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(overruns > 0, "1000 messages fit 4 KiB");
        ip("route add 10.9.0.0/16 dev lo");
        let mut told = 0;
        watch.receive(10, |_| told += 1).unwrap();
        assert!(told > 0, "a watch goes on after an overrun");
    });
}

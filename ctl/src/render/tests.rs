//! Every table, compared with its exact text.

mod announce;
mod check;

use std::time::{Duration, Instant, SystemTime};

use clap::Parser;
use guideway_api::{
    Announcing, AnnouncingState, Backend, BackendSetting, BackendState, Duplex,
    EncapsulationChoice, Flow, FlowField, FlowState, FromKernel, Learnt, Link, Neighbor,
    NeighborState, NextHop, Port, PortCounters, PortInterface, PortInterfaceState, PortStats,
    Protocol, Punt, Route, RxQueue, Service, SetState, Source, Stats, Status, Steering,
    SteeringMethod, ToKernel, Traffic, Unreachable, VlanDevice, Worker,
};

use super::*;
use crate::arguments::{Arguments, Command};

/// Renders for a file.
fn render(response: &Response, output: Output) -> Rendered {
    render_backends(response, output, BackendView::default())
}

fn render_backends(response: &Response, output: Output, backends: BackendView) -> Rendered {
    View { output, screen: Screen::default(), backends, look: None }.render(response)
}

#[track_caller]
fn prints(response: &Response, expected: &str) {
    let rendered = render(response, Output::Table);
    assert_eq!(rendered.text, expected, "\n{}", rendered.text);
    // The JSON is the response's body.
    let json = render(response, Output::Json);
    let wire = serde_json::to_value(response).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json.text).unwrap(), wire["body"]);
    assert_eq!(json.notes, Vec::<String>::new());
}

#[test]
fn status() {
    let status = Status {
        node: "lb1".into(),
        version: "0.1.0".into(),
        uptime_seconds: 3661,
        generation: 3,
        generation_in_force: 3,
        manager_restarts: 0,
        config_path: "/etc/guideway/guideway.toml".into(),
        workers: 2,
        ports: 1,
        services: 2,
        backends: 3,
        flows: 1042,
        flow_capacity: 2_097_152,
        fragments_waiting: 3,
        received: 120_345,
        transmitted: 120_301,
        announcing: Some(Announcing {
            interface: "gwvip".into(),
            state: AnnouncingState::WorkerStalled { worker: 1 },
            dropped: 0,
        }),
    };
    prints(
        &Response::Status(status),
        "\
node                 lb1
version              0.1.0
uptime_seconds       3661
generation           3
generation_in_force  3
manager_restarts     0
config_path          /etc/guideway/guideway.toml
workers              2
ports                1
services             2
backends             3
flows                1042
flow_capacity        2097152
fragments_waiting    3
announcing           gwvip worker_stalled: worker 1 stalls
received             120345
transmitted          120301
",
    );
}

#[test]
fn services() {
    let web = Service {
        name: "web".into(),
        address: "203.0.113.10".parse().unwrap(),
        protocol: Protocol::Tcp,
        port: 80,
        pool: "web".into(),
        backends: 2,
        serves: true,
        traffic: Traffic { packets: 120_000, bytes: 9_600_000, flows: 1042, live: 17 },
    };
    let dns = Service {
        name: "dns".into(),
        address: "2001:db8:f::53".parse().unwrap(),
        protocol: Protocol::Udp,
        port: 53,
        pool: "resolvers".into(),
        backends: 1,
        serves: false,
        traffic: Traffic::default(),
    };
    prints(
        &Response::Services(vec![web, dns]),
        "\
NAME  ADDRESS         PROTOCOL  PORT  POOL       BACKENDS  LIVE  FLOWS  PACKETS    BYTES  SERVES
web   203.0.113.10    tcp         80  web               2    17   1042   120000  9600000  yes
dns   2001:db8:f::53  udp         53  resolvers         1     0      0        0        0  no
",
    );
}

/// The time some seconds ago, as the daemon writes it.
fn ago(seconds: u64) -> String {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    humantime::format_rfc3339_millis(time).to_string()
}

/// One that takes flows, one that nothing reaches, and one that drains for a while.
fn three_backends() -> [Backend; 3] {
    let b1 = Backend {
        pool: "web".into(),
        name: "b1".into(),
        address: "10.0.0.5".parse().unwrap(),
        weight: 1,
        slow_start: None,
        state: BackendState::Active,
        since: ago(90),
        source: Source::File,
        reason: None,
        settings: vec![],
        encapsulation: Some("gre".into()),
        encapsulation_choice: Some(EncapsulationChoice {
            listed: vec!["gre".into()],
            flows_differ_in: FlowField::Nothing,
            left_out: vec![],
        }),
        share: 1.0 / 3.0,
        next_hop: NextHop::Resolved {
            port: "edge0".into(),
            vlan: None,
            address: "192.0.2.254".parse().unwrap(),
            mac: "02:00:00:00:00:fe".into(),
        },
        traffic: Traffic { packets: 40_000, bytes: 3_200_000, flows: 347, live: 5 },
    };
    let b2 = Backend {
        name: "b2".into(),
        address: "2001:db8:b::2".parse().unwrap(),
        weight: 100,
        state: BackendState::Unreachable,
        encapsulation: None,
        encapsulation_choice: None,
        share: 0.0,
        next_hop: NextHop::Unreachable(Unreachable::NoRoute),
        traffic: Traffic::default(),
        ..b1.clone()
    };
    let b3 = Backend {
        name: "b3".into(),
        address: "10.0.0.7".parse().unwrap(),
        weight: 3,
        slow_start: Some(0.25),
        state: BackendState::Draining,
        since: ago(40 * 86_400 + 60),
        source: Source::Operator,
        reason: Some("a new kernel".into()),
        settings: vec![
            BackendSetting {
                source: Source::Controller,
                state: None,
                weight: Some(3),
                reason: None,
                since: "2026-01-02T03:00:00.000Z".into(),
                until: None,
            },
            BackendSetting {
                source: Source::Operator,
                state: Some(SetState::Draining),
                weight: None,
                reason: Some("a new kernel".into()),
                since: "2026-01-02T03:04:05.678Z".into(),
                until: Some("2026-01-02T05:04:05.678Z".into()),
            },
        ],
        share: 0.0,
        ..b1.clone()
    };
    [b1, b2, b3]
}

#[test]
fn backends() {
    let mut backends = three_backends().to_vec();
    let table = "\
POOL  NAME  ADDRESS        STATE        SINCE  BY        WEIGHT   SHARE  LIVE  FLOWS  PACKETS    BYTES  REASON
web   b1    10.0.0.5       active          1m  file           1  33.33%     5    347    40000  3200000  -
web   b2    2001:db8:b::2  unreachable     1m  file         100   0.00%     0      0        0        0  no route
web   b3    10.0.0.7       draining       40d  operator       3   0.00%     5    347    40000  3200000  a new kernel (until 2026-01-02T05:04:05Z)
";
    prints(&Response::Backends(backends.clone()), table);
    let set = Response::BackendsSet { generation: 7, backends: backends.clone(), stored: true };
    prints(&set, &format!("{table}3 backends set; generation 7 is in force on every worker\n"));
    let one =
        Response::BackendsSet { generation: 7, backends: vec![backends[0].clone()], stored: true };
    let text = render(&one, Output::Table).text;
    assert!(
        text.ends_with("\n1 backend set; generation 7 is in force on every worker\n"),
        "{text}"
    );
    let lines = render(&one, Output::JsonLines).text;
    assert!(
        lines.starts_with(r#"{"generation":7,"stored":true,"backends":[{"#)
            && lines.lines().count() == 1
    );
    // Several have no details.
    let listed = Response::Backends(backends.clone());
    let details = render_backends(&listed, Output::Table, BackendView::Details);
    assert_eq!(details.text, table);

    backends.pop();
    let routes = render_backends(&Response::Backends(backends), Output::Table, BackendView::Routes);
    let table = "\
POOL  NAME  ADDRESS        STATE        ENCAPSULATION  PORT   NEXT_HOP                          WHY
web   b1    10.0.0.5       active       gre            edge0  192.0.2.254 at 02:00:00:00:00:fe  the only one listed: flows do not differ in the outer header
web   b2    2001:db8:b::2  unreachable  none           -      no route                          nothing that is listed can be sent
";
    assert_eq!(routes.text, table, "\n{}", routes.text);
}

#[test]
fn one_backend_in_detail() {
    let [.., mut draining] = three_backends();
    draining.since = "2026-01-02T03:04:05.678Z".into();
    let details = |backend| {
        let response = Response::Backends(vec![backend]);
        render_backends(&response, Output::Table, BackendView::Details).text
    };
    let text = details(draining);
    let expected = "\
backend     web/b3
address     10.0.0.7
state       draining
since       2026-01-02T03:04:05.678Z
by          operator
reason      a new kernel
weight      3
slow_start  25.00%
share       0.00%
live        5
flows       347
packets     40000
bytes       3200000
next_hop    192.0.2.254 at 02:00:00:00:00:fe
controller  weight 3 since 2026-01-02T03:00:00.000Z
operator    state draining since 2026-01-02T03:04:05.678Z until 2026-01-02T05:04:05.678Z: a new kernel
";
    assert_eq!(text, expected, "\n{text}");
    let [plain, ..] = three_backends();
    let text = details(plain);
    assert!(text.contains("\nreason      -\n") && text.contains("\nslow_start  -\n"), "{text}");
    assert!(text.ends_with("\nnext_hop    192.0.2.254 at 02:00:00:00:00:fe\n"), "{text}");
}

#[test]
fn a_setting_that_does_not_hold_has_a_note() {
    let [mut active, unreachable, draining] = three_backends();
    let told = |line: &str, backend: &Backend| {
        let line = format!("guidewayctl backend {line}");
        let arguments = Arguments::parse_from(line.split(' '));
        let Command::Backend(command) = arguments.command else { panic!("{line}") };
        let setting = command.setting().unwrap().unwrap();
        outcome::notes(&setting, std::slice::from_ref(backend)).join("\n")
    };
    assert_eq!(told("enable web/b1", &active), "");
    assert_eq!(told("drain web/b3", &draining), "");
    assert_eq!(told("weight web/b3 3", &draining), "");
    assert_eq!(told("state web/b3 unset", &draining), "");
    assert_eq!(told("enable web/b2", &unreachable), "note: web/b2 is unreachable: no route");
    assert_eq!(told("drain web/b2", &unreachable), "");
    assert_eq!(
        told("state web/b3 down --source controller", &draining),
        "note: web/b3 stays draining, set by the operator (a new kernel); that outweighs the controller's until \
         the operator unsets it"
    );
    assert_eq!(
        told("weight web/b3 9 --source controller", &draining),
        "note: web/b3 keeps weight 3: the operator has set it; `guidewayctl backend weight web/b3 unset` removes that"
    );
    active.state = BackendState::Down;
    active.source = Source::Controller;
    assert_eq!(
        told("enable web/b1", &active),
        "note: web/b1 stays down, set by the controller; `guidewayctl backend state web/b1 active` outweighs it"
    );
    active.reason = Some("HTTP 503".into());
    assert_eq!(
        told("enable web/b1", &active),
        "note: web/b1 stays down, set by the controller (HTTP 503); `guidewayctl backend state web/b1 active` \
         outweighs it"
    );
    let [plain, ..] = three_backends();
    let weightless = Backend { weight: 0, ..plain };
    assert_eq!(
        told("enable web/b1", &weightless),
        "note: web/b1 is active with weight 0 and gets no new flows; `guidewayctl backend weight web/b1 1`"
    );
    assert_eq!(told("state web/b1 unset", &weightless), "");
    let many = vec![active; 12];
    let arguments = Arguments::parse_from(["guidewayctl", "backend", "enable", "web"]);
    let Command::Backend(command) = arguments.command else { panic!() };
    let notes = outcome::notes(&command.setting().unwrap().unwrap(), &many);
    assert_eq!((notes.len(), &*notes[5]), (6, "note: 7 more backends are not as they were set"));
}

#[test]
fn workers() {
    let first = Worker {
        worker: 0,
        cpu: Some(1),
        queues: ["edge0", "edge1"].map(|port| RxQueue { port: port.into(), queue: 0 }).into(),
        generation: 3,
        received: 60_170,
        transmitted: 60_150,
        dropped: 20,
        flows: 520,
        flow_capacity: 1_048_576,
        polls: 4_000_000,
        busy_polls: 50_000,
    };
    let idle = Worker { worker: 10, cpu: None, queues: vec![], polls: 0, ..first.clone() };
    prints(
        &Response::Workers(vec![first, idle]),
        "\
WORKER  CPU  GENERATION  RECEIVED  TRANSMITTED  DROPPED  FLOWS  FLOW_CAPACITY  BUSY  QUEUES
     0    1           3     60170        60150       20    520        1048576  1.2%  edge0:0,edge1:0
    10    -           3     60170        60150       20    520        1048576     -  -
",
    );
}

#[test]
fn ports() {
    let port = Port {
        name: "edge0".into(),
        device: "0000:3b:00.0".into(),
        driver: "net_ixgbe".into(),
        mac: "02:00:00:00:00:01".into(),
        mtu: 1500,
        link: Link {
            up: true,
            speed_mbps: Some(10_000),
            duplex: Some(Duplex::Full),
            interface: None,
        },
        link_seconds: 86,
        rx_queues: 2,
        tx_queues: 2,
        steering: Steering {
            method: SteeringMethod::Queues { rss: true },
            filled_queues: None,
            crowded_queue: None,
        },
        counters: PortCounters {
            rx_packets: 120_345,
            rx_bytes: 9_700_000,
            rx_missed: 1,
            rx_errors: 2,
            rx_no_buffer: 3,
            tx_packets: 120_301,
            tx_bytes: 14_500_000,
            tx_errors: 4,
        },
        rx_function: Some("Vector AVX2".into()),
        ..Port::default()
    };
    prints(
        &Response::Ports(vec![port]),
        "\
NAME   DEVICE        DRIVER     MAC                 MTU  RX_QUEUES  TX_QUEUES  RX_PACKETS  RX_BYTES  RX_MISSED  RX_ERRORS  RX_NO_BUFFER  TX_PACKETS  TX_BYTES  TX_ERRORS  LINK                         LINK_SECONDS  STEERING                         RX_FUNCTION  TX_FUNCTION
edge0  0000:3b:00.0  net_ixgbe  02:00:00:00:00:01  1500          2          2      120345   9700000          1          2             3      120301  14500000          4  up, 10000 Mb/s, full duplex            86  queues: a queue for each worker  Vector AVX2  -
",
    );
}

#[test]
fn port_stats() {
    let stats = PortStats {
        name: "edge0".into(),
        counters: [("rx_packets".into(), 120_345), ("rx_missed".into(), 0)].into(),
        extended: [("rx_size_64_packets".into(), 7)].into(),
    };
    prints(
        &Response::PortStats(vec![stats]),
        "\
PORT   KIND      NAME                 COUNT
edge0  device    rx_missed                0
edge0  device    rx_packets          120345
edge0  extended  rx_size_64_packets       7
",
    );
}

#[test]
fn stats() {
    let stats = Stats {
        received: 120_345,
        transmitted: 120_301,
        verdicts: [("forwarded".into(), 120_301), ("no_service".into(), 44)].into(),
        events: [("flow_table_full".into(), 0)].into(),
    };
    prints(
        &Response::Stats(stats),
        "\
KIND     NAME              COUNT
total    received         120345
total    transmitted      120301
verdict  forwarded        120301
verdict  no_service           44
event    flow_table_full       0
",
    );
}

#[test]
fn configuration() {
    let text = "[node]\nname = \"lb1\"".to_string();
    prints(&Response::Config { text: text.clone(), generation: 3 }, &text);
    prints(&Response::Checked { warnings: vec![] }, "valid\n");
    let applied = Response::Applied { generation: 4, warnings: vec!["pool b is idle".into()] };
    prints(&applied, "generation 4 is in force on every worker\n");
    assert_eq!(render(&applied, Output::Table).notes, ["warning: pool b is idle"]);
}

#[test]
fn flows() {
    let flow = Flow {
        worker: 1,
        tag: "5f1d0c3a9be27704".into(),
        pool: "web".into(),
        backend: "b1".into(),
        state: FlowState::Established,
        idle_ms: 12_345,
    };
    let mut flows = Flows { flows: vec![flow], truncated: false };
    let expected = "\
WORKER  TAG               POOL  BACKEND  STATE        IDLE_MS
     1  5f1d0c3a9be27704  web   b1       established    12345
";
    prints(&Response::Flows(flows.clone()), expected);
    assert!(render(&Response::Flows(flows.clone()), Output::Table).notes.is_empty());
    flows.truncated = true;
    assert_eq!(
        render(&Response::Flows(flows), Output::Table).notes,
        ["note: there are more than these 1; narrow the listing or raise --limit"]
    );
    prints(&Response::Flows(Flows::default()), "WORKER  TAG  POOL  BACKEND  STATE  IDLE_MS\n");
}

#[test]
fn interfaces() {
    let edge0 = PortInterface {
        port: "edge0".into(),
        interface: Some("wan0".into()),
        renamed_from: Some("edge0".into()),
        index: Some(7),
        state: PortInterfaceState::Up,
        mac: Some("02:00:00:00:00:01".into()),
        mtu: Some(1500),
        addresses: vec!["192.0.2.1/24".into(), "2001:db8::1/64".into()],
        vlans: vec![VlanDevice {
            vlan: 200,
            interface: "edge0.200".into(),
            up: false,
            addresses: vec!["198.51.100.1/24".into()],
        }],
        to_kernel: ToKernel { packets: 120, bytes: 9_000, refused: 1, queue_full: 3 },
        from_kernel: FromKernel { packets: 100, bytes: 8_000, dropped: 2 },
    };
    let edge1 = PortInterface { port: "edge1".into(), ..PortInterface::default() };
    prints(
        &Response::Interfaces(vec![edge0, edge1]),
        "\
PORT   INTERFACE  VLAN  STATE  MAC                 MTU  TO_KERNEL  TO_KERNEL_BYTES  REFUSED  QUEUE_FULL  FROM_KERNEL  FROM_KERNEL_BYTES  DROPPED  ADDRESSES                    NOTE
edge0  wan0          -  up     02:00:00:00:00:01  1500        120             9000        1           3          100               8000        2  192.0.2.1/24,2001:db8::1/64  renamed from edge0
edge0  edge0.200   200  down   -                     -          -                -        -           -            -                  -        -  198.51.100.1/24              -
edge1  none          -  none   -                     -          0                0        0           0            0                  0        0  -                            -
",
    );
}

#[test]
fn neighbors() {
    let learnt = Neighbor {
        port: "edge0".into(),
        vlan: Some(200),
        interface: Some("edge0.200".into()),
        address: "198.51.100.7".parse().unwrap(),
        mac: Some("02:00:00:00:00:07".into()),
        state: NeighborState::Reachable,
        managed: true,
        seconds: Some(61),
        backends: 12,
        members: 1,
    };
    let unknown = Neighbor {
        vlan: None,
        interface: None,
        address: "2001:db8::fe".parse().unwrap(),
        mac: None,
        state: NeighborState::None,
        managed: false,
        seconds: None,
        ..learnt.clone()
    };
    prints(
        &Response::Neighbors(vec![learnt, unknown]),
        "\
PORT   INTERFACE  VLAN  ADDRESS       MAC                STATE      MANAGED  BACKENDS  MEMBERS  SECONDS
edge0  edge0.200   200  198.51.100.7  02:00:00:00:00:07  reachable  yes            12        1       61
edge0  -             -  2001:db8::fe  -                  none       no             12        1        -
",
    );
}

#[test]
fn routes() {
    let route = Route {
        pool: Some("web".into()),
        backend: Some("b1".into()),
        destination: "10.0.0.5".parse().unwrap(),
        learnt: Some(Learnt::Kernel { table: 254, prefix: "10.0.0.0/8".into(), protocol: 12 }),
        gateway: Some("192.0.2.254".parse().unwrap()),
        next_hop: NextHop::Resolved {
            port: "edge0".into(),
            vlan: Some(200),
            address: "192.0.2.254".parse().unwrap(),
            mac: "02:00:00:00:00:fe".into(),
        },
        interface: Some("edge0.200".into()),
        neighbor: Some(NeighborState::Reachable),
        seconds: Some(61),
    };
    prints(
        &Response::Route(route.clone()),
        "\
backend      web/b1
destination  10.0.0.5
learnt       kernel: 10.0.0.0/8, table 254 (main), protocol bird
gateway      192.0.2.254
port         edge0
interface    edge0.200
vlan         200
next_hop     192.0.2.254 at 02:00:00:00:00:fe in VLAN 200
neighbor     reachable
seconds      61
",
    );
    let reason = Unreachable::NotAPort { interface: "eth1".into() };
    let lost = Route {
        pool: None,
        backend: None,
        learnt: None,
        gateway: None,
        next_hop: NextHop::Unreachable(reason),
        interface: None,
        neighbor: None,
        seconds: None,
        ..route
    };
    prints(
        &Response::Route(lost),
        "\
backend      -
destination  10.0.0.5
learnt       -
gateway      -
port         -
interface    -
vlan         -
next_hop     the kernel's route leaves by eth1, which is no port's interface
neighbor     -
seconds      -
",
    );
}

#[test]
fn punts() {
    let routing =
        Punt { class: "routing".into(), rate: 10_000, burst: 1_000, punted: 120, limited: 3 };
    let own = Punt { class: "own".into(), rate: 1_000, burst: 100, ..routing.clone() };
    prints(
        &Response::Punts(vec![routing, own]),
        "\
CLASS     RATE  BURST  PUNTED  LIMITED
routing  10000   1000     120        3
own       1000    100     120        3
",
    );
}

#[test]
fn counters_have_rates_if_other_looks_follow() {
    let now = Instant::now();
    for (response, expected) in [
        (Response::Services(vec![]), "FLOWS PACKETS BYTES"),
        (Response::Backends(vec![]), "FLOWS PACKETS BYTES"),
        (Response::Workers(vec![]), "RECEIVED TRANSMITTED DROPPED"),
        (
            Response::Ports(vec![]),
            "RX_PACKETS RX_BYTES RX_MISSED RX_ERRORS RX_NO_BUFFER TX_PACKETS TX_BYTES TX_ERRORS",
        ),
        (Response::PortStats(vec![]), "COUNT"),
        (Response::Stats(Stats::default()), "COUNT"),
        (
            Response::Interfaces(vec![]),
            "TO_KERNEL TO_KERNEL_BYTES REFUSED QUEUE_FULL FROM_KERNEL FROM_KERNEL_BYTES DROPPED",
        ),
        (Response::Punts(vec![]), "PUNTED LIMITED"),
        (Response::Neighbors(vec![]), ""),
        (Response::Flows(Flows::default()), ""),
    ] {
        let look = Some(Look { time: "t".into(), rates: Rates::new(now) });
        let (screen, backends) = (Screen::default(), BackendView::default());
        let mut view = View { output: Output::Table, screen, backends, look };
        let text = view.render(&response).text;
        let header: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
        let rated = header.windows(2).filter(|pair| pair[1] == format!("{}/S", pair[0]));
        let rated: Vec<&str> = rated.map(|pair| pair[0]).collect();
        assert_eq!(rated.join(" "), expected);
        let plain = render(&response, Output::Table).text;
        assert_eq!(
            header.len(),
            plain.lines().next().unwrap().split_whitespace().count() + rated.len()
        );
    }
}

#[test]
fn rows_are_told_apart_by_all_their_names() {
    let backend = |pool: &str, packets| {
        let traffic = Traffic { packets, ..Traffic::default() };
        let next_hop = NextHop::Unreachable(Unreachable::NoRoute);
        Backend {
            pool: pool.into(),
            name: "b1".into(),
            address: "10.0.0.5".parse().unwrap(),
            weight: 1,
            slow_start: None,
            state: BackendState::Active,
            since: String::new(),
            source: Source::File,
            reason: None,
            settings: vec![],
            encapsulation: None,
            encapsulation_choice: None,
            share: 1.0,
            next_hop,
            traffic,
        }
    };
    let start = Instant::now();
    let look = Some(Look { time: "t".into(), rates: Rates::new(start) });
    let (screen, backends) = (Screen::default(), BackendView::default());
    let mut view = View { output: Output::Table, screen, backends, look };
    view.render(&Response::Backends(vec![backend("web", 10), backend("dns", 1000)]));
    view.look.as_mut().unwrap().rates.look(start + Duration::from_secs(10));
    let text =
        view.render(&Response::Backends(vec![backend("dns", 1500), backend("web", 20)])).text;
    let rates: Vec<&str> =
        text.lines().map(|line| line.split_whitespace().nth(12).unwrap()).collect();
    assert_eq!(rates, ["PACKETS/S", "50.0", "1.0"], "{text}");
}

#[test]
fn totals_have_rates_too() {
    let status = |received| Status {
        node: "7".into(),
        version: "0.1.0".into(),
        uptime_seconds: received,
        generation: 1,
        generation_in_force: 1,
        manager_restarts: 0,
        config_path: "/x".into(),
        workers: 1,
        ports: 1,
        services: 1,
        backends: 1,
        flows: received,
        flow_capacity: 1,
        fragments_waiting: 0,
        received,
        transmitted: 0,
        announcing: None,
    };
    let start = Instant::now();
    let look = Some(Look { time: "t".into(), rates: Rates::new(start) });
    let (screen, backends) = (Screen::default(), BackendView::default());
    let mut view = View { output: Output::Table, screen, backends, look };
    view.render(&Response::Status(status(1000)));
    view.look.as_mut().unwrap().rates.look(start + Duration::from_secs(2));
    let text = view.render(&Response::Status(status(3000))).text;
    let rated: Vec<&str> = text.lines().filter(|line| line.contains("/s")).collect();
    assert_eq!(
        rated,
        ["received             3000  1000/s", "transmitted          0  0/s"],
        "{text}"
    );
}

#[test]
fn json_keeps_the_protocols_order() {
    let checked = render(&Response::Applied { generation: 4, warnings: vec![] }, Output::Json);
    assert_eq!(checked.text, "{\n  \"generation\": 4,\n  \"warnings\": []\n}\n");
}

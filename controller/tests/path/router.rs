//! A router beside the node, in a network namespace of its own that ends with it.

use std::process::{Child, Command, Stdio};

use crate::space::{ip, run, until};

/// Node `192.0.2.1` and `2001:db8::1` on `edge0`, router `.254` and `::254`. The node sends everything to the router.
pub(crate) struct Router {
    /// The process whose namespace is the router's.
    holder: Child,
}

impl Router {
    pub(crate) fn new() -> Router {
        let mut command = Command::new("unshare");
        let holder = command.args(["--net", "sleep", "600"]).stdin(Stdio::null()).spawn().unwrap();
        let router = Router { holder };
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let other = format!("/proc/{}/ns/net", router.holder.id());
        // Until then the process has the namespace of this thread.
        until("the namespace", || std::fs::read_link(&other).is_ok_and(|it| it != own));
        ip(&format!("link add edge0 type veth peer name edge1 netns {}", router.holder.id()));
        router.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        // It is to say everything that it has to say.
        router.run("sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0");
        router.run("sysctl -qw net.ipv4.icmp_msgs_per_sec=100000 net.ipv4.icmp_msgs_burst=100000");
        for (address, at_router) in
            [("192.0.2.1/24", "192.0.2.254/24"), ("2001:db8::1/64", "2001:db8::254/64")]
        {
            ip(&format!("address add {address} dev edge0 nodad"));
            router.run(&format!("ip address add {at_router} dev edge1 nodad"));
        }
        ip("link set edge0 up");
        router.run("ip link set lo up");
        router.run("ip link set edge1 up");
        ip("route add default via 192.0.2.254");
        ip("-6 route add default via 2001:db8::254");
        until("the router", || {
            let ping = |to| Command::new("ping").args(["-c1", "-W1", to]).output().unwrap();
            ping("192.0.2.254").status.success() && ping("2001:db8::254").status.success()
        });
        router
    }

    /// Runs a command in the router's namespace.
    pub(crate) fn run(&self, command: &str) -> String {
        run(&format!("nsenter --net=/proc/{}/ns/net {command}", self.holder.id()))
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.holder.kill().unwrap();
        self.holder.wait().unwrap();
    }
}

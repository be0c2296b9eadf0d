#!/usr/bin/env bash
# Brings the lab up, leaves it up, and prints commands to try. `ci/lab.sh down` takes it down.
#
#   ci/try.sh
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

ci/install.sh build run
ci/build.sh
step "the lab comes up"
ci/lab.sh up
# shellcheck source=/dev/null
. /run/guideway-lab/lab.env
cat <<END

The lab is up; its files and logs are in $LAB_DIR. As root, try:

  a page, over IPv4 and IPv6        ci/lab.sh exec clients curl http://$LAB_VIP4/
                                    ci/lab.sh exec clients curl 'http://[$LAB_VIP6]/'
  many connections                  ci/lab.sh exec clients ci/lab/drive.py --weight s1=1 --weight s2=1 --weight s3=2
  the way there                     ci/lab.sh exec clients ping $LAB_VIP4
                                    ci/lab.sh exec clients traceroute -n $LAB_VIP4
  the node itself                   ci/lab.sh exec clients ping $LAB_LB4
                                    ci/lab.sh exec lb ip neighbour; ci/lab.sh exec lb tcpdump -ni edge0
  what the forwarder says           target/release/guidewayctl --socket $LAB_SOCKET status
                                    (also: service list, backend list, worker list, port list, flow list, stats,
                                    interface list, neighbor list, route show web/s1, punt list)
  what Prometheus sees              ci/lab.sh exec lb curl http://127.0.0.1:9420/metrics
  what a server receives            ci/lab.sh exec s1 tcpdump -ni s0 proto gre
                                    ci/lab.sh exec s1 tcpdump -ni gw-tun0
  a server out, and in again        target/release/guidewayctl --socket $LAB_SOCKET backend drain web/s1
                                    target/release/guidewayctl --socket $LAB_SOCKET backend enable web/s1
  another weight, at run time       target/release/guidewayctl --socket $LAB_SOCKET backend weight web/s1 5
  another configuration             edit $LAB_CONFIG, then
                                    target/release/guidewayctl --socket $LAB_SOCKET config reload
  another encapsulation             ci/lab.sh down, then ci/lab.sh up --encapsulation vxlan (or another: ci/lab.sh)
  the forwarder's log               tail -f $LAB_DIR/guideway.log

Take it down with: make lab-down
END

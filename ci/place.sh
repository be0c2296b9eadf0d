#!/usr/bin/env bash
# Installs built programs, the systemd units and their optional drop-ins, users, groups and a directory (for
# systemd-sysusers and systemd-tmpfiles), what keeps systemd-networkd from routes that are not its own, the name of the
# routes' protocol for iproute2, the example configurations, and what Prometheus and Grafana need.
#
#   PREFIX=/usr/local DESTDIR= ci/place.sh
#
# Enables and starts nothing, and never overwrites a configuration.
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

prefix=${PREFIX:-/usr/local}
destination=${DESTDIR:-}$prefix
step "installing to $destination"
for program in guideway guidewayctl guideway-controller guideway-agent; do
    [ -x "target/release/$program" ] || die "target/release/$program is missing; build it with: make build"
    install -D -v -m 755 "target/release/$program" "$destination/bin/$program"
done
for unit in packaging/*.service packaging/*.path; do
    installed=$destination/lib/systemd/system/$(basename "$unit")
    install -D -v -m 644 "$unit" "$installed"
    sed -i "s|/usr/local/bin/|$prefix/bin/|" "$installed"
done
for group in packaging/sysusers.d/*.conf packaging/tmpfiles.d/*.conf; do
    install -D -v -m 644 "$group" "$destination/lib/${group#packaging/}"
done
for drop_in in packaging/drop-ins/*.conf; do
    install -D -v -m 644 "$drop_in" "$destination/share/doc/guideway/drop-ins/$(basename "$drop_in")"
done
# systemd reads both below /usr/local, too.
for file in networkd.conf.d/guideway.conf network/00-guideway.network; do
    install -D -v -m 644 "packaging/systemd-networkd/$file" "$destination/lib/systemd/$file"
done
# iproute2 reads names of protocols below /etc alone.
install -D -v -m 644 packaging/iproute2/guideway.conf "${DESTDIR:-}/etc/iproute2/rt_protos.d/guideway.conf"
for watched in packaging/prometheus/*.yaml packaging/grafana/*.json; do
    install -D -v -m 644 "$watched" "$destination/share/doc/guideway/${watched#packaging/}"
done
for example in examples/*; do
    install -D -v -m 644 "$example" "$destination/share/doc/guideway/$example"
done

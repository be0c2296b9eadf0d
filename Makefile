# Every target is a script in ci/ that can be run alone.

.PHONY: help run test test-vm test-vm-all test-distro lab lab-down lab-bgp lab-bgp-down build check audit pure miri fuzz bench install clean
help:
	@echo 'make run          the demonstration: real connections over real servers, then all taken down'
	@echo 'make test         everything that must pass'
	@echo 'make test-vm      real drivers in a virtual machine, the short set; make test-vm-all: all cases'
	@echo 'make test-distro  the same on freshly installed Debians, 12 and 13'
	@echo 'make lab          the demonstration left up, with what to try; make lab-down ends it'
	@echo 'make lab-bgp      two nodes that announce to a router, left up; ROUTER=frr for FRR; make lab-bgp-down ends it'
	@echo 'make build        the programs, in target/release'
	@echo 'make check        format, lints, documentation, dependencies, scripts, commits'
	@echo 'make audit        known vulnerabilities of the dependencies; needs github.com'
	@echo 'make pure         all but the forwarder without libdpdk, for any CPU: build and test'
	@echo 'make miri         the core in an interpreter that finds undefined behaviour; needs nightly Rust'
	@echo 'make fuzz         each fuzz target for a short time'
	@echo 'make bench        the benchmarks: tables, and each claim as met or not'
	@echo 'make install      programs and systemd units, to PREFIX (/usr/local); honours DESTDIR'
	@echo 'make clean        removes what was built'

run:; @ci/run.sh
test:; @ci/test.sh
test-vm:; @ci/vm.sh test
test-vm-all:; @ci/vm.sh test --all
test-distro:; @ci/distro.sh 12 && ci/distro.sh 13
lab:; @ci/try.sh
lab-down:; @ci/lab.sh down
lab-bgp:; @ci/install.sh build run lab-bgp && ci/build.sh && ci/lab-bgp.py up --router '$(or $(ROUTER),bird)'
lab-bgp-down:; @ci/lab-bgp.py down
build:; @ci/build.sh
check:; @ci/install.sh build test && ci/check.sh
audit:; @ci/install.sh build test && ci/audit.sh
pure:; @ci/install.sh build && ci/pure.sh
miri:; @ci/miri.sh
fuzz:; @ci/install.sh build test && ci/fuzz.sh
bench:; @ci/bench.sh
install:; @ci/place.sh
clean:; @cargo clean

"""`control.group`: whose members may use the control socket."""

import os
import stat
import subprocess

import pytest
from support.daemon import Daemon, live_one_port
from support.users import GROUP, ask_as_nobody


@pytest.fixture(scope="module")
def cable(namespace):
    return namespace.cable("gw0")


@pytest.fixture
def place(directory):
    """A directory that everyone may enter."""
    directory.chmod(0o755)
    return directory


def configured(directory, group):
    config = live_one_port("gw0", directory)
    config["control"]["group"] = group
    return config


def start(daemon, *before):
    """Runs a forwarder that does not start; answers its exit code and what it said."""
    daemon.config.write(daemon.path)
    line = daemon.namespace.command(*before, *daemon.line())
    done = subprocess.run(line, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stderr


def test_a_member_may_ask_and_another_may_not(namespace, cable, place):
    with Daemon(namespace, configured(place, GROUP.gr_name), place) as daemon:
        found = daemon.socket.stat()
        assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (GROUP.gr_gid, 0o660)
        member = ask_as_nobody(daemon.socket, GROUP.gr_gid)
        assert member.returncode == 0 and "lb1" in member.stdout, member
        other = ask_as_nobody(daemon.socket)
        assert other.returncode == 3 and "be root or of the socket's group" in other.stderr, other


def test_without_the_key_the_group_is_that_of_the_process(namespace, cable, place):
    with Daemon(namespace, live_one_port("gw0", place), place) as daemon:
        assert daemon.socket.stat().st_gid == os.getegid()
        assert ask_as_nobody(daemon.socket, GROUP.gr_gid).returncode == 3


def test_only_a_restart_changes_the_group(namespace, cable, place):
    with Daemon(namespace, configured(place, GROUP.gr_name), place) as daemon:
        configured(place, "daemon").write(daemon.path)
        done = daemon.ctl("config", "reload", output="table")
        assert done.returncode == 5 and 'control.group is "games" and would be "daemon"' in done.stderr, done
        assert daemon.socket.stat().st_gid == GROUP.gr_gid


def test_an_unknown_group_is_refused(namespace, cable, place):
    daemon = Daemon(namespace, configured(place, "no-such-group"), place)
    code, said = start(daemon)
    assert code == 1 and 'there is no group "no-such-group" on this machine' in said, said
    assert not daemon.socket.exists()


def test_a_group_that_cannot_be_given_is_refused(namespace, cable, place):
    daemon = Daemon(namespace, configured(place, GROUP.gr_name), place)
    code, said = start(daemon, "setpriv", "--clear-groups", "--inh-caps", "-all", "--bounding-set", "-chown")
    assert code == 1 and 'to the group "games"; it takes CAP_CHOWN' in said, said
    assert "Operation not permitted" in said
    assert not daemon.socket.exists(), "it leaves a socket that no one serves"

"""`control.group` and `control.read_group`: the groups whose members may use the control sockets."""

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
def open_directory(directory):
    """A directory that everyone may enter."""
    directory.chmod(0o755)
    return directory


def configured(directory, group):
    config = live_one_port("gw0", directory)
    config["control"]["group"] = group
    return config


def start(daemon, *before):
    """Runs a forwarder that must not start. Returns its exit code and its messages."""
    daemon.config.write(daemon.path)
    line = daemon.namespace.command(*before, *daemon.line())
    done = subprocess.run(line, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stderr


def test_a_member_may_ask_and_another_may_not(namespace, cable, open_directory):
    with Daemon(namespace, configured(open_directory, GROUP.gr_name), open_directory) as daemon:
        found = daemon.socket.stat()
        assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (GROUP.gr_gid, 0o660)
        member = ask_as_nobody(daemon.socket, GROUP.gr_gid)
        assert member.returncode == 0 and "lb1" in member.stdout, member
        other = ask_as_nobody(daemon.socket)
        assert other.returncode == 3 and "be root or of the socket's group" in other.stderr, other


def test_each_socket_has_a_group_of_its_own(namespace, cable, open_directory):
    config = live_one_port("gw0", open_directory)
    read_socket = open_directory / "read.sock"
    config["control"].update(read_socket=str(read_socket), read_group=GROUP.gr_name)
    with Daemon(namespace, config, open_directory) as daemon:
        found = read_socket.stat()
        assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (GROUP.gr_gid, 0o660)
        assert daemon.socket.stat().st_gid == os.getegid()
        member = ask_as_nobody(read_socket, GROUP.gr_gid)
        assert member.returncode == 0 and "lb1" in member.stdout, member
        assert ask_as_nobody(read_socket).returncode == 3
        assert ask_as_nobody(daemon.socket, GROUP.gr_gid).returncode == 3
    config["control"]["read_group"] = "no-such-group"
    code, errors = start(Daemon(namespace, config, open_directory))
    assert code == 1 and "as control.read_group names it" in errors, errors
    assert not daemon.socket.exists() and not read_socket.exists()


def test_without_the_key_the_group_is_that_of_the_process(namespace, cable, open_directory):
    with Daemon(namespace, live_one_port("gw0", open_directory), open_directory) as daemon:
        assert daemon.socket.stat().st_gid == os.getegid()
        assert ask_as_nobody(daemon.socket, GROUP.gr_gid).returncode == 3


def test_only_a_restart_changes_the_group(namespace, cable, open_directory):
    with Daemon(namespace, configured(open_directory, GROUP.gr_name), open_directory) as daemon:
        configured(open_directory, "daemon").write(daemon.path)
        done = daemon.ctl("config", "reload", output="table")
        assert done.returncode == 5 and 'control.group is "games" and would be "daemon"' in done.stderr, done
        assert daemon.socket.stat().st_gid == GROUP.gr_gid


def test_an_unknown_group_is_refused(namespace, cable, open_directory):
    daemon = Daemon(namespace, configured(open_directory, "no-such-group"), open_directory)
    code, errors = start(daemon)
    assert code == 1 and 'there is no group "no-such-group" on this machine' in errors, errors
    assert not daemon.socket.exists()


def test_a_group_that_cannot_be_set_is_refused(namespace, cable, open_directory):
    daemon = Daemon(namespace, configured(open_directory, GROUP.gr_name), open_directory)
    code, errors = start(daemon, "setpriv", "--clear-groups", "--inh-caps", "-all", "--bounding-set", "-chown")
    assert code == 1 and 'to the group "games"; it takes CAP_CHOWN' in errors, errors
    assert "Operation not permitted" in errors
    assert not daemon.socket.exists(), "a socket without a server remains"

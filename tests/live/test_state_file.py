"""What is set at run time outlasts the daemon, and a state file that is of no use stops nothing."""

import signal
import time

import pytest
from support.daemon import Daemon, live_one_port
from support.events import Monitor, kept

FILE = "backends.json"


@pytest.fixture(scope="module")
def peer(namespace):
    return namespace.cable("gw0")


def kinds(daemon):
    """The kinds of events up to now, in their order."""
    return [event["event"] for event in kept(daemon.socket)[0]]


def wait_for(daemon, kind, **fields):
    with Monitor(daemon.socket, since=1) as monitor:
        return monitor.until(kind, **fields)


def states(daemon):
    """The backends that are not as the configuration says: state, weight, source and reason."""
    shown = {}
    for backend in daemon.ask("backend", "list"):
        if backend.get("settings"):
            shown[backend["name"]] = (backend["state"], backend["weight"], backend["source"], backend.get("reason"))
    return shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_settings_outlast_the_daemon(namespace, peer, directory, number):
    config = live_one_port("gw0", directory)
    with Daemon(namespace, config, directory) as daemon:
        for words in (
            ("drain", "web/near4", "--reason", "rack 7 is repaired"),
            ("disable", "web/near6", "--for", "1h"),
            ("weight", "web/far4", "7"),
            ("state", "web/far6", "down", "--source", "controller"),
            ("disable", "web/far6", "--for", "1s"),
        ):
            assert daemon.ctl("backend", *words).returncode == 0, words
        daemon.process.send_signal(number)
        daemon.process.wait(10)
    state = directory / "state"
    assert (state.stat().st_mode & 0o777, (state / FILE).stat().st_mode & 0o777) == (0o700, 0o600)
    with Daemon(namespace, config, directory) as daemon:
        # The time of the last one goes on while the daemon does not run, and after.
        end = time.monotonic() + 10
        while (shown := states(daemon))["far6"][0] == "disabled":
            assert time.monotonic() < end, shown
            time.sleep(0.05)
        assert shown.pop("near4") == ("draining", 2, "operator", "rack 7 is repaired")
        assert shown.pop("near6") == ("disabled", 1, "operator", None)
        assert shown.pop("far4")[1] == 7
        assert shown.pop("far6")[::2] == ("down", "controller")
        assert not shown
        wait_for(daemon, "backend_drained", backend="near4")
        assert not [kind for kind in kinds(daemon) if kind.startswith("settings")]


def test_a_file_that_is_of_no_use_is_moved_aside(namespace, peer, directory):
    config, state = live_one_port("gw0", directory), directory / "state"
    state.mkdir()
    (state / FILE).write_text('{"version":1,"backends":[\n{"pool":"web"')
    with Daemon(namespace, config, directory) as daemon:
        event = wait_for(daemon, "settings_unreadable")
        assert "backends.json.corrupt" in event["error"]
        assert states(daemon) == {}
        assert daemon.ctl("backend", "drain", "web/near4").returncode == 0
        daemon.stop()
    assert sorted(path.name for path in state.iterdir()) == [FILE, f"{FILE}.corrupt", "lock"]
    # A configuration that knows the backend no more.
    other = config.changed(lambda config: config.backends()["near4"].update(address="192.0.2.6"))
    with Daemon(namespace, other, directory) as daemon:
        assert wait_for(daemon, "settings_ignored")["first"] == "web/192.0.2.5"
        assert states(daemon) == {}


def test_two_daemons_do_not_share_a_directory(namespace, peer, directory):
    namespace.cable("gw1")
    config = live_one_port("gw0", directory)
    (directory / "second").mkdir()
    second = live_one_port("gw1", directory / "second")
    second["control"]["state_directory"] = str(directory / "state")
    with Daemon(namespace, config, directory) as first, Daemon(namespace, second, directory / "second") as other:
        wait_for(other, "settings_unstored")
        assert first.ctl("backend", "drain", "web/near4").returncode == 0
        before = (directory / "state" / FILE).read_text()
        assert other.ctl("backend", "drain", "web/near6").returncode == 0, "it is in force all the same"
        assert (directory / "state" / FILE).read_text() == before
        assert "settings_unstored" not in kinds(first)
        first.stop()
        wait_for(other, "settings_stored")
        assert "2001:db8::6" in (directory / "state" / FILE).read_text()

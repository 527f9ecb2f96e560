"""The rules of conftest.py really bite."""

import gc
import logging
import os
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest_plugins = ("pytester",)

CONFTEST = Path(__file__).with_name("conftest.py")


@pytest.fixture
def house(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder of tests under the same conftest."""
    pytester.makeconftest(CONFTEST.read_text("utf-8"))
    return pytester


def test_a_leaked_thread_fails(house: pytest.Pytester) -> None:
    house.makepyfile(
        """
        import threading
        stop = threading.Event()
        def test_leaks():
            threading.Thread(target=stop.wait, name="forgotten").start()
        def test_ends():
            stop.set()
        """
    )
    result = house.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*the test left threads running: forgotten*"])


def test_an_unexpected_warning_in_the_log_fails(house: pytest.Pytester, core_log: list[logging.LogRecord]) -> None:
    house.makepyfile(
        """
        import logging
        def test_noise():
            logging.getLogger("core.part").warning("disk %s", "odd")
        def test_expected(core_log):
            logging.getLogger("core.part").error("as planned")
            assert [record.getMessage() for record in core_log] == ["as planned"]
        def test_quiet():
            logging.getLogger("core.part").info("fine")
        """
    )
    result = house.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*core.part: disk odd*"])


def test_other_machines_are_out_of_reach() -> None:
    with socket.socket() as client, pytest.raises(RuntimeError, match="tests need no network"):
        client.connect(("192.0.2.1", 80))
    with pytest.raises(RuntimeError, match="tests need no network"):
        socket.create_connection(("example.org", 443), timeout=1)


def test_this_machine_is_within_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(("localhost", server.getsockname()[1]), timeout=5):
            connection, _ = server.accept()
        connection.close()


def test_each_test_has_a_data_folder_of_its_own(lowrank_home: Path, tmp_path: Path) -> None:
    from core.paths import home

    assert home() == lowrank_home
    assert lowrank_home.is_relative_to(tmp_path)
    assert not lowrank_home.exists()
    assert os.environ["HF_HUB_OFFLINE"] == "1"


@given(st.integers())
def test_hypothesis_gets_along_with_the_fixtures(number: int) -> None:
    assert number == number + 0


def test_daemon_threads_are_left_alone() -> None:
    gate = threading.Event()
    threading.Thread(target=gate.wait, args=(0.2,), daemon=True).start()
    logging.getLogger("elsewhere").info("quiet")


def test_what_libraries_made_is_not_looked_through_after_every_test() -> None:
    assert gc.get_freeze_count() > 20_000
    assert gc.isenabled()


SHARED = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "-p", "no:cacheprovider")


@pytest.fixture
def shared(house: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Nine files with three tests each, for two processes that share them."""
    monkeypatch.setenv("PYTHONPATH", str(CONFTEST.parents[1]))
    for number in range(9):
        house.makepyfile(**{f"test_a{number}": "def test_a(): pass\ndef test_b(): pass\ndef test_c(): pass\n"})
    return house


def test_a_process_that_dies_is_told_once_and_the_others_do_the_rest(shared: pytest.Pytester) -> None:
    shared.makepyfile(test_b="import os\ndef test_a(): pass\ndef test_dies(): os.abort()\ndef test_rest(): pass\n")
    shared.makepyfile(test_c="def test_a(): pass\n")
    result = shared.runpytest_subprocess(*SHARED, timeout=120)
    result.assert_outcomes(passed=9 * 3 + 3, failed=1)
    result.stdout.fnmatch_lines(["*crashed while running 'test_b.py::test_dies'*"])


def test_a_process_that_hangs_is_killed_and_the_others_do_the_rest(shared: pytest.Pytester) -> None:
    # held in native code, where no signal handler of Python's is ever called
    hangs = "import ctypes\ndef test_hangs(): ctypes.PyDLL(None).pause()\ndef test_rest(): pass\n"
    shared.makepyfile(test_b=hangs)
    result = shared.runpytest_subprocess(*SHARED, "-o", "silence=8", timeout=120)
    result.assert_outcomes(passed=9 * 3 + 1, failed=1)
    result.stdout.fnmatch_lines(["*has not ended a test for 8 seconds, so it is killed.", "*test_b.py::test_hangs*"])

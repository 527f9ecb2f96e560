"""The package as somebody gets it: installed, and used without Python and without a network.

Takes some minutes and gigabytes, so it runs only when it is asked for: ``python3 launch.py test --package``. A folder
with packages that were built before is used where LOWRANK_PACKAGES names one. The files of these tests run in the order
of their names: app, trouble, uninstall.
"""

import json
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.package.computers import LOOPBACK, WANTED, Computer, alone, window
from tests.studio.e2e.person import Screen

pytestmark = WANTED


def test_the_command_line_is_the_package_s_own(computer: Computer) -> None:
    from core import __version__

    assert computer.lowrank("--version").stdout == f"lowrank {__version__}\n"
    assert "lowrank VERB" in computer.lowrank("--help").stdout
    refused = computer.lowrank("pln")
    assert refused.returncode == 2
    assert "plan" in refused.stderr


def test_the_desktop_is_told_what_is_there(computer: Computer) -> None:
    share = computer.root / "usr/share"
    entry = (share / "applications/lowrank-studio.desktop").read_text("utf-8")
    assert re.findall(r'^Exec="(.*)" %F$', entry, re.MULTILINE) == ["lowrank-studio"]
    (kind,) = re.findall(r"^MimeType=(.*);$", entry, re.MULTILINE)
    types = ET.parse(share / "mime/packages/lowrank-studio.xml").getroot()
    assert [found.get("type") for found in types] == [kind]
    assert (share / "icons/hicolor/scalable/apps/lowrank-studio.svg").is_file()
    for name in ("lowrank", "lowrank-studio"):
        assert (computer.root / "usr/bin" / name).resolve().is_file(), "what is on the PATH leads to the program"
        assert (share / f"man/man1/{name}.1.gz").is_file()


def test_every_link_of_the_package_leads_somewhere(computer: Computer) -> None:
    links = [path for path in (computer.root / "usr").rglob("*") if path.is_symlink()]
    assert links
    assert [path for path in links if not path.exists()] == []


def test_nothing_that_an_engine_may_need_was_left_out(computer: Computer) -> None:
    # one of the hub's libraries writes a log into the hub's own cache as soon as it is imported
    done = computer.lowrank("-m", "core.engine.import_check", HF_HOME=str(computer.traces.parent / "hub"))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 300


def test_the_doctor_looks_at_all_that_it_looks_at_from_source(computer: Computer) -> None:
    done = computer.lowrank("doctor", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (0, True), told
    source = computer.from_source("doctor", "--json")
    found = {finding["subject"]: finding for finding in told["findings"]}
    assert list(found) == [finding["subject"] for finding in json.loads(source.stdout)["findings"]]
    assert "NF4 in blocks of 64 works" in found["4-bit weights"]["text"]
    assert "seen by the profiler" in found["Attention"]["text"]
    assert [name for name, finding in found.items() if finding["level"] != "ok" and not finding["remedy"]] == []
    assert "launch.py" not in done.stdout, "a remedy that a package does not have"
    report = computer.lowrank("doctor", "--report").stdout
    assert len(report.splitlines()) >= len(found)
    for personal in (str(computer.home), str(computer.root), platform.node()):
        assert personal not in report


def test_train_in_4_bits_and_export_without_a_network(computer: Computer) -> None:
    trained = computer.lowrank("run", str(computer.write_spec()))
    assert trained.returncode == 0, trained.stdout + trained.stderr
    run = computer.runs[-1]
    assert json.loads((run / "outcome.json").read_text("utf-8"))["kind"] == "completed"
    assert (run / "adapter" / "adapter_model.safetensors").is_file()
    assert "nf4" in (run / "spec.yaml").read_text("utf-8")
    merged, gguf = computer.home / "merged", computer.home / "model.gguf"
    done = computer.lowrank("export", "last", "--kind", "merged", "--to", str(merged))
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((merged / "config.json").read_text("utf-8"))["model_type"] == "llama"
    assert list(merged.glob("*.safetensors"))
    # the merged model was compared with what was trained; another comparison would show nothing more of the package
    done = computer.lowrank("export", "last", "--kind", "gguf", "--precision", "q8_0", "--no-verify", "--to", str(gguf))
    assert done.returncode == 0, done.stdout + done.stderr
    with gguf.open("rb") as file:
        assert file.read(4) == b"GGUF"
    shutil.rmtree(merged)
    for made in computer.home.glob("m*verification.json"):
        made.unlink()
    gguf.unlink()


def test_several_processes_share_a_run_over_the_loopback_device_alone(computer: Computer) -> None:
    if not alone() or shutil.which("strace") is None:
        pytest.skip("a network namespace and strace are needed, and are not to be had here")
    trace = computer.traces.parent / "ranks.txt"  # not among the others: these open sockets, on this computer
    watch = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,bind", "-e", "signal=none", "-o", str(trace)]
    program = str(computer.root / "usr/bin/lowrank")
    words = [program, "run", str(computer.write_spec(quantization="none")), "--processes", "2"]
    strace = shutil.which("strace") or ""
    done = computer.run([*alone(), sys.executable, str(LOOPBACK), strace, *watch[1:], *words])
    assert done.returncode == 0, done.stdout + done.stderr
    run = computer.runs[-1]
    assert json.loads((run / "outcome.json").read_text("utf-8"))["kind"] == "completed"
    talking = [line for line in trace.read_text("utf-8").splitlines() if "AF_INET" in line]
    assert len({line.split()[0] for line in talking}) == 2, "two processes speak to each other"
    places = re.findall(r"inet_addr\(\"([\d.]+)\"\)|inet_pton\(AF_INET6, \"([^\"]+)\"", "\n".join(talking))
    assert {first or second for first, second in places} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert len(places) == len(talking)


def test_a_model_goes_to_another_home_in_an_offline_pack(computer: Computer, tmp_path: Path) -> None:
    pack = tmp_path / "stick" / "pack"
    made = computer.lowrank("pack", "starter", "--to", str(pack))
    assert made.returncode == 0, made.stdout + made.stderr
    other = {"HOME": str(tmp_path / "other"), "XDG_DATA_HOME": str(tmp_path / "other" / "data")}
    (tmp_path / "other").mkdir()
    taken = computer.lowrank("unpack", str(pack), **other)
    assert taken.returncode == 0, taken.stdout + taken.stderr
    spec = computer.write_spec()
    planned = computer.lowrank("plan", str(spec), "--json", **other)
    assert planned.returncode == 0, planned.stdout + planned.stderr
    weights = tmp_path / "other/data/lowrank-studio/models/starter/model.safetensors"
    assert weights.read_bytes() == (computer.data / "models/starter/model.safetensors").read_bytes()
    with (pack / "models/starter/model.safetensors").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"\0\1\2\3")
    damaged = computer.lowrank("unpack", str(pack), "--check")
    assert damaged.returncode == 4
    assert "model.safetensors does not hold what was packed" in re.sub(r"\s+", " ", damaged.stderr)


def test_the_window_opens_once_and_takes_files_from_the_desktop(computer: Computer, screen: Screen) -> None:
    spec = computer.write_spec()
    more = computer.home / "more.jsonl"
    shutil.copy(computer.home / "rows.jsonl", more)
    with window(computer, screen, computer.command(computer.program, str(spec))) as opened:
        again = computer.command(computer.program, str(more))
        done = subprocess.run(again, env=opened.env, cwd=computer.home, timeout=60)
        assert done.returncode == 0, "a second start raises the first window"
        assert opened.process.poll() is None
        opened.close()
    draft = (computer.data / "draft.yaml").read_text("utf-8")
    assert "base: starter" in draft
    assert str(more) in draft
    assert str(spec) in json.loads((computer.data / "window.json").read_text("utf-8"))["recent"]
    more.unlink()

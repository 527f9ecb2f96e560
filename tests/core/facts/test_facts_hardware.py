import stat
import subprocess
import sys

import pytest

from core.facts.cgroups import Limits, read_limits
from core.facts.hardware import read_cpu, read_hardware
from core.facts.nvidia import Holder, read_gpus, read_holders, read_use
from core.facts.types import DeviceUse
from core.units import GIB, MIB

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stands in for nvidia-smi with a shell script")

ONE = "0, GPU-aa11, NVIDIA GeForce RTX 4090, 8.9, 24564, 23000, 560.35"
TWO = "1, GPU-bb22, Tesla T4, 7.5, 15360, 15000, 560.35"


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Puts a program that answers like nvidia-smi into the path; returns what sets the answer."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "nvidia-smi"

    def answer(script):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IEXEC)
        return {"PATH": f"{folder}:/usr/bin:/bin"}

    monkeypatch.setattr("core.facts.nvidia._USUAL_PLACES", ())
    return answer


def lines(*rows):
    return "cat <<'END'\n" + "\n".join(rows) + "\nEND"


def test_gpus(driver):
    gpus, problems = read_gpus(driver(lines(ONE)))
    assert problems == ()
    (gpu,) = gpus
    assert (gpu.index, gpu.name, gpu.capability, gpu.driver) == (0, "NVIDIA GeForce RTX 4090", (8, 9), "560.35")
    assert (gpu.total_bytes, gpu.free_bytes) == (24564 * MIB, 23000 * MIB)


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("0,1", ["RTX", "T4"]),
        ("1,0", ["T4", "RTX"]),
        ("1", ["T4"]),
        ("GPU-bb", ["T4"]),
        ("0,-1,1", ["RTX"]),
        ("0,0", ["RTX"]),
        ("0,9,1", ["RTX"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("MIG-abc", []),
        ("9", []),
    ],
)
def test_visible_devices(driver, choice, names):
    environment = driver(lines(ONE, TWO)) | {"CUDA_VISIBLE_DEVICES": choice, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    gpus, problems = read_gpus(environment)
    assert [gpu.name.split()[-2 if "RTX" in gpu.name else -1] for gpu in gpus] == names
    assert [gpu.index for gpu in gpus] == list(range(len(names)))
    if not names:
        assert "CUDA_VISIBLE_DEVICES" in problems[0]


def test_different_gpus_without_a_fixed_order(driver):
    _, problems = read_gpus(driver(lines(ONE, TWO)))
    assert "PCI_BUS_ID" in problems[0]


def test_an_old_driver_leaves_the_capability_unknown(driver):
    script = (
        'case "$*" in *compute_cap*) echo \'Field "compute_cap" is not a valid field to query.\'; exit 2;; esac\n'
        + lines("0, GPU-aa11, Tesla K80, 11441, 11000, 418.67")
    )
    gpus, problems = read_gpus(driver(script))
    assert (gpus[0].name, gpus[0].capability, gpus[0].total_bytes) == ("Tesla K80", (0, 0), 11441 * MIB)
    assert "too old" in problems[0]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 9", "ended with 9"),
        ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", "version mismatch"),
        ("echo hello", "not understood"),
        (lines("0, GPU, Name, 8.9"), "not understood"),
        (lines("x, GPU, Name, 8.9, 1, 1, 5"), "not understood"),
        ("head -c 3000 /dev/zero", "not understood"),
    ],
)
def test_bad_answers_become_sentences(driver, script, words):
    gpus, problems = read_gpus(driver(script))
    assert gpus == ()
    assert words in problems[0]


def test_no_devices(driver):
    assert read_gpus(driver("echo 'No devices were found'; exit 6")) == ((), ())
    assert read_gpus(driver("exit 0")) == ((), ())


def test_a_driver_that_hangs_is_given_up(driver, monkeypatch):
    monkeypatch.setattr("core.facts.nvidia._TIMEOUT_SECONDS", 0.2)
    gpus, problems = read_gpus(driver("exec sleep 30"))
    assert gpus == ()
    assert "did not answer" in problems[0]


def test_unknown_numbers_stay_unknown(driver):
    gpus, problems = read_gpus(driver(lines("0, GPU-aa, NVIDIA GB10, [N/A], [N/A], [N/A], 580.1")))
    assert (gpus[0].total_bytes, gpus[0].free_bytes, gpus[0].capability) == (0, 0, (0, 0))
    assert "how much memory" in problems[0]
    assert "compute capability" in problems[1]


def test_no_driver_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr("core.facts.nvidia._USUAL_PLACES", ())
    monkeypatch.setattr("core.facts.nvidia._LOADED_DRIVER", tmp_path / "none")
    assert "not installed" in read_gpus({"PATH": str(tmp_path)})[1][0]
    (tmp_path / "version").write_text("580")
    monkeypatch.setattr("core.facts.nvidia._LOADED_DRIVER", tmp_path / "version")
    assert "is missing" in read_gpus({"PATH": str(tmp_path)})[1][0]


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_no_groups_no_limits(tmp_path):
    assert read_limits(tmp_path) == Limits()


def test_limits_of_version_2_are_inherited(tmp_path):
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/box/job\n",
            "sys/fs/cgroup/box/memory.max": f"{8 * GIB}\n",
            "sys/fs/cgroup/box/memory.current": f"{3 * GIB}\n",
            "sys/fs/cgroup/box/memory.stat": f"anon 5\ninactive_file {GIB}\n",
            "sys/fs/cgroup/box/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/box/job/memory.max": "max\n",
            "sys/fs/cgroup/box/job/cpu.max": "max 100000\n",
        },
    )
    assert read_limits(tmp_path) == Limits(8 * GIB, 6 * GIB, 2)


def test_limits_of_version_2_seen_from_inside_a_container(tmp_path):
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/../../elsewhere\n",
            "sys/fs/cgroup/memory.max": f"{GIB}",
            "sys/fs/cgroup/memory.current": f"{2 * GIB}",
        },
    )
    assert read_limits(tmp_path) == Limits(GIB, 0, None)


def test_limits_of_version_1(tmp_path):
    write(
        tmp_path,
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/a\n1:name=systemd:/\nnonsense\n",
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{4 * GIB}",
            "sys/fs/cgroup/memory/a/memory.usage_in_bytes": f"{GIB}",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
    )
    assert read_limits(tmp_path) == Limits(4 * GIB, 3 * GIB, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and /sys")
def test_the_processor(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    write(
        tmp_path,
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Fast CPU\nflags\t\t: sse avx2 avx512_bf16 amx_bf16\n",
            "sys/devices/system/cpu/cpu0/topology/thread_siblings_list": "0-1",
            "sys/devices/system/cpu/cpu1/topology/thread_siblings_list": "0-1",
            "sys/devices/system/cpu/cpu2/topology/thread_siblings_list": "2-3",
        },
    )
    cpu, problems = read_cpu(Limits(), tmp_path)
    assert problems == ()
    assert (cpu.name, cpu.physical_cores, cpu.logical_cores) == ("Fast CPU", 2, 3)
    assert (cpu.avx2, cpu.avx512_bf16, cpu.amx_bf16) == (True, True, True)
    limited, _ = read_cpu(Limits(processors=1), tmp_path)
    assert (limited.physical_cores, limited.logical_cores) == (1, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and /sys")
def test_a_processor_that_says_nothing(tmp_path):
    cpu, problems = read_cpu(Limits(), tmp_path)
    assert cpu.name
    assert 1 <= cpu.physical_cores <= cpu.logical_cores
    assert (cpu.avx2, cpu.avx512_bf16, cpu.amx_bf16) == (False, False, False)
    assert "description" in problems[0]


def test_this_machine(tmp_path):
    facts = read_hardware(tmp_path / "not" / "there" / "yet")
    assert facts.ram_total_bytes >= facts.ram_free_bytes > 0
    assert facts.disk_free_bytes > 0
    assert facts.cpu.logical_cores >= facts.cpu.physical_cores >= 1
    assert facts.system
    for sentence in facts.problems:
        assert sentence.endswith((".", ")"))


def test_memory_limits_are_respected(tmp_path, monkeypatch):
    monkeypatch.setattr("core.facts.hardware.read_limits", lambda: Limits(64 * MIB, 16 * MIB, 1))
    facts = read_hardware(tmp_path)
    assert (facts.ram_total_bytes, facts.ram_free_bytes, facts.cpu.logical_cores) == (64 * MIB, 16 * MIB, 1)


def test_importing_facts_loads_nothing_heavy():
    code = (
        "import sys, core.facts.model_files, core.facts.locate, core.facts.hardware\n"
        "heavy = {'torch', 'transformers', 'numpy', 'psutil', 'yaml', 'safetensors', 'gguf', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_programs_on_the_gpus_are_named_with_their_memory(driver):
    script = lines(
        "4242, /usr/bin/blender, 2048", r"99, C:\tools\python.exe, [N/A]", "4242, /usr/bin/blender, 1024", "nonsense"
    )
    assert read_holders(driver(script)) == (Holder(4242, "blender", 3072 * MIB), Holder(99, "python.exe", 0))


def test_what_gpus_do_now_in_the_order_of_programs(driver):
    busy = "0, GPU-aa11, NVIDIA GeForce RTX 4090, 24564, 4564, 97, 71, 431.55"
    idle = "1, GPU-bb22, Tesla T4, 15360, 15000, [N/A], 40, [Not Supported]"
    environment = driver(lines(busy, idle)) | {"CUDA_VISIBLE_DEVICES": "1,0"}
    assert read_use(environment) == (
        DeviceUse("Tesla T4", 360 * MIB, 15360 * MIB, None, 40, None),
        DeviceUse("NVIDIA GeForce RTX 4090", 20000 * MIB, 24564 * MIB, 97, 71, 431.55),
    )


@pytest.mark.parametrize(
    "script", ["echo NVIDIA-SMI has failed; exit 9", "echo 0, GPU-aa11", "echo", "echo No devices were found"]
)
def test_a_driver_that_does_not_say_what_gpus_do(driver, script):
    assert read_use(driver(script)) == ()
    assert read_use({"PATH": ""}) == ()


def test_a_silent_driver_names_nobody(driver):
    assert read_holders(driver("echo NVIDIA-SMI has failed; exit 9")) == ()

"""Where a process stands among others, how rows are shared, and the scripts that start them elsewhere."""

import subprocess
from pathlib import Path

import pytest

from core.data.shares import shares
from core.runs.launch_scripts import Script
from core.runs.place import Place, environment_of, launcher_is_gone, place_from


def test_a_place_is_read_from_torchruns_environment() -> None:
    assert place_from({}) is None
    assert place_from({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}) == Place(5, 8, 1, 4)
    place = Place(1, 2, 1, 2)
    env = environment_of(place, "/tmp/meeting", {"HOME": "/home/me"})
    assert place_from(env) == place
    assert not place.leads
    with pytest.raises(ValueError, match="process 3 of 2"):
        place_from({"RANK": "3", "WORLD_SIZE": "2"})


def test_a_launcher_that_is_not_the_parent_is_gone() -> None:
    assert not launcher_is_gone({})
    assert launcher_is_gone({"LOWRANK_LAUNCHER": "1234567"})


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
def test_every_row_has_one_process_and_the_tokens_are_balanced(processes: int) -> None:
    lengths = [90, 3, 40, 41, 7, 77, 12]
    taken = shares(lengths, processes)
    assert sorted(index for share in taken for index in share) == list(range(len(lengths)))
    loads = [sum(lengths[index] for index in share) for share in taken]
    assert max(loads) <= max(*lengths, 4 / 3 * sum(lengths) / processes)
    assert all(list(share) == sorted(share) for share in taken)
    assert taken == shares(lengths, processes)


@pytest.mark.parametrize(("kind", "nodes"), [("torchrun", 1), ("torchrun", 3), ("slurm", 1), ("slurm", 2)])
def test_scripts_are_bash_and_say_where_and_how_many(kind: str, nodes: int, tmp_path: Path) -> None:
    script = Script(kind, tmp_path / "a spec.yaml", tmp_path / "runs" / "mine", nodes, 4)  # type: ignore[arg-type]
    text = script.text()
    file = tmp_path / "script.sh"
    file.write_text(text, encoding="utf-8")
    subprocess.run(["bash", "-n", file], check=True)
    assert f"'{tmp_path}/a spec.yaml'" in text
    assert "--nproc-per-node 4" in text
    assert '-m core.engine "$RUN"' in text
    assert ("#SBATCH --gpus-per-node=4" in text) == (kind == "slurm")
    if nodes > 1:
        assert f"--nnodes {nodes}" in text

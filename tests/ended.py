"""Run folders as a training leaves them: finished, or cut short."""

from pathlib import Path

from conftest import tiny

from degrade.spec import RunSpec
from degrade.store.belonging import seal_files
from degrade.store.folder import RunDir, write_json
from degrade.train.run import run

SPEC = tiny(engine={"checkpoint_every": 2})


def cut_short(root: Path, spec: RunSpec = SPEC, polls: int = 9) -> RunDir:
    left = iter(range(polls))
    assert run([spec], root, stop=lambda: next(left, None) is None) == {spec.run: "interrupted"}
    return RunDir(root, spec.run)


def finished(root: Path, spec: RunSpec = SPEC) -> RunDir:
    run([spec], root)
    return RunDir(root, spec.run)


def reseal(folder: RunDir) -> None:
    """As somebody who changed a file of a run and its checksum would go on: anybody can seal."""
    write_json(folder.state, {**folder.read_state().tree(), "seals": seal_files(folder)})

"""A study of the user's own, as TOML or Python, and the messages for mistakes in it."""

from pathlib import Path

import pytest

from datacondense.data.data_source import DataSource
from datacondense.data.splits import DataSplits
from datacondense.errors import InputError
from datacondense.studies.catalogue import find_study
from datacondense.studies.config import StudyConfig
from datacondense.studies.factory import TaskFactory
from datacondense.studies.study import Study
from datacondense.studies.tasks import Condense
from datacondense.studies.user_file import read_declaration
from datacondense.tasks.task import inputs_of
from tests.conftest import make_set
from tests.tasks.made_tasks import MNIST

TOML = """
title = "Do more iterations help?"
row_axis = "iterations"
column_axis = "network"
plot = "curves"
[rows."few"]
iterations = 5
ipc = 2
[rows.many]
image_lr = 0.2
[columns.1]
network = "convnet-relu"
[columns.2]
network = "lenet"
epochs = 7
lr = 0.02
"""
PYTHON = """
from datacondense.studies.factory import grid
from datacondense.studies.study import Study

def study(tasks):
    variants = {name: tasks.condensed(start=name) for name in ("noise", "real")}
    return Study(
        name="starts", title="?", rows=tuple(variants), columns=("mlp",), row_axis="start", column_axis="network",
        entries=grid(tasks, rows=variants, columns={"mlp": {"network": "mlp"}}),
    )
"""
VARIANTS = '[rows.a]\nnetwork = "convnet"\n[columns.b]\nnetwork = "convnet"\n'
TASKS = TaskFactory(data=MNIST, config=StudyConfig(seeds=2, repeats=2, iterations=9, image_lr_scale=2.0))


def declared(path: Path, text: str) -> Study:
    path.write_text(text)
    return find_study(str(path))(TASKS)


def made(study: Study, row: str) -> Condense:
    """Return the first set of a row of a study with the columns of `VARIANTS`."""
    (source,) = inputs_of(study.entries[row, "b"][0])
    assert isinstance(source, Condense)
    return source


def test_a_toml_file_lists_variants(tmp_path: Path) -> None:
    study = declared(tmp_path / "more_iterations.toml", TOML)
    assert (study.name, study.title) == ("more_iterations", "Do more iterations help?")
    assert (study.row_axis, study.column_axis, study.plot) == ("iterations", "network", "curves")
    assert (study.rows, study.columns) == (("few", "many"), ("1", "2"))
    assert [len(tasks) for tasks in study.entries.values()] == [4] * 4
    few, many = (study.entries[row, "2"][0] for row in study.rows)
    assert (few.protocol.network, few.protocol.epochs, few.protocol.lr) == ("lenet", 7, 0.02)
    assert study.entries["many", "1"][0].protocol.network == "convnet"
    sources = [*inputs_of(few), *inputs_of(many)]
    assert all(isinstance(source, Condense) for source in sources)
    assert [(s.iterations, s.ipc, s.method.image_lr) for s in sources if isinstance(s, Condense)] == [
        (5, 2, 0.2),
        (9, 1, 0.4),
    ]


def test_what_a_toml_file_leaves_out_has_a_default(tmp_path: Path) -> None:
    study = declared(tmp_path / "own.toml", VARIANTS)
    assert (study.title, study.row_axis, study.column_axis) == ("own", "condensed with", "trained with")
    assert (study.plot, study.published, study.claims) == ("heat map", {}, ())


def test_former_names_of_settings_are_read_but_labels_stay(tmp_path: Path) -> None:
    study = declared(tmp_path / "old.toml", '[rows.draws]\ndraws = 5\n[columns.whole]\nnetwork = "convnet"')
    assert (study.rows, study.columns) == (("draws",), ("whole",))
    (source,) = inputs_of(study.entries["draws", "whole"][0])
    assert isinstance(source, Condense)
    assert source.iterations == 5


def test_a_variant_may_search_its_own_learning_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = DataSplits(train=make_set(num_classes=10), test=make_set(num_classes=10, seed=5))
    monkeypatch.setattr(DataSource, "read", lambda _: splits)
    study = declared(tmp_path / "own.toml", f"{VARIANTS}[rows.searched]\nimage_lrs = [0.1, 1.0]")
    search = made(study, "searched").search
    assert search is not None
    assert tuple(search.scores) == (0.1, 1.0)
    trials = [trial for tried in search.scores.values() for trial in tried]
    assert {trial.data.validation_fraction for trial in trials} == {0.1}
    assert {trial.source.data.validation_fraction for trial in trials} == {0.1}
    assert made(study, "a").search is None


def test_classes_of_a_variant_may_have_other_numbers_of_images(tmp_path: Path) -> None:
    study = declared(tmp_path / "own.toml", f"{VARIANTS}[rows.more.ipc_of]\n4 = 3")
    assert made(study, "more").method.ipc_of == {"4": 3}


def test_a_python_file_declares_anything(tmp_path: Path) -> None:
    study = declared(tmp_path / "starts.py", PYTHON)
    assert list(study.entries) == [("noise", "mlp"), ("real", "mlp")]
    (source,) = inputs_of(study.entries["real", "mlp"][0])
    assert isinstance(source, Condense)
    assert source.method.start == "real"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "rows = [", r"a\.toml cannot be read as TOML \(.*\): correct it"),
        ("a.toml", b"\xff", r"a\.toml cannot be read as TOML"),
        ("a.toml", "colums = 1", "unknown key 'colums': choose from title, row_axis, .*rows, columns"),
        ("a.toml", "title = 'x'", r"a\.toml needs a table rows of variants, each a table .* such as \[rows\.ConvNet\]"),
        ("a.toml", "[rows]\n[columns.b]", "needs a table rows of variants"),
        ("a.toml", "rows = 3", "needs a table rows of variants"),
        ("a.toml", "[rows]\nnetwork = 'convnet'\n[columns.b]", "needs a table rows of variants"),
        ("a.toml", "[rows.a]", r"a\.toml needs a table columns of variants, .* such as \[columns\.ConvNet\]"),
        ("a.toml", f"plot = 'pie'\n{VARIANTS}", "has the plot 'pie': choose one of heat map, curves"),
        ("a.toml", f"plot = 'differences'\n{VARIANTS}", r"the plot 'differences': choose one of heat map, curves\."),
        ("a.toml", f"{VARIANTS}[rows.c]\nwidth = 3", "no setting 'width' of GradientMatchingConfig: choose from"),
        ("a.toml", f"{VARIANTS}[columns.c]\niterations = 3", "no setting 'iterations' of EvaluationConfig"),
        ("a.toml", f"{VARIANTS}[rows.c]\nipc = 0", "ipc is 0, but must be 1 or more"),
        ("a.toml", f"{VARIANTS}[rows.c]\nnetwork = 'convnot'", "no network 'convnot'"),
        ("a.toml", f"{VARIANTS}[columns.c]\nnetwork = 'convnot'", "no network 'convnot'"),
        ("a.toml", f"{VARIANTS}[columns.c]\naugmentation = 'blur'", "blur"),
        ("a.py", "rows = 3", r"a\.py has no function study\(tasks\): define one that returns a Study"),
        ("a.py", "study = 3", r"a\.py has no function study\(tasks\)"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(tmp_path: Path, name: str, text: str | bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        find_study(str(path))(TASKS)


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("[rows.c]\nipc = '10'", "ipc is '10', but must be of type int"),
        ("[rows.c]\nipc = true", "ipc is True, but must be of type int"),
        ("[rows.c]\nipc_of = 'three'", "ipc_of is 'three', but must be of type Mapping"),
        ("[rows.c]\nnetwork = 3", "network is 3, but must be of type str"),
        ("[rows.c]\nstart = 3", "start is 3, but must be of type str"),
        ("[rows.c]\ndraws = 0", "iterations is 0, but must be an integer of 1 or more"),
        ("[columns.c]\nlr = 'big'", "lr is 'big', but must be of type float"),
        ("[columns.c]\nepochs = 2.5", "epochs is 2.5, but must be of type int"),
        ("[columns.c]\nrepeats = 7", "repeats is 7 in one variant, but entries are paired by it: give --seeds"),
        ("[columns.c]\nseed = 7", "seed is 7 in one variant, but entries are paired by it"),
        *(
            (f"[{axis}.c]\n{name} = 'x'", f"{name} is no setting that a variant can change: leave it out")
            for axis, names in (
                ("rows", ("self", "method", "time_budget_from")),
                ("columns", ("self", "source", "condensed_with")),
            )
            for name in names
        ),
    ],
)  # fmt: skip
def test_an_impossible_value_is_one_sentence(tmp_path: Path, variant: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        declared(tmp_path / "a.toml", f"{VARIANTS}{variant}")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for name in ("a.toml", "a.py"):
        with pytest.raises(
            InputError, match=rf"There is no study '.*{name}': give a known name, or a \.toml or"
        ):
            find_study(str(tmp_path / name))
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match=r"a\.txt is neither a \.toml nor a \.py file"):
        read_declaration(tmp_path / "a.txt")
    with pytest.raises(
        InputError, match=r"no study 'depht': choose one of cross-architecture, .*or give your own"
    ):
        find_study("depht")


@pytest.mark.parametrize(
    "settings",
    [
        'network = "evil_study:net"',
        'distance = "evil_study:net"',
        'transform = ["keep-magnitude:0.5", "evil_study:net"]',
        'transform = "evil_study:net"',
    ],
)
@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_code_that_a_toml_file_names_is_imported_only_if_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str, axis: str
) -> None:
    (tmp_path / "evil_study.py").write_text(
        "open('imported', 'w').close()\ndef net(*arguments): return None\n"
    )
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "own.toml"
    path.write_text(VARIANTS + f"[{axis}.evil]\n{settings}\n")
    with pytest.raises(
        InputError, match=r"own\.toml names evil_study:net, code .*: give --trust-code if you trust it"
    ):
        find_study(str(path))
    assert not (tmp_path / "imported").exists()
    find_study(str(path), trust_code=True)


def test_built_in_names_with_a_colon_are_not_code(tmp_path: Path) -> None:
    names = '["keep-magnitude:0.5", "wiener:4", "keep-stable-global:0.1"]'
    text = VARIANTS + f'[rows.b]\ntransform = {names}\n[columns.c]\naugmentation = "dsa:color"\n'
    assert declared(tmp_path / "own.toml", text).rows == ("a", "b")


@pytest.mark.parametrize("text", [b"a = " + b"[" * 5000, b"a = 1\x00", b"\xff"])
def test_toml_that_no_parser_takes_gets_a_sentence(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "own.toml").write_bytes(text)
    with pytest.raises(InputError, match=r"own\.toml cannot be read as TOML .*: correct it"):
        find_study(str(tmp_path / "own.toml"))

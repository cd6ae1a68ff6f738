"""What a user gets wrong is one line with the nearest names and exit code 2; nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_toolkit.cli.train import main

PARTS = {
    "part_that_fails.py": "import math\n\nraise NameError('oops')\n",
    "part_with_typo.py": "class X(:\n",
    "part_of_mine.py": "from ser_toolkit.downstream.pooling import MaxPooling\n\n\nclass Mine(MaxPooling):\n    pass\n",
    "part_that_needs.py": "import a_package_that_is_not_there\n",
}

MISTAKES = [
    ("model.pooling=MaxPoolin", "model.pooling=MaxPoolin is unknown. Did you mean MaxPooling"),
    ("model.pooling.bottelneck_dim=3", "AttentivePooling has no option 'bottelneck_dim'"),
    ("model.upstream.num_mel=4", "Spectral has no option 'num_mel' (model.upstream.num_mel). Did you mean num_mels"),
    ("model.upstream.num_mels=four", "model.upstream.num_mels=four does not fit: expected a whole number"),
    ("trainer.max_epoch=3", "no 'max_epoch' in trainer (trainer.max_epoch). Did you mean max_epochs"),
    ("trainer.max_epochs=abc", "trainer.max_epochs=abc does not fit: expected a whole number or null"),
    ("data.rooot=x", "no 'rooot' in data (data.rooot). Did you mean root"),
    ("modl.pooling=MaxPooling", "no 'modl' at the top of a recipe. Did you mean model"),
    ("model=3", "model holds further keys, such as model.upstream; it takes no value"),
    ("model.normalisation=glob", "expected one of none, global, embedding. Did you mean global?"),
    ("selection.mode=maxx", "expected one of max, min. Did you mean max?"),
    ("model.optimizer=Adm", "model.optimizer=Adm is unknown. Did you mean Adam"),
    ("model.optimizer.lr=abc", "model.optimizer.lr=abc does not fit: expected a number"),
    ("variants=[Plian]", "variants[0]=Plian is unknown. Did you mean Plain"),
    ("variants=[{class_path: Enrolment, init_args: {utterence: 3}}]", "Enrolment has no option 'utterence'"),
    ("data.protocol=LeaveOneSpeakrOut", "is unknown. Did you mean LeaveOneSpeakerOut"),
    ("trainer.callbacks=[EarlyStoping]", "is unknown. Did you mean EarlyStopping"),
    ("model.upstream=HuggingFaceUpstream", "HuggingFaceUpstream needs model.upstream.name=VALUE"),
    ("model.pooling=nomodule.MaxPooling", "there is no module 'nomodule'. A part of yours is looked for in"),
    ("model.pooling=part_of_mine.Mien", "part_of_mine has no 'Mien'. Did you mean Mine"),
    ("model.pooling=part_that_fails.X", "part_that_fails cannot be imported: NameError: oops ("),
    ("model.pooling=part_with_typo.X", "part_with_typo cannot be imported: SyntaxError"),
    ("model.pooling=part_that_needs.X", "No module named 'a_package_that_is_not_there'"),
    ("trainer.accelerator=nope", "accelerator='nope'"),
    ("recipe=demoo", "Recipe 'demoo' is unknown. Did you mean demo"),
    ("recipe=gone.yaml", "No recipe file at"),
    ("recipe=broken.yaml", "broken.yaml is not valid YAML"),
    ("recipe=misspelt.yaml", "misspelt.yaml: There is no 'poling' in model (model.poling). Did you mean pooling?"),
    ("foo", "no 'foo' at the top of a recipe"),
    ("--fold", "fold"),
    ("fold=99", "Fold '99' is unknown to LeaveOneSpeakerOut. "),
    ("fold=spk9", "Did you mean spk0"),
    ("seeds=0", "seeds must be at least 1, found 0"),
    ("jobs=0", "jobs must be at least 1, found 0"),
    ("baselines=[nope]", "Baseline 'nope' is unknown. "),
    ("baselines=[majorty]", "Did you mean majority?"),
    ("data.batch_size=0", "data.batch_size must be at least 1, found 0"),
    ("selection.average=0", "selection.average must be at least 1, found 0"),
    ("selection.patience=-1", "selection.patience must be at least 0, found -1"),
    ("selection.monitor=dev/ua", "Did you mean dev/uar"),
    ("trainer.max_epochs=0", "trainer.max_epochs must be at least 1, found 0"),
    ("trainer.max_epochs=-1", "trainer.max_epochs must be at least 1, found -1"),
    ("output=mini.yaml", "Choose another place with output=PATH"),
    ("model.optimizer.lr=-1", "earning rate"),
    ("data.corpus=EmoDB", "where is the corpus? Give its folder with data.root=PATH"),
]


def _fails(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error of a command that is refused."""
    assert main(arguments) == 2
    said = capfd.readouterr().err
    assert said.startswith("ser-train: ")
    assert said.count("\n") == 1, said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize(("argument", "message"), MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_mistake_is_one_line(
    mini: Path, argument: str, message: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(mini))
    for name, content in PARTS.items():
        (mini / name).write_text(content)
    (mini / "broken.yaml").write_text("data: [1, 2\nx: {\n")
    (mini / "misspelt.yaml").write_text("_base: mini.yaml\nmodel: {poling: MaxPooling}\n")
    assert message in _fails(["recipe=mini.yaml", argument], capfd)
    assert not list(mini.rglob("metrics.json"))


def test_nothing_chosen_is_said_with_what_can_be_chosen(mini: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "data.corpus is not given" in _fails(["trainer.max_epochs=3"], capfd)


def test_no_argument_shows_the_usage(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: ser-train recipe=NAME" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("root", "message"), [("gone", "no folder at"), ("wrong", "no wav file under"), ("short", "Expected")]
)
def test_a_wrong_corpus_folder_is_one_line(
    mini: Path, root: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (mini / "wrong" / "music").mkdir(parents=True)
    (mini / "short" / "wav").mkdir(parents=True)
    arguments = ["recipe=mini.yaml", "data.corpus=EmoDB", f"data.root={mini / root}"]
    said = _fails(arguments, capfd)
    assert message.lower() in said.lower()
    assert "EmoDB" in said


def _table_corpus(folder: Path, rows: list[str]) -> list[str]:
    """A table corpus of tones, and the arguments that choose it."""
    import numpy as np
    import soundfile

    for number in range(len(rows)):
        time = np.arange(8000) / 16000
        tone = 0.3 * np.sin(2 * np.pi * (200 + 10 * number) * time)
        soundfile.write(folder / f"{number}.wav", tone, 16000)
    lines = [f"{number}.wav,{row}" for number, row in enumerate(rows)]
    (folder / "table.csv").write_text("path,speaker,label\n" + "\n".join(lines) + "\n")
    corpus = "{class_path: TableCorpus, init_args: {table: table.csv}}"
    return ["recipe=mini.yaml", f"data.corpus={corpus}", f"data.root={folder}"]


def test_a_class_missing_from_training_is_one_line(mini: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [f"s{speaker},{label}" for speaker in range(4) for label in ("a", "b")]
    said = _fails(_table_corpus(mini, [*rows, "s0,c"]), capfd)
    assert "c" in said
    assert "train" in said


def test_speaker_normalisation_without_speakers_is_one_line(mini: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [f",{label}" for _ in range(8) for label in ("a", "b")]
    protocol = "data.protocol={class_path: RandomKFold, init_args: {num_folds: 4}}"
    said = _fails([*_table_corpus(mini, rows), protocol, "variants=[Plain,Transductive]"], capfd)
    assert "speaker" in said


@pytest.mark.parametrize("kind", ["model.pooling", "model.upstream", "data.protocol", "model.optimizer", "variants"])
def test_help_of_a_kind_lists_its_parts_one_line_each(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    from ser_toolkit.config.listing import KINDS
    from ser_toolkit.parts.finding import subclasses

    assert main([f"--{kind}.help"]) == 0
    lines = capfd.readouterr().out.splitlines()[2:]
    names: dict[str, type] = subclasses(KINDS[kind])
    assert [line.split()[0] for line in lines] == list(names)
    assert all(len(line.split()) > 1 for line in lines), "a part without a summary"


def test_help_of_a_part_prints_its_options(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--model.pooling.help", "AttentiveStatisticsPooling"]) == 0
    said = capfd.readouterr().out
    assert "--model.pooling.bottleneck_dim" in said
    assert "hidden size" in said
    assert main(["--model.pooling.help", "AttentiveStatisticPooling"]) == 2
    assert "Did you mean AttentiveStatisticsPooling" in capfd.readouterr().err
    assert main(["--model.polling.help"]) == 2
    assert "Did you mean model.pooling" in capfd.readouterr().err


def test_help_all_and_print_config_leave_with_zero(mini: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--help-all"]) == 0
    assert "--trainer.max_epochs" in capfd.readouterr().out
    assert main(["recipe=mini.yaml", "fold=2", "model.pooling=MaxPooling", "--print_config"]) == 0
    (mini / "printed.yaml").write_text(capfd.readouterr().out)
    from ser_toolkit.config.recipe import load_recipe

    assert load_recipe("printed.yaml").hash("", "") == load_recipe("mini.yaml", "model.pooling=MaxPooling").hash("", "")

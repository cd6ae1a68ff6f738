"""The record of a run, ``run.json``: its shape, its only reader, and the version of its format.

``experiment/record.py`` makes it. A key that is missing or null has the default of its field: what a record does not
hold is unknown, never guessed. Keys that are none of a field's are left alone.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar

from ser_toolkit.errors import ResultError
from ser_toolkit.system.files import write_json
from ser_toolkit.system.version import VERSION

#: Version of the format; one more wherever an older reader would misunderstand a record.
FORMAT = 1
_KEY = "format_version"
_RecordT = TypeVar("_RecordT")

#: Whose speech the statistics come from that a variant standardises features by; ``reference`` is one class of a
#: speaker's alone.
Normalised = Literal["nothing", "speaker", "reference", "corpus"]


@dataclass(frozen=True)
class CorpusRecord:
    """The corpus: what it declares of itself, and how far this copy is the published one.

    Args:
        name: of the corpus.
        licence: of its recordings.
        citation: of its publication.
        label_rule: how the label column came about.
        verified: what the corpus class was checked against; ``synthetic`` where nobody spoke.
        homepage: where it is published.
        notes: sentences for the report.
        deviations: sentences on differences from the published counts.
        left_out: sentences on speakers who were left out.
        allow_incomplete: whether deviations were allowed.
        dimension_range: lowest and highest rating on its scale.
        default_protocol: name of the protocol that its literature uses most.
        sampling_rates: recordings by rate in Hz.
        channel: the channel that is used, where it is not the mean of all.
        members: of several corpora as one: utterances and manifest hash of each.
    """

    name: str | None = None
    licence: str | None = None
    citation: str | None = None
    label_rule: str | None = None
    verified: str | None = None
    homepage: str | None = None
    notes: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    allow_incomplete: bool = False
    dimension_range: tuple[float, float] | None = None
    default_protocol: str | None = None
    sampling_rates: Mapping[str, int] = field(default_factory=dict)
    channel: str | int | None = None
    members: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelsRecord:
    """The label rule; ``mapped`` where its classes are those of an ontology, which nobody voted for."""

    rule: str | None = None
    explanation: str | None = None
    notes: tuple[str, ...] = ()
    mapped: bool = False


@dataclass(frozen=True)
class ProtocolRecord:
    """The protocol that split the corpus.

    Args:
        name: class of the protocol.
        description: in one line.
        dev_source: where the utterances that select come from.
        declared_leak: what it knowingly leaks; None where nothing.
        cluster_by: column that intervals resample.
        parts: by fold, how many utterances train, dev and test have.
    """

    name: str | None = None
    description: str | None = None
    dev_source: str | None = None
    declared_leak: str | None = None
    cluster_by: str = "speaker"
    parts: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class SelectionRecord:
    """Selection of weights: by a metric on dev, the best ``average`` epochs of it, out of ``tried`` settings."""

    metric: str | None = None
    mode: str = "max"
    average: int = 1
    refit: bool = False
    tried: int = 0


@dataclass(frozen=True)
class TrainingRecord:
    """Settings of parts and training, as plain data; ``fitted_at_once`` where a library fits the head."""

    model: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    trainer: Mapping[str, Any] = field(default_factory=dict)
    selection: Mapping[str, Any] = field(default_factory=dict)
    fitted_at_once: bool = False


@dataclass(frozen=True)
class VariantRecord:
    """A variant: how features are normalised.

    Args:
        explanation: one sentence.
        normalises: by whose statistics.
        scores: every test utterance, or the rest of them behind those that statistics are taken from.
    """

    explanation: str = ""
    normalises: Normalised = "nothing"
    scores: Literal["all", "rest"] = "rest"


@dataclass(frozen=True)
class UpstreamRecord:
    """The upstream: class, fingerprint of its weights and settings, and the settings that are part of it."""

    name: str | None = None
    fingerprint: str | None = None
    settings: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ParametersRecord:
    """Numbers of the model's parameters."""

    trained: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class HardwareRecord:
    """The machine, as far as known: model of its CPU, cores for this process, memory in GiB, operating system."""

    cpu: str | None = None
    cores: int | None = None
    memory_gib: int | None = None
    system: str | None = None


@dataclass(frozen=True)
class CodeRecord:
    """The toolkit's own checkout: 40 hex digits, and whether files differed from that commit."""

    commit: str
    changed: bool = False


@dataclass(frozen=True)
class RunRecord:
    """Record of a run: how its results came about.

    Args:
        recipe: name of the recipe.
        hash: of configuration, manifest and upstream: the first name of the run directory.
        created: time of the first command, ISO 8601.
        toolkit_version: of ser_toolkit in the last command.
        command: the last one.
        corpus: of training and test.
        manifest_hash: of its utterances and audio.
        classes: class order of all predictions; None where the record does not hold it.
        labels: the label rule.
        protocol: the split.
        audit: sentences on what folds share.
        selection: how weights are selected.
        training: settings of parts and training.
        tuning: overrides of the first of two stages.
        start_from: the run whose weights it started from.
        seeds: of all commands.
        folds: names of all folds of the protocol, in its order.
        variants: of all commands, by name.
        complete: places of units that were complete; that they were is known where their files are gone.
        baselines: explanations by name.
        upstream: of the model.
        outputs: what the model is trained to predict: ``logits`` (classes), ``dimensions``.
        ratings: sentences on the corpus's ratings.
        conditions: sentences on the facts that the model takes besides the sound.
        parameters: of the model.
        packages: versions by name.
        precision: of training.
        device: that trained.
        hardware: the machine.
        code: commit of the toolkit; None where it is installed from a package.
        wall_seconds: of all commands together.
        banners: further warnings above every figure.
    """

    recipe: str | None = None
    hash: str | None = None
    created: str | None = None
    toolkit_version: str | None = None
    command: str | None = None
    corpus: CorpusRecord = CorpusRecord()
    manifest_hash: str | None = None
    classes: tuple[str, ...] | None = None
    labels: LabelsRecord = LabelsRecord()
    protocol: ProtocolRecord = ProtocolRecord()
    audit: tuple[str, ...] = ()
    selection: SelectionRecord = SelectionRecord()
    training: TrainingRecord | None = None
    tuning: tuple[str, ...] = ()
    start_from: str | None = None
    seeds: tuple[int, ...] = ()
    folds: tuple[str, ...] = ()
    variants: Mapping[str, VariantRecord] = field(default_factory=dict)
    complete: tuple[str, ...] = ()
    baselines: Mapping[str, str] = field(default_factory=dict)
    upstream: UpstreamRecord = UpstreamRecord()
    outputs: tuple[str, ...] = ("logits",)
    ratings: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    parameters: ParametersRecord = ParametersRecord()
    packages: Mapping[str, str] = field(default_factory=dict)
    precision: str | None = None
    device: str | None = None
    hardware: HardwareRecord = HardwareRecord()
    code: CodeRecord | None = None
    wall_seconds: float | None = None
    banners: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the version of the format."""
        return {_KEY: FORMAT, **dataclasses.asdict(self)}

    def write(self, path: Path) -> None:
        """Write the record in one step.

        Raises:
            OSError: the folder cannot be written to.
        """
        write_json(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> RunRecord:
        """Read what ``write`` wrote.

        Raises:
            ResultError: the file is missing, cannot be read, is damaged, or is of a newer ser_toolkit.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError(f"it holds {type(content).__name__}, expected an object")
            version = _value(int, content.get(_KEY, FORMAT), _KEY)
            if version <= FORMAT:
                return typed(cls, content)
        except OSError as error:
            raise ResultError(f"{path} cannot be read: {error.strerror}. Copy the run directory again.") from error
        except ValueError as error:
            raise ResultError(
                f"{path} is damaged ({error}). Copy it again, or delete it and run the same ser-train command again, "
                "which writes it anew."
            ) from None
        raise ResultError(
            f"{path} was written by a newer ser_toolkit ({content.get('toolkit_version', 'version unknown')}, format "
            f"{version}); this one is {VERSION} and reads format {FORMAT}. Update ser_toolkit to use this run."
        )


def typed(kind: type[_RecordT], content: Mapping[str, Any], where: str = "") -> _RecordT:
    """Plain data as one of the records above; keys that are none of its fields are left out.

    Args:
        kind: dataclass of the record.
        content: values by the names of fields.
        where: path of the content, for messages.

    Raises:
        ValueError: a value is not of its field's type.
    """
    hints = typing.get_type_hints(kind)
    given = {name: content[name] for name in hints if content.get(name) is not None}
    return kind(**{name: _value(hints[name], value, f"{where}{name}") for name, value in given.items()})


def _value(kind: Any, value: Any, where: str) -> Any:
    """A value of JSON as its field's type."""
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin is UnionType:
        fitting = [option for option in options if option is not NoneType]
        known = [option for option in fitting if isinstance(option, type) and isinstance(value, option)]
        return _value((known or fitting)[0], value, where)
    if origin is Literal and value in options:
        return value
    if origin is tuple and isinstance(value, list | tuple):
        kinds = options[:1] * len(value) if options[-1] is ... else options
        if len(kinds) == len(value):
            return tuple(_value(one, item, where) for one, item in zip(kinds, value, strict=True))
    if origin is Mapping and isinstance(value, Mapping):
        return {str(name): _value(options[1], item, f"{where}.{name}") for name, item in value.items()}
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return typed(typing.cast("type[Any]", kind), value, f"{where}.")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind) and isinstance(value, bool) == (kind is bool):
        return value
    name = kind.__name__ if isinstance(kind, type) and origin is None else str(kind)
    raise ValueError(f"{where} is {value!r:.60}, expected {name}")

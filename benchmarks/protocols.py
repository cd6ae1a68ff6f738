"""docs/protocols.md: every protocol and label rule as the objects state it.

    python benchmarks/protocols.py --output docs/protocols.md

Nothing is measured. tests/test_protocols_page.py compares the page with the code.
"""

from __future__ import annotations

import argparse
import inspect
import re
from pathlib import Path

import ser_toolkit.data.label_rules  # noqa: F401
from ser_toolkit.data.labels import LabelRule
from ser_toolkit.data.ontology import ONTOLOGIES
from ser_toolkit.parts.finding import subclasses, summary
from ser_toolkit.protocols.catalogue import described, known_protocols
from ser_toolkit.protocols.published import PublishedProtocol

HEAD = """\
# Protocols and label rules

Made from the code by `python benchmarks/protocols.py --output docs/protocols.md`; a test compares the two.

A published number means nothing without its protocol. Choose one by name, and it is printed, audited and stored with
the result, with its leak in red where it has one:

```console skip
$ ser-train recipe=iemocap_superb data.protocol=superb_er
$ ser-corpus protocols IEMOCAP
$ ser-corpus audit recipe=iemocap_superb data.protocol=superb_er
```

A published protocol brings the metric on dev that its paper selects on (`selection.monitor`) wherever it is named, on
the command line or in a recipe file. It replaces that of what the recipe builds on; a metric that stands beside the
protocol or after it (in the same file, in one that builds on it, on the command line) wins. Aggregation, head and
length of audio are stated and left to the recipe. On the material that it was published for, recognised by its class
counts, the sizes of the folds are asserted.

Intervals leave out one speaker at a time, or what `intervals` says below: a session, where its speakers talk to each
other, or, where some speakers are unknown, a dialogue with all its unknown voices (`speaker_or_dialogue`; for
`OfficialFolds` the option `cluster_by`). Single utterances are never resampled.
"""
RULES = """\
## Label rules

`data.labels=Intended` (the default) takes the corpus's label column; `Plurality`, `Majority`, `AllInclusive` and `Soft`
read rater votes. What a rule discards is printed, and stored with the result. Ratings of valence, arousal and dominance
are scaled from the corpus's range to 0..1 under every rule. What is missing is missing for one task alone: a label, a
distribution or a dimension.

`PerRater` and `Recounted` need single raters' answers (IEMOCAP, MSP-Podcast, MSP-IMPROV, CMU-MOSEI, THAI-SER,
audformat); CREMA-D's table has counts alone, and they refuse it. They were tested on the formats of these corpora, not
run on recordings; the other rules were, on CREMA-D.
"""
ESCAPED = r"\|"


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_overview(), *_details(), *_own(), RULES, *_rules(), *_ontologies()]).rstrip() + "\n"


def _published() -> dict[str, type[PublishedProtocol]]:
    return {
        name: part
        for name, part in known_protocols().items()
        if issubclass(part, PublishedProtocol) and part.__module__.startswith("ser_toolkit.")
    }


def _overview() -> list[str]:
    rows = [
        "## Published protocols",
        "",
        "| Protocol | Corpora | Leaks | Selects on | Reports |",
        "|---|---|---|---|---|",
    ]
    for name, part in _published().items():
        cells = (
            f"`{name}`",
            ", ".join(part.corpora) or "any",
            part.declared_leak or "-",
            part.selects_on,
            part.aggregation,
        )
        rows.append(f"| {' | '.join(cell.replace('|', ESCAPED) for cell in cells)} |")
    return [*rows, ""]


def _details() -> list[str]:
    lines = []
    for name, part in _published().items():
        lines += [f"### {name}", ""]
        lines += [f"- {what}: {text}" for what, text in described(part)]
        lines.append("")
    return lines


def _own() -> list[str]:
    lines = [
        "## Protocols of your own choice",
        "",
        "| Protocol | What it does | Leaks |",
        "|---|---|---|",
    ]
    for name, part in known_protocols().items():
        if not issubclass(part, PublishedProtocol) and part.__module__.startswith("ser_toolkit."):
            # An official list leaks what its option ``leak`` says, which a class does not know.
            leak = "what is declared by `leak`" if "leak" in inspect.signature(part).parameters else part.declared_leak
            lines.append(f"| `{name}` | {summary(part)} | {leak or '-'} |")
    return [*lines, ""]


def _rules() -> list[str]:
    lines = ["| Rule | What it does | Options | Source |", "|---|---|---|---|"]
    for name, part in subclasses(LabelRule).items():  # type: ignore[type-abstract]
        if part.__module__.startswith("ser_toolkit."):
            options = [str(one) for one in inspect.signature(part).parameters]
            found = re.search(r"Source:\s+(.*?)\Z", inspect.getdoc(part) or "", re.DOTALL)
            source = " ".join(found[1].split()) if found else "-"
            lines.append(f"| `{name}` | {summary(part)} | {', '.join(f'`{o}`' for o in options) or '-'} | {source} |")
    return [*lines, ""]


def _ontologies() -> list[str]:
    lines = ["## Ontologies", "", "Of `data.labels=Mapped data.labels.ontology=NAME`; other words are left out.", ""]
    for name, ontology in ONTOLOGIES.items():
        lines += [
            f"### {name}",
            "",
            f"{ontology.description[0].upper()}{ontology.description[1:]}. Source: {ontology.source}.",
            "",
        ]
        lines += ["| Class | Words |", "|---|---|"]
        lines += [f"| {one} | {', '.join(words)} |" for one, words in ontology.classes.items()]
        lines.append("")
    return lines


def main() -> None:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path)
    output = parser.parse_args().output
    if output is None:
        print(page())
    else:
        output.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()

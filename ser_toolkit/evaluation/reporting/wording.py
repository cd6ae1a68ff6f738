"""Sentences of a report: warnings that must not be overlooked, facts of the run, definitions."""

from __future__ import annotations

import math

from ser_toolkit.evaluation.reporting.copies import copy_banners
from ser_toolkit.evaluation.results import Results
from ser_toolkit.evaluation.run_record import RunRecord
from ser_toolkit.evaluation.uncertainty import CLUSTERS
from ser_toolkit.terms import Json, listed

UNKNOWN = "not recorded"


def title(results: Results) -> str:
    """Recipe and corpus in one line."""
    return f"{results.record.recipe or 'Run'} on {results.record.corpus.name or 'a corpus'}"


def banners(results: Results) -> list[str]:
    """Sentences that stand in red above every figure, most serious first; each once."""
    record, found = results.record, list[str]()
    if record == RunRecord():
        found.append("No record: run.json is missing, so corpus, label rule and protocol are unknown.")
    if record.corpus.verified == "synthetic":
        found.append(
            "Synthetic corpus: nobody spoke here. These figures show that the software works, "
            "not how well emotion in speech is recognised."
        )
    leak = record.protocol.declared_leak
    if leak:
        found.append(
            f"Leak, declared by the protocol: {leak.rstrip('.')}. "
            "Do not compare these figures with those of protocols without it."
        )
    found += copy_banners(vars(record.corpus), record.corpus.allow_incomplete)
    if results.missing:
        found.append(f"Unfinished: {listed(results.missing, 6, '; ')}.")
    found += results.remarks
    found += record.banners
    return list(dict.fromkeys(found))


def facts(results: Results, scores: Json) -> list[tuple[str, str]]:
    """Name and value of what a reader must know before any figure."""
    first = scores["systems"][0]
    unlabelled = first["utterances"] - first["labelled"]
    record = results.record
    protocol, selection = record.protocol, record.selection
    name = protocol.name or UNKNOWN
    folds, done = len(results.folds), len(first["folds"])
    seeds = ", ".join(map(str, first["seeds"]))
    found = [
        ("Corpus", record.corpus.name or UNKNOWN),
        ("Utterances", f"{first['utterances']}" + (f" ({unlabelled} without a label)" if unlabelled else "")),
        ("Speakers", str(first["speakers"]) if first["speakers"] else UNKNOWN),
        ("Classes", _classes(results, scores)),
        ("Protocol", f"{name}: {protocol.description}" if protocol.description else name),
        ("Folds", f"{folds}" if done == folds else f"{done} of {folds}"),
        ("Validation from", protocol.dev_source or UNKNOWN),
        ("Selected by", f"{selection.metric} ({selection.mode})" if selection.metric else UNKNOWN),
        ("Seeds" if len(first["seeds"]) > 1 else "Seed", seeds),
        ("Label rule", _label_rule(results)),
    ]
    # Conditions, a search or two stages change the meaning of a figure; most runs have none of them.
    rare = {
        "Ratings": "; ".join(record.ratings) if _predicts(scores, "ccc") else "",
        "Told besides the sound": " ".join(record.conditions),
        "Chosen inside each fold": f"the best of {selection.tried} settings on dev" if selection.tried else "",
        "First stage": "each upstream is fine-tuned on the fold" if record.tuning else "",
    }
    return found + [(name, text) for name, text in rare.items() if text]


def _predicts(scores: Json, figure: str) -> bool:
    """Whether any system has a figure whose key begins so."""
    return any(key.startswith(figure) for system in scores["systems"] for key in system["metrics"])


def _classes(results: Results, scores: Json) -> str:
    names = ", ".join(results.classes)
    if not names:
        return "none (valence, arousal, dominance alone)"
    return names if _predicts(scores, "uar") else f"{names} (not predicted)"


def _label_rule(results: Results) -> str:
    """Origin of the targets: the label rule, or the corpus's own rule where its label column is the target."""
    labels = results.record.labels
    if labels.rule not in (None, "", "Intended") and labels.explanation:
        return f"{labels.rule}: {labels.explanation}"
    return results.record.corpus.label_rule or UNKNOWN


def details(results: Results) -> list[tuple[str, str]]:
    """Facts for someone who wants to repeat the run."""
    record, corpus, seconds = results.record, results.record.corpus, results.record.wall_seconds
    trained, total = record.parameters.trained, record.parameters.total
    entries = [
        ("Command", record.command),
        ("Upstream", ", ".join(filter(None, (record.upstream.name, record.upstream.fingerprint)))),
        ("Parameters", f"{trained:,} trained of {total:,}" if trained is not None and total is not None else None),
        ("Manifest hash", record.manifest_hash),
        ("Configuration hash", record.hash),
        ("Corpus licence", corpus.licence),
        ("Corpus checked against", corpus.verified),
        ("Cite the corpus as", corpus.citation),
        ("Corpus home page", corpus.homepage),
        ("Trained on", f"{record.device or '?'}, {record.precision or '?'}"),
        ("Wall time", _duration(seconds) if seconds is not None else None),
        ("Made", record.created),
        ("ser_toolkit", record.toolkit_version),
        ("Packages", ", ".join(f"{name} {version}" for name, version in sorted(record.packages.items()))),
    ]
    return [(name, str(value)) for name, value in entries if value]


def _duration(seconds: float) -> str:
    """Duration in words: 83.2 -> 1 min 23 s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{value} {unit}" for value, unit in parts if value) or "under 1 s"


def definitions(results: Results, scores: Json) -> list[str]:
    """Definitions of the headline figures, as short sentences."""
    first = scores["systems"][0]
    found: list[str] = []
    if any("uar" in system["metrics"] for system in scores["systems"]):
        present = sum(1 for n in (first["classes"] or {}).get("support", []) if n) or len(results.classes)
        found += [
            "UA (unweighted accuracy, unweighted average recall): mean recall over the classes present in the truth, "
            f"in %; chance is {100 / present:.1f}.",
            "WA (weighted accuracy): share of utterances whose class is right, in %.",
            "macro-F1: mean F1 over the classes present in truth or prediction, in %.",
        ]
    if any(key.startswith("ccc") for system in scores["systems"] for key in system["metrics"]):
        found.append(
            "CCC: concordance correlation coefficient over all utterances (population variance), "
            "from -1 to 1; 0 is chance, and what a constant prediction has."
        )
    draws = max(system["draws"] for system in scores["systems"])
    averaged = f", averaged over {len(first['seeds'])} seeds" if len(first["seeds"]) > 1 else ""
    averaged += (
        f"{' and' if averaged else ', averaged over'} {draws} draws where utterances are drawn" if draws > 1 else ""
    )
    found.append(f"Every figure is computed over the predictions of all folds together{averaged}.")
    return [*found, _interval_sentence(scores)]


def _interval_sentence(scores: Json) -> str:
    clusters = max((m["clusters"] for s in scores["systems"] for m in s["metrics"].values()), default=0)
    reasons = [
        m["reason"] for s in scores["systems"] for m in s["metrics"].values() if m["low"] is None and m["reason"]
    ]
    if reasons and not any(m["low"] is not None for s in scores["systems"] for m in s["metrics"].values()):
        return f"No intervals: {reasons[0]}."
    plural = CLUSTERS[scores["cluster_by"]]
    return (
        f"In brackets: {100 * scores['level']:.0f} % interval over {clusters} {plural} (jackknife that leaves out one "
        f"at a time, Student's t with {max(clusters - 1, 0)} degrees of freedom). It says how far the figure would "
        f"move with other {plural} in the test set; chance in training shows in the spread over seeds."
    )


def notes(results: Results, scores: Json, absent: dict[str, list[str]]) -> list[str]:
    """Sentences on what is unusual in these figures.

    Args:
        results: the run.
        scores: its figures.
        absent: per fold, the classes that its test part lacks.
    """
    found = list(results.record.corpus.notes)
    by_classes: dict[tuple[str, ...], list[str]] = {}
    for fold, lacking in absent.items():
        by_classes.setdefault(tuple(lacking), []).append(fold)
    for names, folds in by_classes.items():
        which = f"fold {folds[0]}" if len(folds) == 1 else f"folds {listed(folds, 12, more=', and {} more')}"
        found.append(f"No {' or '.join(names)} in the test part of {which}: UA there is over the other classes.")
    for system in scores["systems"]:
        same = [m for m in system["metrics"].values() if m["low"] is not None and m["low"] == m["high"]]
        if same and system["baseline"] is None:
            found.append(f"{system['variant']}, {system['name']}: {same[0]['reason']}.")
        undefined = [key for key, m in system["metrics"].items() if m["estimate"] is None or math.isnan(m["estimate"])]
        if undefined:
            found.append(
                f"{system['variant']}, {system['name']}: {', '.join(undefined)} undefined on these utterances."
            )
    return found


def human(data: Json) -> str:
    """Notes on the table of human agreement: its meaning, its limits, and how far its figures can be trusted."""
    found = data["human"]
    least, most = found["raters"]["least"], found["raters"]["most"]
    middle = f"{found['raters']['median']:g}"
    raters = f"{least} raters each" if least == most else f"{least} to {most} raters each (median {middle})"
    model = ", the model against the same references" if any(row["variant"] for row in found["rows"]) else ""
    sentences = [
        f"{found['answers']} answers on {found['utterances']} utterances, {raters}. "
        f"Each answer is scored against what most of the other raters said{model}; "
        "every utterance weighs the same, and a tie among the others "
        f"({100 * found['others_tied']:.1f} % of the answers) is split evenly between its classes.",
        "It says how far one listener agrees with the rest. It is no upper bound: a system that always says what most "
        "listeners say does better than any one of them.",
    ]
    if found["label_is_plurality"] is not None:
        made = "; the label is made from these votes" if found["label_from_votes"] else ""
        share = f"{100 * found['label_is_plurality']:.1f}"
        sentences.append(f"The most frequent answer is the label in {share} % of utterances (a tie is not){made}.")
    sentences.append(" ".join(_reliability(found)))
    if found["left_out"]:
        sentences.append(
            f"{found['left_out']} utterances are left out: raters who named several emotions share one vote there, and "
            "single answers cannot be told apart."
        )
    if found["elsewhere"] > 0:
        sentences.append(
            f"References that are none of the classes ({100 * found['elsewhere']:.1f} %) do not count; answers that "
            "are none are wrong."
        )
    return " ".join(sentences)


#: How the sentence on figures against the votes begins: a terminal leaves it out together with them.
VOTE_FIGURES_BEGIN = "KL and JS:"


def vote_figures(classes: int) -> str:
    """Definition of figures against the distribution of the votes."""
    return (
        f"{VOTE_FIGURES_BEGIN} mean Kullback-Leibler divergence KL(votes || probabilities) and Jensen-Shannon "
        "divergence over the utterances with votes, in nats; 0 is best. Probabilities count as at least 1.2e-7. Few "
        "votes are a noisy picture of a crowd: even its own distribution would have a KL above 0. Multi-label: a class "
        f"is present above 1/{classes} of the votes, or of the probability; F1 in %."
    )


def votes(data: Json) -> str:
    """Definitions of the figures and rows of the table of distributions."""
    sentences = [
        vote_figures(len(data["classes"])),
        "Mean votes: of the utterances that a fold does not test, always; uniform: every class alike.",
    ]
    if any(row["against"] == "half" for row in data["votes"]["rows"]):
        sentences.append(
            "Half of the raters: a random half against the other, and the models against the same halves (10 draws); "
            "KL is not given there, since a half has too many classes without a vote."
        )
    if any("SVM" in row["who"] for row in data["votes"]["rows"]):
        sentences.append("An SVM gives no calibrated probabilities.")
    return " ".join(sentences)


def _reliability(found: Json) -> list[str]:
    """Alpha and split halves with their intervals; for ratings also CCC."""
    return [
        f"Krippendorff's alpha (nominal, 1 is perfect, 0 is chance): {_with_interval(found['alpha'])}.",
        f"Split-half reliability of the vote shares (Spearman-Brown): {_with_interval(found['split_half'])}.",
        *dimensions(found),
    ]


def dimensions(found: Json) -> list[str]:
    """Agreement of single ratings of each dimension, one sentence each."""
    return [
        f"{name.capitalize()}, {one['utterances']} utterances: CCC of one rater with the mean of the others "
        f"{_with_interval(one['ccc'])}, alpha (interval) {_with_interval(one['alpha'])}, split-half reliability of the "
        f"mean {_with_interval(one['split_half'])}."
        for name, one in found.get("dimensions", {}).items()
    ]


def _with_interval(entry: Json) -> str:
    if entry["estimate"] is None:
        return "undefined"
    ends = "" if entry["low"] is None else f" [{entry['low']:.3f}, {entry['high']:.3f}]"
    return f"{entry['estimate']:.3f}{ends}".replace("-", "−")

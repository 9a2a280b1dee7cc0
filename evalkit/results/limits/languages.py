"""Languages: how captions in other languages fare beside their English originals, and whether they can be read."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence

from evalkit.report.document import Quantity
from evalkit.results.limits.limit import (
    LEAST,
    Claim,
    Difference,
    Limit,
    all_at_once,
    amount,
    claims,
    few,
    listed,
    listing,
    of_metric,
)
from evalkit.results.limits.material import ByPrompt, Model, paired_by_unit

ENGLISH = "en"
UNKNOWN = "unknown_pieces"  # the kind of the metric that counts what the text encoder does not know
METRICS = ("clap_score", "kld", "chroma", "silence_share", "vocals_share")  # kinds, in the order of the table
FITS = ("clap_score", "kld", "chroma")  # of them, those that say how well a clip fits its caption
NOTES = (
    "Clips of translations are scored against the English caption, as the text encoder of CLAP reads English alone.",
)
NO_ENGLISH = (
    "There are no captions in English to compare with: make a record with them, or compare with a run in English by "
    "evalkit compare."
)
NAMES = {  # of the languages that captions are most likely in
    "ar": "Arabic", "bn": "Bengali", "cs": "Czech", "de": "German", "el": "Greek", "es": "Spanish", "fa": "Persian",
    "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "id": "Indonesian", "it": "Italian",
    "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian",
    "ru": "Russian", "sv": "Swedish", "sw": "Swahili", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian",
    "vi": "Vietnamese", "yo": "Yoruba", "zh": "Chinese",
}  # fmt: skip
KNOWN = 0.05  # share of text in unknown pieces above which a sentence says that a language is not read


def languages(model: Model) -> Limit | None:
    """Compare prompts that are given in other languages with their originals, caption by caption.

    None where the record has no captions in another language.
    """
    prompts = model.prompts
    english = prompts["language"].str.partition("-")[0].eq(ENGLISH) & prompts["translation"].eq("")
    others = [name for name in dict.fromkeys(prompts["language"]) if name and name.partition("-")[0] != ENGLISH]
    if not others:
        return None
    if not english.any():
        return Limit("languages", "Languages", [], notes=[NO_ENGLISH])
    originals = set(prompts.index[english])
    unknown = model.metric(UNKNOWN)
    differences = []
    for metric in [name for kind in METRICS if (name := model.metric(kind))]:
        sums = model.sums(metric)
        base = sums.of(originals) if sums else None
        if sums is None or base is None:
            continue
        for language in others:
            own = sums.of(set(prompts.index[prompts["language"].eq(language)]))
            if own is not None:
                differences.append(_difference(model, metric, language, own, base, _unknown(model, unknown, language)))
    if not differences:
        return None
    found = claims(differences, model.level)
    fits = {model.titles[name] for kind in FITS if (name := model.metric(kind))}
    more = [Quantity("unknown", "unknown text", "share", "in pieces that the text encoder does not know")]
    table = listing(
        "language", "English", found, "Languages", model.unit, more,
        intro="Differences are from the English original of the same captions, paired by caption. "
        + all_at_once(found, model.level),
    )  # fmt: skip
    return Limit("languages", "Languages", list(_said(found, unknown is not None, fits)), [table], NOTES)


def _difference(model: Model, metric: str, language: str, own: ByPrompt, base: ByPrompt, unknown: float) -> Difference:
    """A language beside the originals of the same captions."""
    common = set(own.which) & set(base.which)
    same, originals = (
        side.of({i for i, unit in zip(side.ids, side.which, strict=True) if unit in common}) for side in (own, base)
    )
    about = functools.partial(
        Difference, who=NAMES.get(language, language), metric=metric, title=model.titles[metric],
        higher_is_better=model.info(metric).higher_is_better, share=own.share, more={"unknown": unknown},
    )  # fmt: skip
    if same is None or originals is None:
        return about(
            n=0, of=0, units=0, of_units=0, value=math.nan, other=math.nan, estimate=None, influence=None,
            note="no caption is there in English too",
        )  # fmt: skip
    estimate, influence, units = paired_by_unit(originals, same)
    return about(
        n=len(same.ids), of=len(originals.ids), units=units, of_units=units, value=same.value,
        other=originals.value, estimate=estimate, influence=influence, note=few(model.unit) if units < LEAST else "",
    )  # fmt: skip


def _unknown(model: Model, metric: str | None, language: str) -> float:
    """How much of a language's text the text encoder does not know, a share; NaN where it was not counted."""
    sums = model.sums(metric) if metric else None
    own = sums.of(set(model.prompts.index[model.prompts["language"].eq(language)])) if sums else None
    return own.value if own else math.nan


def _said(found: Sequence[Claim], counted: bool, fits: set[str]) -> Iterator[str]:
    """The sentences: of each metric what differs, then what the text encoder knows.

    Args:
        counted: whether unknown text was.
        fits: titles of the metrics that say how well clips fit captions.
    """
    for metric in dict.fromkeys(one.difference.metric for one in found):
        own = [one for one in found if one.difference.metric == metric and one.verdict]
        if own:
            yield of_metric(own, "the English originals")
    unjudged = [
        one.difference.who for one in found if not one.verdict and one.difference.metric == found[0].difference.metric
    ]
    if unjudged:
        yield f"Of {listed(unjudged)} fewer than {LEAST} captions are there, too few to judge by."
    if not counted:
        return
    shares = {one.difference.who: float(one.difference.more["unknown"]) for one in found}
    shares = {who: share for who, share in shares.items() if math.isfinite(share)}
    hard = sorted((who for who, share in shares.items() if share > KNOWN), key=lambda who: -shares[who])
    if hard:
        named = [f"{amount(shares[who], True)} of the text in {who}" for who in hard]
        yield f"Unknown to the text encoder is {listed(named)}: that much of what is asked does not reach the model."
    elif shares:
        most = max(shares.values())
        some = f"Of no language is more than {amount(most, True)} of the text unknown to the text encoder."
        yield some if most else "No text in any language is unknown to the text encoder."
    unlike = {one.difference.who for one in found if one.verdict == "worse" and one.difference.title in fits}
    if read := [who for who in shares if who in unlike and who not in hard]:
        yield (
            f"It knows all or nearly all of the text in {listed(read)}, where clips fit less well all the same: what "
            "is read there is not understood as well."
        )

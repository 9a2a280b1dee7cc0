"""What must be the same on the two sides of a comparison, and which prompts they share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest

from evalkit.errors import EvalkitError
from evalkit.results import gate, pairing
from evalkit.results.pairing import Side, side
from evalkit.results.record import PromptsInfo, ProtocolInfo, Record, WeightsInfo
from evalkit.results.result import Result
from tests.results.made import metric, record, row
from tests.results.test_result import STORED

WEIGHTS = WeightsInfo("CLAP", "https://example.org/clap.pt", None, "a" * 64, "a" * 64, True)
ENCODER = {"kind": "clap", "version": 1, "weights": {"sha256": "a" * 64}, "hop": 0.5}
CLAP = metric(
    "CLAP score", True, definition={"kind": "clap_score", "version": 0, "encoder": ENCODER}, encoder="key",
    weights=(WEIGHTS,),
)  # fmt: skip
CHECKPOINT = WeightsInfo("MusicGen", "me/model@main", "me/model", "d" * 40, "", None)
SWITCHES = {"name": "musicgen", "generated_loudness": -14.0, "vggish": {"hop": 0.5}}


def made(name: str = "a", **changes: Any) -> Record:
    """A result of one model, "m", on twelve prompts."""
    definition = {"kind": "musicgen", "version": 2, "checkpoint": name, "dtype_of_text": "float32"}
    full = {
        "rows": {"m": row(checkpoint=CHECKPOINT, definition=definition)}, "metrics": {"clap_score": CLAP},
        "sampling": {"top_k": 250, "temperature": 1.0, "duration": 10.0, "seed": 0, "samples_per_prompt": 1},
        "protocol": ProtocolInfo("musicgen", (), SWITCHES), "path": Path("runs") / name, **changes,
    }  # fmt: skip
    return record({"m": {"clap_score": 0.3}}, titles={"clap_score": ("CLAP score", True)}, **full)


def one(changed: Record | None = None) -> Side:
    return side(changed or made(), None)


def with_clips(base: Record, where: Sequence[int], **values: Any) -> Record:
    """A record whose clips at some places have other values."""
    clips = base.clips.copy()
    for name, value in values.items():
        clips.loc[list(where), name] = value
    return replace(base, clips=clips)


def with_clips_of(one: Side, name: str) -> Side:
    """A side with clips of another content."""
    return replace(one, record=with_clips(one.record, range(12), sha256=name))


def with_row(**changes: Any) -> Record:
    base = made()
    return replace(base, rows={"m": replace(base.rows["m"], **changes)})


def with_provenance(**changes: Any) -> Record:
    base = made()
    return replace(base, provenance={**base.provenance, **changes})


def with_sampling(**changes: Any) -> Record:
    base = made()
    return replace(base, sampling={**base.sampling, **changes})


def with_definition(**changes: Any) -> Record:
    base = made()
    definition = {**base.rows["m"].definition, **changes}
    return replace(base, rows={"m": replace(base.rows["m"], definition=definition)})


def captioned(base: Record, captions: Mapping[str, str]) -> Record:
    """A record whose prompts have some other captions."""
    prompts = base.prompts.copy()
    prompts["caption"] = [captions.get(i, c) for i, c in zip(prompts["id"], prompts["caption"], strict=True)]
    return replace(base, prompts=prompts)


def translated(language: str, **translations: str) -> Record:
    """A record of which models were given some prompts in translation."""
    base = with_row(given={"translation": len(translations)})
    ids = base.prompts["id"]
    told = {"translation": [translations.get(i, "") for i in ids], "language": [language] * len(ids)}
    return replace(base, prompts=base.prompts.assign(**told))


def only(base: Record, ids: Sequence[str]) -> Record:
    """A record of some of its prompts."""
    prompts, clips = (frame[frame["id"].isin(ids)].reset_index(drop=True) for frame in (base.prompts, base.clips))
    return replace(base, prompts=prompts, clips=clips)


def switched(name: str = "musicgen", **changes: Any) -> Record:
    return replace(made(), protocol=ProtocolInfo(name, (), {**SWITCHES, **changes}))


def of_form(form: Any, **changes: Any) -> Record:
    return made(prompts_info=PromptsInfo("files", "all", 12, 12, "a" * 64, "b" * 64, form), **changes)


def generated_elsewhere(seconds: float) -> Record:
    return with_clips(with_row(generated=False), range(12), length=seconds)


class TestSide:
    def test_the_only_model_is_taken_whatever_rows_of_calibration_there_are(self) -> None:
        base = made()
        both = replace(base, rows={"halves": row(calibration=True), **base.rows})
        assert side(both, None).row == "m" == side(both, "m").row and side(both, "halves").row == "halves"

    @pytest.mark.parametrize(
        ("rows", "asked", "message"),
        [
            (["a", "b"], None, r"'runs/a' has 2 models \(a, b\): say which one, as in runs/a::a"),
            ([], None, r"has 0 models"),
            (["a", "b"], "A", r"unknown row of the result 'A': .*available: a, b"),
        ],
    )
    def test_mistakes(self, rows: list[str], asked: str | None, message: str) -> None:
        with pytest.raises(EvalkitError, match=message):
            side(made(rows={name: row() for name in rows}), asked)

    def test_two_folders_of_unlike_names_are_no_side(self) -> None:
        with pytest.raises(EvalkitError, match="two folders of unlike names, whose clips cannot be paired"):
            side(of_form("sets"), None)

    def test_info_of_a_stored_result(self) -> None:
        result = Result.load(STORED)
        info = pairing.info(side(result, "synth"))
        assert (info.row, info.path, info.checkpoint, info.digest) == ("synth", str(STORED.absolute()), "", "")
        assert info.generated and not info.random and len(info.sha256) == 64
        assert info.commit == result.provenance["commit"]

    def test_info_of_a_record_that_lies_nowhere(self) -> None:
        info = pairing.info(one())
        assert (info.sha256, info.checkpoint, info.digest) == ("", "me/model@main", "d" * 40)


# By condition: a change of the candidate, and what is said of it.
CHANGES: list[tuple[str, Callable[[], Record], str]] = [
    ("given", lambda: with_row(given={"melody": 3}), "a melody was given for 3 prompts, not 0"),
    ("given", lambda: translated("ru", p0="флейта", p1="арфа"), "a translation was given for 2 prompts, not 0"),
    ("duration", lambda: with_sampling(duration=30.0), "clips of 30 s, not 10 s"),
    ("duration", lambda: generated_elsewhere(8.0), "clips of 8 s, not 10 s"),
    ("duration", lambda: generated_elsewhere(math.nan), "clips of unknown length, not 10 s"),
    ("sampling", lambda: with_sampling(temperature=0.9), "temperature 0.9, not 1.0"),
    ("sampling", lambda: with_sampling(top_p=0.5), "top_p 0.5, not null"),
    ("sampling", lambda: with_definition(dtype_of_text="float16"), "dtype_of_text float16, not float32"),
    ("sampling", lambda: with_definition(kind="other", top_k=50), "top_k 50, not 250"),
    ("dtype", lambda: with_provenance(dtype="float16"), "float16, not float32"),
    ("engine", lambda: with_provenance(device="cuda:1"), "cuda, not cpu"),
    ("protocol", lambda: switched("stable_audio"), "stable_audio, not musicgen"),
    ("protocol", lambda: switched(generated_loudness=None), "generated_loudness null, not -14.0"),
    ("protocol", lambda: switched(vggish={"hop": 0.96}), "vggish.hop 0.96, not 0.5"),
]


class TestDiffering:
    def test_results_that_differ_in_their_checkpoints_alone_can_be_compared(self) -> None:
        assert pairing.differing([one()], [one(made("b"))], ()) == []

    @pytest.mark.parametrize(("condition", "change", "said"), CHANGES)
    def test_what_differs_is_said_once_and_may_be_allowed(
        self, condition: str, change: Callable[[], Record], said: str
    ) -> None:
        reasons = pairing.differing([one()], [one(change())], ())
        assert [(reason.condition, reason.text) for reason in reasons] == [(condition, said)]
        assert pairing.differing([one()], [one(change())], [condition]) == []
        assert pairing.differing([one(change())], [one()], ())[0].condition == condition

    def test_every_condition_is_among_the_changes_and_a_gate_knows_each(self) -> None:
        assert {condition for condition, *_ in CHANGES} == set(pairing.CONDITIONS)
        assert tuple(pairing.CONDITIONS) == get_args(gate.Condition)

    @pytest.mark.parametrize(
        "change",
        [
            lambda: with_sampling(seed=7, samples_per_prompt=3),
            lambda: with_provenance(device_name="another", commit="def", packages={"evalkit": "0.2.0"}),
            lambda: generated_elsewhere(10.3),
            lambda: with_definition(version=3, checkpoint="other", note=None),
            lambda: replace(with_row(generated=False), sampling={"temperature": 0.1, "duration": 99.0}),
            lambda: replace(with_row(generated=False), provenance={**made().provenance, "dtype": "float16"}),
        ],
    )
    def test_what_is_free(self, change: Callable[[], Record]) -> None:
        assert pairing.differing([one()], [one(change())], ()) == []

    def test_translations_of_the_same_prompts_may_be_others(self) -> None:
        ru, de = translated("ru", p0="флейта", p1="арфа"), translated("de", p0="Flöte", p1="арфа")
        elsewhere = translated("ru", p0="флейта", p2="арфа")
        for other, n, first in ((de, 1, "p0"), (elsewhere, 2, "p1")):
            (reason,) = pairing.differing([one(ru)], [one(other)], ())
            said = f"{n} prompts were given in another translation, such as '{first}'"
            assert (reason.condition, reason.text) == ("given", said)
        assert pairing.differing([one(ru)], [one(ru)], ()) == []

    def test_in_which_languages_prompts_were_given_is_a_remark(self) -> None:
        ru, de = translated("ru", p0="флейта"), translated("de", p0="Flöte")
        same = "clips are scored against the same captions"
        assert pairing.remarks([one(de)], [one(ru)]) == [f"prompts were given in ru, not de: {same}"]
        english = f"prompts were given in ru, not the captions' own language: {same}"
        assert pairing.remarks([one()], [one(ru)]) == [english]
        assert pairing.remarks([one(ru)], [one(ru)]) == pairing.remarks([one()], [one(translated("en"))]) == []

    def test_how_clips_were_computed_is_a_remark_and_no_reason(self) -> None:
        way = {"clips": 12, "dtype": "float16", "torch": "2.11.0", "attention": "triton", "batch_size": 64}
        ours, theirs = with_row(made=[way]), with_row(made=[{**way, "batch_size": 8, "torch": "2.10.0"}])
        several = with_row(made=[way, {**way, "attention": "efficient"}])
        assert pairing.differing([one(ours)], [one(theirs)], ()) == []
        said = "clips were computed otherwise, which may change their last bits"
        assert pairing.remarks([one(ours)], [one(theirs)]) == [f"{said}: batch_size 8, not 64"]
        assert pairing.remarks([one(ours)], [one(several)]) == [f"{said}: attention triton and efficient, not triton"]
        for same in (with_row(made=[{**way, "clips": 3}]), with_row(made=[])):  # older records have nothing
            assert pairing.remarks([one(ours)], [one(same)]) == []

    def test_shorter_clips_than_were_asked_for_are_the_models_own(self) -> None:
        assert pairing.differing([one()], [one(with_clips(made(), range(12), length=3.0))], ()) == []

    def test_the_settings_of_what_has_no_checkpoint_are_what_is_compared(self) -> None:
        synth = {"kind": "synth", "version": 1, "noise": 0.0}
        plain, noisy = (with_row(checkpoint=None, definition={**synth, "noise": noise}) for noise in (0.0, 0.3))
        assert pairing.differing([one(plain)], [one(noisy)], ()) == []
        assert pairing.remarks([one(plain)], [one(noisy)]) == ["the settings of the models differ: noise 0.3, not 0.0"]

    def test_every_result_of_either_side_is_looked_at(self) -> None:
        other = one(with_sampling(temperature=0.9))
        more = one(with_clips(made(), range(12), sha256="another"))
        for sides in (([one(), with_clips_of(other, "b")], [one()]), ([one()], [more, other])):
            assert [reason.condition for reason in pairing.differing(*sides, ())] == ["sampling"]

    def test_results_of_one_side_have_clips_of_their_own(self) -> None:
        twice, others = [one(), one(made("copy"))], [one(), with_clips_of(one(), "b")]
        said = "have the same clips, and are no evidence of their own: run them with other seeds"
        for sides, name in (((twice, others), "baseline"), ((others, twice), "candidate")):
            assert [(reason.condition, reason.text) for reason in pairing.differing(*sides, ())] == [
                ("clips", f"results of the {name} {said}")
            ]
        assert pairing.differing(others, others, ()) == []

    def test_a_condition_that_there_is_not(self) -> None:
        with pytest.raises(EvalkitError, match=r"unknown condition in may_differ 'engines': did you mean 'engine'\?"):
            pairing.differing([one()], [one()], ["engines"])


class TestPaired:
    def test_the_same_prompts(self) -> None:
        found = pairing.paired([one(), one(made("b"))], common_prompts=False)
        assert found == pairing.Paired([f"p{i}" for i in range(12)], 12, [], 0)

    @pytest.mark.parametrize("common", [False, True])
    @pytest.mark.parametrize(
        ("change", "left", "total", "said"),
        [
            (lambda: only(made(), ["p1", "p2"]), ["p1", "p2"], 12, "different prompts: 10 are in one of them only"),
            (
                lambda: captioned(made(), {"p3": "other"}),
                [f"p{i}" for i in range(12) if i != 3],
                12,
                "different captions of 1 of 12 prompts, such as of 'p3': 'other', not 'caption 3'",
            ),
            (
                lambda: with_clips(made(), [4], reference_sha256="another"),
                [f"p{i}" for i in range(12) if i != 4],
                12,
                "different references of 1 of 12 prompts, such as of 'p4'",
            ),
            (
                lambda: with_clips(made(), [4], reference_start=2.0),
                [f"p{i}" for i in range(12) if i != 4],
                12,
                "other parts of the same references of 1 of 12 prompts, such as of 'p4': 2 to 12 s, not 0 to 10 s",
            ),
            (
                lambda: with_clips(made(), [4], reference_length=8.0),
                [f"p{i}" for i in range(12) if i != 4],
                12,
                "other parts of the same references of 1 of 12 prompts, such as of 'p4': 0 to 8 s, not 0 to 10 s",
            ),
            (
                lambda: with_clips(made(), [4], reference_status="missing"),
                [f"p{i}" for i in range(12) if i != 4],
                12,
                "1 prompts have a reference in one of the results only, such as 'p4'",
            ),
            (
                lambda: replace(made(), references_info=None),
                [],
                12,
                "12 prompts have a reference in one of the results only, such as 'p0'",
            ),
        ],
    )
    def test_prompts_that_are_not_the_same(
        self, change: Callable[[], Record], left: list[str], total: int, said: str, common: bool
    ) -> None:
        sides = [one(), one(change())]
        if not left:
            with pytest.raises(EvalkitError, match="no prompt with its reference in common"):
                pairing.paired(sides, common)
            return
        found = pairing.paired(sides, common)
        assert (found.ids, found.total, found.left_out) == (left, total, total - len(left))
        assert found.reasons == [] if common else said in found.reasons[0].text
        assert len(found.reasons) == (0 if common else 1)

    def test_protocols_that_compare_with_other_parts_are_named(self) -> None:
        other = with_clips(made(), [*range(12)], reference_length=8.0)
        with pytest.raises(EvalkitError, match=r"other parts .* 0 to 8 s, not 0 to 10 s; protocol fadtk, not musicgen"):
            pairing.paired([one(), one(replace(other, protocol=ProtocolInfo("fadtk", (), {})))], common_prompts=False)

    def test_sides_that_share_no_prompt(self) -> None:
        with pytest.raises(EvalkitError, match="no prompt with its reference in common"):
            pairing.paired([one(only(made(), ["p1"])), one(only(made(), ["p2"]))], common_prompts=True)

    @pytest.mark.parametrize(("bad", "name"), [(1, "candidate"), (0, "baseline")])
    @pytest.mark.parametrize("common", [False, True])
    def test_clips_that_one_side_lacks_are_a_reason_whatever_is_asked(self, bad: int, name: str, common: bool) -> None:
        sides = [made(), made("b")]
        sides[bad] = with_clips(sides[bad], [2, 5], status="failed")
        found = pairing.paired([one(each) for each in sides], common)
        assert [(reason.condition, reason.text) for reason in found.reasons] == [
            ("clips", f"2 prompts have no usable clip in the {name} only, such as 'p2'")
        ]
        assert found.ids == [f"p{i}" for i in range(12) if i not in (2, 5)]

    def test_clips_that_neither_side_has_are_no_reason(self) -> None:
        sides = [one(with_clips(made(name), [2], status="failed")) for name in "ab"]
        found = pairing.paired(sides, common_prompts=False)
        assert found.reasons == [] and "p2" not in found.ids and found.left_out == 0

    def test_no_usable_clip_at_all(self) -> None:
        with pytest.raises(EvalkitError, match="no prompt has clips that can be used on both sides"):
            pairing.paired([one(), one(with_clips(made(), range(12), status="failed"))], common_prompts=False)

    def test_a_prompt_needs_every_clip(self) -> None:
        base = made()
        more = base.clips.assign(sample=2, status=["failed", *["ok"] * 11])
        several = replace(base, clips=pd.concat([base.clips, more], ignore_index=True))
        assert "p0" not in pairing.paired([one(several), one(several)], common_prompts=False).ids

    def test_files_of_other_names_in_two_pairs_of_folders(self) -> None:
        sides = [one(of_form("pairs")), one(only(of_form("pairs"), [f"p{i}" for i in range(6)]))]
        reasons = pairing.paired(sides, common_prompts=False).reasons
        assert "different files: 6 are in one of the results only, such as 'p10'" in reasons[0].text
        mixed = pairing.paired([one(), one(of_form("pairs"))], common_prompts=False).reasons
        assert "one compares two folders, the other has prompts" in mixed[0].text


class TestIncomparable:
    def changed(self, **changes: Any) -> Side:
        return one(made("b", metrics={"clap_score": replace(CLAP, **changes)}))

    def test_the_same_metric(self) -> None:
        assert pairing.incomparable([one(), one(made("b"))], "clap_score") == []

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"definition": {**CLAP.definition, "version": 1}}, "version 1, not 0"),
            ({"definition": {**CLAP.definition, "encoder": {**ENCODER, "hop": 1.0}}}, "encoder.hop 1.0, not 0.5"),
            (
                {"definition": {**CLAP.definition, "encoder": {**ENCODER, "weights": {"sha256": "b" * 64}}}},
                f"encoder.weights {'b' * 12}, not {'a' * 12}",
            ),
            (
                {"definition": {**CLAP.definition, "encoder": {**ENCODER, "weights": {"random_seed": 0}}}},
                f"encoder.weights random, not {'a' * 12}",
            ),
            ({"weights": (replace(WEIGHTS, digest="b" * 64),)}, "other weights"),
            ({"weights": ()}, "other weights"),
            ({"encoder": "another"}, "other encoders"),
            ({"higher_is_better": False}, "another definition"),
            ({"compares_with": ""}, "another definition"),
        ],
    )
    def test_another_quantity(self, changes: dict[str, Any], said: str) -> None:
        assert pairing.incomparable([one(), self.changed(**changes)], "clap_score") == [f"computed otherwise: {said}"]

    def test_a_switch_of_all_clips_makes_every_metric_another(self) -> None:
        said = pairing.incomparable([one(), one(switched(generated_loudness=None))], "clap_score")
        assert said == ["computed otherwise: generated_loudness null, not -14.0"]

    @pytest.mark.parametrize("change", [{"vggish": {"hop": 0.96}}, {"name": "mine", "derived_from": "musicgen"}])
    def test_switches_of_other_networks_do_not(self, change: dict[str, Any]) -> None:
        record = replace(made(), protocol=ProtocolInfo("mine", (), {**SWITCHES, **change}))
        assert pairing.incomparable([one(), one(record)], "clap_score") == []

    def test_the_device_is_a_part_of_encoders_keys_and_no_other_quantity(self) -> None:
        cuda = replace(with_provenance(device="cuda"), metrics={"clap_score": replace(CLAP, encoder="another")})
        assert pairing.incomparable([one(), one(cuda)], "clap_score") == []

    @pytest.mark.parametrize("both", [False, True])
    def test_weights_that_were_not_recorded(self, both: bool) -> None:
        old = self.changed(weights=None)
        said = pairing.incomparable([old if both else one(), old], "clap_score")
        assert said == ["the digests of its weights were not recorded: run the result again"]


class TestIdentical:
    IDS = ("p0", "p1", "p2")

    def test_only_the_compared_prompts_count(self) -> None:
        other = with_clips(made(), [3], sha256="another")
        assert pairing.identical([one()], [one(other)], self.IDS)
        assert not pairing.identical([one()], [one(other)], [*self.IDS, "p3"])

    def test_several_results_in_any_order(self) -> None:
        a, b = one(), one(with_clips(made(), [0], sha256="another"))
        assert pairing.identical([a, b], [b, a], self.IDS)
        assert not pairing.identical([a, b], [a], self.IDS) and not pairing.identical([a], [b], self.IDS)


class TestRemarks:
    def test_nothing_of_runs_that_are_alike(self) -> None:
        assert pairing.remarks([one()], [one(made("b"))]) == []

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda: with_sampling(seed=1), "the sides have different seeds: noise is not shared"),
            (lambda: generated_elsewhere(10.0), "how the clips were made is not known, nor whether alike: m"),
            (lambda: with_definition(kind="diffusers"), "different kinds of models: musicgen, diffusers"),
            (
                lambda: with_provenance(packages={"evalkit": "0.2.0"}),
                "other versions of packages: evalkit 0.2.0, not 0.1.0",
            ),
        ],
    )
    def test_what_does_not_forbid_to_compare(self, change: Callable[[], Record], said: str) -> None:
        (remark,) = pairing.remarks([one()], [one(change())])
        assert said in remark


def test_random_weights_of_networks_and_of_the_compared_models_are_named_once() -> None:
    network = {"clap_score": replace(CLAP, random=("CLAP weights",))}
    records = [replace(with_row(random=True), metrics=network), made("b", metrics=network)]
    assert pairing.random_networks([one(each) for each in records]) == ["CLAP weights", "m"]
    assert pairing.random_networks([one()]) == []

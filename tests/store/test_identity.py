"""What caches are keyed by: names that stay when code moves."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

import evalkit
from evalkit.calibration.codec import ThroughCodec
from evalkit.calibration.noise import WhiteNoise
from evalkit.calibration.silence import DigitalSilence
from evalkit.config import build, compose
from evalkit.errors import EvalkitError
from evalkit.features.extractor import Extractor
from evalkit.generation.clips import generation_key
from evalkit.generation.of_clips import OfClips
from evalkit.models import Generator
from evalkit.models.tiny import TinyStereo
from evalkit.settings import Sampling
from evalkit.store.cache import Cache
from evalkit.store.digests import digest
from evalkit.store.identity import identity, source
from tests.engines import CPU

# A move of code changes none of these. A change of what is computed raises a `version`, and changes those it concerns.
GOLDEN = {
    "experiment=demo: synth": "c40c7a3a54f429a0",
    "experiment=demo: second_rendering": "2b6c5382bcc31b81",
    "experiment=demo: noise": "3a60350272b3fa66",
    "experiment=demo: low_pass": "fd8a3eea698cd6f9",
    "experiment=demo: detuned": "6079ae6277c7dd6b",
    "experiment=demo: half_silent": "64615b8e3a586c89",
    "experiment=demo: left_only": "991bb66d50484fe7",
    "experiment=demo: wrong_caption": "a63e0ee7f4966982",
    "experiment=demo: tiny_stereo": "d3e84232240925f7",
    "experiment=demo: fad": "55ebbfec7da191d1",
    "experiment=demo: kld": "dd492e4331f3440a",
    "experiment=demo: clap_score": "b7419aba56a3ab66",
    "experiment=demo: chroma": "93e7442985e5656b",
    "protocol=audiogen: fad": "55ebbfec7da191d1",
    "protocol=audiogen: kld": "00919377fa7e5cbd",
    "protocol=audiogen: clap_score": "b7419aba56a3ab66",
    "protocol=audiogen: chroma": "93e7442985e5656b",
    "protocol=audioldm_eval: fad": "678a48d70f461b67",
    "protocol=audioldm_eval: kld": "f30d30b5d36ffae0",
    "protocol=audioldm_eval: clap_score": "7e802ccf00d676c6",
    "protocol=audioldm_eval: chroma": "cb03bb1165e8ed74",
    "protocol=fadtk: fad": "2b77210cb2c2e443",
    "protocol=fadtk: kld": "3d04371ee1aebdcf",
    "protocol=fadtk: clap_score": "59d99a4746bd4fa0",
    "protocol=fadtk: chroma": "4ffd4d1fbecdf450",
    "protocol=frechet_audio_distance: fad": "14bcc54629391421",
    "protocol=frechet_audio_distance: kld": "fe9c1044ab314109",
    "protocol=frechet_audio_distance: clap_score": "461f54fda1243a16",
    "protocol=frechet_audio_distance: chroma": "24add4da7cf7f9c7",
    "protocol=stable_audio: fad": "e0992f7870d8b972",
    "protocol=stable_audio: kld": "0b5c54f561d79fcd",
    "protocol=stable_audio: clap_score": "1128bbaae4d577c7",
    "protocol=stable_audio: chroma": "3f1d1a1b75f4837e",
    "metrics of references: fad_mid": "caa842d36fbcd881",
    "metrics of references: fad_side": "ed169e11a5ef2e32",
    "metrics of references: fad_clap": "1a04f66ddf8babba",
    "metrics of references: fad_passt": "bb4fa68bdda3ab96",
    "metrics of references: fad_encodec": "81f0c5a7eec030cc",
    "metrics of references: fad_inf": "d00435dccd181a51",
    "metrics of references: fad_contribution": "16ee5a5d9f668cc7",
    "metrics of references: kad": "ff63f28eef9da060",
    "metrics of references: fad_mert": "0e5999ea03c116fc",
    "metrics of references: kad_mert": "b47de6960ef07190",
    "metrics of references: kad_clap": "e997245372a0a6c7",
    "metrics of references: kld_panns": "907eb935e445329b",
    "metrics of references: kld_panns_sigmoid": "010b69bc3d70f275",
    "metrics of references: kld_sigmoid": "0414d6b468664a8f",
    "metrics of references: precision": "800cf4bd36fd9c74",
    "metrics of references: recall": "1c519844863d4a5d",
    "metrics of references: density": "7d53b46bc4299a13",
    "metrics of references: coverage": "b0412599c0bd1218",
    "other metrics: inception_score": "0a462c356876ac8e",
    "other metrics: clap_r1": "e01b7a0cad76442e",
    "other metrics: clap_r10": "3595a2eb1e15f1a7",
    "other metrics: clap_margin": "d9c73a49493ad186",
    "other metrics: channel_correlation": "7e161b36ab1ecd3a",
    "other metrics: side_to_mid": "2db0e18e63316992",
    "other metrics: mono_share": "b12212b9e47238c4",
    "other metrics: silence_share": "872de98a95606dc3",
    "other metrics: silence_start": "78d4e63b162fd1c7",
    "other metrics: silence_length": "45c8eaaf24cae67e",
    "other metrics: clipped_samples": "8422ca72ab7f3150",
    "other metrics: clipped_clips": "e8b2a1bf0af50463",
    "other metrics: dc_offset": "72dbc0fccf850e19",
    "other metrics: vocals_share": "09b0c1aafe153219",
    "other metrics: vocals_probability": "7a3f521b74335cfc",
    "other metrics: unknown_pieces": "9057bc0e868b890d",
    "model=musicgen_small: musicgen_small": "12fe66a2c1f5eaf4",
    "model=musicgen_stereo_melody: musicgen_stereo_melody": "12fe66a2c1f5eaf4",
    "model=hf_text_to_audio: hf_text_to_audio": "e5c1ab4b3c5170bf",
    "model=diffusers: diffusers": "a5cf39eae73c62d0",
    "calibration: codec": "8f9d368faa4fb200",
    "calibration: noise": "b34431e5f1ca63a1",
    "calibration: silence": "5adeb634b2b4c4a7",
}


def digests(cache: Cache, checkpoint: Path) -> dict[str, str]:
    """The key of each component of some runs, on seeded random weights, by option and name."""
    found = {}

    def add(option: str, *more: str, title: str = "") -> None:
        config = compose(["prompts=demo", "random_weights=0", "model=synth", option, *more])
        extractor = Extractor(cache, "cpu", 1, config.protocol.sample_rate)
        for name, node in config.model.items() if "model" in option or "experiment" in option else ():
            key = generation_key(build(node), Sampling(**config.sampling), cache, CPU)
            found[f"{title or option}: {name}"] = digest(key)[:16]
        for name, node in config.metric.items() if "model" not in option else ():
            metric = build(node)
            parts = [metric.encoder, *([metric.reference_encoder] if metric.reference_encoder else [])]
            keys = [identity(metric, cache), *(extractor.key(part) for part in parts)]
            found[f"{title or option}: {name}"] = digest(keys)[:16]

    add("experiment=demo")
    for protocol in ("audiogen", "audioldm_eval", "fadtk", "frechet_audio_distance", "stable_audio"):
        add(f"protocol={protocol}")
    compared = (
        "fad_stereo,fad_clap,fad_passt,fad_encodec,fad_inf,fad_contribution,kad,kld_panns,fad_mert,kad_mert,kad_clap"
    )
    add(f"metric=[{compared},precision_recall,density_coverage]", title="metrics of references")
    add("metric=[inception_score,clap_retrieval,stereo,silence,clipping,vocals,unknown_pieces]", title="other metrics")
    for name in ("musicgen_small", "musicgen_stereo_melody"):
        add(f"model={name}", f"model.{name}.checkpoint.path={checkpoint}")
    for name in ("hf_text_to_audio", "diffusers"):
        add(f"model={name}", f"model.{name}.id={checkpoint}")
    generators = {
        "codec": OfClips(ThroughCodec(TinyStereo()), {}),
        "noise": WhiteNoise(-20.0),
        "silence": DigitalSilence(),
    }
    for name, generator in generators.items():
        found[f"calibration: {name}"] = digest(generation_key(generator, Sampling(), cache, CPU))[:16]
    return found


def test_the_keys_of_components_stay(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text('{"model_type": "musicgen"}')
    assert digests(Cache(tmp_path / "cache"), checkpoint) == GOLDEN


def components() -> list[type]:
    """All classes of evalkit that name themselves."""
    found = []
    for module in pkgutil.walk_packages(evalkit.__path__, "evalkit."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and value.__module__ == module.name and "kind" in vars(value):
                found.append(value)
    return found


def test_no_two_components_have_one_name() -> None:
    kinds = Counter(vars(component)["kind"] for component in components() if dataclasses.is_dataclass(component))
    assert len(kinds) > 30
    assert [kind for kind, count in kinds.items() if count > 1] == []


@dataclasses.dataclass(frozen=True)
class Named:
    value: int
    kind: ClassVar[str] = "named"


@dataclasses.dataclass(frozen=True)
class Heir(Named):
    """Other code, under the name of what it was derived from."""


def test_a_component_of_another_package_is_never_taken_for_one_of_evalkit(tmp_path: Path) -> None:
    described = identity(Named(1), Cache(tmp_path))
    assert len(described.pop("source")) == 64
    assert described == {"kind": "named", "package": "tests", "version": 0, "value": 1}


def sources(folder: Path, *imports: str) -> list[str]:
    """What processes of their own give for the source of a component after each of some changes."""
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    code += "\n".join(f"from {module} import Own as Own{i}" for i, module in enumerate(imports))
    code += "\nfrom evalkit.store.identity import named\n"
    code += "\n".join(f"print(named(Own{i})['source'])" for i in range(len(imports)))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_of_a_component_of_another_package_the_source_of_the_package_counts(tmp_path: Path) -> None:
    own = "class Own:\n    kind = 'own'\n"
    package = tmp_path / "own_package"
    package.mkdir()
    for file in (tmp_path / "own_module.py", tmp_path / "other.py", package / "__init__.py", package / "part.py"):
        file.write_text(own)
    (package / "helper.py").write_text("GAIN = 1\n")
    first = sources(tmp_path, "own_package.part", "own_package", "own_module")
    assert len({*first}) == 2 and first[0] == first[1]
    (tmp_path / "other.py").write_text("")
    (package / "notes.txt").write_text("no code")
    assert sources(tmp_path, "own_package.part", "own_package", "own_module") == first
    (package / "helper.py").write_text("GAIN = 2\n")
    second = sources(tmp_path, "own_package.part", "own_package", "own_module")
    assert second[0] == second[1] != first[0] and second[2] == first[2]
    (tmp_path / "own_module.py").write_text(own + "# repaired\n")
    assert sources(tmp_path, "own_module")[0] != first[2]
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(package, elsewhere / "own_package")
    assert sources(elsewhere, "own_package")[0] == second[0]


def test_a_class_without_a_file_is_one_of_its_process_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "notebook_cell", ModuleType("notebook_cell"))
    made = [type("Own", (), {"kind": "own", "__module__": "notebook_cell"}) for _ in range(2)]
    assert source(made[0]) == source(made[0]) != source(made[1])


@pytest.mark.parametrize("nameless", [Heir(1)])
def test_a_component_without_a_name_of_its_own_is_refused(nameless: Any, tmp_path: Path) -> None:
    with pytest.raises(
        EvalkitError, match=r"tests\.store\.test_identity\.Heir has no name .*: ClassVar\[str\] = 'heir'"
    ):
        identity(nameless, Cache(tmp_path))


def test_a_generator_s_key_holds_all_that_a_clip_depends_on(tmp_path: Path) -> None:
    model = build(compose(["model=synth", "prompts=demo"]).model.synth)
    assert isinstance(model, Generator)
    cache = Cache(tmp_path)
    first = digest(generation_key(model, Sampling(), cache, CPU))
    assert digest(generation_key(model, Sampling(samples_per_prompt=3), cache, CPU)) == first
    for field in dataclasses.fields(Sampling):
        if field.name != "samples_per_prompt":
            other = dataclasses.replace(Sampling(), **{field.name: getattr(Sampling(), field.name) + 1})
            assert digest(generation_key(model, other, cache, CPU)) != first

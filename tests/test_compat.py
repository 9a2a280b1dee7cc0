from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from evalkit import compat
from evalkit.encoders.clap import made_up_tokenizer
from evalkit.errors import EvalkitError
from evalkit.store.cache import Cache
from evalkit.weights import load_tensors
from tests.conftest import ROOT

BLOCKED = """
import socket, sys
def refuse(*_, **__):
    raise AssertionError("the network was used")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    # the hub's own offline switch stays off: what must not happen must not be tried
    env = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"} | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + code], capture_output=True, text=True, timeout=300, env=env, cwd=ROOT
    )


def test_the_packages_import_without_network_noise_or_traces():
    done = run("""
from evalkit import compat
import numpy, torch
network = torch.nn.Module()
network.embeddings = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
before = list(sys.path), torch.get_rng_state(), numpy.random.get_state()[1]
compat.prepare()
module = compat.laion_clap()
assert module.CLAP_Module and compat.laion_clap() is module
assert len(compat.fad_vggish(network).embeddings) == 1  # pre-activation
import hear21passt.base20sec, torchvggish, torchaudio, torchvision
from transformers import MusicgenForConditionalGeneration
assert sys.path == before[0], set(sys.path) - set(before[0])
assert torch.equal(torch.get_rng_state(), before[1]) and (numpy.random.get_state()[1] == before[2]).all()
print("done", file=sys.stderr)
""")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr == "done\n"


def test_what_several_threads_replace_at_once_is_put_back_when_the_last_of_them_is_done():
    stdout, filters, entered, leave = sys.stdout, list(warnings.filters), threading.Event(), threading.Event()

    def other() -> None:
        with compat.quiet():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with compat.quiet():
        thread.start()
        entered.wait(10)
    assert sys.stdout is not stdout  # it is still quiet for the other, who came later and leaves later
    print("not seen")
    leave.set()
    thread.join()
    assert sys.stdout is stdout and warnings.filters == filters


def test_clap_takes_first_parts_and_others_draw_as_ever():
    compat.laion_clap()
    from laion_clap.training import data

    choice, randint = np.random.choice, np.random.randint
    with compat.clap_takes_first_parts():
        assert [data.np.random.choice([3, 4]), data.np.random.randint(2, 100)] == [3, 2]
        assert data.np.array_split is np.array_split
        assert np.random.choice is choice and np.random.randint is randint
    assert data.np is np


def test_vggish_is_not_moved_to_the_first_gpu(monkeypatch):
    moved = []
    network = torch.nn.Module()
    network.embeddings = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(network, "to", lambda device: moved.append(str(device)))
    compat.fad_vggish(network)
    assert moved == ["cpu"] and torch.cuda.is_available()


@pytest.mark.parametrize("names", [("nms",), ("qnms",), ("nms", "qnms")])
def test_operators_that_another_package_declared_stay_as_they_are(names):
    done = run(f"""
import torch
library = torch.library.Library("torchvision", "FRAGMENT")
for name in {names}:
    library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from evalkit import compat
compat.prepare()
import torchvision, timm
print("done")
""")
    assert done.stdout == "done\n", done.stderr


def test_a_tokenizer_and_a_passt_are_made_without_network_or_noise(tmp_path):
    done = run(f"""
from pathlib import Path
import torch
from evalkit import compat
from evalkit.encoders.clap import made_up_tokenizer
from evalkit.store.cache import Cache
tokenizer = compat.roberta_tokenizer(made_up_tokenizer(Cache({str(tmp_path)!r})))
assert len(tokenizer("a song")["input_ids"]) > 2
model = compat.passt_model(20).eval()
with compat.quiet(), torch.inference_mode():
    assert model(torch.zeros(1, 8000)).shape == (1, 527)
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_evalkit_s_modules_imports_no_torch():
    done = run("""
import evalkit.compat, evalkit.encoders.vggish, evalkit.encoders.passt, evalkit.encoders.clap, evalkit.encoders.chroma
heavy = {"torch", "torchaudio", "torchvision", "transformers", "laion_clap", "librosa"} & set(sys.modules)
assert not heavy, heavy
""")
    assert done.returncode == 0, done.stderr


def test_prepare_leaves_a_cuda_torch_alone(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(compat, "_extension_loads", lambda *_: pytest.fail("looked at the packages"))
    compat._prepare.__wrapped__()


def test_prepare_leaves_extensions_alone_that_can_be_loaded(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    for name in ("torchvision", "torchaudio", "torchaudio._extension"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(compat, "_extension_loads", lambda *_: True)
    compat._prepare.__wrapped__()
    assert "torchaudio._extension" not in sys.modules


def test_a_tokenizer_folder_without_files_is_an_error(tmp_path):
    whole = made_up_tokenizer(Cache(tmp_path / "cache"))
    assert len(compat.roberta_tokenizer(whole)) == 50265
    for present in ([], ["vocab.json"], ["merges.txt"]):
        folder = tmp_path / "-".join(["folder", *present])
        folder.mkdir()
        for name in present:
            (folder / name).write_bytes((whole / name).read_bytes())
        with pytest.raises(EvalkitError) as caught:
            compat.roberta_tokenizer(folder)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)
    (folder / "vocab.json").write_text("{")
    with pytest.raises(EvalkitError, match=r"the RoBERTa tokenizer in '.*' cannot be loaded: delete it"):
        compat.roberta_tokenizer(folder)


STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}


@pytest.mark.parametrize(
    "options",
    [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}, {"pickle_protocol": 5}],
)
def test_tensors_are_read_from_every_format(tmp_path, options):
    path = tmp_path / "weights.pt"
    extra = {"lr": np.float64(1e-4), "shape": torch.Size([2]), "array": np.arange(3), "path": Path("x")}
    torch.save({"state_dict": STATE, "parameter": torch.nn.Parameter(STATE["bias"]), **extra}, path, **options)
    loaded = load_tensors(path, "test")
    assert loaded["state_dict"].keys() == STATE.keys()
    assert all(torch.equal(loaded["state_dict"][k], v) for k, v in STATE.items())
    assert torch.equal(loaded["parameter"], STATE["bias"])
    assert not isinstance(loaded["path"], Path)


class Attack:
    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("legacy", [True, False])
def test_what_a_checkpoint_says_is_not_run(tmp_path, legacy):
    path, target = tmp_path / "weights.pt", tmp_path / "made"
    torch.save({"state_dict": STATE, "attack": Attack(target)}, path, _use_new_zipfile_serialization=not legacy)
    assert torch.equal(load_tensors(path, "test")["state_dict"]["bias"], STATE["bias"])
    assert not target.exists()
    path.write_bytes(pickle.dumps(Attack(target)))  # not even the format of torch.save
    with pytest.raises(EvalkitError):
        load_tensors(path, "test")
    assert not target.exists()


@pytest.mark.parametrize(
    "content", [b"", b"<html>404 Not Found</html>", b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_another_file_is_one_line(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(EvalkitError, match=r"CLAP weights: '.*weights\.pt' cannot be read as a checkpoint") as caught:
        load_tensors(path, "CLAP weights")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_truncated_checkpoint_is_one_line(tmp_path, legacy, share):
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.randn(100, 100)}, path, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(EvalkitError, match="incomplete or another file") as caught:
        load_tensors(path, "CLAP weights")
    assert "\n" not in str(caught.value)


def test_a_torchscript_program_is_refused(tmp_path):
    class Program(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    torch.jit.save(torch.jit.script(Program()), tmp_path / "program.pt")
    with pytest.raises(EvalkitError, match="TorchScript program"):
        load_tensors(tmp_path / "program.pt", "net")


def test_prepare_may_be_called_by_several_threads_at_once():
    """Decoding threads resample with torchaudio: the first calls come together."""
    code = (
        "import threading\n"
        "from evalkit import compat\n"
        "errors = []\n"
        "threading.excepthook = lambda given: errors.append(given.exc_value)\n"
        "threads = [threading.Thread(target=compat.prepare) for _ in range(8)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "assert not errors, errors\n"
        "import torchvision, torchaudio\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

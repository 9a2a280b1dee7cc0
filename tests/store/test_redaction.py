"""What nobody else may see is in nothing that is kept, shown or sent."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from evalkit.store.provenance import provenance
from evalkit.store.redaction import redacted


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("api_token", "x", "(hidden)"), ("HF_TOKEN", "x", "(hidden)"), ("password", "x", "(hidden)"),
        ("api_key", "x", "(hidden)"), ("max_tokens", 3, 3), ("token", None, None),
        ("path", "/models/token", "/models/token"), ("tokenizer", "t5", "t5"), ("key", "C minor", "C minor"),
        ("uri", "postgresql://me:pw@db.example/x", "postgresql://(hidden)@db.example/x"),
    ],
)  # fmt: skip
def test_secrets_are_hidden_and_other_values_are_not(name: str, value: Any, shown: Any) -> None:
    assert redacted({"outer": [{name: value}]}) == {"outer": [{name: shown}]}


def test_a_record_names_its_command_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", ["evalkit run", "tracker.mlflow.output=http://me:pw@host:80/x", "+model.m.api_key=xyz", "name=a"]
    )
    assert provenance("cpu")["command"] == [
        "evalkit run", "tracker.mlflow.output=http://(hidden)@host:80/x", "+model.m.api_key=(hidden)", "name=a",
    ]  # fmt: skip

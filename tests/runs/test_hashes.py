"""A run's hash is its name: ten of them, as version 0.1.0 gave them. A change here orphans every run of every user."""

from __future__ import annotations

from typing import Any

import pytest

from hsisr_core.runs import RunConfig

PINNED: list[tuple[str, str, dict[str, Any]]] = [
    ("2ad632b667", "paper", {}),
    ("d2fb1d9495", "paper", {"method": "edsr", "blocks": 16, "init": "pytorch", "scale": 4}),
    ("4b9e5c994f", "paper", {"method": "3d-fcnn", "keep_size": True, "loss": "mse", "learning_rate": "5e-5"}),
    ("a821ec3db4", "paper", {"method": "gdrrn", "features": 128, "loss": "mse+0.1*sam"}),
    ("1937d6e164", "demo", {}),
    ("e78178cafd", "demo", {"scale": 3, "seed": 2, "features": 8}),
    ("12771a8d71", "demo", {"block": "standard", "loss": "mse"}),
    ("5201181191", "demo", {"local_fusion": False, "global_residual": False, "init": "he"}),
    ("35cc97bf77", "demo", {"clip": None, "mirror": 4, "image_sizes": [1, 0.5], "precision": "bf16"}),
    (
        "78b5ef431a",
        "demo",
        {"epochs": 3, "patches_per_image": 5, "augment": "none", "schedule": "constant", "weight_norm": False}
        | {"order": "spectral-first"},
    ),
]


@pytest.mark.parametrize(("pinned", "preset", "changes"), PINNED)
def test_hash_is_that_of_version_0_1_0(pinned: str, preset: str, changes: dict[str, Any]) -> None:
    assert RunConfig.from_preset(preset, **changes).hash("0123456789abcdef") == pinned

"""The numbers printed in the paper, and the rule that decides whether ours agree with them."""

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd

from hsisr_core.errors import HsisrError

TABLES = {
    "loss": ("Table I", "table_1_loss_cave_x2"),
    "ablation": ("Table II", "table_2_ablation_cave_x2"),
    "block": ("Table III", "table_3_block_cave_x2"),
    "modules": ("Table IV", "table_4_modules_cave_x2"),
    "comparison": ("Table V", "table_5_comparison"),
}
"""Name of each table here: (its number in the paper, its key in paper_tables.json)."""
METHOD_NAMES = {
    "bicubic": "bicubic", "gdrrn": "GDRRN", "3d-fcnn": "3D-FCNN", "edsr": "EDSR", "ssrnet": "SSRNet",
}  # fmt: skip
"""What the paper calls each method, in the order of Table V."""
SUCCESSORS = {"mcnet": "MCNet", "sfcsr": "SFCSR", "ercsr": "ERCSR"}
"""The networks after the paper, by the same group."""
OURS = {"ssrchain": "SSRChain"}
"""Our own network."""
DATA_NAMES = {"cave": "CAVE", "harvard": "Harvard", "foster": "Foster"}
"""What the paper calls each dataset, in the order of Table V."""
SUBSETS = {"cave-25": "CAVE, 25 scenes, 8 bands", "cave-nine": "CAVE, 9 scenes"}
"""What tables call scenes of CAVE that are not all of it."""
PADDED = ", padded"
_PRINTED: dict[str, Any] = json.loads(Path(__file__).with_name("paper_tables.json").read_text("utf-8"))


def method_label(method: str, keep_size: bool = False) -> str:
    """What tables call a method: "EDSR", or "3D-FCNN, padded" for the variant that keeps all bands.

    A network of one's own is called by its name, or its class.
    """
    name = (METHOD_NAMES | SUCCESSORS | OURS).get(method, method.rpartition(":")[2])
    return name + PADDED * (method == "3d-fcnn" and keep_size)


def data_label(dataset: str) -> str:
    """What tables call a dataset."""
    return (DATA_NAMES | SUBSETS).get(dataset, dataset)


def blur_label(blur: float | None) -> str:
    """What tables add for data that are blurred before LR is made of them."""
    return f", blur {blur:g}" if blur else ""


def _settings(name: str, key: str) -> dict[str, Any]:
    """The columns that one row label of Tables I to IV stands for."""
    if name == "ablation":  # such as LFF1GRL0
        return {"local_fusion": key[3] == "1", "global_residual": key[7] == "1"}
    if name == "modules":
        return {"modules": int(key)}
    return {name: key}


def table_settings(name: str) -> list[dict[str, Any]]:
    """What each row of a table sets, by the names of `RunConfig`: one dict a row, in the paper's order.

    The rows of "comparison" are made of methods, scales and data, which a plan chooses itself: one empty dict.
    """
    if name == "comparison":
        return [{}]
    return [_settings(name, label) for label in _PRINTED[_table(name)[1]]]


def _table(name: str) -> tuple[str, str]:
    if name not in TABLES:
        raise HsisrError(f"The paper has no table {name!r}; choose one of {', '.join(TABLES)}.")
    return TABLES[name]


def paper_table(name: str) -> pd.DataFrame:
    """A table of the paper, one of `TABLES`, one row per setting.

    The columns are ``psnr`` (dB), ``ssim`` and ``sam`` (degrees) of CAVE x2, after:

    - loss: ``loss`` ("mse", "l1", "0.5*mse+0.5*sam")
    - ablation: ``local_fusion``, ``global_residual`` (bool; the paper's LFF and GRL)
    - block: ``block`` ("standard", "separable"), ``parameters_k`` (int, thousands, truncated)
    - modules: ``modules`` (int; the paper's D)
    - comparison, all datasets and scales: ``dataset`` and ``method`` (by `DATA_NAMES` and `METHOD_NAMES`), ``scale``

    ``attrs["table"]`` is the table's number in the paper, such as "Table V".
    """
    number, key = _table(name)
    printed = _PRINTED[key]
    if name == "comparison":
        rows = [
            {"dataset": dataset, "scale": int(scale.removeprefix("x")), "method": method, **values}
            for dataset, scales in printed.items()
            for scale, methods in scales.items()
            for method, values in methods.items()
        ]
    else:
        rows = [{**_settings(name, label), **values} for label, values in printed.items()]
    table = pd.DataFrame(rows)
    if "params" in table:
        thousands = table["params"].str.removesuffix("K").astype(int)
        table = table.assign(params=thousands).rename(columns={"params": "parameters_k"})
    table.attrs["table"] = number
    return table


def successor_table() -> pd.DataFrame:
    """What the papers of MCNet, SFCSR and ERCSR print, in the protocol of Table V; columns as of "comparison".

    ERCSR's README has its PSNR of CAVE x3 again at x4, which its SSIM and SAM do not fit: `misprint` is True there.
    """
    columns = ["dataset", "scale", "method", "psnr", "ssim", "sam"]
    table = pd.DataFrame(_PRINTED["after_the_paper"], columns=columns)
    place = (table["method"] == "ercsr") & (table["dataset"] == "CAVE") & (table["scale"] == 4)
    return table.assign(misprint=place)


def paper_value(dataset: str, scale: int, method: str) -> dict[str, float]:
    """The paper's result in Table V: ``psnr`` (dB), ``ssim`` and ``sam`` (degrees); see `paper_table` for the names."""
    table = paper_table("comparison").set_index(["dataset", "scale", "method"])
    if (dataset, scale, method) not in table.index:
        raise HsisrError(f"Table V of the paper has no {method!r} at x{scale} on {dataset}.")
    row = table.loc[(dataset, scale, method), ["psnr", "ssim", "sam"]].to_dict()
    return {str(metric): float(value) for metric, value in row.items()}


def agrees(printed: float | str, ours: float, decimals: int) -> bool:
    """Whether `ours`, cut off after `decimals` digits, is the number printed in the paper.

    The authors truncate and do not round: printed <= ours < printed + one unit of the last digit, compared as decimal
    numbers. nan and inf agree with nothing. The paper has 2 `decimals` for PSNR and SAM, 3 for SSIM.

    Examples
    --------
    >>> agrees(44.99, 44.9987, 2), agrees(44.99, 45.0, 2)
    (True, False)
    """
    low = Decimal(str(printed))
    return math.isfinite(ours) and low <= Decimal(str(ours)) < low + Decimal(1).scaleb(-decimals)

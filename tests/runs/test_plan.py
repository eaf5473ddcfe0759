"""Plans: expanded, checked as a whole, cut into shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_plan import TINY, small_plan, write_plan

from hsisr_core.data import Dataset, load_dataset
from hsisr_core.errors import HsisrError
from hsisr_core.paper import METHOD_NAMES, TABLES, table_settings
from hsisr_core.runs import RunConfig, open_run, plan_for_chapters, planned_runs, read_plan, shard
from hsisr_core.training import build_sampler


def test_a_preset_without_runs_is_a_plan_of_one(tmp_path: Path) -> None:
    plan = read_plan(write_plan(tmp_path, ""))
    assert plan.configs == (RunConfig.from_preset(str(TINY)),)
    assert plan.label(plan.configs[0]) == "ssrnet x2"


def test_defaults_entries_and_overrides(tmp_path: Path) -> None:
    path = write_plan(tmp_path, "[{epochs: 3, patches_per_image: 2}, {product: {scale: [3, 4]}, clip: null}]")
    first, *others = read_plan(path, {"seed": 7}).configs
    assert (first.epochs, first.steps, first.seed, first.scale, first.clip) == (3, None, 7, 2, 1.0)
    assert [(config.scale, config.steps, config.seed, config.clip) for config in others] == [
        (3, 20, 7, None),
        (4, 20, 7, None),
    ]


def test_labels_say_what_differs(tmp_path: Path) -> None:
    runs = small_plan(
        tmp_path, "[{product: {scale: [2, 3], seed: [1]}}, {block: standard, image_sizes: [1.0, 0.75]}]"
    )
    assert [run.label for run in runs] == [
        "scale=2",
        "scale=3",
        "scale=2 block=standard image_sizes=1.0,0.75",
    ]


def test_the_folder_is_the_one_that_train_uses(tmp_path: Path) -> None:
    (run,) = small_plan(tmp_path, "[{seed: 3}]")
    assert not run.folder.exists(), "planning writes nothing"
    assert open_run(run.config, tmp_path / "runs", run.dataset).folder == run.folder


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"epochs": 4, "steps": None, "patches_per_image": 5, "image_sizes": [1.0, 0.75], "batch": 3},
    ],
)  # fmt: skip
def test_steps_are_those_of_the_training(tmp_path: Path, settings: dict[str, object]) -> None:
    (run,) = small_plan(tmp_path, "[{seed: 3}]", **settings)
    pool = build_sampler(run.config, run.dataset).pool
    assert run.steps == (20 if pool is None else 4 * (len(pool) // 3))


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (
            "[{colour: 1}]",
            "entry 1 of runs: 'colour' is not a setting of a run. Valid settings: preset, method",
        ),
        ("[{seed: 1}, {scale: 7}]", "entry 2 of runs: scale=7: expected 2, 3, 4 or 8"),
        ("[{seed: [1, 2]}]", "expected a valid integer. A list of values expands only inside `product`"),
        ("[{product: {seed: [1, x]}}]", "entry 1 of runs: seed='x'"),
        ("[{method: bicubic}]", "method 'bicubic' cannot be trained"),
        ("[{method: magic}]", "method 'magic' cannot be trained; choose one of"),
        ("[{steps: null}]", "give exactly one"),
        ("null", "`runs` must be a list"),
        ("[]", "at least one entry"),
        ("{seed: 1}", "must be a list"),
        ("[{seed: 1}, seed]", "entry 2 of runs: expected a valid dictionary"),
        ("[{1: 2}]", "entry 1 of runs: 1: Keys should be strings"),
        ("[{product: [1, 2]}]", "product: expected a valid dictionary"),
        ("[{product: {seed: 3}}]", "product: seed: expected a valid list"),
        ("[{product: {seed: []}}]", "product: seed: List should have at least 1 item"),
        ("[{seed: 1, product: {seed: [1, 2]}}]", "seed is set twice"),
        ("[{table: I}]", "entry 1 of runs: The paper has no table 'I'; choose one of loss, ablation"),
        ("[{table: [loss]}]", "table: expected a valid string"),
        ("[{table: loss, loss: l1}]", "loss is set twice"),
        ("[{table: modules, product: {modules: [1]}}]", "modules is set twice"),
        (
            f"[{{product: {{seed: {[*range(1, 200)]}, features: {[*range(1, 200)]}}}}}]",
            "`product` stands for more than 10,000 runs",
        ),
    ],
)
def test_a_mistake_in_a_plan_is_named(tmp_path: Path, runs: str, words: str) -> None:
    path = write_plan(tmp_path, runs)
    with pytest.raises(HsisrError) as raised:
        read_plan(path)
    assert words in str(raised.value)


def test_from_preset_gives_the_defaults(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, "[{seed: 9}]")
    assert RunConfig.from_preset(plan, scale=3) == RunConfig.from_preset(str(TINY), scale=3)


def test_entries_products_and_tables_in_their_order(tmp_path: Path) -> None:
    runs = """[
        {seed: 5}, {features: 8, product: {scale: [2, 3], seed: [1, 2]}}, {},
        {product: {image_sizes: [[0.75], [1.0, 0.75]]}},
        {table: ablation, product: {seed: [1, 2]}}, {table: comparison, method: edsr}]"""
    plan = read_plan(write_plan(tmp_path, " ".join(runs.split()), init="he"))
    given: list[dict[str, Any]] = [
        {"seed": 5},
        *({"features": 8, "scale": scale, "seed": seed} for scale in (2, 3) for seed in (1, 2)),
        {},
        {"image_sizes": (0.75,)},
        {"image_sizes": (1.0, 0.75)},
    ]
    assert plan.entries[:8] == tuple((None, plan.defaults.changed(**settings)) for settings in given)
    rows = [config for table, config in plan.entries[8:-1] if table == "ablation"]
    assert [(config.local_fusion, config.global_residual, config.seed) for config in rows[:3]] == [
        (False, False, 1),
        (False, False, 2),
        (True, False, 1),
    ]
    assert len(rows) == 4 * 2
    assert plan.entries[-1] == ("comparison", plan.defaults.changed(method="edsr"))


@pytest.mark.parametrize(
    "runs",
    [
        "[{seed: 1}, {seed: 2}, {seed: 1}]",
        "[{seed: 1}, {seed: 2}, {device: cpu}]",  # how a run is carried out is not in its hash
        "[{seed: 1}, {seed: 2}, {split: indian-pines}]",  # the same data under another name
    ],
)
def test_the_same_run_twice_is_one(tmp_path: Path, runs: str) -> None:
    assert [run.config.seed for run in small_plan(tmp_path, runs)] == [1, 2]


def test_what_an_override_made_equal_is_one(tmp_path: Path) -> None:
    plan = read_plan(write_plan(tmp_path, "[{product: {scale: [2, 3], seed: [1, 2]}}]"), {"scale": 3})
    assert [config.seed for config in plan.configs] == [1, 2]


def test_a_run_that_tables_share_is_one(tmp_path: Path) -> None:
    path = write_plan(tmp_path, "[{seed: 1}, {table: block}, {table: loss, device: cpu}, {table: modules}]")
    plan = read_plan(path)
    planned = planned_runs(plan, tmp_path / "runs")
    # 1 alone, 2 blocks, 3 losses, 4 modules; the defaults are a row of block and loss, and the run alone
    assert len(planned) == 1 + 1 + 2 + 4
    assert len({run.folder for run in planned}) == len({run.label for run in planned}) == len(planned)
    assert [(config.block, config.device) for config in plan.table("block")] == [
        ("standard", "auto"),
        ("separable", "auto"),
    ]
    assert [config.loss for config in plan.table("loss")] == ["mse", "l1", "0.5*mse+0.5*sam"]
    assert [config.modules for config in plan.table("modules")] == [2, 3, 4, 5]


def test_a_plan_without_a_table_gives_its_rows_with_the_defaults(tmp_path: Path) -> None:
    plan = read_plan(write_plan(tmp_path, "[{table: loss, steps: 3}, {seed: 5}]", seed=5))
    assert [config.steps for config in plan.table("loss")] == [3, 3, 3]
    assert [(config.modules, config.steps, config.seed) for config in plan.table("modules")] == [
        (depth, 20, 5) for depth in (2, 3, 4, 5)
    ]
    assert plan.table("comparison") == [plan.defaults]
    # the defaults start as an interpolator, which a network without global residual cannot
    assert {config.init for config in plan.table("ablation")} == {"he"}
    assert {config.init for config in plan.table("block")} == {"interpolation"}
    with pytest.raises(HsisrError, match="no table 'speed'; choose one of loss, ablation"):
        plan.table("speed")
    started = read_plan(write_plan(tmp_path, "", init="pytorch")).table("ablation")
    assert {config.init for config in started} == {"pytorch"}


def test_all_that_chapters_show(tmp_path: Path) -> None:
    """The defaults (chapters 04 and 05), every entry, and the tables that no entry feeds."""
    plan = read_plan(write_plan(tmp_path, "[{seed: 1}, {table: loss, seed: 3}, {seed: 7}]"))
    shown = planned_runs(plan.shown(), tmp_path / "runs")
    expected = {plan.defaults, *plan.configs}
    for name in TABLES:
        expected |= set(plan.table(name))
    assert {run.config for run in shown} == expected
    assert shown[0].config == plan.defaults, "the longest run comes first"


def test_an_override_holds_for_all_runs_of_the_chapters(tmp_path: Path) -> None:
    path = write_plan(tmp_path, "[{table: loss, product: {seed: [1, 2]}}, {seed: 2}]")
    plan = plan_for_chapters(path, {"seed": 2, "steps": 3})
    assert {(config.seed, config.steps) for config in plan.configs} == {(2, 3)}
    assert len(plan.table("loss")) == 3
    # what equals the defaults changes nothing: papermill -f passes them all
    assert len(plan_for_chapters(path, {"seed": 1}).table("loss")) == 6


@pytest.mark.parametrize("preset", ["demo", "evidence", "paper", str(TINY)])
def test_the_presets_feed_every_table(preset: str) -> None:
    plan = read_plan(preset)
    assert plan.defaults in plan.configs
    fed = {table for table, _ in plan.entries}
    for name, count in (("loss", 3), ("ablation", 4), ("block", 2), ("modules", 4)):
        assert name in fed
        rows = {tuple(getattr(config, key) for key in table_settings(name)[0]) for config in plan.table(name)}
        assert len(rows) == count
        settled = [config for config in plan.table(name) if config.init == "interpolation"]
        assert all(config.global_residual for config in settled)


@pytest.mark.parametrize(("preset", "scales"), [("demo", {2, 3, 4}), ("paper", {2, 3, 4}), (str(TINY), {2})])
def test_the_presets_compare_every_method_at_every_scale(preset: str, scales: set[int]) -> None:
    plan = read_plan(preset)
    found = {(config.method, config.scale) for config in plan.table("comparison")}
    rows = {row for row in found if row[0] in METHOD_NAMES}
    methods = {"gdrrn", "3d-fcnn", "edsr", "ssrnet"}
    assert rows == {(method, scale) for method in methods for scale in scales}
    assert plan.defaults in plan.table("comparison"), "SSRNet x2 is the run of chapters 04 and 05"


def test_the_paper_s_plan_has_the_settings_of_each_method_s_paper() -> None:
    plan = read_plan("paper").table("comparison")
    own = {
        config.method: (config.features, config.loss, config.learning_rate, config.init) for config in plan
    }
    assert own == {
        "gdrrn": (128, "mse+0.1*sam", 1e-4, "he"),
        "3d-fcnn": (64, "mse", 5e-5, "he"),
        "edsr": (64, "l1", 1e-4, "pytorch"),
        "ssrnet": (64, "l1", 1e-4, "he"),
    }


def test_the_demo_has_three_seeds_of_every_row() -> None:
    plan = read_plan("demo")
    for name, count in (("loss", 3), ("ablation", 4), ("block", 2), ("modules", 4)):
        assert [config.seed for config in plan.table(name)] == [1, 2, 3] * count
    shared = [plan.table(name) for name in ("loss", "block", "modules")]
    assert len(set(shared[0]) & set(shared[1]) & set(shared[2])) == 3, "the paper's own row, once a seed"


def test_missing_data_is_said(tmp_path: Path) -> None:
    plan = read_plan(write_plan(tmp_path, "[{seed: 1}, {data: nowhere/CAVE}]"))
    with pytest.raises(HsisrError, match="nowhere/CAVE does not exist"):
        planned_runs(plan, tmp_path / "runs")


def test_datasets_are_loaded_once(tmp_path: Path) -> None:
    loaded = []

    def load(*key: str) -> Dataset:
        loaded.append(key)
        return load_dataset(*key)

    plan = read_plan(write_plan(tmp_path, "[{product: {seed: [1, 2, 3]}}]"))
    assert len(planned_runs(plan, tmp_path / "runs", load)) == 3
    assert loaded == [("indian-pines", None)]


def test_shards_cover_everything_once() -> None:
    items = list(range(10))
    parts = [shard(items, f"{i}/3") for i in (1, 2, 3)]
    assert parts == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]
    assert shard(items, None) == items
    assert shard(items[:1], "2/2") == []
    for wrong in ("0/3", "4/3", "1", "a/3", "1/", "-1/3", "1/0", "1.0/3"):
        with pytest.raises(HsisrError, match="expected i/n"):
            shard(items, wrong)

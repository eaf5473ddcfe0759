from __future__ import annotations

import hashlib
from itertools import combinations
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import spectral
import tifffile
import yaml

from hsisr_core.data import Region, Split, load_dataset, load_split, read_scene, write_split
from hsisr_core.data.splits import divide_by_rule, find_split
from hsisr_core.errors import HsisrError

SPLITS = Path(__file__).parents[2] / "book" / "splits"
VALID = """
name: toy
dataset: toys
note: made for a test
train:
  - a
  - {name: b-top, scene: b, rows: [0, 4]}
test:
  - {scene: b, rows: [4, 8], cols: [0, 3]}
"""


def painted(split: Split, side: str, scene: str, height: int, width: int) -> np.ndarray:
    """Count how often each pixel of `scene` is in a region of `side`."""
    counts = np.zeros((height, width), int)
    for region in getattr(split, side):
        if region.scene == scene:
            (top, bottom), (left, right) = region.bounds(height, width)
            counts[top:bottom, left:right] += 1
    return counts


def test_indian_pines_regions_share_no_pixel_and_crop_nothing_at_any_scale() -> None:
    split = load_split(SPLITS / "indian-pines.yaml")
    train = painted(split, "train", "indian-pines", 145, 145)
    test = painted(split, "test", "indian-pines", 145, 145)
    assert (train + test).max() == 1
    assert (train.sum(), test.sum()) == (144 * 72 + 72 * 72, 72 * 72)
    for region in split.regions:
        for start, stop in region.bounds(145, 145):
            assert (stop - start) % 12 == 0


def test_indian_pines_tests_on_the_quadrant_most_like_the_whole() -> None:
    cube = read_scene("indian-pines").cube.astype(np.float64)

    def energy(part: np.ndarray) -> float:
        return float((np.diff(part, axis=1) ** 2).mean() + (np.diff(part, axis=2) ** 2).mean())

    corners = [(top, left) for top in (0, 72) for left in (0, 72)]
    ratio = {(t, c): energy(cube[:, t : t + 72, c : c + 72]) / energy(cube) for t, c in corners}
    (region,) = load_split(SPLITS / "indian-pines.yaml").test
    assert region.rows is not None
    assert region.cols is not None
    assert min(corners, key=lambda corner: abs(ratio[corner] - 1)) == (region.rows[0], region.cols[0])
    assert sorted(round(value, 2) for value in ratio.values()) == [0.83, 1.0, 1.03, 1.1]  # as the note says


def test_cave_sample_tests_on_the_original_scene() -> None:
    split = load_split(SPLITS / "cave-sample.yaml")
    assert [region.scene for region in split.train] == ["balloons", "cloth", "real_and_fake_apples"]
    assert [split.reduce_to(scene) for scene in split.scenes] == [256, 256, 256, None]
    assert split.test == (Region("stuffed_toys", "stuffed_toys"),)
    assert "never to be called CAVE" in split.note


def test_every_split_of_the_book_is_valid_and_named_as_its_file() -> None:
    files = sorted(SPLITS.glob("*.yaml"), key=lambda file: file.stem)
    assert {"cave", "cave-25", "cave-25-tune", "cave-nine", "cave-nine-tune", "indian-pines"} <= {
        f.stem for f in files
    }
    for file in files:
        split = load_split(file, [f"scene{index}" for index in range(10)])
        assert split.name == file.stem
        assert split.note
        for first, second in combinations(split.regions, 2):
            assert not first.overlaps(second)


def test_cave_is_divided_by_the_rule_that_its_note_gives() -> None:
    split = load_split(SPLITS / "cave.yaml")
    assert (len(split.train), len(split.test)) == (25, 6)
    assert "watercolors" not in split.scenes
    rule = "divide_by_rule(scenes, seed=12, train_fraction=0.8)"
    assert rule in " ".join(split.note.split())
    assert divide_by_rule(split.scenes, seed=12, train_fraction=0.8) == (split.train, split.test)
    sample = load_split(SPLITS / "cave-sample.yaml")

    def keeps_the_sample(seed: int) -> bool:
        train, test = ({region.scene for region in side} for side in divide_by_rule(split.scenes, seed, 0.8))
        return {r.scene for r in sample.train} <= train and {r.scene for r in sample.test} <= test

    assert next(seed for seed in range(1, 99) if keeps_the_sample(seed)) == 12


@pytest.mark.parametrize(("name", "scenes", "train"), [("harvard", 77, 62), ("foster", 30, 24)])
def test_harvard_and_foster_are_divided_80_to_20_by_scene(name: str, scenes: int, train: int) -> None:
    names = [f"img{index}" for index in range(scenes)]
    split = load_split(SPLITS / f"{name}.yaml", names)
    assert (len(split.train), len(split.test)) == (train, scenes - train)
    assert {region.rows for region in split.test} == {region.cols for region in split.test} == {(0, 512)}
    assert {region.rows for region in split.train} == {None}
    assert f"({train} of {scenes})" in " ".join(split.note.split())


def test_a_rule_depends_on_the_seed_and_the_names_alone() -> None:
    train, test = divide_by_rule(["c", "a", "e", "b", "d"], seed=1, train_fraction=0.8)
    order = ["a", "b", "c", "d", "e"]
    order.sort(key=lambda name: hashlib.sha256(f"1:{name}".encode()).hexdigest())
    assert test == (Region(order[-1], order[-1]),)
    assert [region.name for region in train] == sorted(order[:-1])
    assert divide_by_rule(["e", "d", "c", "b", "a", "a"], seed=1, train_fraction=0.8) == (train, test)
    tests = {divide_by_rule("abcde", seed, 0.8)[1][0].scene for seed in range(40)}
    assert tests == set("abcde")


def test_a_rule_needs_scenes_for_both_sides(project: Path) -> None:
    path = project / "book" / "splits" / "r.yaml"
    path.write_text("name: r\ndataset: toys\nrule: {seed: 1, train_fraction: 0.8}\n")
    with pytest.raises(HsisrError, match=r"Split r takes 80% .* there are 0"):
        load_split("r")
    with pytest.raises(HsisrError, match=r"Split r takes 80% .* there are 2: one side would be empty"):
        load_split("r", ["a", "b"])
    assert len(load_split("r", ["a", "b", "c"]).train) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rule: {seed: 1}", r"r\.yaml: rule\.train_fraction: Field required\. Fix the file"),
        ("rule: {seed: x, train_fraction: 0.8}", r"r\.yaml: rule\.seed: expected a valid integer"),
        ("rule: {seed: 1, train_fraction: 80}", r"rule\.train_fraction: expected less than 1"),
        (
            "rule: {seed: 1, train_fraction: 0.8, test_side: 0}",
            r"rule\.test_side: expected greater than or equal to 4",
        ),
        ("rule: {seed: 1, train_fraction: 0.8}\ntrain: [a]", "needs either a rule, or"),
        (
            "train: [{scene: a, reduce_to: 2.5}]\ntest: [b]",
            r"train\.0\.reduce_to: expected a valid integer",
        ),
        (
            "train: [{scene: a, rows: [0, 4], reduce_to: 9}]\ntest: [{scene: a, name: b, rows: [5, 9]}]",
            "regions of scene a differ in reduce_to",
        ),
    ],
)
def test_wrong_rules_and_reductions_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.yaml").write_text(f"name: r\ndataset: toys\n{text}\n")
    with pytest.raises(HsisrError, match=message):
        load_split(tmp_path / "r.yaml", "abcdef")


def book_of(project: Path, **splits: str) -> None:
    """Write splits: name_="dataset: training scenes: test scenes", with - for _ in the name; -tune by name alone."""
    for key, text in splits.items():
        name = key.replace("_", "-")
        dataset, train, test = text.split(":")
        (project / "book" / "splits" / f"{name}.yaml").write_text(
            f"name: {name}\ndataset: {dataset}\ntrain: [{train}]\ntest: [{test}]\n"
            f"by_name: {str(name.endswith('-tune')).lower()}\n"
        )


def test_a_store_says_which_of_several_splits_is_meant(project: Path) -> None:
    book_of(project, all="toys:a,c:b", some="few:a:b", some_tune="few:a:c")
    (project / "book" / "splits" / "r.yaml").write_text(
        "name: r\ndataset: other\nrule: {seed: 1, train_fraction: 0.5}\n"
    )
    assert find_split(["a", "b", "c"], "here", "few").name == "some"
    assert find_split(["a", "b"], "here", "other").name == "r"
    # of a dataset that no split is for: by the scenes
    with pytest.warns(UserWarning, match=r"here holds .* several splits \(all, some\): all is taken\. Say"):
        assert find_split(["a", "b", "c"], "here", "unknown").name == "all"
    with pytest.raises(HsisrError, match=r"some needs a, b\. Name another"):
        find_split(["y", "z"], "here")


def test_of_several_splits_the_one_that_needs_most_scenes_is_found(project: Path) -> None:
    book_of(project, two="t:a:b", three="t:a:b,c", three_tune="t:a:b", four="t:a,d:b,e")
    with pytest.warns(
        UserWarning, match=r"\(three, two\): three is taken\. Say another with -p split="
    ) as said:
        assert find_split(["a", "b", "c"], "here").name == "three"
    assert len(said) == 1
    # the whole dataset of the paper goes first
    book_of(project, cave="cave:a:b")
    with pytest.warns(UserWarning, match="cave is taken"):
        assert find_split(["a", "b", "c", "d"], "here").name == "cave"


def test_a_split_is_written_once(project: Path) -> None:
    path = project / "mine.yaml"
    split = write_split(path, [f"s{i}" for i in range(10)], test=0.2, seed=1)
    assert load_split(path) == split
    assert (len(split.train), len(split.test), split.dataset) == (8, 2, "mine")
    assert [line.split(":")[0] for line in path.read_text().splitlines()] == [
        "name",
        "dataset",
        "train",
        "test",
    ]
    other = write_split(project / "other.yaml", [f"s{i}" for i in range(10)], test=0.2, seed=2)
    assert other.test != split.test
    with pytest.raises(HsisrError, match=r"mine.yaml: give a new file"):
        write_split(path, ["a", "b"], test=0.5, seed=1)
    with pytest.raises(
        HsisrError, match=r"--test 0.2 takes 80% of the scenes.*there are 2: one side would be empty"
    ):
        write_split(project / "two.yaml", ["a", "b"], test=0.2, seed=1)


def test_splits_for_tuning_are_never_found(project: Path) -> None:
    book_of(project, two_tune="t:a:b", three="t:a:b,c")
    with pytest.raises(HsisrError, match=r"three needs a, b, c\. Name"):
        find_split(["a", "b"], "here", "t")
    assert find_split(["a", "b", "c"], "here").name == "three"


def test_splits_that_fit_equally_well_are_refused(project: Path) -> None:
    book_of(project, one="t:a:b", two="t:b:a")
    with pytest.raises(
        HsisrError, match=r"here holds .* several splits \(one, two\)\. Say which with -p split="
    ):
        find_split(["a", "b"], "here")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["cave-25", "cave-sample", "indian-pines"])
def test_the_scenes_of_a_split_of_the_book_find_it(name: str) -> None:
    assert find_split(load_split(name).scenes, "here").name == name


@pytest.mark.filterwarnings("ignore:.*several splits")
@pytest.mark.parametrize("name", ["cave", "cave-nine"])
def test_the_scenes_of_a_split_of_the_book_find_it_among_others(name: str) -> None:
    assert find_split([*load_split(name).scenes, "watercolors"], "here").name == name


def test_a_split_is_found_by_name(project: Path) -> None:
    (project / "book" / "splits" / "toy.yaml").write_text(VALID)
    split = load_split("toy")
    assert (split.name, split.dataset, split.note) == ("toy", "toys", "made for a test")
    assert split.train == (Region("a", "a"), Region("b-top", "b", rows=(0, 4)))
    assert split.test == (Region("b", "b", rows=(4, 8), cols=(0, 3)),)
    assert split.scenes == ["a", "b"]
    assert load_split("book/splits/toy.yaml") == split


def test_an_unknown_name_lists_the_known_ones(project: Path) -> None:
    (project / "book" / "splits" / "toy.yaml").write_text(VALID)
    with pytest.raises(HsisrError, match=r"Unknown split 'toys'\. Known: toy; or"):
        load_split("toys")
    with pytest.raises(HsisrError, match=r"other\.yaml is missing, or not a regular file"):
        load_split("other.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("note:", "notes:", r"toy\.yaml: notes: Unexpected keyword argument\. Fix the file"),
        ("dataset: toys", "", "toy.yaml is not a split: it needs the keys name and dataset"),
        ("cols:", "columns:", r"test\.0\.columns: Unexpected keyword argument"),
        ("scene: b, rows: [0, 4]", "rows: [0, 4]", r"train\.1\.scene: Field required"),
        ("rows: [0, 4]", "rows: [0, 4, 8]", r"train\.1\.rows: Tuple should have at most 2 items"),
        ("rows: [0, 4]", "rows: [0.5, 4]", r"train\.1\.rows\.0: expected a valid integer"),
        ("rows: [0, 4]", "rows: [false, 4]", "expected a valid integer"),
        ("rows: [0, 4]", "rows: 4", "rows: expected a valid list"),
        ("rows: [0, 4]", "rows: [0, 5]", "b-top and test region b share pixels of scene b"),
        ("rows: [0, 4]", "cols: [0, 4]", "share pixels"),
        ("name: b-top, ", "", "two regions named 'b'"),
        ("  - a\n", "  - 31\n", r"train\.0: expected a dictionary"),
        ("  - a\n", "  - ../a\n", r"train\.0\.name: expected letters, digits, '\.', '_', '-' and spaces"),
        ("name: toy", "name: 7", "name: expected a valid string"),
        ("dataset: toys", "dataset: ../toys", "dataset: expected letters, digits"),
        (VALID[VALID.index("train") :], "train: []\ntest: [a]", "at least one region in train"),
        (VALID[VALID.index("train") :], "train: a\ntest: [b]", "train: expected a valid list"),
        (VALID, "- a\n- b\n", "is not a YAML mapping"),
        (VALID, "name: [", "not valid YAML: see line 1"),
        (VALID, "!!python/object/apply:os.getcwd []", "not valid YAML: see line 1"),
        ("name: toy", "name: t<i>y", "name: expected letters, digits"),
        ("name: toy", 'name: "t\\e[2Jy"', "not valid YAML: a control character"),
        ("note:", "note: 2001-99-99 #", "not valid YAML: a value cannot be read"),
    ],
)
def test_invalid_files_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in VALID
    (tmp_path / "toy.yaml").write_text(VALID.replace(old, new, 1))
    with pytest.raises(HsisrError, match=message):
        load_split(tmp_path / "toy.yaml")


def test_what_is_not_a_split_is_not_shown(tmp_path: Path) -> None:
    for content in (
        "password: hunter2\n",
        "root:hunter2:0\n",
        "a: {hunter2\n",
        "hunter2: [&a [hunter2], *hunter2]\n",
    ):
        (tmp_path / "secret.yaml").write_text(content)
        with pytest.raises(HsisrError) as raised:
            load_split(tmp_path / "secret.yaml")
        assert "hunter2" not in str(raised.value)
        assert "password" not in str(raised.value)


def test_a_split_of_a_size_to_hang_on_is_refused(tmp_path: Path) -> None:
    """10^10 values by aliases, more than 1 MB, a list that holds itself, and 8,000 regions, which are read."""
    path = tmp_path / "large.yaml"
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 11)
    )
    for content, message in (
        (bomb, "too many values"),
        ("#" * 10**6 + "\n", "larger than 1 MB"),
        ("a: &a [*a]", "inside its own anchor"),
        ("a: " + "[" * 5000, "cannot be read"),
    ):
        path.write_text(content)
        with pytest.raises(HsisrError, match=message):
            load_split(path)
    names = [f"s{number}" for number in range(8000)]
    path.write_text(
        f"name: a\ndataset: b\ntrain: [{', '.join(names[:4000])}]\ntest: [{', '.join(names[4000:])}]"
    )
    assert load_split(path).scenes == sorted(names)


def test_touching_regions_do_not_overlap() -> None:
    left, right = Region("l", "s", cols=(0, 4)), Region("r", "s", cols=(4, 8))
    assert not left.overlaps(right)
    assert left.overlaps(Region("x", "s", cols=(3, 8)))
    assert left.overlaps(Region("all", "s"))
    assert not left.overlaps(Region("all", "other"))


def test_a_region_outside_its_scene_is_refused() -> None:
    assert Region("r", "s", rows=(2, 6)).bounds(6, 9) == ((2, 6), (0, 9))
    with pytest.raises(HsisrError, match=r"Rows of region r in scene s of 5x9 pixels: 2 to 6"):
        Region("r", "s", rows=(2, 6)).bounds(5, 9)
    with pytest.raises(HsisrError, match="Columns of region r"):
        Region("r", "s", cols=(2, 10)).bounds(5, 9)


def test_the_only_split_that_fits_is_found(project: Path) -> None:
    (project / "book" / "splits" / "toy.yaml").write_text(VALID)
    book_of(project, other="o:a:c")
    assert find_split(["a", "b", "z"], "here").name == "toy"
    with pytest.raises(
        HsisrError, match=r"scenes in here \(b\): other needs a, c; toy needs a, b\..* split="
    ):
        find_split(["b"], "here")


# published height, width and bands, and how the files are read; the coordinates of the splits are divided by 8
REMOTE: dict[str, tuple[tuple[int, int, int], str, dict[str, Any]]] = {
    "pavia-centre": ((1096, 715, 102), "Pavia.mat", {"key": "pavia", "divisor": 8000.0}),
    "pavia-university": ((610, 340, 103), "PaviaU.mat", {"key": "paviaU", "divisor": 8000.0}),
    "chikusei": ((2517, 2335, 128), "HyperspecVNIR_Chikusei_20140729.mat", {}),
    "houston-2018": ((1202, 4172, 50), "20170218_UH_CASI_S4_NAD83.hdr", {"bands": tuple(range(48))}),
    "dc-mall": ((1280, 307, 191), "dc.tif", {}),
}


def save_in_its_layout(name: str, path: Path, cube: np.ndarray) -> None:
    if name == "chikusei":
        with h5py.File(path, "w") as file:
            file["chikusei"] = cube.T
    elif path.suffix == ".mat":
        scipy.io.savemat(path, {"pavia" if name == "pavia-centre" else "paviaU": cube})
    elif path.suffix == ".hdr":
        spectral.io.envi.save_image(str(path), cube, ext=".pix", interleave="bsq")
    else:
        tifffile.imwrite(path, cube.transpose(2, 0, 1).astype(np.int16), photometric="minisblack")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in ("chikusei", "dc-mall"))) for name in REMOTE],
)
def test_remote_sensing_scenes_are_read_and_split(name: str, tmp_path: Path) -> None:
    (height, width, bands), file, reading = REMOTE[name]
    split = load_split(SPLITS / f"{name}.yaml")
    regions: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for side in regions:
        for region in getattr(split, side):
            (top, bottom), (left, right) = region.bounds(height, width)
            if side == "test":
                assert (bottom - top) % 8 == (right - left) % 8 == 0
            small = {"rows": [-(-top // 8), bottom // 8], "cols": [-(-left // 8), right // 8]}
            regions[side].append({"name": region.name, "scene": region.scene, **small})
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({"name": name, "dataset": name, **regions}))
    cube = np.random.default_rng(0).integers(1, 8000, (height // 8, width // 8, bands), dtype=np.uint16)
    save_in_its_layout(name, tmp_path / file, cube)
    dataset = load_dataset(tmp_path / file, tmp_path / "small.yaml", **reading)
    assert dataset.bands == (48 if name == "houston-2018" else bands)
    scene, place = dataset.scene(dataset.test[-1]), regions["test"][-1]
    expected = cube[slice(*place["rows"]), slice(*place["cols"]), : dataset.bands].transpose(2, 0, 1)
    np.testing.assert_allclose(scene.cube * scene.divisor, expected, rtol=1e-5)
    with pytest.raises(HsisrError, match=r"No split in book/splits fits.* -p split="):
        load_dataset(tmp_path / file, **reading)

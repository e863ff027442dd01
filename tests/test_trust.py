"""When an answer is believed: calibration, thresholds, comparisons, mistakes, and pictures that are no digits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from training import trained

import digitlib as d
from digitlib.cli import main
from digitlib.evaluation.out_of_distribution import (
    KINDS,
    LETTERS,
    LIKE_DIGITS,
    default_font,
    matplotlib_font,
    to_mnist_form,
    write_glyph,
)
from digitlib.training.backend import keras

mpl.use("agg")


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of 4,000 answers that are exactly as sure as they should be, and the true classes."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(4000, 5)) * 2
    probabilities = d.apply_temperature(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), 1.0)
    labels = np.array([random.choice(5, p=row) for row in probabilities])
    return probabilities, labels


@pytest.mark.parametrize("n", [2, 50, 3000])
def test_limits_decline_no_more_of_the_validation_images_than_they_should(n: int) -> None:
    from digitlib.evaluation.out_of_distribution import UNFAMILIAR, fit_outlier_detector, with_limits

    random = np.random.default_rng(0)
    known, drawn, other = (random.normal(at, 1, (200, 6)).astype(np.float32) for at in (0, 0, 3))
    learned = fit_outlier_detector(known, np.arange(200) % 2, drawn, other, 2, seed=0)
    new, predicted = random.normal(0, 1, (n, 6)).astype(np.float32), np.arange(n) % 2
    declined = (~with_limits(learned, new, predicted).familiar(new, predicted)).sum()
    assert declined <= 2 * UNFAMILIAR * n
    assert declined > 0 or n * UNFAMILIAR < 1


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found_again(answers, temperature: float) -> None:
    probabilities, labels = answers
    spoilt = d.apply_temperature(probabilities, temperature)
    found = d.fit_temperature(spoilt, labels)
    assert found == pytest.approx(1 / temperature, rel=0.05)
    mended = d.apply_temperature(spoilt, found)
    assert (mended.argmax(axis=1) == spoilt.argmax(axis=1)).all()
    np.testing.assert_allclose(mended.sum(axis=1), 1)
    right = mended.argmax(axis=1) == labels
    assert d.expected_calibration_error(mended.max(axis=1), right) < 0.02
    if temperature != 1:
        assert d.expected_calibration_error(spoilt.max(axis=1), right) > 0.05


def test_probabilities_of_zero_and_one_stay_numbers() -> None:
    sure = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    assert np.isfinite(d.apply_temperature(sure, 0.1)).all()
    assert np.isfinite(d.fit_temperature(sure, np.array([0, 0])))


@pytest.mark.parametrize("n", [30, 3000])
def test_answers_that_are_all_right_make_no_network_infinitely_sure(n: int) -> None:
    random = np.random.default_rng(0)
    right = random.uniform(0.8, 0.99, n)
    probabilities = np.stack([right, 1 - right], axis=1)
    few, many = 0.3, 0.1  # the more images, the surer one may be
    assert d.fit_temperature(probabilities, np.zeros(n, int)) > (few if n == 30 else many)


def test_calibration_error_by_hand() -> None:
    confidence, correct = np.array([0.95, 0.95, 0.65, 0.65]), np.array([True, True, True, False])
    assert d.expected_calibration_error(confidence, correct, 10) == pytest.approx((0.05 + 0.15) / 2)
    table = d.calibration_table(confidence, correct, 10)
    assert table["images"].tolist() == [2, 2]
    assert (table["low"] < table["confidence"]).all()
    assert (table["confidence"] <= table["high"]).all()
    assert d.calibration_table(np.array([0.0, 1.0]), np.array([True, True]))["images"].sum() == 2


def test_nothing_has_no_calibration_error() -> None:
    with pytest.raises(d.DigitError, match="can't be measured without images"):
        d.expected_calibration_error(np.array([]), np.array([], bool))


def test_the_threshold_is_the_lowest_that_is_accurate_enough() -> None:
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    correct = np.array([True, True, False, True, True])
    assert d.threshold_for(score, correct, 0.99) == 0.8
    assert d.threshold_for(score, correct, 0.8) == 0.5
    table = d.risk_coverage(score, correct)
    assert table["wrong"].tolist() == [0, 0, 1, 1, 1]
    assert table["coverage"].tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_equal_scores_are_answered_together() -> None:
    score, correct = np.array([0.9, 0.5, 0.5, 0.5]), np.array([True, True, False, True])
    assert d.risk_coverage(score, correct)["answered"].tolist() == [1, 4]
    assert d.threshold_for(score, correct, 0.9) == 0.9


def test_what_is_declined_of_each_kind_is_counted_beside_what_confidence_declines_at_equal_cost() -> None:
    letters = pd.DataFrame(
        {
            "answered": [True, False, False, False],
            "familiar": [True, True, False, False],
            "raw_confidence": [0.99, 0.95, 0.5, 0.9],
        }
    )
    digits = pd.DataFrame(
        {"answered": [True, True, True, False], "familiar": True, "raw_confidence": [0.99, 0.98, 0.96, 0.5]}
    )
    table = d.rejection_table({"letters": letters, "test images": digits})
    assert table.loc["letters"].tolist() == [4, 0.75, 0.5, 0.25]
    assert table.loc["test images"].tolist() == [4, 0.25, 0, 0.25]
    with pytest.raises(d.DigitError, match="no 'test images' were judged"):
        d.rejection_table({"letters": letters})


def test_nothing_is_answered_if_even_the_surest_answer_is_wrong() -> None:
    score = np.array([0.9, 0.8])
    assert d.threshold_for(score, np.array([False, True]), 0.9) > 0.9


@pytest.mark.parametrize("wanted", [0, 1, 99.9, "much", -0.5])
def test_a_wanted_accuracy_that_is_no_share_is_refused(wanted) -> None:
    with pytest.raises(d.DigitError, match="wanted_accuracy"):
        d.threshold_for(np.ones(2), np.ones(2, bool), wanted)


def test_mcnemar_by_hand_and_on_unequal_lengths() -> None:
    first = np.array([True] * 9 + [False] * 3 + [True] * 10)
    second = np.array([False] * 9 + [True] * 3 + [True] * 10)
    found = d.mcnemar(first, second)
    assert (found["only_first"], found["only_second"], found["both"], found["neither"]) == (9, 3, 10, 0)
    # 2 * (C(12,0) + C(12,1) + C(12,2) + C(12,3)) / 2**12
    assert found["p_value"] == pytest.approx(2 * 299 / 4096)
    assert d.mcnemar(first, first)["p_value"] == 1
    with pytest.raises(d.DigitError, match="same images"):
        d.mcnemar(first, second[:5])


def test_spread_of_seeds() -> None:
    found = d.spread([0.98, 0.99, 1.0])
    assert (found["mean"], found["sd"]) == pytest.approx((0.99, 0.01))
    # t(0.975, 2 degrees of freedom) = 4.303
    assert found["mean_high"] == pytest.approx(0.99 + 4.303 * 0.01 / 3**0.5, abs=1e-5)
    with pytest.raises(d.DigitError, match="seeds"):
        d.spread([0.98])


def test_choosing_and_reporting_on_the_same_images_leaks() -> None:
    # Twenty epochs that are all equally good: whatever the best seems to be better by is chance.
    correct = np.random.default_rng(0).random((20, 2000)) < 0.95
    table = d.choose_and_report(correct, 300)
    assert table["leak"].mean() > 0.005
    assert table["fresh"].mean() == pytest.approx(correct.mean(), abs=0.004)


def predictions() -> pd.DataFrame:
    rows = [
        ("a", "3", "5", 0.9),
        ("b", "3", "5", 0.7),
        ("c", "5", "3", 0.8),
        ("d", "1", "7", 0.6),
        ("e", "1", "1", 0.99),
    ]
    table = pd.DataFrame(rows, columns=["filename", "true", "predicted", "confidence"])
    return table.assign(correct=table["true"] == table["predicted"])


def test_confused_pairs_count_both_directions() -> None:
    pairs = d.most_confused(predictions(), 1)
    assert pairs.iloc[0].tolist() == ["3", "5", 2, 1, 3]
    assert d.mistaken_for(predictions(), "3", "5")["filename"].tolist() == ["a", "b"]
    assert d.most_confused(predictions()[4:]).empty
    assert d.accuracy_by_confidence(predictions(), 5)["wrong"].tolist() == [1, 1, 1, 1, 0]


def test_intervals_of_each_class_hold_their_shares() -> None:
    table = d.classification_report(predictions(), ["1", "3", "5", "7"]).set_index("class")
    assert table.loc["1", ["precision", "recall"]].tolist() == [1, 0.5]
    assert table.loc["1", "f1"] == pytest.approx(2 / 3)
    for name in ("precision", "recall", "f1"):
        assert (table[f"{name}_low"] <= table[name] + 1e-12).all()
        assert (table[name] <= table[f"{name}_high"] + 1e-12).all()
    # J = 1 of 2, Wilson 0.0945 to 0.9055, F1 = 2J / (1 + J)
    assert table.loc["1", "f1_low"] == pytest.approx(2 * 0.09453 / 1.09453, abs=1e-4)
    assert table.loc["7", ["recall_low", "recall_high"]].tolist() == [0, 1]


@pytest.mark.parametrize("kind", list(KINDS))
def test_unknowns_depend_on_their_seed_alone(kind: str) -> None:
    pictures = d.make_ood_images(kind, 6, 3)
    assert (pictures.shape, pictures.dtype) == ((6, 28, 28, 1), np.uint8)
    assert (pictures == d.make_ood_images(kind, 6, 3)).all()
    assert (pictures != d.make_ood_images(kind, 6, 4)).any()


def test_unknown_kinds_and_numbers_are_refused() -> None:
    with pytest.raises(d.DigitError, match="letters"):
        d.make_ood_images("letter", 3)
    with pytest.raises(d.DigitError, match="n is 0"):
        d.make_ood_images("noise", 0)


def test_the_alphabet_is_either_drawn_or_named_as_left_out() -> None:
    both = LETTERS + LIKE_DIGITS
    assert sorted(both) == sorted("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def test_other_scripts_hold_no_letter_and_no_digit_and_the_font_has_them_all() -> None:
    from digitlib.evaluation.selective import OTHER_SCRIPTS

    assert not set(OTHER_SCRIPTS) & set(LETTERS + LIKE_DIGITS + "0123456789")
    font = matplotlib_font()
    missing = font.getmask("\uffff").getbbox(), bytes(font.getmask("\uffff"))
    assert not [
        one for one in OTHER_SCRIPTS if (font.getmask(one).getbbox(), bytes(font.getmask(one))) == missing
    ]


def test_drawings_have_mnists_form() -> None:
    drawn = write_glyph("K", default_font(), np.random.default_rng(1))
    rows, columns = np.nonzero(drawn > 20)
    assert 17 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 21
    mass = [(drawn.sum(axis=axis) * np.arange(28)).sum() / drawn.sum() for axis in (0, 1)]
    assert mass == pytest.approx([13.5, 13.5], abs=1)
    assert not to_mnist_form(np.zeros((50, 50))).any()


@pytest.fixture(scope="module")
def run(sample: Path, tmp_path_factory: pytest.TempPathFactory):
    """Return a small trained run, and its recipe and network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIGITLIB_ROOT", str(tmp_path_factory.mktemp("trusted")))
        run, recipe = trained(sample, "runs/a", d.get_recipe("tiny", epochs=4))
        d.save_trust(run, d.fit_trust(run, recipe, d.load_best_model(run), 0.99))
        yield run


@pytest.mark.slow
def test_what_is_no_digit_is_declined_and_digits_are_not(run) -> None:
    recipe, judge = d.load_recipe(run), d.open_judge(run)
    declined = {
        kind: 1 - judge(d.as_batches(d.make_ood_images(kind, 100, 5), recipe))["answered"].mean()
        for kind in KINDS
    }
    # The smallest network, with few validation images: the recipes for use decline more, see benchmarks/trust.py.
    assert min(declined["noise"], declined["photos"]) > 0.9, declined
    assert declined["blanks"] > 0.6, declined
    assert declined["letters"] > 0.4, declined
    test = judge.part(run, recipe, "test")
    assert test["answered"].mean() > 0.6
    assert test.loc[test["answered"], "correct"].mean() > test["correct"].mean()
    plain = d.predict_generator(d.load_best_model(run), d.eval_generator(run, recipe, "test"))
    assert test["predicted"].tolist() == plain["predicted"].tolist()
    assert (test.loc[~test["familiar"], "score"] == 0).all()
    assert sorted(path.name for path in run.folder.glob("trust.*")) == ["trust.json", "trust.npz"]


@pytest.mark.slow
def test_what_is_no_digit_is_declined_however_little_is_wanted(run) -> None:
    recipe, model = d.load_recipe(run), d.load_best_model(run)
    trust = d.fit_trust(run, recipe, model, 0.5)
    assert trust.threshold > 0.1
    judge = d.Judge(trust, model, d.class_names_of(run))
    for kind in ("noise", "photos"):
        table = judge(d.as_batches(d.make_ood_images(kind, 100, 5), recipe))
        assert table["answered"].mean() < 0.1
        assert not (table["answered"] & ~table["familiar"]).any()


@pytest.mark.slow
def test_predictions_tell_which_answers_to_believe(run, sample: Path, tmp_path: Path) -> None:
    judge, scans = d.open_judge(run), tmp_path / "scans"
    scans.mkdir()
    for number, picture in enumerate(d.make_ood_images("blanks", 6, 5)):
        Image.fromarray(picture.reshape(28, 28)).save(scans / f"blank_{number}.png")
    for path in sorted((sample / "testSet").iterdir())[:40]:
        shutil.copy(path, scans)
    (scans / "z.png").write_text("no picture")
    folder, names = d.find_inputs(scans)
    named = d.predict_files(*d.open_model(run.folder), folder, names, judge.trust)
    pixels = np.stack([np.array(Image.open(scans / name)) for name in names[:-1]])[..., None]
    said = judge(d.as_batches(pixels, d.load_recipe(run)))
    assert named["answered"].tolist() == [*said["answered"], False]
    assert named["label"].tolist() == [*said["predicted"], ""]
    np.testing.assert_allclose(named["confidence"][:-1], said["confidence"], atol=1e-5)
    assert named["answered"].nunique() == 2
    plain = d.predict_files(*d.open_model(run.folder), folder, names)
    assert "answered" not in plain
    assert plain["label"].tolist() == named["label"].tolist()
    declined = int((~said["answered"]).sum())
    for out, read in (("named.csv", pd.read_csv), ("named.parquet/", pd.read_parquet)):
        told = CliRunner().invoke(
            main, ["predict", str(run.folder), str(scans), "--out", f"{tmp_path}/{out}", "--trust"]
        )
        assert told.exit_code == 0, told.output
        assert (
            f"47 images, 1 of them unreadable (see the column reason), {declined} not to be trusted"
            in told.output
        )
        table = read(tmp_path / out)
        assert list(table)[:5] == ["filename", "label", "confidence", "reason", "answered"]
        assert table["answered"].tolist() == named["answered"].tolist()
        np.testing.assert_allclose(table["confidence"], named["confidence"], atol=1e-5)
    with pytest.raises(d.DigitError, match="holds the parts of another --trust"):
        d.predict_in_parts(run.folder, scans, tmp_path / "named.parquet")


@pytest.mark.slow
def test_trust_of_another_network_or_damaged_is_refused(run, tmp_path: Path) -> None:
    copy = d.open_run(tmp_path / "b")
    copy.folder.mkdir()
    for name in ("trust.json", "trust.npz", "best_model.keras"):
        (copy / name).write_bytes((run / name).read_bytes())
    assert d.load_trust(copy).threshold == json.loads((run / "trust.json").read_text())["threshold"]
    (copy / "trust.npz").write_bytes((run / "trust.npz").read_bytes()[:3000])
    with pytest.raises(d.DigitError, match="damaged"):
        d.load_trust(copy)
    (copy / "best_model.keras").write_bytes(b"another")
    with pytest.raises(d.DigitError, match="another network"):
        d.load_trust(copy)
    with pytest.raises(d.DigitError, match="another network"):
        d.predict_in_parts(copy.folder, tmp_path, tmp_path / "parts", trust=True)
    assert not (tmp_path / "parts").exists()
    (copy / "trust.json").unlink()
    with pytest.raises(d.DigitError, match="06_evaluation"):
        d.load_trust(copy)


@pytest.mark.slow
def test_maps_point_to_the_ink(run) -> None:
    recipe, model = d.load_recipe(run), d.load_best_model(run)
    test = d.eval_generator(run, recipe, "test")
    pictures = test.vary(test.originals(np.arange(0, 900, 90)), 0)
    for maps in (d.grad_cam(model, pictures), d.occlusion(model, pictures)):
        assert maps.shape == (10, 28, 28)
        assert maps.min() >= 0
        assert maps.max() == pytest.approx(1)
    twice = d.join_networks([model, model], (28, 28, 1))  # an ensemble of one mind sees what the one saw
    np.testing.assert_allclose(d.grad_cam(twice, pictures), d.grad_cam(model, pictures), atol=1e-4)
    # Where there is no ink, covering takes nothing away.
    ink = np.array([np.average(pictures[..., 0][i], weights=maps[i] + 1e-9) for i in range(10)])
    assert (ink > pictures.mean(axis=(1, 2, 3))).all()


def test_one_seed_is_refused_before_it_is_trained(run) -> None:
    with pytest.raises(d.DigitError, match="give more seeds"):
        d.train_seeds(run, "tiny", range(1), 10**6)


@pytest.mark.slow
def test_seeds_are_trained_without_touching_the_run(run) -> None:
    before = sorted((path.name, path.stat().st_mtime_ns) for path in run.folder.iterdir())
    trials = d.train_seeds(run, "tiny", [1, 2], 2)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in run.folder.iterdir()) == before
    assert trials[0].correct.shape == (2, 900)
    table = d.choices_table(trials)
    assert (table["difference"] >= 0).all()
    assert table["chosen_on_validation"].min() > 0.8


def test_pictures_are_drawn_from_their_tables() -> None:
    counts = pd.DataFrame([[9, 1], [0, 10]], index=["a", "b"], columns=["a", "b"])
    assert {text.get_text() for text in d.plot_confusion_shares(counts).texts} == {"10.0", "90.0", "100.0"}
    axes = d.plot_risk_coverage({"x": d.risk_coverage(np.array([0.9, 0.4]), np.array([True, False]))}, 0.5)
    assert list(axes.lines[-1].get_xdata()) == [0.5]
    assert len(d.plot_per_class(d.classification_report(predictions(), ["1", "3", "5", "7"])).containers) == 3
    table = d.calibration_table(np.array([0.9, 0.5]), np.array([True, False]))
    assert [text.get_text() for text in d.plot_reliability({"x": table}).figure.legends[0].texts][1:] == ["x"]
    bars = d.plot_accuracy_by_confidence(d.accuracy_by_confidence(predictions(), 5)).patches
    assert sum(bar.get_height() for bar in bars) == 4


def test_occlusion_reaches_every_pixel_and_covers_with_the_ground() -> None:
    """The network answers by one pixel in the last corner; the picture is dark ink on light paper."""
    corner = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Cropping2D(((27, 0), (27, 0))),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    corner.layers[-1].set_weights([np.array([[-9.0, 9.0]]), np.array([4.0, -4.0])])
    image = np.ones((1, 28, 28, 1), np.float32)
    image[0, 20:, 20:] = 0
    heat = d.occlusion(corner, image)[0]
    assert heat[27, 27] == 1
    assert heat[:20, :20].max() == 0

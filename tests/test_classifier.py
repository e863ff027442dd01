"""`Classifier`: inputs are checked, never guessed wrong, and any Keras model goes through everything."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from digitlib.data import prepare
from digitlib.data.decoding import enlarged
from digitlib.errors import DigitError
from digitlib.evaluation import Classifier, cross_validate, out_of_distribution
from digitlib.run import Run
from digitlib.training import ImageBatches, callbacks_for, generator_from_split, get_recipe
from digitlib.training.backend import keras, tensorflow

layers = keras.layers
DIGITS = [str(digit) for digit in range(10)]


def mlp(image_shape: tuple[int, int, int] = (28, 28, 1), n_classes: int = 10) -> keras.Model:
    flat = [keras.Input(image_shape), layers.Rescaling(1 / 255), layers.Flatten()]
    end = [layers.Dense(64, activation="relu"), layers.Dense(n_classes, activation="softmax")]
    return keras.Sequential([*flat, *end], name="mlp")


def mnist_convnet(rescaling: bool) -> keras.Model:
    """Return the network of keras.io's mnist_convnet, with its own Rescaling or for pixels of 0 to 1."""
    first = [keras.Input((28, 28, 1)), *([layers.Rescaling(1 / 255)] if rescaling else [])]
    convolutions = [
        layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2),
    ]  # fmt: skip
    end = [layers.Flatten(), layers.Dropout(0.5), layers.Dense(10, activation="softmax")]
    return keras.Sequential([*first, *convolutions, *end], name="mnist_convnet")


def mobilenet() -> keras.Model:
    backbone = keras.applications.MobileNetV3Small((32, 32, 3), weights=None, include_top=False, pooling="avg")
    return keras.Sequential([keras.Input((32, 32, 3)), backbone, layers.Dense(3, "softmax")], name="mobilenet")


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.flat, self.end = layers.Flatten(), layers.Dense(10, activation="softmax")

    def call(self, images):
        return self.end(self.flat(images / 255))


@pytest.fixture(scope="module")
def data(sample: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return 600 shuffled images of the sample, uint8, and their classes."""
    files = np.random.default_rng(0).permutation(sorted((sample / "trainingSet").glob("*/*.png")))[:600]
    return np.stack([np.asarray(Image.open(path)) for path in files]), np.array([int(one.parent.name) for one in files])


@pytest.fixture(scope="module")
def clf(run: Run) -> Classifier:
    return Classifier.load(run)


@pytest.mark.slow
def test_every_kind_of_input_gives_the_same_labels(clf: Classifier, sample: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    shutil.copytree(sample / "testSet", folder)
    for path in sorted(folder.iterdir())[500:]:
        path.unlink()
    expected = clf.predict(folder)
    assert len(expected) == 500
    paths = [folder / name for name in expected["filename"]]
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    (tmp_path / "list.txt").write_text("\n".join(f"scans/{path.name}" for path in paths))
    archive = shutil.make_archive(str(tmp_path / "scans"), "zip", folder)
    sources = {
        "uint8": pixels, "channels": pixels[..., None], "rgb": np.repeat(pixels[..., None], 3, axis=3),
        "float64": pixels / 255, "float32": (pixels / 255).astype(np.float32), "paths": paths,
        "PIL": [Image.open(path) for path in paths], "pattern": f"{folder}/*.png", "list": tmp_path / "list.txt",
        "zip": archive,
    }  # fmt: skip
    for name, source in sources.items():
        found = clf.predict(source)
        assert found["label"].tolist() == expected["label"].tolist(), name
        np.testing.assert_allclose(found["confidence"], expected["confidence"], atol=1e-6)
    raw = clf.model.predict(pixels[..., None], verbose=0)  # the saved network itself takes pixels as stored
    np.testing.assert_allclose(raw, clf.predict_proba(pixels), atol=1e-6)
    assert clf.predict(pixels[0])["label"].item() == expected["label"][0]
    assert clf.predict(pixels)["filename"].tolist()[:3] == ["0", "1", "2"]
    assert clf.predict(str(paths[7]))["label"].item() == expected["label"][7]


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.full((2, 28, 28), 255.0), "between 0 and 1, these go from 0 to 255"),
        (np.full((2, 28, 28), -0.1), "between 0 and 1"),
        (np.full((2, 28, 28), np.nan), "between 0 and 1, these go from nan"),
        (np.zeros((2, 28, 28), int), "dtype int64 can't be read"),
        (np.zeros((2, 28, 28, 4), np.uint8), r"shape \(2, 28, 28, 4\)"),
        (np.zeros(28, np.uint8), r"shape \(28,\)"),
        ([np.zeros((2, 2), np.uint8), np.zeros((3, 3), np.uint8)], "one array of equal sizes"),
        ("nowhere/*.png", "no file matches"),
        ("nowhere", "doesn't exist"),
    ],
)
def test_what_can_not_be_read_is_refused(images: object, said: str) -> None:
    with pytest.raises(DigitError, match=said):
        Classifier(mlp(), DIGITS).predict(images)


def test_files_that_can_not_be_read_are_rows_with_a_reason(tmp_path: Path) -> None:
    clf = Classifier(mlp(), DIGITS)
    (tmp_path / "a.png").write_text("not an image")
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "b.png")
    table = clf.predict(tmp_path)
    assert table["label"].tolist()[0] == ""
    assert table["reason"].tolist() == ["not an image", ""]
    assert list(table) == [
        "filename", "label", "confidence", "reason", "label_2", "confidence_2", "label_3", "confidence_3",
    ]  # fmt: skip
    shares = clf.predict_proba([tmp_path / "b.png", tmp_path / "gone.png"])
    assert np.isnan(shares[1]).all()
    assert shares[0].sum() == pytest.approx(1)
    assert clf.predict(np.zeros((0, 28, 28), np.uint8)).empty
    two = Classifier(mlp(n_classes=2), ["a", "b"]).predict(tmp_path / "b.png").iloc[0]
    assert (two["label_3"], str(two["confidence_3"])) == ("", "nan")


def test_an_image_is_predicted_the_same_alone_and_among_others(tmp_path: Path) -> None:
    clf = Classifier(mlp((16, 64, 1)), DIGITS)
    random = np.random.default_rng(0)
    sides = [(60, 60), (50, 40), (16, 64), (10, 12), (200, 30)]
    images = [Image.fromarray(random.integers(0, 256, (*side, 3), np.uint8)) for side in sides]
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number}.png")
    together = clf.predict(tmp_path)["confidence"]
    for number, image in enumerate(images):
        for alone in (image, np.asarray(image), tmp_path / f"{number}.png"):
            assert clf.predict(alone)["confidence"].item() == pytest.approx(together[number], abs=1e-6)


@pytest.mark.parametrize("size", [(20, 20), (28, 14), (27, 28), (1, 5), (1, 1)])
def test_small_images_are_enlarged_as_in_training(size: tuple[int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, *size, 3), np.uint8)
    trained_on = ImageBatches.from_array(images, image_size=(28, 28))[0][0]
    np.testing.assert_allclose(enlarged(images, (28, 28)), trained_on, atol=1e-3)


def test_models_that_are_no_classifier_of_these_classes_are_refused() -> None:
    flat = keras.Sequential([keras.Input((784,)), layers.Dense(10, activation="softmax")])
    logits = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(10)])
    for model, said in (
        (flat, "must be .None, height, width"),
        (logits, "not probabilities"),
        (mlp(), "9 class names"),
    ):
        with pytest.raises(DigitError, match=said):
            Classifier(model, DIGITS if model is not None and said != "9 class names" else DIGITS[:9])


def test_generators_and_data_sets_are_evaluated_in_either_range(data) -> None:
    images, labels = data[0][:300], data[1][:300]
    model = mlp()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    clf = Classifier(model, DIGITS)
    plain = clf.evaluate((images, labels))
    loss, accuracy = model.evaluate(images[..., None], labels, verbose=0)
    assert (plain.metrics["accuracy"], plain.metrics["loss"]) == pytest.approx((accuracy, loss), abs=1e-5)
    named = np.array(DIGITS)[labels]
    batches = ImageBatches.from_array(images, labels, DIGITS)
    small = tensorflow.data.Dataset.from_tensor_slices((images[..., None] / 255, np.eye(10)[labels])).batch(64)
    for given in ((images / 255, named), batches, small):
        found = clf.evaluate(given)
        assert found.metrics["accuracy"] == plain.metrics["accuracy"]
        assert found.predictions["predicted"].tolist() == plain.predictions["predicted"].tolist()
    np.testing.assert_allclose(clf.predict_proba(batches), clf.predict_proba(images), atol=1e-6)
    for given, said in (
        (ImageBatches.from_array(images, labels, DIGITS, shuffle=True), "shuffles"),
        (ImageBatches.from_array(images, labels, DIGITS[::-1]), "classes are"),
        (ImageBatches.from_array(images, labels, DIGITS, rescale=2.0), "values from 0 to 510"),
        ((images, labels[1:]), "300 images and 299 labels"),
        ((images, labels + 1), "labels must be"),
        (small.map(lambda x, y: x), "labels must be"),
        ("test", "has no run"),
        (images, "labelled images must be"),
    ):
        with pytest.raises(DigitError, match=said):
            clf.evaluate(given)


NETWORKS = {
    "mlp": (mlp, 1.0),
    "convnet for 0 to 1": (lambda: mnist_convnet(False), 1 / 255),
    "convnet with Rescaling": (lambda: mnist_convnet(True), 1.0),
    "MobileNetV3Small": (mobilenet, 1.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_any_network_goes_through_everything(name: str, data, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out_of_distribution, "DRAWN", 100)
    monkeypatch.setattr(out_of_distribution, "OTHER", 100)
    build, rescale = NETWORKS[name]
    (images, labels), classes, nested = data, DIGITS, name == "MobileNetV3Small"
    if nested:
        images, labels, classes = images[labels < 3], labels[labels < 3], ["cat", "dog", "horse"]
        images = np.stack([np.asarray(Image.fromarray(one).resize((32, 32)).convert("RGB")) for one in images])
    model = build()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    train, validation, test = ((images[at::3], labels[at::3]) for at in range(3))
    inputs = train[0] if nested else train[0][..., None]
    model.fit(inputs * rescale, train[1], epochs=1 if nested else 12, batch_size=16, verbose=0)
    clf = Classifier(model, classes, rescale=rescale)
    assert clf.predict(test[0])["label"].isin(classes).all()
    assert clf.predict_proba(test[0]).shape == (len(test[0]), len(classes))
    before = clf.evaluate(test)
    assert before.metrics["accuracy_low"] < before.metrics["accuracy"] < before.metrics["accuracy_high"]
    assert before.metrics["accuracy"] > 0.6 or nested
    clf.calibrate(validation, 0.8, train=train)
    after = clf.evaluate(test)
    assert after.metrics["accuracy"] == before.metrics["accuracy"]
    assert clf.selective is not None
    assert clf.selective.outliers is not None
    assert list(clf.predict(test[0][:3]))[4] == "accepted"
    heat = clf.explain(test[0][0])
    assert (heat.shape, heat.min() >= 0, heat.max() <= 1) == (clf.image_size, True, True)
    again = Classifier.load(clf.save("saved"))
    pd.testing.assert_frame_equal(again.predict(test[0][:50]), clf.predict(test[0][:50]))
    for form in ("onnx", "litert"):
        assert again.export(form, "exported").stat().st_size > 10_000
    if nested:
        with pytest.raises(DigitError, match="the page can't compute"):
            again.export("html", "exported")
    else:
        assert again.export("html", "exported").read_text().startswith("<!doctype html>")
    card = again.model_card()
    assert ("digit" in card.replace("digitlib", "").lower()) == (classes == DIGITS)
    assert "ecipe" not in card
    assert model.name in card


@pytest.mark.slow
def test_a_network_that_was_trained_on_rescaled_pixels_gets_them_again(digits: Path) -> None:
    run = prepare(digits, "runs/own", mode="none")
    train, validation = (generator_from_split(run, name, rescale=1 / 255) for name in ("train", "validation"))
    model = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(10, activation="softmax")])
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.fit(train, validation_data=validation, callbacks=callbacks_for(run, train), verbose=0)
    images = generator_from_split(run, "test", shuffle=False)[0][0]
    expected = keras.models.load_model(run / "best_model.keras").predict(images / 255, verbose=0)
    clf = Classifier.load(run)
    copy = clf.save("runs/copy")  # its network has the Rescaling in it
    for loaded in (clf, Classifier.load(copy), Classifier.load(Classifier.load(copy).save("runs/copy of it"))):
        np.testing.assert_allclose(loaded.predict_proba(images.astype(np.uint8)), expected, atol=1e-5)


def test_without_features_abstention_goes_by_confidence_alone(data, root: Path) -> None:
    model = Subclassed()
    model.build((None, 28, 28, 1))
    images, labels = data[0][:200], data[1][:200]
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(images[..., None], labels, verbose=0)
    with pytest.raises(DigitError, match="takes inputs of shape"):
        Classifier(model, DIGITS)
    image = keras.Input((28, 28, 1))
    clf = Classifier(keras.Model(image, model(image)), DIGITS)
    with pytest.warns(UserWarning, match="the model abstains by confidence alone"):
        clf.calibrate((images, labels), 0.5)
    assert clf.selective is not None
    assert clf.selective.outliers is None
    assert clf.judge(images)["in_distribution"].all()
    with pytest.raises(DigitError, match="occlusion"):
        clf.explain(images[0], "grad_cam")
    assert clf.explain(images[0]).max() == 1


@pytest.mark.slow
def test_an_own_network_is_cross_validated(digits: Path) -> None:
    run = prepare(digits, "runs/own", mode="none")
    recipe = get_recipe("tiny", model="test_classifier:mlp", epochs=2)
    done = cross_validate(run, recipe, folds=2, repeats=1)
    assert done.probabilities.shape == (400, 10)


def test_a_model_file_needs_class_names(root: Path) -> None:
    model = mlp()
    model.save(root / "own.keras")
    with pytest.raises(DigitError, match="class names of own"):
        Classifier.load(root / "own.keras")
    assert Classifier.load("own.keras", DIGITS).class_names == DIGITS
    (root / "best_model.keras").write_bytes((root / "own.keras").read_bytes()[:3000])
    for name, said in (
        ("best_model.keras", "can't be loaded"),
        ("own.h5", "doesn't exist"),
        ("nothing", "doesn't exist"),
    ):
        with pytest.raises(DigitError, match=said):
            Classifier.load(root / name, DIGITS)
    (root / "own.h5").write_text("")
    with pytest.raises(DigitError, match=r"is not a \.keras file"):
        Classifier.load("own.h5", DIGITS)

"""Batches: the same pixels as Keras's own generator, whatever the timing; decoded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from keras import layers
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from PIL import Image

import digitlib as d
from digitlib.data import decoding
from digitlib.data.split import read_split
from digitlib.training import generator_from_split
from digitlib.training.augmentation import (
    FILL_MODES,
    PARAMETERS,
    Augmentation,
    affine_maps,
    resample,
    sample_parameters,
    scale_parameters,
)
from digitlib.training.recipes import CLASSIC_AUGMENTATION


@pytest.fixture
def run(digits: Path) -> d.Run:
    return d.prepare(digits, "runs/a", mode="none")


@pytest.fixture
def images(run: d.Run) -> np.ndarray:
    """Return 32 real digits, uint8."""
    return generator_from_split(run, "train").originals(np.arange(0, 280, 9))


@pytest.mark.parametrize("fill_mode", FILL_MODES)
@pytest.mark.parametrize("alone", [None, "theta", "tx", "ty", "shear", "zx", "zy", "flip_horizontal"])
def test_the_same_pixels_as_keras(images: np.ndarray, fill_mode: str, alone: str | None) -> None:
    settings = CLASSIC_AUGMENTATION | {"shear_range": 20, "vertical_flip": True}
    theirs = ImageDataGenerator(fill_mode=fill_mode, cval=0.4, interpolation_order=1)
    drawn = sample_parameters(Augmentation.from_options(settings), len(images), (28, 28), np.random.default_rng(3))
    if alone:
        still = {name: np.full(len(images), name.startswith("z"), float) for name in PARAMETERS}
        drawn = still | {alone: drawn[alone]}
    maps = affine_maps(drawn, (28, 28), (28, 28))
    ours = resample(images, maps, (28, 28, 1), fill_mode=fill_mode, cval=0.4 * 255, scale=1 / 255)
    for number, image in enumerate(images):
        parameters = {name: values[number] for name, values in drawn.items()}
        expected = theirs.apply_transform(image / np.float32(255), parameters)
        # Where a position falls on the border to a thousandth of a pixel, "constant" may take either side.
        on_border = (np.abs(ours[number] - expected) > 1e-4).mean()
        assert on_border <= (3 / 784 if fill_mode == "constant" else 0)


@pytest.mark.parametrize("side", [14, 20, 27])
def test_an_enlarged_image_has_no_frame_of_another_colour(side: int) -> None:
    paper = np.full((1, side, side, 1), 255, np.uint8)
    still = {name: np.full(1, name.startswith("z"), float) for name in PARAMETERS}
    maps = affine_maps(still, (28, 28), (side, side))
    shown = resample(paper, maps, (28, 28, 1), fill_mode="constant", cval=0)
    assert (shown == 255).all()
    moved = affine_maps(still | {"tx": np.array([3.0])}, (28, 28), (side, side))
    shown = resample(paper, moved, (28, 28, 1), fill_mode="constant", cval=0)
    assert (shown == 0).any(axis=(0, 1, 3)).sum() == 3


@pytest.mark.parametrize(("parts", "said"), [(("train", "vaildation"), "no 'vaildation' set"), ((), r"no \(\) set")])
def test_misspelt_sets_are_named(run: d.Run, parts: object, said: str) -> None:
    with pytest.raises(d.DigitError, match=said):
        generator_from_split(run, parts)


def test_colours_and_edges_of_images_of_other_shapes() -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (5, 9, 14, 3), np.uint8)
    still = {name: np.full(5, name.startswith("z"), float) for name in PARAMETERS}
    same = resample(colours[[4, 0]], affine_maps(still, (9, 14), (9, 14))[:2], (9, 14, 3))
    np.testing.assert_allclose(same, colours[[4, 0]], atol=1e-3)
    twice = resample(colours, affine_maps(still, (18, 28), (9, 14)), (18, 28, 3))
    np.testing.assert_allclose(twice.mean(axis=(1, 2)), colours.mean(axis=(1, 2)), atol=4)
    one_pixel = np.full((1, 1, 1, 1), 77, np.uint8)
    still = {name: values[:1] for name, values in still.items()}
    assert (resample(one_pixel, affine_maps(still, (4, 4), (1, 1)), (4, 4, 3)) == 77).all()


def test_drawn_values_stay_in_their_ranges_and_reach_their_ends() -> None:
    drawn = sample_parameters(
        Augmentation.from_options(dict(CLASSIC_AUGMENTATION)), 20_000, (28, 28), np.random.default_rng(0)
    )
    for name, low, high in [
        ("theta", -40, 40),
        ("tx", -5.6, 5.6),
        ("ty", -5.6, 5.6),
        ("shear", -0.2, 0.2),
        ("zx", 0.8, 1.2),
        ("zy", 0.8, 1.2),
    ]:
        assert low <= drawn[name].min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < drawn[name].max() <= high
    whole = {"width_shift_range": 3, "height_shift_range": 1}
    shifts = sample_parameters(Augmentation.from_options(whole), 2000, (28, 28), np.random.default_rng(0))
    assert set(shifts["tx"]) == {-2, -1, 0, 1, 2}  # as in Keras, an int is the end of a range
    assert set(shifts["ty"]) == {0}
    assert 0.48 < drawn["flip_horizontal"].mean() < 0.52
    assert not drawn["flip_vertical"].any()
    weaker = scale_parameters(drawn, 0.5)
    assert weaker["theta"].max() <= 20
    assert weaker["zx"].min() >= 0.9
    assert (weaker["flip_horizontal"] == drawn["flip_horizontal"]).all()


def test_batches_hold_all_images_with_their_own_labels(run: d.Run, digits: Path) -> None:
    train = generator_from_split(run, "train", batch_size=50, class_mode="sparse", seed=1)
    assert train.class_indices == {str(digit): digit for digit in range(10)}
    assert train.samples == len(train.filenames) == 280
    assert len(train) == 6
    seen = {image.tobytes(): label for n in range(6) for image, label in zip(*train[n], strict=True)}
    assert len(seen) >= 278  # a few digits may be drawn alike
    for name in train.filenames[::20]:
        pixels = np.asarray(Image.open(digits / name).convert("L"), np.float32)[..., None]
        assert str(seen[pixels.tobytes()]) == Path(name).parent.name


def test_order_and_augmentation_depend_on_seed_and_epoch_alone(run: d.Run) -> None:
    first, again = (generator_from_split(run, "train", seed=5, rotation_range=20) for _ in range(2))
    again[7]
    np.testing.assert_array_equal(again[3][0], first[3][0])
    again[0]
    first.start_at(1)
    assert not np.array_equal(again[3][0], first[3][0])
    again.on_epoch_begin()
    again.on_epoch_end()
    np.testing.assert_array_equal(again[3][0], first[3][0])


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [32, 140, 280])
def test_an_epoch_of_fit_is_the_generators_own_and_every_fit_begins_the_same(run: d.Run, batch_size: int) -> None:
    class Asked(d.ImageBatches):
        def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
            drawn.append((self._begun, self.epoch))
            return super().__getitem__(index)

    drawn: list[tuple[bool, int]] = []
    train = generator_from_split(run, "train", batch_size=batch_size, seed=5, rotation_range=20)
    train.__class__ = Asked
    model = d.build_model(d.get_recipe("tiny"), list("0123456789"))
    model.compile("sgd", "categorical_crossentropy")
    for start, epochs in ((0, [0, 1, 2]), (0, [0, 1, 2]), (5, [5, 6, 7])):
        train.start_at(start)
        for _ in range(2):
            drawn.clear()
            model.fit(train, epochs=3, verbose=0)
            assert sorted({epoch for begun, epoch in drawn if begun}) == epochs


def test_batches_asked_for_in_any_order_are_the_same(run: d.Run) -> None:
    def batches(order: list[int]) -> dict[int, tuple[np.ndarray, ...]]:
        train = generator_from_split(run, "train", batch_size=32, seed=5, rotation_range=20)
        return {index: train[index] for index in order}

    in_order, shuffled = batches(list(range(9))), batches([4, 0, 8, 1, 7, 2, 3, 6, 5])
    for index, (images, labels) in in_order.items():
        np.testing.assert_array_equal(images, shuffled[index][0])
        np.testing.assert_array_equal(labels, shuffled[index][1])


def keras_steps() -> list[layers.Layer]:
    blur = layers.RandomGaussianBlur(factor=1.0, kernel_size=3, sigma=1.0)
    return [layers.RandomBrightness(0.3), layers.RandomContrast(0.3, seed=1), blur, layers.RandomErasing(0.9)]


def test_keras_layers_augment_the_same_whatever_the_timing(run: d.Run) -> None:
    first, again = (
        generator_from_split(run, "train", seed=5, rotation_range=20, augment=keras_steps()) for _ in range(2)
    )
    plain = generator_from_split(run, "train", seed=5, rotation_range=20)
    in_order = [first[index][0] for index in range(9)]
    for index in reversed(range(9)):
        np.testing.assert_array_equal(again[index][0], in_order[index])
        assert np.abs(in_order[index] - plain[index][0]).mean() > 1
    assert in_order[0].dtype == np.float32
    first.start_at(1)
    for batches in (again, plain):
        batches.on_epoch_begin()
        batches.on_epoch_end()
    np.testing.assert_array_equal(again[3][0], first[3][0])
    change = [(first[0][0] - plain[0][0])[n] - (in_order[0] - plain[0][0])[n] for n in range(32)]
    assert all(np.abs(one).max() > 0 for one in change)  # another epoch, other random numbers


def test_a_function_augments_what_is_trained_on_before_it_is_rescaled(run: d.Run) -> None:
    train, validation = d.train_val_generators(run, d.get_recipe("tiny"), augment=lambda images: 255 - images)
    plain, _ = d.train_val_generators(run, d.get_recipe("tiny"))
    np.testing.assert_array_equal(train[0][0], 255 - plain[0][0])
    assert validation.steps == ()
    chosen = train.originals(np.arange(3))
    np.testing.assert_array_equal(train.augment(chosen, 0), 255 - plain.augment(chosen, 0))
    both = generator_from_split(run, "test", rescale=1 / 255, augment=[np.flip, lambda images: images.astype(np.uint8)])
    assert 0.9 < both[0][0].max() <= 1


@pytest.mark.parametrize(
    ("augment", "said"),
    [
        (lambda images: images / 255, r"<lambda> returned pixels from 0 to 1: they must be 0 to 255"),
        (lambda images: images * 2, "returned pixels from 0 to 510"),
        (lambda images: images * np.nan, "returned pixels from nan to nan"),
        (lambda images: images > 9, r"returned bool of shape \(32, 28, 28, 1\): it must return numbers"),
        (lambda images: None, r"returned object of shape \(\): it must return numbers of the shape it takes"),
        (layers.RandomCrop(8, 8), r"RandomCrop returned float32 of shape \(32, 8, 8, 1\)"),
        (layers.RandomBrightness(0.2, value_range=(0, 1)), "or a layer's value_range"),
        ([layers.RandomContrast(0.2), 3], "augment is 3: it must be a function of images or a Keras layer"),
        ("blur", "augment is 'blur'"),
    ],
)
def test_a_step_that_does_not_fit_is_refused_before_the_training(run: d.Run, augment: object, said: str) -> None:
    with pytest.raises(d.DigitError, match=said):
        generator_from_split(run, "train", augment=augment)


@pytest.mark.slow
def test_steps_train_in_fit_and_are_recorded(run: d.Run) -> None:
    recipe = d.get_recipe("tiny", epochs=1)
    train, validation = d.train_val_generators(run, recipe, augment=[layers.RandomBrightness(0.3), np.flip])
    model = d.build_model(recipe, train.class_names)
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
    model.fit(train, validation_data=validation, epochs=1, callbacks=d.callbacks_for(run, train), verbose=0)
    brightness, flip = run.read_json("training.json")["augment"]
    assert (brightness["class_name"], brightness["config"]["factor"], flip) == (
        "RandomBrightness",
        [-0.3, 0.3],
        "numpy.flip",
    )
    assert "RandomBrightness" in d.Classifier.load(run).model_card()


def test_images_in_memory_become_batches_as_they_are() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 20, 30), np.uint8)
    alone = d.ImageBatches.from_array(images, batch_size=2)
    np.testing.assert_array_equal(
        np.concatenate([batch[0] for batch in (alone[0], alone[1], alone[2])])[..., 0], images
    )
    named = d.ImageBatches.from_array(images, ["cat", "dog", "cat", "cat", "dog"])
    numbered = d.ImageBatches.from_array(images, [0, 1, 0, 0, 1], ["cat", "dog"])
    assert named.class_names == numbered.class_names == ["cat", "dog"]
    np.testing.assert_array_equal(named[0][1], numbered[0][1])
    assert d.ImageBatches.from_array(images, [10, 2, 2, 10, 2]).class_names == ["2", "10"]
    for wrong in (images / 255, images[0], images[..., None].repeat(2, axis=-1)):
        with pytest.raises(d.DigitError, match="they must be uint8 of shape"):
            d.ImageBatches.from_array(wrong)
    with pytest.raises(d.DigitError, match="5 images and 2 labels"):
        d.ImageBatches.from_array(images, [1, 2])


def test_a_notebook_shows_classes_counts_and_first_images(run: d.Run) -> None:
    shown = generator_from_split(run, "test", shuffle=False)._repr_html_()
    assert "80 images of 28 × 28 × 1 pixels" in shown
    assert shown.count("<th>") == 10
    assert shown.count("<td>8</td>") == 10
    assert shown.count("data:image/png;base64,") == 12


def test_without_shuffle_rows_follow_the_manifest(run: d.Run) -> None:
    test = generator_from_split(run, "test", shuffle=False)
    manifest = read_split(run)
    assert test.filenames == manifest.loc[manifest["part"] == "test", "filename"].tolist()
    labels = np.concatenate([test[n][1].argmax(axis=1) for n in range(len(test))])
    np.testing.assert_array_equal(labels, test.classes)


def test_files_are_decoded_once(run: d.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    generator_from_split(run, "train")
    monkeypatch.setattr(decoding, "decode", lambda *_: pytest.fail("decoded a second time"))
    generator_from_split(run, "test")[0]


def test_grey_as_rgb_at_another_size(run: d.Run) -> None:
    batch, _ = generator_from_split(
        run, "train", image_size=(128, 96), color_mode="rgb", rescale=1 / 255, **{"rotation_range": 10}
    )[0]
    assert batch.shape == (32, 128, 96, 3)
    np.testing.assert_array_equal(batch[..., 0], batch[..., 2])
    assert 0.5 < float(np.max(batch)) <= 1.0001


def test_a_folder_gives_the_same_images_as_the_split(run: d.Run, digits: Path) -> None:
    d.prepare(digits, run.folder)
    folder = d.generator_from_directory(run / "TEST", shuffle=False)
    assert folder.samples == 80
    assert folder.class_indices == {str(digit): digit for digit in range(10)}
    split = generator_from_split(run, "test", shuffle=False)
    contents = [sorted(image.tobytes() for image in images.originals(np.arange(80))) for images in (folder, split)]
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rotation_rage": 3}, "rotation_range"),
        ({"color_mode": "cmyk"}, "color_mode"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": True}, "batch_size is True"),
        ({"seed": None}, "seed is None"),
        ({"image_size": 28.0}, "image_size is 28.0"),
        ({"image_size": (0, 28)}, "image_size"),
        ({"class_mode": "binary"}, "binary"),
        ({"zoom_range": 1.5}, "zoom_range"),
        ({"rotation_range": "a"}, "rotation_range is 'a': it must be a number"),
        ({"rescale": float("nan")}, "rescale is nan"),
        ({"rescale": "x"}, "rescale is 'x'"),
        ({"width_shift_range": None}, "width_shift_range is None"),
        ({"height_shift_range": []}, "height_shift_range is"),
        ({"fill_mode": "mirror"}, "fill_mode"),
    ],
)
def test_bad_settings_are_named(run: d.Run, options: dict, said: str) -> None:
    with pytest.raises(d.DigitError, match=said):
        generator_from_split(run, "train", **options)


def test_a_changed_image_is_decoded_again(run: d.Run, digits: Path) -> None:
    name = generator_from_split(run, "test", shuffle=False).filenames[0]
    Image.new("L", (28, 28), 200).save(digits / name, quality=100)
    fresh = d.prepare(digits, "runs/b", mode="none")
    parts = read_split(fresh).set_index("filename")["part"]
    generator = generator_from_split(fresh, parts[name], shuffle=False)
    place = generator.filenames.index(name)
    assert abs(int(generator.originals(np.array([place])).mean()) - 200) < 2


def coloured(digits: Path, shape: tuple[int, int]) -> Path:
    """Return a folder of red digits on white, (height, width) pixels large, with a class for each of the first two digits."""
    for digit in "01":
        (digits.parent / "red" / digit).mkdir(parents=True)
        for path in sorted((digits / "trainingSet" / digit).iterdir())[:30]:
            ink = np.asarray(Image.open(path).resize(shape[::-1]))
            Image.fromarray(np.dstack([np.full_like(ink, 255), 255 - ink, 255 - ink])).save(
                digits.parent / "red" / digit / f"{path.stem}.png"
            )
    return digits.parent / "red"


@pytest.mark.parametrize(("side", "size"), [(40, (28, 28)), (90, (64, 64))])
def test_size_and_colours_are_chosen_by_the_images_and_said(
    digits: Path, side: int, size: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    run = d.prepare(coloured(digits, (side, side)), "runs/red", mode="none")
    recipe = d.get_recipe("tiny").adapted_to(run)
    assert (recipe.image_size, recipe.color_mode, recipe.auto) == (size, "rgb", ())
    assert f"{size[0]} × {size[1]} × 3" in capsys.readouterr().out
    train, _ = d.train_val_generators(run, recipe)
    assert train[0][0].shape[1:] == d.build_model(recipe, train.class_names).input_shape[1:] == (*size, 3)
    given = d.get_recipe("tiny", color_mode="grayscale", image_size=20).adapted_to(run)
    assert given.image_shape == (20, 20, 1)
    assert d.get_recipe("classic").adapted_to(run).image_shape == (128, 128, 3)
    assert d.get_recipe("fast").adapted_to(d.prepare(digits, "runs/grey", mode="none")).image_shape == (28, 28, 1)
    assert not capsys.readouterr().out


def test_sizes_that_would_fill_the_memory_are_refused_with_what_they_take(digits: Path) -> None:
    with pytest.raises(d.DigitError, match=r"1,024 images of 4000 × 4000 pixels would take 16 GB"):
        d.get_recipe("fast", image_size=4000)
    run = d.prepare(digits, "runs/a", mode="none")
    with pytest.raises(d.DigitError, match=r"400 images of 2500 × 2500 pixels would take 8 GB") as told:
        d.get_recipe("tiny", image_size=2500, batch_size=8, color_mode="rgb").adapted_to(run)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("shape", [(20, 28), (60, 84)])
@pytest.mark.parametrize("resize", ["squeeze", "pad", "crop"])
def test_a_classifier_resizes_as_its_training_did(digits: Path, resize: str, shape: tuple[int, int]) -> None:
    run = d.prepare(coloured(digits, shape), "runs/red", mode="none")
    recipe = d.get_recipe("tiny", epochs=1, resize=resize, image_size=28).adapted_to(run)
    train, validation = d.train_val_generators(run, recipe)
    black = validation[0][0].max(axis=(0, 2, 3)) == 0  # rows of all images
    assert black.sum() == (8 if resize == "pad" else 0)
    model = d.build_model(recipe, train.class_names)
    classifier = d.Classifier(model, train.class_names)
    classifier.resize = resize
    paths = [str(digits.parent / "red" / name) for name in validation.filenames]
    at_prediction = classifier._pixels(list(classifier._read(paths)[1]))
    np.testing.assert_allclose(at_prediction, np.concatenate([batch[0] for batch in validation]), atol=1)
    arrays = [np.asarray(Image.open(path)) for path in paths]
    np.testing.assert_array_equal(at_prediction, classifier._pixels(list(classifier._read(np.stack(arrays))[1])))


@pytest.mark.slow
def test_how_images_were_resized_is_kept_with_the_network(digits: Path) -> None:
    run = d.prepare(coloured(digits, (20, 28)), "runs/red", mode="none")
    d.train_run(run, d.get_recipe("tiny", epochs=1, resize="pad"))
    classifier = d.Classifier.load(run)
    assert (classifier.resize, classifier.color_mode, d.load_recipe(run).resize) == ("pad", "rgb", "pad")
    assert d.Classifier.load(classifier.save("runs/copy")).resize == "pad"

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn import datasets
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import (
    check_estimator_cloneable,
    check_estimator_repr,
    check_get_params_invariance,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
)

from tests.conftest import CONFIG, Shapes
from vae_augment import FitConfig
from vae_augment.sklearn import VAESampler

NAMES = np.array(Shapes.classes)


@pytest.fixture(scope="module")
def shapes():
    """30 images [N, 12, 12] and their classes: 10 across, 6 down, 4 slanted."""
    shapes = Shapes()
    kept = [*range(16), *range(20, 24)]
    return shapes.data[kept], np.array(shapes.targets)[kept]


def sampler(**options):
    return VAESampler(config=CONFIG, random_state=0, **options)


@pytest.mark.parametrize(
    ("strategy", "counts"),
    [
        ("auto", [10, 10, 10]),
        ("not majority", [10, 10, 10]),
        ("minority", [10, 6, 10]),
        ("not minority", [10, 10, 4]),
        ([2], [10, 6, 10]),
        ({1: 8, 2: 12}, [10, 8, 12]),
        (lambda y: {2: int((y == 0).sum())}, [10, 6, 10]),
    ],
)
def test_classes_get_as_many_images_as_asked(shapes, strategy, counts):
    X, y = shapes
    more, classes = sampler(sampling_strategy=strategy).fit_resample(X, y)
    assert np.bincount(classes).tolist() == counts
    assert (more.shape, more.dtype, classes.dtype) == ((sum(counts), 12, 12), X.dtype, y.dtype)
    assert np.array_equal(more[:20], X)
    assert np.array_equal(classes[:20], y)
    new = more[20:]
    assert not any(np.array_equal(image, other) for image in new for other in X)
    assert new.max() > 100


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.uint16])
@pytest.mark.parametrize("flat", [False, True])
def test_shapes_and_dtypes(shapes, dtype, flat):
    X, y = (shapes[0] / 255 * (255 if dtype == np.uint8 else 16)).astype(dtype), NAMES[shapes[1]]
    given = X.reshape(20, -1) if flat else X
    more, classes = sampler(image_shape=(12, 12) if flat else None).fit_resample(given, y)
    assert (more.shape, more.dtype) == ((30, *given.shape[1:]), dtype)
    assert more.min() >= 0
    assert X.max() / 2 < more.max() <= X.max()
    assert sorted(classes) == [name for name in NAMES for _ in range(10)]


def test_colour(shapes):
    X, y = np.repeat(shapes[0][..., None], 3, axis=3), shapes[1]
    assert sampler().fit_resample(X, y)[0].shape == (30, 12, 12, 3)
    assert sampler(image_shape=(12, 12, 3)).fit_resample(X.reshape(20, -1), y)[0].shape == (30, 432)


def test_data_frames(shapes):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(shapes[0].reshape(20, -1), columns=[f"pixel{n}" for n in range(144)])
    y = pandas.Series(NAMES[shapes[1]], name="class", dtype="category")
    more, classes = sampler(image_shape=(12, 12)).fit_resample(X, y)
    assert (more.shape, list(more.columns), set(more.dtypes)) == ((30, 144), list(X.columns), {np.dtype(np.uint8)})
    assert (classes.name, classes.dtype, len(classes)) == ("class", y.dtype, 30)


def test_a_random_state_repeats_itself(shapes):
    once, again = (sampler().fit_resample(*shapes)[0] for _ in range(2))
    other = VAESampler(config=CONFIG, random_state=1).fit_resample(*shapes)[0]
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_even_classes_need_no_fit(shapes):
    X, y = shapes[0][6:16], shapes[1][6:16]
    even = np.concatenate([X[:4], X[4:8]]), np.concatenate([y[:4], y[4:8]])
    fitted = VAESampler()
    more, classes = fitted.fit_resample(*even)
    assert fitted.bank_ is None
    assert np.array_equal(more, even[0])
    assert np.array_equal(classes, even[1])


def test_in_a_pipeline_of_imbalanced_learn(shapes):
    imblearn = pytest.importorskip("imblearn.pipeline")
    X, y = shapes[0].reshape(20, -1) / 255, shapes[1]
    model = imblearn.make_pipeline(sampler(image_shape=(12, 12)), LogisticRegression(max_iter=200))
    model.fit(X, y)
    assert model.named_steps["vaesampler"].bank_.classes == ("0", "1", "2")
    assert model.predict(X).shape == (20,)  # which resamples nothing
    assert clone(model).get_params()["vaesampler__image_shape"] == (12, 12)


@pytest.mark.parametrize(
    "check",
    [
        check_estimator_cloneable,
        check_estimator_repr,
        check_get_params_invariance,
        check_no_attributes_set_in_init,
        check_parameters_default_constructible,
        check_set_params,
    ],
)
def test_scikit_learns_checks(check):
    check("VAESampler", VAESampler())


@pytest.fixture
def imblearn_checks(monkeypatch):
    """imbalanced-learn's checks of samplers, on rows of 64 numbers, which may be images of 8x8, not of 2 to 20."""
    checks = pytest.importorskip("imblearn.utils.estimator_checks")

    def make_blobs(centers, n_features, **options):
        return datasets.make_blobs(centers=np.repeat(centers, [62, 1, 1], axis=1), **options)

    monkeypatch.setattr(checks, "make_classification", partial(datasets.make_classification, n_features=64))
    monkeypatch.setattr(checks, "make_blobs", make_blobs)
    random = np.random.random
    monkeypatch.setattr(np.random, "random", lambda size: random((size[0], 64) if len(size) == 2 else size))
    return checks


@pytest.mark.parametrize(
    "check",
    [
        "check_target_type",
        "check_samplers_one_label",
        "check_samplers_fit",
        "check_samplers_fit_resample",
        "check_samplers_sampling_strategy_fit_resample",
        "check_samplers_pandas",
        "check_samplers_list",
        "check_samplers_multiclass_ova",
        "check_samplers_preserve_dtype",
        "check_samplers_2d_target",
        "check_sampler_get_feature_names_out",
        "check_sampler_get_feature_names_out_pandas",
    ],
)
def test_imbalanced_learns_checks(imblearn_checks, check):
    config = FitConfig(steps=2, latent_dim=2, width=8, policy="none")
    given = VAESampler(image_shape=(8, 8), random_state=0, config=config)
    getattr(imblearn_checks, check)("VAESampler", given)


def test_a_column_without_images_stays_one_and_a_list_of_arrays_is_one_of_arrays(shapes):
    X, y = list(shapes[0]), np.eye(5, dtype=np.uint8)[shapes[1] * 2]
    more, classes = sampler().fit_resample(X, y)
    assert classes.shape == (30, 5)
    assert classes.sum(0).tolist() == [10, 0, 10, 0, 10]
    assert all(isinstance(image, np.ndarray) and image.dtype == np.uint8 for image in more)


def test_it_tells_how_many_images_it_made(shapes):
    fitted = sampler()
    fitted.fit_resample(shapes[0], NAMES[shapes[1]])
    assert fitted.sampling_strategy_ == {"down": 4, "slanted": 6}
    assert not hasattr(fitted, "n_features_in_")


@pytest.mark.parametrize(
    ("X", "y", "options", "error", "message"),
    [
        (np.zeros((4, 9)), [0, 0, 0, 1], {}, ValueError, r"or \[N, D\] with image_shape=\(H, W\), got \[4, 9\]"),
        (np.zeros((4, 9)), [0, 0, 0, 1], {"image_shape": (3, 4)}, ValueError, r"\(3, 4\) has 12 values, X has 9"),
        (np.zeros((4, 9, 9)), [0, 0, 1], {}, ValueError, r"y must hold a class for each of 4 images, got 3"),
        (np.zeros((3, 9, 9)), [[1, 1], [0, 1], [0, 0]], {}, ValueError, "Multilabel and multioutput targets are not"),
        (np.zeros((3, 9, 9)), [0.5, 1.5, 0.1], {}, ValueError, "Unknown label type: continuous"),
        (np.zeros((4, 9, 9)), [0] * 4, {}, ValueError, r"y must have two classes or more, got \[0\]"),
        (np.zeros((0, 9, 9)), [], {}, ValueError, "X must be images"),
        (csr_matrix(np.zeros((4, 81))), [0, 0, 0, 1], {}, TypeError, "got a sparse matrix"),
        (np.full((4, 9, 9), np.nan), [0, 0, 0, 1], {}, ValueError, "not finite"),
        (np.full((4, 9, 9), "a"), [0, 0, 0, 1], {}, TypeError, "real numbers"),
        (np.zeros((4, 9, 9)), [0, 0, 0, 1], {"sampling_strategy": "most"}, ValueError, "sampling_strategy must be one"),
        (np.zeros((4, 9, 9)), [0, 0, 0, 1], {"sampling_strategy": {7: 9}}, ValueError, "names class 7, which y lacks"),
        (np.zeros((4, 9, 9)), [0, 0, 0, 1], {"sampling_strategy": {0: 1}}, ValueError, "a total of at least the 3"),
    ],
)
def test_what_is_refused(X, y, options, error, message):
    with pytest.raises(error, match=message):
        sampler(**options).fit_resample(X, y)

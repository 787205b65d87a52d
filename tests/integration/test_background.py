"""A moving block before a textured scene under changing light is told apart from it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from ranklift.errors import InputError, RankError, ShapeError, TooLargeError
from ranklift.estimators.background import BackgroundModel, foreground_picture
from ranklift.io.frames import gray, open_frames

COUNT, HEIGHT, WIDTH = 40, 60, 80
NOISE = 0.01


def scene(seed: int = 0, darkening: float = 0.6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return colour frames, the true brightness of their background, and the true masks.

    The light falls by a third and a shadow grows from the right: a background of rank 2 unless
    `darkening` is 0.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    texture = 0.45 + 0.15 * np.sin(x / 3) * np.cos(y / 4) + 0.1 * rng.random((HEIGHT, WIDTH))
    tint = np.array([1.1, 1.0, 0.8])
    tint /= tint @ [0.299, 0.587, 0.114]
    shadow = texture * (x / WIDTH) ** 2
    frames = np.empty((COUNT, HEIGHT, WIDTH, 3), dtype=np.uint8)
    background = np.empty((COUNT, HEIGHT, WIDTH))
    masks = np.zeros((COUNT, HEIGHT, WIDTH), dtype=bool)
    for t in range(COUNT):
        part = t / COUNT
        background[t] = (1 - part / 3) * texture - darkening * np.sin(3 * part) * shadow
        colours = background[t][:, :, None] * tint
        masks[t, 20 + t // 4 : 36 + t // 4, 2 * t : 2 * t + 8] = True
        colours[masks[t]] = [0.9, 0.95, 1.0]
        colours += NOISE * rng.standard_normal(colours.shape)
        frames[t] = np.rint(255 * np.clip(colours, 0, 1))
    return frames, background, masks


def saved(tmp_path: Path, frames: np.ndarray) -> Path:
    np.save(tmp_path / "clip.npy", frames)
    return tmp_path / "clip.npy"


def overlap(found: np.ndarray, true: np.ndarray) -> float:
    return np.count_nonzero(found & true) / np.count_nonzero(found | true)


def test_background_and_mask_of_a_moving_block(tmp_path: Path) -> None:
    frames, background, masks = scene()
    model = BackgroundModel(2).fit(saved(tmp_path, frames))
    assert model.rank_ == 2
    # Luma averages three independent errors of the channels.
    assert model.noise_ == pytest.approx(NOISE * np.linalg.norm([0.299, 0.587, 0.114]), rel=0.2)
    found = [model.separate(frame) for frame in frames]
    errors = [
        np.sqrt(np.mean((b - true) ** 2)) for (b, _, _), true in zip(found, background, strict=True)
    ]
    assert max(errors) < 0.5 * NOISE
    assert min(overlap(mask, true) for (_, _, mask), true in zip(found, masks, strict=True)) > 0.9
    for frame, (b, foreground, _) in zip(frames, found, strict=True):
        assert np.allclose(b + foreground, gray(frame), atol=1e-12)


def test_the_rank_shows_by_itself(tmp_path: Path) -> None:
    frames, _, masks = scene(1, darkening=0.0)
    model = BackgroundModel().fit(saved(tmp_path, frames))
    assert model.rank_ == 1
    assert min(overlap(model.separate(f)[2], m) for f, m in zip(frames, masks, strict=True)) > 0.9


def test_frames_that_were_not_fitted(tmp_path: Path) -> None:
    frames, background, masks = scene(2)
    model = BackgroundModel(2, sample=10, pixels=800).fit(saved(tmp_path, frames))
    assert model.frame_indices_.tolist() == list(range(0, 40, 4))
    assert model.coefficients_.shape == (2, 10)
    for t in (1, 17, 38):
        b, _, mask = model.separate(frames[t])
        assert np.sqrt(np.mean((b - background[t]) ** 2)) < NOISE
        assert overlap(mask, masks[t]) > 0.8


def test_the_basis_is_orthonormal_and_gives_the_sampled_backgrounds(tmp_path: Path) -> None:
    frames, background, _ = scene()
    model = BackgroundModel(2).fit(saved(tmp_path, frames))
    assert np.allclose(model.basis_.T @ model.basis_, np.eye(2), atol=1e-10)
    sampled = (model.basis_ @ model.coefficients_).T.reshape(COUNT, HEIGHT, WIDTH)
    assert np.sqrt(np.mean((sampled - background) ** 2)) < 0.5 * NOISE


def test_a_bright_strip_does_not_darken_the_background(tmp_path: Path) -> None:
    frames, background, _ = scene()
    model = BackgroundModel(2).fit(saved(tmp_path, frames))
    covered = frames[20].copy()
    covered[:, 30:46] = 255
    b, _, mask = model.separate(covered)
    plain = np.linalg.lstsq(model.basis_, gray(covered).ravel(), rcond=None)[0]
    by_squares = np.abs(model.basis_ @ plain - background[20].ravel()).mean()
    assert np.abs(b - background[20]).mean() < 0.1 * by_squares
    assert mask[:, 30:46].all()


def test_noise_free_gray_frames_and_black_ones(tmp_path: Path) -> None:
    level = np.random.default_rng(0).integers(50, 200, (12, 16), dtype=np.uint8)
    frames = np.repeat(level[None], 9, axis=0)
    for t in range(9):
        frames[t, 3:6, t : t + 3] = 250
    model = BackgroundModel().fit(saved(tmp_path, frames))
    for t, frame in enumerate(frames):
        b, _, mask = model.separate(frame)
        assert np.abs(b - level / 255).max() < 0.5 / 255
        assert np.argwhere(mask).tolist() == [[i, j] for i in range(3, 6) for j in range(t, t + 3)]
    model.fit(saved(tmp_path, np.zeros_like(frames)))
    b, foreground, mask = model.separate(np.zeros_like(level))
    assert not b.any() and not foreground.any() and not mask.any()
    assert model.separate(level)[2].all()


def test_progress_and_stop(tmp_path: Path) -> None:
    frames, _, _ = scene()
    seen: list[tuple[str, int, int]] = []
    model = BackgroundModel(1, progress=lambda *row: seen.append(row))
    model.fit(open_frames(saved(tmp_path, frames)), stop=12)
    assert model.frame_indices_.tolist() == list(range(12))
    reading = [row for row in seen if row[0] == "reading frames"]
    assert [done for _, done, _ in reading] == list(range(1, 13))
    assert seen[-1] == ("fitting the background", HEIGHT * WIDTH, HEIGHT * WIDTH)


def test_fits_are_reproducible_and_can_be_copied(tmp_path: Path) -> None:
    frames, _, _ = scene()
    path = saved(tmp_path, frames)
    model = BackgroundModel(2, sample=12, pixels=500).fit(path)
    copy: Any = clone(model)
    again = copy.fit(path)
    kept = pickle.loads(pickle.dumps(model))
    for other in (again, kept):
        for one, two in zip(model.separate(frames[3]), other.separate(frames[3]), strict=True):
            assert np.array_equal(one, two)


def test_unusable_input_is_refused(tmp_path: Path) -> None:
    frames, _, _ = scene()
    path = saved(tmp_path, frames)
    with pytest.raises(TooLargeError, match="40 frames of 60 x 80"):
        BackgroundModel(memory_limit=10**6).fit(path)
    with pytest.raises(ShapeError, match="2 of 2 frames"):
        BackgroundModel().fit(path, stop=2)
    with pytest.raises(RankError):
        BackgroundModel(41).fit(path)
    refused: list[dict[str, Any]] = [
        {"sample": 2}, {"pixels": 0}, {"threshold": 0.0}, {"sample": 5.5},
    ]  # fmt: skip
    for wrong in refused:
        with pytest.raises(InputError, match=next(iter(wrong))):
            BackgroundModel(**wrong).fit(path)
    model = BackgroundModel(1, sample=5, pixels=200).fit(path)
    with pytest.raises(ShapeError, match="fitted were"):
        model.separate(frames[0, :-1])
    with pytest.raises(ShapeError):
        model.separate(frames[0, :, :, :2])


def test_foreground_picture_keeps_the_colours_under_the_mask() -> None:
    frames, _, masks = scene()
    picture = foreground_picture(frames[9], masks[9], fill=255)
    assert np.array_equal(picture[masks[9]], frames[9][masks[9]])
    assert (picture[~masks[9]] == 255).all()

"""What a plant could run today: colour and texture at several scales, and a random forest.

Features are scikit-image's (`multiscale_basic_features`: intensity, edges and the eigenvalues of
the Hessian of each channel, smoothed by Gaussians), the forest is scikit-learn's (Breiman 2001,
doi:10.1023/A:1010933404324). No network, no pre-trained weights, no GPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import zoom
from skimage.color import rgb2lab
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier
from tqdm import tqdm

from scrapseg.models.predict import CLASS_STRIDE, Predictions


class RandomForest:
    """A class per pixel from the colours and textures around it; see `baselines.Baseline`.

    The forest learns from equally many pixels of every class an image shows, since impurities are
    one pixel in fifty. Its probabilities are then brought back towards the true shares of the
    classes (Saerens et al. 2002, doi:10.1162/089976602753284446, equation 2.4).

    Args:
        sigma_max: coarsest scale in pixels; the finest is half a pixel, each doubles the last.
        prior: how far to go back to the true shares, 0 not at all, 1 all the way.
        leaf: fewest training pixels in a leaf.
        trees: how many.
        pixels: how many of each class are drawn from an image that shows it.
        stride: probabilities are found at each so manieth pixel and interpolated between.
        num_classes: number of classes C, class 0 normal.
        seed: of the draw of pixels and of the forest.
        workers: trees at a time; -1 for all cores.
    """

    def __init__(
        self,
        sigma_max: float = 16,
        prior: float = 0.5,
        leaf: int = 5,
        *,
        trees: int = 60,
        pixels: int = 60,
        stride: int = 2,
        num_classes: int = 9,
        seed: int = 0,
        workers: int = -1,
    ) -> None:
        self.sigma_max, self.prior, self.stride = sigma_max, prior, stride
        self.pixels, self.num_classes = pixels, num_classes
        self.seed = seed
        self.forest = RandomForestClassifier(
            trees, min_samples_leaf=leaf, n_jobs=workers, random_state=seed
        )

    def fit(self, images: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> RandomForest:
        """Learn from labelled images.

        Args:
            images: N images, (H, W, 3) uint8 each.
            labels: class index per pixel, (H, W) each.

        Raises:
            ValueError: there are no images, or the numbers differ.
        """
        if not len(images):
            raise ValueError("RandomForest needs at least one labelled image to fit")
        seeds = np.random.SeedSequence(self.seed).spawn(len(images))
        given = {"total": len(images), "desc": "features", "mininterval": 2, "leave": False}
        bar = tqdm(zip(images, labels, seeds, strict=True), **given)
        parts = [self._drawn(*one) for one in bar]
        features, classes = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        self.forest.fit(features, classes)
        true = np.bincount(np.concatenate([x.ravel() for x in labels]), minlength=self.num_classes)
        drawn = np.bincount(classes, minlength=self.num_classes)
        known = self.forest.classes_
        share = (true / true.sum())[known] / (drawn / drawn.sum())[known]
        self._shift = share**self.prior
        return self

    def _drawn(
        self, image: np.ndarray, label: np.ndarray, seed: np.random.SeedSequence
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features and class of the pixels of one image to learn from."""
        rng = np.random.default_rng(seed)
        where = [np.flatnonzero(label == c) for c in np.unique(label)]
        chosen = np.concatenate([rng.permutation(w)[: self.pixels] for w in where])
        return self.features(image).reshape(label.size, -1)[chosen], label.ravel()[chosen]

    def features(self, image: np.ndarray) -> np.ndarray:
        """(H, W, F) float32: 12 features a scale (four of each of L, a and b)."""
        lab = rgb2lab(image).astype(np.float32)
        return multiscale_basic_features(lab, sigma_max=self.sigma_max, channel_axis=-1)

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """(C, H, W) float32, summing to 1 over the classes.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` has not been called.
        """
        grid = self.features(image)[:: self.stride, :: self.stride]
        found = self.forest.predict_proba(grid.reshape(-1, grid.shape[-1])) * self._shift
        p = np.zeros((self.num_classes, *grid.shape[:2]), np.float32)
        p[self.forest.classes_] = (found / found.sum(1, keepdims=True)).T.reshape(
            -1, *grid.shape[:2]
        )
        scale = [size / small for size, small in zip(image.shape[:2], p.shape[1:], strict=True)]
        return zoom(p, (1, *scale), order=1, mode="nearest", grid_mode=True)

    def predict(self, images: Sequence[np.ndarray]) -> Predictions:
        """Scores, labels and class scores of N images, (H, W, 3) uint8 each, all of one size."""
        scores, labels, odds = [], [], []
        for image in tqdm(images, desc="RandomForest predict", mininterval=2, leave=False):
            p = self.probabilities(image)
            scores.append(1 - p[0])
            labels.append(p.argmax(0).astype(np.uint8))
            few = p[:, ::CLASS_STRIDE, ::CLASS_STRIDE].clip(1e-6, 1 - 1e-6)
            odds.append(np.log(few / (1 - few)).astype(np.float16))
        return Predictions(np.stack(scores), np.stack(labels), np.stack(odds, axis=1))

    @property
    def parameters(self) -> int:
        """Numbers in the trees: a feature, a threshold and a class count a node."""
        nodes = sum(tree.tree_.node_count for tree in self.forest.estimators_)
        return nodes * (2 + len(self.forest.classes_))

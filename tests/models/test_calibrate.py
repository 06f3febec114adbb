import numpy as np
import torch

from scrapseg import metrics
from scrapseg.baselines.supervised import SupervisedNet
from scrapseg.models.calibrate import OFFSETS, best_normal_offset, shifted
from scrapseg.models.predict import log_odds
from scrapseg.models.scrapseg import ScrapSeg


def logits_and_labels(shift: float) -> tuple[torch.Tensor, np.ndarray]:
    """Logits of three classes that name every pixel rightly once `shift` is added to normal's."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (2, 16, 16), generator=generator)
    logits = 0.4 * torch.randn(2, 3, 16, 16, generator=generator)
    logits += 6 * torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2)
    logits[:, 0] -= shift
    return logits, labels.numpy()


def scores(logits: torch.Tensor) -> np.ndarray:
    return log_odds(logits).half().numpy().swapaxes(0, 1)


def test_a_shifted_normal_class_is_put_right():
    for shift in (-9.0, -7.5, 7.5, 9.0):
        logits, labels = logits_and_labels(shift)
        offset = best_normal_offset(scores(logits), labels, [True, True], np.arange(-12, 12.1, 0.5))
        logits[:, 0] += offset
        assert (logits.argmax(1).numpy() == labels).all()
        assert offset * shift > 0


def test_it_is_the_best_of_all_offsets_by_brute_force():
    logits, labels = logits_and_labels(1.5)
    logits += 3 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))

    def miou(offset: float) -> float:
        moved = logits + offset * torch.tensor([1.0, 0, 0])[:, None, None]
        table = metrics.confusion(moved.argmax(1).numpy(), labels, 3).sum(0)
        return metrics.class_metrics(table, ["steel", "a", "b"])["miou_impurity"]

    chosen = best_normal_offset(scores(logits), labels, [True, True])
    assert miou(chosen) >= max(map(miou, OFFSETS)) - 0.005  # scores are kept in half precision


def test_where_nothing_is_gained_nothing_is_moved():
    logits, labels = logits_and_labels(0.0)
    assert best_normal_offset(scores(logits), labels, [True, True]) == 0


def test_a_class_that_does_not_count_has_no_say():
    labels = np.array([[[0, 0, 1, 2]]])
    # Normal beats class 2 by 2 on its own pixel, and class 1 by 1 on one of normal's.
    logits = torch.tensor([[[9.0, 1, 0, 2]], [[0.0, 0, 9, -9]], [[0.0, -9, 0, 0]]])[None]
    assert best_normal_offset(scores(logits), labels, [True, False]) == 0
    assert best_normal_offset(scores(logits), labels, [True, True]) < -2


def test_shifted_scores_are_those_of_the_shifted_logits():
    logits = 6 * torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    before = 1 - logits.softmax(1)[:, 0].numpy()
    logits[:, 0] += 1.75
    np.testing.assert_allclose(shifted(before, 1.75), 1 - logits.softmax(1)[:, 0], atol=2e-6)
    assert shifted(np.float32([0, 1]), -3.0).tolist() == [0, 1]


def test_models_shift_the_normal_logit_and_nothing_else():
    from scrapseg.models.towers import pocket_image_encoder

    text = torch.nn.functional.normalize(torch.randn(9, 384), dim=1)
    image = torch.rand(1, 3, 64, 64)
    for model in (ScrapSeg(pocket_image_encoder(), text).eval(), SupervisedNet().eval()):
        with torch.no_grad():
            before = model(image).logits
            model.shift_normal(1.25)
            after = model(image).logits
        torch.testing.assert_close(after[:, 0], before[:, 0] + 1.25)
        torch.testing.assert_close(after[:, 1:], before[:, 1:])

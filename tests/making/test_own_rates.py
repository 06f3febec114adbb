"""Trials of a method at rates of its own: as many as ours had, scored as training scores them."""

from making.studies import own_rates
from scrapseg.experiments.fit import train
from scrapseg.experiments.methods import rates
from scrapseg.experiments.splits import Splits
from scrapseg.train.loop import TrainConfig


def test_each_candidate_is_tried_and_the_used_one_is_marked(tiny_scrapsim, tmp_path):
    table, beside = own_rates.make(tiny_scrapsim, tmp_path, steps=1)
    tried = table[["encoder_lr", "lr"]].to_dict("records")
    assert tried == [dict(sorted(c.items())) for c in own_rates.CANDIDATES]
    used = table[table["used"]]
    assert used[["encoder_lr", "lr"]].to_dict("records") == [rates("scrapseg-frozen")]
    splits = Splits.load(tiny_scrapsim)
    config = TrainConfig(steps=1, evals=1, **rates("scrapseg-frozen"))
    _, history, _ = train("scrapseg-frozen", splits, config)
    assert used["val"].item() == history[-1]["val"]
    assert beside == {"split": "val", "sha256": splits.val.sha256}
    again, _ = own_rates.make(tiny_scrapsim, tmp_path, steps=1)  # nothing is trained a second time
    assert again["seconds"].tolist() == table["seconds"].tolist()

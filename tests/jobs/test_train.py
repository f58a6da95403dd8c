"""What several adapters of one command are called."""

from __future__ import annotations

from pathlib import Path

from jobs.train import TrainJob, _forms, _repeats


def test_train_each_serialisation_and_repeat_has_its_own_names_and_seed() -> None:
    job = TrainJob(
        base_model="x",
        out=Path("out"),
        task="attributes",
        serialisations=["json", "tsv"],
        rating=False,
        repeats=2,
        seed=3,
        run_name="night",
        adapter_copy="s3://b/a?region=x",
    )
    made = [one for form in _forms(job) for one in _repeats(form)]
    assert [(one.serialisation, one.seed, str(one.adapter_folder()), one.run_name, one.adapter_copy) for one in made] == [
        (form, seed, f"out/adapter-no-rating-{name}", f"night-{name}", f"s3://b/a-{name}?region=x")
        for form in ("json", "tsv")
        for seed in (3, 4)
        for name in (f"{form}-seed{seed}",)
    ]
    assert all((one.serialisations, one.repeats) == ([], 1) for one in made)


def test_train_one_adapter_keeps_its_name() -> None:
    job = TrainJob(base_model="x", out=Path("out"))
    assert [one for form in _forms(job) for one in _repeats(form)] == [job]

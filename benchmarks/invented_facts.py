"""How many facts each model made up, counted exactly on the synthetic shop, beside what the rule `hallucination` saw.

    python jobs/demo.py --task attributes --out out/attributes
    python benchmarks/invented_facts.py out/attributes [--json FILE]

The shop's words are a closed list and every item's facts are known, so `invented_facts` counts without any rule of the scores.
A row agrees where both find something, or neither does.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import polars as pl

from reviewllm.attributes.values import read_attributes
from reviewllm.sources.shop_facts import invented_facts
from reviewllm.tables import EXAMPLES, GENERATIONS, read_table

_BY = ("model", "adapter", "with_rating")


def main() -> None:
    """Count, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of an evaluation on the synthetic shop")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    figures = count(arguments.out)
    with pl.Config(
        tbl_rows=-1, tbl_width_chars=130, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, fmt_str_lengths=60
    ):
        print(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures.to_dicts(), indent=2), encoding="utf-8")


def count(out: Path) -> pl.DataFrame:
    """For each model and kind of prompt: texts, facts made up, texts with any, texts with `hallucination`, texts that agree."""
    examples = pl.concat([pl.DataFrame(read_table(folder, EXAMPLES)) for folder in _splits(out)])
    facts = {name: read_attributes(text) for name, text in examples.select("example_id", "attributes").iter_rows()}
    rows = pl.DataFrame(read_table(out / "metrics" / "generations", GENERATIONS)).filter(pl.col("review").is_not_null())
    made_up = [len(invented_facts(text, facts[name])) for name, text in rows.select("example_id", "review").iter_rows()]
    seen = pl.col("hallucination").fill_null(0) > 0
    return (
        rows.with_columns(
            made_up=pl.Series(made_up, dtype=pl.Int64), model=_name("model"), adapter=_name("adapter").fill_null("-")
        )
        .group_by(_BY, maintain_order=True)
        .agg(
            texts=pl.len(),
            made_up=pl.col("made_up").sum(),
            texts_with_any=(pl.col("made_up") > 0).sum(),
            seen_by_rule=seen.sum(),
            agree=(seen == (pl.col("made_up") > 0)).sum(),
        )
    )


def _splits(out: Path) -> list[Path]:
    return [folder for split in ("simple", "hard") if (folder := out / "examples" / split).is_dir()]


def _name(column: str) -> pl.Expr:
    return pl.col(column).str.split("/").list.last()


if __name__ == "__main__":
    main()

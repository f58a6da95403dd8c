"""Benchmark files -> products, examples and the attributes of each category."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from reviewllm.errors import ConfigError
from reviewllm.examples.shards import write_shards
from reviewllm.extraction.benchmarks import Product, read_benchmark
from reviewllm.extraction.examples import asked_examples, product_table, training_examples
from reviewllm.extraction.schemas import Schemas, attributes_of, learn_schemas, write_schemas
from reviewllm.table_files import write_table
from reviewllm.tables import PRODUCTS, REJECTED

SCHEMAS_FILE = "schemas.json"


class Prepared(NamedTuple):
    """How many products each file gave; `repeated` were left out of training because the test has them too."""

    train: int
    test: int
    rejected: int
    repeated: int
    categories: int
    attributes: int


def prepare_benchmark(
    train: Path, test: Path, out: Path, *, schemas: Schemas | None, max_rejected_fraction: float
) -> Prepared:
    """Write `out/products/<split>`, `out/examples/<split>`, `out/schemas.json` and `out/rejected`.

    Args:
        schemas: the attributes of each category; None learns them of the training products.

    Raises:
        SourceError: a file cannot be read or holds no product.
        RejectedBudgetError: too many lines are no products.
        ConfigError: the schemas cannot be used, or lack a category of the files.
    """
    learnt, bad = read_benchmark(train, max_rejected_fraction=max_rejected_fraction)
    asked, more_bad = read_benchmark(test, max_rejected_fraction=max_rejected_fraction)
    known = {_content(product) for product in asked}
    kept = [product for product in learnt if _content(product) not in known]
    schemas = learn_schemas(kept) if schemas is None else schemas
    lacking = sorted({product.category for product in (*kept, *asked) if attributes_of(schemas, product.category) is None})
    if lacking:
        raise ConfigError(
            f"no attributes are known of {len(lacking)} category(ies), as {lacking[0]!r}: name them in --schema, under their own "
            "name or under '*'"
            if schemas
            else "no category is known"
        )
    for folder in ("products", "examples", "rejected"):
        shutil.rmtree(out / folder, ignore_errors=True)
    for split, products in (("train", kept), ("test", asked)):
        write_table(product_table(products, split=split), out / "products" / split / "products.parquet", PRODUCTS)
    write_shards(training_examples(kept, schemas), out / "examples" / "train")
    write_shards(asked_examples(asked, schemas, split="test"), out / "examples" / "test")
    rejected = pa.Table.from_pylist([one._asdict() for one in (*bad, *more_bad)], schema=REJECTED.schema)
    write_table(rejected, out / "rejected" / "benchmark.parquet", REJECTED)
    write_schemas(schemas, out / SCHEMAS_FILE)
    return Prepared(
        train=len(kept),
        test=len(asked),
        rejected=rejected.num_rows,
        repeated=len(learnt) - len(kept),
        categories=len(schemas),
        attributes=sum(map(len, schemas.values())),
    )


def _content(product: Product) -> tuple[str, str, str]:
    return product.category, product.title.lower(), (product.description or "").lower()

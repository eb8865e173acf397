"""TinyStories (Eldan and Li 2023): short stories in simple words, as GPT-2's tokens.

The files are those of the Hugging Face Hub: the published texts or the parquet files, and a
``tokenizer.json`` in the same folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from esper_leyline import DataSpec
from esper_tolaria.datasets.failures import damaged_file, missing_data
from esper_tolaria.datasets.splits import SPLIT_SEED, Dataset
from esper_tolaria.datasets.tokens import cut_tokens, tokens_needed
from esper_tolaria.errors import TolariaError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FOLDER = "tinystories"
STORIES = "roneneldan/TinyStories"
TOKENIZER = "openai-community/gpt2"
TOKENIZER_FILE = "tokenizer.json"
TEXTS = {"train": "TinyStories-train.txt", "test": "TinyStories-valid.txt"}
TABLES = {"train": "data/train-*.parquet", "test": "data/validation-*.parquet"}
END = "<|endoftext|>"
"""The text, and the token, that ends each story."""

_STORIES_AT_A_TIME = 1000


def tinystories_is_here(root: Path) -> bool:
    """Whether a tokenizer and the stories, as texts or as tables, are under ``root``."""
    folder = root / FOLDER
    stories = _texts_are_here(folder) or _tables_are_here(folder)
    return stories and (folder / TOKENIZER_FILE).is_file()


def fetch_tinystories(root: Path) -> None:
    """Downloads the tables and GPT-2's tokenizer from the Hugging Face Hub.

    Raises:
        TolariaError: If that fails, or the extra ``text`` is not installed.
    """
    try:
        from huggingface_hub import hf_hub_download, snapshot_download  # noqa: PLC0415
        from huggingface_hub.utils import logging  # noqa: PLC0415
    except ImportError:
        raise _extra_missing() from None
    folder = root / FOLDER
    logging.set_verbosity_error()  # it logs every retry; the outcome is our error
    reason = "the Hub has no such files"
    try:
        hf_hub_download(TOKENIZER, TOKENIZER_FILE, local_dir=folder)
        snapshot_download(
            STORIES, repo_type="dataset", allow_patterns=list(TABLES.values()), local_dir=folder
        )
    except OSError as error:
        reason = str(error)
    # If the Hub cannot be reached, a snapshot may be an empty folder instead of an error.
    if not tinystories_is_here(root):
        raise missing_data(
            "TinyStories",
            places=f"'{folder}'",
            reason=reason,
            command=f"hf download {TOKENIZER} {TOKENIZER_FILE} --local-dir '{folder}' && "
            f"hf download {STORIES} --repo-type dataset --include 'data/*' "
            f"--local-dir '{folder}'",
        )


def load_tinystories(spec: DataSpec, root: Path) -> Dataset:
    """Reads as many stories as the spec needs; test rows come from the published validation set.

    Raises:
        TolariaError: If the extra is not installed, or a file is damaged or too short.
    """
    folder = root / FOLDER
    tokenizer = _read_tokenizer(folder / TOKENIZER_FILE, spec)
    learnt = spec.train_size + spec.validation_size
    text = _tokenize(_stories(folder, "train"), tokenizer, tokens_needed(spec, learnt))
    unseen = _tokenize(_stories(folder, "test"), tokenizer, tokens_needed(spec, spec.test_size))
    held_out = text[spec.train_size * spec.input_shape[0] :]
    return Dataset(
        train=cut_tokens(text, spec, spec.train_size, place=f"'{folder}'"),
        validation=cut_tokens(held_out, spec, spec.validation_size, place=f"'{folder}'"),
        test=cut_tokens(unseen, spec, spec.test_size, place=f"'{folder}'"),
        rng_seed=SPLIT_SEED,
    )


def _texts_are_here(folder: Path) -> bool:
    return all((folder / name).is_file() for name in TEXTS.values())


def _tables_are_here(folder: Path) -> bool:
    return all(any(folder.glob(pattern)) for pattern in TABLES.values())


def _stories(folder: Path, part: str) -> Iterator[str]:
    if _texts_are_here(folder):
        return _read_text(folder / TEXTS[part])
    return _read_tables(sorted(str(path) for path in folder.glob(TABLES[part])))


def _read_text(path: Path) -> Iterator[str]:
    lines: list[str] = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip() == END:
                yield "".join(lines).strip()
                lines = []
            else:
                lines.append(line)
    if lines:
        yield "".join(lines).strip()


def _read_tables(paths: Sequence[str]) -> Iterator[str]:
    try:
        from datasets import load_dataset  # noqa: PLC0415
    except ImportError:
        raise _extra_missing() from None
    rows = load_dataset("parquet", data_files=list(paths), split="train", streaming=True)
    return (row["text"].strip() for row in rows)


def _read_tokenizer(path: Path, spec: DataSpec) -> Tokenizer:
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415
    except ImportError:
        raise _extra_missing() from None
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises nothing more special
        raise damaged_file(path, str(error)) from None
    if tokenizer.token_to_id(END) is None:
        raise damaged_file(path, f"it has no token {END}")
    if tokenizer.get_vocab_size() > spec.classes:
        raise damaged_file(
            path, f"it has {tokenizer.get_vocab_size()} tokens, the host {spec.classes}"
        )
    return tokenizer


def _tokenize(stories: Iterator[str], tokenizer: Tokenizer, needed: int) -> Tensor:
    """Encodes stories and their end tokens until there are enough tokens or no more stories."""
    end = tokenizer.token_to_id(END)
    parts: list[NDArray[np.int64]] = []
    found = 0
    while found < needed:
        some = list(islice(stories, _STORIES_AT_A_TIME))
        if not some:
            break
        encoded = tokenizer.encode_batch(some, add_special_tokens=False)
        parts += [np.array([*each.ids, end]) for each in encoded]
        found += sum(len(each) + 1 for each in encoded)
    return torch.from_numpy(np.concatenate(parts)) if parts else torch.empty(0, dtype=torch.int64)


def _extra_missing() -> TolariaError:
    return TolariaError(
        "TinyStories needs packages that are not installed; get them with: "
        "pip install 'esper-tolaria[text]' (in a checkout of Esper: uv sync --extra text)"
    )

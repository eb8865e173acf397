"""CIFAR-10 and Fashion-MNIST from files of the published formats, and without them."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
import tarfile
import threading
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, FashionMNIST

from esper_kasmina import build_host
from esper_leyline import FactoredAction, TaskSpec, TrainingConfig
from esper_tolaria import (
    LocalEnvironment,
    TolariaError,
    data_is_here,
    fetch_data,
    find_task,
    load_dataset,
    make_setup,
)
from esper_tolaria.datasets import cifar10, fashion_mnist
from esper_tolaria.datasets.images import Images

CLOSED = "http://127.0.0.1:1/"
"""An address where no server answers."""

SIZES = {"train_size": 700, "validation_size": 200, "test_size": 150}
PER_FILE = 200


def small(name: str, **data) -> TaskSpec:
    task = find_task(name).spec
    return task.model_copy(update={"data": task.data.model_copy(update=SIZES | data)})


def as_python_2_wrote_it(batch: dict) -> bytes:
    """The published batches are pickles of Python 2 and of a NumPy that old."""
    written = pickle.dumps(batch, protocol=2)
    old = written.replace(b"\x89\x88\x87", b"K\x00K\x01\x87")
    old = old.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != written
    return old


@pytest.fixture(scope="session")
def cifar_root(tmp_path_factory, images):
    """A folder with CIFAR-10's files, made of grey images with a different shade a channel."""
    root = tmp_path_factory.mktemp("cifar")
    folder = root / cifar10.FOLDER
    folder.mkdir()
    grey = np.pad(images.pixels, ((0, 0), (2, 2), (2, 2)))
    colour = np.stack([grey, 255 - grey, grey // 2], axis=1)
    for number, name in enumerate((*cifar10.TRAINING_FILES, cifar10.TEST_FILE)):
        rows = slice(number * PER_FILE, (number + 1) * PER_FILE)
        batch = {
            "batch_label": name,
            "labels": images.labels[rows].tolist(),
            "data": colour[rows].reshape(PER_FILE, -1),
            "filenames": [f"{row}.png" for row in range(PER_FILE)],
        }
        (folder / name).write_bytes(as_python_2_wrote_it(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}, 2))
    return root


@pytest.fixture(scope="session")
def idx_root(tmp_path_factory, images):
    """A folder with Fashion-MNIST's four files as torchvision leaves them, unpacked."""
    root = tmp_path_factory.mktemp("idx")
    folder = root / fashion_mnist.FOLDER
    folder.mkdir(parents=True)
    for part, rows in (("train", slice(0, 1000)), ("t10k", slice(1000, 1400))):
        for kind, array in (("images-idx3", images.pixels), ("labels-idx1", images.labels)):
            chosen = array[rows].astype(np.uint8)
            head = bytes((0, 0, 8, chosen.ndim)) + struct.pack(f">{chosen.ndim}I", *chosen.shape)
            (folder / f"{part}-{kind}-ubyte").write_bytes(head + chosen.tobytes())
    return root


@pytest.fixture
def no_system_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path / "not-installed")


@pytest.fixture
def nobody_answers(monkeypatch):
    """Lets downloads fail as they do where there is no internet."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(CIFAR10, "url", f"{CLOSED}cifar-10-python.tar.gz")
    monkeypatch.setattr(FashionMNIST, "mirrors", [CLOSED])


@pytest.fixture
def known_to_torchvision(monkeypatch, cifar_root):
    """Makes our files the ones whose checksums torchvision expects."""

    def digest(name: str) -> str:
        return hashlib.md5((cifar_root / cifar10.FOLDER / name).read_bytes()).hexdigest()

    training = [[name, digest(name)] for name in cifar10.TRAINING_FILES]
    monkeypatch.setattr(CIFAR10, "train_list", training)
    monkeypatch.setattr(CIFAR10, "test_list", [[cifar10.TEST_FILE, digest(cifar10.TEST_FILE)]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": digest("batches.meta")}
    monkeypatch.setattr(CIFAR10, "meta", meta)


def pixels_of(split, scale) -> np.ndarray:
    """Undoes the normalisation."""
    mean, deviation = (torch.tensor(each).view(-1, 1, 1) for each in (scale.mean, scale.deviation))
    back = (split.inputs * deviation + mean) * scale.largest
    return back.round().to(torch.uint8).numpy()


def rows_of(images: np.ndarray, labels) -> list[tuple[bytes, int]]:
    return [(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)]


def test_cifar10_equals_what_torchvision_reads(cifar_root, known_to_torchvision):
    data = load_dataset(small("cifar10"), cifar_root)
    training, test = (CIFAR10(str(cifar_root), train=train) for train in (True, False))
    published = rows_of(training.data.transpose(0, 3, 1, 2), training.targets)
    mine = [
        rows_of(pixels_of(split, cifar10.SCALE), split.targets)
        for split in (data.train, data.validation)
    ]
    assert [len(each) for each in mine] == [700, 200]
    rows = [published.index(row) for row in mine[0] + mine[1]]
    assert sorted(set(rows)) == sorted(rows)
    assert rows != sorted(rows)
    expected = rows_of(test.data.transpose(0, 3, 1, 2), test.targets)[:150]
    assert rows_of(pixels_of(data.test, cifar10.SCALE), data.test.targets) == expected


def test_fashion_mnist_equals_what_torchvision_reads(idx_root, no_system_folder):
    data = load_dataset(small("fashion_mnist"), idx_root)
    test = FashionMNIST(str(idx_root), train=False)
    expected = rows_of(test.data.unsqueeze(1).numpy(), test.targets)[:150]
    assert rows_of(pixels_of(data.test, fashion_mnist.SCALE), data.test.targets) == expected
    training = FashionMNIST(str(idx_root), train=True)
    published = set(rows_of(training.data.unsqueeze(1).numpy(), training.targets))
    mine = [
        rows_of(pixels_of(split, fashion_mnist.SCALE), split.targets)
        for split in (data.train, data.validation)
    ]
    assert set(mine[0] + mine[1]) <= published


def test_gzipped_files_are_read(idx_root, no_system_folder, tmp_path):
    packed = tmp_path / fashion_mnist.FOLDER
    packed.mkdir(parents=True)
    for path in (idx_root / fashion_mnist.FOLDER).iterdir():
        (packed / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    task = small("fashion_mnist")
    assert data_is_here(task, tmp_path)
    plain, unpacked = load_dataset(task, idx_root), load_dataset(task, tmp_path)
    for name in ("train", "validation", "test"):
        assert torch.equal(getattr(plain, name).inputs, getattr(unpacked, name).inputs)
        assert torch.equal(getattr(plain, name).targets, getattr(unpacked, name).targets)


def test_validation_rows_do_not_depend_on_the_number_of_training_rows(idx_root, no_system_folder):
    task, fewer = small("fashion_mnist"), small("fashion_mnist", train_size=300)
    whole, part = load_dataset(task, idx_root), load_dataset(fewer, idx_root)
    assert torch.equal(whole.validation.inputs, part.validation.inputs)
    assert torch.equal(whole.train.inputs[:300], part.train.inputs)


@pytest.mark.skipif(
    not fashion_mnist.SYSTEM_FOLDER.is_dir(), reason="apt-get install dataset-fashion-mnist"
)
def test_the_debian_package_is_found_without_a_download(nowhere):
    task = find_task("fashion_mnist").spec
    assert data_is_here(task, nowhere)
    data = load_dataset(task, nowhere)
    assert (len(data.train), len(data.validation), len(data.test)) == (58_000, 2000, 10_000)
    assert data.test.targets.bincount().tolist() == [1000] * 10
    counts = (data.train.targets.bincount() + data.validation.targets.bincount()).tolist()
    assert counts == [6000] * 10
    assert data.train.inputs.mean().item() == pytest.approx(0.0, abs=0.01)
    assert data.train.inputs.std().item() == pytest.approx(1.0, abs=0.01)


def test_a_host_learns_from_the_files_with_augmentation(cifar_root):
    task = small("cifar10")
    training = task.training.model_copy(update={"batch_size": 25})
    task = task.model_copy(update={"training": training})
    config = TrainingConfig(n_envs=1, max_epochs=12)
    environment = LocalEnvironment(
        make_setup(task, config, build_host),
        load_dataset(task, cifar_root),
        torch.device("cpu"),
    )
    environment.reset([1])
    reports = [environment.step([FactoredAction()])[0] for _ in range(4)]
    assert reports[-1].train_loss < reports[0].train_loss
    assert reports[-1].train_accuracy > 15


@pytest.fixture
def server(tmp_path_factory, cifar_root):
    """An address that serves CIFAR-10's archive, and the archive's checksum."""
    folder = tmp_path_factory.mktemp("served")
    archive = folder / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(cifar_root / cifar10.FOLDER, arcname=cifar10.FOLDER)
    httpd = HTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield (
        f"http://127.0.0.1:{httpd.server_port}/{archive.name}",
        hashlib.md5(archive.read_bytes()).hexdigest(),
    )
    httpd.shutdown()
    thread.join()
    httpd.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_cifar10_is_downloaded_if_it_is_missing(
    server, known_to_torchvision, cifar_root, tmp_path, monkeypatch
):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    url, checksum = server
    monkeypatch.setattr(CIFAR10, "url", url)
    monkeypatch.setattr(CIFAR10, "tgz_md5", checksum)
    task, root = small("cifar10"), tmp_path / "data"
    assert not data_is_here(task, root)
    fetch_data(task, root)
    assert data_is_here(task, root)
    here, there = load_dataset(task, root), load_dataset(task, cifar_root)
    assert torch.equal(here.train.inputs, there.train.inputs)


def test_a_download_with_a_wrong_checksum_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(CIFAR10, "url", server[0])
    with pytest.raises(TolariaError, match=r"CIFAR-10 is not in .*corrupted"):
        fetch_data(small("cifar10"), tmp_path)


@pytest.mark.parametrize(
    ("name", "folder", "command"),
    [
        ("cifar10", cifar10.FOLDER, "curl -L http"),
        ("fashion_mnist", str(fashion_mnist.FOLDER), "apt-get install dataset-fashion-mnist"),
    ],
)
@pytest.mark.usefixtures("no_system_folder", "nobody_answers")
def test_a_failed_download_is_a_one_line_error_with_a_command(name, folder, command, tmp_path):
    assert not data_is_here(small(name), tmp_path)
    with pytest.raises(TolariaError) as caught:
        load_dataset(small(name), tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for part in (f"'{tmp_path / folder}'", command, "--data-root", "mnist1d_blind", "refused"):
        assert part in message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "EOFError"),
        (b"<html>", "UnpicklingError"),
        (pickle.dumps({"labels": [1]}, 2), "KeyError"),
        (pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": []}), "1 images, 0"),
        (pickle.dumps({"data": np.zeros(7, np.uint8), "labels": []}), "ValueError"),
        (pickle.dumps(threading.Thread), "refers to threading.Thread"),
    ],
    ids=["empty", "page", "no data", "no labels", "odd size", "code"],
)
def test_a_damaged_batch_is_a_one_line_error_and_runs_no_code(cifar_root, tmp_path, content, says):
    folder = tmp_path / cifar10.FOLDER
    folder.mkdir()
    for path in (cifar_root / cifar10.FOLDER).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "data_batch_3").write_bytes(content)
    with pytest.raises(TolariaError, match=says) as caught:
        load_dataset(small("cifar10"), tmp_path)
    assert "data_batch_3' cannot be read" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_few_images_are_an_error(cifar_root, idx_root, no_system_folder):
    for name, root in (("cifar10", cifar_root), ("fashion_mnist", idx_root)):
        with pytest.raises(TolariaError, match=rf"'{name}' needs \d+ rows .* has 1000; replace"):
            load_dataset(find_task(name).spec, root)
    task = small("digits", test_size=1000)
    with pytest.raises(TolariaError, match="needs 900 rows for training and validation"):
        load_dataset(task)


def test_images_of_another_size_are_an_error(idx_root, no_system_folder):
    task = small("fashion_mnist", input_shape=(1, 32, 32))
    with pytest.raises(TolariaError, match=r"\(1, 32, 32\), and .* has \(1, 28, 28\)"):
        load_dataset(task, idx_root)


def test_the_digits_are_the_published_ones(images):
    data = load_dataset(find_task("digits").spec)
    labels = torch.cat([data.train.targets, data.validation.targets, data.test.targets])
    assert labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert isinstance(images, Images)
    assert len(images.labels) >= 2400

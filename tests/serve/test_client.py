"""emonet_fast.client: what goes in and comes out is Scorer's."""

import asyncio
import warnings

import numpy as np
import pytest
from PIL import Image

from emonet_fast import Scorer
from emonet_fast.client import AsyncClient, Client, ServerError
from emonet_fast.errors import InputError
from emonet_fast.options import ServeOptions

from .conftest import TOKEN, running


@pytest.fixture(scope="module")
def mixed(pictures, tmp_path_factory):
    """What a program may hold: a file, bytes, arrays, PIL images of several modes, and four that cannot be scored."""
    file = tmp_path_factory.mktemp("pictures") / "a b.jpg"
    file.write_bytes(pictures[0])
    rng = np.random.default_rng(0)
    turned = Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8))
    turned.getexif()[0x0112] = 6
    return [
        file, *pictures, rng.integers(0, 256, (33, 21, 3), np.uint8), turned, Image.new("RGBA", (8, 8), (9, 8, 7, 6)),
        Image.new("I", (8, 8)), np.zeros((4, 4)), b"", str(file.parent / "none.jpg"),
    ]  # fmt: skip


def same(got, want):
    assert (got.names, got.keys, got.status, got.reason) == (want.names, want.keys, want.status, want.reason)
    for table in ("raw", "score", "softmax"):
        np.testing.assert_array_equal(getattr(got, table), getattr(want, table), table)
    assert got.notes == want.notes
    different = {k for k in want.metadata if got.metadata[k] != want.metadata[k]}
    assert different <= {"checkpoint"}  # its folder stays on the server


def test_both_clients_give_what_scorer_gives(served, tiny_folder, mixed):
    with Scorer(tiny_folder, precision="fp32") as scorer:
        want = scorer(mixed, embeddings=True)
    assert 0 < want.ok.sum() < len(want)
    with Client(served.url) as client:
        got = client(mixed, embeddings=True)
    same(got, want)
    np.testing.assert_array_equal(got.embeddings[want.ok], want.embeddings[want.ok])

    async def ask():
        async with AsyncClient(served.url) as client:
            return await client(mixed)

    same(asyncio.run(ask()), want)


def test_no_picture_and_none_that_can_be_read(served, tiny_folder):
    with Client(served.url) as client, Scorer(tiny_folder, precision="fp32") as scorer, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(client([])) == 0
        assert client([]).names == scorer([]).names
        same(client([b"x", object()]), scorer([b"x", object()]))
        with pytest.raises(InputError, match=r"\[picture\]"):
            client(b"x")


def test_what_a_server_refuses(tiny_folder, pictures):
    with running(tiny_folder, ServeOptions(port=0, max_files=2), token=TOKEN) as server:
        with Client(server.url) as client, pytest.raises(ServerError, match="token") as refused:
            client(pictures[:1])
        assert refused.value.status == 401
        with Client(server.url, token=TOKEN) as client:
            assert client(pictures[:2]).ok.all()
            with pytest.raises(ServerError, match="2 files"):
                client(pictures)
        with Client(server.url, token=TOKEN, faces="detect") as client, pytest.raises(ServerError, match="faces"):
            client(pictures[:1])
    with Client(server.url) as client, pytest.raises(ServerError, match="is it there"):
        client(pictures[:1])

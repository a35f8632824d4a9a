import io

import pytest

from transforms.audio.guard import ErrorKeepingFile, clip_errors
from transforms.errors import ClipError, Reason


class Broken(io.BytesIO):
    def readinto(self, buffer):
        if self.tell() >= 8:
            raise LookupError("the bucket is gone")
        return super().readinto(buffer)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("a"), "the decoder raises KeyError: 'a'"),
        (AttributeError(), "the decoder raises AttributeError"),
        (OSError(2, "of another file"), "the decoder raises FileNotFoundError: [Errno 2] of another file"),
        (ValueError("two\nlines" + "." * 500), "the decoder raises ValueError: two lines" + "." * 191),
        (RecursionError("deep"), "the decoder raises RecursionError: deep"),
    ],
)
def test_exceptions_of_a_decoder_become_clip_errors_that_name_them(error, message):
    with pytest.raises(ClipError) as caught, clip_errors(ErrorKeepingFile(io.BytesIO()), Reason.CORRUPT):
        raise error
    assert (caught.value.reason, str(caught.value)) == (Reason.CORRUPT, message)


def test_a_clip_error_is_raised_unchanged():
    with (
        pytest.raises(ClipError, match=r"^why$") as caught,
        clip_errors(ErrorKeepingFile(io.BytesIO()), Reason.CORRUPT),
    ):
        raise ClipError(Reason.UNSUPPORTED, "why")
    assert caught.value.reason is Reason.UNSUPPORTED


@pytest.mark.parametrize("kind", [MemoryError, ImportError, KeyboardInterrupt, SystemExit])
def test_errors_of_the_worker_are_raised_unchanged(kind):
    with pytest.raises(kind), clip_errors(ErrorKeepingFile(io.BytesIO()), Reason.CORRUPT):
        raise kind


@pytest.mark.parametrize("outcome", [None, EOFError("the end"), ClipError(Reason.CORRUPT, "cut off")])
def test_the_error_of_the_file_takes_precedence_over_the_decoder(outcome):
    file = ErrorKeepingFile(Broken(bytes(20)))
    with pytest.raises(LookupError, match="the bucket is gone"), clip_errors(file, Reason.CORRUPT):
        assert file.read(8) == bytes(8)
        assert file.part(4, 20).read(4) == bytes(4)
        assert file.part(10, 20).read() == b""
        if outcome is not None:
            raise outcome


def test_a_part_has_its_own_position_and_size():
    file = ErrorKeepingFile(io.BytesIO(b"0123456789"))
    part = file.part(2, 6)
    assert file.size == 10
    assert (part.read(2), file.read(3), part.read(), part.read(1)) == (b"23", b"012", b"45", b"")
    assert (part.seek(-1, 2), part.read(), part.seek(0), part.tell(), part.size) == (3, b"5", 0, 0, 4)
    assert part.part(1, 3).read() == b"34"
    assert part.seek(100) == 100 and part.read() == b"" and part.read(5) == b""
    assert part.readinto(bytearray(4)) == 0
    with pytest.raises(ValueError, match="no position"):
        part.seek(-1)

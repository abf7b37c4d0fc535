"""The whole error tree.

    FapVideoError            1    anything this package raises on purpose
    +-- PresetError          2    a preset, override or argument is wrong
    +-- VideoReadError       3    the input cannot be read
    +-- VideoWriteError      4    the output cannot be written
    +-- NoFaceFound          5    a face was required and none was found
    +-- ReferenceImageError  6    a reference image cannot be used
    +-- WeightsError         7    model files are missing, damaged or of another architecture
    +-- DeviceError          8    the compute device is absent or out of memory
    +-- QualityError         9    a result misses what was asked of it (`eval --fail-under`,
                                  `run --strict`)
    +-- BatchError          10    clips of a batch failed; the others are done
    +-- ProvenanceError     11    the output cannot be signed; a file's credentials are broken
    +-- NoCredentials       12    `verify`: a file carries no Content Credentials
    +-- ConsentError        13    a consent, or who is protected, forbids what was asked for
    +-- Cancelled          130    the user or a callback asked to stop

The number is the exit code of the command line (143 after SIGTERM, 129 after SIGHUP). Every message
says what is wrong and where; `hint` says what to do about it.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BatchError",
    "Cancelled",
    "ConsentError",
    "DeviceError",
    "FapVideoError",
    "NoCredentials",
    "NoFaceFound",
    "PresetError",
    "ProvenanceError",
    "QualityError",
    "ReferenceImageError",
    "VideoReadError",
    "VideoWriteError",
    "WeightsError",
]


class FapVideoError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Keep `message` (what and where, one line) and `hint` (what to do)."""
        super().__init__(message)
        self.hint = hint


class PresetError(FapVideoError):
    """A preset file, a `--set` override or an argument is wrong."""

    exit_code = 2


class VideoReadError(FapVideoError):
    """The input is missing, unreadable, not a video, or too damaged."""

    exit_code = 3


class VideoWriteError(FapVideoError):
    """The output cannot be written: folder, space, codec or container."""

    exit_code = 4


class NoFaceFound(FapVideoError):
    """A face was required (`--require-face`, `swap_image`) and none was found."""

    exit_code = 5


class ReferenceImageError(FapVideoError):
    """A reference image has no usable face, or cannot be decoded."""

    exit_code = 6


class WeightsError(FapVideoError):
    """A model file is missing, damaged, unsafe, of another architecture, or may not be used so."""

    exit_code = 7


class DeviceError(FapVideoError):
    """The compute device does not exist or ran out of memory."""

    exit_code = 8


class QualityError(FapVideoError):
    """A result is there, and misses a threshold of quality, or a frame of it fell back."""

    exit_code = 9


class BatchError(FapVideoError):
    """Some clips of a batch failed; what became of each is in its summary."""

    exit_code = 10


class ProvenanceError(FapVideoError):
    """The output cannot be signed, or the credentials of a file are broken."""

    exit_code = 11


class NoCredentials(FapVideoError):
    """A file carries no Content Credentials."""

    exit_code = 12


class ConsentError(FapVideoError):
    """What was asked for has no consent that holds, or shows somebody who is protected."""

    exit_code = 13


class Cancelled(FapVideoError):
    """The run was stopped on request; nothing was published."""

    exit_code = 130

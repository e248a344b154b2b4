"""Size buckets, and padding by 0x80 and zeros: written in place, taken off in constant time."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy, memset

from ._pure import padme as _large_padme

cdef extern from "Python.h":
    Py_ssize_t PyNumber_AsSsize_t(object, void *) except? -1
    object PyNumber_Index(object)
    long long PyLong_AsLongLongAndOverflow(object, int *) except? -1

cdef extern from "padding.h":
    Py_ssize_t pad_find(const uint8_t *, size_t) noexcept nogil
    uint64_t pad_padme(uint64_t) noexcept nogil


def bucket_for(size, buckets):
    """Return the smallest bucket that holds size. Raises ValueError if none does."""
    for bucket in buckets:
        if bucket >= size:
            return bucket
    raise ValueError("no bucket is large enough")


cdef void write_padding(uint8_t *frame, Py_ssize_t at, Py_ssize_t total) noexcept:
    frame[at] = 0x80
    memset(frame + at + 1, 0, <size_t> (total - at - 1))


def pad(data, total_bytes):
    """Return data padded to total_bytes by 0x80 and zeros (ISO/IEC 7816-4)."""
    cdef Py_buffer held
    cdef bytes frame
    cdef uint8_t *to
    cdef Py_ssize_t total
    PyObject_GetBuffer(data, &held, PyBUF_SIMPLE)
    try:
        total = PyNumber_AsSsize_t(total_bytes, NULL)
        if total <= held.len:
            raise ValueError("the padded size must be larger than the data")
        frame = PyBytes_FromStringAndSize(NULL, total)
        to = <uint8_t *> PyBytes_AsString(frame)
        if held.len:
            memcpy(to, held.buf, <size_t> held.len)
        write_padding(to, held.len, total)
        return frame
    finally:
        PyBuffer_Release(&held)


def pad_into(frame, data_bytes):
    """Pad in place what the first data_bytes of a frame hold, to the size of the frame."""
    cdef Py_buffer held
    cdef Py_ssize_t at
    PyObject_GetBuffer(frame, &held, PyBUF_WRITABLE)
    try:
        at = PyNumber_AsSsize_t(data_bytes, NULL)
        if not 0 <= at < held.len:
            raise ValueError("the padded size must be larger than the data")
        write_padding(<uint8_t *> held.buf, at, held.len)
    finally:
        PyBuffer_Release(&held)


def unpadded_bytes(data):
    """Return how many bytes stand before the padding. Raises ValueError if `pad` made none.

    Takes the same time for all data of one size.
    """
    cdef Py_buffer held
    cdef Py_ssize_t at
    PyObject_GetBuffer(data, &held, PyBUF_SIMPLE)
    at = pad_find(<const uint8_t *> held.buf, <size_t> held.len)
    PyBuffer_Release(&held)
    if at < 0:
        raise ValueError("malformed padding")
    return at


def unpad(data):
    """Return what `pad` was given. Raises ValueError for anything that it cannot have made."""
    cdef Py_buffer held
    cdef Py_ssize_t at
    PyObject_GetBuffer(data, &held, PyBUF_SIMPLE)
    try:
        at = pad_find(<const uint8_t *> held.buf, <size_t> held.len)
        if at < 0:
            raise ValueError("malformed padding")
        return PyBytes_FromStringAndSize(<char *> held.buf, at)
    finally:
        PyBuffer_Release(&held)


def padme(size):
    """Return the Padmé size that hides size: at most 12 % more (Nikitin et al., PETS 2019)."""
    cdef int overflow = 0
    cdef object exact = PyNumber_Index(size)
    cdef long long small = PyLong_AsLongLongAndOverflow(exact, &overflow)
    if overflow or small >= <long long> 1 << 62:
        return _large_padme(exact)
    if small < 2:
        return small
    return pad_padme(<uint64_t> small)

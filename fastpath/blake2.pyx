"""BLAKE2b of many chunks at a time, by the widest kernel that the machine runs."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memmove, memset

cdef extern from "Python.h":
    Py_ssize_t PyNumber_AsSsize_t(object, void *) except? -1
    object PyNumber_Index(object)

cdef extern from "b2_many.h":
    ctypedef struct b2_job:
        const uint8_t *in_ "in"
        size_t in_bytes
        size_t chunk_bytes
        uint8_t *copy
        int numbering
        uint64_t first_index
        int ends

    enum: B2_SALTS, B2_NODES
    enum: B2_UNKNOWN, B2_NOT_BUILT, B2_NO_CPU

    void b2_set_params(
        b2_job *, size_t, const uint8_t *, size_t, const uint8_t *, size_t, const uint8_t *, size_t
    ) noexcept nogil
    void b2_set_tree(b2_job *, uint8_t, uint8_t, uint32_t, uint8_t, uint8_t) noexcept nogil
    size_t b2_chunks(const b2_job *) noexcept nogil
    void b2_many(const b2_job *, uint8_t *) noexcept nogil
    Py_ssize_t b2_verify(const b2_job *, const uint8_t *) noexcept nogil
    int b2_kernel_count() noexcept nogil
    const char *b2_kernel_name(int) noexcept nogil
    int b2_kernel_find(const char *) noexcept nogil
    int b2_kernel_best() noexcept nogil
    int b2_kernel_current() noexcept nogil
    void b2_kernel_use(int) noexcept nogil


cdef enum:
    LEAF_BYTES = 32
    # Below this, releasing the GIL and taking it again costs more than other threads gain.
    SMALL_BYTES = 4096


# --- kernels -----------------------------------------------------------------------------------


def kernels() -> tuple[str, ...]:
    """Return the names of the kernels that this machine runs, the best one last."""
    names = [b2_kernel_name(i).decode() for i in range(b2_kernel_count())]
    return tuple(name for name in names if b2_kernel_find(name.encode()) >= 0)


def kernel() -> str:
    """Return the name of the hash kernel in use."""
    return b2_kernel_name(b2_kernel_current()).decode()


def use_kernel(name: str) -> None:
    """Hash with another kernel from now on, in every thread; with "" by the best one.

    Raises ValueError for one that does not exist, RuntimeError for one that cannot run here.
    """
    if not name:
        b2_kernel_use(b2_kernel_best())
        return
    cdef int found = b2_kernel_find(name.encode())
    if found == B2_UNKNOWN:
        raise ValueError(f"there is no hash kernel {name!r}")
    if found == B2_NOT_BUILT:
        raise RuntimeError(f"the hash kernel {name!r} is not in this build")
    if found == B2_NO_CPU:
        raise RuntimeError(f"this machine cannot run the hash kernel {name!r}")
    b2_kernel_use(found)


# --- the buffers of a call ---------------------------------------------------------------------


cdef struct Call:
    b2_job job
    Py_buffer held[3]
    int count
    uint8_t *into  # set if it overlaps the input, which is then hashed first and copied afterwards


cdef uint8_t *hold(Call *call, object buffer, int flags, size_t *size) except? NULL:
    """Hold a buffer until the end of the call."""
    cdef Py_buffer *held = &call.held[call.count]
    PyObject_GetBuffer(buffer, held, flags)
    call.count += 1
    size[0] = <size_t> held.len
    return <uint8_t *> held.buf


cdef void release(Call *call):
    cdef int i
    for i in range(call.count):
        PyBuffer_Release(&call.held[i])


cdef int take_chunks(Call *call, object data, object chunk_bytes) except -1:
    call.job.in_ = hold(call, data, PyBUF_SIMPLE, &call.job.in_bytes)
    cdef Py_ssize_t size = PyNumber_AsSsize_t(chunk_bytes, NULL)  # clips: larger than any data
    if size <= 0:
        raise ValueError("chunk_bytes must be positive")
    call.job.chunk_bytes = <size_t> size
    return 0


cdef bytes short(object parameter, Py_ssize_t most_bytes):
    """Return a key, a salt or a person as bytes."""
    cdef Py_buffer held
    cdef bytes value
    if type(parameter) is bytes:
        value = parameter
    else:
        PyObject_GetBuffer(parameter, &held, PyBUF_SIMPLE)
        value = PyBytes_FromStringAndSize(<char *> held.buf, held.len)
        PyBuffer_Release(&held)
    if len(value) > most_bytes:
        raise ValueError("a key has at most 64 bytes, a salt and a person 16")
    return value


cdef int set_params(
    Call *call, size_t digest_bytes, object key, object salt, object person
) except -1:
    cdef bytes k = short(key, 64), s = short(salt, 16), p = short(person, 16)
    b2_set_params(
        &call.job, digest_bytes,
        <const uint8_t *> PyBytes_AsString(k), <size_t> len(k),
        <const uint8_t *> PyBytes_AsString(s), <size_t> len(s),
        <const uint8_t *> PyBytes_AsString(p), <size_t> len(p),
    )
    return 0


cdef int number(Call *call, object first_index, bint last) except -1:
    """Give the chunks their numbers."""
    cdef object first = PyNumber_Index(first_index)
    if not 0 <= first <= 0xFFFFFFFFFFFFFFFF - <uint64_t> (b2_chunks(&call.job) - 1):
        raise OverflowError("the index of a chunk has 64 bits")
    call.job.first_index = first
    call.job.ends = last
    return 0


cdef uint32_t limited(object value, uint32_t least, uint32_t most) except? 0xFFFFFFFF:
    cdef object number = PyNumber_Index(value)
    if not least <= number <= most:
        raise ValueError("a parameter of the tree is out of range")
    return <uint32_t> number


cdef int set_tree(Call *call, object tree) except -1:
    """Make the chunks nodes of a tree."""
    fanout, depth, leaf_bytes, node_depth, inner_bytes, first_node, last = tree
    b2_set_tree(
        &call.job,
        <uint8_t> limited(fanout, 0, 255),
        <uint8_t> limited(depth, 1, 255),
        limited(leaf_bytes, 0, 0xFFFFFFFF),
        <uint8_t> limited(node_depth, 0, 255),
        <uint8_t> limited(inner_bytes, 0, 64),
    )
    return number(call, first_node, last)


cdef int take_target(Call *call, object into) except -1:
    if into is None:
        return 0
    cdef size_t size = 0
    cdef uint8_t *target = hold(call, into, PyBUF_WRITABLE, &size)
    if size < call.job.in_bytes:
        raise ValueError("the buffer to copy into is too small")
    # Compared as numbers, because comparing pointers into different objects is undefined in C.
    cdef uintptr_t to = <uintptr_t> target, start = <uintptr_t> call.job.in_
    if to < start + call.job.in_bytes and start < to + call.job.in_bytes:
        call.into = target
    else:
        call.job.copy = target
    return 0


cdef bytes run(Call *call, size_t digest_bytes):
    """Return the digests of all chunks."""
    cdef bytes made = PyBytes_FromStringAndSize(
        NULL, <Py_ssize_t> (b2_chunks(&call.job) * digest_bytes)
    )
    cdef uint8_t *out = <uint8_t *> PyBytes_AsString(made)
    if call.job.in_bytes < SMALL_BYTES:
        b2_many(&call.job, out)
    else:
        with nogil:
            b2_many(&call.job, out)
    if call.into != NULL:
        memmove(call.into, call.job.in_, call.job.in_bytes)
    return made


# --- functions ---------------------------------------------------------------------------------


def digests(
    data, chunk_bytes, *, digest_bytes=32, key=b"", salt=b"", person=b"", tree=None, into=None
):
    """Return the BLAKE2b digest of each chunk of data, concatenated. See the pure twin."""
    cdef Call call
    memset(&call, 0, sizeof(call))
    try:
        take_chunks(&call, data, chunk_bytes)
        size = PyNumber_AsSsize_t(digest_bytes, NULL)
        if not 1 <= size <= 64:
            raise ValueError("a digest has 1 to 64 bytes")
        set_params(&call, size, key, salt, person)
        if tree is not None:
            set_tree(&call, tree)
        take_target(&call, into)
        return run(&call, size)
    finally:
        release(&call)


def leaves(data, chunk_bytes, *, key, person, first_index, last, into=None):
    """Return the 32-byte keyed leaf of each chunk of data, concatenated. See the pure twin."""
    cdef Call call
    memset(&call, 0, sizeof(call))
    try:
        take_chunks(&call, data, chunk_bytes)
        set_params(&call, LEAF_BYTES, key, b"", person)
        number(&call, first_index, last)
        call.job.numbering = B2_SALTS
        take_target(&call, into)
        return run(&call, LEAF_BYTES)
    finally:
        release(&call)


def verify(data, chunk_bytes, leaves, *, key, person, first_index, last, into=None):
    """Return the position in data of the first chunk whose leaf differs, or -1."""
    cdef Call call
    cdef uint8_t *expected
    cdef size_t expected_bytes = 0
    cdef Py_ssize_t bad
    memset(&call, 0, sizeof(call))
    try:
        take_chunks(&call, data, chunk_bytes)
        expected = hold(&call, leaves, PyBUF_SIMPLE, &expected_bytes)
        if expected_bytes != LEAF_BYTES * b2_chunks(&call.job):
            raise ValueError("one leaf of 32 bytes for each chunk")
        set_params(&call, LEAF_BYTES, key, b"", person)
        number(&call, first_index, last)
        call.job.numbering = B2_SALTS
        take_target(&call, into)
        if call.job.in_bytes < SMALL_BYTES:
            bad = b2_verify(&call.job, expected)
        else:
            with nogil:
                bad = b2_verify(&call.job, expected)
        if call.into != NULL:
            memmove(call.into, call.job.in_, call.job.in_bytes)
        return bad
    finally:
        release(&call)

"""Token buckets, in exact integers."""

from libc.stdint cimport int64_t, uint64_t

cdef extern from "Python.h":
    object PyNumber_Index(object)
    long long PyLong_AsLongLongAndOverflow(object, int *) except? -1

cdef extern from "token_bucket.h":
    ctypedef struct token_bucket:
        uint64_t per_s
        uint64_t burst
        uint64_t level
        uint64_t part
        int64_t at_ns

    int64_t TB_MAX
    void tb_settle(token_bucket *, int64_t) noexcept nogil
    int64_t tb_wait(const token_bucket *, uint64_t, int64_t) noexcept nogil


cdef int64_t integer(object value, const char *refusal) except? -1:
    """Return an integer of 64 bits."""
    cdef int overflow = 0
    # Accepts anything with __index__, so no float.
    cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow:
        raise ValueError(refusal.decode())
    return number


cdef uint64_t count(object value) except? 0xFFFFFFFFFFFFFFFF:
    cdef const char *refusal = "a rate, a burst and a size must be in 0..2^63-1"
    cdef int64_t number = integer(value, refusal)
    if number < 0:
        raise ValueError(refusal.decode())
    return <uint64_t> number


cdef int64_t time(object now_ns) except? -1:
    return integer(now_ns, "a time must fit in 64 bits")


cdef class TokenBucket:
    """A rate limit: `burst` tokens at once, `per_s` a second in the long run; it starts full.

    See the pure twin.
    """

    cdef token_bucket own
    cdef TokenBucket parent

    FOREVER_NS = 0x7FFFFFFFFFFFFFFF

    def __cinit__(self, per_s, burst, now_ns, TokenBucket parent=None):
        self.own.per_s = count(per_s)
        self.own.burst = self.own.level = count(burst)
        self.own.at_ns = time(now_ns)
        self.parent = parent

    @property
    def per_s(self):
        """Tokens that come in each second."""
        return self.own.per_s

    @property
    def burst(self):
        """Tokens that it holds when it is full."""
        return self.own.burst

    def level(self, now_ns):
        """Return how many whole tokens it holds, not considering its parent."""
        tb_settle(&self.own, time(now_ns))
        return self.own.level

    cdef int ask(self, uint64_t size, int64_t now_ns) except -1:
        """Bring it and its parents up to date; return 1 if all of them hold size."""
        cdef TokenBucket bucket = self
        while bucket is not None:
            if size > bucket.own.burst:
                raise ValueError("more than the burst: it never holds as many")
            bucket = bucket.parent
        cdef int enough = 1
        bucket = self
        while bucket is not None:
            tb_settle(&bucket.own, now_ns)
            if bucket.own.level < size:
                enough = 0
            bucket = bucket.parent
        return enough

    def take(self, size, now_ns):
        """Take size tokens if it and its parents hold them; return whether they did.

        Raises ValueError if one of them never holds as many.
        """
        cdef uint64_t tokens = count(size)
        cdef TokenBucket bucket = self
        if not self.ask(tokens, time(now_ns)):
            return False
        while bucket is not None:
            bucket.own.level -= tokens
            bucket = bucket.parent
        return True

    def wait_time(self, size, now_ns):
        """Return after exactly how many nanoseconds `take` would succeed, if nobody takes tokens before.

        Raises ValueError if it or one of its parents never holds as many.
        """
        cdef uint64_t tokens = count(size)
        cdef int64_t now = time(now_ns), longest = 0, wait
        cdef TokenBucket bucket = self
        if self.ask(tokens, now):
            return 0
        while bucket is not None:
            wait = tb_wait(&bucket.own, tokens, now)
            if wait > longest:
                longest = wait
            bucket = bucket.parent
        return longest

    def set_rate(self, per_s, burst, now_ns):
        """Change the rate and the burst from now on; what it holds beyond the burst is lost."""
        cdef uint64_t rate = count(per_s), most = count(burst)
        tb_settle(&self.own, time(now_ns))
        self.own.per_s = rate
        self.own.burst = most
        if self.own.level >= most:
            self.own.level = most
            self.own.part = 0

"""Every bound on what a peer can make us hold, do or believe, each with its reason.

Parsers check these before they allocate. A bound is part of PROTOCOL.md: to raise one is a change
of the protocol.
"""

from __future__ import annotations

from typing import Final

# -- frames and padding

FRAME_HEADER_BYTES: Final = 4
"""The u32 length before each payload."""
PADDING_BUCKETS: Final = (1024, 4096, 16384, 65024)
"""Default sizes of an envelope on the stream, length included. Three sizes cover chat with 0.05 bit
of leak; the largest stays below 65,508, the most that Noise and yamux carry in one TCP write."""
MIN_BUCKET_BYTES: Final = 256
"""Smallest bucket that may be configured: 136 bytes of it are framing and keys."""
MAX_BUCKETS: Final = 8
"""With more buckets than this, sizes leak nearly as much as without padding."""
MAX_ENVELOPE_BYTES: Final = PADDING_BUCKETS[-1] - FRAME_HEADER_BYTES
"""Longest envelope, whatever the padding: the limit must not depend on a setting of one side."""
SEGMENT_HEADER_BYTES: Final = 29
"""Type, file id, index and offset of a segment."""
MAX_SEGMENT_DATA_BYTES: Final = (1 << 20) + 16
"""Longest piece of a sealed chunk in one frame: the longest chunk. A fast link carries chunks whole; on a
slow one the sender cuts them, so that nothing else waits long."""
MAX_FRAME_BYTES: Final = SEGMENT_HEADER_BYTES + MAX_SEGMENT_DATA_BYTES
"""Longest payload of any frame on a lane stream: a full segment."""

# -- envelopes and epochs

ENVELOPE_OVERHEAD_BYTES: Final = 132
"""116 bytes of header, of which 96 open the epoch, and the 16 of the tag."""
MAX_INNER_BYTES: Final = MAX_ENVELOPE_BYTES - ENVELOPE_OVERHEAD_BYTES - 1
"""Longest inner message: an envelope less its overhead and the one byte of padding that is always
there."""
EPOCH_MESSAGES: Final = 1 << 20
"""Envelopes under one epoch key; far below what ChaCha20-Poly1305 bears, it limits what one key can
leak."""
EPOCH_BYTES: Final = 1 << 30
"""Plaintext bytes under one epoch key, padding included."""
EPOCH_SECONDS: Final = 3600.0
"""Life of an epoch on the sender's side."""
EPOCH_CACHE: Final = 1024
"""Epoch keys a receiver keeps (about 300 bytes each); a colder one is derived again for two scalar
products."""

# -- inner messages

MAX_EXT_ENTRIES: Final = 16
"""Entries of an `ext` map: later fields are few."""
MAX_EXT_KEY_CHARS: Final = 32
"""Length of a key of an `ext` map."""
MAX_EXT_VALUE_BYTES: Final = 4096
"""Length of a value of an `ext` map: a signed key statement fits."""
INNER_HEADER_BYTES: Final = 96
"""No less than all of a Message but `body` and the entries of `ext`, at their longest: 81 bytes."""
EXT_RESERVE_BYTES: Final = 256
"""Reserved beside the longest inline text for a trace id and later fields."""
INLINE_TEXT_MAX: Final = MAX_INNER_BYTES - INNER_HEADER_BYTES - EXT_RESERVE_BYTES
"""Longest text (UTF-8 bytes) that travels as one message and fits the largest bucket; a longer one
goes as a file."""
MAX_TEXT_BYTES: Final = 16 << 20
"""Longest text that is shown as a text and held in memory: more than any book. A longer one is a file."""
MAX_SEQ: Final = (1 << 63) - 1
"""Largest number of a message: SQLite's largest integer."""
MAX_TIME_MS: Final = 253_402_300_799_999
"""31 December 9999, the last moment that calendars of the languages at hand can show."""
MAX_TIME_S: Final = MAX_TIME_MS // 1000
"""The same in seconds."""
MAX_SACK_BYTES: Final = 512
"""Bitmap of a receipt: 4,096 numbers beyond the watermark, as many as a receiver holds out of
order."""
MAX_SPARSE: Final = 8 * MAX_SACK_BYTES
"""Numbers a receiver holds beyond its watermark, per contact, outbox and lane."""
MAX_REASON_CHARS: Final = 200
"""A reason is one line for a person to read."""
MAX_RETRY_MS: Final = 24 * 3600 * 1000
"""No peer can ask us to wait for more than a day."""

# -- files

CHUNK_LOG2: Final = 18
"""Chunks are 256 KiB unless a sender says otherwise: 10 ms of a 200 Mbit/s line, 8 MiB of leaves
for 64 GiB."""
MIN_CHUNK_LOG2: Final = 14
"""Smallest chunk, 16 KiB: leaves and tags stay below 0.3 % of the data."""
MAX_CHUNK_LOG2: Final = 20
"""Largest chunk, 1 MiB: eight of them fill the window."""
MAX_WINDOW_BYTES: Final = 8 << 20
"""Chunks a receiver asks for ahead, 32 usual ones, and at least two of any size: fills 320 Mbit/s at 200 ms; eight
transfers at once take 64 MiB."""
MAX_FILE_BYTES: Final = 1 << 40
"""1 TiB: a leaf list of 128 MiB with the usual chunks."""
MAX_CHUNKS: Final = MAX_FILE_BYTES >> MIN_CHUNK_LOG2
"""Chunks of the longest file in the smallest chunks."""
LEAF_BYTES: Final = 32
"""A leaf is a BLAKE2b-256."""
TAG_BYTES: Final = 16
"""A Poly1305 tag."""
LEAVES_PER_PAGE: Final = 1024
"""Leaves in one message: 32 KiB, half the largest bucket."""
MAX_RANGES: Final = 64
"""Ranges in one request: twice the window of usual chunks, each alone."""
NAME_BYTES: Final = 180
"""A file name in UTF-8: file systems take 255, and ` (1)`, a suffix for parts and encryption layers
need room."""

# -- key statements, HELLO, tickets

MAX_STATEMENT_BYTES: Final = 2048
"""A key statement's body. It must pass HELLO before admission, and an ML-KEM-768 key (1,184) must
fit too."""
MAX_STATEMENT_PREKEYS: Final = 8
"""Signed prekeys listed: one each 48 h of the 14 days a peer may still use it, and one more."""
MAX_STATEMENT_TRANSPORTS: Final = 4
"""Transport keys listed: the current one and those in grace."""
MAX_ADDRESSES: Final = 8
"""Addresses listed for one transport key."""
MAX_ADDRESS_CHARS: Final = 300
"""One multiaddr as text: the longest DNS name has 253 characters."""
MLKEM768_PUBLIC_BYTES: Final = 1184
"""A FIPS 203 ML-KEM-768 encapsulation key: reserved for post-quantum secrecy."""
MAX_HELLO_BYTES: Final = 4096
"""All that one side sends in HELLO, both flights with their lengths: what a stranger can make us
hold."""
MAX_HAVE: Final = 16
"""Watermarks in HELLO: two lanes of the peer's outbox ids; an outbox id changes only after a
rollback."""
MAX_TICKET_CHARS: Final = 200
"""An alphanumeric QR code of version 8 that a terminal can show."""
MAX_TICKET_ADDRESSES: Final = 4
"""Addresses tried in turn while a person waits."""

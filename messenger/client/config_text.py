"""The commented configuration that the first run writes: every key, with its default."""

from __future__ import annotations

__all__ = ["DEFAULT_TEXT"]

DEFAULT_TEXT = """\
# Peerpost's configuration. A line with '=' behind '#' shows a default: remove the '#' to change it.
# PEERPOST__SECTION__KEY in the environment overrides a key (PEERPOST__LOG__LEVEL=debug).
# 'peerpost config check' tells whether this file is all right, 'peerpost config show' what holds.
# Sizes are "64KiB", "100MiB", "1GiB" (or kB, MB, GB); durations "30s", "5min", "24h", "14d".

[node]
# How long a node that a command started stays with nothing to do.
# idle_exit = "5min"

[network]
# Where to listen, as multiaddrs such as "/ip4/0.0.0.0/tcp/4001". Empty: the port that was chosen
# for this identity, on every interface.
# listen = []
# What to tell contacts instead, behind a forwarded port: "/dns4/example.org/tcp/4001".
# announce = []

[storage]
# The largest file taken from a contact without asking; "ask" asks about every file, "never" takes
# none. A text is always taken.
# accept = "100MiB"
# A file to send is copied when it is queued up to this size; a larger one is read where it lies,
# so leave it there until it is delivered.
# spool_below = "64MiB"
# What receiving leaves free on the disk.
# min_free = "1GiB"
# What all that one contact sent may take up here; 'peerpost contacts edit NAME --quota SIZE' says it of one.
# quota = "20GiB"
# Kept in reserve and given back, as it is needed, when the disk is full, so that the store can still write and short
# texts are sent.
# ballast = "64MiB"
# Beyond these the oldest messages are deleted from the inbox, for good, as 'peerpost inbox delete' does it: by
# age ("90d"), by what all of them take up ("50GiB"), by number. "off" keeps everything.
# keep_for = "off"
# keep_size = "off"
# keep_count = "off"
# The same of one contact, instead of the three above: "nas for=30d size=10GiB count=1000".
# keep_of = []
# What was not read or saved yet is never deleted so, though it counts; false deletes that too.
# keep_unread = true
# A folder that received files are written to as they come, readable to whoever may read it, with no sealed copy
# kept: "~/Downloads/peerpost". "off" keeps them sealed in this home until 'peerpost inbox save' writes them.
# downloads = "off"

[security]
# Lock a home that has a passphrase when no command has used it for this long ("30min"). "off": only when told to.
# lock_after = "off"
# How much memory a try of the passphrase costs whoever guesses it, and each unlock here: from "64MiB" to "2GiB". "auto"
# is 256 MiB, or as much as this machine does in about a second. It holds for what is set or unlocked from now on.
# kdf_memory = "auto"

[padding]
# Hides the length of a message: "buckets" pads to the next of the sizes below, "off" not at all.
# mode = "buckets"
# In bytes; the last one stays.
# buckets = [1024, 4096, 16384, 65024]

[limits]
# By the time of day, instead of what 'peerpost limits set' says for everybody; the first that holds
# counts. Days are optional: "mon-fri 08:00-18:00 up=1MB/s down=5MB/s", "22:00-06:00 up=off".
# schedule = []

[hooks]
# A program, as a path from the top, and its arguments: it is run for each message that comes from now on, one after the
# other, with the message as JSON on its stdin. While it does not exit with 0 it is run for the same one again.
# on_message = []
# How long it may take for one.
# time_limit = "1min"

[features]

[log]
# trace, debug, info, warning, error or off; or by logger, as RUST_LOG has it: "info,peerpost.node.files=debug".
# level = "info"
# "text", or "json" for one object per line.
# format = "text"
# The log of a node in the background, node.log, is begun anew at this length.
# size = "10MiB"
# How many older ones stay: node.log.1 and so on.
# kept = 3

[metrics]
"""

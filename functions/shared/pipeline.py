"""Many prepared statements in one trip to PostgreSQL.

The driver sends a statement, asks for its answer at once and waits for it. PostgreSQL's protocol allows more: what is
sent before one Sync is answered together, and without BEGIN it is one transaction.
See https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY
"""

import select
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import pg8000.native
from pg8000.converters import make_param
from pg8000.core import BIND, COMMAND_COMPLETE, EXECUTE_MSG, READY_FOR_QUERY, SYNC_MSG, Context
from pg8000.native import DatabaseError, Error, InterfaceError

__all__ = ["BROKEN", "DatabaseError", "Error", "PipelinedConnection"]

# How the driver reports a connection that went away, depending on where it noticed.
BROKEN = (InterfaceError, OSError, struct.error)

_HEAD = struct.Struct("!ci")
_LENGTH = struct.Struct("!i")
_COUNT = struct.Struct("!H")
_NULL = _LENGTH.pack(-1)
READ_AT_ONCE = 64 * 1024

Execution = tuple[pg8000.native.PreparedStatement, dict[str, Any]]


class PipelinedConnection(pg8000.native.Connection):
    """The driver's connection, which can also execute many statements in one trip."""

    def execute(self, executions: Sequence[Execution]) -> list[Context]:
        """Execute prepared statements in their order; an error ends the trip, and none of them has happened.

        (Unless BEGIN is among them, or a transaction is open: then it is for the caller to roll back.)
        Raises what the driver raises.
        """
        contexts, sent = [], bytearray()
        for statement, values in executions:
            sent += self._bind(statement, values) + EXECUTE_MSG
            contexts.append(Context(statement.statement, columns=statement.cols, input_funcs=statement.input_funcs))
        self._send(sent + SYNC_MSG)
        self._receive(iter(contexts), contexts[0])
        for context in contexts:
            if context.error is not None:
                raise context.error
        return contexts

    @property
    def was_ended(self) -> bool:
        """Whether the server has said anything while nobody asked: it says nothing but that this is the end."""
        poll = select.poll()
        poll.register(self._usock, select.POLLIN)
        return bool(poll.poll(0))

    def _bind(self, statement: pg8000.native.PreparedStatement, values: dict[str, Any]) -> bytes:
        parameters = statement.make_vals(values)
        body = bytearray(b"\x00" + statement.name_bin + _COUNT.pack(0) + _COUNT.pack(len(parameters)))
        for parameter in parameters:
            # Most are texts, or names of states, which are texts too: the driver looks for theirs among all types.
            text = parameter if isinstance(parameter, str) else make_param(self.py_types, parameter)
            if text is None:
                body += _NULL
            else:
                encoded = text.encode(self._client_encoding)
                body += _LENGTH.pack(len(encoded)) + encoded
        body += _COUNT.pack(0)
        return _HEAD.pack(BIND, len(body) + 4) + body

    def _send(self, messages: bytes) -> None:
        if self._sock is None:
            raise InterfaceError("connection is closed")
        self._sock.write(messages)
        self._sock.flush()

    def _receive(self, contexts: Iterator[Context], last: Context) -> None:
        """Hand each answer to the statement that it is for; after an error the others have none."""
        handlers, context = self.message_types, next(contexts, last)
        data, at = self._some(), 0
        while True:
            start = at + _HEAD.size
            code, length = _HEAD.unpack_from(data, at) if start <= len(data) else (b"", 0)
            end = at + 1 + length
            if not code or end > len(data):
                data, at = data[at:] + self._some(), 0
                continue
            handlers[code](data[start:end], context)
            at = end
            if code == COMMAND_COMPLETE:
                context = next(contexts, context)
            elif code == READY_FOR_QUERY:
                return

    def _some(self) -> bytes:
        """Whatever the server has sent meanwhile; after the last answer it says nothing that anybody waits for."""
        data = self._sock.read1(READ_AT_ONCE)
        if not data:
            raise InterfaceError("the server closed the connection")
        return data
